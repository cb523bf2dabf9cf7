//! Files that change while their run chain is hashed, looks that fail at the worst moment, a queue that is full.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pipeline::{Meddled, Meddler, Pipeline, TestClock, append, counted, drained};
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::source::polling::PollingSource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::{Log, OsTree};
use tailspool::source::{Budget, Source};

fn pwrite(path: &Path, text: &str, at: u64) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(text.as_bytes(), at).unwrap();
}

/// A log of at least so many bytes: a title, and long lines.
fn titled(bytes_min: usize) -> String {
    let mut text = String::from("{\"title\":\"A\"}\n");
    while text.len() < bytes_min {
        let line = format!("{{\"n\":{},\"pad\":\"{}\"}}\n", text.len(), "x".repeat(20_000));
        text += &line;
    }
    text
}

#[test]
fn a_chain_that_was_hashed_in_part_is_hashed_anew_when_the_cursor_has_moved() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let path = top.join("s.jsonl");
    let text = titled(90 << 20);
    fs::write(&path, &text).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let mut p = Pipeline::start(&disk, &top, &clock).unwrap();
    p.look().unwrap();
    drop(drained(&*disk));
    pwrite(&path, "{\"title\":\"B\"}\n", 0);
    p.source.look_now();
    let report = p.source.poll(Budget { bytes: 1 }, &mut p.capture).unwrap();
    assert!(report.more);
    pwrite(&path, "{\"title\":\"A\"}\n", 0);
    append(&path, "{\"new\":1}\n");
    p.look().unwrap();
    assert_eq!(drained(&*disk), "{\"new\":1}\n");
    pwrite(&path, "{\"title\":\"C\"}\n", 0);
    p.look().unwrap();
    p.look().unwrap();
    let got = drained(&*disk);
    assert!(got.starts_with("{\"title\":\"C\"}\n"));
    append(&path, "{\"new\":2}\n");
    p.look().unwrap();
    assert_eq!(drained(&*disk), "{\"new\":2}\n");
}

type Change = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// Changes something at one of the reads, or fails there.
struct Flip {
    n: AtomicUsize,
    at: AtomicUsize,
    change: Change,
}

impl Meddler for Flip {
    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if self.n.fetch_add(1, Ordering::SeqCst) == self.at.load(Ordering::SeqCst) {
            (self.change)()?;
        }
        log.read_at(bytes, offset)
    }
}

