//! The capture queue as a library: appending, ingesting, pruning, and everything that can lie in its way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::{Pipeline, Polled, TestClock, counted};
use serde_json::{Value, json};
use tailspool::capture::CaptureOptions;
use tailspool::clock::Clock;
use tailspool::disk::{Disk, Fault, SimDisk};
use tailspool::error::ErrorKind;
use tailspool::limits::{FREE_BYTES_MIN, FULL_RETRY};
use tailspool::provenance::deliveries;
use tailspool::queue::claim::Claim;
use tailspool::queue::depth::{OnFull, QueueLimits};
use tailspool::queue::drain::{DrainOptions, Format, HandlerError, Output};
use tailspool::queue::follow::{Following, follow};
use tailspool::queue::outgoing::Layout;
use tailspool::queue::{CaptureQueue, QueueOptions};
use tailspool::source::tree::OsTree;

fn record(text: &str) -> Value {
    json!({"surface": text, "cue": "", "tier": "episodic", "session_id": "-", "role": "user"})
}

fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|n| record(&format!("line {n}"))).collect()
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

fn waiting(records_max: u64) -> QueueOptions {
    QueueOptions {
        on_full: OnFull::Wait,
        ..dropping(records_max)
    }
}

/// A queue on a simulated disk, and a clock that the test moves.
fn simulated(options: QueueOptions) -> (SimDisk, Arc<TestClock>, CaptureQueue) {
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let queue = on(&disk, &clock, options);
    (disk, clock, queue)
}

fn on(disk: &SimDisk, clock: &Arc<TestClock>, options: QueueOptions) -> CaptureQueue {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    CaptureQueue::on(Arc::new(disk.clone()), clock, counted(), options).unwrap()
}

/// Everything that is pending, as ULID and record; the queue is empty afterwards.
fn ingested(queue: &CaptureQueue) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    let report = queue
        .ingest_pending(|envelope| {
            found.push((
                envelope.ulid.clone().into_owned(),
                serde_json::from_str(envelope.record.get())?,
            ));
            Ok(())
        })
        .unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.records, found.len() as u64);
    found
}

fn texts(found: &[(String, Value)]) -> Vec<&str> {
    found
        .iter()
        .map(|(_, record)| record["surface"].as_str().unwrap())
        .collect()
}

fn names(disk: &SimDisk) -> Vec<String> {
    let mut names: Vec<_> = disk.list(Path::new("pending")).unwrap();
    names.sort();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn audited(disk: &dyn Disk) -> Vec<Value> {
    let mut text = String::new();
    match disk.read_from(Path::new("pending/.overflow-audit.log"), 0) {
        Ok(mut reader) => drop(io::Read::read_to_string(&mut reader, &mut text).unwrap()),
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound),
    }
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn put(disk: &SimDisk, name: &str, content: &[u8]) {
    disk.create(&Path::new("pending").join(name))
        .unwrap()
        .write_at(content, 0)
        .unwrap();
}

// Appending

#[test]
fn what_is_appended_comes_back_with_its_ulid_in_order_and_as_it_was() {
    let texts_in = [
        "plain",
        "Кириллица",
        "astral \u{1d11e}\u{1f600}",
        "combining e\u{301}",
        "\u{0} \t \" \\",
        "",
    ];
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulids: Vec<_> = texts_in
        .iter()
        .map(|text| queue.append(&record(text)).unwrap().to_string())
        .collect();
    assert_eq!(queue.pending_count().unwrap(), 6);
    let listed: Vec<_> = queue
        .list_pending()
        .unwrap()
        .iter()
        .map(|one| one.first.unwrap().to_string())
        .collect();
    assert_eq!(listed, ulids);
    let found = ingested(&queue);
    assert_eq!(texts(&found), texts_in);
    assert_eq!(found.iter().map(|(ulid, _)| ulid.clone()).collect::<Vec<_>>(), ulids);
    assert!(names(&disk).is_empty());
    assert!(ingested(&queue).is_empty());
}

#[test]
fn an_envelope_is_compact_and_has_its_keys_in_their_order() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulid = queue.append(&json!({"surface": "é", "n": 1})).unwrap();
    let mut text = String::new();
    let mut file = disk
        .read_from(Path::new(&format!("pending/pending-{ulid}.json")), 0)
        .unwrap();
    io::Read::read_to_string(&mut file, &mut text).unwrap();
    let (head, tail) = text.split_once("\",\"record\":").unwrap();
    let time = head
        .strip_prefix(&format!("{{\"ulid\":\"{ulid}\",\"appended_at\":\""))
        .unwrap();
    assert_eq!((time.len(), &time[26..]), (32, "+00:00"), "{time}");
    assert_eq!(tail, "{\"n\":1,\"surface\":\"é\"},\"schema_version\":1}");
}

