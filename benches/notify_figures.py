"""The figures of the notify source: each function measures one, and returns numbers."""

import json
import os
import subprocess
import time

import appender
import bench
import kernel
from watching import Watching


def percentiles(values):
    ordered = sorted(values)
    found = {f"p{share}": ordered[min(len(ordered) * share // 100, len(ordered) - 1)] for share in (50, 90, 99)}
    return {**found, "max": ordered[-1]}


def program_said(*command):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, preexec_fn=kernel.end_with_parent)
    if done.returncode != 0:
        bench.fail(f"{os.path.basename(command[0])} ended with {done.returncode}")
    return json.loads(done.stdout)


def counts(sizes):
    """Lines that are left out at the beginning, and all lines."""
    dropped = int(sizes.dropped_seconds * sizes.per_second)
    return dropped, dropped + int(sizes.seconds * sizes.per_second)


def bare_commits(program, work, sizes):
    """The system calls of the same commits without anything else, at the same pace."""
    dropped, count = counts(sizes)
    told = program_said(program, f"{work}/home", f"{work}/logs", sizes.files, sizes.per_second, count)
    found = percentiles([one / 1e6 for one in told["nanoseconds"][dropped:]])
    return {**found, "cpu_us": sum(told["cpu_nanoseconds"][dropped:]) / 1e3 / (count - dropped)}


def event_latency(program, work, sizes, source):
    """As the channel of an embedded watcher tells it."""
    dropped, count = counts(sizes)
    told = program_said(program, f"{work}/logs", sizes.files, sizes.per_second, count, source)
    found = percentiles([one / 1e6 for one in told["nanoseconds"][dropped:]])
    return {**found, "cpu_us": told["cpu_nanoseconds"] / 1e3 / count}


def latency(watching: Watching, sizes, keep_open, with_drain):
    """From just before write(2) until the batch has its name, and until a drain has handed it out, in ms."""
    appender.make_tree(watching.tree, sizes.files, sizes.directories)
    pid = watching.start()
    watching.empty()
    watching.note(with_drain)
    dropped, count = counts(sizes)
    paths = appender.file_names(watching.tree, sizes.files, sizes.directories)
    # A drain that has just begun lists its queue.
    time.sleep(sizes.dropped_seconds / 2)
    writer = appender.Beside(appender.write_paced, paths, sizes.per_second, count, keep_open)
    time.sleep(sizes.dropped_seconds)
    before = cpu_of(watching)
    begun = time.monotonic()
    written = writer.result()
    spent = [after - earlier for after, earlier in zip(cpu_of(watching), before)]
    lines = (time.monotonic() - begun) * sizes.per_second
    watching.wait_for(count, 60)
    captured = watching.status()["captured_lines"]
    if captured != count + sizes.files:
        bench.fail(f"the status says {captured} lines of {count + sizes.files}")
    resident, _ = kernel.memory_mib(pid)
    watching.stop()
    visible, drained = watching.times(count)
    late = range(dropped, count)
    found = {"visible": percentiles([(visible[n] - written[n]) / 1e6 for n in late]), "resident_mib": resident}
    if with_drain:
        found["drained"] = percentiles([(drained[n] - written[n]) / 1e6 for n in late])
        found["drain_cpu_us"] = spent[1] * 1e6 / lines
    return {**found, "cpu_us": spent[0] * 1e6 / lines}


def cpu_of(watching):
    return [kernel.cpu_seconds(child.pid) for child in (watching.watcher, watching.drain) if child]


def idle(watching: Watching, sizes, listing, sweep):
    """A tree where nothing happens: what the watcher costs in between, and what one sweep costs.

    `sweep` is the options that make sweeps frequent, and the time between two of them; none where they are frequent
    anyhow.
    """
    appender.make_tree(watching.tree, sizes.idle_files, sizes.idle_directories)
    pid = watching.start()
    captured = watching.status()["captured_lines"]
    if captured != sizes.idle_files:
        bench.fail(f"{captured} of {sizes.idle_files} lines were captured")
    # A file stays hot for a minute after its change.
    time.sleep(sizes.cold_seconds)
    cpu, woken, read = kernel.cpu_seconds(pid), kernel.switches(pid), kernel.bytes_read(pid)
    time.sleep(sizes.idle_seconds)
    found = {
        "cpu_ms": (kernel.cpu_seconds(pid) - cpu) * 1e3,
        "woken": kernel.switches(pid) - woken,
        "read": [after - before for after, before in zip(kernel.bytes_read(pid), read)],
        "memory_mib": kernel.memory_mib(pid),
        "handles": kernel.handles(pid),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
        "calls": kernel.system_calls(pid, sizes.strace_seconds),
    }
    watching.stop()
    if sweep:
        found["sweep_ms"] = sweep_ms(watching, sizes, *sweep)
    told = program_said(listing, watching.tree, sizes.listings, sizes.listing_pause)
    if told["files"] != sizes.idle_files:
        bench.fail(f"{told['files']} files were listed")
    found["listing_ms"] = [nanoseconds / 1e6 for nanoseconds in told["cpu_nanoseconds"]]
    return found


def sweep_ms(watching, sizes, options, interval_seconds):
    """CPU of one sweep, from a run in which there are many: the files are cold, and nothing else happens."""
    pid = watching.start(*options)
    # The window begins and ends between two sweeps.
    time.sleep(interval_seconds / 2)
    before = kernel.cpu_seconds(pid)
    time.sleep(interval_seconds * sizes.sweeps)
    spent = kernel.cpu_seconds(pid) - before
    watching.stop()
    return spent * 1e3 / sizes.sweeps


def burst(watching: Watching, sizes, work, *arguments):
    """Many new files at once: how long after the last line the last one is there, in ms."""
    appender.make_tree(watching.tree, sizes.files, sizes.directories)
    pid = watching.start()
    watching.empty()
    watching.note(with_drain=True)
    time.sleep(0.5)
    cpu = kernel.cpu_seconds(pid)
    written = appender.Beside(work, watching.tree, *arguments).result()
    count = len(written)
    watching.wait_for(count, 300)
    spent = kernel.cpu_seconds(pid) - cpu
    status = watching.status()
    if status["captured_lines"] != count + sizes.files:
        bench.fail(f"the status says {status['captured_lines']} lines of {count + sizes.files}")
    _, peak = kernel.memory_mib(pid)
    watching.stop()
    visible, drained = watching.times(count)
    last = max(written)
    return {
        "writer_seconds": (last - min(written)) / 1e9,
        "visible": (max(visible.values()) - last) / 1e6,
        "drained": (max(drained.values()) - last) / 1e6,
        "each": percentiles([(visible[n] - written[n]) / 1e6 for n in range(count)]),
        "cpu_ms": spent * 1e3,
        "peak_mib": peak,
    }
