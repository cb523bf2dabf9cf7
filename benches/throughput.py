"""How fast a backlog is taken and handed out, and what that costs; see --help."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys

import baselines
import bench
import counts
from bench import MIB, spread

CAPTURE, DRAIN, SHORT = "watch --once", "drain --format raw", "watch --once, 15-byte lines"
BARE_DRAIN = "cat, fsync, and rm of the queue beside it"


def arguments():
    parser = argparse.ArgumentParser(
        prog="throughput.sh",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="""Captures a corpus of session logs with `tailspool watch --once`, everything on, into a fresh home, drains it
into a file, and compares with `cat` of all logs into one synced file, `cp -r` and a sync, GNU tail and rsyslog where they
are installed; the drain also with `cat` of all logs into one synced file while a copy of the queue is removed, which is
what the system has to do for it. What was captured is compared with the manifest of the corpus, record by record, each time.
All take turns; the page cache is warm, and dirty pages are written out before each. Then one and a half
times the corpus is written and removed, so that free memory is memory: a virtual machine that hands free pages
back to its host pays for the first touch of each of them about ten times what the copy into it costs, and by
chance one command would pay for what another one freed. --cold leaves this out.
The binary is $TAILSPOOL, or a release build of this repository.""",
    )
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--mebibytes", type=int, default=1024, metavar="N", help="size of the corpus, default %(default)s")
    parser.add_argument("--short-mebibytes", type=int, default=96, metavar="N",
                        help="size of one log of 15-byte lines, default %(default)s; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the corpus, default %(default)s")
    parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made (about five times the corpus), default $HOME")
    parser.add_argument("--cold", action="store_true", help="do not touch the free memory before each command")
    parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
    args = parser.parse_args()
    if args.rounds < 1 or args.mebibytes < 4 or args.short_mebibytes < 0:
        parser.error("at least one round and four mebibytes")
    return args


class Bench:
    """One run of the script: the corpus, and how each command is measured."""

    def __init__(self, args, work):
        self.args, self.work = args, work
        self.tailspool, self.corpus = bench.binary(), bench.example("corpus")
        self.tree, self.out, self.home, short = (os.path.join(work, name) for name in ("logs", "out", "home", "short"))
        made = self.output(self.corpus, "--out", self.tree, "--mebibytes", args.mebibytes, "--seed", args.seed)
        self.about = json.loads(made)
        self.manifest = self.tree + ".manifest.jsonl"
        with open(self.manifest, encoding="utf-8") as table:
            entries = [json.loads(line) for line in list(table)[1:]]
        logs = [entry for entry in entries if entry["captured"] and "same_as" not in entry]
        self.paths = [os.path.join(self.tree, entry["path"]) for entry in logs]
        self.size = self.about["bytes"]
        self.short, self.short_lines = os.path.join(short, "short.jsonl"), 0
        if args.short_mebibytes:
            os.mkdir(short)
            self.short_lines = int(self.output(self.corpus, "--short-lines", self.short, "--mebibytes", args.short_mebibytes))
        self.ways, self.words = baselines.found(self.tree, self.paths, self.out, work)
        self.results, self.checked = {}, []

    def output(self, *command):
        done = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, check=False)
        return done.stdout if done.returncode == 0 else bench.fail(f"{command[0]} failed: {done.stdout[:500]}")

    def watch(self, root):
        return [self.tailspool, "-q", "--home", self.home, "watch", "--once", "--scope", self.work, root]

    def prepare(self, paths):
        """Warms the cache with what will be read, and leaves no write of others to be waited for."""
        for path in paths:
            with open(path, "rb", buffering=0) as log:
                while log.read(MIB):
                    pass
        bench.sync_filesystem(self.work)
        if not self.args.cold:
            piece, scratch = bytes(MIB), os.path.join(self.work, "scratch")
            with open(scratch, "wb") as target:
                for _ in range(int(1.5 * self.size) >> 20):
                    target.write(piece)
            os.unlink(scratch)
            bench.sync_filesystem(self.work)

    def keep(self, name, ran, moved):
        if ran.code not in (0, -15):
            bench.fail(f"{name} ended with {ran.code}")
        ran.moved = moved
        self.results.setdefault(name, []).append(ran)
        print(f"{name:28} {moved / ran.seconds / 1e6:7.0f} MB/s  {ran.cpu:6.2f} s CPU", file=sys.stderr)

    def clear(self, *left):
        for path in left or (self.out, self.home):
            shutil.rmtree(path) if os.path.isdir(path) else os.path.exists(path) and os.unlink(path)

    def round(self):
        for name, way in self.ways.items():
            self.prepare(self.paths)
            self.keep(name, *way())
            self.clear()
        self.prepare(self.paths)
        ran = bench.run(self.watch(self.tree))
        found = bench.status(self.tailspool, self.home)
        ran.commits, ran.queue = found["last_commit"]["number"], found["pending_bytes"]
        self.keep(CAPTURE, ran, self.size)
        self.checked.append(json.loads(self.output(self.corpus, "--check", self.manifest, "--home", self.home)))
        if sys.platform == "linux":
            self.prepare(self.paths)
            ran = baselines.bare_drain(self.paths, os.path.join(self.home, "pending"), self.out, self.work)
            self.keep(BARE_DRAIN, ran, self.size)
            self.clear(self.out)
        self.prepare([])
        with open(self.out, "wb") as target:
            ran = bench.run([self.tailspool, "-q", "--home", self.home, "drain", "--format", "raw"], stdout=target)
        if os.path.getsize(self.out) != self.about["raw_bytes"]:
            bench.fail(f"{os.path.getsize(self.out)} bytes were drained, not {self.about['raw_bytes']}")
        self.keep(DRAIN, ran, self.about["raw_bytes"])
        self.clear()
        if self.short_lines:
            self.prepare([self.short])
            ran = bench.run(self.watch(os.path.dirname(self.short)))
            if bench.status(self.tailspool, self.home)["captured_lines"] != self.short_lines:
                bench.fail("not all short lines were captured")
            self.keep(SHORT, ran, 15 * self.short_lines)
            self.clear()


def middle(values, digits):
    """Median and range, for programs."""
    ordered = sorted(values)
    return {"median": round(bench.statistics.median(ordered), digits), "min": round(ordered[0], digits), "max": round(ordered[-1], digits)}


def figures(run, extra):
    """All that was measured, for programs: what the tables are made from."""
    commands = {}
    for name, rans in run.results.items():
        each = {
            "mb_per_s": middle([ran.moved / ran.seconds / 1e6 for ran in rans], 1),
            "cpu_s_per_gb": middle([ran.cpu / ran.moved * 1e9 for ran in rans], 3),
            "user_s": middle([ran.user for ran in rans], 3),
            "system_s": middle([ran.system for ran in rans], 3),
            "rss_mib": middle([ran.rss_mib for ran in rans], 1),
        }
        for key, value in (("written_per_byte", "written_bytes"), ("read_per_byte", "read_bytes")):
            if all(getattr(ran, value) is not None for ran in rans):
                each[key] = middle([getattr(ran, value) / ran.moved for ran in rans], 3)
        if name == SHORT:
            each["lines_per_s"] = middle([run.short_lines / ran.seconds for ran in rans], 0)
        commands[name] = each
    rate = lambda ran: ran.moved / ran.seconds
    ratios = {
        name: middle([rate(ours) / rate(theirs) for ours, theirs in zip(run.results[CAPTURE], rans)], 3)
        for name, rans in run.results.items() if name in run.ways
    }
    bare = run.results.get(BARE_DRAIN)
    if bare:
        extra["drain_to"] = {BARE_DRAIN: middle([rate(ours) / rate(theirs) for ours, theirs in zip(run.results[DRAIN], bare)], 3)}
    verdicts = [{key: value for key, value in verdict.items() if key != "told"} for verdict in run.checked]
    return {"bench": "throughput", "rounds": run.args.rounds, "corpus": run.about, "commands": commands,
            "capture_to": ratios, "checked": verdicts, **extra}


def compact(found):
    """JSON in which each set of figures is one line."""
    return re.sub(r"\{[^{}]*\}", lambda inner: " ".join(inner[0].split()), json.dumps(found, indent=1))


def report(run, found):
    """The same for people."""
    about, captures = run.about, run.results[CAPTURE]
    text = lambda values, digits: f"{values['median']:,.{digits}f} ({values['min']:,.{digits}f}–{values['max']:,.{digits}f})"
    maybe = lambda each, key: text(each[key], 2) if key in each else "–"
    rows = ["| | MB/s, median (range) | CPU s per GB | user s | system s | peak RSS, MiB | written a byte | read a byte |",
            "|---|---|---|---|---|---|---|---|"]
    for name, each in found["commands"].items():
        cells = [text(each["mb_per_s"], 0), text(each["cpu_s_per_gb"], 2), text(each["user_s"], 2), text(each["system_s"], 2),
                 text(each["rss_mib"], 1), maybe(each, "written_per_byte"), maybe(each, "read_per_byte")]
        rows.append(f"| `{name}` | {' | '.join(cells)} |")
    verdict = run.checked[0]
    notes = [f"`watch` to `{name}`, round by round: {text(ratio, 2)}" for name, ratio in found["capture_to"].items()]
    notes += [f"`drain` to `{name}`, round by round: {text(ratio, 2)}" for name, ratio in found.get("drain_to", {}).items()]
    notes += run.words
    notes += [f"{name} wrote {ran.share:.4f} of the bytes" for name, rans in run.results.items() for ran in rans[:1] if hasattr(ran, "share")]
    if SHORT in found["commands"]:
        notes.append(f"{run.short_lines} lines of 15 bytes: {text(found['commands'][SHORT]['lines_per_s'], 0)} lines/s")
    if "syncs" in found:
        notes.append(f"syncs of `watch --once`: {found['syncs']}, {found['syncs_per_mb']:.2f} a MB; of a lone line,"
                     f" appended when the one before was committed: {found['syncs_per_lone_line']:.1f}")
    notes += [
        "cores busy with other work during `watch`: "
        + ("unknown" if captures[0].others is None else spread([ran.others for ran in captures], 2)),
        f"commits: {spread([ran.commits for ran in captures])}; bytes in the queue a byte of log: {captures[0].queue / run.size:.2f}",
        f"checked against the manifest in each round: {verdict['records']} records of {about['records']};"
        f" missing {verdict['missing']}, extra {verdict['extra']}, doubled {verdict['doubled']}, changed {verdict['changed']},"
        f" misjudged {verdict['misjudged']}, out of order {verdict['disordered']}",
    ]
    return "\n".join([
        f"{about['files']} logs, {about['records']} records, {run.size / 1e6:.1f} MB, and {about['beside_bytes'] / 1e6:.1f} MB of files"
        f" beside them; {run.args.rounds} rounds in turns, warm page cache, free memory {'as it was' if run.args.cold else 'touched'}"
        " before each command. MB are 10^6 bytes. Written is what was handed to the disk, read what `read` calls returned.",
        "", *rows, "", *(f"- {note}" for note in notes), "", "```json", compact(found), "```",
    ])


def main():
    args = arguments()
    work = bench.work_directory(args.work)
    try:
        machine = bench.machine(work)
        run = Bench(args, work)
        machine.append(f"versions: {baselines.versions()}")
        for number in range(args.rounds):
            print(f"round {number + 1}", file=sys.stderr)
            run.round()
        found = figures(run, counts.syncs(run))
        text = report(run, found)
        print(text)
        if args.record:
            command = ["benches/throughput.sh", f"--rounds {args.rounds}", f"--mebibytes {args.mebibytes}",
                       f"--short-mebibytes {args.short_mebibytes}", f"--seed {args.seed}"] + ["--cold"] * args.cold
            name = "throughput-cold" if args.cold else "throughput"
            bench.record(name if args.mebibytes == 1024 else f"{name}-{args.mebibytes}", " ".join(command), machine, text)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
