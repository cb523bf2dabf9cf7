//! The write-behind writer of provenance: quick, in order, at least once, whatever store and disk do.
//!
//! No test waits for time to pass: each waits for the store to say what happened to it. `FOREVER` is how long the
//! writer waits for a store that will answer, and no time at all for one that will not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod store;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Display;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use store::{Store, Stubborn};
use support::wait_for;
use tailspool::disk::{Disk, Fault, Loss, OsDisk, SimDisk};
use tailspool::home::{OVERFLOW, QUARANTINE};
use tailspool::provenance::{Deliveries, Options, Pair, ProvenanceWriter, Stopped, Why, deliveries};

const FOREVER: Duration = Duration::MAX;
const AT_ONCE: Duration = Duration::ZERO;

/// An owner that is no more.
const OWNER: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

fn pair(id: impl Display) -> Pair {
    let id = id.to_string();
    Pair::of(id.as_str(), &json!({"cue": format!("session {id}")})).unwrap()
}

fn ids(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|id| id.to_string()).collect()
}

/// Without waits; two batches in memory, three pairs a call.
fn small() -> Options {
    Options {
        coalesce: AT_ONCE,
        batches_max: 2,
        call_pairs_max: 3,
        backoff_min: AT_ONCE,
        backoff_max: AT_ONCE,
        ..Options::default()
    }
}

/// Room for everything in memory.
fn roomy() -> Options {
    Options {
        batches_max: 4096,
        ..small()
    }
}

fn writer(disk: &SimDisk, store: &Arc<Store>, options: Options) -> ProvenanceWriter {
    ProvenanceWriter::spawn(Arc::new(disk.clone()), Arc::clone(store) as _, options).unwrap()
}

/// One batch a pair.
fn enqueue(writer: &ProvenanceWriter, range: std::ops::Range<u32>) {
    for id in range {
        writer.enqueue(vec![pair(id)]).unwrap();
    }
}

fn names(disk: &dyn Disk, directory: &str) -> Vec<String> {
    let names = disk.list(Path::new(directory)).unwrap_or_default();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}

fn ends_with(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

/// Names of the spill files.
fn spill(disk: &dyn Disk) -> Vec<String> {
    let names = names(disk, OVERFLOW).into_iter();
    names.filter(|name| ends_with(name, "jsonl")).collect()
}

fn content(disk: &dyn Disk, path: impl AsRef<Path>) -> String {
    let mut text = String::new();
    disk.read_from(path.as_ref(), 0)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// Writes a file as an earlier writer could have left it.
fn leave(disk: &SimDisk, name: &str, text: &str) {
    disk.create_dir(Path::new(OVERFLOW)).unwrap();
    let mut file = disk.create(&Path::new(OVERFLOW).join(name)).unwrap();
    file.write_at(text.as_bytes(), 0).unwrap();
}

fn line(id: u32) -> String {
    format!("{{\"id\":\"{id}\",\"entry\":{{\"cue\":\"session {id}\"}}}}\n")
}

/// Spills pairs as a writer does whose store is stuck, and ends it.
fn spilled(disk: &SimDisk, range: std::ops::Range<u32>) -> u64 {
    let store = Store::shut();
    let writer = writer(disk, &store, roomy());
    enqueue(&writer, range);
    let Stopped { spilled, unkept } = writer.stop(AT_ONCE);
    drop(writer);
    assert_eq!(unkept, []);
    store.set_failing(u32::MAX);
    store.open();
    wait_for("the end of its thread", || {
        (Arc::strong_count(&store) == 1).then_some(())
    });
    spilled
}

#[test]
fn the_defaults_are_the_ones_that_are_promised() {
    let options = Options::default();
    assert_eq!(options.coalesce.as_millis(), 50);
    assert_eq!((options.batches_max, options.call_pairs_max), (4096, 256));
    assert_eq!(options.timeout.as_secs(), 2);
}

#[test]
fn taking_a_pair_waits_neither_for_the_store_nor_for_the_disk() {
    let (disk, store) = (Stubborn::new(SimDisk::new()), Store::shut());
    disk.set_stuck(true);
    let writer = ProvenanceWriter::spawn(Arc::clone(&disk) as _, Arc::clone(&store) as _, small()).unwrap();
    // Both are stuck now: what waited for one of them would wait for ever.
    enqueue(&writer, 0..16);
    store.wait_for_calls(1);
    disk.set_stuck(false);
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..16));
}

