//! Queues, those who read them and drop from them, and what is asked of them all.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, Loss, SimDisk};
use tailspool::pure::record::Envelope;
use tailspool::queue::audit::Audit;
use tailspool::queue::claim;
use tailspool::queue::depth::Depth;
use tailspool::queue::drain::{DrainReport, Format, ingest};
use tailspool::queue::prune::prune;
use tailspool::queue::{CaptureQueue, QueueOptions};

use super::explorer::{Actor, Play, explore};
use super::pipeline::{TestClock, drain_some};
use super::turns::Bounds;

/// What each record is called, and who had it how often.
#[derive(Clone, Default)]
pub(super) struct Handed(Arc<Mutex<Vec<String>>>);

impl Handed {
    pub(super) fn add(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    /// As they came.
    pub(super) fn order(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for text in self.0.lock().unwrap().iter() {
            *counts.entry(text.clone()).or_default() += 1;
        }
        counts
    }
}

pub(super) fn surface(envelope: &Envelope<'_>) -> String {
    let record: Value = serde_json::from_str(envelope.record.get()).unwrap();
    record["surface"].as_str().unwrap().to_owned()
}

/// One for all, or the ULIDs, and so who has the newest file, would differ from run to run.
pub(super) fn clock() -> Arc<dyn Clock> {
    static CLOCK: LazyLock<Arc<TestClock>> = LazyLock::new(TestClock::new);
    Arc::<TestClock>::clone(&CLOCK)
}

pub(super) fn open(disk: Arc<dyn Disk>, options: QueueOptions, who: u128) -> CaptureQueue {
    let mut drawn = who << 40;
    let random = Box::new(move || {
        drawn += 1000;
        drawn
    });
    CaptureQueue::on(disk, clock(), random, options).unwrap()
}

/// A queue with these batches; a batch of one is a file of its own.
pub(super) fn queue(batches: &[&[&str]]) -> SimDisk {
    let disk = SimDisk::new();
    let queue = open(Arc::new(disk.clone()), QueueOptions::default(), 0);
    for batch in batches {
        let records: Vec<_> = batch.iter().map(|text| json!({"surface": text})).collect();
        match &records[..] {
            [one] => drop(queue.append(one).unwrap()),
            many => drop(queue.append_batch(many).unwrap()),
        }
    }
    disk
}

pub(crate) fn copy(disk: &SimDisk) -> SimDisk {
    disk.after_crash(Loss::Nothing)
}

pub(crate) fn names(disk: &dyn Disk, directory: &str) -> Vec<String> {
    let names = disk.list(Path::new(directory)).unwrap_or_default();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

pub(crate) fn read(disk: &dyn Disk, path: &str) -> String {
    let mut text = String::new();
    if let Ok(mut file) = disk.read_from(Path::new(path), 0) {
        file.read_to_string(&mut text).unwrap();
    }
    text
}

/// The surfaces of the records that the audit log names; `by_ulid` knows them all.
pub(super) fn noted(disk: &dyn Disk, by_ulid: &BTreeMap<String, String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let text = read(disk, "pending/.overflow-audit.log");
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    for line in text[..whole].lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let ulid = line["dropped_ulid"].as_str().unwrap();
        *counts.entry(by_ulid[ulid].clone()).or_default() += 1;
    }
    counts
}

pub(super) fn by_ulid(disk: &SimDisk) -> BTreeMap<String, String> {
    let (text, _) = drain_some(disk, Format::Envelope, u64::MAX, true);
    let lines = String::from_utf8(text).unwrap();
    let each = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    each.map(|envelope| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&envelope["ulid"]), text(&envelope["record"]["surface"]))
    })
    .collect()
}

pub(super) fn ingest_all(disk: &dyn Disk, handed: &Handed, is_dead: &dyn Fn() -> bool) -> DrainReport {
    let mut handler = |envelope: &Envelope<'_>| {
        // What a process does that was killed did not happen.
        if is_dead() {
            return Err("killed".into());
        }
        handed.add(&surface(envelope));
        Ok(())
    };
    ingest(disk, &mut handler, &mut ()).unwrap_or_default()
}

pub(super) fn drains(handed: &Handed) -> Actor {
    let handed = handed.clone();
    Box::new(move |disk| {
        let report = ingest_all(disk, &handed, &|| disk.is_dead());
        assert!(report.failures.is_empty() || disk.is_dead(), "{:?}", report.failures);
    })
}

/// Drops down to so many records.
pub(super) fn prunes(target: u64) -> Actor {
    Box::new(move |disk| {
        let excess = |depth: Depth| depth.records.saturating_sub(target);
        let _ = prune(disk, &mut Audit::default(), Timestamp::UNIX_EPOCH, None, &excess);
    })
}

/// What a start of a watcher does about lock files without a batch.
pub(super) fn removes_orphans() -> Actor {
    Box::new(|disk| drop(claim::remove_orphans(disk)))
}

/// After all of them: what is left is drained, and then nothing is left.
pub(super) fn at_the_end(disk: &SimDisk, handed: &Handed, died: usize) {
    if died == 0 {
        let is_alone = |lock: &String| {
            let batch = lock.trim_end_matches(".lock");
            lock.ends_with(".lock")
                && !names(disk, "pending")
                    .iter()
                    .any(|name| name != lock && name.starts_with(batch))
        };
        let orphans: Vec<_> = names(disk, "pending").into_iter().filter(is_alone).collect();
        assert!(
            orphans.is_empty(),
            "lock files are left without their batch: {orphans:?}"
        );
    }
    claim::remove_orphans(disk).unwrap();
    let report = ingest_all(disk, handed, &|| false);
    assert_eq!((report.held, report.failures.len()), (0, 0), "{:?}", report.failures);
    let mut left = names(disk, "pending");
    left.retain(|name| name != ".overflow-audit.log");
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// Every record came, and came again only if somebody died: one record for each of the dead.
pub(super) fn each_came(handed: &Handed, expected: &[&str], died: usize) {
    let counts = handed.counts();
    for text in expected {
        assert!(counts.contains_key(*text), "{text} is lost: {counts:?}");
    }
    let again: usize = counts.values().map(|count| count - 1).sum();
    assert!(again <= died, "{again} came again although {died} died: {counts:?}");
    assert_eq!(counts.len(), expected.len(), "{counts:?}");
}

/// Nobody dies, and there are so many switches at most.
pub(crate) fn switches(preemptions: usize) -> Bounds {
    Bounds { preemptions, deaths: 0 }
}

/// One of them is killed somewhere.
pub(crate) fn with_a_death(preemptions: usize) -> Bounds {
    Bounds { preemptions, deaths: 1 }
}

#[track_caller]
pub(crate) fn holds(what: &str, bounds: Bounds, scenario: &(dyn Fn() -> Play + Sync)) {
    let schedules = explore(bounds, scenario);
    eprintln!("{schedules} schedules: {what}");
    assert!(schedules >= 100, "only {schedules} schedules: {what}");
}
