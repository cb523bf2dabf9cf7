//! Those who read the queue and those who drop from it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use jiff::Timestamp;
use serde_json::{Value, json};
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, Fault, Loss, SimDisk};
use tailspool::pure::record::Envelope;
use tailspool::queue::audit::Audit;
use tailspool::queue::claim;
use tailspool::queue::depth::{Depth, OnFull, QueueLimits};
use tailspool::queue::drain::{DrainReport, Format, ingest};
use tailspool::queue::prune::prune;
use tailspool::queue::{CaptureQueue, QueueOptions};

use super::explorer::{Actor, Play, explore};
use super::pipeline::{Pipeline, TestClock, append, counted, drain_some};
use super::turns::{Bounds, Turned};

/// What each record is called, and who had it how often.
#[derive(Clone, Default)]
struct Handed(Arc<Mutex<Vec<String>>>);

impl Handed {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for text in self.0.lock().unwrap().iter() {
            *counts.entry(text.clone()).or_default() += 1;
        }
        counts
    }
}

fn surface(envelope: &Envelope<'_>) -> String {
    let record: Value = serde_json::from_str(envelope.record.get()).unwrap();
    record["surface"].as_str().unwrap().to_owned()
}

/// One for all, or the ULIDs, and so who has the newest file, would differ from run to run.
fn clock() -> Arc<dyn Clock> {
    static CLOCK: LazyLock<Arc<TestClock>> = LazyLock::new(TestClock::new);
    Arc::<TestClock>::clone(&CLOCK)
}

fn open(disk: Arc<dyn Disk>, options: QueueOptions, who: u128) -> CaptureQueue {
    let mut drawn = who << 40;
    let random = Box::new(move || {
        drawn += 1000;
        drawn
    });
    CaptureQueue::on(disk, clock(), random, options).unwrap()
}

/// A queue with these batches; a batch of one is a file of its own.
fn queue(batches: &[&[&str]]) -> SimDisk {
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
fn noted(disk: &dyn Disk, by_ulid: &BTreeMap<String, String>) -> BTreeMap<String, usize> {
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

fn by_ulid(disk: &SimDisk) -> BTreeMap<String, String> {
    let (text, _) = drain_some(disk, Format::Envelope, u64::MAX, true);
    let lines = String::from_utf8(text).unwrap();
    let each = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    each.map(|envelope| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&envelope["ulid"]), text(&envelope["record"]["surface"]))
    })
    .collect()
}

fn ingest_all(disk: &dyn Disk, handed: &Handed, is_dead: &dyn Fn() -> bool) -> DrainReport {
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

fn drains(handed: &Handed) -> Actor {
    let handed = handed.clone();
    Box::new(move |disk| {
        let report = ingest_all(disk, &handed, &|| disk.is_dead());
        assert!(report.failures.is_empty() || disk.is_dead(), "{:?}", report.failures);
    })
}

/// Drops down to so many records.
fn prunes(target: u64) -> Actor {
    Box::new(move |disk| {
        let excess = |depth: Depth| depth.records.saturating_sub(target);
        let _ = prune(disk, &mut Audit::default(), Timestamp::UNIX_EPOCH, None, &excess);
    })
}

/// What a start of a watcher does about lock files without a batch.
fn removes_orphans() -> Actor {
    Box::new(|disk| drop(claim::remove_orphans(disk)))
}

/// After all of them: what is left is drained, and then nothing is left.
fn at_the_end(disk: &SimDisk, handed: &Handed, died: usize) {
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
fn each_came(handed: &Handed, expected: &[&str], died: usize) {
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

/// The actors are drains of one queue.
fn drained_by(begin: &SimDisk, actors: usize, expected: &'static [&'static str]) -> Play {
    let handed = Handed::default();
    Play {
        disk: copy(begin),
        actors: (0..actors).map(|_| drains(&handed)).collect(),
        judge: Box::new(move |disk, died| {
            at_the_end(disk, &handed, died);
            each_came(&handed, expected, died);
        }),
    }
}

#[test]
fn two_drains_never_hand_out_the_same_record() {
    let begin = queue(&[&["1", "2"], &["3"]]);
    holds("two drains", switches(2), &|| drained_by(&begin, 2, &["1", "2", "3"]));
    let begin = queue(&[&["1"]]);
    holds("two drains of one record", switches(3), &|| {
        drained_by(&begin, 2, &["1"])
    });
}

#[test]
fn three_drains_never_hand_out_the_same_record() {
    let begin = queue(&[&["1"]]);
    holds("three drains", switches(2), &|| drained_by(&begin, 3, &["1"]));
}

#[test]
fn a_drain_that_is_killed_repeats_one_record_at_most_and_loses_none() {
    let begin = queue(&[&["1", "2", "3"]]);
    holds("two drains, one of which is killed", with_a_death(2), &|| {
        drained_by(&begin, 2, &["1", "2", "3"])
    });
}

#[test]
fn a_record_whose_reader_failed_comes_again_and_no_other() {
    let begin = queue(&[&["1", "2", "3"]]);
    holds("two drains, of which one fails at a record", switches(3), &|| {
        let handed = Handed::default();
        let taken = handed.clone();
        let fails: Actor = Box::new(move |disk| {
            let mut handler = |envelope: &Envelope<'_>| match surface(envelope).as_str() {
                "2" => Err("no".into()),
                text => {
                    taken.add(text);
                    Ok(())
                }
            };
            let report = ingest(disk, &mut handler, &mut ()).unwrap();
            assert!(report.failures.len() <= 1);
        });
        Play {
            disk: copy(&begin),
            actors: vec![fails, drains(&handed)],
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                each_came(&handed, &["1", "2", "3"], died);
            }),
        }
    });
}

