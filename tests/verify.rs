//! `tailspool verify`: what is well, what is explained, and what ends with exit code 5.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;
mod support;

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pipeline::{Meddled, Meddler, Pipeline, TestClock};
use serde_json::{Value, json};
use support::{Ended, Sandbox, append, chmod, wait_for};
use tailspool::disk::{Disk, OsDisk};
use tailspool::pure::commit::Commit;
use tailspool::pure::entry::Entry;
use tailspool::replay::{SCRIPT, Script, Stage};
use tailspool::source::exclude::Exclude;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::{Log, OsTree, Tree};
use tailspool::verify::{Report, SnapshotState, Verdict, verify};
use ulid::Ulid;

/// `verify --json`, its exit code and its report.
#[track_caller]
fn report(sandbox: &Sandbox, code: i32) -> Value {
    report_with(sandbox, &[], code)
}

#[track_caller]
fn report_with(sandbox: &Sandbox, more: &[&str], code: i32) -> Value {
    let ended = sandbox.run(&[&["verify", "--json"], more].concat()).exits(code);
    let verdict = ended.json().remove(0);
    let expected = match code {
        0 => "good",
        1 => "unchecked",
        _ => "failed",
    };
    assert_eq!(verdict["verdict"], expected, "{verdict:#}");
    verdict
}

/// The kinds of the findings.
fn kinds(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|finding| finding["kind"].as_str().unwrap()).collect()
}

/// The one finding.
#[track_caller]
fn finding(report: &Value) -> &Value {
    assert_eq!(report["findings"].as_array().unwrap().len(), 1, "{report:#}");
    &report["findings"][0]
}

/// Numbered lines, so long that none of them is in a window of another.
fn long_lines(numbers: std::ops::Range<u32>) -> String {
    let text = "x".repeat(2000);
    let lines: Vec<_> = numbers
        .map(|n| format!("{{\"n\":{n},\"text\":\"{text}\"}}\n"))
        .collect();
    lines.concat()
}

fn captured(logs: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, text) in logs {
        append(sandbox.log(name), text);
    }
    sandbox.once(&[]).exits(0);
    sandbox
}

/// Changes one byte.
fn flip(path: impl AsRef<Path>, at: u64) {
    let file = fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

/// The commits of a ledger, as entries, and their `commit` lines.
fn commits(sandbox: &Sandbox) -> Vec<(Vec<Entry>, Commit)> {
    let (mut commits, mut entries) = (Vec::new(), Vec::new());
    for line in sandbox.segment().1.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Value>(line).unwrap()["kind"].as_str() {
            Some("commit") => commits.push((std::mem::take(&mut entries), serde_json::from_slice(line).unwrap())),
            _ => entries.push(Entry::parse(line).unwrap()),
        }
    }
    commits
}

/// Writes a ledger whose checksums hold, and removes the snapshot.
fn write_ledger(sandbox: &Sandbox, commits: &[(Vec<Entry>, Commit)]) {
    let mut bytes = Vec::new();
    for (number, (entries, commit)) in (1..).zip(commits) {
        let start = bytes.len();
        for (n, entry) in entries.iter().enumerate() {
            entry.push(&mut bytes, number, n).unwrap();
        }
        let sealed = start..bytes.len();
        let commit = Commit {
            commit: number,
            lines: entries.len() as u64,
            ..commit.clone()
        };
        commit.push(&mut bytes, sealed).unwrap();
    }
    fs::write(sandbox.segment().0, bytes).unwrap();
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
}

/// Writes a snapshot that says something else in one place, with a checksum that holds.
#[track_caller]
fn write_snapshot(sandbox: &Sandbox, snapshot: &[u8], from: &str, to: &str) {
    let text = str::from_utf8(snapshot).unwrap();
    let body = &text[..text.rfind(",\"checksum\":").unwrap()];
    let changed = body.replacen(from, to, 1);
    assert_ne!(body, changed);
    let sum = blake3::hash(changed.as_bytes()).to_hex();
    let text = format!("{changed},\"checksum\":\"{sum}\"}}\n");
    fs::write(sandbox.home("cursors.json"), text).unwrap();
}

// What is well

