//! What attacks on the queue found: each test failed once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use pipeline::{Pipeline, Polled, TestClock, counted};
use rustix::io::Errno;
use serde_json::{Value, json};
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, DiskFile, Meta, SimDisk, Space};
use tailspool::error::ErrorKind;
use tailspool::limits::{DROPS_IN_VAIN_MAX, FREE_BYTES_MIN, FULL_RETRY};
use tailspool::queue::audit::{Audit, Dropped};
use tailspool::queue::claim::{self, Claim, Progress};
use tailspool::queue::depth::{OnFull, QueueLimits};
use tailspool::queue::drain::{DrainOptions, Format, Output};
use tailspool::queue::follow::{Following, follow};
use tailspool::queue::{CaptureQueue, QueueOptions};
use tailspool::source::tree::OsTree;

fn record(text: &str) -> Value {
    json!({"surface": text})
}

fn dropping(records_max: u64) -> QueueOptions {
    QueueOptions {
        limits: QueueLimits {
            records_max: Some(records_max),
            bytes_max: None,
        },
        on_full: OnFull::DropOldest,
        ..QueueOptions::default()
    }
}

fn on(disk: Arc<dyn Disk>, options: QueueOptions) -> CaptureQueue {
    let clock: Arc<dyn Clock> = TestClock::new();
    CaptureQueue::on(disk, clock, counted(), options).unwrap()
}

fn names(disk: &dyn Disk) -> Vec<String> {
    let mut names: Vec<_> = disk.list(Path::new("pending")).unwrap();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn noted(disk: &dyn Disk) -> Vec<String> {
    let mut text = String::new();
    if let Ok(mut log) = disk.read_from(Path::new("pending/.overflow-audit.log"), 0) {
        log.read_to_string(&mut text).unwrap();
    }
    text.lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["dropped_ulid"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

type Hook = Box<dyn FnMut(&str, &Path) -> io::Result<()> + Send>;

/// A disk with a hook before each operation.
#[derive(Clone)]
struct Hooked(Arc<dyn Disk>, Arc<Mutex<Option<Hook>>>);

impl Hooked {
    fn new(disk: impl Disk + 'static, hook: impl FnMut(&str, &Path) -> io::Result<()> + Send + 'static) -> Self {
        Self(Arc::new(disk), Arc::new(Mutex::new(Some(Box::new(hook)))))
    }

    fn call(&self, what: &str, path: &Path) -> io::Result<()> {
        // The hook may use the disk itself: not again from inside.
        let Some(mut hook) = self.1.lock().unwrap().take() else {
            return Ok(());
        };
        let result = hook(what, path);
        *self.1.lock().unwrap() = Some(hook);
        result
    }
}

impl Disk for Hooked {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.call("create", path)?;
        self.0.create(path)
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        self.call("open", path)?;
        self.0.open(path, create)
    }
    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.call("read", path)?;
        self.0.read_from(path, offset)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from)?;
        self.0.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from)?;
        self.0.rename_new(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.call("unlink", path)?;
        self.0.unlink(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call("sync_dir", path)?;
        self.0.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.0.list(path)?;
        self.call("listed", path)?;
        Ok(names)
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.call("meta", path)?;
        self.0.meta(path)
    }
    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }
    fn show(&self, path: &Path) -> PathBuf {
        self.0.show(path)
    }
}

fn watched(disk: &Arc<dyn Disk>, top: &Path, clock: &Arc<TestClock>, limits: QueueLimits) -> Pipeline {
    let options = CaptureOptions {
        on_full: OnFull::DropOldest,
        limits,
        ..CaptureOptions::default()
    };
    Pipeline::start_with(disk, top, &["."], clock, Box::<OsTree>::default(), options).unwrap()
}

