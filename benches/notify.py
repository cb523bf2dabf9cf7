"""The latency of the notify source, what it costs while nothing happens, and whether it keeps up with bursts.

Every figure has a goal beside it. Trees and homes are in one temporary directory; the bare system calls of a commit,
and a bare listing, are measured in the same run. Called by notify.sh.
"""

import argparse
import gc
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace

import appender
import bench
import notify_figures as figures
from bench import spread
from watching import Watching

NAMES = ["latency", "events", "idle", "polling", "descriptors", "burst", "directories"]
FULL = SimpleNamespace(
    files=500, directories=50, per_second=200, dropped_seconds=2, seconds=10,
    idle_files=20_000, idle_directories=1_000, cold_seconds=66, idle_seconds=60, strace_seconds=20, sweeps=4,
    sweep_seconds=10, listings=10, listing_pause=2, nofile=1_024, burst=3_000, chains=[2_000, 10_000], depth=5,
)
QUICK = SimpleNamespace(
    files=20, directories=5, per_second=200, dropped_seconds=0.3, seconds=0.5,
    idle_files=100, idle_directories=10, cold_seconds=0, idle_seconds=0.5, strace_seconds=0.3, sweeps=1,
    sweep_seconds=0.5, listings=2, listing_pause=0.1, nofile=64, burst=50, chains=[10], depth=5,
)


class Bench:
    """One run: its sizes, its programs, and the rows of its table."""

    def __init__(self, args, work):
        self.args, self.work, self.sizes = args, work, args.sizes
        self.tailspool = bench.binary()
        self.rows, self.notes = [], []

    def watching(self, *options, source=None, nofile=None):
        place = tempfile.mkdtemp(dir=self.work)
        return Watching(self.tailspool, place, source or self.args.source, options, nofile)

    def place(self):
        return tempfile.mkdtemp(dir=self.work)

    def row(self, what, goal, value, held=None):
        self.rows.append(f"| {what} | {goal} | {value} | {'' if held is None else 'yes' if held else '**no**'} |")
        print(self.rows[-1], file=sys.stderr)

    def note(self, text):
        self.notes.append(f"- {text}")

    def in_rounds(self, measure):
        return [measure() for _ in range(self.args.rounds)]


def of(rounds, *keys):
    """One value of each round."""
    for key in keys:
        rounds = [one[key] for one in rounds]
    return rounds


def percentile_text(rounds, *keys):
    return ", ".join(f"{name} {spread(of(rounds, *keys, name), 2)}" for name in ("p50", "p90", "p99", "max"))


def latency(run):
    """In each round the bare commits and all kinds of appending, in turns."""
    program, sizes = bench.example("bare_commit"), run.sizes
    kinds = {
        "opened anew for each line": (False, True),
        "kept open": (True, True),
        "opened anew, nobody drains": (False, False),
    }
    bare, found = [], {kind: [] for kind in kinds}
    for _ in range(run.args.rounds):
        bare.append(figures.bare_commits(program, run.place(), sizes))
        for kind, (keep_open, with_drain) in kinds.items():
            with run.watching("--commit-interval", run.args.commit_interval) as watching:
                found[kind].append(figures.latency(watching, sizes, keep_open, with_drain))
    run.note(f"bare system calls of a commit at the same pace, ms: {percentile_text(bare)}; CPU {spread(of(bare, 'cpu_us'))} µs")
    for kind, rounds in found.items():
        # Each round beside the bare commits of the same round.
        slower = [one["visible"]["p50"] / other["p50"] for one, other in zip(rounds, bare)]
        dearer = [one["cpu_us"] / other["cpu_us"] for one, other in zip(rounds, bare)]
        p99 = of(rounds, "visible", "p99")
        # With nobody who drains, commits are paced.
        drained = kinds[kind][1]
        goals = ("≤ 1.5", "≤ 5") if drained else ("paced", "paced")
        run.row(f"append → durable and visible, {kind}: p50 : bare", goals[0], spread(slower, 2),
                statistics.median(slower) <= 1.5 if drained else None)
        run.row("the same: p99, ms", goals[1], spread(p99, 2), statistics.median(p99) <= 5 if drained else None)
        run.row("the same: CPU of the watcher a line : bare", "≤ 2", spread(dearer, 2), statistics.median(dearer) <= 2)
        run.note(f"{kind}, visible, ms: {percentile_text(rounds, 'visible')}; CPU of the watcher {spread(of(rounds, 'cpu_us'))} µs"
                 f" a line, resident {spread(of(rounds, 'resident_mib'))} MiB")
        if drained:
            run.note(f"{kind}, handed out by `drain --follow`, ms: {percentile_text(rounds, 'drained')};"
                     f" CPU of the drain {spread(of(rounds, 'drain_cpu_us'))} µs a line")