#[test]
fn an_empty_batch_is_none() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, small());
    writer.enqueue(Vec::new()).unwrap();
    assert_eq!(writer.flush(AT_ONCE), 0);
    assert_eq!(writer.stop(FOREVER), Stopped::default());
    writer.enqueue(Vec::new()).unwrap();
    assert!(store.call_sizes().is_empty());
}

#[test]
fn after_a_flush_everything_is_with_the_store() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, roomy());
    for round in 1..=5 {
        enqueue(&writer, (round - 1) * 10..round * 10);
        assert_eq!(writer.flush(FOREVER), 0);
        assert_eq!(store.ids(), ids(0..round * 10));
    }
}

#[test]
fn a_flush_that_runs_out_of_time_says_how_much_is_left_spill_included() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 0..5);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    assert_eq!(writer.flush(AT_ONCE), 5);
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
}

#[test]
fn pairs_come_in_the_order_in_which_they_were_taken_and_with_their_text() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, roomy());
    writer.enqueue(vec![pair("b"), pair("a")]).unwrap();
    writer.enqueue(vec![pair("я \"😀\n")]).unwrap();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.pairs(), [pair("b"), pair("a"), pair("я \"😀\n")]);
}

#[test]
fn a_call_gathers_pairs_up_to_its_bound() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let patient = Options {
        coalesce: FOREVER,
        ..Options::default()
    };
    let writer = writer(&disk, &store, patient);
    enqueue(&writer, 0..255);
    writer.enqueue((255..600).map(pair).collect()).unwrap();
    store.wait_for_pairs(512);
    assert_eq!(store.call_sizes(), [256, 256]);
    assert_eq!(writer.flush(FOREVER), 0, "a flush does not wait for more");
    assert_eq!(store.call_sizes(), [256, 256, 88]);
    assert_eq!(store.ids(), ids(0..600));
}

#[test]
fn dropping_the_writer_brings_everything_to_the_store() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let patient = Options {
        coalesce: FOREVER,
        timeout: FOREVER,
        ..Options::default()
    };
    let writer = writer(&disk, &store, patient);
    enqueue(&writer, 0..10);
    drop(writer);
    assert_eq!(store.ids(), ids(0..10));
    assert_eq!(Arc::strong_count(&store), 1, "its thread is gone");
}

#[test]
fn dropping_the_writer_of_a_stuck_store_spills_and_the_next_writer_delivers() {
    let (disk, stuck, store) = (SimDisk::new(), Store::shut(), Store::new());
    let hasty = Options {
        timeout: AT_ONCE,
        ..roomy()
    };
    let first = writer(&disk, &stuck, hasty);
    enqueue(&first, 0..10);
    drop(first);
    let second = writer(&disk, &store, roomy());
    enqueue(&second, 10..12);
    assert_eq!(second.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..12));
    assert_eq!(second.stop(FOREVER), Stopped::default());
    assert!(names(&disk, OVERFLOW).is_empty(), "neither files nor locks are left");
}

#[test]
fn a_second_stop_has_nothing_to_do() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, roomy());
    enqueue(&writer, 0..3);
    assert_eq!(writer.stop(FOREVER), Stopped::default());
    assert_eq!(writer.stop(FOREVER), Stopped::default());
    assert_eq!(store.ids(), ids(0..3));
}

#[test]
fn what_is_too_much_for_memory_comes_exactly_once_and_its_files_go() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 0..5);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..5));
    writer.stop(FOREVER);
    assert!(names(&disk, OVERFLOW).is_empty());
}

