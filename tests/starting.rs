//! What a start looks into, and what it believes: only a file that shows what it showed when all of it was captured is
//! left unopened.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pipeline::{Meddled, Meddler, Pipeline, TestClock, append, drained};
use tailspool::capture::CaptureOptions;
use tailspool::cursors;
use tailspool::disk::{Disk, Loaded, SimDisk};
use tailspool::home::CURSORS;
use tailspool::ledger::current_fold;
use tailspool::limits::{HOT_WINDOW, RACY, TAIL_SETTLE};
use tailspool::source::kind::SourceKind;
use tailspool::source::tree::{Stamp, Stat};

const LONG: Duration = Duration::from_secs(3600);

type Act = Box<dyn Fn() + Send>;

/// Counts what is opened, and lets the filesystem's clock stand still.
#[derive(Default)]
struct Opened {
    count: AtomicU64,
    /// Every file shows this second as its last change.
    still: AtomicBool,
    still_at: AtomicU64,
    looks: AtomicU64,
    /// Called right after the look of this number.
    after: Mutex<Option<(u64, Act)>>,
}

impl Meddler for Opened {
    fn opened(&self) {
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    fn change(&self, mut stat: Stat) -> Stat {
        let number = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some((at, act)) = &*self.after.lock().unwrap()
            && number == *at
        {
            act();
        }
        if self.still.load(Ordering::SeqCst) {
            let seconds = self.still_at.load(Ordering::SeqCst).cast_signed();
            stat.ctime = Stamp {
                seconds,
                nanoseconds: 0,
            };
            // Set back by whoever changed it.
            stat.mtime = Stamp {
                seconds: 0,
                nanoseconds: 0,
            };
        }
        stat
    }
}

/// A home and a directory of logs, through starts and stops.
struct Home {
    temp: tempfile::TempDir,
    disk: SimDisk,
    clock: Arc<TestClock>,
    opened: Arc<Opened>,
    kind: SourceKind,
}

impl Home {
    fn with(files: &[(&str, &str)]) -> Self {
        let home = Self {
            temp: tempfile::tempdir().unwrap(),
            disk: SimDisk::new(),
            clock: TestClock::new(),
            opened: Arc::default(),
            kind: SourceKind::Poll,
        };
        for (name, text) in files {
            append(&home.path(name), text);
        }
        home.clock.pass(LONG);
        home
    }

    /// The same, captured.
    fn captured(files: &[(&str, &str)]) -> Self {
        let home = Self::with(files);
        home.run();
        assert_ne!(home.opens(), 0, "that took opening them");
        drained(&home.disk);
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn start(&self) -> Pipeline {
        let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let (tree, options) = (Meddled::tree(&self.opened), CaptureOptions::default());
        let pipeline = Pipeline::start_all(
            self.kind,
            &shared,
            self.temp.path(),
            &["."],
            &self.clock,
            tree,
            options,
            &|_| {},
        );
        pipeline.unwrap()
    }

    /// A start, a look at everything, and a stop.
    fn run(&self) {
        let mut pipeline = self.start();
        pipeline.look().unwrap();
        Self::stop(pipeline);
    }

    fn stop(mut pipeline: Pipeline) {
        pipeline.source.finish(&mut pipeline.capture).unwrap();
        pipeline.capture.stop().unwrap();
    }

    /// How many files were opened since it was asked last.
    fn opens(&self) -> u64 {
        self.opened.count.swap(0, Ordering::SeqCst)
    }

    /// What a run captures, and how many files it opens.
    fn next_run(&self) -> (String, u64) {
        self.run();
        (drained(&self.disk), self.opens())
    }

    fn read_home(&self, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut reader = self.disk.read_from(Path::new(path), 0).unwrap();
        reader.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn write_home(&self, path: &str, bytes: &[u8]) {
        let mut file = self.disk.open(Path::new(path), true).unwrap();
        file.truncate(0).unwrap();
        file.write_at(bytes, 0).unwrap();
        file.sync().unwrap();
    }
}

/// Waits until a change shows another time than one made before.
fn next_tick(beside: &Path) {
    let probe = beside.join("tick");
    let changed = || fs::metadata(&probe).unwrap().modified().unwrap();
    fs::write(&probe, "").unwrap();
    let before = changed();
    while changed() == before {
        fs::write(&probe, "").unwrap();
    }
    fs::remove_file(probe).unwrap();
}

fn set_modified(path: &Path, time: SystemTime) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
}

#[test]
fn a_start_opens_no_file_that_shows_what_it_showed_when_all_of_it_was_captured() {
    for kind in [SourceKind::Poll, SourceKind::Notify] {
        let mut home = Home::with(&[("a.jsonl", "1\n2\n"), ("b.jsonl", "3\n"), ("empty.jsonl", "")]);
        home.kind = kind;
        assert_eq!(home.next_run().0, "1\n2\n3\n");
        assert_eq!(home.next_run(), (String::new(), 0), "{kind:?}");
        append(&home.path("b.jsonl"), "4\n");
        assert_eq!(home.next_run(), ("4\n".into(), 1), "{kind:?}");
        assert_eq!(home.next_run(), (String::new(), 0), "{kind:?}");
    }
}

#[test]
fn lines_that_come_after_such_a_start_are_captured_once() {
    let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n")]);
    let mut pipeline = home.start();
    pipeline.look().unwrap();
    append(&home.path("a.jsonl"), "3\n");
    pipeline.look().unwrap();
    Home::stop(pipeline);
    assert_eq!((drained(&home.disk), home.opens()), ("3\n".into(), 1));
}

#[test]
fn a_rewrite_of_the_same_size_while_nobody_watches_is_noticed_by_its_ctime() {
    let home = Home::captured(&[("a.jsonl", "one\ntwo\n"), ("b.jsonl", "three\n")]);
    let path = home.path("a.jsonl");
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    next_tick(home.temp.path());
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .write_at(b"TWO", 4)
        .unwrap();
    set_modified(&path, before);
    assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), before);
    assert_eq!(
        home.next_run(),
        ("one\nTWO\n".into(), 1),
        "the run that differs is read again"
    );
}