/// A watcher that drops very many files at once writes one commit that no start accepts.
#[test]
fn a_watcher_that_dropped_many_files_can_be_started_again() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("a.jsonl");
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir(Path::new("pending")).unwrap();
    for n in 0..17_000u64 {
        let ulid = format!("{n:026}");
        let text = format!(r#"{{"ulid":"{ulid}","appended_at":"t","record":{{}},"schema_version":1}}"#);
        disk.create(&Path::new("pending").join(format!("pending-{ulid}.json")))
            .unwrap()
            .write_at(text.as_bytes(), 0)
            .unwrap();
    }
    let limits = QueueLimits {
        records_max: Some(10),
        bytes_max: None,
    };
    let mut pipeline = watched(&shared, temp.path(), &clock, limits);
    pipeline::append(&log, "one\n");
    pipeline.look().unwrap();
    pipeline.capture.stop().unwrap();
    let clock_dyn: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let again = Capture::open(shared, clock_dyn, counted(), CaptureOptions::default());
    if let Err(error) = again {
        panic!(
            "{error}: {:?}",
            std::error::Error::source(&error).map(ToString::to_string)
        );
    }
}

/// A backlog that is larger than the limit: the first batch is as large as the limit, it is the newest file, and
/// nothing is ever dropped or read again.
#[test]
fn drop_oldest_goes_on_when_one_batch_fills_the_limit() {
    for (limits, what) in [
        (
            QueueLimits {
                records_max: Some(100),
                bytes_max: None,
            },
            "records",
        ),
        (
            QueueLimits {
                records_max: Some(1),
                bytes_max: None,
            },
            "one record",
        ),
        (
            QueueLimits {
                records_max: None,
                bytes_max: Some(10_000),
            },
            "bytes",
        ),
    ] {
        let temp = tempfile::tempdir().unwrap();
        let log = temp.path().join("a.jsonl");
        let (disk, clock) = (SimDisk::new(), TestClock::new());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut pipeline = watched(&shared, temp.path(), &clock, limits);
        let lines: String = (0..300).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
        pipeline::append(&log, &lines);
        for _ in 0..1000 {
            pipeline.look().unwrap();
            clock.pass(Duration::from_secs(2));
            pipeline.capture.tick(false).unwrap();
        }
        let captured = pipeline.capture.captured().lines;
        assert_eq!(
            captured,
            300,
            "{what}: full: {:?}, dropped {}",
            pipeline.capture.queue_full(),
            noted(&disk).len()
        );
    }
}

struct SlowAndDown<'a> {
    clock: &'a TestClock,
    begin: Instant,
    tries: Vec<(u64, u64)>,
    text: Vec<u8>,
}

impl Output for SlowAndDown<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let start = (self.clock.now() - self.begin).as_secs();
        self.clock.pass(Duration::from_secs(90));
        self.tries.push((start, start + 90));
        Err(io::Error::other("timed out"))
    }
    fn writer(&mut self) -> &mut dyn io::Write {
        &mut self.text
    }
    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn broke_off(&mut self) -> bool {
        true
    }
}

/// The wait is counted from the listing, not from the failure: a reader that times out is asked again at once.
#[test]
fn a_batch_whose_reader_fails_slowly_waits_a_minute_after_the_failure() {
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let queue = on(Arc::new(disk.clone()), QueueOptions::default());
    queue.append(&record("kept")).unwrap();
    let mut output = SlowAndDown {
        clock: &clock,
        begin: clock.now(),
        tries: Vec::new(),
        text: Vec::new(),
    };
    let mut waits = 0;
    let options = DrainOptions {
        format: Format::Raw,
        records_max: u64::MAX,
        peek: false,
    };
    let _ = follow(
        &disk,
        &*clock,
        options,
        &mut Following {
            output: &mut output,
            overseer: &mut (),
            news: &mut Polled(|time| {
                clock.pass(time);
                waits += 1;
                waits > 2000
            }),
            tell: &mut |_| (),
        },
    )
    .unwrap();
    let pause = output.tries[1].0 - output.tries[0].1;
    assert!(pause >= 60, "tries from..to: {:?}", output.tries);
}

