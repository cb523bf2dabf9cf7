#!/usr/bin/env bash
# How fast `tailspool verify` hashes what was captured, and how long `tailspool trace` looks in a long ledger.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import json
import os
import shutil
import subprocess
import sys

import bench
from bench import MIB, spread

parser = argparse.ArgumentParser(
    prog="verify.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Captures session logs and verifies them, with everything still in the queue and with all of it
drained; beside it, in the same run, `cat` of the logs. Then traces records in a home whose ledger has many lines,
made by examples/make_ledger.rs, and verifies that one too. The page cache is warm.
The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
parser.add_argument("--files", type=int, default=400, metavar="N", help="of the logs, default %(default)s")
parser.add_argument("--megabytes", type=int, default=1000, metavar="N", help="of the logs, in 10^6 bytes, default %(default)s")
parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="of the long ledger, default %(default)s")
parser.add_argument("--ledger-files", type=int, default=1000, metavar="N", help="that it tells of, default %(default)s")
parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the logs, default %(default)s")
parser.add_argument("--quick", action="store_true", help="tiny inputs: whether it works, not how fast")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (about four times the logs), default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.quick:
    args.rounds, args.files, args.megabytes, args.lines, args.ledger_files = 1, 5, 5, 5000, 20
if min(args.rounds, args.files, args.megabytes, args.ledger_files) < 1 or args.lines < 10 * args.ledger_files:
    parser.error("at least one round, file and megabyte, and ten ledger lines a file")

tailspool = bench.binary()
work = bench.work_directory(args.work)


def verify(home, runs):
    """One verification, which must find everything well."""
    out = os.path.join(work, "report.json")
    with open(out, "wb") as target:
        ran = bench.run([tailspool, "-q", "--home", home, "verify", "--json", "--scope", work], stdout=target)
    with open(out, encoding="utf-8") as text:
        report = json.load(text)
    if ran.code != 0 or report["findings"] or sum(report["runs"][key] for key in ("verified", "gone")) != runs:
        bench.fail(f"verify ended with {ran.code}: {report}")
    ran.report = report
    return ran


try:
    about = bench.machine(work)
    tree, home, long = (os.path.join(work, name) for name in ("logs", "home", "long"))
    bench.generate("tree", tree, "--files", args.files, "--bytes", args.megabytes * 10**6, "--seed", args.seed)
    paths = sorted(os.path.join(top, name) for top, _, names in os.walk(tree) for name in names)
    size = sum(map(os.path.getsize, paths))
    subprocess.run([tailspool, "-q", "--home", home, "watch", "--once", "--scope", work, tree], check=True)
    with open(os.path.join(home, "provenance", "provenance-000001.jsonl"), encoding="utf-8") as ledger:
        runs = sum(line.startswith('{"kind":"captured"') for line in ledger)
    waiting = bench.status(tailspool, home)["pending_bytes"]
    rates = {"cat": [], "waiting": [], "drained": []}
    memory = {"waiting": [], "drained": []}
    cpu, others = {"waiting": [], "drained": []}, []
    subprocess.run(["cat", *paths], stdout=subprocess.DEVNULL, check=True)
    for state in ("waiting", "drained"):
        if state == "drained":
            with open(os.devnull, "wb") as nowhere:
                subprocess.run([tailspool, "-q", "--home", home, "drain"], stdout=nowhere, check=True)
        for number in range(args.rounds):
            with open(os.devnull, "wb") as nowhere:
                rates["cat"].append(size / bench.run(["cat", *paths], stdout=nowhere).seconds / 1e6)
            ran = verify(home, runs)
            if ran.report["runs"]["verified_bytes"] != size:
                bench.fail(f"{ran.report['runs']['verified_bytes']} of {size} bytes were verified")
            rates[state].append(size / ran.seconds / 1e6)
            memory[state].append(ran.rss_mib)
            cpu[state].append(ran.cpu)
            others.append(ran.others)
            print(f"{state} {number + 1}: {rates[state][-1]:.0f} MB/s, {ran.rss_mib:.1f} MiB", file=sys.stderr)

    made = subprocess.run([bench.example("make_ledger"), long, str(args.lines), str(args.ledger_files)],
                          stdout=subprocess.PIPE, check=True, text=True)
    ulids = made.stdout.split()
    segments = [os.path.join(long, "provenance", name) for name in os.listdir(os.path.join(long, "provenance"))]
    ledger_bytes = sum(map(os.path.getsize, segments))
    subprocess.run(["cat", *segments], stdout=subprocess.DEVNULL, check=True)
    seconds, trace_memory = [], []
    for number in range(args.rounds):
        for ulid in ulids[:: max(1, len(ulids) // 10)]:
            with open(os.devnull, "wb") as nowhere:
                ran = bench.run([tailspool, "-q", "--home", long, "trace", "--json", ulid], stdout=nowhere)
            if ran.code != 0:
                bench.fail(f"trace of {ulid} ended with {ran.code}")
            seconds.append(ran.seconds)
            trace_memory.append(ran.rss_mib)
    unknown = []
    for number in range(args.rounds):
        ran = bench.run([tailspool, "-q", "--home", long, "trace", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ"], stdout=subprocess.DEVNULL)
        if ran.code != 1:
            bench.fail(f"trace of nothing ended with {ran.code}")
        unknown.append(ran.seconds)
    report_runs = (args.lines - args.ledger_files - 1) // 3 * 2
    whole = [verify(long, report_runs) for _ in range(args.rounds)]
    report = "\n".join([
        f"{len(paths)} files, {size / 1e6:.1f} MB in {runs} runs, {waiting / 1e6:.1f} MB in the queue; {args.rounds} rounds, warm"
        " page cache. MB are 10^6 bytes of log; seconds are of whole commands.",
        "",
        "| | MB/s, median (range) | CPU seconds | peak RSS, MiB |",
        "|---|---|---|---|",
        f"| `cat > /dev/null` | {spread(rates['cat'])} | | |",
        f"| `verify`, queue drained | {spread(rates['drained'])} | {spread(cpu['drained'], 2)} | {spread(memory['drained'], 1)} |",
        f"| `verify`, all of it waiting | {spread(rates['waiting'])} | {spread(cpu['waiting'], 2)} | {spread(memory['waiting'], 1)} |",
        "",
        "- cores busy with other work during `verify`: " + ("unknown" if None in others else spread(others, 2)),
        "",
        f"A ledger of {args.lines} lines: {ledger_bytes / 1e6:.0f} MB in {len(segments)} segments, about {args.ledger_files} files.",
        "",
        "| | seconds, median (range) | peak RSS, MiB |",
        "|---|---|---|",
        f"| `trace` of {len(seconds)} records all over it | {spread(seconds, 3)} | {spread(trace_memory, 1)} |",
        f"| `trace` of a ULID that nothing knows: all of it is read | {spread(unknown, 2)} | |",
        f"| `verify` of it, {report_runs} runs of files that are gone | {spread([ran.seconds for ran in whole], 2)}"
        f" | {spread([ran.rss_mib for ran in whole], 1)} |",
    ])
    print(report)
    if args.record:
        command = (f"benches/verify.sh --rounds {args.rounds} --files {args.files} --megabytes {args.megabytes}"
                   f" --lines {args.lines} --ledger-files {args.ledger_files} --seed {args.seed}")
        bench.record("verify", command, about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
