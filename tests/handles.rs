//! The handles that are kept: which file is read when a path shows another one than before, or none.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use pipeline::{Meddled, Meddler, Pipeline, TestClock, append, drained};
use rustix::io::Errno;
use tailspool::capture::CaptureOptions;
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::{FULL_RETRY, HOT_INTERVAL, HOT_WINDOW, INTERVAL, POLL_BYTES, REST_PATIENCE};
use tailspool::queue::depth::QueueLimits;
use tailspool::source::Budget;
use tailspool::source::polling::PollingSource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::Stat;

/// Shows some inodes on another device, and fails for some handles and paths.
#[derive(Default)]
struct Odd {
    elsewhere: Mutex<BTreeSet<u64>>,
    stale: Mutex<BTreeSet<u64>>,
    closed: Mutex<BTreeSet<String>>,
    handles: AtomicU64,
}

impl Odd {
    fn shows_elsewhere(&self, path: &Path) {
        let inode = fs::metadata(path).unwrap().ino();
        self.elsewhere.lock().unwrap().insert(inode);
    }

    fn breaks(&self, handle: u64) {
        self.stale.lock().unwrap().insert(handle);
    }

    /// Lets nobody open this path below the root.
    fn closes(&self, relative: &str) {
        self.closed.lock().unwrap().insert(relative.to_owned());
    }

    /// As it was before.
    fn mends(&self) {
        self.stale.lock().unwrap().clear();
        self.closed.lock().unwrap().clear();
    }

    fn handles(&self) -> u64 {
        self.handles.load(Ordering::SeqCst)
    }
}

impl Meddler for Odd {
    fn open(&self, relative: &Path) -> io::Result<()> {
        if self.closed.lock().unwrap().contains(relative.to_str().unwrap()) {
            return Err(Errno::ACCESS.into());
        }
        Ok(())
    }

    fn opened(&self) {
        self.handles.fetch_add(1, Ordering::SeqCst);
    }

    fn closed(&self) {
        self.handles.fetch_sub(1, Ordering::SeqCst);
    }

    fn handle(&self, number: u64) -> io::Result<()> {
        if self.stale.lock().unwrap().contains(&number) {
            return Err(Errno::STALE.into());
        }
        Ok(())
    }

    fn change(&self, mut stat: Stat) -> Stat {
        if self.elsewhere.lock().unwrap().contains(&stat.identity.inode) {
            stat.identity.device += 7;
        }
        stat
    }
}

/// A directory that is watched, on a disk that is simulated.
struct Watched {
    temp: tempfile::TempDir,
    disk: SimDisk,
    clock: Arc<TestClock>,
    odd: Arc<Odd>,
    pipeline: Pipeline,
}

impl Watched {
    fn with(options: CaptureOptions) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (disk, clock, odd) = (SimDisk::new(), TestClock::new(), Arc::new(Odd::default()));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let tree = Meddled::tree(&odd);
        let pipeline = Pipeline::start_with(&shared, temp.path(), &["."], &clock, tree, options).unwrap();
        Self {
            temp,
            disk,
            clock,
            odd,
            pipeline,
        }
    }

    fn new() -> Self {
        Self::with(CaptureOptions::default())
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.temp.path().join(name)
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Time passes, and the engine polls until there is nothing to do.
    fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
        while self.poll() {}
    }

    /// One poll as the engine makes it. Whether there is more.
    fn poll(&mut self) -> bool {
        let budget = Budget { bytes: POLL_BYTES };
        let report = self.pipeline.source.poll(budget, &mut self.pipeline.capture).unwrap();
        self.pipeline.capture.tick(report.more).unwrap();
        self.pipeline.capture.commit().unwrap();
        report.more && !report.refused
    }

    fn drained(&self) -> String {
        drained(&self.disk)
    }

    fn unknown(&self) -> u64 {
        self.pipeline.source.overview().unknown
    }
}

const BIG_LINES: usize = 40_000;

fn big() -> String {
    ("b".repeat(999) + "\n").repeat(BIG_LINES)
}