#[test]
fn what_stands_as_it_was_captured_is_well() {
    let sandbox = captured(&[("a.jsonl", "one\n\ntwo\n"), ("b.jsonl", &long_lines(0..20))]);
    append(sandbox.log("a.jsonl"), "three\nunfinished");
    sandbox.once(&[]).exits(0);
    let before = sandbox.everything();
    let report = report(&sandbox, 0);
    assert_eq!(sandbox.everything(), before, "it writes nothing");
    assert_eq!(report["findings"], json!([]));
    assert_eq!(
        report["files"],
        json!({"standing": 2, "moved": 0, "gone": 0, "unchecked": 0})
    );
    let runs = &report["runs"];
    assert_eq!(
        (&runs["verified"], &runs["unexplained"]),
        (&json!(3), &json!(0)),
        "{report:#}"
    );
    let bytes = fs::metadata(sandbox.log("b.jsonl")).unwrap().len() + 15;
    assert_eq!(runs["verified_bytes"], bytes);
    let batches = json!({"verified": 2, "records": 23, "drained": 0, "others": 0, "failed": 0, "unchecked": 0});
    assert_eq!(report["batches"], batches);
    assert_eq!(report["ledger"]["snapshot"], "agrees");
    let ended = sandbox.run(&["verify"]).exits(0).no_error();
    assert!(
        ended.text().starts_with("verified  everything is as it was captured\n"),
        "{ended:#?}"
    );
    assert_eq!(ended.text().lines().count(), 5, "{ended:#?}");
}

#[test]
fn where_nothing_was_captured_nothing_is_wrong() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["verify"]).exits(0).no_error();
    assert!(ended.stderr.contains("nothing was captured yet"), "{ended:#?}");
    assert!(!sandbox.home("").exists());
    assert_eq!(report(&sandbox, 0)["ledger"]["commits"], 0);
}

#[test]
fn drained_batches_are_not_missed_and_records_of_other_programs_are_counted() {
    let sandbox = captured(&[("a.jsonl", "one\ntwo\n")]);
    sandbox.drain_raw();
    let foreign = format!("pending/pending-{}.json", Ulid::from_parts(1, 2));
    fs::write(sandbox.home(foreign), "{\"ulid\":\"x\"}").unwrap();
    let report = report(&sandbox, 0);
    assert_eq!(report["batches"]["others"], 1);
    assert_eq!(report["batches"]["verified"], 0);
}

#[test]
fn beside_a_running_watcher_everything_is_well() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    let watcher = sandbox.watch(&[]);
    append(sandbox.log("a.jsonl"), "two\n");
    wait_for("the capture of a line", || (sandbox.batches().len() == 2).then_some(()));
    assert_eq!(report(&sandbox, 0)["runs"]["verified"], 2);
    watcher.stop();
}

#[test]
fn a_torn_tail_is_no_damage_unless_its_batch_is_visible() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    let (path, bytes) = sandbox.segment();
    append(&path, &bytes[..100]);
    assert_eq!(report(&sandbox, 0)["ledger"]["torn_bytes"], 100);
    let newline = bytes[..bytes.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
    assert!(bytes[newline..].windows(8).any(|found| found == b"pending-"));
    let report = report(&sandbox, 5);
    assert_eq!(kinds(&report), ["ledger", "snapshot"], "{report:#}");
}

// The ledger

#[test]
fn a_flipped_byte_of_the_ledger_is_damage_and_the_rest_is_still_read() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    for text in ["two\n", "three\n", "four\n"] {
        append(sandbox.log("a.jsonl"), text);
        sandbox.once(&[]).exits(0);
    }
    let (path, bytes) = sandbox.segment();
    let ends: Vec<_> = memchr::memmem::find_iter(&bytes, b"\n{\"kind\":\"commit\"").collect();
    let last_but_one = ends[ends.len() - 2];
    flip(path, last_but_one as u64 - 10);
    let report = report(&sandbox, 5);
    assert_eq!(kinds(&report), ["ledger"], "only what was hit: {report:#}");
    assert_eq!(report["ledger"]["snapshot"], "unchecked");
    // The batch of the commit that was hit is nobody's, the one behind it is checked.
    assert_eq!(
        (&report["batches"]["verified"], &report["batches"]["others"]),
        (&json!(3), &json!(1))
    );
    assert_eq!(
        report["runs"]["verified"], 1,
        "what was before the damage is not certain: {report:#}"
    );
    let ended = sandbox.run(&["verify"]).exits(5);
    assert!(ended.text().contains("the ledger is damaged"), "{ended:#?}");
}

