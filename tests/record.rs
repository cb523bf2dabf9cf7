//! Recording: what is recorded of a tree gives the events that a pipeline that watched it gave.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use support::{Running, Sandbox, append};
use tailspool::clock::Clock;
use tailspool::pure::scrub::{Scrubber, Secret};
use tailspool::record::{RecordOptions, Recorder};
use tailspool::replay::{EXPECT, Head, Operation, Played, SCRIPT, Script, Stage, play};
use tailspool::source::kind::SourceKind;

/// Time goes by as on a stage, but the day is today's: the times of files are.
struct Mixed(Arc<dyn Clock>);

impl Clock for Mixed {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn utc(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// What a live tree gave, and what was recorded of it.
struct Recording {
    fixture: PathBuf,
    temp: tempfile::TempDir,
    live: String,
    name: Box<dyn Fn(&str) -> String>,
}

/// Plays operations on a live tree, with a recorder that looks whenever its pipeline does.
fn record(head: &Head, operations: &[Operation], secret: Option<&Secret>) -> Recording {
    let temp = tempfile::tempdir().unwrap();
    let fixture = temp.path().join("recorded");
    let mut stage = Stage::new(head).unwrap();
    let mut options = RecordOptions::new(stage.tree(), &fixture);
    options
        .globs
        .clone_from(head.options.glob.as_ref().unwrap_or(&options.globs.clone()));
    options.secret = secret.cloned();
    let clock = Arc::new(Mixed(stage.clock()));
    let mut recorder = Recorder::new(options, stage.seen(), clock).unwrap();
    for operation in operations {
        stage.play(operation).unwrap();
        if *operation == Operation::Look {
            recorder.look().unwrap();
        }
    }
    stage.stop().unwrap();
    let live = stage.expectation().unwrap();
    let paths: Vec<_> = events(&live)
        .iter()
        .map(|event| text(event, "path").to_owned())
        .collect();
    let names: std::collections::BTreeMap<_, _> = paths
        .into_iter()
        .map(|path| (path.clone(), recorder.name_in_script(&path)))
        .collect();
    let looks = recorder.looks();
    let done = recorder.finish().unwrap();
    assert_eq!(
        (done.looks, done.events),
        (looks, live.lines().count() as u64),
        "{live}"
    );
    Recording {
        fixture,
        temp,
        live,
        name: Box::new(move |path| names[path].clone()),
    }
}

impl Recording {
    /// Asserts that what was recorded gives these events.
    #[track_caller]
    fn gives(&self, expected: &str) {
        assert_eq!(play(&self.fixture, SourceKind::Poll).unwrap(), Played::Passed);
        fs::write(self.fixture.join(EXPECT), expected).unwrap();
        let played = play(&self.fixture, SourceKind::Poll).unwrap();
        assert!(self.temp.path().exists());
        assert_eq!(played, Played::Passed, "{}", self.script());
    }

    fn script(&self) -> String {
        fs::read_to_string(self.fixture.join(SCRIPT)).unwrap()
    }

    /// The recorded operations.
    fn operations(&self) -> Vec<Operation> {
        let script = Script::read(&self.fixture.join(SCRIPT)).unwrap();
        script.steps.into_iter().map(|step| step.operation).collect()
    }

    /// The live events as they are scrubbed: names and lines, and nothing else.
    fn scrubbed(&self, secret: &Secret) -> String {
        let mut scrubbed = String::new();
        for mut event in events(&self.live) {
            let path = (self.name)(text(&event, "path"));
            event["session_id"] = Path::new(&path).file_stem().unwrap().to_str().unwrap().into();
            event["path"] = path.into();
            let line = event["line"].as_str().map(|line| line.as_bytes().to_owned());
            let exact = event["line_base64"]
                .as_str()
                .map(|base64| STANDARD.decode(base64).unwrap());
            if let Some(mut line) = line.or(exact) {
                Scrubber::new(secret).scrub(&mut line);
                match String::from_utf8(line) {
                    Ok(line) => event["line"] = line.into(),
                    Err(line) => event["line_base64"] = STANDARD.encode(line.as_bytes()).into(),
                }
            }
            scrubbed += &event.to_string();
            scrubbed.push('\n');
        }
        scrubbed
    }
}

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap()
}

fn secret() -> Secret {
    Secret::new(&[3; 32])
}

fn write(path: &str, bytes: impl AsRef<[u8]>) -> Operation {
    Operation::write(path, bytes.as_ref())
}

fn add(path: &str, bytes: impl AsRef<[u8]>) -> Operation {
    Operation::append(path, bytes.as_ref())
}

fn rename(from: &str, to: &str) -> Operation {
    Operation::Rename {
        from: from.into(),
        to: to.into(),
    }
}

fn remove(path: &str) -> Operation {
    Operation::Remove { path: path.into() }
}

fn truncate(path: &str, size: u64) -> Operation {
    Operation::Truncate {
        path: path.into(),
        size,
    }
}

fn fail(path: &str, errno: Option<&str>) -> Operation {
    Operation::Fail {
        path: path.into(),
        errno: errno.map(str::to_owned),
    }
}

/// The operations with a look behind each.
fn each_with_a_look(operations: Vec<Operation>) -> Vec<Operation> {
    operations
        .into_iter()
        .flat_map(|operation| [operation, Operation::Look])
        .collect()
}

#[test]
fn each_fixture_tree_recorded_while_it_is_played_gives_its_events_again() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees");
    let mut recorded = 0;
    for entry in fs::read_dir(trees).unwrap() {
        let path = entry.unwrap().path();
        let script = Script::read(&path.join(SCRIPT)).unwrap();
        let operations: Vec<_> = script.steps.into_iter().map(|step| step.operation).collect();
        // A recording is of a tree as a whole, and knows nothing of those who watch it.
        let hidden = |operation: &Operation| matches!(operation, Operation::Restart | Operation::Crash);
        let mut plain = script.head.options.clone();
        plain.glob = None;
        if script.head.roots != ["."] || !plain.is_default() || operations.iter().any(hidden) {
            continue;
        }
        let recording = record(&script.head, &operations, None);
        recording.gives(&recording.live);
        if script.head.options.is_default() {
            let recording = record(&script.head, &operations, Some(&secret()));
            recording.gives(&recording.scrubbed(&secret()));
        }
        recorded += 1;
    }
    assert!(recorded >= 15, "{recorded}");
}