#[test]
fn a_hot_file_that_is_deleted_is_read_to_its_end_however_long_that_takes() {
    for replace in [false, true] {
        let mut watched = Watched::new();
        watched.append("a.jsonl", "one\n");
        watched.pass(Duration::ZERO);
        watched.append("a.jsonl", &big());
        watched.clock.pass(HOT_INTERVAL);
        assert!(watched.poll(), "a poll is less than the file");
        fs::remove_file(watched.path("a.jsonl")).unwrap();
        if replace {
            watched.append("a.jsonl", "two\n");
        }
        // Its turn comes before the walk that misses it, and to read it takes longer than a file is hot.
        watched.clock.pass(HOT_INTERVAL);
        watched.poll();
        for _ in 0..10 {
            watched.clock.pass(HOT_WINDOW);
            watched.poll();
            watched.clock.pass(HOT_INTERVAL);
            watched.poll();
        }
        let expected = 4 + BIG_LINES * 1000 + if replace { 4 } else { 0 };
        assert_eq!(watched.drained().len(), expected, "replaced: {replace}");
        assert_eq!(watched.unknown(), 0);
    }
}

#[test]
fn a_deleted_file_with_a_backlog_does_not_stand_in_the_way() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", &big());
    assert!(watched.poll());
    fs::remove_file(watched.path("a.jsonl")).unwrap();
    watched.append("b.jsonl", "small\n");
    watched.append("c.jsonl", "small\n");
    watched.clock.pass(INTERVAL);
    assert!(watched.poll());
    fs::remove_file(watched.path("c.jsonl")).unwrap();
    watched.clock.pass(INTERVAL);
    assert!(watched.poll(), "the big one is not done");
    assert_eq!(watched.pipeline.capture.fold().gone(), 1, "but the small one is");
    assert_eq!(watched.drained().matches("small\n").count(), 2);
    watched.pass(INTERVAL);
    assert_eq!(watched.pipeline.capture.fold().gone(), 2);
}

#[test]
fn what_is_written_before_something_else_takes_the_place_is_read() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.append("a.jsonl", "two\n");
    fs::remove_file(watched.path("a.jsonl")).unwrap();
    fs::create_dir(watched.path("a.jsonl")).unwrap();
    watched.pass(HOT_INTERVAL);
    assert_eq!(watched.drained(), "one\ntwo\n");
    assert_eq!((watched.unknown(), watched.pipeline.capture.fold().gone()), (1, 0));
    fs::remove_dir(watched.path("a.jsonl")).unwrap();
    watched.append("a.jsonl", "three\n");
    watched.pass(INTERVAL);
    assert_eq!(watched.drained(), "three\n");
    assert_eq!(watched.unknown(), 0);
}

#[test]
fn a_file_that_comes_back_after_one_of_another_device_is_read_on() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.append("a.jsonl", "two\n");
    watched.rename("a.jsonl", "a.away");
    watched.append("other", "something else that is long enough\n");
    watched.odd.shows_elsewhere(&watched.path("other"));
    watched.rename("other", "a.jsonl");
    for _ in 0..3 {
        watched.pass(INTERVAL);
        assert_eq!(watched.unknown(), 1);
    }
    assert_eq!(watched.drained(), "one\ntwo\n", "what was written before it went");
    watched.append("a.away", "three\n");
    watched.rename("a.away", "a.jsonl");
    watched.pass(INTERVAL);
    assert_eq!((watched.drained().as_str(), watched.unknown()), ("three\n", 0));
    // It is the file of the path, and no other, that is read from then on.
    watched.append("a.jsonl", "four\n");
    watched.pass(HOT_INTERVAL);
    assert_eq!(watched.drained(), "four\n");
}

#[test]
fn a_file_that_comes_back_before_its_rotation_was_taken_is_not_rotated() {
    let mut watched = Watched::with(CaptureOptions {
        limits: QueueLimits {
            records_max: Some(2),
            bytes_max: None,
        },
        ..CaptureOptions::default()
    });
    watched.append("a.jsonl", "one\ntwo\n");
    watched.pass(Duration::ZERO);
    watched.rename("a.jsonl", "a.away");
    watched.append("a.jsonl", "never seen with room\n");
    watched.pass(INTERVAL);
    assert!(
        watched.pipeline.capture.queue_full().is_some(),
        "the rotation is refused"
    );
    watched.append("a.away", "three\n");
    watched.rename("a.away", "a.jsonl");
    let mut all = watched.drained();
    for _ in 0..3 {
        watched.pass(FULL_RETRY.max(INTERVAL));
        all += &watched.drained();
    }
    assert_eq!(all, "one\ntwo\nthree\n");
    assert_eq!(
        watched.pipeline.capture.fold().files.len(),
        1,
        "one file, never another"
    );
}