/// The audit log is read before the claims: what another one noted in between is noted again.
#[test]
fn a_record_is_noted_once_though_another_process_noted_it_just_before_our_claim() {
    let sim = SimDisk::new();
    let queue = on(Arc::new(sim.clone()), QueueOptions::default());
    for n in 0..3 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    // The other one notes the oldest and dies before its unlink: its unlink does not happen.
    let other = sim.clone();
    let mut done = false;
    let hooked = Hooked::new(sim.clone(), move |what, path| {
        if !done && what == "open" && path.to_string_lossy().ends_with(".lock") {
            done = true;
            let dies = Hooked::new(other.clone(), |what, _| {
                if what == "unlink" {
                    Err(io::Error::other("killed"))
                } else {
                    Ok(())
                }
            });
            let pruned = on(Arc::new(dies), QueueOptions::default()).prune_oldest(2).unwrap();
            assert!(pruned.files.is_empty());
        }
        Ok(())
    });
    on(Arc::new(hooked), QueueOptions::default()).prune_oldest(2).unwrap();
    let all = noted(&sim);
    let unique: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), unique.len(), "noted twice: {all:?}");
}

/// The removal of orphans goes by a listing that may be older than the batch.
#[test]
fn a_lock_file_whose_batch_came_during_the_listing_is_no_orphan() {
    let sim = SimDisk::new();
    let queue = on(Arc::new(sim.clone()), QueueOptions::default());
    let ulids = queue.append_batch(&[record("1"), record("2"), record("3")]).unwrap();
    let name = format!("pending-{}-3.jsonl", ulids[0]);
    let mut claim = Claim::take(&sim, name.as_ref()).unwrap().unwrap();
    claim.note(&Progress::at(&ulids[2].to_string(), 1));
    drop(claim);
    // The batch lies in quarantine or elsewhere, its lock file is an orphan; it is requeued during the listing.
    sim.rename(&Path::new("pending").join(&name), Path::new("elsewhere"))
        .unwrap();
    let (other, back) = (sim.clone(), name.clone());
    let mut done = false;
    let disk = Hooked::new(sim.clone(), move |what, _| {
        if what == "listed" && !std::mem::replace(&mut done, true) {
            other.rename(Path::new("elsewhere"), &Path::new("pending").join(&back))?;
        }
        Ok(())
    });
    claim::remove_orphans(&disk).unwrap();
    let progress = claim::progress(&sim, &Path::new("pending").join(format!("pending-{}.lock", ulids[0])));
    assert!(
        progress.is_some(),
        "the progress of a batch that is there is lost: {:?}",
        names(&sim)
    );
}

/// What fills the disk is not the queue: dropping all of it helps nobody.
#[test]
fn a_disk_that_others_filled_does_not_empty_the_queue_in_one_go() {
    let sim = SimDisk::new();
    let queue = on(
        Arc::new(sim.clone()),
        QueueOptions {
            on_full: OnFull::DropOldest,
            ..QueueOptions::default()
        },
    );
    for n in 0..1000 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    // As if freeing took a while (btrfs, xfs, zfs), or as if others were the ones who fill it.
    sim.set_free(FREE_BYTES_MIN - 500 * 1024 * 1024);
    let _ = queue.append(&record("new"));
    let left = queue.pending_count().unwrap();
    assert!(
        left >= 700,
        "one append dropped {} of 1000 records, and the disk is as full as before",
        noted(&sim).len()
    );
}

/// The batch went, its lock file could not: the watcher's count and its ledger do not know that it was dropped.
#[test]
fn a_dropped_file_whose_lock_file_stays_counts_as_dropped() {
    let sim = SimDisk::new();
    let queue = on(Arc::new(sim.clone()), QueueOptions::default());
    for n in 0..3 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    let disk = Hooked::new(sim.clone(), |what, path| {
        if what == "unlink" && path.to_string_lossy().ends_with(".lock") {
            Err(io::Error::other("EIO"))
        } else {
            Ok(())
        }
    });
    let pruned = on(Arc::new(disk), QueueOptions::default()).prune_oldest(2).unwrap();
    let there = queue.pending_count().unwrap();
    assert_eq!(
        pruned.depth.records,
        there,
        "files told as dropped: {:?}; noted {}",
        pruned.files,
        noted(&sim).len()
    );
}

