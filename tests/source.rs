//! The polling source: when it looks, in which order, and what it makes of a disk that comes back changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pipeline::{Meddled, Meddler, Pipeline, TestClock, append, drained};
use tailspool::capture::CaptureOptions;
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::{HOT_INTERVAL, HOT_WINDOW, INTERVAL, POLL_BYTES, TURN_COST_BYTES};
use tailspool::source::Budget;
use tailspool::source::kind::SourceKind;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::{OsTree, Stat};

/// Counts how often a root is opened, and shows every file on another device.
#[derive(Default)]
struct Odd {
    walks: AtomicU64,
    device_added: AtomicU64,
}

impl Meddler for Odd {
    fn root(&self, _: &Path) -> io::Result<()> {
        self.walks.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn change(&self, mut stat: Stat) -> Stat {
        stat.identity.device += self.device_added.load(Ordering::SeqCst);
        stat
    }
}

fn start(disk: &SimDisk, top: &Path, clock: &Arc<TestClock>, odd: &Arc<Odd>) -> Pipeline {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    Pipeline::start_with(
        &shared,
        top,
        &["."],
        clock,
        Meddled::tree(odd),
        CaptureOptions::default(),
    )
    .unwrap()
}

/// One poll as the engine makes it: nobody asks for a walk.
fn poll(pipeline: &mut Pipeline) {
    let report = pipeline
        .source
        .poll(Budget { bytes: POLL_BYTES }, &mut pipeline.capture)
        .unwrap();
    assert!(!report.more);
    pipeline.capture.commit().unwrap();
}

#[test]
fn a_hot_file_is_looked_at_without_a_walk_and_a_cold_one_is_not() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    let (disk, clock, odd) = (SimDisk::new(), TestClock::new(), Arc::new(Odd::default()));
    append(&path, "one\n");
    let mut pipeline = start(&disk, temp.path(), &clock, &odd);
    poll(&mut pipeline);
    assert_eq!(
        (drained(&disk).as_str(), odd.walks.load(Ordering::SeqCst)),
        ("one\n", 1)
    );

    append(&path, "two\n");
    poll(&mut pipeline);
    assert_eq!(drained(&disk), "", "not before its time");
    clock.pass(HOT_INTERVAL);
    poll(&mut pipeline);
    assert_eq!(
        (drained(&disk).as_str(), odd.walks.load(Ordering::SeqCst)),
        ("two\n", 1),
        "and no walk"
    );

    // A minute of quiet, with its walks.
    let steps = 2 * HOT_WINDOW.as_secs() / INTERVAL.as_secs();
    for _ in 0..steps {
        clock.pass(INTERVAL);
        poll(&mut pipeline);
    }
    clock.pass(HOT_INTERVAL);
    poll(&mut pipeline);
    let walks = odd.walks.load(Ordering::SeqCst);
    append(&path, "three\n");
    clock.pass(HOT_INTERVAL);
    poll(&mut pipeline);
    assert_eq!(
        (drained(&disk).as_str(), odd.walks.load(Ordering::SeqCst)),
        ("", walks),
        "it is cold"
    );
    clock.pass(INTERVAL);
    poll(&mut pipeline);
    assert_eq!(
        (drained(&disk).as_str(), odd.walks.load(Ordering::SeqCst)),
        ("three\n", walks + 1)
    );
}

/// Counts walks, and lets nobody open one file.
#[derive(Default)]
struct Closed {
    walks: AtomicU64,
}