#[test]
fn spill_files_are_private_and_their_directory_is_made_by_the_first_of_them() {
    let temp = tempfile::tempdir().unwrap();
    let home = temp.path().join("home");
    let disk = Arc::new(OsDisk::create(&home).unwrap());
    let store = Store::shut();
    let writer = ProvenanceWriter::spawn(disk.clone(), store.clone(), roomy()).unwrap();
    writer.enqueue(vec![pair(0)]).unwrap();
    store.wait_for_calls(1);
    assert!(!home.join(OVERFLOW).exists());
    writer.stop(AT_ONCE);
    let names = spill(&*disk);
    let mode = |path: PathBuf| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(home.join(OVERFLOW)), 0o700);
    assert_eq!(mode(home.join(OVERFLOW).join(&names[0])), 0o600);
    assert_eq!(content(&*disk, Path::new(OVERFLOW).join(&names[0])), line(0));
    assert!(names[0].ends_with("-00000001-1.jsonl"), "{names:?}");
    store.open();
}

#[test]
fn what_earlier_processes_left_comes_first_and_the_oldest_of_it_before_the_rest() {
    let disk = SimDisk::new();
    let younger = OWNER.replace("01A", "01B");
    leave(
        &disk,
        &format!("{younger}-00000001-2.jsonl"),
        &(7..9).map(line).collect::<String>(),
    );
    leave(
        &disk,
        &format!("{OWNER}-00000010-2.jsonl"),
        &(5..7).map(line).collect::<String>(),
    );
    leave(
        &disk,
        &format!("{OWNER}-00000009-5.jsonl"),
        &(0..5).map(line).collect::<String>(),
    );
    // It may have claimed the others, and then gives them back.
    assert!(spilled(&disk, 9..11) >= 2);
    let store = Store::new();
    let writer = writer(&disk, &store, roomy());
    enqueue(&writer, 11..13);
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..13));
}

#[test]
fn a_flush_waits_for_what_an_earlier_process_left() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    leave(&disk, &format!("{OWNER}-00000001-1.jsonl"), &line(0));
    let writer = writer(&disk, &store, small());
    store.wait_for_calls(1);
    assert_eq!(writer.flush(AT_ONCE), 1);
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..1));
}

#[test]
fn a_damaged_spill_file_stops_nothing_and_only_its_bad_lines_are_quarantined() {
    let disk = SimDisk::new();
    let name = format!("{OWNER}-00000001-4.jsonl");
    leave(
        &disk,
        &name,
        &format!("{}nonsense\n{}[1]\n{{\"id\":\"9\"", line(0), line(1)),
    );
    let store = Store::new();
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 2..4);
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..4));
    assert_eq!(
        names(&disk, QUARANTINE),
        [format!("{name}.bad"), format!("{name}.bad.reason")]
    );
    let kept = Path::new(QUARANTINE).join(format!("{name}.bad"));
    assert_eq!(content(&disk, &kept), "nonsense\n[1]\n{\"id\":\"9\"");
    let reason = content(&disk, kept.with_file_name(format!("{name}.bad.reason")));
    assert!(
        reason.starts_with("line 2: ") && reason.contains("\nline 4: "),
        "{reason}"
    );
}

#[test]
fn what_is_quarantined_is_never_read_again_and_no_name_grows() {
    let disk = SimDisk::new();
    let name = format!("{OWNER}-00000001-1.jsonl");
    for _ in 0..3 {
        // As if a crash had undone the removal.
        leave(&disk, &name, "nonsense\n");
        let store = Store::new();
        let writer = writer(&disk, &store, small());
        writer.stop(FOREVER);
        assert!(store.pairs().is_empty());
        assert!(names(&disk, OVERFLOW).is_empty());
        assert_eq!(
            names(&disk, QUARANTINE),
            [format!("{name}.bad"), format!("{name}.bad.reason")]
        );
    }
}

