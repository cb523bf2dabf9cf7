//! How fast the capture queue takes records, in one home that is given: prints a line of JSON with all times in
//! seconds. `benches/queue.sh` calls it.
//!
//! Usage: `queue_speed HOME ROUNDS DEPTH…`

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use tailspool::queue::{CaptureQueue, QueueOptions};

const BATCH: usize = 1000;
/// Single appends that are timed at each depth.
const SINGLES: usize = 200;
/// Threads that append at once.
const THREADS: [usize; 2] = [1, 50];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn record(n: usize) -> Value {
    json!({
        "surface": format!("{{\"type\":\"assistant\",\"n\":{n},\"text\":\"{}\"}}", "some words ".repeat(60)),
        "cue": "", "tier": "episodic", "session_id": "bench", "role": "assistant",
    })
}

/// Seconds of each call, and of all.
fn timed(count: usize, mut call: impl FnMut(usize) -> Outcome<()>) -> Outcome<Vec<f64>> {
    let timed = (0..count).map(|n| {
        let begin = Instant::now();
        call(n).map(|()| begin.elapsed().as_secs_f64())
    });
    timed.collect()
}

/// The least that makes bytes durable under a name: write, sync, rename, sync the directory.
fn put(directory: &Path, name: &str, bytes: &[u8]) -> Outcome<()> {
    put_as(directory, "temporary", name, bytes)
}

fn put_as(directory: &Path, temporary: &str, name: &str, bytes: &[u8]) -> Outcome<()> {
    let temporary = directory.join(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(temporary, directory.join(name))?;
    Ok(File::open(directory)?.sync_all()?)
}

/// Appends until so many records are pending; batches do not count by files, so these are singles without a sync.
fn fill(pending: &Path, depth: usize) -> Outcome<()> {
    let there = fs::read_dir(pending)?.count();
    for n in there..depth {
        let ulid = format!("0000000000{n:016}");
        let text = format!(
            "{{\"ulid\":\"{ulid}\",\"appended_at\":\"2026-01-01T00:00:00.000000+00:00\",\"record\":{},\"schema_version\":1}}",
            record(n)
        );
        fs::write(pending.join(format!("pending-{ulid}.json")), text)?;
    }
    Ok(())
}

/// Seconds that this many threads take for [`SINGLES`] calls each.
fn together(threads: usize, call: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<f64> {
    let begin = Instant::now();
    std::thread::scope(|scope| {
        let work = |thread| {
            let call = &call;
            move || (0..SINGLES).try_for_each(|n| call(thread * SINGLES + n).map_err(|error| error.to_string()))
        };
        let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(work(thread))).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Records a second, of the queue and of the bare calls, five times in turns.
fn in_turns(threads: usize, home: &Path, beside: &Path) -> Outcome<Value> {
    let single = record(0);
    let line = single.to_string();
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let calls = f64::from(u32::try_from(threads * SINGLES)?);
    for _ in 0..5 {
        let queue = CaptureQueue::open(home, QueueOptions::default())?;
        ours.push(calls / together(threads, |_| Ok(queue.append(&single).map(drop)?))?);
        let put = |n: usize| put_as(beside, &format!("t{n}.tmp"), &format!("t{n}"), line.as_bytes());
        bare.push(calls / together(threads, put)?);
    }
    Ok(json!({"append": ours, "bare": bare}))
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, home, rounds, depths @ ..] = &arguments[..] else {
        return Err("usage: queue_speed HOME ROUNDS DEPTH…".into());
    };
    let (home, rounds) = (Path::new(home), rounds.parse()?);
    let queue = CaptureQueue::open(home, QueueOptions::default())?;
    let pending = home.join("pending");
    let records: Vec<Value> = (0..BATCH).map(record).collect();
    let bytes = records
        .iter()
        .map(|record| record.to_string().len() + 120)
        .sum::<usize>();
    let beside = home.join("beside");
    fs::create_dir_all(&beside)?;

    // In turns, so that what else goes on hits both.
    let (mut batches, mut bare) = (Vec::new(), Vec::new());
    let filler = vec![b'x'; bytes];
    for _ in 0..rounds {
        batches.extend(timed(1, |_| Ok(queue.append_batch(&records).map(drop)?))?);
        bare.extend(timed(1, |n| put(&beside, &format!("{n}"), &filler))?);
    }
    let report = queue.ingest_pending(|_| Ok(()))?;
    assert_eq!(report.records, (BATCH * rounds) as u64, "everything came back");

    let mut singles = serde_json::Map::new();
    for depth in depths {
        fill(&pending, depth.parse()?)?;
        // Not measured: writing out what was filled in.
        Command::new("sync").status()?;
        // A queue with a limit counts what is pending.
        let mut options = QueueOptions::default();
        options.limits.records_max = Some(u64::MAX);
        let queue = CaptureQueue::open(home, options)?;
        let single = record(0);
        let line = single.to_string();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for n in 0..SINGLES {
            ours.extend(timed(1, |_| Ok(queue.append(&single).map(drop)?))?);
            bare.extend(timed(1, |_| put(&beside, &format!("s{n}"), line.as_bytes()))?);
        }
        singles.insert(depth.clone(), json!({"append": ours, "bare": bare}));
    }
    let mut together = serde_json::Map::new();
    for threads in THREADS {
        together.insert(threads.to_string(), json!(in_turns(threads, home, &beside)?));
    }
    println!(
        "{}",
        json!({"threads": together, "bytes": bytes, "append_batch": batches, "bare_batch": bare, "singles": singles})
    );
    Ok(())
}
