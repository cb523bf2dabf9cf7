//! What happens at the limits of the system: nothing is lost, nothing comes twice, and it is said what is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![cfg(target_os = "linux")]

mod pipeline;
mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Pipeline, TestClock, drained};
use serde_json::json;
use support::namespace::{in_namespace, inside, script_in_namespace};
use support::{Ended, Running, Sandbox, append, chmod, wait_until_equal};
use tailspool::capture::CaptureOptions;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::{FULL_RETRY, POLL_BYTES, TAIL_SETTLE};
use tailspool::queue::depth::list;
use tailspool::source::Budget;
use tailspool::source::kind::SourceKind;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::OsTree;

fn numbered(range: std::ops::Range<usize>) -> String {
    range.map(|number| format!("{{\"n\":{number}}}\n")).collect()
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn assert_same_lines(found: &str, expected: &str) {
    assert!(
        sorted(found) == sorted(expected),
        "{} of {} bytes",
        found.len(),
        expected.len()
    );
}

/// Asserts that `verify` finds everything as it was captured.
#[track_caller]
fn assert_verified(sandbox: &Sandbox) {
    let ended = sandbox.run(&["verify", "--json"]).exits(0);
    assert_eq!(ended.json()[0]["findings"], json!([]), "{ended:#?}");
}

// Descriptors

/// 200 logs in 20 directories; their lines.
fn many_logs(sandbox: &Sandbox, round: usize) -> String {
    let mut lines = String::new();
    for number in 0..200 {
        let directory = sandbox.log(format!("d{}", number % 20));
        fs::create_dir_all(&directory).unwrap();
        let line = format!("{round} {number}\n");
        append(directory.join(format!("{number}.jsonl")), &line);
        lines += &line;
    }
    lines
}

#[test]
fn thirty_two_descriptors_are_enough_for_every_command() {
    let sandbox = Sandbox::new();
    let limited = |args: &[&str]| Running::start(sandbox.shell("ulimit -n 32", args));
    let mut lines = many_logs(&sandbox, 0);
    limited(&["watch", "--once", "user/logs"]).end().exits(0).no_error();
    limited(&["verify"]).end().exits(0).no_error();
    for source in ["poll", "notify"] {
        let watcher = limited(&["watch", "--source", source, "--interval", "100ms", "user/logs"]);
        watcher.says("watching ");
        lines += &many_logs(&sandbox, 1);
        wait_until_equal("all lines", &lines.lines().count(), || sandbox.records().len());
        let ended = watcher.stop().no_error();
        assert_eq!(ended.count("cannot look at"), 0, "{ended:#?}");
    }
    let drained = limited(&["drain", "--format", "raw"]).end().exits(0).no_error();
    assert_same_lines(drained.text(), &lines);
    limited(&["sessions"]).end().exits(0).no_error();
    assert_verified(&sandbox);
}

#[test]
fn fewer_descriptors_than_that_are_an_error_that_says_so_and_never_a_loss() {
    let mut refused = 0;
    // With less the loader finds no libraries.
    for most in 4..20 {
        let sandbox = Sandbox::new();
        let lines = many_logs(&sandbox, 0);
        let args = ["watch", "--once", "user/logs"];
        let ended = Running::start(sandbox.shell(&format!("ulimit -n {most}"), &args)).end();
        if ended.code != Some(0) {
            let ended = ended.exits(1);
            ended.error();
            assert!(ended.stderr.contains("Too many open files"), "{most}: {ended:#?}");
            let looked = ended.error().contains("could not be looked at");
            assert!(looked || ended.hint().contains("ulimit -n"), "{most}: {ended:#?}");
            refused += 1;
        }
        let drained = sandbox.run(&["drain", "--format", "raw"]).exits(0).text().to_owned();
        sandbox.once(&[]).exits(0).no_error();
        assert_same_lines(&(drained + &sandbox.drain_raw()), &lines);
        assert_verified(&sandbox);
    }
    assert!((1..16).contains(&refused), "{refused} of 16 were refused");
}

// The disk of the home

#[test]
fn a_home_of_64_kib_takes_what_fits_and_the_rest_as_it_is_drained_or_grows() {
    let sandbox = Sandbox::new();
    let lines = numbered(0..3000);
    append(sandbox.log("a.jsonl"), &lines);
    fs::create_dir(sandbox.home("")).unwrap();
    let mount = "mount -t tmpfs -o size=64k tmpfs state";
    let script = r#"
        full=0
        for round in $(seq 40); do
            if "$0" watch --once user/logs 2>said; then break; fi
            grep -q 'error: the queue is full' said && grep -q '^hint: drain it or make room' said
            full=$((full + 1))
            "$0" drain --format raw
        done
        echo "full $full times" >&2
        mount -o remount,size=4m state
        "$0" watch --once user/logs
        "$0" drain --format raw
        "$0" verify >&2
    "#;
    let Some(command) = script_in_namespace(&sandbox, "-Urm", mount, script, &[]) else {
        return;
    };
    let ended = Running::start(command).end().exits(0);
    assert!(ended.text() == lines, "{ended:#?}");
    assert_eq!(ended.count("full 0 times"), 0, "{ended:#?}");
}

#[test]
fn no_batch_is_larger_than_half_of_what_the_disk_takes() {
    /// What is kept free of a large disk.
    const RESERVE: u64 = 1 << 30;
    const ROOM: u64 = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    let lines = numbered(0..500);
    append(temp.path().join("a.jsonl"), &lines);
    let (mut found, mut largest) = (String::new(), 0);
    while found.len() < lines.len() {
        disk.set_free(RESERVE + ROOM);
        clock.pass(FULL_RETRY);
        pipeline.look().unwrap();
        let files = list(&disk).unwrap().files;
        assert!(!files.is_empty(), "it goes on");
        largest = files.values().map(|(_, meta)| meta.size).fold(largest, u64::max);
        found += &drained(&disk);
    }
    assert!(found == lines);
    // One record more than is allowed.
    assert!((ROOM / 4..ROOM / 2 + 1000).contains(&largest), "{largest}");
}

#[test]
fn a_watcher_whose_disk_was_full_goes_on_by_itself_once_there_is_room() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.home("")).unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs state";
    let args = ["watch", "-v", "--interval", "100ms", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Urm", mount, &args) else {
        return;
    };
    let watcher = Running::start(command);
    watcher.says("watching ");
    let state = sandbox.home("");
    let state = state.display();
    inside(
        &watcher,
        &format!("cat /dev/zero > '{state}/filler' 2>/dev/null || true"),
    );
    let lines = numbered(0..2000);
    append(sandbox.log("a.jsonl"), &lines);
    watcher.says("[queue.full]");
    watcher.says("drain it, or make room");
    inside(&watcher, &format!("rm '{state}/filler'"));
    watcher.says("[queue.room]");
    let drain = format!(
        "'{}' --home '{state}' drain --format raw",
        env!("CARGO_BIN_EXE_tailspool")
    );
    let mut drained = String::new();
    wait_until_equal("all lines", &lines.len(), || {
        drained += &inside(&watcher, &drain);
        drained.len()
    });
    assert!(drained == lines);
    watcher.stop().no_error();
}