#[test]
fn a_missing_segment_and_a_missing_commit_are_damage() {
    let sandbox = captured(&[("a.jsonl", "one\n"), ("b.jsonl", "two\n")]);
    append(sandbox.log("b.jsonl"), "three\n");
    sandbox.once(&[]).exits(0);
    let (first, _) = sandbox.segment();
    fs::rename(&first, sandbox.home("provenance/provenance-000002.jsonl")).unwrap();
    let shown = report(&sandbox, 5);
    assert_eq!(finding(&shown)["what"], "the segment is missing");
    fs::rename(sandbox.home("provenance/provenance-000002.jsonl"), &first).unwrap();
    let bytes = fs::read(&first).unwrap();
    let first_end = memchr::memmem::find(&bytes, b"\n{\"kind\":\"commit\"").unwrap() + 1;
    let newline = first_end + memchr::memchr(b'\n', &bytes[first_end..]).unwrap() + 1;
    fs::write(&first, &bytes[newline..]).unwrap();
    let shown = report(&sandbox, 5);
    assert!(
        finding(&shown)["what"]
            .as_str()
            .unwrap()
            .contains("commit 2 stands where commit 1 belongs")
    );
}

#[test]
fn a_snapshot_that_is_older_is_well_and_one_that_differs_is_not() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    let old = fs::read(sandbox.home("cursors.json")).unwrap();
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    let new = fs::read(sandbox.home("cursors.json")).unwrap();
    fs::write(sandbox.home("cursors.json"), &old).unwrap();
    assert_eq!(report(&sandbox, 0)["ledger"]["snapshot"], "agrees");
    // One that says something else, with a checksum that holds.
    write_snapshot(&sandbox, &new, "\"captured_lines\":2", "\"captured_lines\":3");
    let shown = report(&sandbox, 5);
    assert_eq!(finding(&shown)["kind"], "snapshot");
    assert!(
        finding(&shown)["what"].as_str().unwrap().contains("its sums"),
        "{shown:#}"
    );
    // One that covers more than the ledger holds.
    let (path, bytes) = sandbox.segment();
    let last = memchr::memmem::rfind(&bytes, b"\n{\"kind\":\"captured\"").unwrap() + 1;
    fs::write(sandbox.home("cursors.json"), &new).unwrap();
    fs::remove_dir_all(sandbox.home("pending")).unwrap();
    fs::write(&path, &bytes[..last]).unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "snapshot");
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    assert_eq!(report(&sandbox, 0)["ledger"]["snapshot"], "missing");
}

#[test]
fn a_hole_and_an_overlap_in_a_ledger_whose_checksums_hold_are_found() {
    for (change, kind, place) in [(4, "hole", (4, 8)), (-4, "overlap", (0, 4))] {
        let sandbox = captured(&[("a.jsonl", "one\n")]);
        append(sandbox.log("a.jsonl"), "two\n");
        sandbox.once(&[]).exits(0);
        let mut commits = commits(&sandbox);
        let last = commits.last_mut().unwrap();
        let Some(Entry::Captured(run)) = last.0.last_mut() else {
            panic!("the last line is no run");
        };
        run.from = run.from.checked_add_signed(change).unwrap();
        run.to = run.to.checked_add_signed(change).unwrap();
        write_ledger(&sandbox, &commits);
        let report = report(&sandbox, 5);
        let mut found = report["findings"].as_array().unwrap().iter();
        let found = found.find(|finding| finding["kind"] == kind).unwrap();
        assert_eq!(
            (&found["from"], &found["to"]),
            (&json!(place.0), &json!(place.1)),
            "{report:#}"
        );
        assert!(kinds(&report).contains(&"ledger"), "a start would refuse: {report:#}");
    }
}

// The sources

