//! `kill -9` of the real command at every system call with which it writes, syncs, renames, removes, opens or locks:
//! started again, it comes to the same queue as one that nobody killed. Linux with strace only; skipped elsewhere.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]
#![allow(clippy::print_stdout, reason = "it tells how much was tried")]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::Value;
use support::{Sandbox, append};

/// Those that change something, or that a decision hangs on.
const CALLS: [&str; 9] = [
    "write,pwrite64",
    "fsync,fdatasync",
    "rename,renameat,renameat2",
    "unlink,unlinkat",
    "openat",
    "openat2",
    "mkdir,mkdirat",
    "flock",
    "close",
];

const FILES: usize = 20;

fn path(sandbox: &Sandbox, file: usize) -> std::path::PathBuf {
    sandbox.log(format!("s{file:02}.jsonl"))
}

fn lines(file: usize, numbers: std::ops::Range<usize>) -> String {
    let lines = numbers.map(|n| format!("{{\"file\":{file},\"n\":{n}}}\n"));
    lines.collect::<Vec<_>>().concat()
}

fn before() -> Sandbox {
    let sandbox = Sandbox::new();
    for file in 0..FILES {
        append(path(&sandbox, file), lines(file, 0..40));
    }
    sandbox
}

/// A rotation, a truncation, a deletion, and more lines: 1,000 in all.
fn change(sandbox: &Sandbox) {
    let rotated = path(sandbox, 3);
    fs::rename(&rotated, rotated.with_extension("jsonl.1")).unwrap();
    append(&rotated, lines(3, 100..120));
    let kept = lines(5, 0..10).len() as u64;
    let cut = fs::OpenOptions::new().write(true).open(path(sandbox, 5)).unwrap();
    cut.set_len(kept).unwrap();
    append(path(sandbox, 5), lines(5, 100..110));
    fs::remove_file(path(sandbox, 7)).unwrap();
    for file in (0..FILES).filter(|file| ![3, 5, 7].contains(file)) {
        append(path(sandbox, file), lines(file, 40..50));
    }
}

/// A record: epoch, offset, line.
type Record = (u64, u64, String);

/// What is in the queue, by log, in the order of the queue.
fn queue(sandbox: &Sandbox) -> BTreeMap<String, Vec<Record>> {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for envelope in sandbox.envelopes() {
        let (record, source) = (&envelope["record"], &envelope["record"]["source"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let place = source["epoch"].as_u64().zip(source["offset"].as_u64()).unwrap();
        let log = fs::canonicalize(sandbox.log("")).unwrap();
        let path = text(&source["path"]).replace(log.to_str().unwrap(), "");
        all.entry(path)
            .or_default()
            .push((place.0, place.1, text(&record["surface"])));
    }
    all
}

/// Captures everything, and is killed at the `n`-th of these calls. False when it never comes to that.
fn killed(sandbox: &Sandbox, calls: &str, n: usize) -> bool {
    let once = sandbox.command(&["watch", "--once", &sandbox.log("").display().to_string()]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    strace.args(["-e", &format!("inject={calls}:signal=KILL:when={n}")]);
    strace.arg(once.get_program()).args(once.get_args());
    for (name, value) in once.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    let output = strace.stdin(Stdio::null()).output().unwrap();
    !output.status.success()
}

fn has_strace() -> bool {
    let mut strace = Command::new("strace");
    strace.args([
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=rename:signal=KILL:when=1",
        "true",
    ]);
    strace.output().is_ok_and(|output| output.status.success())
}

/// One run that is killed in its first or in its second half.
fn run(second: bool, calls: &str, n: usize) -> (bool, Sandbox) {
    let sandbox = before();
    let mut died = false;
    if !second {
        died = killed(&sandbox, calls, n);
    }
    sandbox.once(&[]).exits(0);
    change(&sandbox);
    if second {
        died = killed(&sandbox, calls, n);
    }
    sandbox.once(&[]).exits(0);
    (died, sandbox)
}

#[test]
fn killed_at_any_system_call_and_started_again_it_comes_to_the_same_queue() {
    if !has_strace() {
        println!("skipped: strace cannot be used here");
        return;
    }
    let expected = {
        let sandbox = before();
        sandbox.once(&[]).exits(0);
        change(&sandbox);
        sandbox.once(&[]).exits(0);
        queue(&sandbox)
    };
    let written: usize = expected.values().map(Vec::len).sum();
    assert!(written >= 1_000, "{written}");
    let halves = [false, true]
        .into_iter()
        .flat_map(|second| CALLS.map(|calls| (second, calls)));
    let work = Mutex::new(halves);
    let tried = Mutex::new(BTreeMap::<&str, usize>::new());
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let attack = || {
        loop {
            let next = work.lock().unwrap().next();
            let Some((second, calls)) = next else { return };
            for n in 1.. {
                let (died, sandbox) = run(second, calls, n);
                assert!(
                    queue(&sandbox) == expected,
                    "killed at {calls} number {n}, second half: {second}"
                );
                if !died {
                    break;
                }
                *tried.lock().unwrap().entry(calls).or_default() += 1;
            }
        }
    };
    std::thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(attack))));
    let tried = tried.into_inner().unwrap();
    println!("killed at {tried:?}, {written} records each time");
    for calls in CALLS {
        assert!(
            tried.contains_key(calls),
            "there was no {calls} to be killed at: {tried:?}"
        );
    }
}
