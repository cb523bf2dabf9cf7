#!/usr/bin/env bash
# How fast `tailspool watch --once` takes a backlog, beside `cat` and `cp` on the same machine in the same run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import os
import shlex
import shutil
import subprocess
import sys

import bench
from bench import spread

parser = argparse.ArgumentParser(
    prog="throughput.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Captures a backlog of session logs with `tailspool watch --once`, everything on, into a fresh home,
and compares with `cat` of all of it into one synced file and with `cp -r` and a sync.
All three take turns; the page cache is warm, and dirty pages are written out before each. Then one and a half
times the corpus is written and removed, so that free memory is memory: a virtual machine that hands free pages
back to its host pays for the first touch of each of them about ten times what the copy into it costs, and by
chance one command would pay for what another one freed. --cold leaves this out.
The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
parser.add_argument("--files", type=int, default=400, metavar="N", help="default %(default)s")
parser.add_argument("--megabytes", type=int, default=400, metavar="N", help="size of the corpus in 10^6 bytes, default %(default)s")
parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the corpus, default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (about three times the corpus), default $HOME")
parser.add_argument("--cold", action="store_true", help="do not touch the free memory before each command")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.rounds < 1 or args.files < 1 or args.megabytes < 1:
    parser.error("at least one round, file and megabyte")

tailspool = bench.binary()
work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    tree, out, home = (os.path.join(work, name) for name in ("logs", "out", "home"))
    lines = bench.generate("tree", tree, "--files", args.files, "--bytes", args.megabytes * 10**6, "--seed", args.seed)
    paths = sorted(os.path.join(top, name) for top, _, names in os.walk(tree) for name in names)
    size = sum(map(os.path.getsize, paths))
    bench.sync_filesystem(work)
    packed = subprocess.run(["sh", "-c", 'head -c 20000000 | gzip -6 | wc -c'], stdin=subprocess.Popen(
        ["cat", *paths], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout, stdout=subprocess.PIPE)
    ratio = min(size, 20_000_000) / int(packed.stdout)

    def touch_free_memory():
        piece = bytes(1 << 20)
        with open(out, "wb") as scratch:
            for _ in range(int(1.5 * size) >> 20):
                scratch.write(piece)
        os.unlink(out)
        bench.sync_filesystem(work)

    def cat():
        with open(out, "wb") as target:
            return bench.run(["cat", *paths], stdout=target, after=lambda: os.fsync(target.fileno()))

    def cp():
        return bench.run(["cp", "-r", tree, out], after=lambda: bench.sync_filesystem(work))

    def capture():
        ran = bench.run([tailspool, "-q", "--home", home, "watch", "--once", "--scope", work, tree])
        found = bench.status(tailspool, home)
        counts = (found["captured_lines"], found["pending_records"], found["captured_bytes"])
        if ran.code != 0 or counts != (lines, lines, size):
            bench.fail(f"exit {ran.code}; captured lines, pending records, bytes {counts}, not {(lines, lines, size)}")
        ran.commits = found["last_commit"]["number"]
        ran.queue = found["pending_bytes"]
        return ran

    ways = {"cat, fsync": cat, "cp -r, sync": cp, "watch --once": capture}
    results = {name: [] for name in ways}
    for number in range(args.rounds):
        for name, way in ways.items():
            subprocess.run(["cat", *paths], stdout=subprocess.DEVNULL, check=True)
            bench.sync_filesystem(work)
            if not args.cold:
                touch_free_memory()
            ran = way()
            if ran.code != 0:
                bench.fail(f"{name} ended with {ran.code}")
            results[name].append(ran)
            print(f"round {number + 1}: {name:13} {size / ran.seconds / 1e6:7.0f} MB/s  {ran.cpu:5.2f} s CPU", file=sys.stderr)
            for left in (out, home):
                shutil.rmtree(left) if os.path.isdir(left) else os.path.exists(left) and os.unlink(left)

    rates = {name: [size / ran.seconds / 1e6 for ran in rans] for name, rans in results.items()}
    rows = ["| | MB/s, median (range) | user CPU seconds | system CPU seconds | peak RSS, MiB |", "|---|---|---|---|---|"]
    for name, rans in results.items():
        rows.append(
            f"| `{name}` | {spread(rates[name])} | {spread([ran.user for ran in rans], 2)}"
            f" | {spread([ran.system for ran in rans], 2)} | {spread([ran.rss_mib for ran in rans], 1)} |"
        )
    captures = results["watch --once"]
    share = lambda other: [ours / theirs for ours, theirs in zip(rates["watch --once"], rates[other])]
    report = "\n".join([
        f"{len(paths)} files, {lines} lines, {size / 1e6:.1f} MB (gzip -6 packs it {ratio:.1f} times);"
        f" {args.rounds} rounds in turns, warm page cache, free memory {'as it was' if args.cold else 'touched'} before"
        " each command. MB are 10^6 bytes.",
        "",
        *rows,
        "",
        f"- `watch` to `cat`, round by round: {spread(share('cat, fsync'), 2)}",
        f"- `watch` to `cp`, round by round: {spread(share('cp -r, sync'), 2)}",
        "- cores busy with other work during `watch`: "
        + ("unknown" if captures[0].others is None else spread([ran.others for ran in captures], 2)),
        f"- commits: {spread([ran.commits for ran in captures])}; bytes in the queue a byte of log:"
        f" {captures[0].queue / size:.2f}",
        f"- after each capture: {lines} lines captured, {lines} records pending, {size} bytes",
    ])
    print(report)
    if args.record:
        command = ["benches/throughput.sh", f"--rounds {args.rounds}", f"--files {args.files}",
                   f"--megabytes {args.megabytes}", f"--seed {args.seed}"] + ["--cold"] * args.cold
        bench.record("throughput-cold" if args.cold else "throughput", " ".join(command), about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