#[test]
fn a_home_that_may_only_be_read_is_an_error_and_can_be_read() {
    let sandbox = Sandbox::unprivileged();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.hand_over();
    sandbox.once(&[]).exits(0);
    append(sandbox.log("a.jsonl"), "two\n");
    let directories = ["pending", "provenance", ""];
    let files = || {
        fs::read_dir(sandbox.home(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let files: Vec<_> = files().filter(|path| path.is_file()).collect();
    files.iter().for_each(|path| chmod(path, 0o400));
    directories.iter().for_each(|path| chmod(sandbox.home(path), 0o500));
    let before = sandbox.everything();
    let refused = |ended: Ended| {
        let ended = ended.exits(1);
        assert!(ended.error().contains("ermission denied"), "{ended:#?}");
        assert!(ended.hint().contains("home"), "{ended:#?}");
    };
    refused(sandbox.once(&[]));
    assert_eq!(
        sandbox.run(&["drain", "--format", "raw", "--peek"]).exits(0).text(),
        "one\n"
    );
    sandbox.run(&["status"]).exits(0);
    assert!(sandbox.everything() == before, "nothing changed");
    directories
        .iter()
        .rev()
        .for_each(|path| chmod(sandbox.home(path), 0o700));
    files.iter().for_each(|path| chmod(path, 0o600));
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

#[test]
fn a_home_on_a_filesystem_mounted_read_only_is_an_error_and_can_be_read() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.once(&[]).exits(0);
    append(sandbox.log("a.jsonl"), "two\n");
    let mount = "mount --bind state state; mount -o remount,bind,ro state";
    let script = r#""$0" status >/dev/null; "$0" drain --peek --format raw; exec "$0" watch --once user/logs"#;
    let Some(command) = script_in_namespace(&sandbox, "-Urm", mount, script, &[]) else {
        return;
    };
    let ended = Running::start(command).end().exits(1);
    assert_eq!(ended.text(), "one\n", "{ended:#?}");
    assert!(ended.error().contains("ead-only file system"), "{ended:#?}");
    assert!(ended.hint().contains("home"), "{ended:#?}");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

// Trees

#[test]
fn a_log_200_directories_down_is_captured_and_followed() {
    for source in ["poll", "notify"] {
        let sandbox = Sandbox::new();
        let deepest = sandbox.log("d/".repeat(200));
        fs::create_dir_all(&deepest).unwrap();
        append(deepest.join("a.jsonl"), "one\n");
        let watcher = sandbox.watch(&["--source", source]);
        append(deepest.join("a.jsonl"), "two\n");
        wait_until_equal("both lines", &2, || sandbox.records().len());
        watcher.stop().no_error();
        assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
        assert_verified(&sandbox);
    }
}

#[test]
fn a_log_whose_path_is_longer_than_the_system_takes_is_told_of_and_the_others_are_captured() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    // The names are longer in sum than one path may be, so they are made one in the other.
    let script = "for level in $(seq 200); do mkdir a-name-of-thirty-characters-xx; \
                  cd a-name-of-thirty-characters-xx; done; echo deep > b.jsonl";
    let mut command = Command::new("bash");
    let made = command
        .args(["-ec", script])
        .current_dir(sandbox.log(""))
        .status()
        .unwrap();
    assert!(made.success());
    let ended = sandbox.once(&[]).exits(1);
    assert_eq!(ended.error(), "error: 1 path could not be looked at", "{ended:#?}");
    assert_eq!(ended.count("File name too long"), 1, "{ended:#?}");
    assert_eq!(sandbox.drain_raw(), "one\n");
}

#[test]
fn a_directory_of_5000_entries_is_captured_once_and_what_is_added_to_it_too() {
    let sandbox = Sandbox::new();
    let mut lines = String::new();
    for number in 0..5000 {
        // Every tenth is a log.
        let (name, line) = (
            format!("{number}.{}", ["jsonl", "txt"][usize::from(number % 10 != 0)]),
            number,
        );
        fs::write(sandbox.log(name), format!("{line}\n")).unwrap();
        if number % 10 == 0 {
            lines += &format!("{line}\n");
        }
    }
    sandbox.once(&[]).exits(0).no_error();
    sandbox.once(&[]).exits(0).no_error();
    assert_same_lines(&sandbox.drain_raw(), &lines);
    let watcher = sandbox.watch(&[]);
    append(sandbox.log("10.jsonl"), "more\n");
    append(sandbox.log("new.jsonl"), "new\n");
    wait_until_equal("both lines", &2, || sandbox.records().len());
    watcher.stop().no_error();
    assert_same_lines(&sandbox.drain_raw(), "more\nnew\n");
    assert_verified(&sandbox);
}

// Files

/// A file that grows by more than a poll reads, before each poll.
struct Torrent {
    written: usize,
    all: String,
}

impl Torrent {
    fn flow(&mut self, path: &Path) {
        let lines = format!("{:0999}\n", self.written).repeat(usize::try_from(POLL_BYTES).unwrap() / 1000 * 5 / 4);
        self.written += 1;
        append(path, &lines);
        self.all += &lines;
    }
}

#[test]
fn once_ends_while_a_file_grows_faster_than_it_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let path = temp.path().join("a.jsonl");
    let start = || {
        let (tree, options) = (Box::<OsTree>::default(), CaptureOptions::default());
        let once = |options: &mut SourceOptions| options.once = true;
        Pipeline::start_all(
            SourceKind::Poll,
            &shared,
            temp.path(),
            &["."],
            &clock,
            tree,
            options,
            &once,
        )
        .unwrap()
    };
    let mut torrent = Torrent {
        written: 0,
        all: String::new(),
    };
    torrent.flow(&path);
    let seen = torrent.all.len();
    let mut pipeline = start();
    let mut polls = 0;
    loop {
        let budget = Budget { bytes: POLL_BYTES };
        let report = pipeline.source.poll(budget, &mut pipeline.capture).unwrap();
        pipeline.capture.commit().unwrap();
        if !report.more {
            break;
        }
        polls += 1;
        assert!(polls < 6, "it does not end");
        torrent.flow(&path);
    }
    pipeline.source.finish(&mut pipeline.capture).unwrap();
    pipeline.capture.stop().unwrap();
    let mut found = drained(&disk);
    assert!(
        found.len() >= seen && found.len() < torrent.all.len(),
        "{} of {seen}",
        found.len()
    );
    let mut pipeline = start();
    pipeline.look().unwrap();
    found += &drained(&disk);
    assert!(found == torrent.all);
}

#[test]
fn a_file_that_grows_faster_than_it_is_read_does_not_keep_others_from_being_read() {
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    let (fast, slow) = (temp.path().join("a.jsonl"), temp.path().join("b.jsonl"));
    let mut torrent = Torrent {
        written: 0,
        all: String::new(),
    };
    let poll = |pipeline: &mut Pipeline| {
        let budget = Budget { bytes: POLL_BYTES };
        let report = pipeline.source.poll(budget, &mut pipeline.capture).unwrap();
        pipeline.capture.commit().unwrap();
        clock.pass(Duration::from_secs(2));
        report.more
    };
    let mut fast_lines = String::new();
    append(&slow, "0\n");
    for round in 1..4 {
        torrent.flow(&fast);
        append(&slow, format!("{round}\n"));
        // A sweep sees the growth, and each file has a turn of its own.
        for _ in 0..3 {
            torrent.flow(&fast);
            assert!(poll(&mut pipeline), "there is always more");
        }
        let lines = drained(&disk);
        assert!(lines.lines().any(|line| line == round.to_string()), "round {round}");
        fast_lines.extend(lines.split_inclusive('\n').filter(|line| line.len() == 1000));
    }
    while poll(&mut pipeline) {}
    fast_lines += &drained(&disk);
    assert!(fast_lines == torrent.all);
}

/// A hole of this many bytes, then the end of a line.
const HOLE_BYTES: u64 = 256 << 20;

#[test]
fn a_line_with_a_hole_that_does_not_fit_waits_and_the_other_files_are_captured() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.home("")).unwrap();
    append(sandbox.log("a.jsonl"), "one\n");
    let file = File::options()
        .append(false)
        .write(true)
        .open(sandbox.log("a.jsonl"))
        .unwrap();
    file.write_all_at(b"{\"n\":2}\n{\"n\":3}\n", HOLE_BYTES).unwrap();
    append(sandbox.log("b.jsonl"), "other\n");
    let mount = "mount -t tmpfs -o size=16m tmpfs state";
    let script = r#"
        code=0; "$0" watch --once user/logs || code=$?
        "$0" drain --format raw
        exit $code
    "#;
    let Some(command) = script_in_namespace(&sandbox, "-Urm", mount, script, &[]) else {
        return;
    };
    let ended = Running::start(command).end().exits(1);
    assert_eq!(ended.text(), "one\nother\n", "{ended:#?}");
    ended.told_once("[queue.line_does_not_fit]");
    assert_eq!(ended.error(), "error: 1 path could not be looked at");
}

