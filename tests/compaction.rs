//! Merging batches that wait: what is merged and what is left alone, and crashes, losses of power and failing
//! operations at every single step, each followed by a start and an exact count of what is handed out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names of the queue are"
)]

mod pipeline;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pipeline::{Pipeline, TestClock, append, counted, drain_some};
use serde_json::{Value, json};
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, Fault, Loss, SimDisk};
use tailspool::error::{Error, ErrorKind};
use tailspool::pure::merge::MergeBounds;
use tailspool::queue::claim::{Claim, Progress};
use tailspool::queue::drain::Format;
use tailspool::queue::{CaptureQueue, QueueOptions};
use tailspool::source::exclude::Exclude;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::OsTree;
use tailspool::status;
use tailspool::trace::{Now, trace};
use tailspool::verify::verify;
use tempfile::TempDir;
use ulid::Ulid;

const BOUNDS: MergeBounds = MergeBounds {
    from_batches: 4,
    batches_max: 4,
    bytes_max: 1 << 20,
    growth: 2,
};

/// Batches of one record that wait.
const BATCHES: usize = 6;

/// Logs, a home on a disk, and a clock.
struct Place {
    temp: TempDir,
    disk: SimDisk,
    clock: Arc<TestClock>,
}

impl Place {
    /// So many batches wait, of one record each.
    fn with(batches: usize) -> Self {
        let place = Self {
            temp: tempfile::tempdir().unwrap(),
            disk: SimDisk::new(),
            clock: TestClock::new(),
        };
        place.capture_more(0..batches).unwrap();
        Self {
            disk: place.disk.all_synced(),
            ..place
        }
    }

    fn top(&self) -> std::path::PathBuf {
        self.temp.path().canonicalize().unwrap()
    }

    fn capture_more(&self, numbers: std::ops::Range<usize>) -> Result<(), Error> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut pipeline = Pipeline::start(&disk, &self.top(), &self.clock)?;
        for number in numbers {
            self.clock.pass(Duration::from_millis(10));
            append(&self.top().join("a.jsonl"), &format!("line {number}\n"));
            pipeline.look()?;
        }
        pipeline.capture.stop().map(drop)
    }

    /// The same on another disk.
    fn on(&self, disk: &SimDisk) -> Home<'_> {
        Home {
            place: self,
            disk: disk.clone(),
        }
    }

    fn home(&self) -> Home<'_> {
        self.on(&self.disk.all_synced())
    }
}

struct Home<'a> {
    place: &'a Place,
    disk: SimDisk,
}

impl Home<'_> {
    fn open(&self) -> Result<Capture, Error> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&self.place.clock);
        let mut capture = Capture::open(disk, clock, counted(), CaptureOptions::default())?;
        capture.merge_bounds(BOUNDS);
        Ok(capture)
    }

    /// Merges until nothing is left to be.
    fn compact(&self) -> Result<(), Error> {
        let mut capture = self.open()?;
        self.go_on(&mut capture)
    }

    fn go_on(&self, capture: &mut Capture) -> Result<(), Error> {
        for _ in 0..12 {
            self.place.clock.pass(Duration::from_secs(60));
            capture.tick(false)?;
        }
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        let names = self.disk.list(Path::new("pending")).unwrap();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    fn batches(&self) -> Vec<String> {
        let mut names = self.names();
        names.retain(|name| Path::new(name).extension() == Some(OsStr::new("jsonl")));
        names
    }

    /// Records of each batch, by the names.
    fn sizes(&self) -> Vec<u64> {
        let size = |name: &String| name.trim_end_matches(".jsonl").rsplit('-').next()?.parse().ok();
        self.batches().iter().filter_map(size).collect()
    }

    fn verify(&self, what: &str) {
        let scope = Scope::new(None, &[self.place.top()]).unwrap();
        let report = verify(&self.disk, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
        assert!(report.findings.is_empty(), "{what}: {:#?}", report.findings);
    }

    fn waiting(&self) -> u64 {
        status::read(&self.disk, SystemTime::now()).unwrap().pending_records
    }

    fn trace(&self, ulid: Ulid) -> Now {
        trace(&self.disk, None, ulid).unwrap().unwrap().now
    }
}

/// How often each record came, and its ULID.
#[derive(Default)]
struct Handed(BTreeMap<String, (Ulid, u32)>);

impl Handed {
    /// Drains, and says in which order records came.
    fn drain(&mut self, disk: &SimDisk, records_max: u64) -> Vec<String> {
        let (text, report) = drain_some(disk, Format::Envelope, records_max, false);
        assert!(disk.crashed() || report.failures.is_empty(), "{:?}", report.failures);
        let mut order = Vec::new();
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let envelope: Value = serde_json::from_slice(line).unwrap();
            let text = envelope["record"]["surface"].as_str().unwrap().to_owned();
            let ulid: Ulid = envelope["ulid"].as_str().unwrap().parse().unwrap();
            let (before, times) = self.0.entry(text.clone()).or_insert((ulid, 0));
            assert_eq!(*before, ulid, "{text} has one ULID");
            *times += 1;
            order.push(text);
        }
        order
    }

    fn came(&self) -> Vec<(String, u32)> {
        self.0.iter().map(|(text, (_, times))| (text.clone(), *times)).collect()
    }
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

fn ulids(disk: &SimDisk) -> Vec<Ulid> {
    let (text, _) = drain_some(disk, Format::Envelope, u64::MAX, true);
    let lines = String::from_utf8(text).unwrap();
    let ulid = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["ulid"]
            .as_str()
            .unwrap()
            .parse()
    };
    lines.lines().map(|line| ulid(line).unwrap()).collect()
}

