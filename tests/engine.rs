//! The engine at a full queue: it neither spins nor sleeps through room. And what it tells, and when.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pipeline::{TestClock, append, counted, drained};
use tailspool::capture::{Capture, CaptureOptions, CommitPace};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::error::Error;
use tailspool::limits::{FULL_RETRY, HOT_INTERVAL, INTERVAL, ONCE_TRIES, POLL_BYTES, PROGRESS_EVERY, TOLD_EVERY};
use tailspool::queue::depth::QueueLimits;
use tailspool::source::polling::PollingSource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::OsTree;
use tailspool::source::{Budget, EventSink, Overview, PollReport, Source, Wake};
use tailspool::wake::{StopSignal, Stopper, stop_pair};
use tailspool::watcher::{Moment, run};

/// The polling source, and a reader that comes at the moment that a test names.
struct Watched {
    source: PollingSource,
    disk: SimDisk,
    clock: Arc<TestClock>,
    stop: Stopper,
    read: String,
    polls: u32,
    /// Those after a refusal.
    waits: u32,
    refused: bool,
    /// Drain right after a poll that was refused, when the next look for room is due.
    drain_after_poll: bool,
}

impl Watched {
    fn drain_and_pass(&mut self) {
        self.read += &drained(&self.disk);
        self.clock.pass(FULL_RETRY);
    }
}

impl Source for Watched {
    fn poll(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        self.polls += 1;
        assert!(self.polls < 100, "it spins");
        let report = self.source.poll(budget, sink)?;
        self.refused = report.refused;
        if report.refused && self.drain_after_poll {
            self.drain_and_pass();
        }
        if self.read.matches('\n').count() == LINES {
            self.stop.stop();
        }
        Ok(report)
    }

    fn look_now(&mut self) {
        self.source.look_now();
    }

    fn wait(&mut self, _: Instant, stop: &StopSignal) -> Wake {
        self.waits += u32::from(self.refused);
        // While the queue is full there is nothing to be looked for: only the deadline ends the wait.
        let woken = self.source.wait(Instant::now() + Duration::from_millis(1), stop);
        assert!(!self.refused || woken != Wake::Look, "{woken:?}");
        self.drain_and_pass();
        woken
    }

    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        self.source.finish(sink)
    }

    fn overview(&self) -> Overview {
        self.source.overview()
    }
}

const LINES: usize = 5;

/// Watches a log of five lines with room for one in the queue; how often it was polled and waited for.
fn watch(drain_after_poll: bool) -> (u32, u32) {
    let temp = tempfile::tempdir().unwrap();
    append(&temp.path().join("a.jsonl"), "1\n2\n3\n4\n5\n");
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let options = CaptureOptions {
        commit_pace: CommitPace::Fixed(Duration::ZERO),
        limits: QueueLimits {
            records_max: Some(1),
            bytes_max: None,
        },
        ..CaptureOptions::default()
    };
    let clock_dyn: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let capture = Capture::open(Arc::clone(&shared), Arc::clone(&clock_dyn), counted(), options).unwrap();
    let scope = Scope::new(None, &[temp.path().to_owned()]).unwrap();
    let spec = RootSpec::new(temp.path());
    let options = SourceOptions {
        // A walk is always due.
        interval: Duration::ZERO,
        ..SourceOptions::new(roots::check(vec![spec], &scope, None).unwrap(), scope)
    };
    let source = PollingSource::new(options, Box::<OsTree>::default(), clock_dyn, capture.fold()).unwrap();
    let (stop, signal) = stop_pair().unwrap();
    let mut watched = Watched {
        source,
        disk,
        clock,
        stop,
        read: String::new(),
        polls: 0,
        waits: 0,
        refused: false,
        drain_after_poll,
    };
    let outcome = run(capture, &mut watched, &*shared, &signal, false, &mut |_| {}).unwrap();
    watched.read += &drained(&watched.disk);
    assert_eq!(watched.read, "1\n2\n3\n4\n5\n");
    assert_eq!(outcome.captured.lines, LINES as u64);
    (watched.polls, watched.waits)
}

