#!/usr/bin/env bash
# How long it takes to hand a pair to the write-behind writer of provenance, in front of a slow store.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import json
import shutil
import subprocess
import sys

import bench
from bench import spread

parser = argparse.ArgumentParser(
    prog="enqueue.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Calls `ProvenanceWriter::enqueue` 10,000 times with one pair, in front of a store that takes 200 ms a
call of at most 256 pairs, so that memory fills and pairs go to disk meanwhile. Afterwards all pairs must be with the
store, once and in order. Runs `cargo bench --bench enqueue`.""",
)
parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where temporary homes are made, default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.rounds < 1:
    parser.error("at least one round")

work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    rows = {}
    for number in range(args.rounds):
        command = ["cargo", "bench", "--quiet", "--bench", "enqueue", "--", work]
        done = subprocess.run(command, cwd=bench.REPO, stdout=subprocess.PIPE)
        if done.returncode != 0:
            bench.fail("the bench failed")
        for line in done.stdout.splitlines():
            row = json.loads(line)
            times = sorted(row["nanoseconds"])
            at = lambda share: times[min(int(len(times) * share), len(times) - 1)] / 1000
            found = rows.setdefault(row["what"], {})
            values = {"p50": at(0.5), "p99": at(0.99), "p99.9": at(0.999), "max": times[-1] / 1000, "files": row["spill_files"], "refused": row["refused"]}
            for name, value in values.items():
                found.setdefault(name, []).append(value)
        print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
    report = [
        f"10,000 calls of `enqueue` with one pair each, {args.rounds} rounds: median (range), microseconds. The store takes"
        " 200 ms a call. Every pair came to the store once and in order.",
        "",
        "| calls | p50 | p99 | p99.9 | longest | spill files meanwhile | refused |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, found in rows.items():
        cells = [spread(found[name], 1) for name in ("p50", "p99", "p99.9", "max")]
        cells += [spread(found[name]) for name in ("files", "refused")]
        report.append(f"| {what} | {' | '.join(cells)} |")
    report = "\n".join(report)
    print(report)
    if args.record:
        bench.record("enqueue", f"benches/enqueue.sh --rounds {args.rounds}", about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
