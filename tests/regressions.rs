//! Bugs that were found once, where a fixture tree cannot say them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use pipeline::{Meddled, Meddler, Pipeline, TestClock, append, drain_some, drained};
use rustix::io::Errno;
use tailspool::capture::{CaptureOptions, Overlap};
use tailspool::disk::{Disk, Fault, OsDisk, SimDisk};
use tailspool::ledger::current_fold;
use tailspool::limits::{BATCH_LINES_MAX, FETCH_BYTES, FULL_RETRY, HOT_WINDOW, POLL_BYTES, READ_BYTES};
use tailspool::queue::depth::QueueLimits;
use tailspool::queue::drain::{DrainOptions, Format, Output, drain};
use tailspool::source::Budget;
use tailspool::source::exclude::Exclude;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::{Log, OsTree};
use tailspool::verify::verify;

/// Reads fail with EIO from `from` on while `active` is set.
struct Broken {
    from: u64,
    active: AtomicBool,
    reads: AtomicU64,
}

impl Broken {
    fn from(from: u64) -> Arc<Self> {
        Arc::new(Self {
            from,
            active: AtomicBool::new(false),
            reads: AtomicU64::new(0),
        })
    }
}

impl Meddler for Broken {
    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let end = offset + bytes.len() as u64;
        if self.active.load(Ordering::SeqCst) && end > self.from {
            if offset >= self.from {
                return Err(Errno::IO.into());
            }
            let good = usize::try_from(self.from - offset).unwrap();
            return log.read_at(&mut bytes[..good], offset);
        }
        log.read_at(bytes, offset)
    }
}

fn start_broken(disk: &SimDisk, top: &Path, broken: &Arc<Broken>) -> Pipeline {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = CaptureOptions::default();
    Pipeline::start_with(&shared, top, &["."], &TestClock::new(), Meddled::tree(broken), options).unwrap()
}

/// A pipeline whose queue takes this many records.
fn start_limited(disk: &SimDisk, top: &Path, clock: &Arc<TestClock>, records_max: u64) -> Pipeline {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = CaptureOptions {
        limits: QueueLimits {
            records_max: Some(records_max),
            bytes_max: None,
        },
        ..CaptureOptions::default()
    };
    Pipeline::start_with(&shared, top, &["."], clock, Box::<OsTree>::default(), options).unwrap()
}

#[test]
fn a_file_that_waits_for_room_is_read_to_its_end_after_it_was_rotated() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path();
    let lines: String = (0..100)
        .map(|number| number.to_string() + "\n")
        .collect::<Vec<_>>()
        .concat();
    // Not hot: nothing changed in the last minute.
    append(&top.join("a.jsonl"), &lines);
    let clock = TestClock::new();
    clock.pass(std::time::Duration::from_secs(3600));
    let disk = SimDisk::new();
    let mut pipeline = start_limited(&disk, top, &clock, 10);
    pipeline.look().unwrap();
    assert!(pipeline.capture.queue_full().is_some());
    fs::rename(top.join("a.jsonl"), top.join("a.jsonl.1")).unwrap();
    append(&top.join("a.jsonl"), "new\n");
    let mut all = String::new();
    for _ in 0..30 {
        all += &drained(&disk);
        clock.pass(FULL_RETRY);
        pipeline.look().unwrap();
    }
    assert_eq!(all, lines + "new\n");
}

#[test]
fn a_file_in_the_middle_of_a_backlog_is_read_to_its_end_after_it_was_deleted() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    let line = "x".repeat(999) + "\n";
    append(&path, &line.repeat(12_000));
    let clock = TestClock::new();
    clock.pass(std::time::Duration::from_secs(3600));
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    let report = pipeline
        .source
        .poll(Budget { bytes: 1 }, &mut pipeline.capture)
        .unwrap();
    assert!(report.more, "one turn is less than the file");
    fs::remove_file(&path).unwrap();
    pipeline.look().unwrap();
    pipeline.look().unwrap();
    assert_eq!(drained(&disk).len(), 12_000_000);
}