#[test]
fn a_slot_that_flips_back_while_it_is_hashed() {
    let mut bad = Vec::new();
    for at in 0..60 {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        let path = top.join("s.jsonl");
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let clock = TestClock::new();
        let slot = path.clone();
        let meddler = Arc::new(Flip {
            n: AtomicUsize::new(0),
            at: AtomicUsize::new(usize::MAX),
            change: Box::new(move || {
                pwrite(&slot, "{\"title\":\"A\"}\n", 0);
                Ok(())
            }),
        });
        let mut p = Pipeline::start_with(
            &disk,
            &top,
            &["."],
            &clock,
            Meddled::tree(&meddler),
            CaptureOptions::default(),
        )
        .unwrap();
        append(&path, "{\"title\":\"A\"}\n");
        for i in 0..3 {
            append(&path, &format!("{{\"n\":{i},\"pad\":\"{}\"}}\n", "x".repeat(2000)));
            p.look().unwrap();
        }
        drained(&*disk);
        pwrite(&path, "{\"title\":\"B\"}\n", 0);
        meddler.n.store(0, Ordering::SeqCst);
        meddler.at.store(at, Ordering::SeqCst);
        let mut run = || -> Result<(), tailspool::error::Error> {
            for _ in 0..3 {
                p.look()?;
            }
            append(&path, "{\"new\":2}\n");
            p.look()?;
            assert!(drained(&*disk).ends_with("{\"new\":2}\n"), "at {at}");
            Ok(())
        };
        if let Err(error) = run() {
            drop(p);
            let again = Pipeline::start(&disk, &top, &clock).and_then(|mut p| p.look());
            bad.push((at, format!("{error:#}"), again.map_err(|e| e.to_string())));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

/// A log of a title and three lines, each a run, that is captured, and what meddles with its reads from now on.
fn in_four_runs(path: &Path, disk: &Arc<dyn Disk>, change: Change) -> (Pipeline, Arc<Flip>) {
    let meddler = Arc::new(Flip {
        n: AtomicUsize::new(0),
        at: AtomicUsize::new(usize::MAX),
        change,
    });
    let (tree, options) = (Meddled::tree(&meddler), CaptureOptions::default());
    let mut p = Pipeline::start_with(disk, path.parent().unwrap(), &["."], &TestClock::new(), tree, options).unwrap();
    append(path, "{\"title\":\"A\"}\n");
    p.look().unwrap();
    for i in 0..3 {
        append(path, &format!("{{\"n\":{i},\"pad\":\"{}\"}}\n", "x".repeat(2000)));
        p.look().unwrap();
    }
    drained(&**disk);
    (p, meddler)
}

#[test]
fn a_log_that_is_cut_while_it_is_hashed_is_read_on_from_what_is_left() {
    for at in 0..40 {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap().join("s.jsonl");
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let cut = path.clone();
        let shorter = move || {
            let file = fs::OpenOptions::new().write(true).open(&cut).unwrap();
            file.set_len(14).unwrap();
            Ok(())
        };
        let (mut p, meddler) = in_four_runs(&path, &disk, Box::new(shorter));
        pwrite(&path, "{\"title\":\"B\"}\n", 0);
        meddler.n.store(0, Ordering::SeqCst);
        meddler.at.store(at, Ordering::SeqCst);
        for _ in 0..3 {
            p.look().unwrap();
        }
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(14)
            .unwrap();
        // At the latest now, and not under the line that follows.
        meddler.at.store(usize::MAX, Ordering::SeqCst);
        p.look().unwrap();
        append(&path, "{\"new\":2}\n");
        p.look().unwrap();
        assert_eq!(drained(&*disk), "{\"title\":\"B\"}\n{\"new\":2}\n", "at {at}");
    }
}

#[test]
fn a_failed_read_while_a_copy_is_compared_captures_nothing_again() {
    for at in 0..40 {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().canonicalize().unwrap().join("s.jsonl");
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let (mut p, meddler) = in_four_runs(&path, &disk, Box::new(|| Err(io::Error::from_raw_os_error(5))));
        let copy = path.with_extension("tmp");
        fs::copy(&path, &copy).unwrap();
        append(&copy, "{\"new\":1}\n");
        fs::rename(&copy, &path).unwrap();
        meddler.n.store(0, Ordering::SeqCst);
        meddler.at.store(at, Ordering::SeqCst);
        for _ in 0..3 {
            p.look().unwrap();
        }
        assert_eq!(drained(&*disk), "{\"new\":1}\n", "at {at}");
    }
}

#[test]
fn a_large_log_that_grows_while_its_copy_is_compared_is_not_captured_again() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let path = top.join("s.jsonl");
    fs::write(&path, titled(90 << 20)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let mut p = Pipeline::start(&disk, &top, &TestClock::new()).unwrap();
    p.look().unwrap();
    drop(drained(&*disk));
    let copy = path.with_extension("tmp");
    fs::copy(&path, &copy).unwrap();
    append(&copy, "{\"new\":1}\n");
    fs::rename(&copy, &path).unwrap();
    p.source.look_now();
    let report = p.source.poll(Budget { bytes: 1 }, &mut p.capture).unwrap();
    assert!(report.more);
    append(&path, "{\"new\":2}\n");
    let before = p.source.overview().files;
    p.look().unwrap();
    assert_eq!(drained(&*disk), "{\"new\":1}\n{\"new\":2}\n");
    assert_eq!((before, p.source.overview().files), (1, 1));
}

/// The run behind it stands, and begins in the middle of a line now.
#[test]
fn a_line_that_lost_its_newline_is_captured_with_the_one_behind_it() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().canonicalize().unwrap().join("s.jsonl");
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let (mut p, _) = in_four_runs(&path, &disk, Box::new(|| Ok(())));
    let lines = fs::read_to_string(&path).unwrap();
    let second = lines.split_inclusive('\n').take(2).map(str::len).sum::<usize>();
    pwrite(&path, " ", second as u64 - 1);
    pwrite(&path, "{\"title\":\"B\"}\n", 0);
    p.look().unwrap();
    append(&path, "{\"new\":1}\n");
    p.look().unwrap();
    let got = drained(&*disk);
    let glued = lines.lines().skip(1).take(2).collect::<Vec<_>>().join(" ");
    let expected = format!("{{\"title\":\"B\"}}\n{glued}\n{{\"new\":1}}\n");
    assert!(got == expected, "{} bytes: {got:.100}", got.len());
}

struct FailOpen {
    n: AtomicUsize,
    at: AtomicUsize,
}
impl Meddler for FailOpen {
    fn open(&self, _: &Path) -> io::Result<()> {
        if self.n.fetch_add(1, Ordering::SeqCst) == self.at.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(24));
        }
        Ok(())
    }
}

