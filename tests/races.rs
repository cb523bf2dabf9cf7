//! Files that change between one of our reads and the next: truncated and grown again, rewritten, or
//! replaced, at every single read of a pass.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pipeline::{Meddled, Meddler, Pipeline, TestClock, drain_some};
use serde_json::Value;
use tailspool::capture::CaptureOptions;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::READ_BYTES;
use tailspool::queue::drain::Format;
use tailspool::source::tree::{Log, Stat};

/// What is done to the log, just before the read with this number.
struct Race {
    reads: AtomicUsize,
    at: usize,
    change: Box<dyn Fn() + Send + Sync>,
}

impl Race {
    fn step(&self) {
        if self.reads.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.change)();
        }
    }
}

impl Meddler for Race {
    fn open(&self, _: &Path) -> io::Result<()> {
        self.step();
        Ok(())
    }

    fn stat(&self, log: &dyn Log) -> io::Result<Stat> {
        self.step();
        log.stat()
    }

    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step();
        log.read_at(bytes, offset)
    }
}

/// The lines that a content completes, with their offsets.
fn lines_of(content: &str) -> BTreeSet<(u64, String)> {
    let mut offset = 0;
    let mut lines = BTreeSet::new();
    for line in content.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        lines.insert((offset, line.trim_end_matches('\n').to_owned()));
        offset += line.len() as u64;
    }
    lines
}

/// Captures `first`, then `second` in its place, and changes the file to `third` at the `at`-th read of that
/// pass. Returns how many reads there were.
fn race(first: &str, second: &str, third: &str, at: usize, replace: fn(&Path, &str)) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let path: PathBuf = top.join("s.jsonl");
    fs::write(&path, first).unwrap();
    let disk = SimDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let clock = TestClock::new();
    let start = |race: &Arc<Race>| {
        Pipeline::start_with(
            &shared,
            &top,
            &["."],
            &clock,
            Meddled::tree(race),
            CaptureOptions::default(),
        )
        .unwrap()
    };
    let race_at = |at: usize| {
        let (path, third) = (path.clone(), third.to_owned());
        Arc::new(Race {
            reads: AtomicUsize::new(0),
            at,
            change: Box::new(move || replace(&path, &third)),
        })
    };
    start(&race_at(usize::MAX)).look().unwrap();

    fs::write(&path, second).unwrap();
    let race = race_at(at);
    let mut pipeline = start(&race);
    pipeline.look().unwrap();
    let reads = race.reads.load(Ordering::SeqCst);
    pipeline.look().unwrap();
    pipeline.look().unwrap();
    drop(pipeline);

    let (text, report) = drain_some(&disk, Format::Envelope, u64::MAX, false);
    assert!(report.failures.is_empty());
    let mut captured = BTreeSet::new();
    let mut places = BTreeSet::new();
    for envelope in text.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
        let envelope: Value = serde_json::from_slice(envelope).unwrap();
        let source = &envelope["record"]["source"];
        let offset = source["offset"].as_u64().unwrap();
        captured.insert((offset, envelope["record"]["surface"].as_str().unwrap().to_owned()));
        let place = (source["file_id"].to_string(), source["epoch"].as_u64(), offset);
        assert!(places.insert(place), "at read {at}: captured twice");
    }
    let written: BTreeSet<_> = [first, second, third].into_iter().flat_map(lines_of).collect();
    for (offset, line) in &captured {
        assert!(
            written.contains(&(*offset, line.clone())),
            "at read {at}: {offset} {line:.40} never was a line"
        );
    }
    // A change that was planned for a read that never came did not happen.
    let last = lines_of(if at < race.reads.load(Ordering::SeqCst) {
        third
    } else {
        second
    });
    for (offset, line) in last {
        assert!(
            captured.contains(&(offset, line.clone())),
            "at read {at}: {offset} {line:.40} was not captured"
        );
    }
    reads
}

fn every_read(first: &str, second: &str, third: &str) {
    let in_place: fn(&Path, &str) = |path, text| fs::write(path, text).unwrap();
    let by_rename: fn(&Path, &str) = |path, text| {
        let other = path.with_extension("new");
        fs::write(&other, text).unwrap();
        fs::rename(other, path).unwrap();
    };
    for replace in [in_place, by_rename] {
        let reads = race(first, second, third, usize::MAX, replace);
        assert!(reads >= 4, "there is something to race with: {reads}");
        for at in 0..reads {
            race(first, second, third, at, replace);
        }
    }
}

fn numbered(letter: char, count: usize) -> String {
    let lines: Vec<String> = (0..count)
        .map(|number| format!("{{\"{letter}\":{number}}}\n"))
        .collect();
    lines.concat()
}

#[test]
fn a_file_that_shrinks_under_the_reading_gives_no_line_that_never_was() {
    let first = numbered('a', 3);
    every_read(&first, &(first.clone() + &numbered('b', 5)), &numbered('c', 1));
}

#[test]
fn a_file_that_is_cut_and_grows_past_the_offset_gives_no_line_that_never_was() {
    let first = numbered('a', 3);
    every_read(&first, &(first.clone() + &numbered('b', 5)), &numbered('d', 40));
    every_read(&first, &(first.clone() + &numbered('b', 500)), &numbered('d', 4000));
}

#[test]
fn a_file_that_is_rewritten_while_it_is_new_gives_no_line_that_never_was() {
    every_read("", &numbered('b', 5), &numbered('e', 400));
    every_read("", &numbered('b', 400), &numbered('e', 5));
}

#[test]
fn a_long_line_that_is_cut_under_the_reading_gives_no_line_that_never_was() {
    let first = numbered('a', 2);
    let long = first.clone() + &"long ".repeat(READ_BYTES / 4) + "\n" + &numbered('b', 2);
    every_read(&first, &long, &numbered('c', 3));
    // Only the end differs: the guard must be of the bytes that were captured.
    let end = long.clone() + "tail\n";
    let tail = end.replace("long \n", "else \n");
    assert_eq!(end.len(), tail.len());
    every_read("", &end, &tail);
    let other = first.clone() + &"other".repeat(READ_BYTES / 4) + "\n" + &numbered('f', 1);
    every_read("", &long, &other);
}
