//! `kill -9` of the real command in the middle of its work, many times, and an exact comparison of what came
//! out of the queue with what was written.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]
#![allow(clippy::print_stdout, reason = "what is printed is needed when it fails")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;
use support::{Listener, Running, Sandbox, append, record, wait_closely, wait_for};

/// How often a watcher is killed.
const ROUNDS: u32 = 25;

/// Logs that are written.
const FILES: u64 = 6;

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    /// From `TAILSPOOL_TEST_SEED`, or another one each time; it is printed.
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let given = std::env::var("TAILSPOOL_TEST_SEED").ok();
        let seed = given.map_or(u64::from(now.subsec_nanos()), |seed| seed.parse().unwrap());
        println!("TAILSPOOL_TEST_SEED={seed}");
        Self(seed)
    }

    /// One of `0..sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % sides
    }
}

/// Writes logs and remembers nothing: what is right can be read from them afterwards.
struct Writer {
    number: u64,
    dice: Dice,
}

impl Writer {
    fn path(sandbox: &Sandbox, file: u64) -> std::path::PathBuf {
        sandbox.log(format!("session-{file}.jsonl"))
    }

    /// A line, most of them short, each of them different.
    fn line(&mut self) -> Vec<u8> {
        self.number += 1;
        let mut line = match self.dice.roll(60) {
            0 => Vec::new(),
            1 => [&b"\xff\xfe "[..], self.number.to_string().as_bytes()].concat(),
            2 => format!("torn {} {{\"role\":", self.number).into_bytes(),
            _ => format!(r#"{{"type":"user","n":{}}}"#, self.number).into_bytes(),
        };
        line.push(b'\n');
        line
    }

    /// Appends many lines to each file, and to some the beginning of one more, which the next call ends.
    fn backlog(&mut self, sandbox: &Sandbox, lines: u64) {
        for file in 0..FILES {
            let mut bytes = Vec::new();
            for _ in 0..lines {
                bytes.extend(self.line());
            }
            if self.dice.roll(8) == 0 {
                self.number += 1;
                bytes.extend(format!("long {} ", self.number).repeat(100_000).into_bytes());
                bytes.push(b'\n');
            }
            if self.dice.roll(3) == 0 {
                bytes.extend_from_slice(b"unfinished \xf0\x9f\x98");
            }
            append(Self::path(sandbox, file), bytes);
        }
    }

    /// Appends line by line, in pieces, until it is told to stop or has written enough.
    fn trickle(&mut self, sandbox: &Sandbox, stop: &AtomicBool) {
        for _ in 0..10_000 {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let file = self.dice.roll(FILES);
            let line = self.line();
            let cut = usize::try_from(self.dice.roll(line.len() as u64)).unwrap();
            append(Self::path(sandbox, file), &line[..cut]);
            append(Self::path(sandbox, file), &line[cut..]);
            std::thread::yield_now();
        }
    }
}

/// When a watcher is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as it holds the home.
    Begun,
    /// When this many more batches are visible.
    Batches(usize),
    /// When the ledger has grown by this many bytes.
    Ledger(u64),
    /// When a batch is being written, or waits for its commit or for its name.
    Temporary,
    /// When it ends after SIGTERM: at its snapshot, if that can be seen, or not at all.
    Ending,
}

impl Moment {
    fn choose(dice: &mut Dice) -> Self {
        match dice.roll(10) {
            0 => Self::Begun,
            1..4 => Self::Batches(1 + usize::try_from(dice.roll(3)).unwrap()),
            4..6 => Self::Ledger(1 + dice.roll(2000)),
            6..9 => Self::Temporary,
            _ => Self::Ending,
        }
    }

