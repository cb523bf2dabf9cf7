//! Following on: what becomes of a file that its path does not show any more, of a last line without a newline, and
//! of what stands in a file that was rewritten.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pipeline::{Meddled, Meddler, Pipeline, TestClock, drained};
use rustix::io::Errno;
use serde_json::Value;
use tailspool::capture::CaptureOptions;
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::{
    DRAIN_QUIET, FRAGMENT_BYTES_MAX, FREE_BYTES_MIN, HANDLES_MAX, HOT_INTERVAL, HOT_WINDOW, INTERVAL, LONG_LINE_RETRY,
    POLL_BYTES, RACY, READ_BYTES, RECHECK_TURN_BYTES, TAIL_SETTLE,
};
use tailspool::source::Budget;
use tailspool::source::tree::{Log, Stamp, Stat};

/// Counts handles and read bytes, and shows times as the test wants them.
#[derive(Default)]
struct Odd {
    handles: AtomicU64,
    handles_most: AtomicU64,
    read_bytes: AtomicU64,
    /// Shows every file as changed at this moment of the filesystem's clock, which ticks no more.
    still: AtomicBool,
    still_at: AtomicU64,
    /// Which read from now on fails, from 1; none at 0.
    fails_in: AtomicU64,
}

impl Meddler for Odd {
    fn opened(&self) {
        let open = self.handles.fetch_add(1, Ordering::SeqCst) + 1;
        self.handles_most.fetch_max(open, Ordering::SeqCst);
    }

    fn closed(&self) {
        self.handles.fetch_sub(1, Ordering::SeqCst);
    }

    fn change(&self, mut stat: Stat) -> Stat {
        if self.still.load(Ordering::SeqCst) {
            let stamp = Stamp {
                seconds: self.still_at.load(Ordering::SeqCst).cast_signed(),
                nanoseconds: 0,
            };
            (stat.mtime, stat.ctime) = (stamp, stamp);
        }
        stat
    }

    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let one_less = |left: u64| left.checked_sub(1);
        if self.fails_in.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) == Ok(1) {
            return Err(Errno::IO.into());
        }
        let read = log.read_at(bytes, offset)?;
        self.read_bytes.fetch_add(read as u64, Ordering::SeqCst);
        Ok(read)
    }
}

/// A directory that is watched, on a disk that is simulated.
struct Watched {
    temp: tempfile::TempDir,
    disk: SimDisk,
    clock: Arc<TestClock>,
    odd: Arc<Odd>,
    pipeline: Option<Pipeline>,
}

impl Watched {
    fn new() -> Self {
        let mut this = Self {
            temp: tempfile::tempdir().unwrap(),
            disk: SimDisk::new(),
            clock: TestClock::new(),
            odd: Arc::default(),
            pipeline: None,
        };
        this.start();
        this
    }

    fn start(&mut self) {
        let shared: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let tree = Meddled::tree(&self.odd);
        let options = CaptureOptions::default();
        let pipeline = Pipeline::start_with(&shared, self.temp.path(), &["."], &self.clock, tree, options);
        self.pipeline = Some(pipeline.unwrap());
    }

    /// Stops as the engine does.
    fn stop(&mut self) {
        let mut pipeline = self.pipeline.take().unwrap();
        pipeline.source.finish(&mut pipeline.capture).unwrap();
        pipeline.capture.stop().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// A writer that keeps the file open.
    fn writer(&self, name: &str) -> File {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path(name))
            .unwrap()
    }

    /// Time passes, and the engine polls until there is nothing to do.
    fn pass(&mut self, time: Duration) {
        self.clock.pass(time);
        while self.poll() {}
    }

    /// One poll as the engine makes it. Whether there is more.
    fn poll(&mut self) -> bool {
        let pipeline = self.pipeline.as_mut().unwrap();
        let budget = Budget { bytes: POLL_BYTES };
        let report = pipeline.source.poll(budget, &mut pipeline.capture).unwrap();
        pipeline.capture.tick(report.more).unwrap();
        pipeline.capture.commit().unwrap();
        report.more && !report.refused
    }

