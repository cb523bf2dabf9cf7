//! How long `ProvenanceWriter::enqueue` takes in front of a store that needs 200 ms a call.
//!
//! Prints one JSON object a row: nanoseconds of each of 10,000 calls, how many spill files were made while they were
//! measured, and how many calls were refused. Then waits until the store has all pairs, once and in order, or panics.
//! The home is a temporary directory below the first argument, or below the current directory.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::panic,
    reason = "a bench that cannot go on has failed"
)]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use tailspool::disk::OsDisk;
use tailspool::home::OVERFLOW;
use tailspool::provenance::{Options, Pair, ProvenanceStore, ProvenanceWriter, StoreError};

const CALLS: usize = 10_000;
const STORE: Duration = Duration::from_millis(200);

/// Takes 200 ms a call while it is measured, and then no time.
#[derive(Default)]
struct Slow {
    ids: Mutex<Vec<String>>,
    calls: AtomicUsize,
    is_quick: std::sync::atomic::AtomicBool,
}

impl ProvenanceStore for Slow {
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        if !self.is_quick.load(Ordering::Relaxed) {
            std::thread::sleep(STORE);
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        let ids = pairs.iter().map(|pair| pair.id().to_owned());
        self.ids.lock().unwrap().extend(ids);
        Ok(())
    }
}

fn pair(number: usize) -> Pair {
    let entry = json!({
        "ts": "2026-11-21T00:00:00Z",
        "cue": format!("session 3f6c turn {number}"),
        "session_id": "3f6c0d3e-5b0e-4b52-9a39-0c8f7e1f2a11",
        "role": "assistant",
    });
    Pair::of(format!("{number:026}"), &entry).unwrap()
}

/// Spill files that were ever begun: the highest number in a name.
fn spill_files(home: &Path) -> usize {
    let names = std::fs::read_dir(home.join(OVERFLOW)).into_iter().flatten().flatten();
    let numbers = names.filter_map(|entry| entry.file_name().to_str()?.split('-').nth(1)?.parse().ok());
    numbers.max().unwrap_or(0)
}

fn row(what: &str, below: &Path, pause: Duration, options: Options) {
    let home = tempfile::tempdir_in(below).unwrap();
    let disk = Arc::new(OsDisk::create(home.path()).unwrap());
    let store = Arc::new(Slow::default());
    let writer = ProvenanceWriter::spawn(disk, store.clone(), options).unwrap();
    let pairs: Vec<Pair> = (0..CALLS).map(pair).collect();
    let (mut nanoseconds, mut refused) = (Vec::with_capacity(CALLS), 0);
    for pair in pairs {
        let mut batch = vec![pair];
        loop {
            let begin = Instant::now();
            let taken = writer.enqueue(batch);
            nanoseconds.push(u64::try_from(begin.elapsed().as_nanos()).unwrap());
            match taken {
                Ok(()) => break,
                Err(error) => batch = error.pairs,
            }
            refused += 1;
            std::thread::sleep(Duration::from_millis(1));
        }
        if !pause.is_zero() {
            std::thread::sleep(pause);
        }
    }
    let files = spill_files(home.path());
    let calls = store.calls.load(Ordering::Relaxed);
    store.is_quick.store(true, Ordering::Relaxed);
    assert_eq!(writer.flush(Duration::from_secs(60)), 0, "all of it comes to the store");
    let ids = store.ids.lock().unwrap();
    let in_order = ids
        .iter()
        .enumerate()
        .all(|(number, id)| *id == format!("{number:026}"));
    assert!(ids.len() == CALLS && in_order, "once and in order");
    println!(
        "{}",
        json!({"what": what, "nanoseconds": nanoseconds, "spill_files": files, "store_calls": calls, "refused": refused})
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let below = PathBuf::from(arguments.next().unwrap_or_else(|| ".".into()));
    let default = Options::default();
    let spilling = Options {
        batches_max: 64,
        ..default
    };
    row("one after the other", &below, Duration::ZERO, default);
    row("0.1 ms apart", &below, Duration::from_micros(100), default);
    row(
        "0.1 ms apart, 64 batches in memory",
        &below,
        Duration::from_micros(100),
        spilling,
    );
}