/// What programs do to logs, a look after each.
fn a_life() -> Vec<Operation> {
    let claude = r#"{"type":"user","message":{"role":"user","content":"Grüße, \"you\" é\n"},"n":[1,2.5e3,true]}"#;
    each_with_a_look(vec![
        write("a.jsonl", format!("{claude}\n")),
        add("a.jsonl", "{\"half\":\"of a l"),
        add("a.jsonl", "ine\"}\n"),
        add("a.jsonl", b"{\"t\":\"\xc3"),
        add("a.jsonl", b"\xa9\"}\n\xff\xfe\0 no json 2026\n\n\r\n"),
        write("d/e/b.jsonl", "{\"b\":1}\n{\"b\":2}\n"),
        write("notes.txt", "not a log"),
        rename("a.jsonl", "d/c.jsonl"),
        add("d/c.jsonl", "{\"moved\":true}\n"),
        rename("d/c.jsonl", "d/c.jsonl.1"),
        add("d/c.jsonl.1", "{\"after\":\"rotation\"}\n"),
        write("d/c.jsonl", "{\"new\":\"one\"}\n"),
        remove("d/c.jsonl.1"),
        truncate("d/e/b.jsonl", 8),
        add("d/e/b.jsonl", "{\"b\":\"other\"}\n"),
        truncate("d/e/b.jsonl", 14),
        add("d/e/b.jsonl", "s\"}\n"),
        write("d/e/b.jsonl", "{\"b\":0}\n"),
        write("d/e/b.jsonl", ""),
        rename("d/e", "d/f"),
        Operation::Mkdir { path: "empty".into() },
        remove("d"),
        write("d", "a file where a directory was"),
        remove("empty"),
        rename("notes.txt", "notes.jsonl"),
    ])
}