#[test]
fn a_handle_that_fails_is_opened_again_while_the_path_shows_its_file() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.odd.breaks(0);
    watched.append("a.jsonl", "two\n");
    watched.pass(INTERVAL);
    watched.pass(INTERVAL);
    assert_eq!((watched.drained().as_str(), watched.unknown()), ("one\ntwo\n", 0));
}

#[test]
fn a_handle_that_keeps_failing_does_not_hold_up_the_next_file() {
    for replace in [true, false] {
        let mut watched = Watched::new();
        watched.append("a.jsonl", "one\n");
        watched.pass(Duration::ZERO);
        watched.append("a.jsonl", "two\n");
        watched.odd.breaks(0);
        watched.rename("a.jsonl", "a.away");
        if replace {
            watched.append("a.jsonl", "three\n");
        }
        watched.pass(INTERVAL);
        assert_eq!(watched.unknown(), 1, "it may be readable again");
        assert_eq!(watched.drained(), if replace { "one\nthree\n" } else { "one\n" });
        watched.pass(REST_PATIENCE);
        watched.pass(INTERVAL);
        assert_eq!((watched.unknown(), watched.odd.handles()), (0, u64::from(replace)));
        assert_eq!(watched.drained(), "");
        assert_eq!(watched.pipeline.capture.fold().gone(), 1);
    }
}

/// What is kept free of a large disk.
const RESERVE: u64 = 1 << 30;

/// A line that is streamed, and a disk that has no room for it.
fn line_without_room(watched: &Watched) -> String {
    watched.disk.set_free(RESERVE + 100_000);
    "z".repeat(1_500_000) + "\n"
}

#[test]
fn what_is_written_in_the_last_moments_of_being_hot_is_read_after_a_rename() {
    // Hot until the 63rd second, with a walk at each even one.
    for tenth_of_a_second in (600..=640).step_by(2) {
        for replace in [false, true] {
            let mut watched = Watched::new();
            watched.append("a.jsonl", "one\n");
            watched.pass(Duration::ZERO);
            watched.clock.pass(Duration::from_secs(2));
            watched.append("a.jsonl", "two\n");
            watched.pass(Duration::from_secs(1));
            for _ in 30..tenth_of_a_second {
                watched.pass(HOT_INTERVAL);
            }
            watched.append("a.jsonl", "three\n");
            // A look comes between, or does not.
            if tenth_of_a_second > 630 {
                watched.pass(INTERVAL);
            }
            watched.rename("a.jsonl", "a.away");
            if replace {
                watched.append("a.jsonl", "four\n");
            }
            watched.pass(HOT_INTERVAL);
            watched.pass(INTERVAL);
            watched.pass(INTERVAL);
            let expected = "one\ntwo\nthree\n".to_owned() + if replace { "four\n" } else { "" };
            assert_eq!(watched.drained(), expected, "{tenth_of_a_second}, replaced: {replace}");
        }
    }
}

#[test]
fn a_long_line_waits_for_room_a_minute_after_its_file_went() {
    for [hot, replace, in_time] in [
        [true, true, true],
        [true, false, true],
        [false, true, true],
        [false, false, true],
        [true, true, false],
        [false, true, false],
        [true, false, false],
    ] {
        let mut watched = Watched::new();
        if hot {
            watched.append("a.jsonl", "one\n");
            watched.pass(Duration::ZERO);
            watched.drained();
        }
        let line = line_without_room(&watched);
        watched.append("a.jsonl", &line);
        // Its path shows it, so it waits as long as need be.
        watched.pass(HOT_WINDOW);
        watched.pass(HOT_WINDOW);
        fs::remove_file(watched.path("a.jsonl")).unwrap();
        if replace {
            watched.append("a.jsonl", "next\n");
        }
        watched.pass(INTERVAL);
        let next = if replace { "next\n" } else { "" };
        assert_eq!((watched.drained().as_str(), watched.unknown()), (next, 1));
        watched.pass(HOT_WINDOW.saturating_sub(INTERVAL));
        let mut expected = String::new();
        if in_time {
            watched.disk.set_free(1 << 40);
            expected += &line;
        }
        watched.pass(INTERVAL);
        assert!(
            watched.drained() == expected,
            "hot: {hot}, replaced: {replace}, {in_time}"
        );
        assert_eq!(watched.unknown(), 0);
        assert_eq!(watched.pipeline.capture.fold().gone(), 1);
    }
}

