//! Names and texts that would drive a terminal, or break JSON.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::{Ended, Running, Sandbox, append};

/// What may be in a name: everything but `/` and NUL.
const ODD: [&[u8]; 9] = [
    b"new\nline: error: hint:",
    b"\x1b[31m\x1b]0;title\x07",
    b"\r\x08\x7f\t",
    "c1 \u{9b}31m \u{9d}0;x\u{9c}".as_bytes(),
    "\u{202e}turned\u{2066}\u{2069}\u{200b}".as_bytes(),
    b"\xff\xfe not \xc3 UTF-8 \xed\xa0\x80",
    b"-rf \"quoted\" 'too' \\ $(x) `y`",
    b"..",
    &[b'x'; 240],
];

/// A line that names such a directory, and holds such characters.
const LINE: &str = "{\"cwd\":\"/w\\u001b[31m\\n\\u009b\\u202e\",\"text\":\"\u{7f}\u{9b}31m\u{202e}\\u001b\"}\n\x1b[31m\x07\r\x08 \x00\n";

/// A character that a terminal may obey.
fn drives(character: char) -> bool {
    matches!(character, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Asserts that nothing drives the terminal on which both are shown.
#[track_caller]
fn harmless(ended: &Ended) {
    let odd = |text: &str| text.chars().any(|character| character != '\n' && drives(character));
    assert!(!odd(&ended.stderr) && !odd(ended.text()), "{ended:#?}");
    let kinds = [
        "debug",
        "info",
        "warn",
        "error",
        "hint",
        "watching",
        "caught up",
        "captured",
        "recording",
        "recorded",
    ];
    let ours = |line: &str| kinds.iter().any(|kind| line.starts_with(kind)) || !line.contains("error: hint:");
    assert!(ended.stderr.lines().all(ours), "a line that a name began: {ended:#?}");
}

/// Every command that tells of the home or of logs, and whether it prints JSON.
fn told(sandbox: &Sandbox, more: &[(&str, &Path)]) {
    let ulids: Vec<_> = sandbox.envelopes().iter().map(|one| one["ulid"].clone()).collect();
    let traces = ulids.iter().map(|ulid| vec!["trace", ulid.as_str().unwrap()]);
    let plain = [
        vec!["status"],
        vec!["sessions"],
        vec!["verify"],
        vec!["discover"],
        vec!["config"],
    ];
    for args in plain.into_iter().chain(traces) {
        let run = |more_args: &[&str]| {
            let mut command = sandbox.command(&[&args, more_args].concat());
            for (name, value) in more {
                command.env(name, value);
            }
            Running::start(command).end()
        };
        harmless(&run(&["-vv"]));
        let ended = run(&["--json"]);
        harmless(&ended);
        ended.json();
    }
    // Records are data: JSON, with what JSON allows.
    for format in ["envelope", "record"] {
        let ended = sandbox.run(&["-vv", "drain", "--peek", "--format", format]);
        let raw = |byte: &u8| *byte < b' ' && *byte != b'\n';
        assert!(!ended.stdout.iter().any(raw));
        ended.json();
        assert!(!ended.stderr.chars().any(|it| it != '\n' && drives(it)), "{ended:#?}");
    }
}

/// A log with each of the names, in a directory with the same.
fn logs(sandbox: &Sandbox, below: &str) -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for (name, number) in ODD.iter().zip(0..) {
        let directory = sandbox.path(below).join(OsStr::from_bytes(&[*name, b"d"].concat()));
        fs::create_dir_all(&directory).unwrap();
        let end = format!("{number:0>9}.jsonl");
        let log = directory.join(OsStr::from_bytes(&[name, end.as_bytes()].concat()));
        append(&log, LINE);
        logs.push(log);
    }
    logs
}

#[test]
fn every_name_that_a_file_can_have_is_captured_and_none_drives_a_terminal_nor_breaks_json() {
    assert_eq!(ODD[8].len() + "000000000.jsonl".len(), 255);
    let sandbox = Sandbox::new();
    let logs = logs(&sandbox, "user/logs");
    let begun = sandbox.once(&["-vv", "--events"]).exits(0);
    harmless(&begun);
    assert_eq!(begun.json().len(), ODD.len() * 3, "each has its `new` and two lines");
    let stem = |log: &PathBuf| log.file_stem().unwrap().to_string_lossy().into_owned();
    let mut expected: Vec<_> = logs.iter().flat_map(|log| [stem(log), stem(log)]).collect();
    let mut captured: Vec<_> = sandbox.records().into_iter().map(|record| record.0).collect();
    expected.sort();
    captured.sort();
    assert_eq!(captured, expected);
    let paths: Vec<Value> = sandbox
        .envelopes()
        .iter()
        .map(|one| one["record"]["source"].clone())
        .collect();
    for source in paths {
        let (text, base64) = (source["path"].as_str().unwrap(), source["path_base64"].as_str());
        let path = tailspool::pure::record::path_from_text(text, base64).unwrap();
        assert!(logs.contains(&path), "{source}");
    }
    told(&sandbox, &[]);
    // Rewritten, moved, removed, unreadable, in the way.
    for (log, n) in logs.iter().zip(0..) {
        match n % 3 {
            0 => fs::write(log, LINE.replace("text", "TEXT")).unwrap(),
            1 => fs::remove_file(log).unwrap(),
            _ => {
                fs::remove_file(log).unwrap();
                symlink("nowhere", log).unwrap();
            }
        }
    }
    for name in &ODD[..7] {
        let name = [b"pending-", *name, b".json"].concat();
        fs::write(sandbox.home("pending").join(OsStr::from_bytes(&name)), LINE).unwrap();
        let name = [b"pending-", &name[8..12], b"-directory.json"].concat();
        fs::create_dir_all(sandbox.home("pending").join(OsStr::from_bytes(&name))).unwrap();
    }
    harmless(&sandbox.run(&["-vv", "verify"]));
    harmless(&sandbox.run(&["-vv", "watch", "--once", "--events", "user/logs"]));
    told_of_damage(&sandbox);
}

/// The same when there is much to complain of.
fn told_of_damage(sandbox: &Sandbox) {
    for args in [
        &["status"][..],
        &["sessions"],
        &["verify"],
        &["-vv", "drain", "--max", "3"],
        &["-vv", "drain"],
        &["status"],
    ] {
        let ended = sandbox.run(args);
        if args.contains(&"drain") {
            assert!(!ended.stderr.chars().any(|it| it != '\n' && drives(it)), "{ended:#?}");
        } else {
            harmless(&ended);
        }
    }
    assert!(fs::read_dir(sandbox.home("quarantine")).unwrap().count() > 0);
}

#[test]
fn no_name_of_an_agents_directory_drives_the_terminal() {
    for name in &ODD[..8] {
        let sandbox = Sandbox::new();
        let agent = sandbox.path("user").join(OsStr::from_bytes(&[*name, b"."].concat()));
        let project = agent.join("projects").join(OsStr::from_bytes(&[*name, b"p"].concat()));
        fs::create_dir_all(&project).unwrap();
        append(project.join("one.jsonl"), LINE);
        fs::write(
            agent.join("settings.json"),
            r#"{"cleanupPeriodDays":"\u001b[31m\n\u009b\u202e"}"#,
        )
        .unwrap();
        let run = |args: &[&str]| {
            let mut command = sandbox.command(args);
            command.env("CLAUDE_CONFIG_DIR", &agent);
            Running::start(command).end()
        };
        let found = run(&["-vv", "discover"]);
        harmless(&found);
        assert!(found.text().contains("Claude"), "{found:#?}");
        assert_eq!(found.count("[discover.settings]"), 1, "{found:#?}");
        let watched = run(&["-vv", "watch", "--once", "--events"]).exits(0);
        harmless(&watched);
        assert_eq!(watched.json().len(), 3);
        told(&sandbox, &[("CLAUDE_CONFIG_DIR", &agent)]);
    }
}

#[test]
fn no_value_of_a_config_file_drives_the_terminal_when_it_is_printed() {
    let sandbox = Sandbox::new();
    let odd = r"a\u001b(31m\n\u009b\u007f\u202e\u2066b";
    let text = format!(
        "home = \"~/{odd}\"\nroots = [\"~/logs/{odd}\"]\nscope = [\"~\"]\nglob = [\"{odd}*\"]\nexclude = [\"~/{odd}/*\"]\n"
    );
    let path = sandbox.path("odd \u{1b}[31m\n\u{9b}.toml");
    fs::write(&path, &text).unwrap();
    let path = path.to_str().unwrap();
    for args in [
        &["config", "--config", path][..],
        &["config", "--json", "--config", path],
    ] {
        let mut command = sandbox.command(args);
        command.env_remove("TAILSPOOL_HOME");
        let ended = Running::start(command).end().exits(0);
        harmless(&ended);
        let read: Value = if args.contains(&"--json") {
            let json = ended.json().remove(0);
            assert_eq!(json["file"], path);
            json["settings"]["home"]["value"].clone()
        } else {
            let table = toml::de::DeTable::parse(ended.text()).unwrap();
            let table = table.get_ref();
            Value::from(table["home"].get_ref().as_str().unwrap())
        };
        let home = sandbox.path("user/a\u{1b}(31m\n\u{9b}\u{7f}\u{202e}\u{2066}b");
        assert_eq!(read, home.to_str().unwrap(), "{ended:#?}");
    }
}