#[test]
fn a_recorded_life_gives_its_events_again_scrubbed_or_not() {
    let recording = record(&Head::new("a life"), &a_life(), None);
    recording.gives(&recording.live);
    let operations = recording.operations();
    for exactly in [
        truncate("d/e/b.jsonl", 8),
        write("d/e/b.jsonl", "{\"b\":0}\n"),
        truncate("d/e/b.jsonl", 0),
    ] {
        assert!(operations.contains(&exactly), "{exactly:?} in {operations:?}");
    }
    let recording = record(&Head::new("a life"), &a_life(), Some(&secret()));
    recording.gives(&recording.scrubbed(&secret()));
    for word in ["a.jsonl", "notes", "you", "half", "rotation", "other", "file where"] {
        let shown = recording.script();
        assert_eq!(shown.contains(word), word == "half", "`{word}` in {shown}");
    }
}

#[test]
fn chains_swaps_and_replacements_are_renames() {
    let recording = record(
        &Head::new("renames"),
        &[
            write("a.jsonl", "a\n"),
            write("b.jsonl", "b\n"),
            write("c.jsonl", "c\n"),
            Operation::Look,
            // A chain, and an old file that gets more under its new name.
            rename("b.jsonl", "b2.jsonl"),
            rename("a.jsonl", "b.jsonl"),
            add("b2.jsonl", "b\n"),
            Operation::Look,
            // A swap.
            rename("b.jsonl", "x"),
            rename("b2.jsonl", "b.jsonl"),
            rename("x", "b2.jsonl"),
            Operation::Look,
            // An atomic save; what the old file got last is seen by its handle.
            add("c.jsonl", "rest\n"),
            write("c.tmp", "c\nmore\n"),
            rename("c.tmp", "c.jsonl"),
            Operation::Look,
            // One file over another.
            rename("c.jsonl", "b.jsonl"),
            Operation::Look,
        ],
        None,
    );
    recording.gives(&recording.live);
    let operations = recording.operations();
    let renames = |operation: &&Operation| matches!(operation, Operation::Rename { .. });
    let renames: Vec<_> = operations.iter().filter(renames).cloned().collect();
    let (one, other) = (".tailspool-record-1.tmp", ".tailspool-record-2.tmp");
    assert_eq!(
        renames,
        [
            rename("b.jsonl", "b2.jsonl"),
            rename("a.jsonl", "b.jsonl"),
            rename("b.jsonl", one),
            rename("b2.jsonl", "b.jsonl"),
            rename(one, "b2.jsonl"),
            rename(other, "c.jsonl"),
            rename("c.jsonl", "b.jsonl"),
        ]
    );
    assert!(operations.contains(&add("c.jsonl", "rest\n")));
}

#[test]
fn links_of_both_kinds_are_recorded_and_none_leads_out_of_the_tree() {
    let live = tempfile::tempdir().unwrap();
    let temp = tempfile::tempdir().unwrap();
    let top = live.path().canonicalize().unwrap();
    let options = RecordOptions::new(&top, temp.path().join("out"));
    let tree = Box::<tailspool::source::tree::OsTree>::default();
    let mut recorder = Recorder::new(options, tree, Arc::new(tailspool::clock::SystemClock)).unwrap();
    fs::create_dir(top.join("d")).unwrap();
    fs::write(top.join("d/a.jsonl"), "a\n").unwrap();
    fs::hard_link(top.join("d/a.jsonl"), top.join("b.jsonl")).unwrap();
    let link = |target: &str, path: &str| std::os::unix::fs::symlink(target, top.join(path)).unwrap();
    link("/etc/passwd", "out");
    link("../../../x", "d/up");
    link("../b.jsonl", "d/in");
    recorder.look().unwrap();
    fs::remove_file(top.join("d/in")).unwrap();
    link("a.jsonl", "d/in");
    fs::remove_file(top.join("d/a.jsonl")).unwrap();
    append(top.join("b.jsonl"), "b\n");
    recorder.look().unwrap();
    recorder.finish().unwrap();
    let script = Script::read(&temp.path().join("out").join(SCRIPT)).unwrap();
    let operations: Vec<_> = script.steps.into_iter().map(|step| step.operation).collect();
    let symlink = |path: &str, target: &str| Operation::Symlink {
        path: path.into(),
        target: target.into(),
    };
    let outside = "outside-of-the-recorded-tree";
    assert_eq!(
        operations,
        [
            Operation::Mkdir { path: "d".into() },
            write("b.jsonl", "a\n"),
            Operation::Hardlink {
                from: "b.jsonl".into(),
                to: "d/a.jsonl".into(),
            },
            symlink("d/in", "../b.jsonl"),
            symlink("d/up", outside),
            symlink("out", outside),
            Operation::Look,
            remove("d/a.jsonl"),
            remove("d/in"),
            symlink("d/in", "a.jsonl"),
            add("b.jsonl", "b\n"),
            Operation::Look,
        ]
    );
}

