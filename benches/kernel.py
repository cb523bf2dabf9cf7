"""What the kernel tells of a process, and of a directory. Linux only."""

import ctypes
import os
import re
import shutil
import signal
import struct
import subprocess
import time

LIBC = ctypes.CDLL(None, use_errno=True)
IN_MOVED_TO, IN_Q_OVERFLOW = 0x80, 0x4000
PR_SET_PDEATHSIG = 1


def end_with_parent():
    """In a child: it is killed when the bench ends, however that ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def watch_moves_into(directory):
    """An inotify descriptor that tells what is renamed into a directory."""
    descriptor = LIBC.inotify_init1(os.O_CLOEXEC)
    if descriptor < 0 or LIBC.inotify_add_watch(descriptor, os.fsencode(directory), IN_MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), f"cannot watch {directory}")
    return descriptor


def moved_names(data):
    """The names in what was read from such a descriptor."""
    at = 0
    while at < len(data):
        _, mask, _, length = struct.unpack_from("iIII", data, at)
        if mask & IN_Q_OVERFLOW:
            raise OverflowError("the queue of inotify overflowed")
        yield os.fsdecode(data[at + 16:at + 16 + length].rstrip(b"\0"))
        at += 16 + length


def cpu_seconds(pid):
    """CPU seconds of a process, all its threads together, to the nanosecond: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def fields(path):
    """A file of `name: value` lines."""
    with open(path, encoding="utf-8") as lines:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def switches(pid):
    """How often a thread of the process went to sleep of itself, and so was woken."""
    threads = os.listdir(f"/proc/{pid}/task")
    return sum(int(fields(f"/proc/{pid}/task/{thread}/status")["voluntary_ctxt_switches"]) for thread in threads)


def memory_mib(pid):
    """Resident memory: now, and at its highest."""
    status = fields(f"/proc/{pid}/status")
    return tuple(int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))


def handles(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def bytes_read(pid):
    """What its system calls read, and what of that came from the disk."""
    io = fields(f"/proc/{pid}/io")
    return int(io["rchar"]), int(io["read_bytes"])


def system_calls(pid, seconds):
    """Its system calls in so many seconds, by name; None where strace is missing or not allowed."""
    if not shutil.which("strace"):
        return None
    command = ["strace", "-c", "-f", "-p", str(pid)]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
    try:
        time.sleep(seconds)
        tracer.send_signal(signal.SIGINT)
        _, told = tracer.communicate(timeout=10)
    finally:
        tracer.kill()
        tracer.wait()
    rows = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", told, re.MULTILINE)
    calls = {name: int(count) for count, name in rows if name != "total"}
    return calls if "attached" in told else None