#[test]
fn a_synchronous_writer_hands_over_on_the_thread_of_its_caller() {
    let store = Store::failing(1);
    let writer = ProvenanceWriter::synchronous(store.clone(), small());
    let refused = writer.enqueue((0..4).map(pair).collect()).unwrap_err();
    assert!(matches!(refused.why, Why::Store(_)));
    assert_eq!(refused.pairs.len(), 4);
    writer.enqueue(refused.pairs).unwrap();
    assert_eq!(store.ids(), ids(0..4), "without a flush");
    assert_eq!(store.call_sizes(), [3, 1]);
    assert_eq!(writer.flush(AT_ONCE), 0);
    assert_eq!(writer.stop(AT_ONCE), Stopped::default());
    assert!(matches!(writer.enqueue(vec![pair(9)]).unwrap_err().why, Why::Stopped));
}

#[test]
fn a_synchronous_writer_gives_back_what_the_store_did_not_take() {
    let store = Store::new();
    let writer = ProvenanceWriter::synchronous(store.clone(), small());
    writer.enqueue(vec![pair(0)]).unwrap();
    store.set_failing(1);
    let refused = writer.enqueue((1..3).map(pair).collect()).unwrap_err();
    assert_eq!(refused.pairs, [pair(1), pair(2)]);
    assert_eq!(store.ids(), ids(0..1));
}

#[test]
fn a_refused_batch_says_how_much_was_not_taken_and_why() {
    let store = Store::failing(1);
    let writer = ProvenanceWriter::synchronous(store, small());
    let refused = writer.enqueue((0..2).map(pair).collect()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "2 pairs were not taken: the provenance store failed"
    );
    assert_eq!(refused.source().unwrap().to_string(), "told to");
    writer.stop(AT_ONCE);
    let refused = writer.enqueue(vec![pair(2)]).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "1 pairs were not taken: the provenance writer was stopped"
    );
    assert!(refused.source().is_none());
    assert!(Why::NoRoom.to_string().starts_with("memory is full"));
}

#[test]
fn a_spill_file_that_somebody_removed_stops_nothing() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 0..1);
    store.wait_for_calls(1);
    enqueue(&writer, 1..6);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    let name = spill(&disk).remove(0);
    disk.unlink(&Path::new(OVERFLOW).join(name)).unwrap();
    store.open();
    enqueue(&writer, 6..9);
    wait_for("what came later", || store.ids().ends_with(&ids(6..9)).then_some(()));
    assert!(!store.ids().contains(&"1".to_owned()), "it was in that file");
}

#[test]
fn a_stop_at_a_full_memory_throws_nothing_away() {
    let (disk, store) = (Stubborn::new(SimDisk::new()), Store::shut());
    disk.set_stuck(true);
    let writer = ProvenanceWriter::spawn(disk.clone(), store.clone(), small()).unwrap();
    enqueue(&writer, 0..16);
    writer.enqueue(vec![pair(16)]).unwrap_err();
    let stopping = std::thread::spawn(move || writer.stop(FOREVER));
    disk.set_stuck(false);
    store.open();
    assert_eq!(stopping.join().unwrap(), Stopped::default());
    assert_eq!(store.ids(), ids(0..16));
}

#[test]
fn a_store_that_fails_for_a_while_gets_everything_once_and_in_order() {
    for times in [1, 2, 50] {
        let (disk, store) = (SimDisk::new(), Store::failing(times));
        let writer = writer(&disk, &store, small());
        for id in 0..40 {
            // Memory is small here, and the store takes its time.
            while writer.enqueue(vec![pair(id)]).is_err() {
                writer.flush(FOREVER);
            }
        }
        assert_eq!(writer.flush(FOREVER), 0);
        assert_eq!(store.ids(), ids(0..40));
    }
}

#[test]
fn a_store_that_panics_has_failed_and_is_tried_again() {
    let (disk, store) = (SimDisk::new(), Store::panicking(2));
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 0..4);
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..4));
}