#[test]
fn what_cannot_be_read_of_the_old_file_is_read_after_its_rotation_or_deletion() {
    for replace in [true, false] {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a.jsonl");
        let disk = SimDisk::new();
        let broken = Broken::from(0);
        append(&path, "one\n");
        let mut pipeline = start_broken(&disk, temp.path(), &broken);
        pipeline.look().unwrap();
        append(&path, "two\n");
        fs::remove_file(&path).unwrap();
        if replace {
            append(&path, "three\n");
        }
        broken.active.store(true, Ordering::SeqCst);
        pipeline.look().unwrap();
        assert_eq!(pipeline.source.overview().unknown, 1);
        broken.active.store(false, Ordering::SeqCst);
        pipeline.look().unwrap();
        let drained = drained(&disk);
        let mut found: Vec<_> = drained.lines().collect();
        found.sort_unstable();
        let expected = if replace {
            &["one", "three", "two"][..]
        } else {
            &["one", "two"]
        };
        assert_eq!(found, expected);
    }
}

#[test]
fn a_long_line_that_cannot_be_read_ends_its_turn_and_is_counted() {
    for from in [READ_BYTES + READ_BYTES / 4, READ_BYTES / 2] {
        let temp = tempfile::tempdir().unwrap();
        append(&temp.path().join("a.jsonl"), &("y".repeat(3 * READ_BYTES) + "\n"));
        append(&temp.path().join("b.jsonl"), "short\n");
        let disk = SimDisk::new();
        let broken = Broken::from(from as u64);
        broken.active.store(true, Ordering::SeqCst);
        let mut pipeline = start_broken(&disk, temp.path(), &broken);
        // It comes to its end at all.
        pipeline.look().unwrap();
        assert_eq!(pipeline.source.overview().unknown, 1);
        assert!(broken.reads.load(Ordering::SeqCst) < 100, "it is not tried without end");
        assert_eq!(drained(&disk), "short\n");
        broken.active.store(false, Ordering::SeqCst);
        pipeline.look().unwrap();
        assert_eq!(drained(&disk).len(), 3 * READ_BYTES + 1);
    }
}

#[test]
fn the_search_for_the_end_of_a_long_line_lets_others_come_first() {
    let temp = tempfile::tempdir().unwrap();
    let giant = fs::File::create(temp.path().join("a.jsonl")).unwrap();
    giant.set_len(1 << 30).unwrap();
    append(&temp.path().join("b.jsonl"), "short\n");
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &TestClock::new()).unwrap();
    let report = pipeline
        .source
        .poll(Budget { bytes: POLL_BYTES }, &mut pipeline.capture)
        .unwrap();
    assert!(report.more, "a gibibyte is more than one poll");
    pipeline.capture.commit().unwrap();
    assert_eq!(drained(&disk), "short\n");
}

#[test]
fn a_long_line_that_would_fill_the_disk_waits_and_holds_nobody_up() {
    let long = 2 * READ_BYTES;
    // Too long from the start, and too long only as it is written: a NUL takes six bytes in JSON.
    for (letter, free) in [("z", long / 2), ("\0", 2 * long)] {
        let temp = tempfile::tempdir().unwrap();
        let line = letter.repeat(long) + "\n";
        append(&temp.path().join("a.jsonl"), &line);
        append(&temp.path().join("b.jsonl"), "short\n");
        let disk = SimDisk::new();
        disk.set_free((1 << 30) + free as u64);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let clock = TestClock::new();
        let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
        pipeline.look().unwrap();
        let operations = disk.operations();
        for _ in 0..3 {
            pipeline.look().unwrap();
            assert_eq!(pipeline.capture.queue_full(), None);
            assert_eq!(pipeline.source.overview().unknown, 1);
        }
        assert_eq!(
            disk.operations(),
            operations,
            "it is not tried again before there is more room"
        );
        append(&temp.path().join("b.jsonl"), "second\n");
        clock.pass(2 * HOT_WINDOW);
        pipeline.look().unwrap();
        assert_eq!(drained(&disk), "short\nsecond\n");
        assert!(disk.list(Path::new("pending")).unwrap().is_empty());
        disk.set_free(1 << 40);
        pipeline.look().unwrap();
        assert!(drained(&disk) == line, "{letter:?}");
        assert_eq!(pipeline.source.overview().unknown, 0);
    }
}

