//! The engine at a full queue: it neither spins nor sleeps through room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use pipeline::{TestClock, append, counted, drained};
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::error::Error;
use tailspool::limits::FULL_RETRY;
use tailspool::queue::depth::QueueLimits;
use tailspool::source::polling::PollingSource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::OsTree;
use tailspool::source::{Budget, EventSink, Overview, PollReport, Source, Wake};
use tailspool::watcher::run;

/// The polling source, and a reader that comes at the moment that a test names.
struct Watched {
    source: PollingSource,
    disk: SimDisk,
    clock: Arc<TestClock>,
    stop: Sender<Wake>,
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
            self.stop.send(Wake::Stop).unwrap();
        }
        Ok(report)
    }

    fn wait(&mut self, _: Instant, wake: &Receiver<Wake>) -> Wake {
        self.waits += u32::from(self.refused);
        // While the queue is full there is nothing to be looked for: only the deadline ends the wait.
        let woken = self.source.wait(Instant::now() + Duration::from_millis(1), wake);
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
        commit_interval: Duration::ZERO,
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
    let (stop, wake) = unbounded();
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
    let outcome = run(capture, &mut watched, &*shared, &wake, false, &mut |_| {}).unwrap();
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