#[test]
fn old_pairs_come_before_young_ones_however_much_comes_in_meanwhile() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    let writer = writer(&disk, &store, small());
    enqueue(&writer, 0..10);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    store.open();
    // A trickle that never leaves the writer idle: after each pair that the store took, one more.
    let mut next = 10;
    while next < 200 {
        store.wait_for_pairs((next - 9) as usize);
        enqueue(&writer, next..next + 1);
        next += 1;
    }
    store.wait_for_pairs(191);
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..200));
}

#[test]
fn what_comes_after_a_stop_is_refused_and_given_back() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, small());
    writer.stop(FOREVER);
    let refused = writer.enqueue(vec![pair(1)]).unwrap_err();
    assert!(matches!(refused.why, Why::Stopped));
    assert_eq!(refused.pairs, [pair(1)]);
    assert_eq!(writer.flush(FOREVER), 0);
    assert!(store.pairs().is_empty());
}

#[test]
fn whoever_enqueues_while_it_stops_is_delivered_or_refused() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let writer = writer(&disk, &store, roomy());
    let accepted: Vec<String> = std::thread::scope(|scope| {
        let enqueuers: Vec<_> = (0..4)
            .map(|thread| {
                let writer = &writer;
                scope.spawn(move || {
                    let tries = (0..500).map(|id| thread * 1000 + id);
                    let taken = tries.take_while(|id| writer.enqueue(vec![pair(id)]).is_ok());
                    taken.map(|id: u32| id.to_string()).collect::<Vec<_>>()
                })
            })
            .collect();
        store.wait_for_pairs(10);
        writer.stop(FOREVER);
        enqueuers
            .into_iter()
            .flat_map(|enqueuer| enqueuer.join().unwrap())
            .collect()
    });
    let delivered: BTreeSet<_> = store.ids().into_iter().collect();
    assert_eq!(delivered.len(), store.ids().len());
    assert_eq!(delivered, accepted.into_iter().collect());
}

#[test]
fn memory_is_bounded_by_pairs_and_by_bytes_too() {
    let by_pairs = Options {
        pairs_max: 4,
        ..Options::default()
    };
    let by_bytes = Options {
        bytes_max: 1000,
        ..Options::default()
    };
    for options in [by_pairs, by_bytes] {
        let (disk, store) = (SimDisk::new(), Store::shut());
        let writer = writer(&disk, &store, options);
        writer.enqueue((0..10).map(pair).collect()).unwrap();
        wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
        store.open();
        assert_eq!(writer.flush(FOREVER), 0);
        assert_eq!(store.ids(), ids(0..10));
    }
}

#[test]
fn a_store_that_is_stuck_for_ever_is_left_behind_with_everything_on_disk() {
    let (disk, stuck, store) = (SimDisk::new(), Store::shut(), Store::new());
    let first = writer(&disk, &stuck, small());
    enqueue(&first, 0..1);
    stuck.wait_for_calls(1);
    enqueue(&first, 1..9);
    let stopped = first.stop(AT_ONCE);
    assert_eq!((stopped.spilled, stopped.unkept), (9, vec![]));
    let second = writer(&disk, &store, small());
    assert_eq!(second.stop(FOREVER), Stopped::default());
    assert_eq!(store.ids(), ids(0..9), "with what the stuck call holds, and in order");
    // The call comes back after all: a repetition, and nothing else happens.
    stuck.open();
    wait_for("the end of the old thread", || {
        (Arc::strong_count(&stuck) == 1).then_some(())
    });
    assert_eq!(stuck.ids(), ids(0..1));
    assert!(names(&disk, OVERFLOW).is_empty());
}

#[test]
fn when_neither_store_nor_disk_takes_anything_the_caller_gets_the_batch_back() {
    let (disk, store) = (SimDisk::new(), Store::failing(u32::MAX));
    disk.set_over_quota(true);
    let writer = writer(&disk, &store, small());
    let mut accepted = Vec::new();
    let refused = loop {
        let next = accepted.len();
        match writer.enqueue(vec![pair(next)]) {
            Ok(()) => accepted.push(next.to_string()),
            Err(refused) => break refused,
        }
        assert!(next < 100, "memory has a bound");
    };
    assert!(matches!(refused.why, Why::NoRoom));
    assert_eq!(accepted.len(), 16, "eight times what should wait in memory");
    disk.set_over_quota(false);
    store.set_failing(0);
    assert_eq!(writer.flush(FOREVER), 0);
    writer.enqueue(refused.pairs).unwrap();
    assert_eq!(writer.stop(FOREVER), Stopped::default());
    assert_eq!(store.ids(), ids(0..17));
}