    /// Waits for it, or until the watcher has nothing left to do.
    fn wait(self, sandbox: &Sandbox, watcher: &mut Running, before: &Progress) {
        let tmp = |directory: &str| !sandbox.paths_with(directory, "tmp").is_empty();
        let mut until = |come: &mut dyn FnMut() -> bool| {
            wait_closely(&format!("{self:?}"), Duration::from_micros(100), || {
                (come() || watcher.stderr().contains("caught up") || !watcher.runs()).then_some(())
            });
        };
        match self {
            Self::Begun => until(&mut || fs::read(sandbox.home("lock")).is_ok_and(|text| !text.is_empty())),
            Self::Batches(more) => until(&mut || Progress::of(sandbox).batches >= before.batches + more),
            Self::Ledger(more) => until(&mut || Progress::of(sandbox).ledger >= before.ledger + more),
            Self::Temporary => until(&mut || tmp("pending")),
            Self::Ending => {
                until(&mut || Progress::of(sandbox).batches > before.batches);
                watcher.signal(Signal::TERM);
                wait_closely("the snapshot", Duration::from_micros(100), || {
                    (tmp("") || !watcher.runs()).then_some(())
                });
            }
        }
    }
}

/// How far a home is.
#[derive(Debug)]
struct Progress {
    batches: usize,
    ledger: u64,
}

impl Progress {
    fn of(sandbox: &Sandbox) -> Self {
        let segment = sandbox.home("provenance/provenance-000001.jsonl");
        Self {
            batches: sandbox.batches().len(),
            ledger: segment.metadata().map_or(0, |meta| meta.len()),
        }
    }
}

/// What the drains handed out, by ULID.
#[derive(Default)]
struct Delivered {
    records: BTreeMap<String, support::Record>,
    repeated: usize,
}

impl Delivered {
    /// Takes the output of a drain. What was handed out before may come again only when a drain was killed,
    /// and then it must be the same.
    fn take(&mut self, output: &[u8], may_repeat: bool) {
        let whole = output.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in output[..whole]
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let envelope: Value = serde_json::from_slice(line).unwrap();
            let ulid = envelope["ulid"].as_str().unwrap().to_owned();
            let found = record(&envelope);
            if let Some(before) = self.records.get(&ulid) {
                assert!(*before == found, "{ulid} was handed out twice, with different content");
                assert!(may_repeat, "{ulid} was handed out twice, and no drain was killed");
                self.repeated += 1;
            }
            self.records.insert(ulid, found);
        }
    }
}

/// How many bytes were committed, by the ledger.
fn committed_bytes(sandbox: &Sandbox) -> u64 {
    #[derive(Deserialize)]
    struct Line {
        kind: String,
        #[serde(default)]
        from: u64,
        #[serde(default)]
        to: u64,
    }
    let (mut sealed, mut open) = (0, 0);
    let text = fs::read(sandbox.home("provenance/provenance-000001.jsonl")).unwrap_or_default();
    for line in text.split(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Line>(line) {
            Ok(line) if line.kind == "captured" => open += line.to - line.from,
            Ok(line) if line.kind == "commit" => sealed += std::mem::take(&mut open),
            _ => {}
        }
    }
    sealed
}

/// How many bytes of finished lines the logs hold.
fn finished_bytes(sandbox: &Sandbox) -> u64 {
    let finished = (0..FILES).map(|file| {
        let bytes = fs::read(Writer::path(sandbox, file)).unwrap_or_default();
        bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) as u64
    });
    finished.sum()
}

/// Compares what was handed out with what stands in the logs: per file in order, none twice, none missing,
/// none altered.
fn compare(sandbox: &Sandbox, delivered: &Delivered) {
    let mut sessions: BTreeMap<&str, Vec<&support::Record>> = BTreeMap::new();
    // In the order of the ULIDs.
    for record in delivered.records.values() {
        sessions.entry(&record.0).or_default().push(record);
    }
    for file in 0..FILES {
        let session = format!("session-{file}");
        let bytes = fs::read(Writer::path(sandbox, file)).unwrap();
        let mut records = sessions.remove(session.as_str()).unwrap_or_default().into_iter();
        let (mut offset, mut number) = (0, 0);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            number += 1;
            let Some(line) = line.strip_suffix(b"\n") else { break };
            if !line.is_empty() {
                let wanted = (session.clone(), 0, offset, number, line);
                let found = records
                    .next()
                    .unwrap_or_else(|| panic!("{session}: line {number} is missing"));
                let place = (found.0.clone(), found.1, found.2, found.3);
                assert_eq!(
                    place,
                    (wanted.0, wanted.1, wanted.2, wanted.3),
                    "missing, doubled or out of order"
                );
                assert!(found.4 == line, "{session}: line {number} was altered");
            }
            offset += line.len() as u64 + 1;
        }
        assert_eq!(records.next(), None, "{session}: more than was written");
    }
    assert!(sessions.is_empty(), "{:?}", sessions.keys());
}