#[test]
fn a_full_queue_is_waited_for_and_costs_nothing() {
    let (polls, waits) = watch(false);
    assert!(waits >= 4, "{waits} waits");
    assert!(polls <= waits + 4, "{polls} polls in {waits} waits");
}

#[test]
fn room_that_is_found_after_a_refusal_is_used_at_once() {
    let (_, waits) = watch(true);
    assert_eq!(waits, 0);
}

/// The polling source, on a clock that a script moves whenever it would wait.
struct Scripted<F> {
    source: PollingSource,
    clock: Arc<TestClock>,
    /// Goes by while a poll works.
    poll_time: Duration,
    begin: Instant,
    waits: u32,
    /// What happens in the nth wait, which would end so long after the start.
    script: F,
}

impl<F: FnMut(u32, Duration) -> (Duration, Wake) + Send> Source for Scripted<F> {
    fn poll(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        let report = self.source.poll(budget, sink);
        self.clock.pass(self.poll_time);
        report
    }

    fn look_now(&mut self) {
        self.source.look_now();
    }

    fn wait(&mut self, deadline: Instant, _: &StopSignal) -> Wake {
        self.waits += 1;
        let (until, wake) = (self.script)(self.waits, deadline.duration_since(self.begin));
        self.clock.pass((self.begin + until).duration_since(self.clock.now()));
        wake
    }

    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        self.source.finish(sink)
    }

    fn overview(&self) -> Overview {
        self.source.overview()
    }
}

/// What is told while the script goes on, with the number of lines captured by then.
fn told(
    top: &Path,
    once: bool,
    poll_time: Duration,
    script: impl FnMut(u32, Duration) -> (Duration, Wake) + Send,
) -> Vec<(&'static str, u64)> {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let shared: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let options = CaptureOptions {
        commit_pace: CommitPace::Fixed(Duration::ZERO),
        ..CaptureOptions::default()
    };
    let capture = Capture::open(Arc::clone(&disk), Arc::clone(&shared), counted(), options).unwrap();
    let scope = Scope::new(None, &[top.to_owned()]).unwrap();
    let options = SourceOptions {
        interval: Duration::ZERO,
        once,
        ..SourceOptions::new(roots::check(vec![RootSpec::new(top)], &scope, None).unwrap(), scope)
    };
    let source = PollingSource::new(options, Box::<OsTree>::default(), shared, capture.fold()).unwrap();
    let mut scripted = Scripted {
        source,
        begin: clock.now(),
        clock,
        poll_time,
        waits: 0,
        script,
    };
    let mut told = Vec::new();
    let mut tell = |moment: Moment<'_>| {
        told.push(match moment {
            Moment::Begun(_) => ("begun", 0),
            Moment::Progress(_, tally) => ("progress", tally.lines),
            Moment::CaughtUp(_, tally) => ("caught up", tally.lines),
            Moment::Minute(_, tally) => ("minute", tally.lines),
        });
    };
    let (_keep, signal) = stop_pair().unwrap();
    run(capture, &mut scripted, &*disk, &signal, once, &mut tell).unwrap();
    told
}

#[test]
fn what_was_captured_is_told_once_a_minute_and_only_when_there_is_something() {
    let temp = tempfile::tempdir().unwrap();
    let log: PathBuf = temp.path().join("a.jsonl");
    append(&log, "1\n");
    let (hour, second) = (Duration::from_secs(3600), Duration::from_secs(1));
    let script = |wait, until| match wait {
        1 => {
            assert_eq!(until, hour, "nothing is to be told");
            append(&log, "2\n");
            (second, Wake::Look)
        }
        2 => {
            assert_eq!(until, TOLD_EVERY, "it wakes up by itself");
            append(&log, "3\n");
            (2 * second, Wake::Look)
        }
        3 => {
            assert_eq!(until, TOLD_EVERY);
            (until, Wake::Deadline)
        }
        // A minute in which nothing comes.
        4 => {
            assert_eq!(until, TOLD_EVERY + hour, "all is told");
            (3 * TOLD_EVERY, Wake::Look)
        }
        5 => {
            append(&log, "4\n");
            (3 * TOLD_EVERY + second, Wake::Look)
        }
        _ => (until, Wake::Stop),
    };
    let told = told(temp.path(), false, Duration::ZERO, script);
    assert_eq!(told, [("begun", 0), ("caught up", 1), ("minute", 3), ("minute", 4)]);
}

