"""What the benchmarks share: building, measuring children, telling of the machine, keeping results."""

import ctypes
import datetime
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

REPO = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MIB = 1 << 20


def fail(text):
    print(f"error: {text}", file=sys.stderr)
    sys.exit(1)


def binary():
    """$TAILSPOOL, or a release build of the repository that this file is in."""
    given = os.environ.get("TAILSPOOL")
    if given:
        found = shutil.which(given)
        return os.path.abspath(found) if found else fail(f"TAILSPOOL={given} is no program")
    command = ["cargo", "build", "--release", "--bin", "tailspool", "--message-format", "json-render-diagnostics"]
    try:
        built = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE)
    except FileNotFoundError:
        fail("cargo is not there; give a built binary in TAILSPOOL")
    if built.returncode != 0:
        fail("cargo build failed")
    for line in built.stdout.splitlines():
        made = json.loads(line).get("executable")
        if made and os.path.basename(made) == "tailspool":
            return made
    return fail("cargo named no executable")


def example(name):
    """A release build of an example."""
    command = ["cargo", "build", "--release", "--example", name, "--message-format", "json-render-diagnostics"]
    built = subprocess.run(command, cwd=REPO, stdout=subprocess.PIPE)
    made = [json.loads(line).get("executable") for line in built.stdout.splitlines()]
    return next((path for path in made if path and os.path.basename(path) == name), None) or fail("cargo build failed")


class Ran:
    """A child that has ended: exit code, seconds, CPU seconds, peak memory."""

    def __init__(self, code, seconds, usage, high_water, busy, read_bytes=None):
        self.code = code
        # What was handed to the disk, also later; and what was read, from the page cache too. None if not known.
        self.written_bytes = usage.ru_oublock * 512 if sys.platform == "linux" else None
        self.read_bytes = read_bytes
        # Cores that were busy with something else, the work of the kernel for us included; None if not known.
        self.others = None if busy is None else max(busy - usage.ru_utime - usage.ru_stime, 0) / max(seconds, 0.01)
        self.seconds = seconds
        self.cpu = usage.ru_utime + usage.ru_stime
        self.user, self.system = usage.ru_utime, usage.ru_stime
        # A child's ru_maxrss begins with that of this process, so a small peak is hidden in it; VmHWM does
        # not, but is only sampled. Linux counts ru_maxrss in KiB, macOS in bytes.
        upper = usage.ru_maxrss / (MIB if sys.platform == "darwin" else 1024)
        self.rss_mib = upper if high_water is None or upper > own_peak_mib() + 1 else high_water


def own_peak_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (MIB if sys.platform == "darwin" else 1024)


def busy_seconds():
    """CPU seconds of the whole machine that were not idle; None where that is not told."""
    try:
        with open("/proc/stat", encoding="utf-8") as stat:
            user, nice, system, _, _, irq, softirq = map(int, stat.readline().split()[1:8])
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return None


def run(command, stdout=None, after=None, env=None, until=None):
    """Runs a command; `after` is called within the measured time. One that does not end by itself has done its work
    when `until` returns, with the moment at which it was done, and is ended then."""
    busy, started = busy_seconds(), time.monotonic()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, env=env)
    stopped, high_water = threading.Event(), [None]

    def sample():
        while not stopped.wait(0.01):
            found = first_line(f"/proc/{child.pid}/status", "VmHWM")
            if found:
                high_water[0] = int(found.split()[0]) / 1024

    sampler = threading.Thread(target=sample)
    sampler.start()
    ended = None
    if until:
        ended = until(child)
        child.terminate()
    read_bytes = read_by(child.pid)
    _, status, usage = os.wait4(child.pid, 0)
    ended = ended or time.monotonic()
    busy = None if busy is None else busy_seconds() - busy
    stopped.set()
    sampler.join()
    child.returncode = os.waitstatus_to_exitcode(status)
    if after:
        before = time.monotonic()
        after()
        ended += time.monotonic() - before
    return Ran(child.returncode, ended - started, usage, high_water[0], busy, read_bytes)