def events(run):
    program = bench.example("event_latency")
    sources = {"bare": [], run.args.source: []}
    for _ in range(run.args.rounds):
        for source, rounds in sources.items():
            rounds.append(figures.event_latency(program, run.place(), run.sizes, source))
    bare, rounds = sources.values()
    p50, p99 = of(rounds, "p50"), of(rounds, "p99")
    run.row("append → event of an embedded watcher: p50 : bare", "", spread([ours / bare for ours, bare in zip(p50, of(bare, "p50"))], 2))
    run.row("the same: p50, ms", "≤ 0.15", spread(p50, 3), statistics.median(p50) <= 0.15)
    run.row("the same: p99, ms", "≤ 1", spread(p99, 3), statistics.median(p99) <= 1)
    run.note(f"bare calls of an event (wait for inotify, open, read, send), ms: {percentile_text(bare)}")
    run.note(f"event channel, ms: {percentile_text(rounds)}; CPU of watcher and writer {spread(of(rounds, 'cpu_us'))} µs a line")


def idle_rows(run, what, found, sweep):
    sizes = run.sizes
    run.row(f"{what}, {sizes.idle_seconds} s: CPU, ms", "0", f"{found['cpu_ms']:.2f}", found["cpu_ms"] == 0)
    if sweep:
        run.row(f"{what}: CPU of one sweep, ms", "≤ 60", f"{found['sweep_ms']:.1f}", found["sweep_ms"] <= 60)
        run.row("the same : a bare listing of the tree", "", f"{found['sweep_ms'] / statistics.median(found['listing_ms']):.2f}")
    now, peak = found["memory_mib"]
    run.row(f"{what}: memory, MiB", "≤ 50", f"{now:.1f}, at its highest {peak:.1f}", peak <= 50)
    run.row(f"{what}: handles", "≤ 64", found["handles"], found["handles"] <= 64)
    run.row(f"{what}: bytes read", "0", found["read"][0], found["read"][0] == 0)
    idle_note(run, what, found)


def idle_note(run, what, found):
    calls = found["calls"]
    told = "not counted" if calls is None else ", ".join(f"{name} {count}" for name, count in calls.items()) or "none"
    run.note(f"{what}: woken {found['woken']} times in {run.sizes.idle_seconds} s, {found['threads']} threads;"
             f" {found['read'][1]} bytes from the disk; system calls in {run.sizes.strace_seconds} s: {told};"
             f" a bare listing of the same tree takes {spread(found['listing_ms'], 1)} ms of CPU")


def sweeping(run):
    """The options that make sweeps frequent, where the binary knows them."""
    asked = ["--sweep-interval", f"{run.sizes.sweep_seconds * 1000:.0f}ms"]
    known = subprocess.run([run.tailspool, "watch", *asked, "--help"], capture_output=True)
    if known.returncode == 0 and run.args.source != "poll":
        return asked, run.sizes.sweep_seconds
    run.note("one sweep was not measured: there is no --sweep-interval, or polling was asked for")
    return None


def idle(run, nofile=None):
    sweep = sweeping(run)
    listing = bench.example("bare_listing")
    with run.watching(nofile=nofile) as watching:
        found = figures.idle(watching, run.sizes, listing, sweep)
    what = f"idle, {run.sizes.idle_files} files in {run.sizes.idle_directories} directories"
    idle_rows(run, what + (f", at most {nofile} descriptors" if nofile else ""), found, sweep)


