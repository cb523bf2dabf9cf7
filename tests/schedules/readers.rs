//! Those who read the queue.

use std::path::Path;
use std::sync::Arc;

use tailspool::capture::{Capture, CaptureOptions};
use tailspool::disk::{Disk, Fault, SimDisk};
use tailspool::pure::record::Envelope;
use tailspool::queue::drain::{Format, ingest};

use super::actors::{
    Handed, at_the_end, clock, copy, drains, each_came, holds, ingest_all, names, queue, read, removes_orphans,
    surface, switches, with_a_death,
};
use super::explorer::{Actor, Play};
use super::pipeline::{Pipeline, TestClock, append, counted, drain_some};

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