    /// What is captured within a walk and a look at hot files.
    fn captured(&mut self) -> String {
        self.pass(INTERVAL);
        self.pass(HOT_INTERVAL);
        drained(&self.disk)
    }

    fn handles(&self) -> u64 {
        self.odd.handles.load(Ordering::SeqCst)
    }

    /// The ledger lines of one kind.
    fn ledger(&self, kind: &str) -> Vec<Value> {
        let mut text = String::new();
        let path = Path::new("provenance/provenance-000001.jsonl");
        self.disk.read_from(path, 0).unwrap().read_to_string(&mut text).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["kind"] == kind).collect()
    }
}

fn write(file: &mut File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
}

#[test]
fn what_is_written_to_an_unlinked_file_is_captured_as_long_as_its_handle_is_kept() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, "one\n");
    assert_eq!(watched.captured(), "one\n");
    fs::remove_file(watched.path("a.jsonl")).unwrap();
    write(&mut writer, "two\n");
    assert_eq!(watched.captured(), "two\n");
    // Nobody could come back to it, so it is followed however long it is quiet.
    for _ in 0..10 {
        watched.pass(DRAIN_QUIET);
        watched.pass(HOT_WINDOW);
    }
    write(&mut writer, "three\nhal");
    assert_eq!(watched.captured(), "three\n");
    write(&mut writer, "f\n{\"whole\":1}");
    assert_eq!(watched.captured(), "half\n");
    assert_eq!(watched.ledger("closed").len(), 0);
    watched.stop();
    assert_eq!(drained(&watched.disk), "{\"whole\":1}\n");
    let closed = &watched.ledger("closed")[0];
    assert_eq!((&closed["fragment"], &closed["unread"]), (&Value::Null, &0.into()));
}

#[test]
fn a_renamed_file_is_followed_until_it_is_quiet_and_its_fragment_is_written_down() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, "one\n");
    watched.captured();
    fs::rename(watched.path("a.jsonl"), watched.path("a.jsonl.1")).unwrap();
    write(&mut writer, "two\n");
    assert_eq!(watched.captured(), "two\n");
    watched.pass(DRAIN_QUIET.saturating_sub(INTERVAL));
    write(&mut writer, "three\n{\"torn\":");
    assert_eq!(watched.captured(), "three\n", "just in time");
    watched.pass(DRAIN_QUIET);
    let closed = watched.ledger("closed");
    assert_eq!(closed[0]["fragment"], "{\"torn\":");
    assert_eq!(
        (&closed[0]["fragment_length"], &closed[0]["unread"]),
        (&8.into(), &0.into())
    );
    assert_eq!(watched.handles(), 0);
    write(&mut writer, "0}\n");
    assert_eq!(watched.captured(), "", "nobody follows it any more");
    // It comes back, and goes on where it was.
    fs::rename(watched.path("a.jsonl.1"), watched.path("a.jsonl")).unwrap();
    assert_eq!(watched.captured(), "{\"torn\":0}\n");
}

#[test]
fn a_long_fragment_is_written_down_up_to_its_bound() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, "one\n");
    watched.captured();
    writer.write_all(&vec![0xff; FRAGMENT_BYTES_MAX + 5]).unwrap();
    fs::rename(watched.path("a.jsonl"), watched.path("a.jsonl.1")).unwrap();
    watched.captured();
    watched.pass(DRAIN_QUIET);
    let closed = watched.ledger("closed");
    assert_eq!(closed[0]["fragment_length"], FRAGMENT_BYTES_MAX + 5);
    let base64 = closed[0]["fragment_base64"].as_str().unwrap();
    assert_eq!(base64.len(), FRAGMENT_BYTES_MAX.div_ceil(3) * 4);
    // Such a line is read like any other.
    watched.stop();
    watched.start();
    assert_eq!(watched.captured(), "");
    assert_eq!(watched.ledger("closed").len(), 1);
}

