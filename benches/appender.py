"""Processes beside the bench: one that writes logs, one that notes when bytes come. They share CLOCK_MONOTONIC."""

import gc
import multiprocessing
import os
import select
import time

import kernel

FORK = multiprocessing.get_context("fork")
LINE_BYTES = 1024
NO_NUMBER = 999_999_999


def line(number):
    """A line of 1 KiB with its number in front."""
    head, tail = b'{"n":%09d,"text":"' % number, b'"}\n'
    return head + b"x" * (LINE_BYTES - len(head) - len(tail)) + tail


def number_of(text):
    return int(text[5:14])


def file_names(tree, files, directories):
    """The paths of a tree, in the order in which they are written."""
    return [os.path.join(tree, f"{n % directories:04}", f"{n:05}.jsonl") for n in range(files)]


def make_tree(tree, files, directories):
    """Files with one line each that counts for nothing."""
    for number in range(directories):
        os.makedirs(os.path.join(tree, f"{number:04}"))
    for path in file_names(tree, files, directories):
        with open(path, "wb") as log:
            log.write(line(NO_NUMBER))


class Beside:
    """A process that does one thing and then says what came of it."""

    def __init__(self, work, *arguments):
        self.ours, theirs = FORK.Pipe()
        self.process = FORK.Process(target=self._run, args=(work, theirs, arguments), daemon=True)
        self.process.start()
        theirs.close()

    @staticmethod
    def _run(work, theirs, arguments):
        kernel.end_with_parent()
        gc.disable()
        theirs.send(work(theirs, *arguments))

    def result(self):
        found = self.ours.recv()
        self.process.join()
        return found


def write_paced(_, paths, per_second, count, keep_open):
    """Appends to the paths in turn; returns when each write began."""
    flags = os.O_WRONLY | os.O_APPEND
    kept = [os.open(path, flags) for path in paths] if keep_open else None
    begun, times = time.monotonic(), []
    for number in range(count):
        text = line(number)
        pause = begun + number / per_second - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        log = kept[number % len(kept)] if kept else os.open(paths[number % len(paths)], flags)
        times.append(time.monotonic_ns())
        os.write(log, text)
        if not kept:
            os.close(log)
    return times


def write_new(times, path, number):
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    times.append(time.monotonic_ns())
    os.write(log, line(number))
    os.close(log)


def write_burst(_, tree, count, directories):
    """New files with one line each, as fast as they can be made."""
    times = []
    for number in range(count):
        write_new(times, os.path.join(tree, f"{number % directories:04}", f"new-{number:05}.jsonl"), number)
    return times


def write_chains(_, tree, count, depth):
    """Chains of new directories, as `mkdir -p` makes them, with a line in each leaf."""
    times = []
    for number in range(count):
        directory = os.path.join(tree, f"chain-{number:05}")
        os.mkdir(directory)
        for level in range(1, depth):
            directory = os.path.join(directory, str(level))
            os.mkdir(directory)
        write_new(times, os.path.join(directory, "leaf.jsonl"), number)
    return times


def _note(theirs, descriptor, measure, total):
    noted, poller = [], select.poll()
    poller.register(descriptor, select.POLLIN)
    poller.register(theirs.fileno(), select.POLLIN)
    while True:
        ready = dict(poller.poll())
        if descriptor in ready:
            data = os.read(descriptor, 1 << 20)
            at = time.monotonic_ns()
            if not data:
                poller.unregister(descriptor)
            noted.append((at, data))
            total.value += measure(data)
        elif theirs.fileno() in ready:
            return noted


class Noting(Beside):
    """Notes what is read from a descriptor, and when."""

    def __init__(self, descriptor, measure):
        self.total = FORK.RawValue("q", 0)
        super().__init__(_note, descriptor, measure, self.total)

    def wait_for(self, total, seconds):
        """Whether so much came in time."""
        until = time.monotonic() + seconds
        while self.total.value < total and time.monotonic() < until:
            time.sleep(0.02)
        return self.total.value >= total

    def result(self):
        self.ours.send(None)
        return super().result()