#[test]
fn a_long_line_that_waits_is_read_while_a_directory_has_its_path() {
    let mut watched = Watched::new();
    let line = line_without_room(&watched);
    watched.append("a.jsonl", &line);
    watched.pass(INTERVAL);
    fs::remove_file(watched.path("a.jsonl")).unwrap();
    fs::create_dir(watched.path("a.jsonl")).unwrap();
    watched.pass(INTERVAL);
    watched.disk.set_free(1 << 40);
    watched.pass(INTERVAL);
    assert!(watched.drained() == line);
}

#[test]
fn what_is_written_before_the_directory_above_is_replaced_is_read() {
    for link in [false, true] {
        let mut watched = Watched::new();
        fs::create_dir(watched.path("d")).unwrap();
        watched.append("d/a.jsonl", "one\n");
        watched.pass(Duration::ZERO);
        watched.append("d/a.jsonl", "two\n");
        let away = tempfile::tempdir().unwrap();
        fs::rename(watched.path("d"), away.path().join("d")).unwrap();
        if link {
            std::os::unix::fs::symlink(away.path().join("d"), watched.path("d")).unwrap();
        } else {
            watched.append("d", "no directory");
        }
        watched.pass(INTERVAL);
        assert_eq!(watched.drained(), "one\ntwo\n", "by a symlink: {link}");
    }
}

#[test]
fn what_is_written_before_the_root_is_removed_is_read_and_no_handle_stays() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.append("a.jsonl", "two\n");
    fs::remove_dir_all(watched.temp.path()).unwrap();
    watched.pass(HOT_INTERVAL);
    assert_eq!(watched.drained(), "one\ntwo\n");
    // It is unknown, not deleted, and its inode is not held for ever.
    for _ in 0..70 {
        watched.pass(INTERVAL);
        watched.pass(HOT_INTERVAL);
    }
    assert_eq!((watched.odd.handles(), watched.pipeline.capture.fold().gone()), (0, 0));
    fs::create_dir(watched.temp.path()).unwrap();
    watched.pass(INTERVAL);
    assert_eq!((watched.unknown(), watched.pipeline.capture.fold().gone()), (0, 1));
}