#[test]
fn a_file_that_was_renamed_while_nobody_watched_is_looked_for_in_its_directory() {
    for keep in [true, false] {
        let mut watched = Watched::new();
        let mut writer = watched.writer("a.jsonl");
        write(&mut writer, "one\n");
        watched.captured();
        watched.stop();
        write(&mut writer, "two\n");
        fs::rename(watched.path("a.jsonl"), watched.path("a.jsonl.1")).unwrap();
        if !keep {
            fs::remove_file(watched.path("a.jsonl.1")).unwrap();
        }
        watched.start();
        assert_eq!(watched.captured(), if keep { "two\n" } else { "" });
        if !keep {
            let closed = watched.ledger("closed");
            assert_eq!(closed[0]["unread"], Value::Null, "nobody saw how much there was");
        }
    }
}

#[test]
fn the_handles_of_former_files_stay_within_the_bound_and_the_quietest_are_closed_first() {
    let mut watched = Watched::new();
    let many = HANDLES_MAX + 20;
    let mut writers: Vec<_> = (0..many)
        .map(|number| {
            let mut writer = watched.writer(&format!("{number:03}.jsonl"));
            write(&mut writer, "one\n");
            watched.pass(HOT_INTERVAL);
            writer
        })
        .collect();
    watched.captured();
    for number in 0..many {
        fs::remove_file(watched.path(&format!("{number:03}.jsonl"))).unwrap();
        watched.pass(HOT_INTERVAL);
    }
    watched.captured();
    assert!(watched.handles() <= HANDLES_MAX as u64, "{}", watched.handles());
    for writer in &mut writers {
        write(writer, "two\n");
    }
    let read = watched.captured().lines().count();
    assert!(read >= HANDLES_MAX - 1, "{read} of them were followed");
    assert_eq!(watched.ledger("closed").len() + read, many);
}

#[test]
fn many_files_that_were_renamed_while_nobody_watched_are_read_within_the_bound_of_handles() {
    let mut watched = Watched::new();
    let many = 2 * HANDLES_MAX + 100;
    for number in 0..many {
        write(&mut watched.writer(&format!("{number:03}.jsonl")), "one\n");
    }
    assert_eq!(watched.captured().lines().count(), many);
    watched.stop();
    for number in 0..many {
        let path = watched.path(&format!("{number:03}.jsonl"));
        write(&mut watched.writer(&format!("{number:03}.jsonl")), "two\n");
        fs::rename(&path, path.with_extension("old")).unwrap();
    }
    watched.odd.handles_most.store(0, Ordering::SeqCst);
    watched.start();
    assert_eq!(watched.captured().lines().count(), many);
    let most = watched.odd.handles_most.load(Ordering::SeqCst);
    assert!(most <= HANDLES_MAX as u64 + 2, "{most} were open at a time");
}

#[test]
fn a_last_line_without_newline_is_captured_when_it_is_whole_and_quiet() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, "one\n{\"a\":");
    assert_eq!(watched.captured(), "one\n");
    watched.pass(TAIL_SETTLE);
    write(&mut writer, "1}");
    assert_eq!(watched.captured(), "", "it is not quiet");
    watched.pass(TAIL_SETTLE);
    assert_eq!(watched.captured(), "{\"a\":1}\n");
    for _ in 0..5 {
        watched.pass(TAIL_SETTLE);
    }
    watched.stop();
    watched.start();
    watched.pass(TAIL_SETTLE);
    assert_eq!(watched.captured(), "", "once");
    write(&mut writer, "\nthree\n");
    assert_eq!(watched.captured(), "three\n");
    let run = watched.ledger("captured").pop().unwrap();
    let settled = watched.ledger("settled").pop().unwrap();
    assert_eq!(
        (&run["settled"], &run["lines"], &run["from"]),
        (&settled["ulid"], &1.into(), &4.into())
    );
}