#[test]
fn a_failed_look_for_the_old_inode_captures_nothing_again() {
    let mut bad = Vec::new();
    for at in (0..20).chain([9999]) {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        fs::create_dir(top.join("d")).unwrap();
        let path = top.join("d/s.jsonl");
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let clock = TestClock::new();
        let meddler = Arc::new(FailOpen {
            n: AtomicUsize::new(0),
            at: AtomicUsize::new(usize::MAX),
        });
        let mut p = Pipeline::start_with(
            &disk,
            &top,
            &["."],
            &clock,
            Meddled::tree(&meddler),
            CaptureOptions::default(),
        )
        .unwrap();
        fs::write(&path, "{\"a\":1}\n{\"a\":2}\n").unwrap();
        p.look().unwrap();
        // Cold: no handle is kept.
        for _ in 0..10 {
            clock.pass(Duration::from_secs(60));
            p.look().unwrap();
            clock.pass(Duration::from_millis(500));
            let _ = p.source.poll(Budget { bytes: u64::MAX }, &mut p.capture).unwrap();
        }
        assert_eq!(drained(&*disk), "{\"a\":1}\n{\"a\":2}\n");
        fs::write(top.join("d/tmp"), "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n").unwrap();
        fs::rename(top.join("d/tmp"), &path).unwrap();
        meddler.n.store(0, Ordering::SeqCst);
        meddler.at.store(at, Ordering::SeqCst);
        for _ in 0..3 {
            p.look().unwrap();
        }
        let got = drained(&*disk);
        if got != "{\"a\":3}\n" {
            bad.push((at, got));
        }
    }
    assert!(bad.is_empty(), "{bad:#?}");
}

fn from_end(disk: &Arc<dyn Disk>, top: &Path, clock: &Arc<TestClock>) -> (Capture, PollingSource) {
    let c: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    let capture = Capture::open(Arc::clone(disk), Arc::clone(&c), counted(), CaptureOptions::default()).unwrap();
    let scope = Scope::new(None, &[top.to_owned()]).unwrap();
    let roots = roots::check(vec![RootSpec::new(top)], &scope, None).unwrap();
    let mut options = SourceOptions::new(roots, scope);
    options.from_end = true;
    let source = PollingSource::new(options, Box::<OsTree>::default(), c, capture.fold()).unwrap();
    (capture, source)
}

#[test]
fn from_end_after_a_crash_in_the_first_pass() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    for i in 0..5 {
        fs::write(top.join(format!("{i}.jsonl")), "{\"old\":1}\n").unwrap();
    }
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let (mut capture, mut source) = from_end(&disk, &top, &clock);
    source.poll(Budget { bytes: 1 }, &mut capture).unwrap();
    capture.commit().unwrap();
    drop((capture, source));
    let (mut capture, mut source) = from_end(&disk, &top, &clock);
    while source.poll(Budget { bytes: u64::MAX }, &mut capture).unwrap().more {}
    capture.commit().unwrap();
    assert_eq!(drained(&*disk), "");
}

#[test]
fn a_directory_that_became_a_file_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    fs::create_dir(top.join("d")).unwrap();
    fs::write(top.join("d/s.jsonl"), "{\"a\":1}\n").unwrap();
    let mut p = Pipeline::start(&disk, &top, &clock).unwrap();
    p.look().unwrap();
    fs::remove_dir_all(top.join("d")).unwrap();
    fs::write(top.join("d"), "x").unwrap();
    for _ in 0..5 {
        clock.pass(Duration::from_secs(60));
        p.look().unwrap();
    }
    assert_eq!((p.source.overview().unknown, p.source.overview().files), (0, 0));
}

fn settled_case(restart: bool) -> String {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let path = top.join("s.jsonl");
    fs::write(&path, "{\"a\":1}").unwrap();
    let mut p = Pipeline::start(&disk, &top, &clock).unwrap();
    p.look().unwrap();
    clock.pass(Duration::from_secs(11));
    p.look().unwrap();
    assert_eq!(drained(&*disk), "{\"a\":1}\n");
    std::thread::sleep(Duration::from_millis(20));
    pwrite(&path, "{\"a\":2}", 0);
    p.look().unwrap();
    fs::remove_file(&path).unwrap();
    p.look().unwrap();
    if restart {
        p.source.finish(&mut p.capture).unwrap();
        p.capture.stop().unwrap();
    } else {
        clock.pass(Duration::from_secs(11));
        p.look().unwrap();
        p.look().unwrap();
    }
    drained(&*disk)
}

