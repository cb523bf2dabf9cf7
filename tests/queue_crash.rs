//! Crashes and losses of power at every operation of appending, ingesting and pruning.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names of the queue are"
)]

mod pipeline;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use pipeline::{TestClock, counted};
use serde_json::{Value, json};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, Fault, Loss, SimDisk};
use tailspool::error::Error;
use tailspool::pure::record::Envelope;
use tailspool::queue::{CaptureQueue, QueueOptions};

const CRASHES: [Fault; 3] = [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter];

fn record(text: &str) -> Value {
    json!({"surface": text})
}

fn open(disk: &SimDisk) -> Result<CaptureQueue, Error> {
    let clock: Arc<dyn Clock> = TestClock::new();
    CaptureQueue::on(Arc::new(disk.clone()), clock, counted(), QueueOptions::default())
}

/// A disk on which some records were appended and are durable, and their ULIDs.
fn with_records() -> (SimDisk, BTreeSet<String>) {
    let disk = SimDisk::new();
    let queue = open(&disk).unwrap();
    let mut ulids = vec![queue.append(&record("a")).unwrap()];
    ulids.extend(queue.append_batch(&[record("b"), record("c"), record("d")]).unwrap());
    ulids.push(queue.append(&record("e")).unwrap());
    ulids.extend(queue.append_batch(&[record("f"), record("g")]).unwrap());
    (disk, ulids.iter().map(ToString::to_string).collect())
}

/// Hands out everything, and how often each ULID came.
fn ingest(disk: &SimDisk, seen: &mut BTreeMap<String, (String, u32)>) -> Result<(), Error> {
    let mut handler = |envelope: &Envelope<'_>| {
        let entry = seen.entry(envelope.ulid.clone().into_owned()).or_default();
        assert!(
            entry.1 == 0 || entry.0 == envelope.record.get(),
            "the same ULID is the same record"
        );
        *entry = (envelope.record.get().to_owned(), entry.1 + 1);
        Ok(())
    };
    // Deliveries are written by a thread of their own, and would make the operations differ from run to run.
    let report = open(disk)?.ingest_watched(&mut handler, &mut ())?;
    assert!(report.failures.is_empty() || disk.crashed(), "{:?}", report.failures);
    Ok(())
}

fn pending(disk: &SimDisk) -> Vec<String> {
    let names = disk.list(Path::new("pending")).unwrap();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn noted(disk: &SimDisk) -> Vec<String> {
    let mut text = String::new();
    if let Ok(mut log) = disk.read_from(Path::new("pending/.overflow-audit.log"), 0) {
        log.read_to_string(&mut text).unwrap();
    }
    let whole = text.rfind('\n').map_or(0, |end| end + 1);
    let ulid = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["dropped_ulid"].as_str().unwrap().to_owned()
    };
    text[..whole].lines().map(ulid).collect()
}

/// Runs `attempt` with a crash at each of its operations, and `check` on what each kind of loss leaves.
fn at_every_operation<T>(
    begin: impl Fn() -> SimDisk,
    attempt: impl Fn(&SimDisk) -> T,
    check: impl Fn(&SimDisk, T, &str),
) {
    let undisturbed = begin();
    let before = undisturbed.operations();
    attempt(&undisturbed);
    let operations = undisturbed.operations() - before;
    assert!(operations >= 5, "there is something to attack: {operations}");
    for at in 0..operations {
        for fault in CRASHES {
            for loss in Loss::ALL {
                let disk = begin();
                disk.plan(at, fault);
                let came_to = attempt(&disk);
                let what = format!("{fault:?} at {at}, {loss:?}");
                assert!(disk.crashed(), "{what}");
                check(&disk.after_crash(loss), came_to, &what);
            }
        }
    }
}

#[test]
fn an_append_that_returned_is_there_and_one_that_did_not_is_whole_or_not_there() {
    at_every_operation(
        || {
            let disk = SimDisk::new();
            open(&disk).unwrap();
            disk
        },
        |disk| {
            let mut acknowledged = BTreeMap::new();
            let mut run = || -> Result<(), Error> {
                let queue = open(disk)?;
                for (n, text) in ["one", "two"].into_iter().enumerate() {
                    acknowledged.insert(queue.append(&record(text))?.to_string(), text.to_owned());
                    let batch = [record(&format!("{n} x")), record(&format!("{n} y"))];
                    for (ulid, which) in queue.append_batch(&batch)?.iter().zip(["x", "y"]) {
                        acknowledged.insert(ulid.to_string(), format!("{n} {which}"));
                    }
                }
                Ok(())
            };
            let _ = run();
            acknowledged
        },
        |disk, acknowledged, what| {
            let mut seen = BTreeMap::new();
            ingest(disk, &mut seen).unwrap();
            for (ulid, text) in &acknowledged {
                let (record, times) = seen.remove(ulid).unwrap_or_else(|| panic!("{what}: {text} is lost"));
                assert_eq!((record, times), (format!("{{\"surface\":\"{text}\"}}"), 1), "{what}");
            }
            assert!(
                [0, 1, 2].contains(&seen.len()),
                "{what}: at most what was at work: {seen:?}"
            );
            let left = pending(disk);
            let unfinished = |name: &String| name.ends_with(".json.tmp");
            assert!(left.iter().all(unfinished), "{what}: {left:?}");
        },
    );
}

#[test]
fn a_record_is_handed_out_until_its_handler_had_it_and_a_crash_loses_none() {
    let (begin, expected) = with_records();
    at_every_operation(
        || begin.after_crash(Loss::Nothing),
        |disk| {
            let mut seen = BTreeMap::new();
            let _ = ingest(disk, &mut seen);
            seen
        },
        |disk, mut seen, what| {
            let before: u32 = seen.values().map(|(_, times)| times).sum();
            assert!(u64::from(before) <= expected.len() as u64, "{what}");
            ingest(disk, &mut seen).unwrap();
            assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), expected, "{what}");
            assert!(
                pending(disk)
                    .iter()
                    .all(|name| !name.ends_with(".json") && !name.ends_with(".jsonl"))
            );
            let mut again = BTreeMap::new();
            ingest(disk, &mut again).unwrap();
            assert!(again.is_empty(), "{what}: the queue is empty");
        },
    );
}

#[test]
fn a_record_goes_only_after_it_was_noted_and_is_noted_once() {
    let (begin, expected) = with_records();
    at_every_operation(
        || begin.after_crash(Loss::Nothing),
        |disk| drop(open(disk).and_then(|queue| queue.prune_oldest(2))),
        |disk, (), what| {
            let queue = open(disk).unwrap();
            queue.prune_oldest(2).unwrap();
            let dropped = noted(disk);
            let mut seen = BTreeMap::new();
            ingest(disk, &mut seen).unwrap();
            let unique: BTreeSet<_> = dropped.iter().cloned().collect();
            assert_eq!(unique.len(), dropped.len(), "{what}: noted twice: {dropped:?}");
            let both: BTreeSet<_> = unique.iter().cloned().chain(seen.into_keys()).collect();
            assert_eq!(both, expected, "{what}");
            assert_eq!(unique.len(), 5, "{what}");
        },
    );
}
