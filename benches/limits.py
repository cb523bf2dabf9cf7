"""The cases of limits.sh: each makes its logs, lets the command work, and compares what comes out with what went in."""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time

import bench
from bench import MIB

MEMORY_MIB_MAX = 64


def parse():
    parser = argparse.ArgumentParser(
        prog="limits.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Captures, verifies and drains where there is very much of something: files, waiting batches, entries of
a directory, bytes of a line, bytes that a writer appends, a hole in a file. Each case compares the lines that come out
with those that went in, by number and hash, and asks that no command took more than 64 MiB, but for the cases with very
many files, which say what they took. The binary is $TAILSPOOL, or a release build of this repository.""",
    )
    parser.add_argument("--quick", action="store_true", help="tiny inputs: whether it works, not how it goes at the limit")
    parser.add_argument("--only", metavar="CASES", help="of " + ",".join(CASES) + "; default all")
    parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (10 GB), default $HOME")
    parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
    args = parser.parse_args()
    args.only = args.only.split(",") if args.only else list(CASES)
    if not set(args.only) <= set(CASES):
        parser.error("no such case")
    return args


class Lines:
    """How many lines, and a hash of them that does not regard their order: lines of several files come in any."""

    def __init__(self):
        self.count, self.sum = 0, 0

    def add(self, line):
        self.add_hash(hashlib.blake2b(line, digest_size=16))

    def add_hash(self, hashed):
        self.count += 1
        self.sum = (self.sum + int.from_bytes(hashed.digest(), "little")) % (1 << 128)

    def add_file(self, path):
        """Without a whole line in memory, which would count as memory of the commands that this process starts."""
        with open(path, "rb") as out:
            hashed = None
            while piece := out.readline(MIB):
                hashed = hashed or hashlib.blake2b(digest_size=16)
                hashed.update(piece)
                if piece.endswith(b"\n"):
                    self.add_hash(hashed)
                    hashed = None
            if hashed:
                self.add_hash(hashed)

    def __eq__(self, other):
        return (self.count, self.sum) == (other.count, other.sum)


class Case:
    """One case in a directory of its own: its rows, and the commands in its home."""

    def __init__(self, name, work, size):
        self.name, self.size, self.rows = name, size, []
        self.top = os.path.join(work, name)
        self.logs, self.home, self.out = (os.path.join(self.top, part) for part in ("logs", "home", "out"))
        self.small = os.path.join(self.top, "small")
        os.makedirs(self.logs)
        os.makedirs(self.small)

    def run(self, what, *options, out=None, bound=True, code=0):
        """A command that must end well and within the memory."""
        with open(out or os.devnull, "wb") as target:
            ran = bench.run([TAILSPOOL, "-q", "--home", self.home, *options], stdout=target)
        self.row(what, ran.seconds, ran.rss_mib, bound)
        if ran.code != code:
            bench.fail(f"{self.name}: {what} ended with {ran.code}")
        return ran

    def row(self, what, seconds, rss_mib, bound=True):
        self.rows.append(f"| {self.size} | {what} | {seconds:.2f} | {rss_mib:.1f} |")
        print(f"{self.name:10} {what:42} {seconds:8.2f} s  {rss_mib:6.1f} MiB", file=sys.stderr)
        if bound and rss_mib > MEMORY_MIB_MAX:
            bench.fail(f"{self.name}: {what} took {rss_mib:.1f} MiB")

    def once(self, what, **more):
        return self.run(what, "watch", "--once", "--scope", self.top, *more.pop("options", ()), self.logs, **more)

    def captured(self):
        return bench.status(TAILSPOOL, self.home)["captured_lines"]

    def drain(self, expected, **more):
        """Everything that waits, which must be these lines, each once."""
        self.run("`drain --format raw`", "drain", "--format", "raw", out=self.out, **more)
        found = Lines()
        found.add_file(self.out)
        if found != expected:
            bench.fail(f"{self.name}: {found.count} lines came out, {expected.count} went in, or other ones")
        os.unlink(self.out)

    def nothing_new(self, **more):
        before = self.captured()
        self.once("`watch --once`, nothing new", **more)
        if self.captured() != before:
            bench.fail(f"{self.name}: {self.captured() - before} lines more without a change")

    def verify(self, **more):
        self.run("`verify`", "verify", "--scope", self.top, **more)


def write_logs(directory, numbers, lines):
    for number in numbers:
        line = b'{"type":"user","n":%d}\n' % number
        lines.add(line)
        with open(os.path.join(directory, f"{number}.jsonl"), "wb") as log:
            log.write(line)


def many_files(work, quick):
    """100,000 logs in 1,000 directories."""
    files, directories = (2000, 20) if quick else (100_000, 1000)
    case, lines = Case("files", work, f"{files} files in {directories} directories"), Lines()
    for number in range(directories):
        directory = os.path.join(case.logs, str(number))
        os.mkdir(directory)
        write_logs(directory, range(number * files // directories, (number + 1) * files // directories), lines)
    case.once("`watch --once`", bound=False)
    case.nothing_new(bound=False)
    case.verify(bound=False)
    case.drain(lines)
    return case


def many_batches(work, quick):
    """100,000 files in the queue, by the layout of a file a record."""
    records = 2000 if quick else 100_000
    case, lines = Case("batches", work, f"{records} waiting batches"), Lines()
    with open(os.path.join(case.logs, "a.jsonl"), "wb") as log:
        for number in range(records):
            line = b'{"type":"user","n":%d}\n' % number
            lines.add(line)
            log.write(line)
    case.once("`watch --once --layout record`", options=["--layout", "record"])
    waiting = sum(name.startswith("pending-") and name.endswith(".jsonl") for name in os.listdir(os.path.join(case.home, "pending")))
    waiting = waiting or len(os.listdir(os.path.join(case.home, "pending")))
    if waiting < records:
        bench.fail(f"batches: {waiting} files wait")
    case.run("`status`", "status", "--json")
    case.nothing_new()
    case.verify()
    case.drain(lines)
    return case


def large_directory(work, quick):
    """A directory of 50,000 entries, half of them logs."""
    entries = 1000 if quick else 50_000
    case, lines = Case("directory", work, f"a directory of {entries} entries, half of them logs"), Lines()
    write_logs(case.logs, range(entries // 2), lines)
    for number in range(entries // 2):
        open(os.path.join(case.logs, f"{number}.txt"), "wb").close()
    case.once("`watch --once`", bound=False)
    case.nothing_new(bound=False)
    case.verify(bound=False)
    case.drain(lines)
    return case


def long_line(work, quick):
    """A line of 250 MB, as JSON and as bytes that are not UTF-8."""
    size = (4 if quick else 250) * 10**6
    cases = []
    for kind, name in (("line", "JSON"), ("noise", "not UTF-8")):
        case, lines = Case(kind, work, f"a line of {size // 10**6} MB, {name}"), Lines()
        log = os.path.join(case.logs, "a.jsonl")
        bench.generate(kind, log, "--bytes", size, "--seed", 1)
        lines.add_file(log)
        case.once("`watch --once`")
        case.nothing_new()
        case.verify()
        case.drain(lines)
        shutil.rmtree(case.top)
        cases.append(case)
    case = cases[0]
    case.rows += cases[1].rows
    return case


class Torrent:
    """Appends to a log as fast as it goes, until it is told to stop or has written enough."""

    def __init__(self, path, bytes_max):
        self.path, self.bytes_max, self.stop, self.seconds = path, bytes_max, threading.Event(), 0
        self.thread = threading.Thread(target=self.write)
        self.thread.start()

    def write(self):
        begun, number, written = time.monotonic(), 0, 0
        filling = b"x" * 900
        with open(self.path, "ab", buffering=0) as log:
            while written < self.bytes_max and not self.stop.is_set():
                lines = b"".join(b'{"type":"user","n":%d,"text":"%s"}\n' % (number + step, filling) for step in range(4096))
                number += 4096
                written += log.write(lines)
        self.written, self.seconds = written, time.monotonic() - begun


def high_water_mib(pid):
    return int(bench.first_line(f"/proc/{pid}/status", "VmHWM").split()[0]) / 1024


def fast_file(work, quick):
    """A file that several writers make grow faster than it is read, beside one that gets a line now and then."""
    most = (40 if quick else 3000) * 10**6
    case = Case("fast", work, f"a file that grows by {most // 10**6} MB as fast as it goes")
    fast, slow = os.path.join(case.logs, "fast.jsonl"), os.path.join(case.logs, "slow.jsonl")
    events = os.path.join(case.top, "events")
    command = [TAILSPOOL, "-q", "--home", case.home, "watch", "--events", "--scope", case.top, case.logs]
    with open(events, "wb") as target:
        watcher = subprocess.Popen(command, stdout=target)
    begun = time.monotonic()
    torrent, longest, told, backlog = Torrent(fast, most), 0, 0, 0
    with open(events, "rb") as heard:
        while torrent.thread.is_alive():
            told += 1
            with open(slow, "ab", buffering=0) as log:
                log.write(b'{"n":%d}\n' % told)
            longest = max(longest, wait_for_event(heard, b"slow.jsonl", watcher))
            backlog = max(backlog, os.path.getsize(fast) - bench.status(TAILSPOOL, case.home)["captured_bytes"])
    torrent.thread.join()
    expected = Lines()
    expected.add_file(fast)
    expected.add_file(slow)
    while case.captured() < expected.count and watcher.poll() is None and time.monotonic() - begun < 600:
        time.sleep(0.1)
    caught_up, memory = time.monotonic() - begun, high_water_mib(watcher.pid)
    watcher.terminate()
    if watcher.wait() != 0:
        bench.fail("fast: the watcher failed")
    rate = torrent.written / torrent.seconds / 1e6
    case.row(f"`watch`, written at {rate:.0f} MB/s, up to {backlog / 1e6:.0f} MB behind; caught up after", caught_up, memory)
    case.row(f"longest way of one of {told} lines of another file", longest, memory)
    case.nothing_new()
    case.verify()
    case.drain(expected)
    return case


def wait_for_event(heard, name, watcher):
    """Seconds until an event that names this file."""
    begun = time.monotonic()
    while time.monotonic() - begun < 120:
        line = heard.readline()
        if name in line and b'"line' in line:
            return time.monotonic() - begun
        if not line:
            if watcher.poll() is not None:
                bench.fail("the watcher ended")
            time.sleep(0.001)
    return bench.fail("a line of the other file did not come")


def verify_gigabyte(work, quick):
    """`verify` of 1 GB of logs, warm, drained."""
    size, files = ((10 if quick else 1000) * 10**6, 400)
    case, lines = Case("verify", work, f"{size // 10**6} MB of logs in {files} files"), Lines()
    filling, number = b"x" * 1500, 0
    for file in range(files):
        with open(os.path.join(case.logs, f"{file}.jsonl"), "wb") as log:
            while log.tell() < size / files:
                line = b'{"type":"user","n":%d,"text":"%s"}\n' % (number, filling)
                number += 1
                lines.add(line)
                log.write(line)
    size = sum(entry.stat().st_size for entry in os.scandir(case.logs))
    case.once("`watch --once`")
    case.run("`verify`, all of it waiting", "verify", "--scope", case.top)
    case.drain(lines)
    rates = []
    for _ in range(5):
        seconds = case.run("`verify`, drained, warm", "verify", "--scope", case.top).seconds
        rates.append(size / seconds / 1e6)
        case.rows.pop()
    case.row(f"`verify`, drained, warm: {bench.spread(rates)} MB/s", seconds, case_memory(case))
    return case


def case_memory(case):
    ran = bench.run([TAILSPOOL, "-q", "--home", case.home, "verify", "--scope", case.top], stdout=subprocess.DEVNULL)
    return ran.rss_mib


def sparse_file(work, quick):
    """A hole, then the end of a line: one line of NULs, which takes six times as much in its envelope."""
    hole = (1 if quick else 20) << 30
    case = Case("sparse", work, f"a hole of {hole >> 30} GiB")
    log = os.path.join(case.logs, "a.jsonl")
    expected = Lines()
    for path, line in ((log, b'{"n":1}\n'), (os.path.join(case.logs, "b.jsonl"), b'{"n":2}\n')):
        expected.add(line)
        with open(path, "wb") as out:
            out.write(line)
    os.truncate(log, hole)
    case.once("`watch --once`, nothing behind the hole")
    with open(log, "r+b") as out:
        out.seek(hole)
        out.write(b'{"n":3}\n')
    # On a home that cannot have room for it, wherever this runs.
    script = f"mount -t tmpfs -o size=64m tmpfs {case.small}; exec \"$@\""
    ran = bench.run(["unshare", "-Urm", "sh", "-ec", script, "sh", TAILSPOOL, "--home", case.small, "watch", "--once",
                     "--scope", case.top, case.logs], stdout=subprocess.DEVNULL)
    if ran.code != 1:
        bench.fail(f"sparse: a line without room ended with {ran.code}")
    case.row("`watch --once`, a line behind it, no room for it", ran.seconds, ran.rss_mib)
    os.truncate(log, 8)
    with open(log, "ab") as out:
        out.write(b'{"n":4}\n')
    expected.add(b'{"n":4}\n')
    case.once("`watch --once`, the hole taken back")
    case.verify()
    case.drain(expected)
    return case


CASES = {
    "files": many_files, "batches": many_batches, "directory": large_directory, "line": long_line,
    "fast": fast_file, "verify": verify_gigabyte, "sparse": sparse_file,
}

args = parse()
TAILSPOOL = bench.binary()
work = bench.work_directory(args.work)
try:
    about = bench.machine(work)
    rows = []
    for name in args.only:
        case = CASES[name](work, args.quick)
        rows += case.rows
        shutil.rmtree(case.top, ignore_errors=True)
    report = "\n".join([
        "Each case: the lines that came out are those that went in, each once, by number and hash. Memory is VmHWM.",
        "",
        "| case | what | seconds | peak memory, MiB |",
        "|---|---|---|---|",
        *rows,
    ])
    print(report)
    if args.record:
        only = "" if args.only == list(CASES) else " --only " + ",".join(args.only)
        bench.record("limits", "benches/limits.sh" + only, about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
