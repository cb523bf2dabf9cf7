#!/usr/bin/env bash
# What it costs when a slot at the head of a large log is rewritten in place.
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
import time

import bench
from bench import MIB, spread

parser = argparse.ArgumentParser(
    prog="rewrite.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Captures one large log, then rewrites some bytes of its first line in place, and captures again:
how many bytes are read into the queue a second time, how long that takes, and in how much memory. Beside it, in the
same run: reading the whole log once. The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
parser.add_argument("--mebibytes", type=int, default=1024, metavar="N", help="size of the log, default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (about three times the log), default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.rounds < 1 or args.mebibytes < 1:
    parser.error("at least one round and one MiB")

tailspool = bench.binary()
work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    home, log = os.path.join(work, "home"), os.path.join(work, "logs", "session.jsonl")
    os.makedirs(os.path.dirname(log))
    with open(log, "wb") as out:
        out.write(b'{"type":"title","title":"%s"}\n' % b"0".rjust(40))
        line = b'{"type":"assistant","message":{"role":"assistant","content":"%s"}}\n' % (b"words and more " * 100)
        piece = line * (MIB // len(line))
        while out.tell() < args.mebibytes * MIB:
            out.write(piece)
    size = os.path.getsize(log)

    def capture():
        before = bench.status(tailspool, home) if os.path.isdir(home) else {"captured_bytes": 0}
        ran = bench.run([tailspool, "-q", "--home", home, "watch", "--once", "--scope", work, log])
        if ran.code != 0:
            bench.fail(f"watch ended with {ran.code}")
        return ran, bench.status(tailspool, home)["captured_bytes"] - before["captured_bytes"]

    first, bytes_first = capture()
    if bytes_first != size:
        bench.fail(f"captured {bytes_first} of {size} bytes")
    ledger = os.path.join(home, "provenance", "provenance-000001.jsonl")
    with open(ledger, encoding="utf-8") as lines:
        runs = [entry for entry in map(json.loads, lines) if entry["kind"] == "captured"]
    run_bytes = max(run["to"] - run["from"] for run in runs)
    seconds, again, memory, reading, idle = [], [], [], [], []
    for number in range(args.rounds):
        started = time.monotonic()
        with open(log, "rb", buffering=0) as whole:
            buffer = bytearray(MIB)
            while whole.readinto(buffer):
                pass
        reading.append(time.monotonic() - started)
        idle.append(capture()[0].seconds)
        with open(log, "r+b") as slot:
            slot.seek(25)
            slot.write(str(number + 1).encode().rjust(40))
        ran, captured = capture()
        if not 0 < captured <= run_bytes:
            bench.fail(f"{captured} bytes were captured again, and the longest run has {run_bytes}")
        seconds.append(ran.seconds)
        again.append(captured / MIB)
        memory.append(ran.rss_mib)
        print(f"round {number + 1}: {ran.seconds:.2f} s, {captured / MIB:.1f} MiB again, {ran.rss_mib:.1f} MiB", file=sys.stderr)
    report = "\n".join([
        f"A log of {size / MIB:.0f} MiB in {len(runs)} runs; 40 bytes of its first line rewritten in place, {args.rounds} times."
        " Seconds are of a whole `watch --once`, start and stop included.",
        "",
        "| | median (range) |",
        "|---|---|",
        f"| first capture, seconds | {first.seconds:.2f} |",
        f"| reading the log once, warm, 1 MiB a read, seconds | {spread(reading, 2)} |",
        f"| `watch --once`, nothing changed, seconds | {spread(idle, 2)} |",
        f"| `watch --once` after the rewrite, seconds | {spread(seconds, 2)} |",
        f"| captured again, MiB (the longest run has {run_bytes / MIB:.1f}) | {spread(again, 1)} |",
        f"| peak RSS of that, MiB | {spread(memory, 1)} |",
    ])
    print(report)
    if args.record:
        command = f"benches/rewrite.sh --rounds {args.rounds} --mebibytes {args.mebibytes}"
        bench.record("rewrite", command, about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
