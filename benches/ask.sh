#!/usr/bin/env bash
# How long the commands take that people ask with, and how large the binary is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import os
import shutil
import subprocess
import time

import bench
from bench import MIB, spread

parser = argparse.ArgumentParser(
    prog="ask.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Times `--help`, `status` and `sessions` as whole commands, from the call to the end, beside `true` in the
same run, in a home with many sessions and a long ledger, made by examples/make_ledger.rs. The page cache is warm. Also
tells how large the binary is, without its symbols. The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rounds", type=int, default=30, metavar="N", help="default %(default)s")
parser.add_argument("--lines", type=int, default=1_000_000, metavar="N", help="of the ledger, default %(default)s")
parser.add_argument("--sessions", type=int, default=5000, metavar="N", help="that it tells of, default %(default)s")
parser.add_argument("--quick", action="store_true", help="a tiny home: whether it works, not how fast")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (1 GB), default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.quick:
    args.rounds, args.lines, args.sessions = 2, 5000, 20
if min(args.rounds, args.sessions) < 1 or args.lines < 10 * args.sessions:
    parser.error("at least one round and one session, and ten ledger lines a session")

tailspool = bench.binary()
work = bench.work_directory(args.work)


def seconds(*command):
    """A whole command, and what it printed."""
    begun = time.perf_counter()
    ran = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    took = time.perf_counter() - begun
    if ran.returncode != 0:
        bench.fail(f"{command} ended with {ran.returncode}")
    return took, ran.stdout


try:
    about = bench.machine(work)
    home, stripped = os.path.join(work, "home"), os.path.join(work, "stripped")
    subprocess.run([bench.example("make_ledger"), home, str(args.lines), str(args.sessions)],
                   stdout=subprocess.DEVNULL, check=True)
    snapshot = os.path.getsize(os.path.join(home, "cursors.json"))
    ask = [tailspool, "--home", home]
    commands = {
        "`true`": ["true"],
        "`tailspool --help`": [tailspool, "--help"],
        "`tailspool watch --help`": [tailspool, "watch", "--help"],
        "`tailspool status`": [*ask, "status"],
        "`tailspool sessions`": [*ask, "sessions"],
        "`tailspool sessions --json`": [*ask, "sessions", "--json"],
        "`tailspool sessions --limit 10`": [*ask, "sessions", "--limit", "10"],
    }
    times = {name: [] for name in commands}
    for number in range(-1, args.rounds):
        for name, command in commands.items():
            took, printed = seconds(*command)
            if name.endswith("--json`") and printed.count(b"\n") != args.sessions:
                bench.fail(f"{printed.count(10)} of {args.sessions} sessions were listed")
            if number >= 0:
                times[name].append(took * 1000)
    peak = bench.run([*ask, "sessions", "--json"], stdout=subprocess.DEVNULL).rss_mib
    size = os.path.getsize(tailspool) / 1e6
    shutil.copy(tailspool, stripped)
    without = None
    if shutil.which("strip"):
        subprocess.run(["strip", stripped], check=True)
        without = os.path.getsize(stripped) / 1e6
    report = "\n".join([
        f"{args.sessions} sessions, {args.lines} ledger lines, a snapshot of {snapshot / MIB:.1f} MiB that is as many bytes behind;"
        f" {args.rounds} rounds in turns, warm page cache.",
        "",
        "| whole command | ms, median (range) |",
        "|---|---|",
        *(f"| {name} | {spread(took, 1)} |" for name, took in times.items()),
        "",
        f"Peak RSS of `sessions --json` {peak:.0f} MiB. The binary has {size:.2f} MB"
        + (f", {without:.2f} MB when stripped." if without else "."),
    ])
    print(report)
    if args.record:
        command = f"benches/ask.sh --rounds {args.rounds} --lines {args.lines} --sessions {args.sessions}"
        bench.record("ask", command, about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
