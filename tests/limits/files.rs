//! Files that grow fast, and files with holes.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tailspool::capture::CaptureOptions;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::POLL_BYTES;
use tailspool::source::Budget;
use tailspool::source::kind::SourceKind;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::OsTree;

use crate::pipeline::{Pipeline, TestClock, drained};
use crate::support::namespace::script_in_namespace;
use crate::support::{Running, Sandbox, append};

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