/// A log for five polls, and what is told of it when each takes so long.
fn told_of_backlog(once: bool, poll_time: Duration) -> Vec<(&'static str, u64)> {
    let temp = tempfile::tempdir().unwrap();
    let line = "x".repeat(4095) + "\n";
    let lines = usize::try_from(POLL_BYTES).unwrap() / line.len();
    append(&temp.path().join("a.jsonl"), &line.repeat(5 * lines));
    let mut told = told(temp.path(), once, poll_time, |_, until| (until, Wake::Stop));
    assert_eq!(told.remove(0), ("begun", 0));
    if !once {
        assert_eq!(told.pop(), Some(("caught up", 5 * lines as u64)));
    }
    assert!(told.is_sorted(), "{told:?}");
    told
}

#[test]
fn progress_is_told_while_a_backlog_is_read_and_not_too_often() {
    for once in [false, true] {
        let each = told_of_backlog(once, PROGRESS_EVERY);
        assert!(each.iter().all(|told| told.0 == "progress"), "{each:?}");
        assert!(each.len() >= 3, "{each:?}");
        let second = told_of_backlog(once, PROGRESS_EVERY / 2);
        assert!(second.len() < each.len() && !second.is_empty(), "{second:?}");
        assert_eq!(told_of_backlog(once, Duration::ZERO), []);
    }
}

/// A polling source with a walk before each of the first polls, each for one file, and a file that is renamed then.
struct Renamed {
    source: PollingSource,
    clock: Arc<TestClock>,
    top: PathBuf,
    polls: u64,
}

/// Walks that are made while there is something to do: more than are granted to what cannot be looked at.
const WALKS: u64 = 2 + ONCE_TRIES;

impl Source for Renamed {
    fn poll(&mut self, _: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        self.polls += 1;
        assert!(self.polls < 100, "it does not end");
        if self.polls <= WALKS {
            self.clock.pass(INTERVAL);
        }
        if self.polls == WALKS + 1 {
            std::fs::rename(self.top.join("z.jsonl"), self.top.join("elsewhere.jsonl")).unwrap();
        }
        self.source.poll(Budget { bytes: 1 }, sink)
    }

    fn look_now(&mut self) {
        self.source.look_now();
    }

    fn wait(&mut self, _: Instant, _: &StopSignal) -> Wake {
        self.clock.pass(HOT_INTERVAL);
        Wake::Look
    }

    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        self.source.finish(sink)
    }

    fn overview(&self) -> Overview {
        self.source.overview()
    }
}

#[test]
fn with_once_a_file_that_is_renamed_before_its_turn_is_captured_however_often_was_walked_before() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    for number in 0..2 * WALKS {
        append(&top.join(format!("{number}.jsonl")), "one\n");
    }
    append(&top.join("z.jsonl"), "last\n");
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let clock_dyn: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let options = CaptureOptions::default();
    let capture = Capture::open(Arc::clone(&shared), Arc::clone(&clock_dyn), counted(), options).unwrap();
    let scope = Scope::new(None, std::slice::from_ref(&top)).unwrap();
    let options = SourceOptions {
        once: true,
        ..SourceOptions::new(roots::check(vec![RootSpec::new(&top)], &scope, None).unwrap(), scope)
    };
    let source = PollingSource::new(options, Box::<OsTree>::default(), clock_dyn, capture.fold()).unwrap();
    let (_stop, signal) = stop_pair().unwrap();
    let mut renamed = Renamed {
        source,
        clock,
        top,
        polls: 0,
    };
    let outcome = run(capture, &mut renamed, &*shared, &signal, true, &mut |_| {}).unwrap();
    assert!(outcome.complete && outcome.overview.unknown == 0, "{outcome:?}");
    assert!(drained(&disk).ends_with("last\n"));
}
