//! The writer: a process that appends to the files of a tree in turn, and then tells when.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

const FILES: usize = 500;
const DIRECTORIES: usize = 50;

/// Nanoseconds of the clock that all processes share.
pub(super) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap()
}

/// The directories of the tree.
pub(super) fn directories(tree: &Path) -> Vec<PathBuf> {
    (0..DIRECTORIES)
        .map(|number| tree.join(format!("{number:02}")))
        .collect()
}

fn file(tree: &Path, number: usize) -> PathBuf {
    let number = number % FILES;
    tree.join(format!("{:02}/{number:03}.jsonl", number % DIRECTORIES))
}

/// Makes the tree.
pub(super) fn make(tree: &Path) {
    for directory in directories(tree) {
        fs::create_dir_all(directory).unwrap();
    }
    for number in 0..FILES {
        fs::write(file(tree, number), "{}\n").unwrap();
    }
}

/// Starts the writer in a process of its own.
pub(super) fn start(tree: &Path, per_second: u64, count: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .arg("append")
        .arg(tree)
        .args([per_second.to_string(), count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Opens, writes and closes, so many times a second, and prints when each write began.
pub(super) fn run(tree: &Path, per_second: u64, count: usize) {
    let line = format!("{{\"text\":\"{}\"}}\n", "x".repeat(1000));
    let (step, begin) = (
        Duration::from_secs(1) / u32::try_from(per_second).unwrap(),
        Instant::now(),
    );
    let times = (0..count).map(|number| {
        let due = begin + step * u32::try_from(number).unwrap();
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut log = File::options().append(true).open(file(tree, number)).unwrap();
        let at = now();
        log.write_all(line.as_bytes()).unwrap();
        at
    });
    println!("{}", serde_json::to_string(&times.collect::<Vec<_>>()).unwrap());
}

/// What the writer told.
pub(super) fn told(writer: Child) -> Vec<u64> {
    serde_json::from_slice(&writer.wait_with_output().unwrap().stdout).unwrap()
}

/// Nanoseconds from each write until its file was named first.
pub(super) fn latencies(tree: &Path, written: &[u64], seen: &[(PathBuf, u64)]) -> Vec<u64> {
    let mut times: HashMap<&Path, Vec<u64>> = HashMap::new();
    for (path, at) in seen {
        times.entry(path).or_default().push(*at);
    }
    let latency = |(number, from): (usize, &u64)| {
        let times = &times[&*file(tree, number)];
        times[times.partition_point(|at| at < from)] - from
    };
    written.iter().enumerate().map(latency).collect()
}