#[test]
fn a_stop_gives_back_what_neither_store_nor_disk_takes() {
    let (disk, store) = (SimDisk::new(), Store::failing(u32::MAX));
    disk.set_over_quota(true);
    let writer = writer(&disk, &store, roomy());
    enqueue(&writer, 0..5);
    let Stopped { spilled, unkept } = writer.stop(AT_ONCE);
    assert_eq!((spilled, unkept.len()), (0, 5));
    assert_eq!(unkept[0], pair(0));
}

#[test]
fn the_spill_is_bounded_too() {
    let (disk, store) = (SimDisk::new(), Store::shut());
    let little = Options {
        spill_bytes_max: 1,
        ..small()
    };
    let writer = writer(&disk, &store, little);
    enqueue(&writer, 0..3);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    enqueue(&writer, 3..19);
    assert!(matches!(writer.enqueue(vec![pair(19)]).unwrap_err().why, Why::NoRoom));
    assert_eq!(spill(&disk).len(), 1);
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..19));
}

#[test]
fn a_spill_file_that_cannot_be_read_for_a_moment_keeps_its_place() {
    let disk = SimDisk::new();
    spilled(&disk, 0..5);
    let (disk, store) = (Stubborn::new(disk), Store::new());
    disk.read_failures.store(4, Ordering::SeqCst);
    let writer = ProvenanceWriter::spawn(disk.clone(), store.clone(), small()).unwrap();
    enqueue(&writer, 5..7);
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..7));
}

#[test]
fn a_spill_file_that_cannot_be_read_is_told_of_and_left_for_the_next_writer() {
    let (disk, store) = (Stubborn::new(SimDisk::new()), Store::shut());
    let writer = ProvenanceWriter::spawn(disk.clone(), store.clone(), small()).unwrap();
    enqueue(&writer, 0..1);
    store.wait_for_calls(1);
    enqueue(&writer, 1..6);
    wait_for("the spill", || (!spill(&*disk).is_empty()).then_some(()));
    disk.read_failures.store(5, Ordering::SeqCst);
    store.open();
    let left = writer.flush(FOREVER);
    let stopped = writer.stop(FOREVER);
    let before: BTreeSet<_> = store.ids().into_iter().collect();
    assert_eq!(left, 6 - before.len() as u64);
    assert!(left > 0 && stopped.spilled == left, "{left} {stopped:?}");
    let next = ProvenanceWriter::spawn(disk.clone(), store.clone(), small()).unwrap();
    next.stop(FOREVER);
    let after: BTreeSet<_> = store.ids().into_iter().collect();
    assert_eq!(after, ids(0..6).into_iter().collect());
    assert!(names(&*disk, OVERFLOW).is_empty());
}

#[test]
fn the_files_of_a_living_writer_are_left_to_it() {
    let disk = SimDisk::new();
    let (slow, quick) = (Store::shut(), Store::new());
    let first = writer(&disk, &slow, small());
    enqueue(&first, 0..5);
    wait_for("the spill", || (!spill(&disk).is_empty()).then_some(()));
    let second = writer(&disk, &quick, small());
    enqueue(&second, 100..116);
    assert_eq!(second.stop(FOREVER), Stopped::default());
    assert_eq!(quick.ids(), ids(100..116));
    slow.open();
    assert_eq!(first.stop(FOREVER), Stopped::default());
    assert_eq!(slow.ids(), ids(0..5));
}

