//! Several readers and writers of one queue at once, among them programs that know one record a file only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names of the queue are"
)]

mod peer;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};
use support::{Running, Sandbox, append, wait_for};
use tailspool::error::ErrorKind;
use tailspool::queue::{CaptureQueue, QueueOptions};

/// What a process of the peer is asked to do: `drain DIRECTORY OUT` or `append DIRECTORY PREFIX COUNT`.
const PEER: &str = "TAILSPOOL_TEST_PEER";

/// This test program as a process of its own that does what [`PEER`] says; nothing in an ordinary run.
#[test]
fn peer_process() {
    let Ok(task) = std::env::var(PEER) else { return };
    let words: Vec<_> = task.split(' ').collect();
    match words[..] {
        ["drain", directory, out, end] => peer_drain(Path::new(directory), Path::new(out), Path::new(end)),
        ["append", directory, prefix, count] => {
            for n in 0..count.parse::<u32>().unwrap() {
                let record = json!({"text": format!("{prefix} {n}"), "cue": "", "tier": "episodic"});
                peer::append(Path::new(directory), &format!("{prefix}{n:025}"), &record);
            }
        }
        ["overgrow", home] => {
            let queue = CaptureQueue::open(Path::new(home), QueueOptions::default()).unwrap();
            for _ in 0..3 {
                let error = queue.append(&json!({"surface": "x".repeat(5000)})).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::QueueFull, "{error}");
                let batch: Vec<_> = (0..50).map(|n| json!({"surface": format!("{n:100}")})).collect();
                assert_eq!(queue.append_batch(&batch).unwrap_err().kind(), ErrorKind::QueueFull);
                queue.append(&json!({"surface": "it fits"})).unwrap();
            }
        }
        ["hold", lock, held] => {
            let lock = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(lock)
                .unwrap();
            rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
            fs::write(held, "").unwrap();
            std::thread::sleep(std::time::Duration::from_secs(3600));
        }
        _ => panic!("{task}"),
    }
}

/// Drains until the file `end` is there and nothing is left.
fn peer_drain(directory: &Path, out: &Path, end: &Path) {
    let mut out = File::create(out).unwrap();
    loop {
        let ends = end.exists();
        peer::drain(directory, |envelope| writeln!(out, "{envelope}").unwrap());
        if ends && peer::pending(directory).is_empty() {
            return;
        }
    }
}

fn start_peer(task: &str) -> Running {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "peer_process", "--nocapture"]).env(PEER, task);
    command.stdout(Stdio::null());
    Running::start(command)
}

fn envelopes(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn surfaces(envelopes: &[Value]) -> Vec<String> {
    let text = |envelope: &Value| {
        let record = &envelope["record"];
        let text = record["surface"].as_str().or(record["text"].as_str());
        text.unwrap().to_owned()
    };
    envelopes.iter().map(text).collect()
}

#[test]
fn what_is_written_record_by_record_is_drained_by_a_program_that_knows_nothing_else() {
    let sandbox = Sandbox::new();
    let lines: Vec<String> = (0..300).map(|n| format!("{{\"n\":{n},\"text\":\"é\"}}")).collect();
    append(sandbox.log("a.jsonl"), lines.join("\n") + "\n");
    let long = format!("\"{}\"", "x".repeat(3 << 20));
    append(sandbox.log("b.jsonl"), format!("first\n{long}\nlast\n"));
    sandbox.once(&["--layout", "record"]).exits(0).no_error();
    let names = sandbox.names("pending");
    assert_eq!(names.len(), 303);
    assert!(
        names
            .iter()
            .all(|name| name.len() == "pending-.json".len() + 26 && name.ends_with(".json"))
    );
    let mut seen = Vec::new();
    peer::drain(&sandbox.home("pending"), |envelope| seen.push(envelope.clone()));
    let mut expected = lines.clone();
    expected.extend(["first".to_owned(), long, "last".to_owned()]);
    assert_eq!(surfaces(&seen), expected);
    assert_eq!(sandbox.names("pending"), [""; 0]);
    let runs = sandbox.entries("captured");
    assert!(
        runs.iter().all(|run| run["batch"].is_null()),
        "no batch is to be looked for: {runs:#?}"
    );
    let in_commits: usize = sandbox
        .entries("commit")
        .iter()
        .map(|commit| commit["batches"].as_array().unwrap().len())
        .sum();
    assert_eq!(in_commits, 303, "every name of a commit is in its line");
    sandbox.once(&["--layout", "record"]).exits(0);
    assert_eq!(sandbox.names("pending"), [""; 0], "nothing is captured twice");
}

#[test]
fn a_file_of_one_record_ends_without_a_newline_and_a_batch_with_one() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    append(sandbox.log("b.jsonl"), format!("{}\n", "x".repeat(2 << 20)));
    sandbox.once(&["--layout", "record"]).exits(0);
    for path in sandbox.paths_with("pending", "json") {
        assert!(fs::read(path).unwrap().ends_with(b"\"schema_version\":1}"));
    }
    assert_eq!(sandbox.run(&["drain"]).exits(0).no_error().json().len(), 2);
}