#[test]
fn a_byte_that_changed_where_no_look_sees_it_is_unexplained() {
    let sandbox = captured(&[("a.jsonl", &long_lines(0..10))]);
    flip(sandbox.log("a.jsonl"), 5000);
    let shown = report(&sandbox, 5);
    let found = finding(&shown);
    assert_eq!(found["kind"], "unexplained");
    assert_eq!(found["path"], sandbox.log("a.jsonl").to_str().unwrap());
    assert_eq!((&found["from"], &shown["runs"]["unexplained"]), (&json!(0), &json!(1)));
    let ended = sandbox.run(&["verify"]).exits(5);
    assert!(ended.text().contains("a.jsonl bytes 0 to "), "{ended:#?}");
}

#[test]
fn a_file_that_was_rewritten_or_shrank_is_explained_before_and_after_a_watcher_notes_it() {
    let sandbox = captured(&[("a.jsonl", &long_lines(0..10)), ("b.jsonl", &long_lines(0..10))]);
    flip(sandbox.log("a.jsonl"), 7);
    let file = fs::File::options().write(true).open(sandbox.log("b.jsonl")).unwrap();
    file.set_len(4000).unwrap();
    let shown = report(&sandbox, 0);
    assert_eq!(kinds(&shown), ["changed", "changed"], "{shown:#}");
    assert_eq!(shown["runs"]["changed"], 2);
    sandbox.once(&[]).exits(0);
    let shown = report(&sandbox, 0);
    assert_eq!(kinds(&shown), [""; 0], "{shown:#}");
    assert_eq!(
        (&shown["runs"]["superseded"], &shown["runs"]["changed"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn files_are_found_under_other_names_in_their_directory_and_deleted_ones_are_gone() {
    let sandbox = captured(&[("a.jsonl", "one\n"), ("b.jsonl", "two\n"), ("c.jsonl", "three\n")]);
    fs::rename(sandbox.log("a.jsonl"), sandbox.log("a.jsonl.1")).unwrap();
    append(sandbox.log("a.jsonl"), "fresh\n");
    fs::remove_file(sandbox.log("b.jsonl")).unwrap();
    let files = json!({"standing": 1, "moved": 1, "gone": 1, "unchecked": 0});
    assert_eq!(report(&sandbox, 0)["files"], files);
    sandbox.once(&[]).exits(0);
    let shown = report(&sandbox, 0);
    assert_eq!(
        shown["files"],
        json!({"standing": 2, "moved": 1, "gone": 1, "unchecked": 0}),
        "{shown:#}"
    );
    // What was moved away is checked all the same.
    append(sandbox.log("a.jsonl.1"), "more\n");
    assert_eq!(report(&sandbox, 0)["runs"]["changed"], 0);
    flip(sandbox.log("a.jsonl.1"), 1);
    assert_eq!(report(&sandbox, 0)["runs"]["changed"], 1);
}

#[test]
fn a_file_that_was_begun_at_its_end_has_no_hole() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "old\n");
    sandbox.once(&["--from", "end"]).exits(0);
    append(sandbox.log("a.jsonl"), "new\n");
    sandbox.once(&["--from", "end"]).exits(0);
    let shown = report(&sandbox, 0);
    assert_eq!(
        (&shown["runs"]["verified"], &shown["runs"]["verified_bytes"]),
        (&json!(1), &json!(4))
    );
}

#[test]
fn what_was_never_read_when_following_ended_is_no_hole() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    append(sandbox.log("a.jsonl"), "unread\n");
    fs::remove_file(sandbox.log("a.jsonl")).unwrap();
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.entries("closed").len(), 1);
    let shown = report(&sandbox, 0);
    assert_eq!(
        (&shown["files"]["gone"], &shown["runs"]["gone"]),
        (&json!(1), &json!(1)),
        "{shown:#}"
    );
}