#[test]
fn a_batch_is_one_file_with_consecutive_ulids_and_all_or_nothing() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    assert!(queue.append_batch(&numbered(0)).unwrap().is_empty());
    let ulids = queue.append_batch(&numbered(1000)).unwrap();
    assert_eq!(names(&disk), [format!("pending-{}-1000.jsonl", ulids[0])]);
    assert!(ulids.windows(2).all(|pair| pair[1].0 == pair[0].0 + 1));
    let later = queue.append(&record("later")).unwrap();
    assert!(later > ulids[999]);
    let found = ingested(&queue);
    assert_eq!(found.len(), 1001);
    assert_eq!(found[999].0, ulids[999].to_string());
}

#[test]
fn what_is_no_object_or_too_large_is_refused_and_nothing_is_left() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let too_large = record(&"x".repeat(8 * 1024 * 1024));
    for (what, refused) in [
        ("array", queue.append(&json!([1]))),
        ("text", queue.append(&"text")),
        ("null", queue.append(&Value::Null)),
        ("not a number", queue.append(&f64::NAN)),
        ("8 MiB", queue.append(&too_large)),
        (
            "in a batch",
            queue.append_batch(&[record("good"), json!(7)]).map(|ulids| ulids[0]),
        ),
        ("too many", queue.append_batch(&numbered(8193)).map(|ulids| ulids[0])),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{what}: {error}");
        assert!(error.hint_text().is_some(), "{what}");
    }
    assert!(names(&disk).is_empty());
    let nothing = CaptureQueue::on(Arc::new(disk), TestClock::new(), counted(), waiting(0));
    assert_eq!(nothing.err().unwrap().kind(), ErrorKind::Usage);
}