#[test]
fn what_another_program_appended_is_drained_in_order_with_what_was_captured() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "captured\n");
    sandbox.once(&[]).exits(0);
    peer::append(
        &sandbox.home("pending"),
        "00000000000000000000000001",
        &json!({"text": "older"}),
    );
    peer::append(
        &sandbox.home("pending"),
        "7ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        &json!({"surface": "younger"}),
    );
    assert_eq!(sandbox.drain_raw(), "older\ncaptured\nyounger\n");
    assert_eq!(sandbox.names("pending"), [""; 0]);
    append(sandbox.log("a.jsonl"), "next\n");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.drain_raw(), "next\n", "a name of others is never followed");
}

#[test]
fn what_an_append_left_unfinished_goes_after_a_day_and_not_before() {
    let sandbox = Sandbox::new();
    sandbox.once(&[]).exits(0);
    let hour = std::time::Duration::from_secs(3600);
    let made = |name: &str, hours: u32| {
        let file = File::create(sandbox.home("pending").join(name)).unwrap();
        file.set_modified(std::time::SystemTime::now() - hours * hour).unwrap();
    };
    made("pending-a.json.tmp", 25);
    made("pending-b.json.tmp", 23);
    made("other.json.tmp", 100);
    assert_eq!(sandbox.drain_raw(), "");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.names("pending"), ["other.json.tmp", "pending-b.json.tmp"]);
}

/// 3 + 3 processes drain 3,000 records while two others append and a watcher captures.
#[test]
fn six_processes_drain_three_thousand_records_none_lost_and_none_twice() {
    let sandbox = Sandbox::new();
    let numbers = |prefix: &str, count: u32| -> Vec<String> { (0..count).map(|n| format!("{prefix} {n}")).collect() };
    let mut expected = numbers("log", 1000);
    append(sandbox.log("a.jsonl"), expected.join("\n") + "\n");
    sandbox.once(&["--layout", "record"]).exits(0).no_error();
    let pending = sandbox.home("pending");
    let end = sandbox.path("end");
    let out = |n: u32| sandbox.path(format!("out{n}"));
    let task = |n: u32| format!("drain {} {} {}", pending.display(), out(n).display(), end.display());
    let mut peers: Vec<_> = (0..3).map(|n| start_peer(&task(n))).collect();
    let ours: Vec<_> = (0..3)
        .map(|_| Running::start(sandbox.command(&["drain", "--follow"])))
        .collect();
    let appending = ["A", "B"].map(|prefix| start_peer(&format!("append {} {prefix} 500", pending.display())));
    let late = numbers("late", 1000);
    let watcher = sandbox.watch(&["--layout", "record"]);
    for chunk in late.chunks(50) {
        append(sandbox.log("b.jsonl"), chunk.join("\n") + "\n");
    }
    for process in appending {
        process.end().exits(0);
    }
    expected.extend(late);
    expected.extend(["A", "B"].iter().flat_map(|prefix| numbers(prefix, 500)));
    wait_for("everything to be captured", || {
        (sandbox.status()["captured_lines"] == 2000).then_some(())
    });
    watcher.stop().no_error();
    wait_for("an empty queue", || peer::pending(&pending).is_empty().then_some(()));
    fs::write(&end, "").unwrap();
    let mut drained: BTreeMap<String, u32> = BTreeMap::new();
    let mut by_reader = Vec::new();
    let mut take = |text: &str| {
        let found = envelopes(text);
        by_reader.push(found.len());
        for surface in surfaces(&found) {
            *drained.entry(surface).or_default() += 1;
        }
    };
    for drain in ours {
        take(drain.stop().no_error().text());
    }
    for (n, peer) in (0..).zip(peers.drain(..)) {
        peer.end().exits(0);
        take(&fs::read_to_string(out(n)).unwrap());
    }
    assert_eq!(drained.len(), 3000, "none is lost: {by_reader:?}");
    assert!(drained.values().all(|times| *times == 1), "none came twice");
    assert!(expected.iter().all(|line| drained.contains_key(line)));
    assert_eq!(sandbox.names("pending"), [""; 0], "no lock file stays");
}