impl Meddler for Closed {
    fn root(&self, _: &Path) -> io::Result<()> {
        self.walks.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn open(&self, relative: &Path) -> io::Result<()> {
        if relative == Path::new("closed.jsonl") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }
}

#[test]
fn with_once_a_walk_is_repeated_at_its_time_and_soon_for_what_could_not_be_looked_at() {
    let temp = tempfile::tempdir().unwrap();
    for number in 0..5 {
        append(&temp.path().join(format!("{number}.jsonl")), "one\n");
    }
    append(&temp.path().join("closed.jsonl"), "no\n");
    let (disk, clock, closed) = (SimDisk::new(), TestClock::new(), Arc::new(Closed::default()));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let once = |options: &mut SourceOptions| options.once = true;
    let (tree, options) = (Meddled::tree(&closed), CaptureOptions::default());
    let mut pipeline = Pipeline::start_all(
        SourceKind::Poll,
        &shared,
        temp.path(),
        &["."],
        &clock,
        tree,
        options,
        &once,
    )
    .unwrap();
    // The walks that were made, and whether there is more to do, after a poll for one file.
    let mut poll_after = |pause: Duration| {
        clock.pass(pause);
        let report = pipeline
            .source
            .poll(Budget { bytes: 1 }, &mut pipeline.capture)
            .unwrap();
        (closed.walks.load(Ordering::SeqCst), report.more)
    };
    assert_eq!(poll_after(Duration::ZERO), (1, true));
    assert_eq!(poll_after(HOT_INTERVAL), (1, true), "there is something to do");
    assert_eq!(
        poll_after(INTERVAL.saturating_sub(HOT_INTERVAL)),
        (2, true),
        "what came since, or was moved"
    );
    while poll_after(Duration::ZERO).1 {}
    assert_eq!(poll_after(HOT_INTERVAL / 2), (2, false));
    assert_eq!(poll_after(HOT_INTERVAL / 2).0, 3);
    while poll_after(Duration::ZERO).1 {}
    assert_eq!(poll_after(Duration::ZERO).0, 3);
    assert_eq!(poll_after(HOT_INTERVAL).0, 4);
    pipeline.capture.commit().unwrap();
    assert_eq!(drained(&disk), "one\n".repeat(5));
}

/// Each look at an entry takes 10 ms; counts those, and how often something below the root is opened.
struct Slow {
    clock: Arc<TestClock>,
    looks: AtomicU64,
    opens: AtomicU64,
}

impl Meddler for Slow {
    fn open(&self, _: &Path) -> io::Result<()> {
        self.opens.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn change(&self, stat: Stat) -> Stat {
        self.clock.pass(Duration::from_millis(10));
        self.looks.fetch_add(1, Ordering::SeqCst);
        stat
    }
}

#[test]
fn looks_at_many_hot_files_take_a_twentieth_of_the_time_between_walks_too_and_open_no_file() {
    const FILES: u64 = 50;
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join("d")).unwrap();
    for number in 0..FILES {
        append(&temp.path().join(format!("d/{number}.jsonl")), "one\n");
    }
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let slow = Arc::new(Slow {
        clock: Arc::clone(&clock),
        looks: AtomicU64::new(0),
        opens: AtomicU64::new(0),
    });
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let tree = Meddled::tree(&slow);
    let mut pipeline =
        Pipeline::start_with(&shared, temp.path(), &["."], &clock, tree, CaptureOptions::default()).unwrap();
    poll(&mut pipeline);
    // Until all are at rest, and still hot.
    let begun = clock.now();
    while clock.now() < begun + Duration::from_secs(10) {
        poll(&mut pipeline);
        clock.pass(HOT_INTERVAL);
    }
    let (begun, mut walks, mut hot_looks) = (clock.now(), 0, 0);
    let mut took = Duration::ZERO;
    while clock.now() < begun + Duration::from_secs(30) {
        let before = clock.now();
        slow.looks.store(0, Ordering::SeqCst);
        slow.opens.store(0, Ordering::SeqCst);
        poll(&mut pipeline);
        assert!(slow.opens.load(Ordering::SeqCst) <= 1, "the directory alone");
        match slow.looks.load(Ordering::SeqCst) {
            0 => {}
            FILES => {
                hot_looks += 1;
                took += clock.now() - before;
            }
            // The directories too.
            _ => walks += 1,
        }
        clock.pass(HOT_INTERVAL);
    }
    assert!(
        walks >= 10 && hot_looks >= 2,
        "{walks} walks, {hot_looks} looks at hot files"
    );
    assert!(took * 20 <= clock.now() - begun, "{took:?}");
}

#[test]
fn a_huge_file_does_not_stand_in_the_way_of_a_small_one() {
    let temp = tempfile::tempdir().unwrap();
    let line = "h".repeat(1023) + "\n";
    append(&temp.path().join("a.jsonl"), &line.repeat(20 * 1024));
    append(&temp.path().join("b.jsonl"), "small\n");
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let tree = Box::new(OsTree::default());
    let clock = TestClock::new();
    let mut pipeline =
        Pipeline::start_with(&shared, temp.path(), &["."], &clock, tree, CaptureOptions::default()).unwrap();
    let first = pipeline
        .source
        .poll(Budget { bytes: POLL_BYTES }, &mut pipeline.capture)
        .unwrap();
    assert!(first.more, "the huge one is not done");
    pipeline.capture.commit().unwrap();
    assert!(drained(&disk).contains("small\n"));
    // A file that appears in the middle of it comes before its rest, behind the small one, which is checked again.
    append(&temp.path().join("z.jsonl"), "later\n");
    clock.pass(INTERVAL);
    let second = pipeline
        .source
        .poll(
            Budget {
                bytes: TURN_COST_BYTES + 1,
            },
            &mut pipeline.capture,
        )
        .unwrap();
    assert!(second.more);
    pipeline.capture.commit().unwrap();
    assert_eq!(drained(&disk), "later\n");
}

#[test]
fn a_disk_that_comes_back_under_another_number_is_known_by_its_content() {
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock, odd) = (SimDisk::new(), TestClock::new(), Arc::new(Odd::default()));
    for name in ["a", "b", "empty"] {
        append(
            &temp.path().join(format!("{name}.jsonl")),
            if name == "empty" { "" } else { "one\n" },
        );
    }
    let mut pipeline = start(&disk, temp.path(), &clock, &odd);
    pipeline.look().unwrap();
    pipeline.capture.stop().unwrap();
    assert_eq!(drained(&disk), "one\none\n");

