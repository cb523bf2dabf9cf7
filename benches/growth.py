"""The cases of growth.sh: one thing grows by tens, the rest stays; time and memory of each command, and how they grow."""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys

import bench
import plot
from bench import MIB

QUICK = {"files": [10, 100], "line": [15, 1500, 150_000], "pending": [10, 100],
         "ledger": [100, 1000]}
FULL = {
    "files": [100, 1000, 10_000, 100_000],
    "line": [15, 150, 1500, 15_000, 150_000, 1_500_000, 25_000_000, 250_000_000],
    "pending": [10, 100, 1000, 10_000, 100_000],
    "ledger": [1000, 10_000, 100_000, 1_000_000],
}
TITLES = {
    "files": "files, of one short line each",
    "line": "bytes of a line",
    "pending": "files that wait in the queue, of one record each",
    "ledger": "lines of the ledger, of 10,000 files at most",
}


def parse():
    parser = argparse.ArgumentParser(
        prog="growth.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Times commands while one thing grows by tens: files (a capture, a start with nothing new, verify), the
length of lines (capture and drain of 100 MB of them, or of one line that is longer), files that wait in the queue
(a start, status, drain), and lines of the ledger (a start, trace, verify, status). For each command two exponents are told:
of a line through all points, both axes logarithmic, and of the last step alone; 1 is growth in proportion. More than that at the last step, beyond the noise, is a defect.
The binary is $TAILSPOOL, or a release build of this repository.""",
    )
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of each; the median counts, default %(default)s")
    parser.add_argument("--quick", action="store_true", help="tiny inputs: whether it works, not how it grows")
    parser.add_argument("--only", metavar="CASES", help="of " + ",".join(FULL) + "; default all")
    parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (8 GB), default $HOME")
    parser.add_argument("--record", action="store_true", help="keep the report in benches/results/ and the plot of all cases in docs/")
    args = parser.parse_args()
    args.only = args.only.split(",") if args.only else list(FULL)
    if not set(args.only) <= set(FULL):
        parser.error("no such case")
    return args


class Place:
    """A directory of its own for one size: logs, home, output."""

    def __init__(self, work):
        self.top = os.path.join(work, "place")
        shutil.rmtree(self.top, ignore_errors=True)
        self.logs, self.home, self.out = (os.path.join(self.top, part) for part in ("logs", "home", "out"))
        os.makedirs(self.logs)

    def run(self, *options):
        bench.sync_filesystem(self.top)
        with open(self.out, "wb") as target:
            ran = bench.run([TAILSPOOL, "-q", "--home", self.home, *options], stdout=target)
        if ran.code != 0:
            bench.fail(f"{' '.join(options)} ended with {ran.code}")
        return ran.seconds, ran.rss_mib

    def once(self, *options):
        return self.run("watch", "--once", "--scope", self.top, *options, self.logs)

    def drain(self, expected_bytes):
        took = self.run("drain", "--format", "raw")
        found = os.path.getsize(self.out)
        if found != expected_bytes:
            bench.fail(f"{found} bytes came out, {expected_bytes} went in")
        os.unlink(self.out)
        return took

    def expect(self, lines):
        found = bench.status(TAILSPOOL, self.home)["captured_lines"]
        if found != lines:
            bench.fail(f"{found} lines were captured, not {lines}")


def files(place, count):
    for number in range(count):
        directory = os.path.join(place.logs, f"{number // 1000}")
        if number % 1000 == 0:
            os.makedirs(directory)
        with open(os.path.join(directory, f"{number}.jsonl"), "w", encoding="ascii") as log:
            log.write(f'{{"type":"user","n":{number}}}\n')
    first = place.once()
    place.expect(count)
    again = place.once()
    place.expect(count)
    return {
        "`watch --once`, all new": first,
        "`watch --once`, nothing new": again,
        "`verify`": place.run("verify", "--scope", place.top),
    }


def line(place, length):
    count = max(1, BYTES // length)
    path = os.path.join(place.logs, "a.jsonl")
    # In pieces: memory of this process would count as that of commands that are too short to be looked at.
    at_once = max(1, MIB // length)
    with open(path, "wb") as log:
        for begun in range(0, count, at_once):
            if length <= MIB:
                log.write((b'"' + b"x" * (length - 3) + b'"\n') * min(at_once, count - begun))
                continue
            log.write(b'"')
            for written in range(0, length - 3, MIB):
                log.write(b"x" * min(MIB, length - 3 - written))
            log.write(b'"\n')
    size = os.path.getsize(path)
    # Long lines are made of few: all figures are for as many bytes.
    share = BYTES / size
    capture = place.once()
    place.expect(size // length)
    drained = place.drain(size)
    return {
        "`watch --once`, a 100 MB": (capture[0] * share, capture[1]),
        "`drain --format raw`, a 100 MB": (drained[0] * share, drained[1]),
    }


def pending(place, count):
    with open(os.path.join(place.logs, "a.jsonl"), "w", encoding="ascii") as log:
        log.writelines(f'{{"n":{number}}}\n' for number in range(count))
    size = os.path.getsize(log.name)
    place.once("--layout", "record")
    place.expect(count)
    return {
        "`watch --once`, nothing new": place.once(),
        "`status`": place.run("status"),
        "`drain --format raw`": place.drain(size),
    }


def ledger(place, count):
    """A commit has one ledger line for each file that something was appended to, and two for a new one."""
    logs = [os.path.join(place.logs, f"{number}.jsonl") for number in range(max(10, min(10_000, count // 10)))]
    made = 0
    while made < count:
        made += len(logs) * (1 if made else 2)
        for path in logs:
            with open(path, "a", encoding="ascii") as log:
                log.write('{"type":"user"}\n')
        place.once()
    place.run("drain", "--peek", "--max", "1")
    with open(place.out, encoding="utf-8") as out:
        first = json.loads(out.read())["ulid"]
    return {
        "`watch --once`, nothing new": place.once(),
        "`trace` of the oldest record": place.run("trace", first),
        "`verify`": place.run("verify", "--scope", place.top),
        "`status`": place.run("status"),
    }


CASES = {"files": files, "line": line, "pending": pending, "ledger": ledger}


def slope(points):
    """Of a line through the points, both axes logarithmic."""
    logs = [(math.log(x), math.log(max(y, 1e-6))) for x, y in points]
    return statistics.linear_regression(*zip(*logs)).slope


def measured(case, sizes, rounds):
    """For each command: a (size, seconds, MiB) for each size."""
    found = {}
    for size in sizes:
        took = {}
        for _ in range(rounds):
            for name, figures in CASES[case](Place(WORK), size).items():
                took.setdefault(name, []).append(figures)
        for name, figures in took.items():
            seconds, mib = (statistics.median(column) for column in zip(*figures))
            found.setdefault(name, []).append((size, seconds, mib))
            print(f"{case} {size:>11,} {name:34} {seconds:8.3f} s {mib:7.1f} MiB", file=sys.stderr)
    return found


def table(case, found):
    sizes = [size for size, _, _ in next(iter(found.values()))]
    rows = [
        f"### {TITLES[case][0].upper()}{TITLES[case][1:]}",
        "",
        "| | " + " | ".join(f"{size:,}" for size in sizes) + " | exponent | of the last step |",
        "|---|" + "---|" * (len(sizes) + 2),
    ]
    for name, points in found.items():
        for place, unit, digits in ((1, "s", 3), (2, "MiB", 1)):
            curve = [(point[0], point[place]) for point in points]
            cells = " | ".join(f"{value:.{digits}f}" for _, value in curve)
            rows.append(f"| {name}, {unit} | {cells} | {slope(curve):.2f} | {slope(curve[-2:]):.2f} |")
    return "\n".join(rows)


args = parse()
TAILSPOOL = bench.binary()
WORK = bench.work_directory(args.work)
BYTES = 1_000_000 if args.quick else 100_000_000
try:
    about = bench.machine(WORK)
    results = {case: measured(case, (QUICK if args.quick else FULL)[case], args.rounds) for case in args.only}
    report = f"Medians of {args.rounds} rounds. MB are 10^6 bytes.\n\n"
    report += "\n\n".join(table(case, found) for case, found in results.items())
    print(report)
    if args.record:
        is_all = set(args.only) == set(FULL)
        if is_all:
            with open(os.path.join(bench.REPO, "docs", "growth.svg"), "w", encoding="utf-8") as out:
                out.write(plot.growth(results, TITLES))
        name = "growth" if is_all else "-".join(["growth", *args.only])
        bench.record(name, f"benches/growth.sh --rounds {args.rounds} --only {','.join(args.only)}", about, report)
finally:
    shutil.rmtree(WORK, ignore_errors=True)