/// A limit on the size of files is met by a write that is short and a second one that fails, as a full disk is.
#[test]
fn a_write_that_comes_out_short_publishes_nothing() {
    let sandbox = Sandbox::new();
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new("sh");
    let script = "trap '' XFSZ; ulimit -f 4; exec \"$0\" --exact peer_process --nocapture";
    command.args(["-c", script]).arg(program);
    command
        .env(PEER, format!("overgrow {}", sandbox.home("").display()))
        .stdout(Stdio::null());
    Running::start(command).end().exits(0);
    assert_eq!(sandbox.drain_raw(), "it fits\n".repeat(3));
    assert_eq!(sandbox.names("pending"), [""; 0], "no temporary file is left");
}

#[test]
fn a_record_that_somebody_holds_is_skipped_and_drained_once_its_holder_is_killed() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "1\n2\n3\n");
    sandbox.once(&["--layout", "record"]).exits(0);
    let names = sandbox.names("pending");
    let lock = sandbox.home("pending").join(names[1].replace(".json", ".lock"));
    let held = sandbox.path("held");
    let mut holder = start_peer(&format!("hold {} {}", lock.display(), held.display()));
    wait_for("the holder", || held.exists().then_some(()));
    assert_eq!(sandbox.drain_raw(), "1\n3\n");
    assert_eq!(sandbox.drain_raw(), "", "it is held still");
    assert_eq!(sandbox.names("pending").len(), 2);
    // One that follows gets it as soon as the lock is free, though nothing changes in the directory.
    let follower = Running::start(sandbox.command(&["drain", "--follow", "--format", "raw", "--max", "1"]));
    holder.kill();
    assert_eq!(follower.end().exits(0).no_error().text(), "2\n");
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

/// A path in a sandbox, as text.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn exec_hands_each_batch_to_a_run_of_the_command_and_its_exit_code_decides() {
    let sandbox = Sandbox::new();
    for batch in ["1\n2\n", "3\n4\n", "5\n"] {
        append(sandbox.log("a.jsonl"), batch);
        sandbox.once(&[]).exits(0);
    }
    let (log, command) = (sandbox.path("out"), |log: &Path| {
        format!(
            "cat > {0}.tmp; if grep -q 3 {0}.tmp; then exit 9; fi; echo begin >> {0}; cat {0}.tmp >> {0}",
            text(log)
        )
    });
    let run = sandbox
        .run(&["drain", "--format", "raw", "--exec", &command(&log)])
        .exits(1);
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "begin\n1\n2\nbegin\n5\n",
        "the younger one went on"
    );
    assert!(run.error().contains("exit status: 9"), "{run:#?}");
    assert_eq!(sandbox.batches().len(), 1);
    let run = sandbox.run(&["drain", "--exec", "exit 0"]).exits(0).no_error();
    assert_eq!(run.stdout, b"");
    assert_eq!(sandbox.names("pending"), [""; 0]);
    append(sandbox.log("a.jsonl"), "6\n7\n8\n");
    sandbox.once(&[]).exits(0);
    let run = sandbox
        .run(&["drain", "--format", "raw", "--max", "2", "--exec", "cat"])
        .exits(0)
        .no_error();
    assert_eq!(run.text(), "6\n7\n", "the output of the command is ours");
    assert_eq!(sandbox.drain_raw(), "8\n");
    sandbox.run(&["drain", "--exec", "cat", "--peek"]).exits(2);
}