#[test]
fn a_long_line_that_met_the_reserve_is_not_written_again_within_a_minute() {
    let temp = tempfile::tempdir().unwrap();
    let long = 2 * READ_BYTES;
    // Bytes of which each takes more than four, which is known only once they are found to be no UTF-8.
    fs::write(temp.path().join("a.jsonl"), [vec![0xff; long], vec![b'\n']].concat()).unwrap();
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    disk.set_free((1 << 30) + 2 * long as u64);
    pipeline.look().unwrap();
    // Room for what was written, and still not for all of it, as when writing takes more than the bytes.
    disk.set_free((1 << 30) + 3 * long as u64);
    let operations = disk.operations();
    pipeline.look().unwrap();
    clock.pass(HOT_WINDOW / 2);
    pipeline.look().unwrap();
    assert_eq!(disk.operations(), operations);
    clock.pass(HOT_WINDOW / 2);
    pipeline.look().unwrap();
    assert!(disk.operations() > operations);
    assert_eq!(pipeline.source.overview().unknown, 1);
}

#[test]
fn a_long_line_over_quota_is_tried_once_a_minute_and_holds_nobody_up() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    append(&path, "short\n");
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    pipeline.look().unwrap();
    let line = "z".repeat(2 * READ_BYTES) + "\n";
    append(&path, &line);
    disk.set_over_quota(true);
    for _ in 0..2 {
        let operations = disk.operations();
        pipeline.look().unwrap();
        assert_eq!(disk.operations(), operations + 1, "its batch cannot be made");
        pipeline.look().unwrap();
        clock.pass(HOT_WINDOW / 2);
        pipeline.look().unwrap();
        assert_eq!(disk.operations(), operations + 1, "it is too soon");
        assert_eq!(pipeline.capture.queue_full(), None);
        assert_eq!(pipeline.source.overview().unknown, 1);
        clock.pass(HOT_WINDOW / 2);
    }
    disk.set_over_quota(false);
    pipeline.look().unwrap();
    assert!(drained(&disk) == "short\n".to_owned() + &line);
    assert_eq!(pipeline.source.overview().unknown, 0);
}

#[test]
fn a_limit_is_looked_at_again_after_what_waited_for_room() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    let disk = SimDisk::new();
    let clock = TestClock::new();
    let mut pipeline = start_limited(&disk, temp.path(), &clock, 1);
    append(&path, "one\ntwo\n");
    disk.plan(0, Fault::Full);
    pipeline.look().unwrap();
    assert!(pipeline.capture.queue_full().is_some());
    disk.make_room();
    clock.pass(FULL_RETRY);
    pipeline.look().unwrap();
    assert!(pipeline.capture.queue_full().is_some(), "one is pending");
    let pending = disk.list(Path::new("pending")).unwrap();
    assert_eq!(pending.len(), 1, "{pending:?}");
    assert_eq!(drained(&disk), "one\n");
    clock.pass(FULL_RETRY);
    pipeline.look().unwrap();
    assert_eq!(drained(&disk), "two\n");
}