#[test]
fn a_rename_while_nobody_watches_is_followed() {
    let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n")]);
    fs::rename(home.path("a.jsonl"), home.path("moved.jsonl")).unwrap();
    assert_eq!(home.next_run().0, "");
    append(&home.path("moved.jsonl"), "3\n");
    assert_eq!(home.next_run().0, "3\n");
    let fold = current_fold(&home.disk).unwrap();
    assert_eq!(fold.files.len(), 2, "it is the same file");
    // Two that change places show sizes and times that were both seen, under the other name.
    let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n")]);
    fs::rename(home.path("a.jsonl"), home.path("c")).unwrap();
    fs::rename(home.path("b.jsonl"), home.path("a.jsonl")).unwrap();
    fs::rename(home.path("c"), home.path("b.jsonl")).unwrap();
    assert_eq!(home.next_run().0, "");
    append(&home.path("a.jsonl"), "of b\n");
    assert_eq!(home.next_run().0, "of b\n");
    assert_eq!(current_fold(&home.disk).unwrap().files.len(), 2);
}

#[test]
fn a_file_that_is_deleted_while_nobody_watches_is_gone() {
    let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n")]);
    fs::remove_file(home.path("a.jsonl")).unwrap();
    assert_eq!(home.next_run(), (String::new(), 0));
    assert_eq!(current_fold(&home.disk).unwrap().followed(), 1);
}

#[test]
fn a_change_within_the_tick_of_the_last_look_is_found_by_the_next_start() {
    let home = Home::with(&[("a.jsonl", "one\n")]);
    home.opened.still.store(true, Ordering::SeqCst);
    // The file changed at this moment, as far as anybody can tell.
    let now = tailspool::clock::Clock::utc(&*home.clock).as_second();
    home.opened.still_at.store(now.cast_unsigned(), Ordering::SeqCst);
    assert_eq!(home.next_run().0, "one\n");
    OpenOptions::new()
        .write(true)
        .open(home.path("a.jsonl"))
        .unwrap()
        .write_at(b"two", 0)
        .unwrap();
    assert_eq!(home.next_run().0, "two\n", "it shows the same times, and was opened");
    // Once it was looked at after the tick, it may be believed.
    home.clock.pass(RACY);
    home.opens();
    assert_eq!(home.next_run(), (String::new(), 1));
    assert_eq!(home.next_run(), (String::new(), 0));
}

#[test]
fn a_change_right_after_any_look_is_found_however_long_what_follows_takes() {
    let run = |at: u64| {
        let home = Home::with(&[("a.jsonl", "one\n")]);
        home.opened.still.store(true, Ordering::SeqCst);
        let now = tailspool::clock::Clock::utc(&*home.clock).as_second();
        home.opened.still_at.store(now.cast_unsigned(), Ordering::SeqCst);
        let (path, clock) = (home.path("a.jsonl"), Arc::clone(&home.clock));
        let change = move || {
            let log = OpenOptions::new().write(true).open(&path).unwrap();
            log.write_at(b"two", 0).unwrap();
            clock.pass(2 * RACY);
        };
        *home.opened.after.lock().unwrap() = Some((at, Box::new(change)));
        home.run();
        let looks = home.opened.looks.load(Ordering::SeqCst);
        *home.opened.after.lock().unwrap() = None;
        home.run();
        (looks, drained(&home.disk))
    };
    let (looks, text) = run(u64::MAX);
    assert_eq!(text, "one\n");
    assert!(looks >= 3, "the walk, before the read, after it");
    for at in 1..=looks {
        let (_, text) = run(at);
        assert!(text.ends_with("two\n"), "after look {at} of {looks}: {text:?}");
    }
}