#[test]
fn killed_at_any_moment_each_line_is_captured_exactly_once() {
    let sandbox = Sandbox::new();
    let mut dice = Dice::new();
    let mut writer = Writer {
        number: 0,
        dice: Dice(dice.roll(u64::MAX)),
    };
    let mut delivered = Delivered::default();
    let (mut drains_killed, mut in_the_middle) = (false, 0);
    writer.backlog(&sandbox, 8000);
    for round in 0..ROUNDS {
        writer.backlog(&sandbox, 100 + dice.roll(600));
        let moment = Moment::choose(&mut dice);
        let before = Progress::of(&sandbox);
        let _ = fs::write(sandbox.home("lock"), "");
        let mut watcher =
            Running::start(sandbox.command(&["watch", "--interval", "100ms", "--commit-interval", "1ms", "user/logs"]));
        let stop = AtomicBool::new(false);
        let meanwhile = dice.roll(3) == 0;
        let killed = std::thread::scope(|threads| {
            if meanwhile {
                threads.spawn(|| writer.trickle(&sandbox, &stop));
            }
            moment.wait(&sandbox, &mut watcher, &before);
            let killed = watcher.kill();
            stop.store(true, Ordering::Relaxed);
            killed
        });
        assert!(
            killed || matches!(moment, Moment::Ending),
            "round {round}: it ended by itself: {}",
            watcher.stderr()
        );
        let left = finished_bytes(&sandbox) - committed_bytes(&sandbox);
        if killed && left > 0 && !watcher.stderr().contains("caught up") {
            in_the_middle += 1;
        }
        println!(
            "round {round}: {moment:?}, killed: {killed}, {left} bytes left, {:?}",
            Progress::of(&sandbox)
        );
        match dice.roll(5) {
            0 => {
                let drained = sandbox.run(&["drain"]).exits(0).no_error();
                delivered.take(&drained.stdout, drains_killed);
                assert!(sandbox.batches().is_empty());
            }
            1 => {
                let max = (1 + dice.roll(10_000)).to_string();
                let drained = sandbox.run(&["drain", "--max", &max]).exits(0).no_error();
                delivered.take(&drained.stdout, drains_killed);
            }
            2 => {
                drains_killed = true;
                let enough = usize::try_from(dice.roll(500_000)).unwrap();
                delivered.take(&killed_drain(&sandbox, enough), true);
            }
            _ => {}
        }
    }
    for file in 0..FILES {
        append(Writer::path(&sandbox, file), "\n");
    }
    sandbox.once(&[]).exits(0).no_error();
    let drained = sandbox.run(&["drain"]).exits(0).no_error();
    delivered.take(&drained.stdout, drains_killed);
    assert_eq!(sandbox.names("pending"), [""; 0]);
    println!(
        "{} records, {} handed out again, {in_the_middle} of {ROUNDS} kills in the middle",
        delivered.records.len(),
        delivered.repeated
    );
    compare(&sandbox, &delivered);
    assert_eq!(sandbox.status()["captured_lines"], delivered.records.len());
    assert!(
        in_the_middle >= ROUNDS / 5,
        "only {in_the_middle} kills landed in the middle"
    );
}

/// Kills a drain after it has printed about so much; returns all that came out of it.
fn killed_drain(sandbox: &Sandbox, enough: usize) -> Vec<u8> {
    let mut child = sandbox.command(&["drain"]).spawn().unwrap();
    let listener = Listener::to(child.stdout.take().unwrap());
    wait_for("some output of a drain", || {
        let ended = child.try_wait().unwrap().is_some();
        (ended || listener.so_far().len() >= enough).then_some(())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    listener.all()
}