/// A batch passes the limit by all of it.
#[test]
fn a_queue_that_waits_holds_its_limit() {
    let sim = SimDisk::new();
    let options = QueueOptions {
        on_full: OnFull::Wait,
        ..dropping(10)
    };
    let queue = on(Arc::new(sim), options);
    queue.append(&record("first")).unwrap();
    let many: Vec<_> = (0..8000).map(|n| record(&n.to_string())).collect();
    let appended = queue.append_batch(&many).is_ok();
    assert!(!appended, "{} pending of at most 10", queue.pending_count().unwrap());
}

/// When nothing can be noted, that is not tried again at each append.
#[test]
fn appends_list_the_queue_once_a_second_while_nothing_can_be_noted() {
    let sim = SimDisk::new();
    let listings = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&listings);
    let disk = Hooked::new(sim.clone(), move |what, path| {
        *counting.lock().unwrap() += u32::from(what == "listed");
        let is_log = what == "open" && path.to_string_lossy().ends_with(".log");
        if is_log { Err(io::Error::other("no")) } else { Ok(()) }
    });
    let queue = on(Arc::new(disk), dropping(10));
    for n in 0..200 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    assert_eq!(queue.pending_count().unwrap(), 200, "nothing goes unnoted");
    assert!(*listings.lock().unwrap() < 5, "{listings:?} listings");
}

/// Whoever locks a file that is not the lock file any more has locked nothing.
#[test]
fn a_lock_file_that_was_replaced_while_it_was_locked_is_no_claim() {
    let sim = SimDisk::new();
    let queue = on(Arc::new(sim.clone()), QueueOptions::default());
    let name = format!("pending-{}.json", queue.append(&record("one")).unwrap());
    let (other, mut theirs, mut met) = (sim.clone(), Vec::new(), false);
    let claimed = name.clone();
    let disk = Hooked::new(sim.clone(), move |what, path| {
        // Between our lock and our look at what we have locked.
        if what == "meta" && path.extension().is_some_and(|found| found == "lock") && !std::mem::replace(&mut met, true)
        {
            other.unlink(path)?;
            let mut lock = other.open(path, true)?;
            assert!(lock.try_lock()?);
            theirs.push(lock);
        }
        Ok(())
    });
    assert!(
        Claim::take(&disk, claimed.as_ref()).unwrap().is_none(),
        "somebody else holds it"
    );
    assert!(Claim::take(&sim, name.as_ref()).unwrap().is_none());
}

/// What cannot be noted is not dropped, and then nothing more is taken, also between two tries of noting it.
#[test]
fn a_watched_queue_whose_drops_cannot_be_noted_holds_its_limit() {
    let temp = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (0..300).map(|n| format!("line {n}\n")).collect();
    pipeline::append(&temp.path().join("a.jsonl"), &lines.concat());
    let disk: Arc<dyn Disk> = Arc::new(Hooked::new(SimDisk::new(), |what, path| {
        let is_log = what == "open" && path.to_string_lossy().ends_with(".log");
        if is_log { Err(io::Error::other("no")) } else { Ok(()) }
    }));
    let limits = QueueLimits {
        records_max: Some(10),
        bytes_max: None,
    };
    let clock = TestClock::new();
    let mut pipeline = watched(&disk, temp.path(), &clock, limits);
    for _ in 0..100 {
        pipeline.look().unwrap();
        clock.pass(Duration::from_millis(300));
        pipeline.capture.tick(false).unwrap();
    }
    let (lines, full) = (pipeline.capture.captured().lines, pipeline.capture.queue_full());
    assert!(lines < 50 && full.is_some(), "{lines} captured, {full:?}");
}