    odd.device_added.store(7, Ordering::SeqCst);
    append(&temp.path().join("a.jsonl"), "two\n");
    append(&temp.path().join("empty.jsonl"), "first\n");
    let mut pipeline = start(&disk, temp.path(), &clock, &odd);
    pipeline.look().unwrap();
    assert_eq!(pipeline.source.overview().unknown, 0);
    assert_eq!(drained(&disk), "two\nfirst\n", "nothing twice");
    // The device is adopted: what goes from it is deleted.
    fs::remove_file(temp.path().join("b.jsonl")).unwrap();
    pipeline.look().unwrap();
    assert_eq!(pipeline.capture.fold().gone(), 1);
}

#[test]
fn another_disk_at_the_same_place_proves_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock, odd) = (SimDisk::new(), TestClock::new(), Arc::new(Odd::default()));
    for name in ["a.jsonl", "b.jsonl"] {
        append(&temp.path().join(name), "one\n");
    }
    let mut pipeline = start(&disk, temp.path(), &clock, &odd);
    pipeline.look().unwrap();
    pipeline.capture.stop().unwrap();
    drained(&disk);

    odd.device_added.store(7, Ordering::SeqCst);
    fs::write(temp.path().join("a.jsonl"), "something else\n").unwrap();
    fs::rename(temp.path().join("b.jsonl"), temp.path().join("b.txt")).unwrap();
    let mut pipeline = start(&disk, temp.path(), &clock, &odd);
    pipeline.look().unwrap();
    clock.pass(Duration::from_secs(2));
    pipeline.look().unwrap();
    assert_eq!(pipeline.source.overview().unknown, 2);
    assert_eq!(pipeline.capture.fold().gone(), 0, "no deletion");
    assert_eq!(drained(&disk), "", "no line");

    // The disk of before is there again, and everything goes on.
    odd.device_added.store(0, Ordering::SeqCst);
    fs::write(temp.path().join("a.jsonl"), "one\n").unwrap();
    fs::rename(temp.path().join("b.txt"), temp.path().join("b.jsonl")).unwrap();
    append(&temp.path().join("b.jsonl"), "two\n");
    pipeline.look().unwrap();
    assert_eq!(pipeline.source.overview().unknown, 0);
    assert_eq!(drained(&disk), "two\n");
}