#[test]
fn a_settled_line_that_comes_with_other_bytes_is_replaced() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, "{\"a\":1}");
    watched.captured();
    watched.pass(TAIL_SETTLE);
    assert_eq!(watched.captured(), "{\"a\":1}\n");
    // Withdrawn and written anew, settled again, and then ended otherwise.
    writer.set_len(0).unwrap();
    write(&mut writer, "{\"b\":22}");
    watched.captured();
    watched.pass(TAIL_SETTLE);
    assert_eq!(watched.captured(), "{\"b\":22}\n");
    write(&mut writer, "{\"c\":3}\n");
    assert_eq!(watched.captured(), "{\"b\":22}{\"c\":3}\n");
    let settled = watched.ledger("settled");
    assert_eq!(settled[1]["replaces"], settled[0]["ulid"]);
    assert_eq!(watched.pipeline.as_ref().unwrap().capture.fold().files.len(), 1);
}

#[test]
fn a_long_last_line_settles_and_its_newline_adds_no_record() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * READ_BYTES));
    write(&mut writer, &long);
    assert_eq!(watched.captured(), "");
    watched.pass(TAIL_SETTLE);
    assert!(watched.captured() == format!("{long}\n"));
    write(&mut writer, "\nnext\n");
    assert_eq!(watched.captured(), "next\n");
    assert_eq!(watched.ledger("settled").len(), 1);
}

/// A last line that is streamed.
fn long_object(letter: &str) -> String {
    format!("{{\"a\":\"{}\"}}", letter.repeat(READ_BYTES + 100_000))
}

#[test]
fn a_long_last_line_that_is_touched_is_known_and_one_that_is_rewritten_is_replaced() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, &long_object("x"));
    watched.captured();
    watched.pass(TAIL_SETTLE);
    assert!(drained(&watched.disk) == long_object("x") + "\n");
    writer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(watched.captured(), "");
    watched.pass(TAIL_SETTLE);
    assert_eq!(watched.captured(), "");
    assert_eq!(watched.ledger("settled").len(), 1);
    fs::write(watched.path("a.jsonl"), long_object("y")).unwrap();
    assert_eq!(watched.captured(), "");
    watched.pass(TAIL_SETTLE);
    assert!(watched.captured() == long_object("y") + "\n");
    let settled = watched.ledger("settled");
    assert_eq!((settled.len(), &settled[1]["replaces"]), (2, &settled[0]["ulid"]));
}

#[test]
fn a_long_last_line_waits_until_it_is_a_whole_object() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    let blank = " ".repeat(READ_BYTES + 100_000);
    let rest = long_object("x").split_off(10);
    for piece in [&blank, "{\"a\":\"xxxx", &rest[..rest.len() - 1]] {
        write(&mut writer, piece);
        for _ in 0..3 {
            watched.pass(TAIL_SETTLE);
            assert_eq!(watched.captured(), "");
        }
    }
    write(&mut writer, "}");
    assert_eq!(watched.captured(), "", "it is not quiet");
    watched.pass(TAIL_SETTLE);
    assert!(watched.captured() == format!("{blank}{}\n", long_object("x")));
}

#[test]
fn a_long_last_line_waits_for_room_on_the_disk() {
    let mut watched = Watched::new();
    let mut writer = watched.writer("a.jsonl");
    write(&mut writer, &long_object("x"));
    watched.disk.set_free(FREE_BYTES_MIN + 100_000);
    for _ in 0..3 {
        watched.pass(TAIL_SETTLE);
        assert_eq!(watched.captured(), "");
    }
    watched.disk.set_free(FREE_BYTES_MIN + 100_000_000);
    watched.pass(LONG_LINE_RETRY);
    assert!(watched.captured() == long_object("x") + "\n");
}