#[test]
fn a_record_is_delivered_or_noted_as_dropped_and_never_both() {
    let begin = queue(&[&["1", "2"], &["3"], &["4"]]);
    let ulids = by_ulid(&begin);
    for (what, bounds) in [
        ("a drain and one who drops", switches(2)),
        ("a drain and one who drops, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let (handed, ulids) = (Handed::default(), ulids.clone());
            Play {
                disk: copy(&begin),
                actors: vec![drains(&handed), prunes(1)],
                judge: Box::new(move |disk, died| {
                    at_the_end(disk, &handed, died);
                    let noted = noted(disk, &ulids);
                    let handed = handed.counts();
                    for text in ["1", "2", "3", "4"] {
                        let came = (handed.get(text).copied(), noted.get(text).copied());
                        let once = matches!(came, (Some(1), None) | (None, Some(1)));
                        // Noted, and then the one who notes died; or delivered, and then the drain died.
                        let by_death = died > 0 && matches!(came, (Some(1 | 2), None | Some(1)));
                        assert!(once || by_death, "{text} was delivered and noted so often: {came:?}");
                    }
                }),
            }
        });
    }
}

#[test]
fn two_who_drop_note_each_record_once() {
    let begin = queue(&[&["1"], &["2"], &["3"]]);
    let ulids = by_ulid(&begin);
    for (what, bounds) in [
        ("two who drop", switches(2)),
        ("two who drop, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let (handed, ulids) = (Handed::default(), ulids.clone());
            Play {
                disk: copy(&begin),
                actors: vec![prunes(1), prunes(1)],
                judge: Box::new(move |disk, died| {
                    let excess = |depth: Depth| depth.records.saturating_sub(1);
                    prune(disk, &mut Audit::default(), Timestamp::UNIX_EPOCH, None, &excess).unwrap();
                    at_the_end(disk, &handed, died);
                    let noted: Vec<_> = noted(disk, &ulids).into_iter().collect();
                    assert_eq!(noted, [("1".to_owned(), 1), ("2".to_owned(), 1)]);
                    assert_eq!(handed.counts().into_keys().collect::<Vec<_>>(), ["3"]);
                }),
            }
        });
    }
}

#[test]
fn what_is_appended_while_others_drop_and_drain_is_handed_out_or_noted() {
    let begin = queue(&[&["1"], &["2"]]);
    let limits = QueueLimits {
        records_max: Some(2),
        bytes_max: None,
    };
    let options = move || QueueOptions {
        limits,
        on_full: OnFull::DropOldest,
        ..QueueOptions::default()
    };
    let appends = |who: u128, text: &'static str, told: &Handed| -> Actor {
        let told = told.clone();
        Box::new(move |disk: &Turned| {
            let queue = open(Arc::new(disk.clone()), options(), who);
            if let Ok(ulid) = queue.append(&json!({"surface": text})) {
                told.add(&ulid.to_string());
            }
        })
    };
    holds("two who append, each of which drops", switches(2), &|| {
        let (handed, told) = (Handed::default(), Handed::default());
        let actors = vec![appends(1, "3", &told), appends(2, "4", &told)];
        Play {
            disk: copy(&begin),
            actors,
            judge: Box::new(move |disk, died| {
                assert_eq!(told.counts().len(), 2, "both were appended");
                at_the_end(disk, &handed, died);
                let text = read(disk, "pending/.overflow-audit.log");
                let dropped = text.lines().count();
                let handed = handed.counts();
                assert!(handed.values().all(|count| *count == 1), "{handed:?}");
                assert_eq!(handed.len() + dropped, 4, "{handed:?} and {text}");
                assert!(dropped <= 3, "the newest one stays");
            }),
        }
    });
    holds("one who appends and drops, and a drain", switches(2), &|| {
        let (handed, told) = (Handed::default(), Handed::default());
        let actors = vec![appends(1, "3", &told), drains(&handed)];
        Play {
            disk: copy(&begin),
            actors,
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                let dropped = read(disk, "pending/.overflow-audit.log").lines().count();
                let handed = handed.counts();
                assert!(handed.values().all(|count| *count == 1), "{handed:?}");
                assert_eq!(handed.len() + dropped, 3, "{handed:?}, {dropped} dropped");
                assert!(handed.contains_key("3"), "what was appended last is never dropped");
            }),
        }
    });
}

