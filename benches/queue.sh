#!/usr/bin/env bash
# How fast the capture queue takes records, in batches and one by one, and whether that depends on its depth.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import json
import shutil
import statistics
import subprocess

import bench
from bench import spread

parser = argparse.ArgumentParser(
    prog="queue.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Times CaptureQueue: append_batch of 1,000 records of 0.8 KB, and single appends while few and while
many records are pending. Beside each call, in turns with it, the least that makes the same bytes durable under a
name: write, sync, rename, sync of the directory.""",
)
parser.add_argument("--rounds", type=int, default=100, metavar="N", help="batches, default %(default)s")
parser.add_argument("--depths", type=int, nargs="+", default=[100, 10_000, 100_000], metavar="N", help="records that are pending, each more than the one before, default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made, default $HOME")
parser.add_argument("--quick", action="store_true", help="tiny inputs: whether it works, not how fast")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.quick:
    args.rounds, args.depths = 2, [10, 20]

work = bench.work_directory(args.work)
try:
    program = bench.example("queue_speed")
    about = bench.machine(work)
    done = subprocess.run([program, f"{work}/home", str(args.rounds), *map(str, args.depths)], stdout=subprocess.PIPE)
    if done.returncode != 0:
        bench.fail(f"queue_speed ended with {done.returncode}")
    told = json.loads(done.stdout)

    def row(name, count, ours, bare):
        ratio = statistics.median(ours) / statistics.median(bare)
        ordered = sorted(ours)
        p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
        rate = count / statistics.median(ours)
        return f"| {name} | {spread([1000 * one for one in ours], 2)} | {1000 * p99:.2f} | {1000 * statistics.median(bare):.2f} | {ratio:.2f} | {rate:,.0f} |"

    rows = [
        "| | ms, median (range) | p99 | bare, median | ours : bare | durable records/s |",
        "|---|---|---|---|---|---|",
        row("`append_batch` of 1,000", 1000, told["append_batch"], told["bare_batch"]),
    ]
    for depth, found in told["singles"].items():
        rows.append(row(f"`append` with {int(depth):,} pending", 1, found["append"], found["bare"]))
    intro = f"{args.rounds} batches of {told['bytes'] / 1e6:.2f} MB; 200 appends at each depth; each in turns with the bare calls."
    rows += [
        "",
        "Single appends of 200 records a thread, five times in turns with the bare calls in as many threads:",
        "",
        "| threads | `append`, records/s, median (range) | bare calls | to one thread |",
        "|---|---|---|---|",
    ]
    one = statistics.median(told["threads"]["1"]["append"])
    for threads, found in told["threads"].items():
        ratio = statistics.median(found["append"]) / one
        rows.append(f"| {threads} | {spread(found['append'])} | {spread(found['bare'])} | {ratio:.1f} |")
    report = "\n".join([intro, "", *rows])
    print(report)
    if args.record:
        bench.record("queue", f"benches/queue.sh --rounds {args.rounds} --depths {' '.join(map(str, args.depths))}", about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