#[test]
fn what_cannot_be_looked_at_fails_in_the_recording_too_until_it_can() {
    let recording = record(
        &Head::new("failures"),
        &[
            write("d/a.jsonl", "a\n"),
            write("b.jsonl", "b\n"),
            Operation::Look,
            fail("d", Some("EMFILE")),
            fail("b.jsonl", Some("EACCES")),
            add("b.jsonl", "more\n"),
            write("c.jsonl", "c\n"),
            fail("c.jsonl", Some("EIO")),
            Operation::Look,
            fail("d", None),
            fail(".", Some("ESTALE")),
            Operation::Look,
            fail(".", None),
            fail("b.jsonl", None),
            fail("c.jsonl", None),
            add("d/a.jsonl", "more\n"),
            Operation::Look,
        ],
        None,
    );
    recording.gives(&recording.live);
    let operations = recording.operations();
    let fails = |operation: &&Operation| matches!(operation, Operation::Fail { .. });
    let fails: Vec<_> = operations.iter().filter(fails).cloned().collect();
    let expected = [
        fail("b.jsonl", Some("EACCES")),
        fail("c.jsonl", Some("EIO")),
        fail("d", Some("EMFILE")),
        fail("b.jsonl", None),
        fail("c.jsonl", None),
        fail("d", None),
        fail(".", Some("ESTALE")),
        fail(".", None),
    ];
    assert_eq!(fails, expected);
    assert!(
        operations.contains(&write("c.jsonl", "")),
        "it is there, with nothing known of it"
    );
}

