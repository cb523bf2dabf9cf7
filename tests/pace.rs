//! When commits are made: at once, or later the more files wait unread.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Pipeline, TestClock, append};
use tailspool::capture::{CaptureOptions, CommitPace};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::home::{PENDING, pending};
use tailspool::limits::{
    COMMIT_INTERVAL_MAX, COMMIT_PACE_FROM_BATCHES, COMMIT_PACE_TO_BATCHES, POLL_BYTES, TURN_COST_BYTES,
};
use tailspool::pure::merge::MergeBounds;
use tailspool::pure::name::{Batch, Name, single};
use tailspool::queue::depth;
use tailspool::queue::outgoing::Layout;
use tailspool::source::Budget;
use tailspool::source::tree::OsTree;
use tailspool::wake::stop_pair;
use tailspool::watcher::run;
use ulid::Ulid;

/// A pipeline that has made its first commit, over a queue that held so many files before.
struct Watched {
    temp: tempfile::TempDir,
    disk: Arc<dyn Disk>,
    clock: Arc<TestClock>,
    pipeline: Pipeline,
}

impl Watched {
    fn over(unread_files: u32, options: CaptureOptions) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let clock = TestClock::new();
        let start = || {
            let tree = Box::<OsTree>::default();
            Pipeline::start_with(&disk, temp.path(), &["."], &clock, tree, options).unwrap()
        };
        // A first start makes the directories.
        drop(start());
        for number in 0..unread_files {
            let first = Ulid(u128::from(number) + 1);
            let name = match options.layout {
                Layout::Batch => Batch { first, records: 1 }.name(),
                Layout::Record => single(first),
            };
            disk.create(&pending(name)).unwrap();
        }
        append(&temp.path().join("a.jsonl"), "1\n");
        let mut pipeline = start();
        // Merging has a time of its own.
        pipeline.capture.merge_bounds(MergeBounds {
            from_batches: u64::MAX,
            ..MergeBounds::default()
        });
        pipeline.look().unwrap();
        assert_eq!(pipeline.capture.captured().commits, 1);
        Self {
            temp,
            disk,
            clock,
            pipeline,
        }
    }

    fn auto(unread_files: u32) -> Self {
        Self::over(unread_files, CaptureOptions::default())
    }

    /// Takes one more line, without a commit.
    fn take(&mut self) {
        append(&self.temp.path().join("a.jsonl"), "1\n");
        self.pipeline.source.look_now();
        let budget = Budget { bytes: u64::MAX };
        let report = self.pipeline.source.poll(budget, &mut self.pipeline.capture).unwrap();
        assert!(!report.more && self.pipeline.capture.uncommitted_bytes() > 0);
    }

    /// Whether everything is committed after a tick.
    fn commits(&mut self, more: bool) -> bool {
        self.pipeline.capture.tick(more).unwrap();
        self.pipeline.capture.uncommitted_bytes() == 0
    }

    /// Others have read everything.
    fn read_all(&self) {
        for name in self.disk.list(Path::new(PENDING)).unwrap() {
            if Name::parse(&name).readable_records().is_some() {
                self.disk.unlink(&pending(&name)).unwrap();
            }
        }
        assert_eq!(depth::list(&*self.disk).unwrap().depth().batches, 0);
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn commits_follow_each_other_at_once_while_little_is_unread() {
    for unread_files in [0, COMMIT_PACE_FROM_BATCHES - 10] {
        let mut watched = Watched::auto(unread_files);
        for _ in 0..3 {
            watched.take();
            assert_eq!(watched.pipeline.capture.deadline(), Some(watched.clock.now()));
            assert!(watched.commits(false), "{unread_files}");
        }
    }
}

#[test]
fn a_commit_waits_100_ms_when_thousands_are_unread_in_either_layout() {
    for layout in [Layout::Batch, Layout::Record] {
        let options = CaptureOptions {
            layout,
            ..CaptureOptions::default()
        };
        let mut watched = Watched::over(COMMIT_PACE_TO_BATCHES, options);
        watched.take();
        let due = watched.clock.now() + COMMIT_INTERVAL_MAX;
        assert!(!watched.commits(false));
        assert_eq!(watched.pipeline.capture.deadline(), Some(due));
        watched.clock.pass(COMMIT_INTERVAL_MAX * 99 / 100);
        assert!(!watched.commits(false));
        watched.clock.pass(MILLISECOND);
        assert!(watched.commits(false));
    }
}

#[test]
fn what_others_have_read_is_noticed_but_not_looked_for_at_every_tick() {
    let mut watched = Watched::auto(COMMIT_PACE_TO_BATCHES);
    watched.take();
    assert!(!watched.commits(false), "the queue was counted anew, and it is full");
    watched.read_all();
    watched.clock.pass(COMMIT_INTERVAL_MAX / 2);
    assert!(!watched.commits(false), "it is too early to count again");
    watched.clock.pass(COMMIT_INTERVAL_MAX / 2);
    assert!(watched.commits(false));
    for _ in 0..3 {
        watched.take();
        assert!(watched.commits(false));
    }
}

#[test]
fn a_batch_grows_for_100_ms_while_the_source_has_more() {
    let mut watched = Watched::auto(0);
    watched.take();
    assert!(!watched.commits(true));
    watched.clock.pass(COMMIT_INTERVAL_MAX);
    assert!(watched.commits(true));
    watched.take();
    assert!(!watched.commits(true));
    assert!(watched.commits(false), "nothing more is to come");
}

#[test]
fn a_fixed_interval_is_kept() {
    let interval = Duration::from_millis(250);
    let options = CaptureOptions {
        commit_pace: CommitPace::Fixed(interval),
        ..CaptureOptions::default()
    };
    for unread_files in [0, COMMIT_PACE_TO_BATCHES] {
        let mut watched = Watched::over(unread_files, options);
        watched.take();
        watched.clock.pass(interval * 249 / 250);
        assert!(!watched.commits(false));
        watched.clock.pass(MILLISECOND);
        assert!(watched.commits(false));
    }
}

#[test]
fn the_engine_does_not_commit_after_each_poll_of_a_backlog() {
    let temp = tempfile::tempdir().unwrap();
    let polls = 3;
    for number in 0..polls * POLL_BYTES / TURN_COST_BYTES {
        append(&temp.path().join(format!("{number}.jsonl")), "1\n");
    }
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let mut pipeline = Pipeline::start(&disk, temp.path(), &TestClock::new()).unwrap();
    let (_keep, signal) = stop_pair().unwrap();
    let outcome = run(
        pipeline.capture,
        &mut *pipeline.source,
        &*disk,
        &signal,
        true,
        &mut |_| {},
    )
    .unwrap();
    assert_eq!(
        outcome.captured.files.len() as u64,
        polls * POLL_BYTES / TURN_COST_BYTES
    );
    // After the first poll, with which 100 ms begin that never end, and when all is read.
    assert_eq!(outcome.captured.commits, 2);
}