#[test]
fn a_quiet_file_holds_no_handle_whatever_happened_meanwhile() {
    let mut watched = Watched::new();
    fs::create_dir(watched.path("d")).unwrap();
    watched.append("d/a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    assert_eq!(watched.odd.handles(), 1);
    let away = tempfile::tempdir().unwrap();
    let (here, there) = (watched.path("d"), away.path().join("d"));
    for _ in 0..40 {
        fs::rename(&here, &there).unwrap();
        watched.pass(HOT_INTERVAL);
        fs::rename(&there, &here).unwrap();
        watched.pass(INTERVAL);
    }
    for _ in 0..40 {
        watched.pass(INTERVAL);
        watched.pass(HOT_INTERVAL);
    }
    assert_eq!(watched.odd.handles(), 0);
    assert_eq!(watched.drained(), "one\n");
}

#[test]
fn a_good_handle_outlives_a_path_that_cannot_be_opened() {
    // The handle failed for a while, or was never bad and another device's file stood at its path.
    for elsewhere in [false, true] {
        let mut watched = Watched::new();
        watched.append("a.jsonl", "one\n");
        watched.pass(Duration::ZERO);
        if elsewhere {
            watched.rename("a.jsonl", "a.away");
            watched.append("other", "something else that is long enough\n");
            watched.odd.shows_elsewhere(&watched.path("other"));
            watched.rename("other", "a.jsonl");
            watched.pass(INTERVAL);
            // Its inode must not be had by another file.
            watched.rename("a.jsonl", "other");
            watched.rename("a.away", "a.jsonl");
        } else {
            watched.odd.breaks(0);
        }
        watched.append("a.jsonl", "two\n");
        watched.odd.closes("a.jsonl");
        watched.pass(INTERVAL);
        watched.rename("a.jsonl", "a.away");
        watched.append("a.jsonl", "three\n");
        watched.odd.mends();
        watched.pass(INTERVAL);
        watched.pass(INTERVAL);
        assert_eq!(watched.drained(), "one\ntwo\nthree\n", "elsewhere: {elsewhere}");
    }
}

#[test]
fn a_long_line_in_the_place_of_one_that_did_not_fit_is_a_new_try() {
    let mut watched = Watched::new();
    watched.disk.set_free(RESERVE + 4_000_000);
    watched.append("a.jsonl", &("\0".repeat(1_500_000) + "\n"));
    watched.pass(INTERVAL);
    assert_eq!(watched.unknown(), 1);
    let line = "z".repeat(1_200_000) + "\n";
    fs::write(watched.path("a.jsonl"), &line).unwrap();
    watched.pass(INTERVAL);
    assert!(watched.drained() == line);
    assert_eq!(watched.unknown(), 0);
}

/// The same directory, watched as with `--once`.
fn once() -> Watched {
    let mut watched = Watched::new();
    let top = watched.temp.path().to_owned();
    let scope = Scope::new(None, std::slice::from_ref(&top)).unwrap();
    let spec = RootSpec::new(top);
    let options = SourceOptions {
        once: true,
        interval: HOT_INTERVAL,
        ..SourceOptions::new(roots::check(vec![spec], &scope, None).unwrap(), scope)
    };
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&watched.clock);
    let fold = watched.pipeline.capture.fold();
    let source = PollingSource::new(options, Meddled::tree(&watched.odd), clock, fold).unwrap();
    watched.pipeline.source = Box::new(source);
    watched
}

#[test]
fn once_leaves_nothing_in_a_file_that_it_sees_go() {
    for replace in [false, true] {
        let mut watched = once();
        watched.append("a.jsonl", "one\n");
        watched.append("b.jsonl", &big());
        assert!(watched.poll(), "the big one takes longer");
        watched.append("a.jsonl", "two\n");
        watched.clock.pass(HOT_INTERVAL);
        assert!(watched.poll());
        watched.rename("a.jsonl", "a.away");
        if replace {
            watched.append("a.jsonl", "three\n");
        }
        watched.pass(HOT_INTERVAL);
        watched.pass(HOT_INTERVAL);
        let drained = watched.drained();
        let short: Vec<&str> = drained.lines().filter(|line| line.len() < 999).collect();
        let expected = if replace {
            vec!["one", "two", "three"]
        } else {
            vec!["one", "two"]
        };
        assert_eq!(short, expected);
        assert_eq!(watched.unknown(), 0);
    }
}

/// `--once`, while a file gets another content at each poll, which is more than one poll reads.
fn once_ends_while(write: impl Fn(&Watched, &str)) {
    let mut watched = once();
    let version = |number: usize| format!("{number:0999}\n").repeat(20_000);
    write(&watched, &version(0));
    let mut polls = 0;
    while watched.poll() {
        polls += 1;
        assert!(polls < 50, "it does not end");
        write(&watched, &version(polls));
        watched.clock.pass(HOT_INTERVAL);
    }
    assert_eq!(watched.unknown(), 1, "and it is not called complete");
}

#[test]
fn once_ends_also_when_a_file_is_rewritten_without_end() {
    once_ends_while(|watched, version| fs::write(watched.path("a.jsonl"), version).unwrap());
}

#[test]
fn once_ends_also_when_a_file_is_replaced_without_end() {
    once_ends_while(|watched, version| {
        fs::write(watched.path("a.tmp"), version).unwrap();
        watched.rename("a.tmp", "a.jsonl");
    });
}

/// Keeps every message, for all tests of this program.
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn of(&self, path: &str) -> Vec<String> {
        let messages = self.0.lock().unwrap();
        messages
            .iter()
            .filter(|message| message.contains(path))
            .cloned()
            .collect()
    }
}