#[test]
fn a_damaged_batch_never_overwrites_one_that_was_set_aside_before() {
    let temp = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(temp.path()).unwrap();
    disk.create_dir(Path::new("pending")).unwrap();
    for content in ["garbage one", "garbage two", "garbage three"] {
        fs::write(temp.path().join("pending/pending-x.json"), content).unwrap();
        let (_, report) = drain_some(&disk, Format::Envelope, u64::MAX, false);
        assert_eq!(report.failures.len(), 1);
    }
    let mut found: Vec<_> = fs::read_dir(temp.path().join("quarantine"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.retain(|path| path.extension().is_none_or(|extension| extension != "reason"));
    let mut contents: Vec<_> = found.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    contents.sort();
    assert_eq!(contents, ["garbage one", "garbage three", "garbage two"]);
}

#[test]
fn a_version_that_is_not_even_a_number_stays_in_the_queue() {
    let temp = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(temp.path()).unwrap();
    disk.create_dir(Path::new("pending")).unwrap();
    for version in ["\"2\"", "1.5", "-1", "[]", "2"] {
        let envelope = format!("{{\"ulid\":\"u\",\"record\":{{}},\"schema_version\":{version}}}");
        fs::write(temp.path().join("pending/pending-x.json"), envelope).unwrap();
        let (_, report) = drain_some(&disk, Format::Envelope, u64::MAX, false);
        let cause = std::error::Error::source(&report.failures[0]).unwrap().to_string();
        assert!(cause.contains(&format!("schema_version is {version}")), "{cause}");
        assert!(temp.path().join("pending/pending-x.json").exists(), "{version}");
    }
}

#[test]
fn what_only_has_the_name_of_a_leftover_does_not_stop_a_start() {
    let temp = tempfile::tempdir().unwrap();
    let (home, logs) = (temp.path().join("home"), temp.path().join("logs"));
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(&home).unwrap());
    let odd = home.join("pending/pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-1.jsonl.tmp");
    fs::create_dir_all(&odd).unwrap();
    append(
        &home.join("pending/pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-18446744073709551615.jsonl"),
        "x",
    );
    append(&home.join("pending/pending-01ARZ3NDEKTSV4RRFFQ69G5FAW-2.jsonl"), "x");
    fs::create_dir_all(&logs).unwrap();
    append(&logs.join("a.jsonl"), "one\n");
    let mut pipeline = Pipeline::start(&disk, &logs, &TestClock::new()).unwrap();
    pipeline.look().unwrap();
    assert_eq!(pipeline.capture.captured().lines, 1);
    assert!(odd.is_dir());
}

/// An envelope of the layout that is streamed when it is long.
fn long_envelope(surface: &str) -> String {
    format!(r#"{{"ulid":"u","appended_at":"t","record":{{"surface":"{surface}","source":{{}}}},"schema_version":1}}"#)
}

/// A queue of a long single record with this surface, and a short one behind it.
fn queue_with_long(surface: &str) -> (tempfile::TempDir, OsDisk, PathBuf) {
    let temp = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(temp.path()).unwrap();
    disk.create_dir(Path::new("pending")).unwrap();
    let long = temp.path().join("pending/pending-a.json");
    fs::write(&long, long_envelope(surface)).unwrap();
    let short = r#"{"ulid":"v","appended_at":"t","record":{"surface":"short"},"schema_version":1}"#;
    fs::write(temp.path().join("pending/pending-b.json"), short).unwrap();
    (temp, disk, long)
}

#[test]
fn a_long_record_that_is_no_line_is_not_begun() {
    let (_temp, disk, long) = queue_with_long(&("w".repeat(9 << 20) + r"\ud800"));
    let (out, report) = drain_some(&disk, Format::Raw, u64::MAX, false);
    assert_eq!(String::from_utf8(out).unwrap(), "short\n");
    assert_eq!((report.records, report.failures.len(), report.stopped), (1, 1, false));
    assert!(long.exists());
    // As JSON it is what it is.
    let (out, report) = drain_some(&disk, Format::Record, u64::MAX, false);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(out.len(), (9 << 20) + r#"{"surface":"\ud800","source":{}}"#.len() + 1);
    assert!(!long.exists());
}

/// Cuts a file when the first bytes come.
struct Cutting {
    out: Vec<u8>,
    file: Option<PathBuf>,
}

impl io::Write for Cutting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(path) = self.file.take() {
            fs::OpenOptions::new().write(true).open(path)?.set_len(5 << 20)?;
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Cutting {
    fn writer(&mut self) -> &mut dyn io::Write {
        self
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn nothing_is_glued_to_a_record_that_broke_off() {
    for format in [Format::Raw, Format::Record, Format::Envelope] {
        let (_temp, disk, long) = queue_with_long(&"w".repeat(9 << 20));
        let mut output = Cutting {
            out: Vec::new(),
            file: Some(long.clone()),
        };
        let options = DrainOptions {
            format,
            records_max: u64::MAX,
            peek: false,
        };
        let report = drain(&disk, options, &mut output, &mut ()).unwrap();
        assert!(output.out.len() > 4 << 20 && !output.out.contains(&b'\n'), "{format:?}");
        assert_eq!((report.records, report.failures.len(), report.stopped), (0, 1, true));
        assert_eq!(
            disk.list(Path::new("pending"))
                .unwrap()
                .iter()
                .filter(|name| !name.to_string_lossy().ends_with(".lock"))
                .count(),
            2
        );
    }
}

#[test]
fn an_envelope_of_others_that_is_too_long_to_hold_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let disk = OsDisk::create(temp.path()).unwrap();
    disk.create_dir(Path::new("pending")).unwrap();
    let long = "w".repeat(9 << 20);
    let path = temp.path().join("pending/pending-x.json");
    fs::write(
        &path,
        format!("{{\"schema_version\":1,\"record\":{{\"surface\":\"{long}\"}},\"ulid\":\"u\"}}"),
    )
    .unwrap();
    let (out, report) = drain_some(&disk, Format::Raw, u64::MAX, false);
    assert!(out.is_empty());
    assert_eq!(report.failures.len(), 1);
    assert!(path.exists());
    // In our layout it is streamed, whatever way it spells its characters, and whatever newlines follow it.
    let ours = long_envelope(&format!(r#"caf\u00e9 \ud83d\ude00 \"{long}"#));
    fs::write(&path, ours.clone() + "\n\n").unwrap();
    let (out, report) = drain_some(&disk, Format::Raw, u64::MAX, true);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert!(out == format!("caf\u{e9} \u{1f600} \"{long}\n").into_bytes());
    let (out, _) = drain_some(&disk, Format::Record, u64::MAX, true);
    assert!(out.starts_with(b"{\"surface\":\"caf") && out.ends_with(b"\"source\":{}}\n"));
    let (out, _) = drain_some(&disk, Format::Envelope, u64::MAX, false);
    assert!(out == (ours + "\n").into_bytes());
    assert!(!path.exists());
}

#[test]
fn two_batches_of_many_files_that_found_no_room_are_one_commit_that_everybody_reads() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    // Two ledger lines each: one batch is under way when the next one is full too.
    let files = BATCH_LINES_MAX * 3 / 2;
    for number in 0..files {
        fs::write(top.join(format!("{number}.jsonl")), format!("{number}\n")).unwrap();
    }
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let options = CaptureOptions {
        overlap: Overlap::Late,
        ..CaptureOptions::default()
    };
    let tree = Box::<OsTree>::default();
    let mut pipeline = Pipeline::start_with(&shared, &top, &["."], &clock, tree, options).unwrap();
    disk.plan(0, Fault::Full);
    pipeline.look().unwrap();
    assert!(pipeline.capture.queue_full().is_some());
    let joined = pipeline.capture.uncommitted_bytes();
    disk.make_room();
    clock.pass(FULL_RETRY);
    let before = pipeline.capture.captured().commits;
    pipeline.capture.tick(false).unwrap();
    let captured = pipeline.capture.captured();
    assert_eq!((captured.commits, captured.bytes), (before + 1, joined), "one commit");
    assert!(captured.lines > BATCH_LINES_MAX as u64 / 2, "of two batches");
    pipeline.look().unwrap();
    drop(pipeline);
    assert_eq!(current_fold(&disk).unwrap().captured_lines, files as u64);
    let scope = Scope::new(None, std::slice::from_ref(&top)).unwrap();
    let report = verify(&disk, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings.first());
    Pipeline::start(&shared, &top, &clock).unwrap().look().unwrap();
    assert_eq!(drained(&disk).lines().count(), files);
}

#[test]
fn lines_as_long_as_a_fetch_and_as_a_read_come_back_and_so_do_those_beside_them() {
    let temp = tempfile::tempdir().unwrap();
    let mut lines = String::new();
    for most in [FETCH_BYTES, READ_BYTES] {
        for length in [most - 1025, most - 1024, most - 2, most - 1, most, most + 1] {
            lines += "before\n";
            lines += &"x".repeat(length);
            lines += "\n";
        }
    }
    append(&temp.path().join("a.jsonl"), &lines);
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &TestClock::new()).unwrap();
    pipeline.look().unwrap();
    assert!(drained(&disk) == lines);
}