#[test]
fn what_cannot_be_opened_is_named_and_is_exit_code_1() {
    let sandbox = Sandbox::unprivileged();
    append(sandbox.log("a.jsonl"), "one\n");
    append(sandbox.log("b.jsonl"), "two\n");
    sandbox.hand_over();
    sandbox.once(&[]).exits(0);
    chmod(sandbox.log("a.jsonl"), 0);
    let shown = report(&sandbox, 1);
    assert_eq!(finding(&shown)["path"], sandbox.log("a.jsonl").to_str().unwrap());
    assert_eq!(
        (&shown["runs"]["verified"], &shown["runs"]["unchecked"]),
        (&json!(1), &json!(1))
    );
}

#[test]
fn nothing_outside_the_scope_is_opened_and_no_symlink_is_followed() {
    let sandbox = Sandbox::new();
    let other = sandbox.path("other");
    fs::create_dir(&other).unwrap();
    append(other.join("a.jsonl"), "one\n");
    sandbox.run(&["watch", "--once", "--scope", "other", "other"]).exits(0);
    let shown = report(&sandbox, 1);
    assert!(
        finding(&shown)["what"].as_str().unwrap().contains("--scope"),
        "{shown:#}"
    );
    assert_eq!(report_with(&sandbox, &["--scope", "other"], 0)["runs"]["verified"], 1);
    // The same inode, reached by a symlink only.
    fs::rename(&other, sandbox.path("elsewhere")).unwrap();
    fs::create_dir(&other).unwrap();
    symlink(sandbox.path("elsewhere/a.jsonl"), other.join("a.jsonl")).unwrap();
    assert_eq!(report_with(&sandbox, &["--scope", "other"], 0)["files"]["gone"], 1);
}

// The queue

type Alteration = fn(&str) -> String;

#[test]
fn a_pending_batch_that_was_altered_is_found() {
    let alterations: [(&str, Alteration); 6] = [
        ("another text", |text| text.replace("two", "TWO")),
        ("another offset", |text| text.replace("\"offset\":4", "\"offset\":5")),
        ("a line less", |text| text.split_inclusive('\n').take(1).collect()),
        ("a line more", |text| {
            format!("{text}{}\n", text.lines().last().unwrap())
        }),
        ("no JSON", |text| text.replacen('{', "[", 1)),
        ("another file", |text| {
            text.replacen("\"file_id\":\"0", "\"file_id\":\"1", 1)
        }),
    ];
    for (what, alter) in alterations {
        let sandbox = captured(&[("a.jsonl", "one\ntwo\n\n")]);
        let path = sandbox.home("pending").join(&sandbox.batches()[0]);
        let text = fs::read_to_string(&path).unwrap();
        assert_ne!(alter(&text), text, "{what}");
        fs::write(&path, alter(&text)).unwrap();
        let shown = report(&sandbox, 5);
        assert_eq!(
            (kinds(&shown), &shown["batches"]["failed"]),
            (vec!["batch"], &json!(1)),
            "{what}: {shown:#}"
        );
    }
}

#[test]
fn a_pending_batch_of_a_version_that_is_not_known_is_not_judged() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    let path = sandbox.home("pending").join(&sandbox.batches()[0]);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("\"schema_version\":1", "\"schema_version\":2")).unwrap();
    assert_eq!(kinds(&report(&sandbox, 1)), ["unchecked"]);
}

#[test]
fn settled_lines_and_lines_of_many_megabytes_fit_the_ledger() {
    let sandbox = Sandbox::new();
    append(sandbox.log("long.jsonl"), format!("\"{}\"\n", "y".repeat(9 << 20)));
    append(sandbox.log("odd.jsonl"), b"\xff\x00\n\n\r\n\n\n");
    append(sandbox.log("tail.jsonl"), "{\"n\":1}\n{\"n\":2}");
    sandbox.once(&[]).exits(0);
    append(sandbox.log("tail.jsonl"), "\n{\"n\":3}\n");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.entries("settled").len(), 1);
    let shown = report(&sandbox, 0);
    assert_eq!(shown["batches"]["records"], 6, "{shown:#}");
}

// What happens while it reads

/// A tree that was captured in many commits and small segments.
struct Small {
    temp: tempfile::TempDir,
    disk: Arc<dyn Disk>,
}