#[test]
fn a_file_that_was_written_in_the_last_minute_is_opened_and_stays_so() {
    let home = Home::with(&[]);
    append(&home.path("a.jsonl"), "1\n");
    let now = tailspool::clock::Clock::utc(&*home.clock);
    set_modified(&home.path("a.jsonl"), now.into());
    home.clock.pass(RACY);
    home.run();
    assert_eq!((drained(&home.disk), home.opens()), ("1\n".into(), 1));
    let mut pipeline = home.start();
    pipeline.look().unwrap();
    assert_eq!(home.opens(), 1);
    // Its handle is kept: what is written to it after it lost its name is read.
    let mut writer = OpenOptions::new().append(true).open(home.path("a.jsonl")).unwrap();
    fs::remove_file(home.path("a.jsonl")).unwrap();
    writer.write_all(b"2\n").unwrap();
    pipeline.look().unwrap();
    Home::stop(pipeline);
    assert_eq!(drained(&home.disk), "2\n");
    append(&home.path("b.jsonl"), "3\n");
    home.clock.pass(HOT_WINDOW);
    home.run();
    home.opens();
    assert_eq!(home.next_run(), ("3\n".into(), 0), "both are as they were");
}

#[test]
fn a_last_line_without_newline_that_was_taken_is_known_and_one_that_waits_is_looked_at() {
    let home = Home::with(&[("taken.jsonl", "1\n{\"a\":2}"), ("waits.jsonl", "3\n{\"b\":")]);
    let mut pipeline = home.start();
    pipeline.look().unwrap();
    home.clock.pass(TAIL_SETTLE);
    pipeline.look().unwrap();
    Home::stop(pipeline);
    assert_eq!(drained(&home.disk), "1\n3\n{\"a\":2}\n");
    home.opens();
    assert_eq!(home.next_run(), (String::new(), 1), "only the one that waits");
    append(&home.path("waits.jsonl"), "4}\n");
    append(&home.path("taken.jsonl"), "\n5\n");
    assert_eq!(home.next_run().0, "5\n{\"b\":4}\n");
}

#[test]
fn a_snapshot_of_an_earlier_version_or_a_damaged_one_costs_one_look_into_each_file() {
    for damaged in [false, true] {
        let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n")]);
        let mut snapshot = home.read_home(CURSORS);
        if damaged {
            let middle = snapshot.len() / 2;
            snapshot[middle] ^= 1;
        } else {
            let body = br#"{"version":3,"commit":1,"files":[]"#;
            let sum = blake3::hash(body).to_hex();
            snapshot = [body, &br#","checksum":""#[..], sum.as_bytes(), b"\"}\n"].concat();
        }
        home.write_home(CURSORS, &snapshot);
        match cursors::load(&home.disk).unwrap() {
            Loaded::Damaged(_) => assert!(damaged),
            Loaded::Missing => assert!(!damaged),
            Loaded::Sound(_) => panic!("it is believed"),
        }
        assert_eq!(home.next_run(), (String::new(), 2), "damaged: {damaged}");
        assert_eq!(home.next_run(), (String::new(), 0), "damaged: {damaged}");
    }
}

#[test]
fn after_a_crash_only_what_the_snapshot_does_not_know_is_opened() {
    let home = Home::captured(&[("a.jsonl", "1\n"), ("b.jsonl", "2\n"), ("c.jsonl", "3\n")]);
    let mut pipeline = home.start();
    append(&home.path("a.jsonl"), "4\n");
    pipeline.look().unwrap();
    assert_eq!(home.opens(), 1);
    drop(pipeline);
    append(&home.path("c.jsonl"), "5\n");
    assert_eq!(home.next_run(), ("4\n5\n".into(), 2));
}

#[test]
fn a_snapshot_of_many_pieces_comes_back_whole() {
    let home = Home::with(&[]);
    let stem = "d".repeat(200);
    for directory in 0..4 {
        let directory = home.path(&format!("{stem}-{directory}"));
        fs::create_dir(&directory).unwrap();
        for file in 0..1500 {
            let mut log = File::create(directory.join(format!("{file}.jsonl"))).unwrap();
            log.write_all(format!("{file}\n").as_bytes()).unwrap();
        }
    }
    home.run();
    assert_eq!(drained(&home.disk).lines().count(), 6000);
    home.opens();
    assert!(home.read_home(CURSORS).len() > 2 * tailspool::limits::SNAPSHOT_PIECE_BYTES);
    let with = current_fold(&home.disk).unwrap();
    assert_eq!(home.next_run(), (String::new(), 0));
    home.disk.unlink(Path::new(CURSORS)).unwrap();
    assert_eq!(current_fold(&home.disk).unwrap(), with, "the ledger says the same");
}