#[test]
fn neighbours_are_merged_and_each_record_is_found_counted_and_handed_out_in_order() {
    let place = Place::with(BATCHES);
    let home = place.home();
    let ulids = ulids(&home.disk);
    home.compact().unwrap();
    assert_eq!(home.sizes(), [4, 2]);
    assert!(
        home.names().iter().all(|name| !name.ends_with(".lock")),
        "{:?}",
        home.names()
    );
    assert_eq!(home.waiting(), BATCHES as u64);
    home.verify("merged");
    for (number, ulid) in ulids.iter().enumerate() {
        let file = home.batches()[number / 4].clone();
        let now = Now::Pending {
            file,
            claimed: Some(false),
            handed_out: false,
        };
        assert_eq!(home.trace(*ulid), now);
    }
    let mut handed = Handed::default();
    assert_eq!(handed.drain(&home.disk, 3), lines(3));
    assert!(matches!(home.trace(ulids[0]), Now::Pending { handed_out: true, .. }));
    assert_eq!(handed.drain(&home.disk, u64::MAX), lines(BATCHES)[3..]);
    assert_eq!(home.trace(ulids[5]), Now::Drained);
    home.verify("drained");
    assert_eq!(home.names(), [""; 0]);
}

#[test]
fn merged_batches_are_merged_again_when_too_many_wait_and_verify_looks_into_all_of_them() {
    let place = Place::with(BATCHES);
    let home = place.home();
    home.compact().unwrap();
    let place = Place {
        disk: home.disk.clone(),
        ..place
    };
    place.capture_more(BATCHES..BATCHES + 8).unwrap();
    let home = place.on(&place.disk);
    home.compact().unwrap();
    assert!(home.sizes().len() <= 4, "{:?}", home.sizes());
    assert!(home.sizes()[0] > 4, "{:?}", home.sizes());
    home.verify("merged twice");
    assert_eq!(Handed::default().drain(&home.disk, u64::MAX), lines(BATCHES + 8));
}

#[test]
fn verify_sees_what_is_not_as_it_was_in_a_merged_batch() {
    let place = Place::with(BATCHES);
    let home = place.home();
    home.compact().unwrap();
    let path = Path::new("pending").join(&home.batches()[0]);
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut home.disk.read_from(&path, 0).unwrap(), &mut content).unwrap();
    let at = memchr::memmem::find(&content, b"line 2").unwrap();
    home.disk
        .open(&path, false)
        .unwrap()
        .write_at(b"LINE", at as u64)
        .unwrap();
    let scope = Scope::new(None, &[place.top()]).unwrap();
    let report = verify(&home.disk, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
    assert_eq!((report.batches.failed, report.batches.verified), (1, 1), "{report:#?}");
}

#[test]
fn few_batches_are_left_as_they_are() {
    let place = Place::with(4);
    let home = place.home();
    home.compact().unwrap();
    assert_eq!(home.sizes(), [1; 4]);
}

#[test]
fn a_batch_that_is_held_or_begun_or_damaged_is_left_alone_and_nothing_is_merged_across_it() {
    let place = Place::with(9);
    let home = place.home();
    let fourth = home.batches()[3].clone();
    let claim = Claim::take(&home.disk, fourth.as_ref()).unwrap().unwrap();
    home.compact().unwrap();
    drop(claim);
    assert_eq!(home.sizes(), [3, 1, 4, 1], "held");
    home.verify("held");

    let home = place.home();
    let mut claim = Claim::take(&home.disk, fourth.as_ref()).unwrap().unwrap();
    claim.note(&Progress::at(&fourth[8..34], 1));
    drop(claim);
    home.compact().unwrap();
    assert_eq!(home.sizes(), [3, 1, 4, 1], "begun");

    let home = place.home();
    let path = Path::new("pending").join(&fourth);
    home.disk.open(&path, false).unwrap().write_at(b"x", 0).unwrap();
    home.compact().unwrap();
    assert_eq!(home.sizes(), [3, 1, 4, 1], "damaged");
    let (_, report) = drain_some(&home.disk, Format::Raw, u64::MAX, false);
    assert_eq!((report.records, report.failures.len()), (8, 1));
}