#[test]
fn a_settled_line_rewritten_with_equal_length_is_captured_when_quiet() {
    assert_eq!(settled_case(false), "{\"a\":2}\n");
}

#[test]
fn a_settled_line_rewritten_with_equal_length_is_captured_at_stop() {
    assert_eq!(settled_case(true), "{\"a\":2}\n");
}

#[test]
fn a_settled_line_that_stands_is_not_captured_again_after_a_rewrite_before_it() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let path = top.join("s.jsonl");
    let mut p = Pipeline::start(&disk, &top, &clock).unwrap();
    append(&path, "{\"title\":\"A\"}\n");
    p.look().unwrap();
    append(&path, &format!("{{\"x\":\"{}\"}}\n{{\"last\":1}}", "x".repeat(3000)));
    p.look().unwrap();
    clock.pass(Duration::from_secs(11));
    p.look().unwrap();
    assert!(drained(&*disk).ends_with("{\"last\":1}\n"));
    std::thread::sleep(Duration::from_millis(20));
    pwrite(&path, "{\"title\":\"B\"}\n", 0);
    p.look().unwrap();
    clock.pass(Duration::from_secs(11));
    p.look().unwrap();
    append(&path, "\n");
    p.look().unwrap();
    assert_eq!(drained(&*disk), "{\"title\":\"B\"}\n");
}

/// The queue is full: a rewritten file is hashed again and again.
#[test]
fn a_full_queue_does_not_hash_for_ever() {
    struct Count(AtomicUsize);
    impl Meddler for Count {
        fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
            let read = log.read_at(bytes, offset)?;
            self.0.fetch_add(read, Ordering::SeqCst);
            Ok(read)
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let path = top.join("s.jsonl");
    let text = titled(10 << 20);
    fs::write(&path, &text).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let lines = text.lines().count() as u64;
    let mut options = CaptureOptions::default();
    options.limits.records_max = Some(lines + 1);
    let mut p = Pipeline::start_with(&disk, &top, &["."], &clock, Meddled::tree(&count), options).unwrap();
    p.look().unwrap();
    append(&path, "{\"more\":1}\n");
    p.look().unwrap();
    pwrite(&path, "{\"title\":\"B\"}\n", 0);
    p.look().unwrap();
    count.0.store(0, Ordering::SeqCst);
    eprintln!(
        "full {:?} lines {lines} captured {}",
        p.capture.queue_full(),
        p.capture.fold().captured_lines
    );
    for _ in 0..100 {
        clock.pass(Duration::from_secs(1));
        let r = p.source.poll(Budget { bytes: u64::MAX }, &mut p.capture).unwrap();
        eprintln!("{r:?} {}", count.0.load(Ordering::SeqCst));
        p.capture.tick(r.more).unwrap();
    }
    let read = count.0.load(Ordering::SeqCst);
    assert!(read < 100 << 20, "{} MiB", read >> 20);
}

/// A failed opening of a root is no evidence of anything about its files.
#[test]
fn a_root_that_fails_moves_nothing_to_the_other_one() {
    struct FailRoot(std::sync::atomic::AtomicBool);
    impl Meddler for FailRoot {
        fn root(&self, path: &Path) -> io::Result<()> {
            if self.0.load(Ordering::SeqCst) && path.ends_with("a") {
                return Err(io::Error::from_raw_os_error(24));
            }
            Ok(())
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    fs::create_dir(top.join("a")).unwrap();
    fs::create_dir(top.join("b")).unwrap();
    fs::write(top.join("a/s.jsonl"), "{\"a\":1}\n").unwrap();
    fs::hard_link(top.join("a/s.jsonl"), top.join("b/s.jsonl")).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let fail = Arc::new(FailRoot(false.into()));
    let mut p = Pipeline::start_with(
        &disk,
        &top,
        &["a", "b"],
        &clock,
        Meddled::tree(&fail),
        CaptureOptions::default(),
    )
    .unwrap();
    p.look().unwrap();
    p.look().unwrap();
    let before: Vec<_> = p.capture.fold().files.values().map(|f| f.path.clone()).collect();
    fail.0.store(true, Ordering::SeqCst);
    clock.pass(Duration::from_secs(3));
    p.look().unwrap();
    p.look().unwrap();
    let after: Vec<_> = p.capture.fold().files.values().map(|f| f.path.clone()).collect();
    assert_eq!(before, after);
}