/// Ten appends of each of fifty threads: what is in the queue then, and in how many files.
fn fifty_threads_append_ten_records_each(options: QueueOptions) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let queue = CaptureQueue::open(temp.path(), options).unwrap();
    let ulids = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for thread in 0..50 {
            let (queue, ulids) = (&queue, &ulids);
            scope.spawn(move || {
                let mut last = None;
                for n in 0..10 {
                    let text = format!("{thread} {n}");
                    let ulid = queue.append(&record(&text)).unwrap();
                    assert!(last < Some(ulid), "in a thread they rise");
                    last = Some(ulid);
                    ulids.lock().unwrap().insert(ulid.to_string(), text);
                }
            });
        }
    });
    let expected: Vec<_> = ulids.into_inner().unwrap().into_iter().collect();
    assert_eq!(expected.len(), 500);
    assert_eq!(queue.pending_count().unwrap(), 500);
    let listed = queue.list_pending().unwrap().len();
    let files = fs::read_dir(temp.path().join("pending")).unwrap().count();
    assert_eq!(files, listed, "no temporary file is left");
    let found = ingested(&queue);
    let found: Vec<_> = found
        .iter()
        .map(|(ulid, record)| (ulid.clone(), record["surface"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(found, expected);
    files
}

#[test]
fn what_many_threads_append_at_once_is_all_there_in_order_and_once() {
    assert!(fifty_threads_append_ten_records_each(QueueOptions::default()) <= 500);
    let alone = QueueOptions {
        layout: Layout::Record,
        ..QueueOptions::default()
    };
    assert_eq!(fifty_threads_append_ten_records_each(alone), 500);
}

#[test]
fn of_appends_that_share_a_batch_each_one_says_whether_its_record_is_there() {
    const THREADS: usize = 8;
    for operation in 0..20 {
        for fault in [Fault::Eio, Fault::Full] {
            let (disk, clock, queue) = simulated(QueueOptions::default());
            disk.plan(operation, fault);
            let results: Vec<_> = std::thread::scope(|scope| {
                let append = |n: usize| queue.append(&record(&n.to_string()));
                let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || append(n))).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            disk.make_room();
            // It may not have come to that operation.
            disk.plan(1_000_000, fault);
            let fresh = on(&disk, &clock, QueueOptions::default());
            let found: BTreeMap<_, _> = ingested(&fresh)
                .into_iter()
                .map(|(ulid, record)| (ulid, record["surface"].as_str().unwrap().to_owned()))
                .collect();
            let mut taken = 0;
            for (n, result) in results.iter().enumerate() {
                match result {
                    Ok(ulid) => {
                        taken += 1;
                        assert_eq!(
                            found.get(&ulid.to_string()),
                            Some(&n.to_string()),
                            "{operation} {fault:?}"
                        );
                    }
                    Err(error) => assert!(
                        error.hint_text().is_some() || error.kind() == ErrorKind::Failed,
                        "{error}"
                    ),
                }
            }
            assert_eq!(found.len(), taken, "{operation} {fault:?}: {results:?}");
        }
    }
}

#[test]
fn a_failing_operation_of_an_append_leaves_nothing_and_the_next_one_works_unless_a_sync_failed() {
    // create, write, sync, rename, sync of the directory
    for (operation, kind) in [
        ErrorKind::Failed,
        ErrorKind::Failed,
        ErrorKind::Latched,
        ErrorKind::Failed,
        ErrorKind::Latched,
    ]
    .into_iter()
    .enumerate()
    {
        let (disk, clock, queue) = simulated(QueueOptions::default());
        disk.plan(operation as u64, Fault::Eio);
        let error = queue.append(&record("lost")).unwrap_err();
        assert_eq!(error.kind(), kind, "operation {operation}: {error}");
        assert!(names(&disk).is_empty(), "operation {operation}");
        let again = queue.append(&record("next"));
        assert_eq!(again.is_ok(), kind == ErrorKind::Failed, "operation {operation}");
        let fresh = on(&disk, &clock, QueueOptions::default());
        fresh.append(&record("fresh")).unwrap();
        assert!(texts(&ingested(&fresh)).contains(&"fresh"));
    }
}

#[test]
fn a_full_disk_refuses_an_append_and_never_shows_a_part_of_it() {
    for operation in 0..2 {
        let (disk, _, queue) = simulated(QueueOptions::default());
        queue.append(&record("before")).unwrap();
        disk.plan(operation, Fault::Full);
        for _ in 0..3 {
            let error = queue.append(&record("too much")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}");
            assert!(error.hint_text().is_some());
        }
        assert_eq!(names(&disk).len(), 1);
        disk.make_room();
        queue.append(&record("after")).unwrap();
        assert_eq!(texts(&ingested(&queue)), ["before", "after"]);
    }
}

// Limits

#[test]
fn a_full_queue_that_waits_refuses_and_takes_again_once_it_was_drained() {
    let (disk, clock, queue) = simulated(waiting(3));
    let other = on(&disk, &clock, QueueOptions::default());
    for n in 0..3 {
        queue.append(&record(&n.to_string())).unwrap();
    }
    assert_eq!(queue.append(&record("x")).unwrap_err().kind(), ErrorKind::QueueFull);
    assert_eq!(ingested(&other).len(), 3);
    // Others drained it, which a listing shows, and that is made once a second.
    assert_eq!(queue.append(&record("x")).unwrap_err().kind(), ErrorKind::QueueFull);
    clock.pass(FULL_RETRY);
    queue.append(&record("y")).unwrap();
    assert_eq!(texts(&ingested(&other)), ["y"]);
    assert!(audited(&disk).is_empty());
}

#[test]
fn drop_oldest_drops_about_a_hundred_and_notes_each() {
    for (records_max, appended, left) in [(100, 110, 10), (1000, 1001, 901), (3, 10, 1), (1, 2, 1)] {
        let (disk, _, queue) = simulated(dropping(records_max));
        let ulids: Vec<_> = (0..appended)
            .map(|n| queue.append(&record(&n.to_string())).unwrap().to_string())
            .collect();
        let found = ingested(&queue);
        assert!(found.len() as u64 <= records_max);
        assert_eq!(
            found.last().unwrap().0,
            *ulids.last().unwrap(),
            "what was appended last is there"
        );
        assert_eq!(found.len(), left, "limit {records_max}");
        let dropped: Vec<_> = audited(&disk);
        let known: BTreeSet<_> = ulids.iter().map(String::as_str).collect();
        assert_eq!(dropped.len(), appended - found.len());
        for (n, line) in dropped.iter().enumerate() {
            assert_eq!(line["dropped_ulid"], ulids[n], "oldest first");
            assert!(known.contains(line["dropped_ulid"].as_str().unwrap()));
            assert_eq!(line["reason"], "queue_overflow");
            assert!(line["queue_size_before_prune"].is_u64());
            for key in ["ts", "appended_at"] {
                assert_eq!(line[key].as_str().unwrap().len(), 32, "{line}");
            }
        }
    }
}

#[test]
fn an_append_is_no_failure_because_what_makes_room_cannot_be_noted() {
    let (disk, clock, queue) = simulated(dropping(2));
    queue.append(&record("0")).unwrap();
    queue.append(&record("1")).unwrap();
    // create, write, sync, rename, sync of the directory, the lock files of two victims, and then the audit log.
    disk.plan(7, Fault::Eio);
    queue.append(&record("2")).unwrap();
    assert_eq!(queue.pending_count().unwrap(), 3, "nothing is dropped unnoted");
    assert!(audited(&disk).is_empty());
    clock.pass(FULL_RETRY);
    queue.append(&record("3")).unwrap();
    assert_eq!(texts(&ingested(&queue)), ["3"]);
    assert_eq!(audited(&disk).len(), 3);
}

#[test]
fn a_batch_that_is_larger_than_the_limit_is_not_dropped_by_its_own_append() {
    let (disk, _, queue) = simulated(dropping(10));
    queue.append_batch(&numbered(50)).unwrap();
    queue.append_batch(&numbered(60)).unwrap();
    assert_eq!(queue.pending_count().unwrap(), 60);
    assert_eq!(audited(&disk).len(), 50);
}

#[test]
fn pruning_keeps_the_newest_what_a_reader_holds_and_what_cannot_be_noted() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulids: Vec<_> = (0..5).map(|n| queue.append(&record(&n.to_string())).unwrap()).collect();
    let held = format!("pending-{}.json", ulids[1]);
    let claim = Claim::take(&disk, held.as_ref()).unwrap().unwrap();
    // The claim has made its lock file already; the first operations of the pruning are three lock files, then
    // the audit log is made.
    disk.plan(3, Fault::Eio);
    assert_eq!(queue.prune_oldest(0).unwrap().records, 0);
    assert_eq!(queue.pending_count().unwrap(), 5);
    let pruned = queue.prune_oldest(0).unwrap();
    assert_eq!((pruned.records, pruned.depth.records), (3, 2));
    drop(claim);
    assert_eq!(texts(&ingested(&queue)), ["1", "4"]);
    assert_eq!(audited(&disk).len(), 3);
    assert_eq!(names(&disk), [".overflow-audit.log"], "no lock file stays");
}

#[test]
fn pruning_stops_at_its_target_and_notes_only_what_no_reader_had() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulids = queue.append_batch(&numbered(10)).unwrap();
    for n in 10..20 {
        queue.append(&record(&format!("line {n}"))).unwrap();
    }
    let mut left = 4;
    let report = queue
        .ingest_pending(|_| {
            left -= 1;
            if left < 0 { Err("enough".into()) } else { Ok(()) }
        })
        .unwrap();
    assert_eq!(
        report.failures.len(),
        11,
        "the batch stopped in its middle, and each of the others failed"
    );
    let pruned = queue.prune_oldest(8).unwrap();
    assert_eq!(
        (pruned.records, pruned.depth.records),
        (8, 8),
        "six of the batch, and two more"
    );
    let noted: Vec<_> = audited(&disk)
        .iter()
        .map(|line| line["dropped_ulid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        noted[..6],
        ulids[4..].iter().map(ToString::to_string).collect::<Vec<_>>()
    );
    assert_eq!(queue.prune_oldest(8).unwrap().records, 0);
}

#[test]
fn poison_can_be_pruned_and_is_noted_by_its_name() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for (n, content) in [&b""[..], b"[1]", b"\xff\xfe", b"{\"ulid\":", b"{}"].iter().enumerate() {
        put(&disk, &format!("pending-{ulid}-{n}.json"), content);
    }
    queue.append(&record("good")).unwrap();
    assert_eq!(queue.prune_oldest(0).unwrap().records, 5);
    for (n, line) in audited(&disk).iter().enumerate() {
        assert_eq!(line["dropped_ulid"], format!("{ulid}-{n}"));
        assert_eq!(line["appended_at"], "");
    }
    assert_eq!(texts(&ingested(&queue)), ["good"]);
}