#[test]
fn what_a_merger_that_died_had_marked_is_merged_by_the_next_one() {
    let place = Place::with(BATCHES);
    let home = place.home();
    for name in home.batches() {
        let mut claim = Claim::take(&home.disk, name.as_ref()).unwrap().unwrap();
        assert!(claim.mark_merging().unwrap());
    }
    home.compact().unwrap();
    assert_eq!(home.sizes(), [4, 2]);
    home.verify("merged");
}

#[test]
fn what_other_programs_wrote_is_never_merged_and_nothing_across_it() {
    let place = Place::with(9);
    let home = place.home();
    let ulids = ulids(&home.disk);
    // One whose name lies between ours, and which says that it was captured; one record in a file; and a queue's own.
    let between = Ulid(ulids[2].0 + 1);
    let path = Path::new("pending").join(format!("pending-{}-1.jsonl", ulids[2]));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut home.disk.read_from(&path, 0).unwrap(), &mut text).unwrap();
    let forged = text.replace(&ulids[2].to_string(), &between.to_string());
    let name = format!("pending/pending-{between}-1.jsonl");
    home.disk
        .create(Path::new(&name))
        .unwrap()
        .write_at(forged.as_bytes(), 0)
        .unwrap();
    let single = Ulid(ulids[6].0 + 1);
    let envelope = json!({"ulid": single.to_string(), "appended_at": "", "record": {}, "schema_version": 1});
    let name = format!("pending/pending-{single}.json");
    home.disk
        .create(Path::new(&name))
        .unwrap()
        .write_at(envelope.to_string().as_bytes(), 0)
        .unwrap();
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(&place.clock);
    let queue = CaptureQueue::on(Arc::new(home.disk.clone()), clock, counted(), QueueOptions::default()).unwrap();
    place.clock.pass(Duration::from_millis(10));
    for _ in 0..6 {
        queue.append_batch(&[json!({"surface": "theirs"})]).unwrap();
    }
    home.compact().unwrap();
    let expected = [3, 1, 4, 2, 1, 1, 1, 1, 1, 1];
    assert_eq!(home.sizes(), expected);
    let (text, _) = drain_some(&home.disk, Format::Envelope, u64::MAX, true);
    let text = String::from_utf8(text).unwrap();
    let ulid = |line: &str| serde_json::from_str::<Value>(line).unwrap()["ulid"].to_string();
    let order: Vec<_> = text.lines().map(ulid).collect();
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(order.len(), 17);
}

#[test]
fn a_target_whose_name_is_taken_is_not_written() {
    let place = Place::with(BATCHES);
    let home = place.home();
    let first = ulids(&home.disk)[0];
    let target = format!("pending-{first}-4.jsonl");
    let path = |name: &str| Path::new("pending").join(name);
    home.disk.create(&path(&target)).unwrap();
    home.compact().unwrap();
    assert!(home.batches().contains(&target));
    assert_eq!(home.disk.meta(&path(&target)).unwrap().size, 0, "it is as it was");
    assert_eq!(home.sizes(), [1, 4, 4, 1], "the others are merged");

    let home = place.home();
    let temporary = target + ".tmp";
    let mut capture = home.open().unwrap();
    home.disk.create(&path(&temporary)).unwrap();
    home.go_on(&mut capture).unwrap();
    drop(capture);
    assert_eq!(home.sizes(), [1; BATCHES]);
    home.disk.unlink(&path(&temporary)).unwrap();
    home.compact().unwrap();
    assert_eq!(home.sizes(), [4, 2]);
}

#[test]
fn nothing_is_merged_where_the_disk_has_no_room_for_it() {
    let place = Place::with(BATCHES);
    let home = place.home();
    home.disk.set_free(1 << 30);
    home.compact().unwrap();
    assert_eq!(home.sizes(), [1; BATCHES]);
    home.disk.set_free(1 << 40);
    home.compact().unwrap();
    assert_eq!(home.sizes(), [4, 2]);
}