/// A queue that drops its oldest, its clock, and for how many writes of a record the disk has no room, which is not
/// seen by asking it.
fn over_quota(sim: &SimDisk) -> (CaptureQueue, Arc<TestClock>, Arc<AtomicU32>) {
    let (clock, refusals) = (TestClock::new(), Arc::new(AtomicU32::new(0)));
    let left = Arc::clone(&refusals);
    let disk = Hooked::new(sim.clone(), move |what, path| {
        let is_record = what == "create" && path.extension().is_some_and(|found| found == "tmp");
        let one_less = |left: u32| left.checked_sub(1);
        if is_record && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            return Err(Errno::DQUOT.into());
        }
        Ok(())
    });
    let options = QueueOptions {
        on_full: OnFull::DropOldest,
        ..QueueOptions::default()
    };
    let clock_dyn: Arc<dyn Clock> = Arc::<TestClock>::clone(&clock);
    let queue = CaptureQueue::on(Arc::new(disk), clock_dyn, counted(), options).unwrap();
    (queue, clock, refusals)
}

#[test]
fn an_append_that_meets_a_full_disk_is_taken_when_the_oldest_made_room() {
    let sim = SimDisk::new();
    let (queue, _, refusals) = over_quota(&sim);
    for n in 0..300 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    for dropped in [100, 200] {
        refusals.store(1, Ordering::SeqCst);
        queue.append(&record("new")).unwrap();
        assert_eq!(noted(&sim).len(), dropped);
    }
    assert_eq!(queue.pending_count().unwrap(), 102);
}

/// What others write takes the room at once: each append dropped a hundred records, however often one was tried.
#[test]
fn appends_in_vain_drop_a_step_a_second_and_after_a_few_no_more() {
    let sim = SimDisk::new();
    let (queue, clock, refusals) = over_quota(&sim);
    for n in 0..1000 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    refusals.store(u32::MAX, Ordering::SeqCst);
    let refused = || queue.append(&record("new")).unwrap_err().kind() == ErrorKind::QueueFull;
    assert!(refused() && refused() && refused());
    assert_eq!(noted(&sim).len(), 100, "within a second");
    for _ in 0..20 {
        clock.pass(FULL_RETRY);
        assert!(refused());
    }
    assert_eq!(noted(&sim).len(), 100 * DROPS_IN_VAIN_MAX as usize);
    refusals.store(0, Ordering::SeqCst);
    queue.append(&record("new")).unwrap();
    refusals.store(1, Ordering::SeqCst);
    queue.append(&record("new")).unwrap();
    assert_eq!(
        noted(&sim).len(),
        100 * DROPS_IN_VAIN_MAX as usize + 100,
        "a write succeeded in between"
    );
}

/// A note in the audit log takes more room than the record that goes.
#[test]
fn a_full_disk_drops_on_only_as_long_as_that_frees_something() {
    for (record_bytes, steps) in [(1, 1), (2000, DROPS_IN_VAIN_MAX as usize)] {
        let sim = SimDisk::new();
        let (queue, clock, _) = over_quota(&sim);
        for _ in 0..1000 {
            queue.append(&record(&"x".repeat(record_bytes))).unwrap();
        }
        sim.set_free(FREE_BYTES_MIN - 500 * 1024 * 1024);
        for _ in 0..20 {
            assert!(queue.append(&record("new")).is_err());
            clock.pass(FULL_RETRY);
        }
        assert_eq!(noted(&sim).len(), 100 * steps, "{record_bytes} bytes a record");
    }
}

#[test]
fn what_was_noted_is_not_noted_again_however_little_of_it_is_remembered() {
    let sim = SimDisk::new();
    sim.create_dir(Path::new("pending")).unwrap();
    let now = TestClock::new().utc();
    let dropped = |n: usize| Dropped::for_room(&format!("{n:026}"), "", 50, now);
    let (all, even): (Vec<_>, Vec<_>) = (
        (0..50).map(dropped).collect(),
        (0..50).step_by(2).map(dropped).collect(),
    );
    let odd: Vec<_> = (1..50).step_by(2).map(dropped).collect();
    Audit::default().note(&sim, &even).unwrap();
    for noted_max in [0, 1, 10, 100] {
        let mut audit = Audit::remembering(noted_max);
        audit.refresh(&sim, Some(&all[0].dropped_ulid)).unwrap();
        let mut dropped = all.clone();
        audit.retain_new(&sim, &mut dropped).unwrap();
        assert_eq!(dropped, odd, "{noted_max} are remembered");
    }
}