impl Small {
    fn captured() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().join("logs");
        fs::create_dir(&top).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(&temp.path().join("home")).unwrap());
        let mut pipeline = Pipeline::start(&disk, &top, &TestClock::new()).unwrap();
        pipeline.capture.segment_bytes_max(1500);
        for n in 0..10 {
            append(top.join("a.jsonl"), long_lines(n..n + 1));
            pipeline.look().unwrap();
        }
        pipeline.capture.stop().unwrap();
        Self { temp, disk }
    }

    fn log(&self) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join("logs/a.jsonl")
    }

    fn verified(&self, tree: &dyn Tree) -> Report {
        let scope = Scope::new(None, &[self.temp.path().to_owned()]).unwrap();
        verify(&*self.disk, Finder::new(tree, &scope, &Exclude::default())).unwrap()
    }
}

#[test]
fn a_ledger_of_many_segments_is_read_as_one() {
    let small = Small::captured();
    let report = small.verified(&OsTree::default());
    assert_eq!(
        (report.verdict, report.runs.verified),
        (Verdict::Good, 10),
        "{report:#?}"
    );
    assert!(report.ledger.segments > 3, "{report:#?}");
    assert_eq!(report.ledger.snapshot, SnapshotState::Agrees);
}

/// Does something before the first read of a log.
struct BeforeReading<F>(Mutex<Option<F>>);

impl<F: FnOnce() -> io::Result<()> + Send + 'static> Meddler for BeforeReading<F> {
    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        if let Some(act) = self.0.lock().unwrap().take() {
            act()?;
        }
        log.read_at(bytes, offset)
    }
}

fn before_reading(act: impl FnOnce() -> io::Result<()> + Send + 'static) -> Box<dyn Tree> {
    Meddled::tree(&Arc::new(BeforeReading(Mutex::new(Some(act)))))
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_explained() {
    let small = Small::captured();
    let log = small.log();
    let tree = before_reading(move || fs::File::options().write(true).open(log)?.set_len(5000));
    let report = small.verified(&*tree);
    assert_eq!(
        (report.verdict, report.runs.verified),
        (Verdict::Good, 2),
        "{report:#?}"
    );
    assert_eq!((report.runs.changed, report.findings.len()), (8, 1), "{report:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_not_judged() {
    let small = Small::captured();
    let tree = before_reading(|| Err(io::ErrorKind::Interrupted.into()));
    let report = small.verified(&*tree);
    assert_eq!(
        (report.verdict, report.runs.unchecked),
        (Verdict::Unchecked, 10),
        "{report:#?}"
    );
}

#[test]
fn what_a_watcher_notes_meanwhile_explains() {
    let small = Small::captured();
    let (log, disk) = (small.log(), Arc::clone(&small.disk));
    flip(&log, 5000);
    assert_eq!(small.verified(&OsTree::default()).verdict, Verdict::Failed);
    // A watcher that looks now sees only the first byte, and so finds the other one.
    let act = move || {
        flip(&log, 3);
        let mut pipeline = Pipeline::start(&disk, log.parent().unwrap(), &TestClock::new()).unwrap();
        pipeline.look().unwrap();
        pipeline.capture.stop().unwrap();
        flip(&log, 3);
        Ok(())
    };
    let report = small.verified(&*before_reading(act));
    assert_eq!(report.runs.unexplained, 0, "{report:#?}");
    assert_eq!(report.verdict, Verdict::Good, "{report:#?}");
    assert!(report.runs.superseded > 0, "{report:#?}");
}

// Everything that is played elsewhere

#[test]
fn every_fixture_tree_is_well_at_its_end() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees");
    let temp = tempfile::tempdir().unwrap();
    for (number, entry) in fs::read_dir(trees).unwrap().enumerate() {
        let path: PathBuf = entry.unwrap().path();
        let script = Script::read(&path.join(SCRIPT)).unwrap();
        if !script.head.needs.is_empty() {
            continue;
        }
        let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(&temp.path().join(number.to_string())).unwrap());
        let mut stage = Stage::with_home(&script.head, Arc::clone(&disk)).unwrap();
        for step in &script.steps {
            stage.play(&step.operation).unwrap();
        }
        stage.stop().unwrap();
        let scope = Scope::new(None, &[stage.tree().to_owned()]).unwrap();
        let report = verify(&*disk, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
        assert_ne!(report.verdict, Verdict::Failed, "{}: {report:#?}", path.display());
        let records: u64 = stage.queue().unwrap().len() as u64;
        assert_eq!(report.batches.records, records, "{}", path.display());
    }
}

/// The whole of standard output.
#[test]
fn the_table_says_the_verdict_first() {
    let sandbox = captured(&[("a.jsonl", &long_lines(0..10))]);
    let said = |ended: &Ended| ended.text().lines().next().unwrap().to_owned();
    assert_eq!(
        said(&sandbox.run(&["verify"])),
        "verified  everything is as it was captured"
    );
    flip(sandbox.log("a.jsonl"), 7);
    assert_eq!(
        said(&sandbox.run(&["verify"])),
        "verified  well; some files were changed since the last look"
    );
    fs::remove_file(sandbox.home("provenance/provenance-000001.jsonl")).unwrap();
    assert_eq!(said(&sandbox.run(&["verify"])), "verified  failed");
}

#[test]
fn a_batch_that_was_captured_and_is_told_of_by_no_commit_is_found() {
    let sandbox = captured(&[("a.jsonl", "one\n")]);
    let snapshot = fs::read(sandbox.home("cursors.json")).unwrap();
    let (segment, before) = sandbox.segment();
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    // The end of the ledger is gone at the border of a commit, and the snapshot is one that fits.
    fs::write(&segment, before).unwrap();
    fs::write(sandbox.home("cursors.json"), snapshot).unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "batch");
    // With no ledger at all.
    fs::remove_dir_all(sandbox.home("provenance")).unwrap();
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    assert_eq!(kinds(&report(&sandbox, 5)), ["batch", "batch"]);
}