#[test]
fn large_pieces_are_split_between_characters_and_time_goes_by() {
    let line = "é".repeat(300_000);
    let recording = record(
        &Head::new("large"),
        &[
            write("s.jsonl", "x"),
            Operation::Look,
            add("s.jsonl", &line),
            Operation::Pass { ms: 61_234 },
            Operation::Look,
            Operation::Look,
        ],
        None,
    );
    recording.gives(&recording.live);
    let operations = recording.operations();
    let pieces: Vec<_> = operations[2..5]
        .iter()
        .map(|operation| match operation {
            Operation::Append { text: Some(text), .. } => text.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(pieces, [262_144, 262_144, 600_000 - 2 * 262_144]);
    let after = [Operation::Pass { ms: 61_234 }, Operation::Look, Operation::Look];
    assert_eq!(operations[5..], after);
}

/// What may happen next, by numbers that are given a meaning when it does.
#[derive(Debug, Clone)]
enum Deed {
    Write(usize),
    Append(usize, bool),
    Truncate(usize, u64),
    Rename(usize, usize),
    Remove(usize),
    Replace(usize),
    Look,
}

const PATHS: [&str; 6] = ["a.jsonl", "b.jsonl", "c.jsonl.1", "d/a.jsonl", "d/e/f.jsonl", "notes"];

fn deed() -> impl Strategy<Value = Deed> {
    let path = || 0..PATHS.len();
    prop_oneof![
        2 => path().prop_map(Deed::Write),
        6 => (path(), any::<bool>()).prop_map(|(path, whole)| Deed::Append(path, whole)),
        1 => (path(), 0..60_u64).prop_map(|(path, size)| Deed::Truncate(path, size)),
        3 => (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => path().prop_map(Deed::Remove),
        2 => path().prop_map(Deed::Replace),
        5 => Just(Deed::Look),
    ]
}

/// Operations that can be done, one after the other, with no two contents of equal length.
fn operations(deeds: &[Deed]) -> Vec<Operation> {
    let mut there: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    let mut operations = Vec::new();
    for (count, deed) in deeds.iter().enumerate() {
        let line = |newline: &str| format!("{{\"n\":{count},\"text\":\"{}\"}}{newline}", "word ".repeat(count));
        match *deed {
            Deed::Write(path) => {
                there.insert(PATHS[path], line("\n").len() as u64);
                operations.push(write(PATHS[path], line("\n")));
            }
            Deed::Append(path, whole) => {
                let line = line(if whole { "\n" } else { "" });
                *there.entry(PATHS[path]).or_default() += line.len() as u64;
                operations.push(add(PATHS[path], line));
            }
            Deed::Truncate(path, size) if there.get(PATHS[path]).is_some_and(|was| *was > size) => {
                there.insert(PATHS[path], size);
                operations.push(truncate(PATHS[path], size));
            }
            Deed::Rename(from, to) if from != to && there.contains_key(PATHS[from]) => {
                let size = there.remove(PATHS[from]).unwrap();
                there.insert(PATHS[to], size);
                operations.push(rename(PATHS[from], PATHS[to]));
            }
            Deed::Remove(path) if there.remove(PATHS[path]).is_some() => operations.push(remove(PATHS[path])),
            Deed::Replace(path) => {
                there.insert(PATHS[path], line("\n").len() as u64);
                operations.push(write("new.tmp", line("\n")));
                operations.push(rename("new.tmp", PATHS[path]));
            }
            Deed::Truncate(..) | Deed::Rename(..) | Deed::Remove(_) => {}
            Deed::Look => operations.push(Operation::Look),
        }
    }
    operations.push(Operation::Look);
    operations
}

#[test]
fn whatever_happens_to_a_tree_its_recording_gives_the_same_events() {
    let config = ProptestConfig {
        cases: 30,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    // The same cases in each run: what can go wrong here is told by the clock of the filesystem, not by chance.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let done = runner.run(&prop::collection::vec(deed(), 1..30), |deeds| {
        let operations = operations(&deeds);
        let recording = record(&Head::new("anything"), &operations, None);
        recording.gives(&recording.live);
        let recording = record(&Head::new("anything"), &operations, Some(&secret()));
        recording.gives(&recording.scrubbed(&secret()));
        Ok(())
    });
    done.unwrap();
}

/// A sandbox with a log, and one that is no log.
fn with_logs() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.log("p")).unwrap();
    append(
        sandbox.log("p/session.jsonl"),
        "{\"role\":\"user\",\"text\":\"a secret\"}\n",
    );
    append(sandbox.log("p/notes.txt"), "nothing\n");
    sandbox
}

#[test]
fn the_command_makes_a_fixture_that_replays_and_is_private() {
    let sandbox = with_logs();
    let args = [
        "record",
        "user/logs",
        "--out",
        "new/out",
        "--looks",
        "2",
        "--interval",
        "1ms",
    ];
    let ended = sandbox.run(&args).exits(0).no_error();
    assert!(
        ended
            .stderr
            .ends_with("recorded 2 looks, 2 operations and 2 events in new/out\n"),
        "{ended:#?}"
    );
    assert_eq!(ended.text(), "");
    let ended = sandbox.run(&["replay", "new/out"]).exits(0);
    assert_eq!(ended.text(), "passed out\n");
    for (path, mode) in [
        ("new/out", 0o700),
        ("new/out/script.jsonl", 0o600),
        ("new/out/expect.jsonl", 0o600),
    ] {
        let found = fs::metadata(sandbox.path(path)).unwrap().permissions().mode();
        assert_eq!(found & 0o777, mode, "{path}");
    }
    assert!(!sandbox.home("").exists(), "recording needs no home");
}