#[test]
fn a_drain_that_follows_hands_out_what_comes_and_ends_with_a_signal() {
    let sandbox = Sandbox::new();
    // The home is not there yet.
    let follower = Running::start(sandbox.command(&["drain", "--follow", "--format", "raw"]));
    for (line, all) in [("1\n", "1\n"), ("2\n", "1\n2\n"), ("3\n", "1\n2\n3\n")] {
        append(sandbox.log("a.jsonl"), line);
        sandbox.once(&[]).exits(0);
        wait_for(all, || (follower.stdout() == all.as_bytes()).then_some(()));
    }
    let ended = follower.stop().no_error();
    assert_eq!(ended.text(), "1\n2\n3\n");
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

#[test]
fn two_drains_that_follow_share_what_comes_and_neither_sees_what_the_other_had() {
    let sandbox = Sandbox::new();
    let followers = [(); 2].map(|()| Running::start(sandbox.command(&["drain", "--follow", "--format", "raw"])));
    let queue = CaptureQueue::open(&sandbox.home(""), QueueOptions::default()).unwrap();
    let expected: Vec<_> = (100..300).map(|n| n.to_string()).collect();
    for text in &expected {
        let record = json!({"surface": text, "cue": "", "tier": "episodic", "session_id": "-", "role": "user"});
        queue.append(&record).unwrap();
    }
    wait_for("an empty queue", || sandbox.names("pending").is_empty().then_some(()));
    let ended = followers.map(|follower| follower.stop().no_error());
    let mut drained: Vec<_> = ended.iter().flat_map(|one| one.text().lines()).collect();
    drained.sort_unstable();
    assert_eq!(drained, expected);
}

#[test]
fn a_drain_that_follows_fails_with_its_output_and_with_its_home() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "1\n");
    sandbox.once(&[]).exits(0);
    let full = Running::start(sandbox.shell("exec >/dev/full", &["drain", "--follow"]));
    assert!(full.end().exits(1).error().contains("write out"));
    assert_eq!(sandbox.drain_raw(), "1\n");
    append(sandbox.log("a.jsonl"), "2\n");
    sandbox.once(&[]).exits(0);
    let follower = Running::start(sandbox.command(&["drain", "--follow", "--format", "raw"]));
    wait_for("the follower", || (follower.stdout() == b"2\n").then_some(()));
    fs::rename(sandbox.home(""), sandbox.path("elsewhere")).unwrap();
    sandbox.once(&[]).exits(0);
    assert!(follower.end().exits(1).error().contains("removed or replaced"));
}

#[test]
fn a_reader_that_fails_is_told_of_and_the_queue_is_kept() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "1\n");
    sandbox.once(&[]).exits(0);
    let follower = Running::start(sandbox.command(&["drain", "--follow", "--exec", "exit 3"]));
    follower.says("exit status: 3");
    append(sandbox.log("a.jsonl"), "2\n");
    sandbox.once(&[]).exits(0);
    wait_for("the second failure", || {
        (follower.stderr().matches("exit status: 3").count() == 2).then_some(())
    });
    follower.stop();
    assert_eq!(sandbox.drain_raw(), "1\n2\n");
}

#[test]
fn drop_oldest_makes_room_in_a_watched_queue_and_says_what_went() {
    let sandbox = Sandbox::new();
    for n in 0..30 {
        append(
            sandbox.log("a.jsonl"),
            (0..10).map(|i| format!("{n} {i}\n")).collect::<Vec<_>>().concat(),
        );
        let once = sandbox.once(&["--on-full", "drop-oldest", "--max-pending-records", "100"]);
        once.exits(0);
    }
    let left = sandbox.run(&["drain", "--format", "raw"]).exits(0).no_error();
    let left: Vec<_> = left.text().lines().map(str::to_owned).collect();
    let audit = fs::read_to_string(sandbox.home("pending/.overflow-audit.log")).unwrap();
    assert!(left.len() <= 100 && left.last().unwrap() == "29 9", "{left:?}");
    assert_eq!(audit.lines().count() + left.len(), 300, "each is here or there");
    let dropped = sandbox.entries("dropped");
    assert_eq!(
        dropped.iter().map(|one| one["records"].as_u64().unwrap()).sum::<u64>(),
        audit.lines().count() as u64
    );
    assert_eq!(sandbox.status()["captured_lines"], 300);
}