#[test]
fn a_long_last_line_waits_until_what_was_read_before_it_is_committed() {
    let mut watched = Watched::new();
    let (mut short, mut long) = (watched.writer("a.jsonl"), watched.writer("b.jsonl"));
    write(&mut long, &long_object("x"));
    assert_eq!(watched.captured(), "");
    write(&mut short, "one\n");
    watched.disk.set_over_quota(true);
    for _ in 0..3 {
        watched.pass(TAIL_SETTLE);
        assert_eq!(watched.captured(), "");
    }
    watched.disk.set_over_quota(false);
    watched.pass(LONG_LINE_RETRY);
    assert!(watched.captured() == format!("one\n{}\n", long_object("x")));
    assert_eq!(watched.ledger("settled").len(), 1);
}

#[test]
fn a_long_last_line_whose_reading_fails_is_captured_once() {
    for at in (1..120).step_by(4) {
        let mut watched = Watched::new();
        let mut writer = watched.writer("a.jsonl");
        write(&mut writer, &long_object("x"));
        assert_eq!(watched.captured(), "");
        watched.odd.fails_in.store(at, Ordering::SeqCst);
        let mut found = String::new();
        for _ in 0..2 {
            for _ in 0..3 {
                watched.pass(TAIL_SETTLE);
                found += &watched.captured();
            }
            writer.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        assert!(found == long_object("x") + "\n", "read {at}: {} bytes", found.len());
    }
}

#[test]
fn a_file_that_is_rewritten_within_one_tick_of_the_clock_is_checked_once_more() {
    let mut watched = Watched::new();
    let now = watched.clock.utc().as_second();
    watched.odd.still_at.store(now.cast_unsigned(), Ordering::SeqCst);
    watched.odd.still.store(true, Ordering::SeqCst);
    fs::write(watched.path("a.jsonl"), "one\n").unwrap();
    watched.pass(Duration::ZERO);
    assert_eq!(drained(&watched.disk), "one\n");
    fs::write(watched.path("a.jsonl"), "two\n").unwrap();
    watched.pass(HOT_INTERVAL);
    assert_eq!(drained(&watched.disk), "", "it shows the same times");
    watched.pass(RACY);
    assert_eq!(drained(&watched.disk), "two\n");
    // And then no more: reading it again and again would cost something.
    watched.pass(RACY);
    let read_bytes = watched.odd.read_bytes.load(Ordering::SeqCst);
    for _ in 0..10 {
        watched.pass(INTERVAL);
    }
    assert_eq!(watched.odd.read_bytes.load(Ordering::SeqCst), read_bytes);
}

#[test]
fn a_large_chain_is_hashed_in_turns_and_only_what_differs_is_read_again() {
    let mut watched = Watched::new();
    let line = "x".repeat(8 * 1024 - 1) + "\n";
    let size = 2 * RECHECK_TURN_BYTES + RECHECK_TURN_BYTES / 2;
    let mut content = line.repeat(usize::try_from(size).unwrap() / line.len());
    content.replace_range(..6, "title1");
    fs::write(watched.path("a.jsonl"), &content).unwrap();
    watched.captured();
    let slot = OpenOptions::new().write(true).open(watched.path("a.jsonl")).unwrap();
    slot.write_all_at(b"title2", 0).unwrap();
    fs::write(watched.path("b.jsonl"), "small\n").unwrap();
    watched.clock.pass(INTERVAL);
    assert!(watched.poll(), "it is not done in one turn");
    assert_eq!(drained(&watched.disk), "small\n", "and the others come between");
    let captured = watched.captured();
    let run = watched.ledger("captured")[0]["to"].as_u64().unwrap();
    assert_eq!(captured.len() as u64, run, "one run");
    assert!(captured.starts_with("title2"));
    let cut = &watched.ledger("truncate")[0];
    assert_eq!((&cut["kept"], &cut["kept_from"]), (&0.into(), &run.into()));
}