#[test]
fn a_single_record_that_is_another_one_than_its_name_says_is_found() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\ntwo\n");
    append(sandbox.log("b.jsonl"), "alone\n");
    sandbox.once(&["--layout", "record"]).exits(0);
    report(&sandbox, 0);
    let files = sandbox.paths_with("pending", "json");
    let good: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    fs::write(&files[0], &good[1]).unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "batch");
    fs::write(&files[0], &good[0]).unwrap();
    fs::write(&files[2], good[2].replace("alone", "other")).unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "batch");
    let mut bytes = good[2].clone().into_bytes();
    bytes[50] = 0xff;
    fs::write(&files[2], bytes).unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "batch");
    fs::write(
        &files[2],
        good[2].replace("\"cue\"", "\"surface_base64\":\"YWxvbmU=\",\"cue\""),
    )
    .unwrap();
    assert_eq!(finding(&report(&sandbox, 5))["kind"], "batch");
}

/// A file that is saved anew with the same bytes: short while it is read, and whole when it is looked at.
struct SavedAnew(Mutex<i64>);

impl Meddler for SavedAnew {
    fn change(&self, mut stat: tailspool::source::tree::Stat) -> tailspool::source::tree::Stat {
        let mut looks = self.0.lock().unwrap();
        *looks += 1;
        stat.mtime.seconds += (*looks).min(6);
        stat
    }

    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let is_hashing = bytes.len() > 10_000;
        if is_hashing && *self.0.lock().unwrap() < 6 {
            Ok(0)
        } else {
            log.read_at(bytes, offset)
        }
    }
}

#[test]
fn a_file_that_is_saved_anew_with_the_same_bytes_while_it_is_read_is_no_alarm() {
    let sandbox = captured(&[("a.jsonl", &long_lines(0..9))]);
    let disk = OsDisk::open(&sandbox.home("")).unwrap();
    let tree = Meddled::tree(&Arc::new(SavedAnew(Mutex::new(0))));
    let scope = Scope::new(None, &[sandbox.path("")]).unwrap();
    let report = verify(&disk, Finder::new(&*tree, &scope, &Exclude::default())).unwrap();
    assert_eq!(
        (report.verdict, report.findings.len()),
        (Verdict::Good, 0),
        "{report:?}"
    );
}

// What somebody did by hand, with each checksum made right

