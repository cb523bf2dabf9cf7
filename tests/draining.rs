//! Draining into what must be synced, and batches that are checked while others are handed out: what a failure leaves.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use pipeline::{Pipeline, TestClock, append, drained};
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::{HALVES_FROM_BYTES, UNSECURED_BATCHES_MAX};
use tailspool::queue::drain::{DrainOptions, DrainReport, Format, Output, Securing, drain};
use tempfile::TempDir;

/// Batches of one line each that wait.
struct Waiting {
    disk: SimDisk,
    lines: Vec<String>,
    _temp: TempDir,
}

impl Waiting {
    fn of(lines: Vec<String>) -> Self {
        let (temp, disk, clock) = (tempfile::tempdir().unwrap(), SimDisk::new(), TestClock::new());
        let top = temp.path().canonicalize().unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut pipeline = Pipeline::start(&shared, &top, &clock).unwrap();
        for line in &lines {
            append(&top.join("a.jsonl"), &format!("{line}\n"));
            pipeline.look().unwrap();
        }
        pipeline.capture.stop().unwrap();
        Self {
            disk,
            lines,
            _temp: temp,
        }
    }

    fn drain(&self, output: &mut dyn Output) -> DrainReport {
        let options = DrainOptions {
            format: Format::Raw,
            records_max: u64::MAX,
            peek: false,
        };
        drain(&self.disk, options, output, &mut ()).unwrap()
    }

    /// Drains what is left into something that takes all of it.
    fn rest(&self) -> Vec<String> {
        let rest = drained(&self.disk).lines().map(str::to_owned).collect();
        assert!(
            self.disk.list(Path::new("pending")).unwrap().is_empty(),
            "and no lock file stays"
        );
        rest
    }

    fn locks(&self) -> usize {
        let names = self.disk.list(Path::new("pending")).unwrap();
        names
            .iter()
            .filter(|name| name.to_string_lossy().ends_with(".lock"))
            .count()
    }
}

/// A file that may fail to be synced, or to be written.
#[derive(Default)]
struct Synced {
    bytes: Vec<u8>,
    /// What came before this sync was lost.
    sync_fails_at: Option<usize>,
    /// No byte more is taken.
    room: Option<usize>,
    syncs: Arc<AtomicUsize>,
    threads: Arc<Mutex<Vec<ThreadId>>>,
    /// It has no other thread do it.
    by_itself: bool,
}

impl Synced {
    fn job(&self) -> Securing {
        let (syncs, threads, fails_at) = (Arc::clone(&self.syncs), Arc::clone(&self.threads), self.sync_fails_at);
        Box::new(move || {
            threads.lock().unwrap().push(std::thread::current().id());
            if Some(syncs.fetch_add(1, Ordering::SeqCst)) == fails_at {
                return Err(io::Error::other("the disk lost it"));
            }
            Ok(())
        })
    }
}

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self
            .room
            .map_or(bytes.len(), |room| bytes.len().min(room - self.bytes.len()));
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Synced {
    fn writer(&mut self) -> &mut dyn Write {
        self
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn needs_securing(&self) -> bool {
        true
    }

    fn secure(&mut self) -> io::Result<()> {
        self.job()()
    }

    fn securing(&self) -> Option<Securing> {
        (!self.by_itself).then(|| self.job())
    }
}

fn short_lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("line {number}")).collect()
}

#[test]
fn batches_leave_the_queue_when_they_are_synced_and_none_after_a_sync_that_failed() {
    const GROUPS: usize = 3;
    for by_itself in [false, true] {
        for sync_fails_at in [None, Some(0), Some(1), Some(GROUPS)] {
            let waiting = Waiting::of(short_lines(GROUPS * UNSECURED_BATCHES_MAX + 5));
            let mut output = Synced {
                sync_fails_at,
                by_itself,
                ..Synced::default()
            };
            let report = waiting.drain(&mut output);
            let secured = sync_fails_at.map_or(waiting.lines.len(), |groups| groups * UNSECURED_BATCHES_MAX);
            let told = format!("by itself {by_itself}, fails at {sync_fails_at:?}");
            assert_eq!(report.records, secured as u64, "{told}");
            assert_eq!(report.broken, sync_fails_at.is_some(), "{told}");
            assert_eq!(waiting.rest(), waiting.lines[secured..], "{told}");
            let text = String::from_utf8(output.bytes).unwrap();
            let written: Vec<_> = text.lines().collect();
            assert!(written.len() >= secured, "{told}");
            assert_eq!(written, waiting.lines[..written.len()], "{told}: in order, each once");
            let syncs = output.syncs.load(Ordering::SeqCst);
            assert_eq!(
                syncs,
                sync_fails_at.map_or(GROUPS + 1, |at| at + 1),
                "{told}: none after that"
            );
            let here = std::thread::current().id();
            let threads = output.threads.lock().unwrap();
            assert!(threads.iter().all(|thread| (*thread == here) == by_itself), "{told}");
        }
    }
}

#[test]
fn large_batches_that_are_checked_ahead_come_in_order_and_stay_where_the_reader_took_no_more() {
    let length = usize::try_from(HALVES_FROM_BYTES).unwrap() + 10;
    let large = |number: usize| format!("{number}{}", "x".repeat(length));
    let mut lines: Vec<_> = (0..6).map(large).collect();
    // One that is not checked ahead comes behind those that are.
    lines.insert(4, "small".into());
    for whole in 0..=lines.len() {
        let waiting = Waiting::of(lines.clone());
        let taken: usize = lines[..whole].iter().map(|line| line.len() + 1).sum();
        let mut output = Synced {
            room: Some(taken + usize::from(whole < lines.len())),
            ..Synced::default()
        };
        let report = waiting.drain(&mut output);
        assert_eq!(report.records, whole as u64, "{:?}", report.failures);
        assert_eq!(report.failures.len(), usize::from(whole < lines.len()));
        let begun = lines.get(whole).map_or("", |line| &line[..1]);
        assert!(output.bytes == (lines[..whole].join("\n") + if whole > 0 { "\n" } else { "" } + begun).as_bytes());
        assert!(waiting.locks() <= 1, "that of the one that failed");
        assert!(waiting.rest() == lines[whole..], "from {whole} on");
    }
}

#[test]
fn a_damaged_batch_among_those_that_are_checked_ahead_is_set_aside_and_the_others_come() {
    let length = usize::try_from(HALVES_FROM_BYTES).unwrap() + 10;
    let lines: Vec<_> = (0..4).map(|number| format!("{number}{}", "x".repeat(length))).collect();
    let waiting = Waiting::of(lines.clone());
    let names = waiting.disk.list(Path::new("pending")).unwrap();
    let mut batches: Vec<_> = names
        .iter()
        .filter(|name| name.to_string_lossy().ends_with(".jsonl"))
        .collect();
    batches.sort();
    let path = Path::new("pending").join(batches[1]);
    let middle = HALVES_FROM_BYTES / 2;
    waiting
        .disk
        .open(&path, false)
        .unwrap()
        .write_at(b"\n", middle)
        .unwrap();
    let mut output = Synced::default();
    let report = waiting.drain(&mut output);
    assert_eq!((report.records, report.failures.len()), (3, 1));
    let text = String::from_utf8(output.bytes).unwrap();
    assert!(text.lines().eq([&lines[0], &lines[2], &lines[3]]));
    assert!(waiting.rest().is_empty());
}