#[test]
fn a_drain_that_listed_the_batches_before_they_were_merged_hands_out_all_of_them_in_order() {
    let place = Place::with(BATCHES);
    for peek in [false, true] {
        for after in 1..BATCHES {
            let home = place.home();
            let mut out = Beside {
                home: &home,
                after,
                bytes: Vec::new(),
                records: 0,
            };
            let options = tailspool::queue::drain::DrainOptions {
                format: Format::Raw,
                records_max: u64::MAX,
                peek,
            };
            let report = tailspool::queue::drain::drain(&home.disk, options, &mut out, &mut ()).unwrap();
            let text = String::from_utf8(out.bytes).unwrap();
            let came: Vec<_> = text.lines().map(str::to_owned).collect();
            assert_eq!(came, lines(BATCHES), "after {after}, {peek}");
            assert_eq!((report.held, report.records), (0, BATCHES as u64));
            assert_eq!(home.batches().is_empty(), !peek);
        }
    }
}

/// Merges after so many records.
struct Beside<'a> {
    home: &'a Home<'a>,
    after: usize,
    bytes: Vec<u8>,
    records: usize,
}

impl std::io::Write for Beside<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tailspool::queue::drain::Output for Beside<'_> {
    fn writer(&mut self) -> &mut dyn std::io::Write {
        self
    }

    fn settle(&mut self) -> std::io::Result<()> {
        self.records += 1;
        if self.records == self.after {
            let mut capture = self.home.open().unwrap();
            capture.merge_bounds(MergeBounds {
                from_batches: 0,
                ..BOUNDS
            });
            self.home.go_on(&mut capture).unwrap();
        }
        Ok(())
    }
}

/// What a drain does between the crash and the next start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    Some(u64),
}

/// The number of operations that merging takes.
fn operations(place: &Place) -> u64 {
    let home = place.home();
    let mut capture = home.open().unwrap();
    let begin = home.disk.operations();
    home.go_on(&mut capture).unwrap();
    home.disk.operations() - begin
}

/// Plays a crash and what comes after it; `again` puts a second crash into the start.
fn crash(place: &Place, at: u64, fault: Fault, losses: [Loss; 2], between: Between, again: Option<u64>) {
    let what = format!("{fault:?} at {at}, {losses:?}, {between:?}, again {again:?}");
    let home = place.home();
    let known = ulids(&home.disk);
    let mut capture = home.open().unwrap();
    home.disk.plan(at, fault);
    let ended = home.go_on(&mut capture);
    assert!(ended.is_ok() || home.disk.crashed(), "{what}: {ended:?}");
    drop(capture);
    let home = place.on(&home.disk.after_crash(losses[0]));
    if losses[0] == Loss::Nothing {
        assert_eq!(home.waiting(), BATCHES as u64, "{what}");
        home.verify(&what);
        let stands = |from: usize, records: usize| {
            let name = format!("pending-{}-{records}.jsonl", known[from]);
            home.batches().contains(&name)
        };
        for (first, records) in [(0, 4), (4, 2)] {
            let any = (first..first + records).any(|source| stands(source, 1));
            assert!(
                !stands(first, records) || !any || stands(first, 1),
                "{what}: the oldest goes last"
            );
        }
    }
    for ulid in [known[0], known[3]] {
        let now = home.trace(ulid);
        assert!(
            matches!(now, Now::Pending { .. } | Now::Committed { .. }),
            "{what}: {now:?}"
        );
    }
    let mut handed = Handed::default();
    if let Between::Some(records) = between {
        handed.drain(&home.disk, records);
    }
    let mut home = place.on(&home.disk.after_crash(losses[1]));
    if let Some(again) = again {
        home.disk.plan(again, Fault::CrashBefore);
        drop(home.open());
        home = place.on(&home.disk.after_crash(losses[0]));
    }
    drop(home.open().unwrap());
    home.verify(&what);
    if between == Between::Nothing {
        assert_eq!(home.waiting(), BATCHES as u64, "{what}");
        let order = handed.drain(&home.disk, u64::MAX);
        assert_eq!(order, lines(BATCHES), "{what}");
    } else {
        handed.drain(&home.disk, u64::MAX);
        let came = handed.came();
        assert_eq!(
            came.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>(),
            lines(BATCHES),
            "{what}"
        );
        let most = if losses[1] == Loss::Nothing { 2 } else { 3 };
        assert!(came.iter().all(|(_, times)| *times <= most), "{what}: {came:?}");
    }
    drop(home.open().unwrap());
    assert_eq!(home.names(), [""; 0], "{what}");
}

const CRASHES: [Fault; 3] = [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter];

fn losses() -> impl Iterator<Item = Loss> {
    Loss::ALL.into_iter().chain((0..4).map(Loss::Drawn))
}

