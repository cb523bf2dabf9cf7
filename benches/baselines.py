"""What `tailspool` is measured against: programs that copy or ship the same logs."""

import os
import resource
import shutil
import subprocess
import sys
import time

import bench

# A shipper that writes nothing for so long has written what it will.
QUIET_SECONDS = 3
PATIENCE_SECONDS = 600
# Shippers that are named as absent, or as not measured, so that nobody takes silence for a result.
OTHERS = ["rsyslogd", "fluent-bit", "vector"]


def into_one_file(command, out):
    """A command whose standard output is a file that is synced."""
    with open(out, "wb") as target:
        return bench.run(command, stdout=target, after=lambda: os.fsync(target.fileno()))


def found(tree, paths, out, work):
    """The baselines that are installed: name, and a function that runs it and returns what it took and the bytes that
    it was to move; and words about those that are not."""
    size = sum(map(os.path.getsize, paths))
    whole = size + sum(os.path.getsize(path) for path in beside(tree, paths))
    ways = {
        "cat, fsync": lambda: (into_one_file(["cat", *paths], out), size),
        "cp -r, sync": lambda: (bench.run(["cp", "-r", tree, out], after=lambda: bench.sync_filesystem(work)), whole),
    }
    if is_gnu_tail():
        ways["tail -c +1, fsync"] = lambda: (into_one_file(["tail", "-q", "-c", "+1", *paths], out), size)
    if program("rsyslogd"):
        ways["rsyslogd, sync"] = lambda: (rsyslog(paths, out, work, size), os.path.getsize(out))
    absent = [name for name in OTHERS if not program(name)]
    unmeasured = [name for name in OTHERS[1:] if program(name)]
    words = [f"not installed, and so not compared: {', '.join(absent)}"] if absent else []
    words += [f"installed, but this script cannot drive it: {', '.join(unmeasured)}"] if unmeasured else []
    return ways, words


def bare_drain(paths, queue, out, work):
    """What every drain into a file must have the system do, and nothing else: as many bytes are written and synced while
    a copy of the queue is removed. Each alone is faster: the disk does both, on many filesystems also the freeing."""
    copy = os.path.join(work, "copy")
    subprocess.run(["cp", "-r", queue, copy], check=True)
    bench.sync_filesystem(work)
    script = 'out=$1 copy=$2; shift 2; rm -r "$copy" & cat "$@" > "$out" && sync "$out" && wait $!'
    return bench.run(["sh", "-c", script, "sh", out, copy, *paths])


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def is_gnu_tail():
    said = bench.output_of("tail", "--version")
    return bool(said and "GNU" in said)


def beside(tree, paths):
    """The files of the tree that are no logs; `cp` copies them too."""
    logs = set(paths)
    for top, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(top, name)
            if path not in logs and not os.path.islink(path):
                yield path


RSYSLOG = """
global(workDirectory="{state}" maxMessageSize="64m")
$MaxOpenFiles {files}
module(load="imfile" mode="inotify")
template(name="line" type="string" string="%msg%\\n")
ruleset(name="out" queue.type="LinkedList" queue.dequeueBatchSize="1024" queue.size="10000") {{
    action(type="omfile" file="{out}" template="line" sync="on" ioBufferSize="1m" queue.type="direct")
}}
input(type="imfile" file="{flat}/*.jsonl" tag="log" ruleset="out" addMetadata="off" freshStartTail="off")
"""


def rsyslog(paths, out, work, size):
    """All logs through rsyslog into one file that it syncs; it takes no tree, so it gets a directory of hard links."""
    flat, state = os.path.join(work, "flat"), os.path.join(work, "rsyslog")
    try:
        for directory in (flat, state):
            os.mkdir(directory)
        for number, path in enumerate(paths):
            os.link(path, os.path.join(flat, f"{number:06}.jsonl"))
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        config = os.path.join(state, "rsyslog.conf")
        with open(config, "w", encoding="utf-8") as text:
            text.write(RSYSLOG.format(state=state, out=out, flat=flat, files=files))
        command = [program("rsyslogd"), "-n", "-i", os.path.join(state, "pid"), "-f", config]
        ran = bench.run(command, until=lambda child: written(out, size, child))
        ran.share = os.path.getsize(out) / size
        return ran
    finally:
        for directory in (flat, state):
            shutil.rmtree(directory, ignore_errors=True)


def written(path, size, child):
    """Waits until a file has its size, or does not grow any more; returns the moment at which it last grew."""
    begun = moment = time.monotonic()
    last = 0
    while last < size and time.monotonic() - moment < QUIET_SECONDS and child.poll() is None:
        time.sleep(0.005)
        now = os.path.getsize(path) if os.path.exists(path) else 0
        if now > last:
            last, moment = now, time.monotonic()
        if time.monotonic() - begun > PATIENCE_SECONDS:
            print("gave up waiting for a shipper", file=sys.stderr)
            break
    return moment


def versions():
    """The first line that each of them says of itself."""
    said = {name: program(name) and subprocess.run(
        [program(name), "-v" if name == "rsyslogd" else "--version"], stdout=subprocess.PIPE, check=False, text=True
    ).stdout.split("\n")[0] for name in ["cat", "tail", "rsyslogd"]}
    return ", ".join(text.strip() for text in said.values() if text)
