"""A watcher that is measured: its tree, its home, who drains it, and what came out."""

import os
import re
import resource
import signal
import subprocess
import time

import appender
import bench
import kernel

BATCH = re.compile(r"pending-[0-9A-Z]{26}(?:-(\d+)\.jsonl|\.json)")


def records_in(data):
    """Records of the batches that were renamed into a queue."""
    found = (BATCH.fullmatch(name) for name in kernel.moved_names(data))
    return [int(one.group(1) or 1) for one in found if one]


class Watching:
    """One tree and its home below the work directory."""

    def __init__(self, tailspool, work, source, options=(), nofile=None):
        self.tailspool, self.work, self.source = tailspool, work, source
        self.options, self.nofile = list(options), nofile
        self.tree, self.home = os.path.join(work, "tree"), os.path.join(work, "home")
        self.said = os.path.join(work, "said")
        self.children, self.watcher, self.drain = [], None, None
        self.visible = self.drained = None
        os.makedirs(self.tree)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            child.kill()
            child.wait()
        for noting in (self.visible, self.drained):
            if noting:
                noting.process.kill()

    def start_child(self, *arguments, **streams):
        def limit():
            kernel.end_with_parent()
            if self.nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

        command = [self.tailspool, "--home", self.home, *arguments]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=limit, **streams)
        self.children.append(child)
        return child

    def start(self, *more):
        """Starts the watcher, and waits until it has caught up."""
        with open(self.said, "wb") as said:
            arguments = ["--scope", self.work, "--source", self.source, *self.options, *more, self.tree]
            self.watcher = self.start_child("watch", *arguments, stdout=subprocess.DEVNULL, stderr=said)
        until = time.monotonic() + 120
        while True:
            with open(self.said, encoding="utf-8") as said:
                text = said.read()
            if "caught up" in text:
                return self.watcher.pid
            if self.watcher.poll() is not None or time.monotonic() > until:
                bench.fail(f"the watcher did not catch up: {text}")
            time.sleep(0.05)

    def stop(self):
        self.watcher.send_signal(signal.SIGTERM)
        if self.watcher.wait(60) != 0:
            bench.fail("the watcher failed")

    def note(self, with_drain):
        """Begins to note what becomes visible, and what a drain that follows hands out."""
        self.visible = appender.Noting(kernel.watch_moves_into(f"{self.home}/pending"), lambda data: sum(records_in(data)))
        if with_drain:
            self.drain = self.start_child("drain", "--follow", "--format", "raw", stdout=subprocess.PIPE)
            self.drained = appender.Noting(self.drain.stdout.fileno(), lambda data: data.count(b"\n"))

    def status(self):
        return bench.status(self.tailspool, self.home)

    def drain_once(self):
        command = [self.tailspool, "--home", self.home, "drain", "--format", "raw"]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout

    def empty(self):
        """Takes out what the tree held from the start."""
        self.drain_once()

    def wait_for(self, count, seconds):
        """Waits until so many lines have come out everywhere."""
        for what, noting in (("visible", self.visible), ("drained", self.drained)):
            if noting and not noting.wait_for(count, seconds):
                bench.fail(f"{noting.total.value} of {count} lines became {what} within {seconds} s")

    def times(self, count):
        """When each numbered line became visible, and when it was drained (None without a drain).

        What a drain hands out is in the order of the batches, so the names alone say which line is in which batch.
        """
        if self.drained:
            order, pending = [], b""
            for at, data in self.drained.result():
                *lines, pending = (pending + data).split(b"\n")
                order += ((appender.number_of(text), at) for text in lines)
        else:
            lines = self.drain_once().splitlines()
            order = [(appender.number_of(text), None) for text in lines]
        if sorted(number for number, _ in order) != list(range(count)):
            bench.fail(f"not each of {count} lines came exactly once: {len(order)} came")
        seen = [at for at, data in self.visible.result() for records in records_in(data) for _ in range(records)]
        visible = {number: at for (number, _), at in zip(order, seen, strict=True)}
        return visible, dict(order) if self.drained else None