#[test]
fn a_file_that_is_made_longer_by_a_hole_alone_waits_for_its_newline() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    let file = File::options().write(true).open(sandbox.log("a.jsonl")).unwrap();
    file.set_len(HOLE_BYTES).unwrap();
    append(sandbox.log("b.jsonl"), "other\n");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\nother\n");
    // As a writer that had reserved room gives it back.
    file.set_len(4).unwrap();
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "two\n");
}

// Time

#[test]
fn a_clock_that_is_set_back_an_hour_changes_nothing_but_the_times_written_down() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    for notify in [false, true] {
        let _ = fs::remove_file(&path);
        let (disk, clock) = (SimDisk::new(), TestClock::new());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let start = || match notify {
            true => Pipeline::start_notify(&shared, temp.path(), &clock).unwrap(),
            false => Pipeline::start(&shared, temp.path(), &clock).unwrap(),
        };
        let mut pipeline = start();
        append(&path, "{\"n\":1}\n");
        pipeline.look().unwrap();
        clock.set_back(Duration::from_secs(3600));
        append(&path, "{\"n\":2}\n");
        pipeline.look().unwrap();
        drop(pipeline);
        // Also when only the ledger knows how late it was.
        let mut pipeline = start();
        append(&path, "{\"n\":3}\n{\"n\":4}");
        pipeline.look().unwrap();
        // A quiet last line is settled by the time that passes, not by that of the day.
        clock.set_back(Duration::from_secs(3600));
        for _ in 0..3 {
            clock.pass(TAIL_SETTLE);
            pipeline.look().unwrap();
        }
        assert_eq!(
            drained(&disk),
            "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n",
            "in the order of the file"
        );
    }
}