def read_by(pid):
    """Bytes that a child has read when it has ended, as its `read` calls returned them; None where that is not told."""
    if not hasattr(os, "waitid"):
        return None
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    read = first_line(f"/proc/{pid}/io", "rchar")
    return read and int(read)


def sync_filesystem(path):
    """Writes out everything on the filesystem of `path`."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "syncfs") or libc.syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def work_directory(given):
    """A fresh directory below `given`, or below $HOME, which `watch` takes without a --scope."""
    base = given or os.environ.get("HOME")
    if not base:
        fail("HOME is not set; give --work DIR")
    return tempfile.mkdtemp(prefix="tailspool-bench-", dir=os.path.realpath(base))


def generate(*arguments):
    """Calls the corpus generator, apart from this process, so that its memory is not measured with it."""
    done = subprocess.run(
        [sys.executable, os.path.join(REPO, "benches", "corpus.py"), *map(str, arguments)],
        stdout=subprocess.PIPE, check=False,
    )
    if done.returncode != 0:
        fail("the corpus could not be made")
    return int(done.stdout)


def status(tailspool, home):
    out = subprocess.run([tailspool, "--home", home, "status", "--json"], stdout=subprocess.PIPE, check=True).stdout
    return json.loads(out)


def spread(values, digits=0):
    """Median and range, as text."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def first_line(path, prefix):
    try:
        with open(path, encoding="utf-8") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(prefix)), None)
    except OSError:
        return None


def filesystem(path):
    """Type and options of the filesystem that `path` is on."""
    best = ("", "unknown", "")
    try:
        with open("/proc/self/mounts", encoding="utf-8", errors="replace") as mounts:
            for mount in mounts:
                _, point, kind, options = mount.split()[:4]
                inside = path == point or path.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best[0]):
                    best = (point, kind, options)
    except OSError:
        pass
    return f"{best[1]} ({best[2]})" if best[2] else best[1]


def output_of(*command):
    try:
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=REPO, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def machine(path):
    """What the figures depend on, as lines of a list; nothing that names the machine."""
    cpu = first_line("/proc/cpuinfo", "model name") or platform.machine()
    memory = first_line("/proc/meminfo", "MemTotal")
    memory = f"{int(memory.split()[0]) / MIB:.0f} GiB" if memory else "unknown"
    commit = output_of("git", "rev-parse", "--short", "HEAD") or "unknown"
    changed = output_of("git", "status", "--porcelain", "--untracked-files=no", "src", "Cargo.toml", "Cargo.lock")
    source = f"commit: {commit}{' with changes in src' if changed else ''}"
    if os.environ.get("TAILSPOOL"):
        source = "binary: the one in $TAILSPOOL, of unknown commit"
    load = f"{os.getloadavg()[0]:.1f}"
    return [
        f"CPU: {cpu}, {os.cpu_count()} cores; load at the start {load}",
        f"memory: {memory}",
        f"filesystem: {filesystem(path)}",
        f"kernel: {platform.system()} {platform.release()}",
        f"rustc: {output_of('rustc', '--version') or 'unknown'}",
        source,
    ]


def record(name, command, about, report, path=None):
    """Keeps a report as benches/results/<date>-<name>.md, or in the file that is named."""
    day = datetime.date.today().isoformat()
    results = os.path.join(REPO, "benches", "results")
    os.makedirs(results, exist_ok=True)
    path = path or os.path.join(results, f"{day}-{name}.md")
    with open(path, "w", encoding="utf-8") as out:
        out.write(f"# {name}, {day}\n\n    {command}\n\n")
        out.writelines(f"- {line}\n" for line in about)
        out.write("\n" + report + "\n")
    print(f"kept in {os.path.relpath(path, REPO)}")
