#!/usr/bin/env bash
# Whether every line comes through a thousand rotations by rename, exactly once.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "error: this script needs python3" >&2; exit 1; }
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$here" exec python3 - "$@" <<'PY'
import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

import bench

parser = argparse.ArgumentParser(
    prog="rotate.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Runs `watch --interval 100ms` beside a writer that writes as fast as it can, one `write` a line, and
rotates its log by rename; after each rotation it writes some more lines to the old file. Every line must be captured
exactly once, with its bytes.

`logs`:   rotated to names that are logs, at full speed, so that many files come and go between two looks.
`others`: rotated to names that are no logs, and each file stands longer than two looks are apart: what is written
          after the rotation is read by the handle that is kept.

The binary is $TAILSPOOL, or a release build of this repository.""",
)
parser.add_argument("--rotations", type=int, default=1000, metavar="N", help="default %(default)s")
parser.add_argument("--lines", type=int, default=2000, metavar="N", help="lines between two rotations, default %(default)s")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made, default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.rotations < 1 or args.lines < 1:
    parser.error("at least one rotation and one line")

tailspool = bench.binary()
LATE = 20  # Lines written to the old file after its rotation.


def line(number):
    return b'{"type":"user","uuid":"%012d","message":{"role":"user","content":"line %d of the session"}}\n' % (number, number)


def write(logs, least_seconds, suffix):
    """Writes and rotates; how many lines were written, and in how many seconds of writing."""
    path, number, wrote = os.path.join(logs, "session.jsonl"), 0, 0.0
    old = None
    for rotation in range(args.rotations + 1):
        started = time.monotonic()
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        for count in range(args.lines):
            if old is not None and count < LATE:
                os.write(old, line(number))
                number += 1
            os.write(log, line(number))
            number += 1
        if old is not None:
            os.close(old)
        wrote += time.monotonic() - started
        time.sleep(max(0, least_seconds - (time.monotonic() - started)))
        if rotation < args.rotations:
            os.rename(path, os.path.join(logs, f"session.{rotation}{suffix}"))
            old = log
    os.close(log)
    return number, wrote


def play(work, name, least_seconds, suffix):
    home, logs, out = (os.path.join(work, name, part) for part in ("home", "logs", "out"))
    os.makedirs(logs)
    watch = [tailspool, "-q", "--home", home, "watch", "--interval", "100ms", "--scope", work, logs]
    watcher = subprocess.Popen(watch, stdin=subprocess.DEVNULL)
    while not os.path.exists(os.path.join(home, "status.json")):
        if watcher.poll() is not None:
            bench.fail("the watcher ended")
        time.sleep(0.01)
    started = time.monotonic()
    number, wrote = write(logs, least_seconds, suffix)
    seconds = time.monotonic() - started
    while bench.status(tailspool, home)["captured_lines"] < number:
        if time.monotonic() - started > seconds + 60:
            break
        time.sleep(0.1)
    peak = bench.first_line(f"/proc/{watcher.pid}/status", "VmHWM")
    watcher.send_signal(signal.SIGTERM)
    if watcher.wait() != 0:
        bench.fail(f"the watcher ended with {watcher.returncode}")
    with open(out, "wb") as target:
        subprocess.run([tailspool, "-q", "--home", home, "drain", "--format", "raw"], stdout=target, check=True)
    counts = bytearray(number)
    with open(out, "rb") as lines:
        for found in lines:
            at = int(found[23:35])
            if found != line(at):
                bench.fail(f"{name}: line {at} has other bytes: {found!r}")
            counts[at] = min(counts[at] + 1, 9)
    lost, twice = counts.count(0), number - counts.count(0) - counts.count(1)
    print(f"{name}: {number} lines, {lost} lost, {twice} doubled, {seconds:.1f} s", file=sys.stderr)
    if lost or twice:
        bench.fail(f"{name}: {lost} lines lost, {twice} doubled; first lost: {counts.find(0)}")
    mib = int(peak.split()[0]) / 1024 if peak else float("nan")
    return f"| `{name}` | {args.rotations} | {number} | {number / wrote:,.0f} | {seconds:.1f} | {lost} | {twice} | {mib:.0f} |"


work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    rows = [
        "| rotated to | rotations | lines | lines/s while writing | seconds | lost | doubled | peak RSS, MiB |",
        "|---|---|---|---|---|---|---|---|",
        play(work, "logs", 0, ".jsonl"),
        play(work, "others", 0.25, ".old"),
    ]
    report = "\n".join(rows)
    print(report)
    if args.record:
        command = f"benches/rotate.sh --rotations {args.rotations} --lines {args.lines}"
        bench.record("rotate", command, about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
PY
