//! What each part of the way costs alone: criterion, on lines of the corpus.
//!
//! `cargo bench --bench parts`, with the name of a part to measure that one only. The disk is that of the build directory.

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

#[allow(dead_code, reason = "the benches make a corpus and check none")]
#[path = "corpus/mod.rs"]
mod corpus;

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use jiff::Timestamp;
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::SystemClock;
use tailspool::disk::{Disk, OsDisk};
use tailspool::pure::identity::Identity;
use tailspool::pure::lines::lines;
use tailspool::pure::record::{Ending, Envelopes, LogFile, push_escaped};
use tailspool::pure::role::judge;
use tailspool::pure::ulids::{Ulids, system_random};
use tailspool::queue::drain::{DrainOptions, Format, Output, drain};
use tailspool::source::{Block, EventSink, First, Transition};
use tailspool::start::start;
use tempfile::TempDir;
use ulid::Ulid;

/// Of lines in memory: as much as a batch holds.
const BYTES: usize = 4 << 20;
const LINE_BYTES_MAX: usize = 256 << 10;
/// Batches that wait when a home is started.
const WAITING: [u64; 3] = [10, 100, 1000];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let text = sample();
    in_memory(&mut criterion, &text);
    on_disk(&mut criterion, &text);
    recovery(&mut criterion);
    criterion.final_summary();
}

/// Whole lines of many logs of the corpus; without the few that would be half of it.
fn sample() -> Vec<u8> {
    let temp = tempfile::tempdir().unwrap();
    let out = temp.path().join("logs");
    let manifest = corpus::make::make(&out, 32, 1).unwrap();
    let mut text = Vec::with_capacity(BYTES);
    for entry in manifest
        .entries
        .iter()
        .filter(|entry| entry.captured && entry.dirt.is_none())
    {
        let bytes = fs::read(out.join(&entry.path)).unwrap();
        for line in bytes.split_inclusive(|byte| *byte == b'\n').take(200) {
            if line.len() <= LINE_BYTES_MAX && text.len() + line.len() <= BYTES {
                text.extend_from_slice(line);
            }
        }
    }
    assert!(text.len() > BYTES * 9 / 10, "the corpus is large enough");
    text
}

fn size(text: &[u8]) -> Throughput {
    Throughput::Bytes(text.len() as u64)
}

fn in_memory(criterion: &mut Criterion, text: &[u8]) {
    let mut group = criterion.benchmark_group("memory");
    group.throughput(size(text));
    let strings = || lines(text, 0, Some(1)).map(|line| str::from_utf8(line.bytes).unwrap());
    group.bench_function("line splitting", |bencher| {
        bencher.iter(|| {
            lines(black_box(text), 0, Some(1))
                .map(|line| line.bytes.len())
                .sum::<usize>()
        });
    });
    group.bench_function("UTF-8", |bencher| {
        bencher.iter(|| strings().map(str::len).sum::<usize>());
    });
    group.bench_function("JSON and role", |bencher| {
        bencher.iter(|| strings().filter(|line| judge(line).0).count());
    });
    let mut out = Vec::with_capacity(2 * BYTES);
    group.bench_function("escaping", |bencher| {
        bencher.iter(|| {
            out.clear();
            strings().for_each(|line| push_escaped(&mut out, line));
            out.len()
        });
    });
    let envelopes = Envelopes::of(&log_file(Ulid::new()));
    let mut ulids = Ulids::above(Ulid::nil(), system_random());
    group.bench_function("envelopes, all of it", |bencher| {
        bencher.iter(|| {
            out.clear();
            for line in lines(text, 0, Some(1)) {
                envelopes.push(
                    &mut out,
                    ulids.following(),
                    "2026-01-01T00:00:00.000000+00:00",
                    &line,
                    Ending::NEWLINE,
                );
            }
            out.len()
        });
    });
    group.bench_function("hashing a run", |bencher| {
        bencher.iter(|| blake3::hash(black_box(text)));
    });
    group.finish();
}