#[test]
fn a_scrubbed_recording_shows_no_word_of_the_logs_and_replays() {
    let sandbox = with_logs();
    let record = |out: &str| {
        let args = ["record", "user/logs", "--out", out, "--looks", "1", "--scrub"];
        sandbox.run(&args).exits(0);
        assert_eq!(sandbox.run(&["replay", out]).exits(0).text(), format!("passed {out}\n"));
        let read = |name: &str| fs::read_to_string(sandbox.path(out).join(name)).unwrap();
        read(SCRIPT) + &read(EXPECT)
    };
    let (one, other) = (record("one"), record("other"));
    for word in ["session.jsonl", "secret", "a s", "logs"] {
        assert!(!one.contains(word), "{word} in {one}");
    }
    assert!(
        one.contains(r#"{\"role\":\"user\",\"text\":\""#) && one.contains(".jsonl"),
        "{one}"
    );
    assert_ne!(one, other, "each recording has a secret of its own");
}

#[test]
fn a_signal_ends_a_recording_after_one_look_more() {
    let sandbox = with_logs();
    let running = Running::start(sandbox.command(&["record", "user/logs", "--out", "out", "--interval", "24h"]));
    running.says("recording ");
    let ended = running.stop();
    assert!(ended.stderr.contains("recorded 2 looks, "), "{ended:#?}");
    sandbox.run(&["replay", "out"]).exits(0);
}

#[test]
fn a_recording_that_makes_no_sense_is_refused_before_anything_is_looked_at() {
    let sandbox = with_logs();
    fs::create_dir(sandbox.path("full")).unwrap();
    append(sandbox.path("full/x"), "x");
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    for (args, code, what) in [
        (&["user/logs", "--out", "user/logs/out"][..], 2, "user/logs/out"),
        (&["user/logs", "--out", "user/../user/logs"], 2, "user/logs"),
        (&["user/logs", "--out", "full"], 2, "full"),
        (&["user/nowhere", "--out", "out"], 2, "user/nowhere"),
        (&["user/logs/p/session.jsonl", "--out", "out"], 2, "session.jsonl"),
        (&["elsewhere", "--out", "out"], 3, "elsewhere"),
        (&["user/logs", "--out", "out", "--glob", "a["], 2, "`a[`"),
        (
            &["user/logs", "--out", "out", "--scrub", "--glob", "s*.jsonl"],
            2,
            "`s*.jsonl`",
        ),
        (&["user/logs"], 2, "--out"),
        (&["user/logs", "--out", "out", "--looks", "0"], 2, "--looks"),
    ] {
        let looks: &[&str] = if args.contains(&"--looks") {
            &[]
        } else {
            &["--looks", "1"]
        };
        let ended = sandbox.run(&[&["record"], args, looks].concat()).exits(code);
        assert!(ended.error().contains(what), "{args:?}: {ended:#?}");
        assert!(!sandbox.path("out").exists(), "{args:?}");
    }
    let args = ["record", "elsewhere", "--out", "out", "--scope", ".", "--looks", "1"];
    sandbox.run(&args).exits(0);
}

#[test]
fn copies_in_the_tree_that_is_recorded_are_refused() {
    let sandbox = with_logs();
    let mut command = sandbox.command(&["record", "user", "--out", "out", "--looks", "1"]);
    command.env("TMPDIR", sandbox.path("user/logs"));
    let ended = Running::start(command).end().exits(2);
    assert!(ended.hint().contains("TMPDIR"), "{ended:#?}");
}

#[test]
fn the_queue_of_a_home_in_the_tree_is_left_out() {
    let sandbox = with_logs();
    let args = ["watch", "--once", "--home", "user/state", "user/logs"];
    sandbox.run(&args).exits(0);
    let args = ["record", "user", "--out", "out", "--looks", "1", "--home", "user/state"];
    sandbox.run(&args).exits(0);
    let script = fs::read_to_string(sandbox.path("out/script.jsonl")).unwrap();
    assert!(
        script.contains("logs/p/session.jsonl") && !script.contains("pending"),
        "{script}"
    );
}