#[test]
fn two_writers_that_start_together_do_not_deliver_the_same_file() {
    for _ in 0..20 {
        let disk = SimDisk::new();
        for owner in 0..4 {
            spilled(&disk, owner * 10..owner * 10 + 10);
        }
        let store = Store::new();
        let both = [(); 2].map(|()| writer(&disk, &store, small()));
        for writer in both {
            assert_eq!(writer.stop(FOREVER), Stopped::default());
        }
        let mut delivered: Vec<u32> = store.ids().iter().map(|id| id.parse().unwrap()).collect();
        delivered.sort_unstable();
        assert_eq!(delivered, (0..40).collect::<Vec<_>>());
        assert!(names(&disk, OVERFLOW).is_empty());
    }
}

#[test]
fn concurrent_enqueuers_keep_their_own_order() {
    let (disk, store) = (SimDisk::new(), Store::new());
    let some = Options {
        batches_max: 100,
        call_pairs_max: 16,
        ..small()
    };
    let writer = writer(&disk, &store, some);
    let retry = |id: u32| while writer.enqueue(vec![pair(id)]).is_err() {};
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || (0..1000).for_each(|id| retry(thread * 10_000 + id)));
        }
    });
    assert_eq!(writer.flush(FOREVER), 0);
    let ids: Vec<u32> = store.ids().iter().map(|id| id.parse().unwrap()).collect();
    assert_eq!(ids.len(), 4000);
    for thread in 0..4 {
        let own: Vec<u32> = ids.iter().copied().filter(|id| id / 10_000 == thread).collect();
        let expected: Vec<u32> = (0..1000).map(|id| thread * 10_000 + id).collect();
        assert_eq!(own, expected);
    }
}

#[test]
fn ten_thousand_pairs_come_once_and_in_order_through_memory_and_spill() {
    let temp = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(temp.path()).unwrap());
    let store = Store::shut();
    let writer = ProvenanceWriter::spawn(Arc::clone(&disk), store.clone(), Options::default()).unwrap();
    enqueue(&writer, 0..10_000);
    wait_for("the spill", || (!spill(&*disk).is_empty()).then_some(()));
    store.open();
    assert_eq!(writer.flush(FOREVER), 0);
    assert_eq!(store.ids(), ids(0..10_000));
    assert_eq!(writer.stop(FOREVER), Stopped::default());
    assert!(names(&*disk, OVERFLOW).is_empty());
}

/// Spills in two goes with the store stuck, on a disk with a planned fault. Returns what is on disk for certain, and
/// what was taken at all.
fn spill_with_fault(disk: &SimDisk) -> (u64, u32) {
    let store = Store::shut();
    let writer = writer(disk, &store, small());
    enqueue(&writer, 0..3);
    wait_for("the first spill, or its failure", || {
        (!spill(disk).is_empty() || disk.crashed()).then_some(())
    });
    enqueue(&writer, 3..6);
    let Stopped { spilled, unkept } = writer.stop(AT_ONCE);
    store.set_failing(u32::MAX);
    store.open();
    assert_eq!(spilled + unkept.len() as u64, 6, "each pair is on disk or given back");
    (spilled, 6)
}

#[test]
fn what_was_spilled_survives_a_crash_at_any_operation_with_any_loss() {
    let dry = SimDisk::new();
    spill_with_fault(&dry);
    let operations = dry.operations();
    assert!(operations > 10, "{operations}");
    for at in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter] {
            for loss in Loss::ALL {
                let disk = SimDisk::new();
                disk.plan(at, fault);
                let (spilled, taken) = spill_with_fault(&disk);
                let (after, store) = (disk.after_crash(loss), Store::new());
                let writer = writer(&after, &store, small());
                assert_eq!(writer.stop(FOREVER), Stopped::default());
                let delivered = store.ids();
                let what = format!("{fault:?} at {at}, {loss:?}: {delivered:?}");
                // What is promised to be on disk is the oldest; the rest was in memory only.
                let promised = ids(0..u32::try_from(spilled).unwrap());
                assert!(promised.iter().all(|id| delivered.contains(id)), "{what}");
                assert!(delivered.iter().all(|id| ids(0..taken).contains(id)), "{what}");
                assert!(names(&after, OVERFLOW).is_empty(), "{what}");
            }
        }
    }
}