fn log_file(file_id: Ulid) -> LogFile {
    LogFile {
        file_id,
        epoch: 0,
        path: Path::new(&format!(
            "/home/dev/.claude/projects/-home-dev-src-part/{file_id}.jsonl"
        ))
        .into(),
        identity: Identity {
            device: 1,
            inode: 7,
            btime: None,
        },
        agent: Some("claude".into()),
    }
}

/// A home on the disk, and what captures into it.
struct Home {
    directory: TempDir,
    disk: Arc<dyn Disk>,
    capture: Capture,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(directory.path()).unwrap());
        let clock = Arc::new(SystemClock);
        let capture = Capture::open(Arc::clone(&disk), clock, system_random(), CaptureOptions::default()).unwrap();
        Self {
            directory,
            disk,
            capture,
        }
    }

    /// Takes all of a new log, and commits it.
    fn commit(&mut self, text: &[u8]) {
        let file = Arc::new(log_file(Ulid::new()));
        let mtime = Timestamp::UNIX_EPOCH;
        let new = Transition::New {
            mtime,
            continues: None,
            skipped: None,
        };
        self.capture.transition(&file, &new).unwrap();
        let block = Block {
            file: &file,
            bytes: text,
            lead: 0,
            offset: 0,
            number: Some(1),
            evidence: None,
            first: First::Fresh,
            head: None,
            mtime,
        };
        assert_eq!(self.capture.lines(&block).unwrap(), text.len());
        self.capture.commit().unwrap();
    }

    fn clear(&self) {
        for entry in fs::read_dir(self.directory.path().join("pending")).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

fn on_disk(criterion: &mut Criterion, text: &[u8]) {
    let mut group = criterion.benchmark_group("disk");
    group.throughput(size(text)).sample_size(20);
    let mut home = Home::new();
    group.bench_function("commit of a batch", |bencher| {
        bencher.iter_custom(|rounds| {
            (0..rounds)
                .map(|_| {
                    let begin = Instant::now();
                    home.commit(text);
                    let took = begin.elapsed();
                    home.clear();
                    took
                })
                .sum()
        });
    });
    for (name, format) in [
        ("drain of a batch, raw", Format::Raw),
        ("drain of a batch, envelopes", Format::Envelope),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| drained(&mut home, text, format)).sum());
        });
    }
    group.finish();
}

/// A file that is synced before a batch counts as delivered.
struct Into(File);

impl Output for Into {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn drained(home: &mut Home, text: &[u8], format: Format) -> Duration {
    home.commit(text);
    let out = File::create(home.directory.path().join("out")).unwrap();
    let options = DrainOptions {
        format,
        records_max: u64::MAX,
        peek: false,
    };
    let begin = Instant::now();
    let report = drain(&*home.disk, options, &mut Into(out), &mut ()).unwrap();
    let took = begin.elapsed();
    assert_eq!(report.records, lines(text, 0, None).count() as u64);
    took
}

fn recovery(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recovery");
    group.sample_size(20);
    for waiting in WAITING {
        // A home is made only if it is wanted; the first round finds it as a crash has left it.
        let mut made = None;
        group.bench_with_input(
            BenchmarkId::new("batches that wait", waiting),
            &waiting,
            |bencher, &waiting| {
                let (_directory, disk) = made.get_or_insert_with(|| crashed(waiting));
                bencher.iter(|| start(disk, Timestamp::now()).unwrap().behind_bytes);
            },
        );
    }
    group.finish();
}

/// A home in which so many batches of one line wait, after a crash.
fn crashed(waiting: u64) -> (TempDir, Arc<dyn Disk>) {
    let mut home = Home::new();
    for number in 0..waiting {
        home.commit(format!("{{\"type\":\"user\",\"number\":{number}}}\n").as_bytes());
    }
    let Home {
        directory,
        disk,
        capture,
    } = home;
    drop(capture);
    (directory, disk)
}