impl log::Log for Heard {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

fn heard() -> &'static Heard {
    static HEARD: OnceLock<&'static Heard> = OnceLock::new();
    HEARD.get_or_init(|| {
        let heard = Box::leak(Box::new(Heard(Mutex::default())));
        log::set_logger(heard).unwrap();
        log::set_max_level(log::LevelFilter::Warn);
        heard
    })
}

#[test]
fn a_path_that_stays_unknown_is_told_of_once() {
    let heard = heard();
    let mut watched = Watched::new();
    for name in ["gone.jsonl", "elsewhere.jsonl"] {
        watched.append(name, "one\n");
    }
    watched.pass(Duration::ZERO);
    fs::remove_file(watched.path("gone.jsonl")).unwrap();
    fs::create_dir(watched.path("gone.jsonl")).unwrap();
    fs::write(watched.path("new"), "another one\n").unwrap();
    watched.odd.shows_elsewhere(&watched.path("new"));
    watched.rename("new", "elsewhere.jsonl");
    for _ in 0..100 {
        watched.pass(INTERVAL);
        assert_eq!(watched.unknown(), 2);
    }
    for name in ["gone.jsonl", "elsewhere.jsonl"] {
        let path = watched.path(name).to_str().unwrap().to_owned();
        let of_path = heard.of(&path);
        assert_eq!(of_path.len(), 1, "{of_path:#?}");
    }
}

#[test]
fn another_reason_for_the_same_path_is_told_as_well() {
    let heard = heard();
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.odd.breaks(0);
    watched.odd.breaks(1);
    let line = line_without_room(&watched);
    watched.append("a.jsonl", &line);
    for _ in 0..5 {
        watched.pass(INTERVAL);
    }
    let path = watched.path("a.jsonl").to_str().unwrap().to_owned();
    let of_path = heard.of(&path);
    assert_eq!(of_path.len(), 2, "{of_path:#?}");
    assert!(of_path[0].contains("cannot look at") && of_path[1].contains("does not fit"));
}

#[test]
fn a_hot_file_in_a_directory_that_cannot_be_opened_is_told_of_once() {
    let heard = heard();
    let mut watched = Watched::new();
    fs::create_dir(watched.path("d")).unwrap();
    watched.append("d/a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    watched.odd.closes("d");
    for _ in 0..40 {
        watched.pass(INTERVAL);
        for _ in 0..15 {
            watched.pass(HOT_INTERVAL);
        }
    }
    let path = watched.path("d/a.jsonl").to_str().unwrap().to_owned();
    let of_path = heard.of(&path);
    assert_eq!(of_path.len(), 1, "{of_path:#?}");
    watched.odd.mends();
    watched.pass(INTERVAL);
    assert_eq!(watched.unknown(), 0);
}

#[test]
fn once_keeps_up_with_rewrites_that_are_slower_than_reading() {
    let mut watched = once();
    // A backlog that takes many polls.
    for number in 0..4 {
        watched.append(&format!("b{number}.jsonl"), &big());
    }
    let mut versions = vec!["one 000".to_owned()];
    watched.append("a.jsonl", "one 000\n");
    while watched.poll() {
        watched.clock.pass(Duration::from_secs(300));
        if versions.len() < 15 {
            let version = format!("new {:03}", versions.len());
            fs::write(watched.path("a.jsonl"), version.clone() + "\n").unwrap();
            versions.push(version);
        }
    }
    assert_eq!(versions.len(), 15);
    watched.pass(HOT_INTERVAL);
    watched.pass(HOT_INTERVAL);
    let drained = watched.drained();
    let short: Vec<&str> = drained.lines().filter(|line| line.len() < 999).collect();
    assert_eq!(short, versions);
    assert_eq!(watched.unknown(), 0);
}

#[test]
fn what_was_read_to_its_end_is_not_unknown_when_it_goes() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    fs::remove_file(watched.path("a.jsonl")).unwrap();
    watched.pass(HOT_INTERVAL);
    assert_eq!(watched.unknown(), 0);
    watched.pass(INTERVAL);
    assert_eq!(watched.unknown(), 0);
    assert_eq!(watched.pipeline.capture.fold().gone(), 1);
}