/// A home with three commits of one file and one of another, drained or not.
fn with_commits(drained: bool) -> Sandbox {
    let sandbox = captured(&[("a.jsonl", "one\n"), ("b.jsonl", &long_lines(0..4))]);
    for text in ["two\n", "three\n"] {
        append(sandbox.log("a.jsonl"), text);
        sandbox.once(&[]).exits(0);
    }
    if drained {
        sandbox.drain_raw();
    }
    report(&sandbox, 0);
    sandbox
}

/// What is found when the ledger says something else.
fn found_after(drained: bool, change: impl Fn(&mut Vec<(Vec<Entry>, Commit)>)) -> Vec<String> {
    let sandbox = with_commits(drained);
    let mut changed = commits(&sandbox);
    change(&mut changed);
    write_ledger(&sandbox, &changed);
    let shown = report(&sandbox, 5);
    kinds(&shown).into_iter().map(ToOwned::to_owned).collect()
}

#[test]
fn a_ledger_line_that_was_removed_is_damage() {
    let sandbox = with_commits(true);
    let (path, bytes) = sandbox.segment();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() >= 8, "there is something to remove: {}", lines.len());
    let is_commit = |line: &&[u8]| line.starts_with(b"{\"kind\":\"commit\"");
    let last = lines.len() - 1 - lines.iter().rev().skip(1).position(is_commit).unwrap();
    for removed in 0..lines.len() {
        let rest: Vec<_> = (0..lines.len())
            .filter(|line| *line != removed)
            .map(|line| lines[line])
            .collect();
        fs::write(&path, rest.concat()).unwrap();
        let shown = report(&sandbox, 5);
        let kinds = kinds(&shown);
        // A last commit that is not whole counts as torn, and then the snapshot covers more than the ledger.
        let expected = if removed >= last { "snapshot" } else { "ledger" };
        assert!(kinds.contains(&expected), "line {removed}: {shown:#}");
    }
}

#[test]
fn a_run_that_was_removed_from_the_ledger_and_its_checksum_made_right_is_a_hole() {
    for drained in [false, true] {
        let removed = |commits: &mut Vec<(Vec<Entry>, Commit)>| {
            let entries = &mut commits[1].0;
            let before = entries.len();
            entries.retain(|entry| !matches!(entry, Entry::Captured(_)));
            assert_eq!(entries.len() + 1, before);
        };
        let found = found_after(drained, removed);
        assert!(found.contains(&"hole".into()), "drained {drained}: {found:?}");
    }
}

#[test]
fn a_commit_that_was_removed_from_the_ledger_and_its_checksum_made_right_is_a_hole() {
    for drained in [false, true] {
        let found = found_after(drained, |commits| drop(commits.remove(1)));
        assert!(found.contains(&"hole".into()), "drained {drained}: {found:?}");
    }
}

#[test]
fn a_doubled_run_whose_checksum_was_made_right_is_an_overlap() {
    for drained in [false, true] {
        let beside = found_after(drained, |commits| {
            let run = commits[1].0.iter().find(|entry| matches!(entry, Entry::Captured(_)));
            let run = run.unwrap().clone();
            commits[1].0.push(run);
        });
        assert!(beside.contains(&"overlap".into()), "drained {drained}: {beside:?}");
        let behind = found_after(drained, |commits| {
            let again = commits[1].clone();
            commits.insert(2, again);
        });
        assert!(behind.contains(&"overlap".into()), "drained {drained}: {behind:?}");
    }
}

#[test]
fn a_cursor_that_was_set_back_and_its_checksum_made_right_is_found_by_its_file() {
    let sandbox = with_commits(true);
    let snapshot = fs::read(sandbox.home("cursors.json")).unwrap();
    let id = sandbox.entries("captured").last().unwrap()["file_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let set_back = |what: &str, from: &str, to: &str| {
        write_snapshot(&sandbox, &snapshot, from, to);
        let shown = report(&sandbox, 5);
        let found = finding(&shown);
        assert_eq!(found["kind"], "snapshot", "{what}");
        assert!(found["what"].as_str().unwrap().contains(&id), "{what}: {found:#}");
    };
    set_back("the offset", "[0,3,14]", "[0,3,8]");
    set_back("the line", "[0,3,14]", "[0,2,14]");
}