#[test]
fn records_are_delivered_or_noted_as_dropped_and_never_both_nor_neither() {
    let temp = tempfile::tempdir().unwrap();
    let queue = CaptureQueue::open(temp.path(), QueueOptions::default()).unwrap();
    let mut expected = BTreeSet::new();
    for _ in 0..60 {
        expected.extend(queue.append_batch(&numbered(5)).unwrap());
        expected.insert(queue.append(&record("single")).unwrap());
    }
    let expected: BTreeSet<_> = expected.iter().map(ToString::to_string).collect();
    let delivered = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (home, delivered) = (temp.path(), &delivered);
            scope.spawn(move || {
                let queue = CaptureQueue::open(home, QueueOptions::default()).unwrap();
                let report = queue
                    .ingest_pending(|envelope| {
                        delivered.lock().unwrap().push(envelope.ulid.clone().into_owned());
                        std::thread::yield_now();
                        Ok(())
                    })
                    .unwrap();
                assert!(report.failures.is_empty());
            });
        }
        for _ in 0..2 {
            let home = temp.path();
            scope.spawn(move || {
                let queue = CaptureQueue::open(home, QueueOptions::default()).unwrap();
                for target in (0..300).rev().step_by(20) {
                    queue.prune_oldest(target).unwrap();
                }
            });
        }
    });
    let mut seen = delivered.into_inner().unwrap();
    seen.extend(ingested(&queue).into_iter().map(|(ulid, _)| ulid));
    let disk = tailspool::disk::OsDisk::open(temp.path()).unwrap();
    let noted = audited(&disk);
    seen.extend(
        noted
            .iter()
            .map(|line| line["dropped_ulid"].as_str().unwrap().to_owned()),
    );
    assert_eq!(seen.len(), expected.len(), "each once");
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
}