def descriptors(run):
    idle(run, nofile=run.sizes.nofile)


def polling(run):
    with run.watching(source="poll") as watching:
        found = figures.idle(watching, run.sizes, bench.example("bare_listing"), None)
    share = found["cpu_ms"] / run.sizes.idle_seconds / 10
    sweep = found["cpu_ms"] / run.sizes.idle_seconds * 2
    bare = statistics.median(found["listing_ms"])
    what = f"idle, {run.sizes.idle_files} files, polling every 2 s"
    run.row(f"{what}: share of a core, %", "≤ 2.5", f"{share:.2f}", share <= 2.5)
    run.note(f"{what}: {sweep:.1f} ms of CPU a sweep, {sweep / bare:.2f} times the bare listing")
    idle_note(run, what, found)


def burst_rows(run, what, goal_ms, measure):
    rounds = run.in_rounds(measure)
    late = of(rounds, "visible")
    run.row(f"{what}: last visible after the last was written, ms", f"all, ≤ {goal_ms}", spread(late), statistics.median(late) <= goal_ms)
    run.note(f"{what}: writer {spread(of(rounds, 'writer_seconds'), 2)} s; each, visible, ms: {percentile_text(rounds, 'each')};"
             f" last one out of `drain --follow` after {spread(of(rounds, 'drained'))} ms; CPU of the watcher"
             f" {spread(of(rounds, 'cpu_ms'))} ms, memory at its highest {spread(of(rounds, 'peak_mib'))} MiB")


def burst(run):
    def measure():
        with run.watching() as watching:
            return figures.burst(watching, run.sizes, appender.write_burst, run.sizes.burst, run.sizes.directories)

    burst_rows(run, f"{run.sizes.burst} new files in one burst", 1000, measure)


def directories(run):
    for chains in run.sizes.chains:
        def measure():
            with run.watching() as watching:
                return figures.burst(watching, run.sizes, appender.write_chains, chains, run.sizes.depth)

        burst_rows(run, f"{chains} chains of {run.sizes.depth} new directories, a line in each leaf", 2000, measure)


def parse():
    parser = argparse.ArgumentParser(prog="notify.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["notify", "poll", "auto"], default="notify", help="default %(default)s")
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=f"one of {', '.join(NAMES)}; may be given again")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of latencies and bursts, default %(default)s")
    parser.add_argument("--commit-interval", default="1ms", metavar="TIME", help="of the watcher whose latency is measured, default %(default)s: each line has a commit of its own")
    parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (1 GB, not in memory), default $HOME")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: whether it works, not how fast")
    parser.add_argument("--out", metavar="FILE", help="keep the report in this file")
    parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error("at least one round")
    if not sys.platform.startswith("linux"):
        parser.error("the figures are taken on Linux only")
    args.sizes = QUICK if args.quick else FULL
    if args.quick:
        args.rounds = 1
    return args


def main():
    args = parse()
    # Whoever ends this ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    gc.disable()
    work = bench.work_directory(args.work)
    try:
        if bench.filesystem(work).startswith("tmpfs"):
            bench.fail(f"{work} is in memory; give --work DIR on a disk")
        about, run = bench.machine(work), Bench(args, work)
        begun = time.monotonic()
        for name in args.only or NAMES:
            globals()[name](run)
        intro = (f"`--source {args.source}`, {args.rounds} rounds in turns: median (range). Lines of {appender.LINE_BYTES} bytes;"
                 f" latencies at {args.sizes.per_second} lines/s into {args.sizes.files} files in turn, `--commit-interval {args.commit_interval}`,"
                 f" the first {args.sizes.dropped_seconds} s left out. The run took {time.monotonic() - begun:.0f} s.")
        report = "\n".join([intro, "", "| figure | goal | measured | held |", "|---|---|---|---|", *run.rows, "", *run.notes])
        print(report)
        command = " ".join(["benches/notify.sh", *sys.argv[1:]])
        if args.out or args.record:
            bench.record("notify", command, about, report, args.out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