#[test]
fn a_damaged_batch_is_quarantined_once_and_the_younger_one_is_handed_out() {
    let begin = queue(&[&["1", "2"], &["3"]]);
    let damaged = names(&begin, "pending")
        .into_iter()
        .find(|name| name.ends_with(".jsonl"))
        .unwrap();
    let mut file = begin.open(&Path::new("pending").join(&damaged), false).unwrap();
    file.write_at(b"x", 0).unwrap();
    drop(file);
    holds("two drains of a damaged batch", switches(2), &|| {
        let handed = Handed::default();
        let drains = |handed: &Handed| -> Actor {
            let handed = handed.clone();
            Box::new(move |disk| drop(ingest_all(disk, &handed, &|| false)))
        };
        let damaged = damaged.clone();
        Play {
            disk: copy(&begin),
            actors: vec![drains(&handed), drains(&handed)],
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                each_came(&handed, &["3"], died);
                let mut kept = names(disk, "quarantine");
                kept.sort();
                assert_eq!(kept, [damaged.clone(), damaged + ".reason"]);
            }),
        }
    });
}

#[test]
fn whoever_removes_lock_files_takes_none_that_a_drain_has() {
    // The first batch was begun, so its lock file says how far; and one lock file has no batch.
    let begin = queue(&[&["1", "2"], &["3"]]);
    let (_, report) = drain_some(&begin, Format::Envelope, 1, false);
    assert_eq!(report.records, 1);
    begin
        .create(Path::new("pending/pending-00000000000000000000000000.lock"))
        .unwrap();
    for (what, bounds) in [
        ("a drain, another one, and a start that removes lock files", switches(1)),
        ("the same, one of which is killed", with_a_death(0)),
    ] {
        holds(what, bounds, &|| {
            let handed = Handed::default();
            Play {
                disk: copy(&begin),
                actors: vec![drains(&handed), removes_orphans(), drains(&handed)],
                judge: Box::new(move |disk, died| {
                    at_the_end(disk, &handed, died);
                    each_came(&handed, &["2", "3"], died);
                }),
            }
        });
    }
    holds("a drain and a start that removes lock files", switches(3), &|| {
        let handed = Handed::default();
        Play {
            disk: copy(&begin),
            actors: vec![drains(&handed), removes_orphans()],
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                each_came(&handed, &["2", "3"], died);
            }),
        }
    });
}

#[test]
fn a_full_disk_that_gets_room_is_drained_by_one_at_a_time() {
    let begin = queue(&[&["1", "2"]]);
    holds(
        "two drains of a full disk, and one who makes room",
        switches(2),
        &|| {
            let handed = Handed::default();
            let disk = copy(&begin);
            disk.set_over_quota(true);
            let whole = disk.clone();
            let makes_room: Actor = Box::new(move |disk| {
                disk.step("make room").unwrap();
                whole.set_over_quota(false);
            });
            Play {
                disk,
                actors: vec![drains(&handed), drains(&handed), makes_room],
                judge: Box::new(move |disk, died| {
                    at_the_end(disk, &handed, died);
                    each_came(&handed, &["1", "2"], died);
                }),
            }
        },
    );
}

/// A home whose last commit is in the ledger and whose batch is not visible yet.
fn unpublished(top: &Path) -> SimDisk {
    append(&top.join("a.jsonl"), "one\ntwo\n");
    let unfinished = |disk: &SimDisk| names(disk, "pending").iter().any(|name| name.ends_with(".tmp"));
    let at = |operation| {
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut pipeline = Pipeline::start(&shared, top, &TestClock::new()).unwrap();
        disk.plan(operation, Fault::CrashBefore);
        let _ = pipeline.look();
        disk.crashed().then(|| copy(&disk))
    };
    let crashes: Vec<_> = (0..).map_while(at).collect();
    // The last call before the batch is visible is that which makes it so.
    crashes.into_iter().rev().find(unfinished).unwrap()
}

#[test]
fn a_start_that_makes_a_batch_visible_beside_a_drain_hands_out_each_line_once() {
    let temp = tempfile::tempdir().unwrap();
    let begin = unpublished(temp.path());
    let committed = read(&begin, "provenance/provenance-000001.jsonl");
    assert!(committed.contains("\"pending-"), "it is committed");
    let starts = || -> Actor {
        Box::new(|disk| {
            let options = CaptureOptions::default();
            if let Ok(capture) = Capture::open(Arc::new(disk.clone()), clock(), counted(), options) {
                let _ = capture.stop();
            }
        })
    };
    for (what, bounds) in [
        ("a drain and a start of a watcher", switches(3)),
        (
            "a drain and a start of a watcher, one of which is killed",
            with_a_death(2),
        ),
    ] {
        holds(what, bounds, &|| {
            let handed = Handed::default();
            Play {
                disk: copy(&begin),
                actors: vec![starts(), drains(&handed)],
                judge: Box::new(move |disk, died| {
                    let options = CaptureOptions::default();
                    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
                    drop(Capture::open(shared, clock(), counted(), options).unwrap());
                    at_the_end(disk, &handed, died);
                    each_came(&handed, &["one", "two"], died);
                }),
            }
        });
    }
}