// Ingesting

#[test]
fn a_handler_that_fails_leaves_its_record_and_what_follows_and_the_younger_batches_go_on() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    queue.append_batch(&numbered(4)).unwrap();
    queue.append(&record("young")).unwrap();
    let seen = RefCell::new(Vec::new());
    let ingest = |bad: &str| {
        let report = queue.ingest_pending(|envelope| {
            let record: Value = serde_json::from_str(envelope.record.get())?;
            let text = record["surface"].as_str().unwrap().to_owned();
            if text == bad {
                return Err(HandlerError::from("no"));
            }
            seen.borrow_mut().push(text);
            Ok(())
        });
        (report.unwrap(), seen.take())
    };
    let (report, texts) = ingest("line 2");
    assert_eq!(texts, ["line 0", "line 1", "young"]);
    assert_eq!((report.records, report.failures.len(), report.stopped), (3, 1, false));
    let error = &report.failures[0];
    let cause = std::error::Error::source(error).unwrap().to_string();
    assert!(
        error.to_string().contains("-4.jsonl") && cause == "no",
        "{error}: {cause}"
    );
    assert_eq!(names(&disk).len(), 2, "batch and lock stay: {:?}", names(&disk));
    let (report, texts) = ingest("line 3");
    assert_eq!((report.failures.len(), texts), (1, vec!["line 2".to_owned()]));
    let (report, texts) = ingest("none");
    assert_eq!((report.failures.len(), texts), (0, vec!["line 3".to_owned()]));
    assert!(names(&disk).is_empty());
}