#[test]
fn a_crash_while_the_spill_is_drained_repeats_pairs_and_loses_none() {
    let prepared = || {
        let disk = SimDisk::new();
        leave(
            &disk,
            &format!("{OWNER}-00000001-5.jsonl"),
            &(0..5).map(line).collect::<String>(),
        );
        leave(
            &disk,
            &format!("{OWNER}-00000002-3.jsonl"),
            &format!("{}bad\n{}", line(5), line(6)),
        );
        disk.all_synced()
    };
    let drain = |disk: &SimDisk| {
        let store = Store::new();
        writer(disk, &store, small()).stop(FOREVER);
        store.ids()
    };
    let dry = prepared();
    let before = dry.operations();
    drain(&dry);
    for at in 0..dry.operations() - before {
        for fault in [
            Fault::CrashBefore,
            Fault::CrashInside,
            Fault::CrashAfter,
            Fault::Eio,
            Fault::Full,
        ] {
            for loss in Loss::ALL {
                let disk = prepared();
                disk.plan(at, fault);
                let mut delivered: BTreeSet<_> = drain(&disk).into_iter().collect();
                let after = disk.after_crash(loss);
                delivered.extend(drain(&after));
                let what = format!("{fault:?} at {at}, {loss:?}");
                assert_eq!(delivered, ids(0..7).into_iter().collect(), "{what}");
                assert!(names(&after, OVERFLOW).is_empty(), "{what}");
                let bad: Vec<_> = names(&after, QUARANTINE)
                    .into_iter()
                    .filter(|name| ends_with(name, "bad"))
                    .collect();
                assert_eq!(bad.len(), 1, "{what}");
                assert_eq!(content(&after, Path::new(QUARANTINE).join(&bad[0])), "bad\n", "{what}");
            }
        }
    }
}

#[test]
fn an_eio_at_any_operation_of_a_living_writer_loses_nothing() {
    let run = |disk: &SimDisk| {
        let store = Store::shut();
        let writer = writer(disk, &store, small());
        enqueue(&writer, 0..8);
        wait_for("the spill", || (!spill(disk).is_empty()).then_some(()));
        store.open();
        let left = writer.flush(FOREVER);
        writer.stop(FOREVER);
        (store.ids(), left)
    };
    let dry = SimDisk::new();
    run(&dry);
    for at in 0..dry.operations() {
        let disk = SimDisk::new();
        disk.plan(at, Fault::Eio);
        let (mut delivered, left) = run(&disk);
        if delivered.len() > 8 || left > 0 {
            delivered.dedup();
        }
        assert_eq!(delivered, ids(0..8), "EIO at {at}");
    }
}

#[test]
fn several_processes_write_deliveries_into_one_home() {
    let temp = tempfile::tempdir().unwrap();
    let open = || -> Arc<dyn Disk> { Arc::new(OsDisk::create(temp.path()).unwrap()) };
    std::thread::scope(|scope| {
        for reader in 0..4 {
            scope.spawn(move || {
                let noted = Deliveries::open(open()).unwrap();
                for first in 0..50 {
                    noted.note(&deliveries::Delivery {
                        first: format!("{first:026}"),
                        last: format!("{first:026}"),
                        records: 1,
                        reader: reader.to_string(),
                        at: "2026-01-02T03:04:05Z".parse().unwrap(),
                    });
                }
                assert_eq!(noted.stop(FOREVER), Stopped::default());
            });
        }
    });
    let back = deliveries::read(&*open()).unwrap();
    assert_eq!((back.deliveries.len(), back.skipped), (200, 0));
    for reader in 0..4 {
        let own = back
            .deliveries
            .iter()
            .filter(|delivery| delivery.reader == reader.to_string());
        let firsts: Vec<u32> = own.map(|delivery| delivery.first.parse().unwrap()).collect();
        assert_eq!(firsts, (0..50).collect::<Vec<_>>());
    }
}