/// A long line for which there is no room.
fn too_long(watched: &Watched) -> String {
    watched.disk.set_free(RESERVE + 100_000);
    "z".repeat(1_500_000) + "\n"
}

fn pass_twenty_minutes(watched: &mut Watched) {
    for _ in 0..600 {
        watched.pass(INTERVAL);
        watched.pass(HOT_INTERVAL);
    }
}

#[test]
fn a_long_line_that_waits_while_its_root_goes_is_read_or_given_up() {
    for (room, hot) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut watched = Watched::new();
        if hot {
            watched.append("a.jsonl", "one\n");
            watched.pass(Duration::ZERO);
            watched.drained();
        }
        let line = too_long(&watched);
        watched.append("a.jsonl", &line);
        watched.pass(INTERVAL);
        fs::remove_dir_all(watched.temp.path()).unwrap();
        watched.pass(INTERVAL);
        assert_eq!(watched.odd.handles(), 1);
        if room {
            watched.disk.set_free(1 << 40);
        }
        pass_twenty_minutes(&mut watched);
        let expected = if room { line.len() } else { 0 };
        let found = (watched.odd.handles(), watched.drained().len());
        assert_eq!(found, (0, expected), "room {room} hot {hot}");
    }
}

#[test]
fn a_handle_that_fails_when_its_root_is_gone_is_given_up() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(Duration::ZERO);
    fs::remove_dir_all(watched.temp.path()).unwrap();
    watched.odd.breaks(0);
    watched.pass(INTERVAL);
    assert_eq!(watched.odd.handles(), 1);
    pass_twenty_minutes(&mut watched);
    assert_eq!(watched.odd.handles(), 0);
}

#[test]
fn a_long_line_that_waits_is_read_also_when_its_directory_is_on_another_device() {
    let mut watched = Watched::new();
    fs::create_dir(watched.path("d")).unwrap();
    let line = too_long(&watched);
    watched.append("d/a.jsonl", &line);
    watched.pass(INTERVAL);
    let away = tempfile::tempdir().unwrap();
    fs::rename(watched.path("d"), away.path().join("d")).unwrap();
    fs::create_dir(watched.path("d")).unwrap();
    watched.odd.shows_elsewhere(&watched.path("d"));
    watched.pass(INTERVAL);
    watched.disk.set_free(1 << 40);
    pass_twenty_minutes(&mut watched);
    assert_eq!((watched.odd.handles(), watched.drained().len()), (0, line.len()));
}

#[test]
fn another_line_of_the_same_length_is_a_new_try() {
    let mut watched = Watched::new();
    watched.disk.set_free(RESERVE + 4_000_000);
    // In its envelope six times as long.
    watched.append("a.jsonl", &("\0".repeat(1_200_000) + "\n"));
    watched.pass(INTERVAL);
    assert_eq!(watched.unknown(), 1);
    let line = "z".repeat(1_200_000) + "\n";
    fs::write(watched.path("a.jsonl"), &line).unwrap();
    watched.pass(INTERVAL);
    watched.pass(INTERVAL);
    assert!(watched.drained() == line);
    assert_eq!(watched.unknown(), 0);
}

#[test]
fn a_line_that_cannot_fit_is_not_begun_and_not_read_again_before_there_is_more_room() {
    let mut watched = Watched::new();
    watched.append("a.jsonl", "one\n");
    watched.pass(INTERVAL);
    watched.pass(INTERVAL);
    watched.disk.set_free(RESERVE + 4_000_000);
    let line = "\0".repeat(1_200_000) + "\n";
    watched.append("a.jsonl", &line);
    let before = watched.disk.operations();
    watched.pass(INTERVAL);
    pass_twenty_minutes(&mut watched);
    assert_eq!(watched.disk.operations(), before, "nothing was written");
    assert_eq!((watched.drained().as_str(), watched.unknown()), ("one\n", 1));
    watched.disk.set_free(RESERVE + 8_000_000);
    watched.pass(INTERVAL);
    watched.pass(INTERVAL);
    assert!(watched.drained() == line);
    assert_eq!(watched.unknown(), 0);
}
