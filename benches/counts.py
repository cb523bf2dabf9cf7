"""How often the command syncs: counted by strace in runs that are not timed."""

import json
import os
import shutil
import subprocess
import time

import bench

LONE_LINES = 40
PATIENCE_SECONDS = 30


def syncs(run):
    """Of a backlog, for each MB of it, and of a line that comes alone; nothing where strace is not there."""
    if not shutil.which("strace"):
        return {}
    of_backlog, _ = counted(run, run.watch(run.tree), lambda: None)
    run.clear()
    root = os.path.join(run.work, "lone")
    os.mkdir(root)
    command = [run.tailspool, "-q", "--home", run.home, "watch", "--scope", run.work, root]
    without, _ = counted(run, command, lambda: lone_lines(run, root, 1))
    run.clear()
    with_lines, _ = counted(run, command, lambda: lone_lines(run, root, 1 + LONE_LINES))
    run.clear()
    return {
        "syncs": of_backlog,
        "syncs_per_mb": round(of_backlog / run.size * 1e6, 3),
        "syncs_per_lone_line": round((with_lines - without) / LONE_LINES, 2),
    }


def counted(run, command, meanwhile):
    """Calls of a sync by a command; `meanwhile` is what goes on while it runs, after which one that watches is ended."""
    table = os.path.join(run.work, "calls")
    strace = ["strace", "-f", "-c", "-e", "trace=fsync,fdatasync,syncfs,sync_file_range", "-o", table]
    child = subprocess.Popen(strace + command, stdin=subprocess.DEVNULL)
    meanwhile()
    if "--once" not in command:
        # strace hands nothing on to what it runs.
        subprocess.run(["kill", "-TERM", str(traced(child.pid))], check=True)
    if child.wait() != 0:
        bench.fail(f"{' '.join(command)} ended with {child.returncode}")
    calls = {}
    with open(table, encoding="utf-8") as lines:
        for line in lines:
            words = line.split()
            if len(words) >= 5 and words[0][0].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3])
    return sum(calls.values()), calls


def traced(strace):
    with open(f"/proc/{strace}/task/{strace}/children", encoding="utf-8") as children:
        return int(children.read().split()[0])


def lone_lines(run, root, count):
    """Appends lines to a new log, each when the one before was committed."""
    path = os.path.join(root, f"lone-{count}.jsonl")
    for number in range(count):
        with open(path, "ab") as log:
            log.write(json.dumps({"type": "user", "number": number}).encode() + b"\n")
        end = time.monotonic() + PATIENCE_SECONDS
        while captured(run) < number + 1:
            if time.monotonic() > end:
                bench.fail("a lone line was not captured")
            time.sleep(0.02)


def captured(run):
    asked = [run.tailspool, "--home", run.home, "status", "--json"]
    done = subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return json.loads(done.stdout)["captured_lines"] if done.returncode == 0 else 0