#[test]
fn what_a_panicking_handler_had_before_is_not_handed_out_again() {
    let (_, _, queue) = simulated(QueueOptions::default());
    queue.append_batch(&numbered(3)).unwrap();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut count = 0;
        let _ = queue.ingest_pending(|_| {
            count += 1;
            assert!(count < 2, "the second record is too much");
            Ok(())
        });
    }));
    assert!(panicked.is_err());
    assert_eq!(texts(&ingested(&queue)), ["line 1", "line 2"]);
}

#[test]
fn poison_in_every_form_leaves_the_younger_records_to_be_drained() {
    let good =
        |ulid: &str| format!(r#"{{"ulid":"{ulid}","appended_at":"t","record":{{"text":"x"}},"schema_version":1}}"#);
    let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let next = "01ARZ3NDEKTSV4RRFFQ69G5FAW";
    let single = format!("pending-{ulid}.json");
    let batch = format!("pending-{ulid}-2.jsonl");
    let quarantined = true;
    #[rustfmt::skip]
    let cases: [(&str, &str, Vec<u8>, bool, &str); 16] = [
        ("empty", &single, b"".to_vec(), quarantined, "damaged"),
        ("truncated", &single, good(ulid).as_bytes()[..60].to_vec(), quarantined, "damaged"),
        ("array", &single, b"[]".to_vec(), quarantined, "damaged"),
        ("no object", &single, b"17".to_vec(), quarantined, "damaged"),
        ("no record", &single, format!(r#"{{"ulid":"{ulid}","schema_version":1}}"#).into_bytes(), quarantined, "damaged"),
        ("record no object", &single, good(ulid).replace(r#"{"text":"x"}"#, "[1]").into_bytes(), quarantined, "damaged"),
        ("no ulid", &single, br#"{"record":{},"schema_version":1}"#.to_vec(), quarantined, "damaged"),
        ("no version", &single, format!(r#"{{"ulid":"{ulid}","record":{{}}}}"#).into_bytes(), quarantined, "damaged"),
        ("bad UTF-8", &single, good(ulid).into_bytes().iter().map(|byte| if *byte == b'x' { 0xff } else { *byte }).collect(), quarantined, "damaged"),
        ("two values", &single, format!("{}{}", good(ulid), good(next)).into_bytes(), quarantined, "damaged"),
        ("too few", &batch, format!("{}\n", good(ulid)).into_bytes(), quarantined, "damaged"),
        ("too many", &batch, format!("{}\n{}\n{}\n", good(ulid), good(next), good("01ARZ3NDEKTSV4RRFFQ69G5FAX")).into_bytes(), quarantined, "damaged"),
        ("falling", &batch, format!("{}\n{}\n", good(next), good(ulid)).into_bytes(), quarantined, "damaged"),
        ("torn", &batch, format!("{}\n{}", good(ulid), &good(next)[..50]).into_bytes(), quarantined, "damaged"),
        ("version 2", &single, good(ulid).replace("_version\":1", "_version\":2").into_bytes(), !quarantined, "its schema_version is 2, and this program knows 1"),
        ("version x", &batch, format!("{}\n{}\n", good(ulid), good(next).replace("_version\":1", "_version\":\"x\"")).into_bytes(), !quarantined, "schema_version is no number"),
    ];
    for (what, name, content, is_quarantined, says) in cases {
        let (disk, _, queue) = simulated(QueueOptions::default());
        put(&disk, name, &content);
        for n in 0..3 {
            queue.append(&record(&n.to_string())).unwrap();
        }
        let mut seen = 0;
        let report = queue
            .ingest_pending(|_| {
                seen += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!((seen, report.records), (3, 3), "{what}");
        let [error] = &report.failures[..] else {
            panic!("{what}: {report:?}")
        };
        let text = format!("{error}: {}", std::error::Error::source(error).unwrap());
        assert!(text.contains(says) && text.contains(name), "{what}: {text}");
        let bytes_at = |path: &str| {
            let mut bytes = Vec::new();
            disk.read_from(Path::new(path), 0)
                .map(|mut file| io::Read::read_to_end(&mut file, &mut bytes).unwrap())?;
            Ok::<_, io::Error>(bytes)
        };
        let directory = if is_quarantined { "quarantine" } else { "pending" };
        assert_eq!(
            bytes_at(&format!("{directory}/{name}")).unwrap(),
            content,
            "{what}: not a byte is lost"
        );
        assert_eq!(
            bytes_at(&format!("quarantine/{name}.reason")).is_ok(),
            is_quarantined,
            "{what}"
        );
    }
}

#[test]
fn a_quarantine_that_cannot_be_written_leaves_the_poison_and_hands_out_the_rest() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    put(&disk, "pending-0.json", b"poison");
    queue.append(&record("good")).unwrap();
    disk.plan(1, Fault::Full);
    let report = queue.ingest_watched(&mut |_| Ok(()), &mut ()).unwrap();
    assert_eq!((report.records, report.failures.len()), (1, 1));
    let cause = std::error::Error::source(&report.failures[0]).unwrap().to_string();
    assert!(cause.contains("cannot be moved to quarantine/"), "{cause}");
    disk.make_room();
    assert!(names(&disk).contains(&"pending-0.json".into()), "{:?}", names(&disk));
    let report = queue.ingest_pending(|_| Ok(())).unwrap();
    assert_eq!((report.records, report.failures.len()), (0, 1));
    assert_eq!(disk.list(Path::new("quarantine")).unwrap().len(), 2);
    // Moved back, it is queued again.
    disk.rename(
        Path::new("quarantine/pending-0.json"),
        Path::new("pending/pending-0.json"),
    )
    .unwrap();
    assert_eq!(queue.pending_count().unwrap(), 1);
}

#[test]
fn progress_that_names_no_record_means_from_the_first_one() {
    let (disk, _, queue) = simulated(QueueOptions::default());
    let ulids = queue.append_batch(&numbered(3)).unwrap();
    let name = format!("pending-{}-3.jsonl", ulids[0]);
    let mut claim = Claim::take(&disk, name.as_ref()).unwrap().unwrap();
    claim.note(&tailspool::queue::claim::Progress::at("01ARZ3NDEKTSV4RRFFQ69G5FAV", 1));
    drop(claim);
    assert_eq!(ingested(&queue).len(), 3);
}

#[test]
fn who_got_what_is_written_down_and_failing_at_it_fails_no_delivery() {
    let (disk, clock, queue) = simulated(QueueOptions::default());
    let batch = queue.append_batch(&numbered(3)).unwrap();
    let single = queue.append(&record("single")).unwrap();
    ingested(&queue);
    drop(queue);
    let back = deliveries::read(&disk).unwrap();
    let found: Vec<_> = back
        .deliveries
        .iter()
        .map(|one| (one.first.as_str(), one.last.as_str(), one.records, one.reader.as_str()))
        .collect();
    let (first, last, single) = (batch[0].to_string(), batch[2].to_string(), single.to_string());
    assert_eq!(
        found,
        [(&*first, &*last, 3, "ingest"), (&*single, &*single, 1, "ingest")]
    );

    let queue = on(&disk, &clock, QueueOptions::default());
    queue.append(&record("x")).unwrap();
    disk.set_over_quota(true);
    assert_eq!(
        ingested(&queue).len(),
        1,
        "a disk that takes nothing does not stop a delivery"
    );
}

// Following

/// Fails until the clock says that ten minutes have passed.
struct DownForTenMinutes<'a> {
    clock: &'a TestClock,
    begin: std::time::Instant,
    text: Vec<u8>,
    tries: Vec<u64>,
}

impl Output for DownForTenMinutes<'_> {
    fn begin(&mut self) -> io::Result<()> {
        let passed = self.clock.now() - self.begin;
        self.tries.push(passed.as_secs());
        self.text.clear();
        if passed < Duration::from_secs(600) {
            Err(io::Error::other("down"))
        } else {
            Ok(())
        }
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

#[test]
fn a_reader_that_is_down_for_ten_minutes_gets_everything_and_is_asked_at_60_120_and_240_s() {
    let (disk, clock, queue) = simulated(QueueOptions::default());
    queue.append(&record("kept")).unwrap();
    let mut output = DownForTenMinutes {
        clock: &clock,
        begin: clock.now(),
        text: Vec::new(),
        tries: Vec::new(),
    };
    let (mut told, mut waits) = (0, 0);
    let options = DrainOptions {
        format: Format::Raw,
        records_max: u64::MAX,
        peek: false,
    };
    let report = follow(
        &disk,
        &*clock,
        options,
        &mut Following {
            output: &mut output,
            overseer: &mut (),
            news: &mut Polled(|time| {
                clock.pass(time);
                waits += 1;
                waits > 5000
            }),
            tell: &mut |_| told += 1,
        },
    )
    .unwrap();
    assert_eq!((report.records, told), (1, 4));
    assert_eq!(output.tries, [0, 60, 180, 420, 660]);
    assert_eq!(output.text, b"kept\n");
    assert!(names(&disk).is_empty(), "nothing was moved away meanwhile");
}

#[test]
fn a_drain_that_follows_hands_out_what_comes_and_lists_nothing_while_nothing_changes() {
    let temp = tempfile::tempdir().unwrap();
    let queue = CaptureQueue::open(temp.path(), QueueOptions::default()).unwrap();
    let disk = tailspool::disk::OsDisk::open(temp.path()).unwrap();
    let clock = TestClock::new();
    let mut output = pipeline::Collected::default();
    let mut round = 0;
    let options = DrainOptions {
        format: Format::Raw,
        records_max: 3,
        peek: false,
    };
    let report = follow(
        &disk,
        &*clock,
        options,
        &mut Following {
            output: &mut output,
            overseer: &mut (),
            news: &mut Polled(|time| {
                clock.pass(time);
                round += 1;
                queue.append(&record(&round.to_string())).unwrap();
                round > 50
            }),
            tell: &mut |error| panic!("{error}"),
        },
    )
    .unwrap();
    assert_eq!(report.records, 3, "it ends after --max");
    assert_eq!(output.0, b"1\n2\n3\n");
}

// A watched queue that drops

#[test]
fn a_watched_queue_on_a_full_disk_drops_the_oldest_and_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("a.jsonl");
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = CaptureOptions {
        on_full: OnFull::DropOldest,
        ..CaptureOptions::default()
    };
    let tree = Box::<OsTree>::default();
    let mut pipeline = Pipeline::start_with(&shared, temp.path(), &["."], &clock, tree, options).unwrap();
    for n in 0..20 {
        pipeline::append(&log, &format!("{n} {}\n", "x".repeat(1000)).repeat(20));
        pipeline.look().unwrap();
        clock.pass(Duration::from_secs(1));
    }
    assert!(audited(&disk).is_empty());
    disk.set_free(FREE_BYTES_MIN - 50_000);
    pipeline::append(&log, "last\n");
    pipeline.look().unwrap();
    assert_eq!(pipeline.capture.queue_full(), None);
    let dropped = audited(&disk).len();
    assert!((100..400).contains(&dropped), "{dropped}");
    let text = pipeline::drained(&disk);
    assert!(text.ends_with("\nlast\n"), "{text:.100}");
    assert_eq!(text.lines().count() + dropped, 401, "each is here or there");
}

#[test]
fn a_write_that_meets_a_full_disk_drops_the_oldest_as_soon_as_that_can_be_noted() {
    let temp = tempfile::tempdir().unwrap();
    let log = temp.path().join("a.jsonl");
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = CaptureOptions {
        on_full: OnFull::DropOldest,
        ..CaptureOptions::default()
    };
    let tree = Box::<OsTree>::default();
    let mut pipeline = Pipeline::start_with(&shared, temp.path(), &["."], &clock, tree, options).unwrap();
    for n in 0..3 {
        pipeline::append(&log, &format!("{n}\n"));
        pipeline.look().unwrap();
        clock.pass(Duration::from_secs(1));
    }
    disk.set_over_quota(true);
    pipeline::append(&log, "3\n");
    pipeline.look().unwrap();
    assert!(pipeline.capture.queue_full().is_some(), "the note finds no room either");
    clock.pass(FULL_RETRY);
    pipeline.capture.tick(false).unwrap();
    assert_eq!(
        names(&disk).iter().filter(|name| name.contains(".jsonl")).count(),
        3,
        "nothing is dropped unnoted"
    );
    disk.set_over_quota(false);
    clock.pass(FULL_RETRY);
    pipeline.capture.tick(false).unwrap();
    pipeline.look().unwrap();
    assert_eq!(pipeline::drained(&disk), "0\n1\n2\n3\n");
}
