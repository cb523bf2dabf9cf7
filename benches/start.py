"""Measures starts; called by start.sh."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time

import bench
from bench import MIB, spread

parser = argparse.ArgumentParser(
    prog="start.sh",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="""Times starts of `watch` with a home that knows many files, of which none changed, and holds many
batches that nobody has drained, all of them captured:

  cold start    from the call of the process until it says that it has caught up
  first line    one line was appended meanwhile: until its event comes, which is after its commit
  killed        the same after `kill -9` of a watcher that had captured from 100 files since its snapshot

beside a bare listing of the tree, `find TREE -printf '%s %T@'`, in the same rounds. Tells memory, and the system calls of
a cold start where `strace` is installed. The page cache is warm. The binary is $TAILSPOOL, or a release build of this
repository.""",
)
parser.add_argument("--files", type=int, default=100_000, metavar="N", help="default %(default)s")
parser.add_argument("--pending", type=float, default=10, metavar="GB", help="default %(default)s; takes 2.5 times that on the disk while it is made")
parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default %(default)s")
parser.add_argument("--source", default="auto", help="as `watch` has it, default %(default)s")
parser.add_argument("--quick", action="store_true", help="a tiny tree: whether it works, not how fast")
parser.add_argument("--work", metavar="DIR", help="where a temporary directory is made, default $HOME")
parser.add_argument("--record", action="store_true", help="keep the report in benches/results/")
args = parser.parse_args()
if args.quick:
    args.files, args.pending, args.rounds = 2000, 0.02, 2
if min(args.files, args.rounds) < 1 or args.pending < 0:
    parser.error("at least one file and one round")

IN_A_DIRECTORY = 1000
CORPUS_BYTES = 256 * MIB
# Older than a minute, as all but a few files of a tree are.
AGE_SECONDS = 86_400
KILLED_FILES = 100

tailspool = bench.binary()
work = bench.work_directory(args.work)
tree, home, bulk = (os.path.join(work, name) for name in ("tree", "home", "bulk"))


def path(number):
    directory = os.path.join(tree, f"project-{number // IN_A_DIRECTORY:04}")
    return os.path.join(directory, f"{number:08x}-0000-4000-8000-{number:012x}.jsonl")


def append(number, text):
    """A line that is not of the last minute, so that the next start finds the tree as this one did."""
    with open(path(number), "a", encoding="utf-8") as log:
        log.write(text)
    aged = time.time() - AGE_SECONDS
    os.utime(path(number), (aged, aged))


def make_tree():
    for number in range(args.files):
        if number % IN_A_DIRECTORY == 0:
            os.makedirs(os.path.dirname(path(number)))
        line = f'{{"type":"user","sessionId":"{number}","message":{{"role":"user","content":"{"word " * (number % 40)}"}}}}\n'
        append(number, line * 2)


def make_pending():
    """Captures copies of a corpus, which are deleted again."""
    wanted = int(args.pending * 1e9)
    if wanted == 0:
        return
    os.makedirs(bulk)
    first = os.path.join(bulk, "first")
    bench.generate("tree", first, "--files", 20, "--bytes", min(wanted, CORPUS_BYTES))
    size = sum(os.path.getsize(os.path.join(top, name)) for top, _, names in os.walk(first) for name in names)
    for number in range(1, -(-wanted // size)):
        shutil.copytree(first, os.path.join(bulk, f"copy-{number}"))
    once(bulk)
    shutil.rmtree(bulk)
    os.makedirs(bulk)
    once(bulk)


def command(*more, roots=(tree,)):
    return [tailspool, "--home", home, "watch", "--scope", work, "--source", args.source, *more, *roots]


def once(*roots):
    subprocess.run(command("--once", roots=roots), stderr=subprocess.DEVNULL, check=True)


class Started:
    """A watcher, the seconds from its call to a word of it, and its memory then."""

    def __init__(self, events, word):
        begun = time.perf_counter()
        more = ["--events"] if events else []
        streams = {"stdout": subprocess.PIPE if events else subprocess.DEVNULL}
        streams["stderr"] = subprocess.DEVNULL if events else subprocess.PIPE
        self.child = subprocess.Popen(command(*more), stdin=subprocess.DEVNULL, **streams)
        said = self.child.stdout if events else self.child.stderr
        for line in said:
            if word in line:
                self.seconds = time.perf_counter() - begun
                break
        else:
            bench.fail("the watcher ended")
        peak = bench.first_line(f"/proc/{self.child.pid}/status", "VmHWM")
        self.rss_mib = int(peak.split()[0]) / 1024 if peak else float("nan")

    def stop(self, how=signal.SIGTERM):
        self.child.send_signal(how)
        if self.child.stdout:
            self.child.stdout.read()
        self.child.communicate()


def list_tree():
    begun = time.perf_counter()
    subprocess.run(["find", tree, "-printf", "%s %T@\\n"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def started(times, name, **how):
    one = Started(**how)
    times[name].append(one.seconds * 1000)
    memory.append(one.rss_mib)
    return one


def system_calls():
    """Of a start that finds nothing to read, the five that come most often."""
    if not shutil.which("strace"):
        return None
    kept = os.path.join(work, "strace")
    subprocess.run(["strace", "-f", "-c", "-S", "calls", "-o", kept, *command("--once")],
                   stderr=subprocess.DEVNULL, check=True)
    rows = [line.split() for line in open(kept, encoding="utf-8")]
    calls = [(row[-1], int(row[3])) for row in rows if len(row) > 4 and row[3].isdigit() and row[-1] != "total"]
    total = sum(count for _, count in calls)
    most = ", ".join(f"{count} {name}" for name, count in calls[:5])
    return f"{total} system calls when nothing changed ({total / args.files:.2f} a file): {most}."


memory = []
try:
    about = bench.machine(work)
    make_tree()
    make_pending()
    time.sleep(2.1)
    # The second one looks once more at what had just changed.
    for _ in range(2):
        once(tree)
        time.sleep(2.1)
    LISTING, COLD, FIRST, KILLED = "`find`", "cold start", "first line", "first line, killed before"
    times = {LISTING: [], COLD: [], FIRST: [], KILLED: []}
    for number in range(args.rounds):
        times[LISTING].append(list_tree() * 1000)
        started(times, COLD, events=False, word=b"caught up").stop()
        append(number % args.files, '{"new":"line"}\n')
        started(times, FIRST, events=True, word=b'"append"').stop()
        bench.sync_filesystem(work)
        for other in range(min(KILLED_FILES, args.files)):
            append(other, '{"before":"the kill"}\n')
        one = Started(events=True, word=b'"append"')
        time.sleep(0.5)
        one.stop(signal.SIGKILL)
        append(number % args.files, '{"after":"the kill"}\n')
        started(times, KILLED, events=True, word=b"after").stop()
        time.sleep(2.1)
        # What had just changed is looked at once more before the next round.
        once(tree)
    status = bench.status(tailspool, home)
    calls = system_calls()
    snapshot = os.path.getsize(os.path.join(home, "cursors.json"))
    lines = [
        f"{args.files} files, {status['pending_batches']} batches of {status['pending_bytes'] / 1e9:.2f} GB pending, a snapshot "
        f"of {snapshot / MIB:.1f} MiB; {args.rounds} rounds in turns, warm page cache, source {args.source}.",
        "",
        "| what | ms, median (range) |",
        "|---|---|",
        *(f"| {name} | {spread(values)} |" for name, values in times.items()),
        "",
        f"Peak memory when it had caught up, or captured the line: {spread(memory)} MiB.",
    ]
    report = "\n".join(lines + (["", calls] if calls else []))
    print(report)
    if args.record:
        options = f"--files {args.files} --pending {args.pending:g} --rounds {args.rounds} --source {args.source}"
        bench.record("start", f"benches/start.sh {options}", about, report)
finally:
    shutil.rmtree(work, ignore_errors=True)
    sys.stdout.flush()