#[test]
fn a_crash_at_any_operation_loses_and_doubles_nothing() {
    let place = Place::with(BATCHES);
    // One more: after the last of them.
    for at in 0..=operations(&place) {
        for fault in CRASHES {
            for loss in losses() {
                crash(&place, at, fault, [loss, Loss::Nothing], Between::Nothing, None);
            }
        }
    }
}

#[test]
fn a_drain_between_a_crash_and_the_next_start_loses_nothing() {
    let place = Place::with(BATCHES);
    for at in 0..=operations(&place) {
        for records in [1, u64::MAX] {
            for loss in losses() {
                for losses in [[Loss::Nothing, loss], [loss, Loss::Nothing]] {
                    crash(&place, at, Fault::CrashBefore, losses, Between::Some(records), None);
                }
            }
        }
    }
}

#[test]
fn a_second_crash_in_the_repair_loses_and_doubles_nothing() {
    let place = Place::with(BATCHES);
    for at in 0..=operations(&place) {
        for again in 0..24 {
            for loss in [Loss::Nothing, Loss::Drawn(again)] {
                let losses = [loss, Loss::Nothing];
                crash(&place, at, Fault::CrashBefore, losses, Between::Nothing, Some(again));
            }
        }
    }
}

#[test]
fn a_failing_operation_ends_the_watcher_or_nothing_and_the_next_start_has_everything_once() {
    let place = Place::with(BATCHES);
    let faults = [
        Fault::Eio,
        Fault::Full,
        Fault::Short,
        Fault::Interrupted,
        Fault::SyncLies,
    ];
    let (mut ended_well, mut latched) = (0, 0);
    for at in 0..operations(&place) {
        for fault in faults {
            for loss in losses() {
                let what = format!("{fault:?} at {at}, {loss:?}");
                let home = place.home();
                let mut capture = home.open().unwrap();
                home.disk.plan(at, fault);
                match home.go_on(&mut capture) {
                    Ok(()) => {
                        ended_well += 1;
                        home.disk.make_room();
                        capture.merge_bounds(MergeBounds {
                            from_batches: 0,
                            ..BOUNDS
                        });
                        home.go_on(&mut capture).unwrap();
                        assert_eq!(home.sizes(), [4, 2], "{what}: what failed was tried again");
                        assert!(home.names().iter().all(|name| !name.ends_with(".tmp")), "{what}");
                    }
                    Err(error) => {
                        latched += 1;
                        assert_eq!(error.kind(), ErrorKind::Latched, "{what}: {error}");
                        assert!(capture.tick(false).is_err(), "{what}: it takes nothing more");
                    }
                }
                home.disk.unplan();
                drop(capture);
                let home = place.on(&home.disk.after_crash(loss));
                drop(home.open().unwrap());
                home.verify(&what);
                assert_eq!(Handed::default().drain(&home.disk, u64::MAX), lines(BATCHES), "{what}");
                drop(home.open().unwrap());
                assert_eq!(home.names(), [""; 0], "{what}");
            }
        }
    }
    assert!(ended_well > 100 && latched > 100, "{ended_well} {latched}");
}

#[test]
fn a_source_that_a_drain_holds_at_the_start_is_removed_before_anything_more_is_merged() {
    let place = Place::with(BATCHES);
    let home = place.home();
    // Until the first batch is unlinked: target and sources stand side by side.
    let crashed = (0..operations(&place)).rev().find_map(|at| {
        let home = place.home();
        let mut capture = home.open().unwrap();
        home.disk.plan(at, Fault::CrashBefore);
        let _ = home.go_on(&mut capture);
        let after = place.on(&home.disk.after_crash(Loss::Nothing));
        (after.sizes().len() == BATCHES + 1).then_some(after)
    });
    let crashed = crashed.unwrap();
    let held = home.batches()[2].clone();
    let claim = Claim::take(&crashed.disk, held.as_ref()).unwrap().unwrap();
    let mut capture = crashed.open().unwrap();
    capture.merge_bounds(MergeBounds {
        from_batches: 0,
        ..BOUNDS
    });
    crashed.go_on(&mut capture).unwrap();
    assert_eq!(
        crashed.sizes(),
        [4, 1, 1, 1],
        "nothing is merged: {:?}",
        crashed.batches()
    );
    assert_eq!(crashed.waiting(), BATCHES as u64);
    drop(claim);
    crashed.go_on(&mut capture).unwrap();
    assert!(!crashed.batches().contains(&held));
    drop(capture);
    assert_eq!(Handed::default().drain(&crashed.disk, u64::MAX), lines(BATCHES));
}
