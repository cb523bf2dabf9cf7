//! `tailspool replay`, as a user meets it, and the stage that it plays on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use support::{Ended, Sandbox};
use tailspool::event::Event;
use tailspool::replay::{Head, Operation, Stage};

const HEAD: &str = r#"{"about":"x"}"#;
const TWO_LINES: &str = r#"{"op":"write","path":"d/s.jsonl","text":"{\"a\":1}\n{\"a\":2}\n"}"#;
const LOOK: &str = r#"{"op":"look"}"#;

/// Makes the fixture `name` of these lines, without what is expected.
fn fixture(sandbox: &Sandbox, name: &str, lines: &[&str]) {
    fs::create_dir_all(sandbox.path(name)).unwrap();
    let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
    fs::write(sandbox.path(name).join("script.jsonl"), text).unwrap();
}

/// Makes it, and writes down as expected what comes.
fn blessed(sandbox: &Sandbox, name: &str, lines: &[&str]) {
    fixture(sandbox, name, lines);
    let ended = sandbox.run(&["replay", "--bless", name]).exits(0).no_error();
    assert_eq!(ended.text(), format!("blessed {name}\n"));
}

/// The expected events of a fixture.
fn expected(sandbox: &Sandbox, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(sandbox.path(name).join("expect.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Writes other events down as expected.
fn expect(sandbox: &Sandbox, name: &str, events: &[Value]) {
    let text = events
        .iter()
        .fold(String::new(), |text, event| text + &event.to_string() + "\n");
    fs::write(sandbox.path(name).join("expect.jsonl"), text).unwrap();
}

#[test]
fn what_was_blessed_passes_also_when_paths_come_in_another_order() {
    let sandbox = Sandbox::new();
    let other = r#"{"op":"append","path":"a.jsonl","base64":"/wo="}"#;
    blessed(&sandbox, "f", &[HEAD, TWO_LINES, other, LOOK, LOOK]);
    let mut events = expected(&sandbox, "f");
    assert_eq!(
        events[0],
        json!({"continues": null, "epoch": 0, "file_id": "f1", "inode": "i1", "kind": "new", "path": "a.jsonl",
            "session_id": "a"})
    );
    let passes = |source: &[&str]| {
        let ended = sandbox.run(&[&["replay", "f"], source].concat()).exits(0).no_error();
        assert_eq!(ended.text(), "passed f\n");
        assert!(ended.stderr.ends_with("1 passed, 0 skipped, 0 differ\n"), "{ended:#?}");
    };
    passes(&[]);
    passes(&["--source", "poll"]);
    events.sort_by_key(|event| event["path"] != "d/s.jsonl");
    expect(&sandbox, "f", &events);
    passes(&[]);
}

#[test]
fn told_of_changes_a_fixture_brings_what_polling_brings_and_is_blessed_by_polling_alone() {
    let sandbox = Sandbox::new();
    let more = r#"{"op":"append","path":"d/s.jsonl","text":"{\"a\":3}\n"}"#;
    blessed(&sandbox, "f", &[HEAD, TWO_LINES, LOOK, more, LOOK]);
    let ended = sandbox.run(&["replay", "--source", "notify", "f"]).exits(0).no_error();
    assert_eq!(ended.text(), "passed f\n");
    let mut events = expected(&sandbox, "f");
    events[3]["line"] = json!("{\"a\":4}");
    expect(&sandbox, "f", &events);
    let ended = sandbox.run(&["replay", "--source", "notify", "f"]).exits(1).no_error();
    assert!(ended.text().starts_with("differs f\nin d/s.jsonl:\n-{"), "{ended:#?}");
    let ended = sandbox.run(&["replay", "--source", "notify", "--bless", "f"]).exits(2);
    assert!(
        ended.stderr.starts_with("error: cannot bless with --source notify"),
        "{ended:#?}"
    );
    assert_eq!(expected(&sandbox, "f"), events, "nothing was written");
}

#[test]
fn a_difference_is_shown_and_the_other_fixtures_are_played_all_the_same() {
    let sandbox = Sandbox::new();
    for name in ["f1", "f2", "f3"] {
        blessed(&sandbox, name, &[HEAD, TWO_LINES, LOOK]);
    }
    let mut events = expected(&sandbox, "f2");
    events[2]["line"] = json!("{\"a\":3}");
    expect(&sandbox, "f2", &events);
    let ended = sandbox.run(&["replay", "f1", "./f2", "f3"]).exits(1).no_error();
    let lines: Vec<_> = ended.text().lines().collect();
    assert_eq!(lines[..3], ["passed f1", "differs f2", "in d/s.jsonl:"]);
    assert!(
        lines[3].starts_with("-{") && lines[3].contains(r#"{\"a\":3}"#),
        "{lines:?}"
    );
    assert!(
        lines[4].starts_with("+{") && lines[4].contains(r#"{\"a\":2}"#),
        "{lines:?}"
    );
    assert_eq!(lines[5..], ["passed f3"]);
    assert!(ended.stderr.ends_with("2 passed, 0 skipped, 1 differ\n"), "{ended:#?}");
}

#[test]
fn an_event_too_many_too_few_or_in_another_place_is_a_difference() {
    let sandbox = Sandbox::new();
    blessed(&sandbox, "f", &[HEAD, TWO_LINES, LOOK]);
    let events = expected(&sandbox, "f");
    let swapped = [events[0].clone(), events[2].clone(), events[1].clone()];
    for other in [&events[..2], &[&events[..], &events[1..2]].concat(), &swapped, &[]] {
        expect(&sandbox, "f", other);
        let ended = sandbox.run(&["replay", "f"]).exits(1);
        assert!(ended.text().starts_with("differs f\n"), "{ended:#?}");
    }
}

#[test]
fn exactly_one_of_two_opposite_needs_is_skipped() {
    let sandbox = Sandbox::new();
    let mut names = vec!["with", "without"];
    for (name, need) in [("with", "birth-times"), ("without", "no-birth-times")] {
        let head = json!({"about": "x", "needs": [need]}).to_string();
        fixture(&sandbox, name, &[&head, TWO_LINES, LOOK]);
        expect(&sandbox, name, &[]);
    }
    let ended = sandbox.run(&["replay", "with", "without"]).exits(1);
    let lines: Vec<_> = ended
        .text()
        .lines()
        .filter(|line| !line.starts_with(['-', '+', 'i']))
        .collect();
    let told = |line: &&str| line.starts_with("skipped with: ") || line.starts_with("skipped without: ");
    assert_eq!(lines.iter().filter(|line| told(line)).count(), 1, "{ended:#?}");
    names.retain(|name| lines.contains(&format!("differs {name}").as_str()));
    assert_eq!(names.len(), 1, "{ended:#?}");
    assert!(ended.stderr.ends_with("0 passed, 1 skipped, 1 differ\n"), "{ended:#?}");
}

#[test]
fn a_script_that_makes_no_sense_is_a_usage_error_with_file_and_line() {
    let sandbox = Sandbox::new();
    let cases: &[(&[&str], usize, &str)] = &[
        (&[], 1, "the script is empty"),
        (&[LOOK], 1, "the first line must be the head"),
        (&["look"], 1, "the first line must be the head"),
        (&[r#"{"about":"x","root":["."]}"#], 1, "`root`"),
        (&[r#"{"about":"x","roots":[]}"#], 1, "no root"),
        (&[r#"{"about":"x","roots":["../r"]}"#], 1, "leaves the tree"),
        (&[r#"{"about":"x","roots":["r","r/s"]}"#], 1, "overlap"),
        (&[r#"{"about":"x","needs":"luck"}"#], 1, "`luck`"),
        (&[r#"{"about":"x","needs":["inode-reuse","luck"]}"#], 1, "`luck`"),
        (&[r#"{"about":"x","options":{"glub":["*"]}}"#], 1, "`glub`"),
        (&[r#"{"about":"x","options":{"glob":["a["]}}"#], 1, "`a[`"),
        (&[r#"{"about":"x","options":{"from":"middle"}}"#], 1, "`middle`"),
        (&[r#"{"about":"x","options":{"max_files":0}}"#], 1, "at least 1"),
        (&[HEAD, r#"{"op":"dance"}"#], 2, "`dance`"),
        (&[HEAD, ""], 2, "EOF"),
        (&[HEAD, r#"{"path":"x"}"#], 2, "`op`"),
        (&[HEAD, LOOK, r#"{"op":"look","at":1}"#], 3, "`at`"),
        (&[HEAD, r#"{"op":"remove","path":"a","force":true}"#], 2, "`force`"),
        (&[HEAD, r#"{"op":"remove"}"#], 2, "`path`"),
        (&[HEAD, r#"{"op":"remove","path":"/etc/x"}"#], 2, "leaves the tree"),
        (&[HEAD, r#"{"op":"remove","path":"a/../../x"}"#], 2, "leaves the tree"),
        (&[HEAD, r#"{"op":"remove","path":""}"#], 2, "no path"),
        (&[HEAD, r#"{"op":"remove","path":"."}"#], 2, "the tree itself"),
        (
            &[HEAD, r#"{"op":"rename","from":"a","to":"../b"}"#],
            2,
            "leaves the tree",
        ),
        (
            &[HEAD, r#"{"op":"hardlink","from":"/a","to":"b"}"#],
            2,
            "leaves the tree",
        ),
        (
            &[HEAD, r#"{"op":"symlink","path":"d/l","target":"../../x"}"#],
            2,
            "leaves the tree",
        ),
        (
            &[HEAD, r#"{"op":"symlink","path":"l","target":"/etc"}"#],
            2,
            "leaves the tree",
        ),
        (&[HEAD, r#"{"op":"write","path":"a"}"#], 2, "neither"),
        (
            &[HEAD, r#"{"op":"append","path":"a","text":"","base64":""}"#],
            2,
            "both",
        ),
        (&[HEAD, r#"{"op":"write","path":"a","base64":"?"}"#], 2, "base64"),
        (&[HEAD, r#"{"op":"chmod","path":"a","mode":"rw-"}"#], 2, "`rw-`"),
        (&[HEAD, r#"{"op":"chmod","path":"a","mode":"800"}"#], 2, "`800`"),
        (&[HEAD, r#"{"op":"fail","path":"a","errno":"EWHAT"}"#], 2, "`EWHAT`"),
        (&[HEAD, r#"{"op":"fail","path":"a"}"#], 2, "`errno`"),
        (&[HEAD, r#"{"op":"truncate","path":"a","size":-1}"#], 2, "-1"),
        (&[HEAD, r#"{"op":"pass","ms":99999999999999}"#], 2, "99999999999999"),
        (&[HEAD, TWO_LINES, LOOK, "\u{1}"], 4, "column 1"),
    ];
    for (lines, number, cause) in cases {
        fixture(&sandbox, "f", lines);
        expect(&sandbox, "f", &[]);
        for args in [&["replay", "f"][..], &["replay", "--bless", "f"]] {
            let ended = sandbox.run(args).exits(2);
            let error = ended.error();
            let place = format!("f/script.jsonl:{number}: ");
            assert!(error.contains(&place) && error.contains(cause), "{lines:?}: {error}");
            assert_eq!(ended.text(), "");
        }
    }
}

#[test]
fn a_fixture_that_lacks_a_file_or_expects_nonsense_is_a_usage_error() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("empty")).unwrap();
    fixture(&sandbox, "unblessed", &[HEAD, LOOK]);
    for name in ["bad", "pathless", "good"] {
        blessed(&sandbox, name, &[HEAD, TWO_LINES, LOOK]);
    }
    fs::write(sandbox.path("bad/expect.jsonl"), "{}\n").unwrap();
    fs::write(sandbox.path("pathless/expect.jsonl"), "{\"path\":\"a\"}\nnull\n").unwrap();
    let fails = |name: &str, what: &str| -> Ended {
        let ended = sandbox.run(&["replay", name]).exits(2);
        assert!(ended.error().contains(what), "{ended:#?}");
        ended
    };
    fails("empty", "empty/script.jsonl: ").hint();
    fails("nowhere", "nowhere/script.jsonl: ").hint();
    fails("good/script.jsonl", "good/script.jsonl/script.jsonl: ");
    assert!(
        fails("unblessed", "unblessed/expect.jsonl: ")
            .hint()
            .contains("--bless")
    );
    fails("bad", "bad/expect.jsonl:1: ");
    fails("pathless", "pathless/expect.jsonl:2: ");
    sandbox.run(&["replay"]).exits(2);

    let ended = sandbox.run(&["replay", "empty", "good"]).exits(2);
    assert_eq!(ended.text(), "passed good\n");
    assert!(
        ended
            .stderr
            .ends_with("1 passed, 0 skipped, 0 differ, 1 could not be played\n"),
        "{ended:#?}"
    );
}

#[test]
fn an_operation_that_cannot_be_done_is_an_error_with_file_and_line() {
    let sandbox = Sandbox::new();
    for (operation, cause) in [
        (r#"{"op":"rename","from":"no","to":"a"}"#, "cannot rename no: "),
        (r#"{"op":"remove","path":"no"}"#, "cannot remove no: "),
        (r#"{"op":"truncate","path":"no","size":0}"#, "cannot truncate no: "),
        (
            r#"{"op":"chmod","path":"no","mode":"600"}"#,
            "cannot change the permissions of no: ",
        ),
        (r#"{"op":"hardlink","from":"no","to":"a"}"#, "cannot link no: "),
        (r#"{"op":"append","path":"d","text":""}"#, "cannot append to d: "),
        (r#"{"op":"write","path":"l/a","text":""}"#, "symlink"),
    ] {
        let symlink = r#"{"op":"symlink","path":"l","target":"d"}"#;
        fixture(&sandbox, "f", &[HEAD, TWO_LINES, symlink, operation]);
        let ended = sandbox.run(&["replay", "--bless", "f"]).exits(1);
        let error = ended.error();
        assert!(error.contains("f/script.jsonl:4: ") && error.contains(cause), "{error}");
        assert!(!sandbox.path("f/expect.jsonl").exists());
    }
}

#[test]
fn the_options_of_a_script_are_those_of_its_source() {
    let sandbox = Sandbox::new();
    let head = r#"{"about":"x","options":{"glob":["*.log"],"from":"start"}}"#;
    let log = r#"{"op":"write","path":"a.log","text":"a\n"}"#;
    blessed(&sandbox, "glob", &[head, TWO_LINES, log, LOOK]);
    let paths: Vec<_> = expected(&sandbox, "glob")
        .iter()
        .map(|event| event["path"].clone())
        .collect();
    assert_eq!(paths, ["a.log", "a.log"]);

    let head = r#"{"about":"x","options":{"once":true}}"#;
    let more = r#"{"op":"append","path":"d/s.jsonl","text":"{\"a\":3}\n"}"#;
    blessed(&sandbox, "once", &[head, TWO_LINES, LOOK, more, LOOK]);
    assert_eq!(expected(&sandbox, "once").len(), 3);
}

#[test]
fn a_line_that_is_never_in_memory_is_compared_with_the_queue_by_its_length() {
    let sandbox = Sandbox::new();
    let long = json!({"op": "append", "path": "s.jsonl", "text": format!("{}\n", "x".repeat(1_500_000))});
    blessed(&sandbox, "f", &[HEAD, &long.to_string(), LOOK]);
    let append = &expected(&sandbox, "f")[1];
    assert_eq!(append["length"], json!(1_500_000));
    assert_eq!(append.get("line"), None);
    sandbox.run(&["replay", "f"]).exits(0);
}

#[test]
fn nothing_is_left_behind_and_a_fixture_may_be_named_by_a_symlink() {
    let sandbox = Sandbox::unprivileged();
    let mode = r#"{"op":"chmod","path":"d","mode":"000"}"#;
    fixture(&sandbox, "f", &[HEAD, TWO_LINES, LOOK, mode, LOOK]);
    symlink("f", sandbox.path("link")).unwrap();
    fs::create_dir(sandbox.path("tmp")).unwrap();
    sandbox.hand_over();
    for args in [&["replay", "--bless", "link"][..], &["replay", "f"]] {
        let mut command = sandbox.command(args);
        command.env("TMPDIR", sandbox.path("tmp"));
        support::Running::start(command).end().exits(0).no_error();
        assert_eq!(fs::read_dir(sandbox.path("tmp")).unwrap().count(), 0);
    }
    assert!(!sandbox.home("").exists());
}

/// The kinds and paths of all events up to now.
fn kinds(stage: &Stage) -> Vec<String> {
    let shown = |event: &Event| {
        let path = event.path.strip_prefix(stage.tree().to_str().unwrap()).unwrap();
        format!("{} {path}", event.kind)
    };
    stage.events().iter().map(shown).collect()
}

#[test]
fn a_stage_is_driven_operation_by_operation() {
    let mut stage = Stage::new(&Head::new("by hand")).unwrap();
    let mut play = |operation: Operation| stage.play(&operation);
    play(Operation::write("s.jsonl", b"a\nb")).unwrap();
    play(Operation::Look).unwrap();
    play(Operation::Crash).unwrap();
    play(Operation::append("s.jsonl", b"\xff\n")).unwrap();
    play(Operation::Restart).unwrap();
    play(Operation::Look).unwrap();
    play(Operation::append("../s.jsonl", b"")).unwrap_err();
    assert_eq!(kinds(&stage), ["new /s.jsonl", "append /s.jsonl", "append /s.jsonl"]);
    for _ in 0..2 {
        let queue = stage.queue().unwrap();
        let lines: Vec<_> = queue.iter().map(|queued| (queued.offset, &queued.bytes[..])).collect();
        assert_eq!(lines, [(0, &b"a"[..]), (2, b"b\xff")]);
    }
    stage.stop().unwrap();
    stage.play(&Operation::Look).unwrap_err();
    stage.play(&Operation::Restart).unwrap();
    stage.play(&Operation::Look).unwrap();
    assert_eq!(stage.events().len(), 3);
}

#[test]
fn what_fails_is_named_by_its_path_in_the_tree_whatever_the_root_is() {
    let mut head = Head::new("roots");
    head.roots = vec!["r/s".into(), "one.log".into()];
    let mut stage = Stage::new(&head).unwrap();
    let fail = |path: &str, errno: Option<&str>| Operation::Fail {
        path: path.into(),
        errno: errno.map(str::to_owned),
    };
    for path in ["r/s/d/a.jsonl", "r/s/b.jsonl", "one.log"] {
        stage.play(&Operation::write(path, b"a\n")).unwrap();
        stage.play(&fail(path, Some("EIO"))).unwrap();
    }
    stage.play(&fail("a.jsonl", Some("EIO"))).unwrap();
    stage.play(&Operation::Look).unwrap();
    assert_eq!(kinds(&stage), [""; 0]);
    for (path, seen) in [("./r/s/b.jsonl", 2), ("one.log", 4), ("r/s/d/a.jsonl", 6)] {
        stage.play(&fail(path, None)).unwrap();
        stage.play(&Operation::Look).unwrap();
        assert_eq!(stage.events().len(), seen, "{path}");
    }
}
