#!/usr/bin/env bash
# Whether one very long line comes through byte by byte, and in how much memory.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import filecmp
import os
import shutil
import sys

import bench
from bench import MIB, spread

parser = argparse.ArgumentParser(
    prog="long-line.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Captures a log of one very long line and a short one, once as JSON with escapes and once as bytes
that are not UTF-8, and drains it as `raw`; checks that the bytes are the same, and measures the peak memory of both.
The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default %(default)s")
parser.add_argument("--mebibytes", type=int, default=64, metavar="N", help="length of the line, default %(default)s")
parser.add_argument("--seed", type=int, default=1, metavar="N", help="default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (about five times the line), default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.rounds < 1 or args.mebibytes < 1:
    parser.error("at least one round and one MiB")

tailspool = bench.binary()
work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    home, out = os.path.join(work, "home"), os.path.join(work, "out")
    rows = ["| line | | seconds, median (range) | CPU seconds | peak RSS, MiB |", "|---|---|---|---|---|"]
    for kind, name in (("line", "JSON with escapes"), ("noise", "not UTF-8, with NULs")):
        log = os.path.join(work, "logs", kind + ".jsonl")
        os.makedirs(os.path.dirname(log), exist_ok=True)
        lines = bench.generate(kind, log, "--bytes", args.mebibytes * MIB, "--seed", args.seed)
        results = {"`watch --once`": [], "`drain --format raw --peek`": [], "`drain --format raw`": []}
        for number in range(args.rounds):
            bench.sync_filesystem(work)
            for step, options in (
                ("`watch --once`", ["watch", "--once", "--scope", work, log]),
                ("`drain --format raw --peek`", ["drain", "--format", "raw", "--peek"]),
                ("`drain --format raw`", ["drain", "--format", "raw"]),
            ):
                with open(out, "wb") as target:
                    ran = bench.run([tailspool, "-q", "--home", home, *options], stdout=target)
                if ran.code != 0:
                    bench.fail(f"{name}: {step} ended with {ran.code}")
                if step == "`watch --once`":
                    found = bench.status(tailspool, home)
                    if (found["captured_lines"], found["captured_bytes"]) != (lines, os.path.getsize(log)):
                        bench.fail(f"{name}: captured {found['captured_lines']} lines, {found['captured_bytes']} bytes")
                elif not filecmp.cmp(log, out, shallow=False):
                    bench.fail(f"{name}: {step} gave other bytes than the log has")
                results[step].append(ran)
                print(f"round {number + 1}: {name:21} {step:28} {ran.seconds:6.2f} s  {ran.rss_mib:6.1f} MiB", file=sys.stderr)
            shutil.rmtree(home)
        for step, rans in results.items():
            rows.append(
                f"| {name} | {step} | {spread([ran.seconds for ran in rans], 2)}"
                f" | {spread([ran.cpu for ran in rans], 2)} | {spread([ran.rss_mib for ran in rans], 1)} |"
            )
        os.unlink(log)
    intro = f"One line of {args.mebibytes} MiB and a short one; {args.rounds} rounds, every time the same bytes."
    report = "\n".join([intro, "", *rows])
    print(report)
    if args.record:
        command = ["benches/long-line.sh", f"--rounds {args.rounds}", f"--mebibytes {args.mebibytes}", f"--seed {args.seed}"]
        bench.record("long-line", " ".join(command), about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
