//! The real command, as a user meets it: exit codes, messages, output, and what it leaves in the queue.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::Stdio;

use jiff::Timestamp;
use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Ended, Record, Running, Sandbox, append, chmod, record, wait_for, wait_until_equal};

/// The keys of `status --json`, in their order.
const STATUS_KEYS: [&str; 15] = [
    "watching",
    "pid",
    "roots",
    "files",
    "files_gone",
    "captured_lines",
    "captured_bytes",
    "pending_batches",
    "pending_records",
    "pending_bytes",
    "oldest_pending_seconds",
    "queue_full",
    "backlog_bytes",
    "quarantined",
    "last_commit",
];

/// Text of numbered lines, each with its newline.
fn numbered(range: std::ops::RangeInclusive<u32>) -> String {
    range.fold(String::new(), |text, number| format!("{text}line {number}\n"))
}

/// A sandbox whose queue holds `batches` batches of `lines` numbered lines each.
fn with_batches(batches: u32, lines: u32) -> Sandbox {
    let sandbox = Sandbox::new();
    for batch in 0..batches {
        append(
            sandbox.log("a.jsonl"),
            numbered(batch * lines + 1..=(batch + 1) * lines),
        );
        sandbox.once(&[]).exits(0);
    }
    assert_eq!(sandbox.batches().len(), batches as usize);
    sandbox
}

/// Changes the text of a file.
fn edit(path: impl AsRef<std::path::Path>, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(&path).unwrap();
    let changed = change(text.clone());
    assert_ne!(changed, text);
    fs::write(path, changed).unwrap();
}

/// Asserts that the ULIDs of these envelopes rise.
#[track_caller]
fn assert_rising(envelopes: &[Value]) {
    let ulids: Vec<_> = envelopes
        .iter()
        .map(|envelope| envelope["ulid"].as_str().unwrap())
        .collect();
    assert!(ulids.is_sorted_by(|a, b| a < b), "{ulids:?}");
}

// The scope

#[test]
fn a_root_outside_the_home_directory_and_every_scope_is_refused_before_anything_is_opened() {
    let sandbox = Sandbox::new();
    for directory in ["elsewhere", "other"] {
        fs::create_dir(sandbox.path(directory)).unwrap();
        append(sandbox.path(directory).join("a.jsonl"), "line\n");
    }
    symlink(sandbox.path("elsewhere"), sandbox.path("user/out")).unwrap();
    let other = sandbox.path("other");
    let other = other.to_str().unwrap();
    for args in [
        &["watch", "--once", "elsewhere"][..],
        &["watch", "--once", "user/out"],
        &["watch", "--once", "user/../elsewhere"],
        &["watch", "--once", "elsewhere/not/yet"],
        &["watch", "--once", "elsewhere/a.jsonl"],
        &["watch", "--once", "user/logs", "elsewhere"],
        &["watch", "--once", "--scope", other, "elsewhere"],
        &["-q", "watch", "--once", "elsewhere"],
    ] {
        let ended = sandbox.run(args).exits(3);
        let named = args.last().unwrap();
        assert!(ended.error().contains("outside the scope"), "{args:?}: {ended:#?}");
        assert!(ended.error().contains(named), "{args:?}: {ended:#?}");
        assert!(ended.hint().contains("--scope DIR"), "{args:?}: {ended:#?}");
        ended.told_once("watcher.path_scope_violation");
        assert_eq!(ended.stdout, b"", "{args:?}");
        assert!(!sandbox.home("").exists(), "{args:?}");
    }
    let allowed = [
        "watch",
        "--once",
        "--scope",
        other,
        "--scope",
        "elsewhere",
        "user/out",
        "user/logs",
        "other",
    ];
    sandbox.run(&allowed).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "line\nline\n");
}

#[test]
fn a_home_directory_that_bounds_nothing_is_no_scope() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "line\n");
    for home in [Some(""), Some("/"), Some("/not/there"), None] {
        let watch = |args: &[&str]| {
            let mut command = sandbox.command(args);
            match home {
                Some(home) => command.env("HOME", home),
                None => command.env_remove("HOME"),
            };
            Running::start(command).end()
        };
        let refused = watch(&["watch", "--once", "user/logs"]).exits(3);
        assert!(refused.error().contains("HOME"), "{home:?}: {refused:#?}");
        assert!(refused.hint().contains("--scope DIR"), "{home:?}: {refused:#?}");
        refused.told_once("watcher.path_scope_violation");
        assert!(!sandbox.home("").exists(), "{home:?}");
        watch(&["watch", "--once", "--scope", "user", "user/logs"])
            .exits(0)
            .no_error();
        assert_eq!(sandbox.drain_raw(), "line\n", "{home:?}");
        fs::remove_dir_all(sandbox.home("")).unwrap();
    }
}

// Roots

#[test]
fn overlapping_roots_are_a_usage_error_that_names_both() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.log("sub")).unwrap();
    append(sandbox.log("a.jsonl"), "line\n");
    symlink(sandbox.log("sub"), sandbox.path("user/link")).unwrap();
    for (one, two) in [
        ("user/logs", "user/logs/sub"),
        ("user/logs/sub", "user/logs"),
        ("user/logs", "user/logs"),
        ("user/logs", "user/link"),
        ("user/logs", "user/logs/a.jsonl"),
        ("user/logs", "user/logs/not/yet"),
    ] {
        let ended = sandbox.run(&["watch", "--once", one, two]).exits(2);
        assert!(ended.error().contains(&format!("{one} and {two}")), "{ended:#?}");
        assert!(ended.hint().contains("outer"), "{ended:#?}");
        assert!(!sandbox.home("").exists());
    }
}

#[test]
fn a_root_that_is_neither_directory_nor_regular_file_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let _socket = UnixListener::bind(sandbox.log("s.jsonl")).unwrap();
    let fifo = sandbox.log("f.jsonl");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    for root in ["user/logs/s.jsonl", "user/logs/f.jsonl"] {
        let ended = sandbox.run(&["watch", "--once", root]).exits(2);
        assert!(ended.error().contains(root), "{ended:#?}");
        assert!(!sandbox.home("").exists());
    }
    append(sandbox.log("a.jsonl"), "line\n");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.drain_raw(), "line\n", "below a root they are left alone");
}

#[test]
fn a_root_that_is_or_lies_in_the_home_of_tailspool_is_a_usage_error_that_names_both() {
    let sandbox = Sandbox::new();
    let home = sandbox.log("state");
    let home = home.to_str().unwrap();
    for root in ["user/logs/state", "user/logs/state/pending"] {
        let ended = sandbox.run(&["watch", "--once", "--home", home, root]).exits(2);
        assert!(ended.error().contains(root), "{ended:#?}");
        assert!(ended.error().contains(home), "{ended:#?}");
        assert!(ended.hint().contains("--home DIR"), "{ended:#?}");
    }
}

#[test]
fn the_home_of_tailspool_is_never_captured_when_it_lies_below_a_root() {
    let sandbox = Sandbox::new();
    let home = sandbox.log("state");
    let home = home.to_str().unwrap();
    append(sandbox.log("a.jsonl"), "line\n");
    for _ in 0..3 {
        sandbox.once(&["--home", home]).exits(0).no_error();
    }
    let drained = sandbox.run(&["drain", "--home", home, "--format", "raw"]).exits(0);
    assert_eq!(drained.text(), "line\n");
    assert!(!sandbox.home("").exists(), "--home goes before TAILSPOOL_HOME");
}

#[test]
fn without_a_named_home_it_is_below_the_home_directory_of_the_user() {
    for (variable, expected) in [
        (None, "user/.local/state/tailspool"),
        (Some(""), "user/.local/state/tailspool"),
        (Some("mine"), "mine"),
    ] {
        let sandbox = Sandbox::new();
        append(sandbox.log("a.jsonl"), "line\n");
        let mut command = sandbox.command(&["watch", "--once", "user/logs"]);
        match variable {
            Some(home) => command.env("TAILSPOOL_HOME", home),
            None => command.env_remove("TAILSPOOL_HOME"),
        };
        Running::start(command).end().exits(0).no_error();
        assert!(sandbox.path(expected).join("cursors.json").exists(), "{variable:?}");
    }
}

#[test]
fn a_regular_file_as_root_is_watched_alone_whatever_its_name() {
    let sandbox = Sandbox::new();
    append(sandbox.log("notes.txt"), "mine\n");
    append(sandbox.log("a.jsonl"), "not mine\n");
    append(sandbox.log("notes.txt.jsonl"), "nor this\n");
    let root = "user/logs/notes.txt";
    sandbox.run(&["watch", "--once", root]).exits(0).no_error();
    append(sandbox.log("notes.txt"), "more\n");
    sandbox.run(&["watch", "--once", root]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "mine\nmore\n");
    assert_eq!(sandbox.entries("new").len(), 1);
}

// One watcher a home

#[test]
fn a_second_watcher_is_told_who_has_the_home_and_the_first_one_goes_on() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    fs::create_dir(sandbox.path("user/more")).unwrap();
    append(sandbox.path("user/more/b.jsonl"), "not this\n");
    let first = sandbox.watch(&[]);
    let second = sandbox.run(&["watch", "--once", "user/more"]).exits(4);
    assert!(second.error().contains(&format!("pid {}", first.pid())), "{second:#?}");
    assert!(
        second.error().contains(sandbox.home("").to_str().unwrap()),
        "{second:#?}"
    );
    assert!(second.hint().contains("--home DIR"), "{second:#?}");
    append(sandbox.log("a.jsonl"), "two\n");
    wait_until_equal("both lines", &vec!["one".into(), "two".into()], || {
        sandbox.lines_of("a")
    });
    first.stop();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

// Usage

#[test]
fn what_makes_no_sense_is_refused_with_an_error_and_a_hint() {
    let sandbox = Sandbox::new();
    for args in [
        &["watch", "--nope", "user/logs"][..],
        &["frobnicate"],
        &["--frobnicate"],
        &["watch", "--interval", "0", "user/logs"],
        &["watch", "--interval", "0s", "user/logs"],
        &["watch", "--interval", "-1s", "user/logs"],
        &["watch", "--interval", "soon", "user/logs"],
        &["watch", "--commit-interval", "0s", "user/logs"],
        &["watch", "--max-pending-records", "0", "user/logs"],
        &["watch", "--max-pending-bytes", "0", "user/logs"],
        &["drain", "--max", "0"],
        &["drain", "--max", "x"],
        &["drain", "--format", "xml"],
        &["drain", "left over"],
        &["status", "--yaml"],
        &["-q", "-v", "status"],
    ] {
        let ended = sandbox.run(args).exits(2);
        assert!(ended.error().len() > "error: ".len(), "{args:?}: {ended:#?}");
        assert!(ended.hint().len() > "hint: ".len(), "{args:?}: {ended:#?}");
        assert_eq!(ended.stdout, b"", "{args:?}");
        assert!(!sandbox.home("").exists(), "{args:?}");
    }
    let ended = sandbox.once(&["--glob", "["]).exits(2);
    assert!(ended.error().contains('['), "{ended:#?}");
    assert_eq!(sandbox.run(&[]).exits(2).stdout, b"");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let sandbox = Sandbox::new();
    for args in [
        &["--help"][..],
        &["-h"],
        &["help"],
        &["watch", "--help"],
        &["drain", "--help"],
        &["status", "-h"],
    ] {
        let ended = sandbox.run(args).exits(0);
        assert!(ended.text().contains("Usage: tailspool"), "{args:?}: {ended:#?}");
        assert_eq!(ended.stderr, "", "{args:?}");
    }
    let version = sandbox.run(&["--version"]).exits(0);
    assert_eq!(version.text(), concat!("tailspool ", env!("CARGO_PKG_VERSION"), "\n"));
}

// What cannot be looked at

#[test]
fn what_cannot_be_read_is_unknown_and_captured_exactly_once_access_is_back() {
    let sandbox = Sandbox::unprivileged();
    let (open, secret) = (sandbox.log("open.jsonl"), sandbox.log("secret.jsonl"));
    let (closed, inner) = (sandbox.log("closed"), sandbox.log("closed/inner.jsonl"));
    fs::create_dir(&closed).unwrap();
    for path in [&open, &secret, &inner] {
        append(path, "one\n");
    }
    sandbox.hand_over();
    sandbox.once(&[]).exits(0).no_error();
    for path in [&open, &secret, &inner] {
        append(path, "two\n");
    }
    chmod(&secret, 0);
    chmod(&closed, 0);

    let partly = sandbox.once(&[]).exits(1);
    assert!(partly.error().contains("2 paths could not be looked at"), "{partly:#?}");
    assert!(partly.hint().contains("access"), "{partly:#?}");
    assert_eq!(partly.count("[watcher.look_failed]"), 2, "once a path: {partly:#?}");
    for path in [&secret, &closed] {
        assert_eq!(
            partly.count(&format!("cannot look at {}:", path.display())),
            1,
            "{partly:#?}"
        );
    }
    assert_eq!(sandbox.lines_of("open"), ["one", "two"]);
    assert_eq!(sandbox.lines_of("secret"), ["one"]);
    assert_eq!(sandbox.lines_of("inner"), ["one"]);
    assert_eq!(sandbox.entries("delete"), Vec::<Value>::new());
    let cursors: Value = serde_json::from_slice(&fs::read(sandbox.home("cursors.json")).unwrap()).unwrap();
    for file in cursors["files"].as_array().unwrap() {
        let is_open = file[1].as_str().unwrap().ends_with("/open.jsonl");
        let offset = if is_open { 8 } else { 4 };
        assert_eq!((&file[3][2], &file[11]), (&json!(offset), &json!("followed")));
    }

    chmod(&secret, 0o600);
    chmod(&closed, 0o700);
    sandbox.once(&[]).exits(0).no_error();
    for session in ["open", "secret", "inner"] {
        assert_eq!(sandbox.lines_of(session), ["one", "two"], "{session}");
    }
    assert_eq!(sandbox.records().len(), 6);
    assert_eq!(sandbox.entries("new").len(), 3);
}

#[test]
fn a_watcher_warns_once_of_what_it_cannot_read_and_captures_it_once_it_can() {
    let sandbox = Sandbox::unprivileged();
    let secret = sandbox.log("secret.jsonl");
    append(&secret, "one\n");
    sandbox.hand_over();
    chmod(&secret, 0);
    let watcher = sandbox.watch(&[]);
    watcher.says("[watcher.look_failed]");
    for walk in 1..=3 {
        // Each is found by another walk over the tree.
        append(sandbox.log(format!("new-{walk}.jsonl")), "new\n");
        wait_until_equal("the new log", &walk, || sandbox.records().len());
    }
    chmod(&secret, 0o644);
    wait_until_equal("the line", &vec!["one".into()], || sandbox.lines_of("secret"));
    let ended = watcher.stop().no_error();
    ended.told_once("[watcher.look_failed]");
    assert_eq!(sandbox.records().len(), 4);
}

#[test]
fn quiet_does_not_silence_the_error_of_a_look_that_failed() {
    let sandbox = Sandbox::unprivileged();
    append(sandbox.log("secret.jsonl"), "one\n");
    sandbox.hand_over();
    chmod(sandbox.log("secret.jsonl"), 0);
    let ended = sandbox.once(&["-q"]).exits(1);
    assert!(ended.error().contains("could not be looked at"), "{ended:#?}");
    assert!(ended.hint().contains("access"), "{ended:#?}");
    assert_eq!(ended.stderr.lines().count(), 2, "{ended:#?}");
}

// Verbatim

/// A line, and what its record must say of it.
struct Wanted {
    bytes: Vec<u8>,
    json: bool,
    role: Option<&'static str>,
}

fn wanted(bytes: impl Into<Vec<u8>>, json: bool, role: Option<&'static str>) -> Wanted {
    Wanted {
        bytes: bytes.into(),
        json,
        role,
    }
}

/// Captures these lines as one file, an empty one being a blank line, and compares everything.
fn assert_verbatim(lines: &[Wanted]) {
    let sandbox = Sandbox::new();
    let mut content = Vec::new();
    for line in lines {
        content.extend_from_slice(&line.bytes);
        content.push(b'\n');
    }
    fs::write(sandbox.log("session-1.jsonl"), &content).unwrap();
    sandbox.once(&[]).exits(0).no_error();

    let path = sandbox.log("session-1.jsonl");
    let envelopes = sandbox.run(&["drain", "--peek"]).exits(0).no_error().json();
    assert_rising(&envelopes);
    let (mut offset, mut number, mut rest) = (0, 0, envelopes.iter());
    let mut raw = Vec::new();
    for line in lines {
        number += 1;
        if !line.bytes.is_empty() {
            let shown = String::from_utf8_lossy(&line.bytes[..line.bytes.len().min(60)]).into_owned();
            let envelope = rest.next().unwrap();
            let source = &envelope["record"]["source"];
            let (session, epoch, at, in_file, bytes) = record(envelope);
            assert!(bytes == line.bytes, "line {number}: {shown}");
            assert_eq!((session.as_str(), epoch), ("session-1", 0), "{shown}");
            assert_eq!((at, in_file), (offset, number), "{shown}");
            assert_eq!(source["length"], line.bytes.len(), "{shown}");
            assert_eq!(source["json"], line.json, "{shown}");
            assert_eq!(envelope["record"]["role"].as_str(), line.role, "{shown}");
            assert_eq!(source["path"], path.to_str().unwrap(), "{shown}");
            assert_eq!(source["terminated"], true, "{shown}");
            let utf8 = str::from_utf8(&line.bytes).is_ok();
            assert_eq!(envelope["record"].get("surface_base64").is_none(), utf8, "{shown}");
            let surface = envelope["record"]["surface"].as_str().unwrap();
            assert!(surface == String::from_utf8_lossy(&line.bytes), "{shown}");
            raw.extend_from_slice(&line.bytes);
            raw.push(b'\n');
        }
        offset += line.bytes.len() as u64 + 1;
    }
    assert_eq!(rest.count(), 0);

    let records = sandbox.run(&["drain", "--peek", "--format", "record"]).exits(0).json();
    assert!(records.iter().eq(envelopes.iter().map(|envelope| &envelope["record"])));
    let drained = sandbox.run(&["drain", "--format", "raw"]).exits(0).no_error();
    assert!(
        drained.stdout == raw,
        "drained raw, the lines are not those that were written"
    );
    assert_eq!(sandbox.batches(), [""; 0]);
    let counted = |key: &str| -> u64 {
        let runs = sandbox.entries("captured");
        runs.iter().map(|run| run[key].as_u64().unwrap()).sum()
    };
    let blank = lines.iter().filter(|line| line.bytes.is_empty()).count() as u64;
    assert_eq!(
        (counted("lines"), counted("blank")),
        (lines.len() as u64 - blank, blank)
    );
}

/// A JSON line of exactly this many bytes, with the role behind a big content.
fn json_of(bytes: usize, role: &str, filling: &str) -> Vec<u8> {
    let (before, after) = (
        r#"{"message":{"content":""#,
        format!(r#"","role":"{role}"}},"type":"user"}}"#),
    );
    let room = bytes - before.len() - after.len();
    let mut line = before.to_owned() + &filling.repeat(room / filling.len());
    line.push_str(&"x".repeat(room % filling.len()));
    line.push_str(&after);
    assert_eq!(line.len(), bytes);
    line.into_bytes()
}

#[test]
fn every_kind_of_line_comes_back_byte_for_byte() {
    assert_verbatim(&[
        wanted(r#"{"role":"user","n":1}"#, true, Some("user")),
        wanted(r#"{"type":"assistant","message":{"role":"user"}}"#, true, Some("user")),
        wanted(r#"{"payload":{"role":"tool"},"type":"assistant"}"#, true, Some("tool")),
        wanted(r#"{"type":"system"}"#, true, Some("system")),
        wanted(r#"{"role":"developer","type":"user"}"#, true, None),
        wanted(r#"{"role":5,"type":"user"}"#, true, Some("user")),
        wanted(r#"{"role":"user","role":"assistant"}"#, true, Some("user")),
        wanted(r#"{"role":"\u0075ser"}"#, true, Some("user")),
        wanted("", false, None),
        wanted("", false, None),
        wanted(&b"\xff\xfe{\"role\":\"user\"}"[..], false, None),
        wanted(&b"{\"role\":\"user\",\"text\":\"caf\xc3\"}"[..], false, None),
        wanted(&b"\xed\xa0\x80 a surrogate in UTF-8"[..], false, None),
        wanted(&b"a\0b\0"[..], false, None),
        wanted(&b"\0"[..], false, None),
        wanted(&b"{\"role\":\"user\",\"text\":\"\0\"}"[..], false, None),
        wanted("{\"type\":\"assistant\"}\r", true, Some("assistant")),
        wanted("\r", false, None),
        wanted("   ", false, None),
        wanted("\u{feff}{\"role\":\"user\"}", false, None),
        wanted("\t {\"role\":\"user\"} ", true, Some("user")),
        wanted(r#"{"role":"user","text":"#, false, None),
        wanted(r#"he end of a torn line","role":"user"}"#, false, None),
        wanted(r#"{"role":"user"}{"role":"assistant"}"#, false, None),
        wanted(r#"{"role":"user","n":1,}"#, false, None),
        wanted(r#"{"role":"user","n":01}"#, false, None),
        wanted("not JSON at all, \"quoted\" and \\escaped\\", false, None),
        wanted(
            "{\"role\":\"user\",\"text\":\"\u{2028}\u{2029}\u{85}\"}",
            true,
            Some("user"),
        ),
        wanted(r#"{"text":"\ud800","role":"tool"}"#, true, Some("tool")),
        wanted(r#"{"text":"\udc00\ud83d\ude00","role":"tool"}"#, true, Some("tool")),
        wanted(r#"{"n":1e400,"m":-1E-400,"role":"system"}"#, true, Some("system")),
        wanted("1e400", true, None),
        wanted("null", true, None),
        wanted(r#""user""#, true, None),
        wanted(r#"[{"role":"user"}]"#, true, None),
        wanted("😀 \u{7f}\u{1b}[31m red", false, None),
        wanted("[".repeat(100_000) + &"]".repeat(100_000), true, None),
        wanted("[".repeat(100_000) + &"]".repeat(99_999), false, None),
        wanted(
            format!(
                r#"{{"deep":{}{},"role":"user"}}"#,
                r#"{"a":"#.repeat(50_000) + "1",
                "}".repeat(50_000)
            ),
            true,
            Some("user"),
        ),
        wanted("", false, None),
        wanted(r#"{"role":"user","last":true}"#, true, Some("user")),
    ]);
}

#[test]
fn lines_around_the_size_of_a_read_come_back_byte_for_byte() {
    const MIB: usize = 1024 * 1024;
    assert_verbatim(&[
        wanted(r#"{"role":"user"}"#, true, Some("user")),
        wanted(json_of(MIB - 1, "assistant", "a"), true, Some("assistant")),
        wanted("", false, None),
        wanted(json_of(MIB, "tool", "\u{e9}"), true, Some("tool")),
        wanted(json_of(MIB + 1, "system", "\\n\\\\"), true, Some("system")),
        wanted(json_of(MIB - 1025, "user", "b"), true, Some("user")),
        wanted(json_of(MIB - 1024, "user", "\u{20ac}"), true, Some("user")),
        wanted(r#"{"role":"user"}"#, true, Some("user")),
    ]);
}

#[test]
fn lines_of_several_reads_come_back_byte_for_byte() {
    const MIB: usize = 1024 * 1024;
    let noise: Vec<u8> = (0..3 * MIB as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .map(|byte| if byte == b'\n' { b'\r' } else { byte })
        .collect();
    assert!(str::from_utf8(&noise).is_err());
    let mut late = json_of(2 * MIB, "user", "c");
    late.push(0xff);
    assert_verbatim(&[
        wanted(r#"{"role":"user"}"#, true, Some("user")),
        wanted(
            json_of(5 * MIB, "assistant", "\u{1f600}\\\"\\u0041"),
            true,
            Some("assistant"),
        ),
        wanted(noise, false, None),
        wanted("", false, None),
        wanted(vec![1; 2 * MIB], false, None),
        wanted(late, false, None),
        wanted(r#"{"role":"user"}"#, true, Some("user")),
    ]);
}

#[test]
fn a_line_is_captured_once_its_newline_has_come_and_then_whole() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    let pieces: [&[u8]; 5] = [b"one\ntw", b"o\ncaf\xc3", b"\xa9 and \xf0\x9f", b"\x98\x80", b"\n"];
    let captured = [vec!["one"], vec!["one", "two"], vec!["one", "two"], vec!["one", "two"]];
    for (piece, captured) in pieces.iter().zip(captured) {
        append(&path, piece);
        sandbox.once(&[]).exits(0).no_error();
        assert_eq!(sandbox.lines_of("a"), captured);
    }
    append(&path, pieces[4]);
    sandbox.once(&[]).exits(0).no_error();
    let expected: Vec<Record> = [(0, 1, "one"), (4, 2, "two"), (8, 3, "caf\u{e9} and \u{1f600}")]
        .map(|(offset, line, text)| ("a".into(), 0, offset, line, text.into()))
        .into();
    assert_eq!(sandbox.records(), expected);
}

// Drain

#[test]
fn a_drain_prints_in_three_formats_and_removes_what_it_printed() {
    let sandbox = with_batches(3, 2);
    let envelopes = sandbox.envelopes();
    assert_rising(&envelopes);
    let before = sandbox.everything();
    let peek = |format: &str| {
        let ended = sandbox
            .run(&["drain", "--peek", "--format", format])
            .exits(0)
            .no_error();
        assert_eq!(sandbox.everything(), before, "--peek leaves everything as it is");
        ended
    };
    let stored: String = sandbox
        .batches()
        .iter()
        .map(|name| fs::read_to_string(sandbox.home("pending").join(name)).unwrap())
        .collect();
    assert_eq!(peek("envelope").text(), stored);
    let records: Vec<_> = envelopes.iter().map(|envelope| envelope["record"].clone()).collect();
    assert_eq!(peek("record").json(), records);
    assert_eq!(peek("raw").text(), numbered(1..=6));
    let drained = sandbox.run(&["drain"]).exits(0).no_error();
    assert_eq!(drained.text(), stored);
    assert_eq!(sandbox.names("pending"), [""; 0]);
    assert_eq!(sandbox.run(&["drain"]).exits(0).no_error().stdout, b"");
}

#[test]
fn a_drain_of_some_records_stops_inside_a_batch_and_the_next_one_goes_on_there() {
    let sandbox = with_batches(2, 5);
    let drain = |max: &str| {
        let drained = sandbox
            .run(&["drain", "--format", "raw", "--max", max])
            .exits(0)
            .no_error();
        drained.text().to_owned()
    };
    assert_eq!(drain("2"), numbered(1..=2));
    assert_eq!(drain("1"), numbered(3..=3));
    let peeked = sandbox.run(&["drain", "--peek", "--format", "raw"]).exits(0);
    assert_eq!(peeked.text(), numbered(4..=10));
    let peeked = sandbox
        .run(&["drain", "--peek", "--format", "raw", "--max", "3"])
        .exits(0);
    assert_eq!(peeked.text(), numbered(4..=6));
    assert_eq!(drain("4"), numbered(4..=7));
    assert_eq!(sandbox.batches().len(), 1);
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(drain("3"), numbered(8..=10), "a start of a watcher keeps the progress");
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

#[test]
fn progress_that_is_damaged_means_from_the_first_record() {
    let sandbox = with_batches(1, 5);
    sandbox.run(&["drain", "--max", "2"]).exits(0);
    let lock = sandbox.paths_with("pending", "lock").remove(0);
    edit(lock, |text| text.replace("\"attempts\":0", "\"attempts\":1"));
    assert_eq!(sandbox.drain_raw(), numbered(1..=5));
}

#[test]
fn the_ulids_of_a_home_rise_over_restarts_and_drains() {
    let sandbox = Sandbox::new();
    let mut envelopes = Vec::new();
    for round in 1..=4 {
        append(sandbox.log("a.jsonl"), numbered(1..=20));
        append(sandbox.log("b.jsonl"), numbered(1..=round));
        sandbox.once(&[]).exits(0);
        envelopes.extend(sandbox.run(&["drain"]).exits(0).json());
    }
    assert_eq!(envelopes.len(), 90);
    assert_rising(&envelopes);
}

#[test]
fn a_reader_that_closes_the_pipe_leaves_what_was_not_acknowledged() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "first\n");
    sandbox.once(&[]).exits(0);
    // Twice as much as a pipe may be made to hold by default, so that the writer must meet the end.
    let big = format!("{:1023}\n", "line").repeat(2048);
    for range in [0..big.len() / 2, big.len() / 2..big.len()] {
        append(sandbox.log("a.jsonl"), &big[range]);
        sandbox.once(&[]).exits(0);
    }
    assert_eq!(sandbox.batches().len(), 3);
    for (format, first) in [("raw", Some("first\n")), ("envelope", None)] {
        let mut command = sandbox.command(&["drain", "--format", format]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut reader = BufReader::with_capacity(64, child.stdout.take().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(first.is_none_or(|first| first == line), "{line}");
        drop(reader);
        let output = child.wait_with_output().unwrap();
        let ended = Ended {
            code: output.status.code(),
            stdout: Vec::new(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        ended.exits(0).no_error();
        assert_eq!(sandbox.batches().len(), 2, "{format}");
    }
    assert!(sandbox.drain_raw() == big, "something that nobody read is gone");
}

#[test]
fn a_drain_into_a_file_writes_all_of_it() {
    let sandbox = with_batches(2, 500);
    let path = sandbox.path("out");
    let mut command = sandbox.command(&["drain", "--format", "raw"]);
    command.stdout(File::create(&path).unwrap());
    Running::start(command).end().exits(0).no_error();
    assert_eq!(fs::read_to_string(path).unwrap(), numbered(1..=1000));
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

#[test]
fn output_that_cannot_be_written_leaves_everything_in_the_queue() {
    let sandbox = with_batches(2, 3);
    let mut command = sandbox.command(&["drain", "--format", "raw"]);
    command.stdout(File::options().write(true).open("/dev/full").unwrap());
    let ended = Running::start(command).end().exits(1);
    assert!(ended.error().contains(&sandbox.batches()[0]), "{ended:#?}");
    assert_eq!(sandbox.drain_raw(), numbered(1..=6));
}

#[test]
fn a_drain_of_nothing_is_well() {
    let sandbox = Sandbox::new();
    for args in [&["drain"][..], &["drain", "--peek"], &["drain", "--max", "3"]] {
        let ended = sandbox.run(args).exits(0).no_error();
        assert_eq!(ended.stdout, b"");
        assert!(!sandbox.home("").exists());
    }
    sandbox.once(&[]).exits(0);
    let before = sandbox.everything();
    assert_eq!(sandbox.run(&["drain"]).exits(0).no_error().stdout, b"");
    assert_eq!(sandbox.everything(), before);
}

#[test]
fn a_batch_that_another_drain_holds_is_skipped() {
    let sandbox = with_batches(2, 2);
    let name = sandbox.batches()[0].replace("-2.jsonl", ".lock");
    let lock = File::create(sandbox.home("pending").join(name)).unwrap();
    flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert_eq!(sandbox.drain_raw(), numbered(3..=4));
    assert_eq!(sandbox.batches().len(), 1);
    let peeked = sandbox.run(&["drain", "--peek", "--format", "raw"]).exits(0);
    assert_eq!(peeked.text(), numbered(1..=2), "--peek shows it all the same");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.names("pending").len(), 2, "a watcher leaves it alone too");
    // Not by closing it, since a child that a test beside this one starts may have it for a moment.
    flock(&lock, FlockOperation::Unlock).unwrap();
    assert_eq!(sandbox.drain_raw(), numbered(1..=2));
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

#[test]
fn drains_beside_each_other_share_the_queue() {
    let sandbox = with_batches(20, 3);
    let drains: Vec<_> = (0..4)
        .map(|_| Running::start(sandbox.command(&["drain", "--format", "raw"])))
        .collect();
    let mut lines = Vec::new();
    for drain in drains {
        let ended = drain.end().exits(0).no_error();
        lines.extend(ended.text().lines().map(str::to_owned));
    }
    lines.sort_by_key(|line| line["line ".len()..].parse::<u32>().unwrap());
    assert_eq!(lines, numbered(1..=60).lines().collect::<Vec<_>>());
    assert_eq!(sandbox.names("pending"), [""; 0]);
}

#[test]
fn a_damaged_batch_goes_to_quarantine_and_the_younger_ones_are_drained() {
    type Damage = fn(String) -> String;
    let ways: [Damage; 5] = [
        |text| text.replace("line 2", "line \"2"),
        |text| text.replace("\"schema_version\":1}\n", "\"schema_version\":1\n"),
        |text| text.lines().next().unwrap().to_owned() + "\n",
        |text| text[..text.len() - 1].to_owned(),
        |text| text.split_inclusive('\n').rev().collect(),
    ];
    for (number, damage) in ways.into_iter().enumerate() {
        let sandbox = with_batches(3, 2);
        let name = sandbox.batches().remove(0);
        let path = sandbox.home("pending").join(&name);
        let good = fs::read(&path).unwrap();
        edit(&path, damage);
        let bad = fs::read(&path).unwrap();

        let ended = sandbox.run(&["drain", "--format", "raw"]).exits(1);
        let error = ended.line("error: cannot drain the batch ");
        assert!(
            error.contains(&name) && error.contains("damaged"),
            "{number}: {ended:#?}"
        );
        ended.told_once("queue.quarantined");
        assert_eq!(ended.text(), numbered(3..=6), "{number}");
        assert_eq!(sandbox.names("pending"), [""; 0], "{number}");
        assert_eq!(
            sandbox.names("quarantine"),
            [name.clone(), format!("{name}.reason")],
            "{number}"
        );
        let aside = sandbox.home("quarantine").join(&name);
        assert_eq!(fs::read(&aside).unwrap(), bad, "{number}");
        let reason = fs::read_to_string(sandbox.home("quarantine").join(format!("{name}.reason"))).unwrap();
        assert_eq!(reason.lines().count(), 1, "{number}: {reason:?}");
        assert_eq!(sandbox.status()["quarantined"], 1, "{number}");
        assert_eq!(sandbox.run(&["drain"]).exits(0).stdout, b"", "{number}");

        // Repaired and moved back, it is handed out.
        fs::write(&aside, good).unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(sandbox.drain_raw(), numbered(1..=2), "{number}");
    }
}

#[test]
fn an_unknown_schema_version_is_named_and_stays_and_the_younger_ones_are_drained() {
    let sandbox = with_batches(2, 2);
    let name = sandbox.batches().remove(0);
    let path = sandbox.home("pending").join(&name);
    edit(&path, |text| {
        text.replace("\"schema_version\":1", "\"schema_version\":7")
    });
    let strange = fs::read(&path).unwrap();
    let ended = sandbox.run(&["drain", "--format", "raw"]).exits(1);
    assert!(ended.error().contains(&name), "{ended:#?}");
    assert!(ended.error().contains("schema_version is 7"), "{ended:#?}");
    assert_eq!(ended.text(), numbered(3..=4));
    assert_eq!(sandbox.batches(), [name]);
    assert_eq!(fs::read(&path).unwrap(), strange);
    assert_eq!(sandbox.names("quarantine"), [""; 0]);
}

#[test]
fn a_batch_that_cannot_be_read_stays_and_the_younger_ones_are_drained() {
    let sandbox = Sandbox::unprivileged();
    for text in ["one\n", "two\n"] {
        append(sandbox.log("a.jsonl"), text);
        sandbox.hand_over();
        sandbox.once(&[]).exits(0);
    }
    let name = sandbox.batches().remove(0);
    let path = sandbox.home("pending").join(&name);
    chmod(&path, 0);
    let ended = sandbox.run(&["drain", "--format", "raw"]).exits(1);
    assert!(ended.error().contains(&name), "{ended:#?}");
    assert_eq!(ended.text(), "two\n");
    assert_eq!(sandbox.names("quarantine"), [""; 0]);
    chmod(&path, 0o600);
    assert_eq!(sandbox.drain_raw(), "one\n");
}

#[test]
fn what_other_programs_put_in_the_queue_is_drained_in_every_format() {
    let record = json!({"surface": "h\u{e9} \"said\"\n", "cue": "", "tier": "episodic", "n": 1e300});
    let python = concat!(
        r#"{"ulid": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "appended_at": "2024-01-01T00:00:00.000000+00:00", "#,
        r#""record": {"surface": "h\u00e9 \"said\"\n", "cue": "", "tier": "episodic", "n": 1e+300}, "#,
        r#""schema_version": 1}"#
    );
    let pretty = concat!(
        "{\n  \"schema_version\": 1,\r\n  \"record\": {\n    \"text\": \"old\",\n    \"tags\": [\n      1\n    ]\n  },\n",
        "  \"ulid\": \"whatever\",\n  \"extra\": null\n}\n"
    );
    let sandbox = with_batches(1, 1);
    let put = || {
        fs::write(sandbox.home("pending/pending-x.json"), python).unwrap();
        fs::write(sandbox.home("pending/pending-y.json"), pretty).unwrap();
    };
    put();
    fs::write(sandbox.home("pending/pending-z.json.tmp"), "{").unwrap();
    assert_eq!(sandbox.status()["pending_records"], 3);

    let envelopes = sandbox.run(&["drain"]).exits(0).no_error().json();
    assert_eq!(envelopes.len(), 3);
    assert_eq!(envelopes[0]["record"]["surface"], "line 1");
    assert_eq!(
        (&envelopes[1]["record"], &envelopes[2]["extra"]),
        (&record, &Value::Null)
    );
    put();
    let records = sandbox.run(&["drain", "--format", "record"]).exits(0).no_error().json();
    assert_eq!(records, [record, json!({"text": "old", "tags": [1]})]);
    put();
    assert_eq!(sandbox.drain_raw(), "h\u{e9} \"said\"\n\nold\n");
    assert_eq!(
        sandbox.names("pending"),
        ["pending-z.json.tmp"],
        "unfinished files of others stay"
    );
}

#[test]
fn a_foreign_record_without_a_line_is_kept_when_lines_are_asked_for() {
    let sandbox = with_batches(1, 1);
    let path = sandbox.home("pending/pending-0.json");
    fs::write(&path, r#"{"ulid":"x","record":{"vector":[1]},"schema_version":1}"#).unwrap();
    let ended = sandbox.run(&["drain", "--format", "raw"]).exits(1);
    assert!(ended.error().contains("pending-0.json"), "{ended:#?}");
    assert_eq!(ended.text(), numbered(1..=1));
    assert!(path.exists());
    let records = sandbox.run(&["drain", "--format", "record"]).exits(0).no_error();
    assert_eq!(records.text(), "{\"vector\":[1]}\n");
}

#[test]
fn what_only_has_the_name_of_a_batch_is_left_alone() {
    let sandbox = with_batches(1, 1);
    let pending = sandbox.home("pending");
    let directory = pending.join("pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-1.jsonl");
    fs::create_dir(&directory).unwrap();
    symlink("/etc/passwd", pending.join("pending-link.json")).unwrap();
    fs::write(pending.join("notes.txt"), "mine").unwrap();
    fs::write(pending.join("pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-01.jsonl"), "?").unwrap();
    let ended = sandbox.run(&["drain", "--format", "raw"]).exits(0).no_error();
    assert_eq!(ended.text(), numbered(1..=1));
    assert_eq!(ended.count("[queue.not_ours]"), 2, "{ended:#?}");
    append(sandbox.log("a.jsonl"), "line 2\n");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "line 2\n");
    assert_eq!(sandbox.names("pending").len(), 4);
}

// Status

#[test]
fn the_status_before_any_watch_is_that_of_nothing() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["status", "--json"]).exits(0).no_error();
    let expected = concat!(
        r#"{"watching":false,"pid":null,"roots":[],"files":0,"files_gone":0,"captured_lines":0,"captured_bytes":0,"#,
        r#""pending_batches":0,"pending_records":0,"pending_bytes":0,"oldest_pending_seconds":null,"#,
        r#""queue_full":false,"backlog_bytes":0,"quarantined":0,"last_commit":null}"#
    );
    assert_eq!(ended.text(), format!("{expected}\n"));
    let ended = sandbox.run(&["status"]).exits(0).no_error();
    assert!(ended.text().contains("nothing was captured yet"), "{ended:#?}");
    assert!(!sandbox.home("").exists());
}

#[test]
fn the_status_tells_what_was_captured_and_what_waits() {
    let sandbox = with_batches(2, 3);
    append(sandbox.log("b.jsonl"), "gone\n");
    sandbox.once(&[]).exits(0);
    fs::remove_file(sandbox.log("b.jsonl")).unwrap();
    append(sandbox.log("a.jsonl"), "half a line");
    sandbox.once(&[]).exits(0);
    let ended = sandbox.run(&["status", "--json"]).exits(0).no_error();
    let places: Vec<_> = STATUS_KEYS
        .iter()
        .map(|key| ended.text().find(&format!("\"{key}\":")).unwrap())
        .collect();
    assert!(places.is_sorted(), "{ended:#?}");
    let status = ended.json().remove(0);
    assert_eq!(status.as_object().unwrap().len(), STATUS_KEYS.len(), "{status}");
    let pending = sandbox.batches();
    let bytes = pending.iter().map(|name| {
        let path = sandbox.home("pending").join(name);
        path.metadata().unwrap().len()
    });
    assert_eq!(status["watching"], false);
    assert_eq!(status["pid"], Value::Null);
    let root = sandbox.log("");
    let root = root.to_str().unwrap().trim_end_matches('/');
    assert_eq!(
        status["roots"],
        json!([{"path": root, "agent": null, "source": "poll"}])
    );
    assert_eq!((&status["files"], &status["files_gone"]), (&json!(1), &json!(1)));
    assert_eq!(status["captured_lines"], 7);
    assert_eq!(status["captured_bytes"], numbered(1..=6).len() + 5);
    assert_eq!(status["pending_batches"], 3);
    assert_eq!(status["pending_records"], 7);
    assert_eq!(status["pending_bytes"], bytes.sum::<u64>());
    assert!(status["oldest_pending_seconds"].as_f64().unwrap() >= 0.0, "{status}");
    assert_eq!(status["backlog_bytes"], 11, "the half line");
    assert_eq!(status["quarantined"], 0);
    let last = sandbox.entries("commit").pop().unwrap();
    assert_eq!(
        status["last_commit"],
        json!({"number": last["commit"], "at": last["at"]})
    );
    let table = sandbox.run(&["status"]).exits(0).no_error();
    assert!(table.text().contains("7 records"), "{table:#?}");
    assert!(table.text().contains("not running"), "{table:#?}");

    sandbox.drain_raw();
    append(sandbox.log("a.jsonl"), "\n");
    sandbox.once(&[]).exits(0);
    sandbox.drain_raw();
    let status = sandbox.status();
    assert_eq!((&status["captured_lines"], &status["files"]), (&json!(8), &json!(1)));
    for key in ["pending_batches", "pending_records", "pending_bytes", "backlog_bytes"] {
        assert_eq!(status[key], 0, "{key}");
    }
    assert_eq!(status["oldest_pending_seconds"], Value::Null);
    let table = sandbox.run(&["status"]).exits(0).no_error();
    assert!(table.text().contains("nothing"), "{table:#?}");
}

#[test]
fn the_status_of_a_running_watcher_names_it() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=3));
    let watcher = sandbox.watch(&[]);
    let expected = (json!(true), json!(watcher.pid()), json!(3), json!(3));
    wait_until_equal("the status of the watcher", &expected, || {
        let status = sandbox.status();
        let key = |key: &str| status[key].clone();
        (
            key("watching"),
            key("pid"),
            key("captured_lines"),
            key("pending_records"),
        )
    });
    let table = sandbox.run(&["status"]).exits(0).no_error();
    assert!(
        table.text().contains(&format!("running (pid {})", watcher.pid())),
        "{table:#?}"
    );
    assert_eq!(sandbox.drain_raw(), numbered(1..=3));
    let status = sandbox.status();
    assert_eq!(
        (&status["pending_records"], &status["captured_lines"]),
        (&json!(0), &json!(3))
    );
    watcher.stop();
    let status = sandbox.status();
    assert_eq!((&status["watching"], &status["pid"]), (&json!(false), &Value::Null));
    assert_eq!(status["captured_lines"], 3);
}

// A home that was damaged

#[test]
fn a_damaged_snapshot_is_moved_aside_and_nothing_is_captured_twice() {
    let sandbox = with_batches(2, 3);
    let path = sandbox.home("cursors.json");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    append(sandbox.log("a.jsonl"), "line 7\n");
    let ended = sandbox.once(&[]).exits(0).no_error();
    ended.told_once("[cursors.rebuilt]");
    let names = sandbox.names("");
    let aside: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("cursors.json.bak-"))
        .collect();
    assert_eq!(aside.len(), 1, "{names:?}");
    assert_eq!(fs::read(sandbox.home(aside[0])).unwrap(), bytes);
    assert_eq!(sandbox.status()["captured_lines"], 7);
    let ended = sandbox.once(&[]).exits(0).no_error();
    assert_eq!(ended.count("[cursors.rebuilt]"), 0, "{ended:#?}");
    assert_eq!(sandbox.drain_raw(), numbered(1..=7));
}

#[test]
fn a_missing_snapshot_is_made_anew_and_nothing_is_captured_twice() {
    let sandbox = with_batches(2, 3);
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    append(sandbox.log("a.jsonl"), "line 7\n");
    let ended = sandbox.once(&[]).exits(0).no_error();
    ended.told_once("[cursors.rebuilt]");
    assert!(sandbox.home("cursors.json").exists());
    assert_eq!(sandbox.status()["captured_lines"], 7);
    assert_eq!(sandbox.drain_raw(), numbered(1..=7));
}

#[test]
fn a_torn_end_of_the_ledger_is_cut_off_and_nothing_is_lost_or_doubled() {
    let sandbox = with_batches(2, 3);
    let (path, whole) = sandbox.segment();
    let lines: Vec<_> = whole.split_inclusive(|byte| *byte == b'\n').collect();
    // The last commit again, as the next one: its checksum cannot hold.
    let ulid = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let forged = String::from_utf8(lines[lines.len() - 2..].concat()).unwrap();
    let first = sandbox.batches().pop().unwrap()[8..34].to_owned();
    let forged = forged
        .replace(&first, ulid)
        .replace("\"commit\":2,", "\"commit\":3,")
        .into_bytes();
    let half = &lines[1][..lines[1].len() / 2];
    let tails = [half, &forged, &forged[..forged.len() - 1], b"\0\0\0\0\n", b"\n"];
    for (number, tail) in tails.into_iter().enumerate() {
        append(&path, tail);
        let ended = sandbox.once(&[]).exits(0).no_error();
        ended.told_once("[ledger.torn_tail]");
        assert_eq!(sandbox.segment().1, whole, "{number}");
        assert_eq!(sandbox.status()["captured_lines"], 6, "{number}");
    }
    // And with a line that waits.
    append(&path, &forged);
    append(sandbox.log("a.jsonl"), "line 7\n");
    sandbox.once(&[]).exits(0).no_error();
    assert!(sandbox.segment().1.starts_with(&whole));
    assert_eq!(sandbox.drain_raw(), numbered(1..=7));
}

#[test]
fn a_commit_that_is_torn_before_it_names_its_visible_batch_is_damage() {
    let sandbox = with_batches(2, 3);
    let (path, whole) = sandbox.segment();
    let last = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    fs::write(&path, &whole[..last + 20]).unwrap();
    let ended = sandbox.once(&[]).exits(1);
    assert!(ended.error().contains("no commit names it"), "{ended:#?}");
    fs::remove_file(sandbox.home("pending").join(&sandbox.batches()[1])).unwrap();
    // Without it nobody knows of the commit, and its lines are captured again.
    sandbox.once(&[]).exits(0).told_once("[ledger.torn_tail]");
    assert_eq!(sandbox.drain_raw(), numbered(1..=6));
}

#[test]
fn a_ledger_that_is_damaged_in_the_middle_is_not_written_to_and_the_queue_can_be_drained() {
    let sandbox = with_batches(3, 2);
    let (path, mut bytes) = sandbox.segment();
    let at = bytes.windows(9).position(|window| window == b"\"blake3\":").unwrap();
    bytes[at + 12] ^= 1;
    fs::write(&path, &bytes).unwrap();
    append(sandbox.log("a.jsonl"), "line 7\n");
    let before = sandbox.everything();
    for args in [&["watch", "--once", "user/logs"][..], &["watch", "user/logs"]] {
        let ended = sandbox.run(args).exits(1);
        assert!(ended.error().contains("the ledger is damaged"), "{ended:#?}");
        assert!(ended.error().contains(path.to_str().unwrap()), "{ended:#?}");
        assert!(ended.hint().contains("backup"), "{ended:#?}");
        assert_eq!(sandbox.everything(), before);
    }
    assert_eq!(sandbox.status()["pending_records"], 6);
    let peeked = sandbox.run(&["drain", "--peek", "--format", "raw"]).exits(0);
    assert_eq!(peeked.text(), numbered(1..=6));
    assert_eq!(sandbox.everything(), before);
    assert_eq!(sandbox.drain_raw(), numbered(1..=6));
}

#[test]
fn a_last_commit_that_was_damaged_after_its_batch_became_visible_is_damage() {
    let sandbox = with_batches(2, 2);
    let (path, mut bytes) = sandbox.segment();
    let end = bytes.len();
    bytes[end - 10] ^= 1;
    fs::write(&path, &bytes).unwrap();
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    let before = sandbox.everything();
    let ended = sandbox.once(&[]).exits(1);
    assert!(ended.error().contains("the ledger is damaged"), "{ended:#?}");
    assert!(ended.hint().contains("backup"), "{ended:#?}");
    assert_eq!(sandbox.everything(), before);
    assert_eq!(sandbox.drain_raw(), numbered(1..=4));
}

#[test]
fn a_leftover_batch_is_removed_unless_the_ledger_names_it() {
    let sandbox = with_batches(2, 3);
    let pending = sandbox.home("pending");
    let batches = sandbox.batches();
    let hidden = pending.join(&batches[1]);
    let temporary = pending.join(format!("{}.tmp", batches[1]));
    fs::rename(&hidden, &temporary).unwrap();
    let leftover = pending.join("pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-3.jsonl.tmp");
    fs::write(&leftover, "{\"ulid\":").unwrap();
    let orphan = pending.join("pending-01ARZ3NDEKTSV4RRFFQ69G5FAV.lock");
    fs::write(&orphan, "").unwrap();
    let foreign = pending.join("pending-x.json.tmp");
    fs::write(&foreign, "{").unwrap();
    let drained = sandbox.run(&["drain", "--peek", "--format", "raw"]).exits(0);
    assert_eq!(drained.text(), numbered(1..=3), "what is not visible is not there");

    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.batches(), batches);
    assert!(!leftover.exists() && !orphan.exists() && !temporary.exists());
    assert!(foreign.exists());
    fs::copy(&hidden, &temporary).unwrap();
    sandbox.once(&[]).exits(0).no_error();
    assert!(!temporary.exists(), "both names were there");
    assert_eq!(sandbox.drain_raw(), numbered(1..=6));
}

// Signals, and how much is said

#[test]
fn sigint_and_sigterm_commit_what_was_taken_and_say_so() {
    for signal in [Signal::INT, Signal::TERM] {
        let sandbox = Sandbox::new();
        append(sandbox.log("a.jsonl"), "one\n");
        // The second commit is far away, so that only the signal can bring it.
        let watcher = sandbox.watch(&["--commit-interval", "1h"]);
        wait_until_equal("the first line", &vec!["one".into()], || sandbox.lines_of("a"));
        append(sandbox.log("a.jsonl"), "two\nhalf");
        // It is taken by the same pass that first sees it.
        wait_for("the second line is taken", || {
            let text = fs::read(sandbox.home("status.json")).ok()?;
            let status: Value = serde_json::from_slice(&text).ok()?;
            (status["backlog_bytes"] != 0).then_some(())
        });
        assert_eq!(sandbox.lines_of("a"), ["one"], "it is not committed yet");
        watcher.signal(signal);
        let ended = watcher.end().exits(0).no_error();
        let summary = ended.line("captured ");
        assert!(
            summary.starts_with("captured 2 lines of 1 file; 2 records in the queue"),
            "{ended:#?}"
        );
        assert_eq!(ended.stdout, b"");
        assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
        assert_eq!(sandbox.status()["watching"], false);
    }
}

#[test]
fn a_watcher_says_what_it_watches_and_when_it_has_caught_up() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=3));
    let watcher = sandbox.watch(&[]);
    watcher.says("caught up: 3 lines captured");
    let ended = watcher.stop().no_error();
    let begun = ended.line("watching ");
    assert!(begun.contains("watching ~/logs: "), "{begun}");
    assert!(begun.contains("1 file, 21 B"), "{begun}");
    assert!(begun.ends_with(" free)"), "the room for the queue: {begun}");
}

#[test]
fn events_are_printed_once_they_are_committed() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n\nt\u{e9}xt\n");
    append(sandbox.log("a.jsonl"), b"\xff\n");
    let ended = sandbox.once(&["--events"]).exits(0).no_error();
    let events = ended.json();
    let kinds: Vec<_> = events.iter().map(|event| event["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["new", "append", "append", "append"]);
    let appended: Vec<_> = events[1..]
        .iter()
        .map(|event| {
            (
                &event["offset"],
                &event["length"],
                &event["line"],
                &event["line_base64"],
            )
        })
        .collect();
    let none = Value::Null;
    assert_eq!(
        appended,
        [
            (&json!(0), &json!(3), &json!("one"), &none),
            (&json!(5), &json!(5), &json!("t\u{e9}xt"), &none),
            (&json!(11), &json!(1), &none, &json!("/w==")),
        ]
    );
}

#[test]
fn the_event_of_a_line_has_the_time_of_its_record() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\ntwo\n{\"settled\":1}");
    let micros = |at: &Value| at.as_str().unwrap().parse::<Timestamp>().unwrap().as_microsecond();
    let ended = sandbox.once(&["--events"]).exits(0).no_error();
    let said: Vec<_> = ended.json()[1..].iter().map(|event| micros(&event["at"])).collect();
    let records = sandbox.envelopes();
    let held: Vec<_> = records.iter().map(|record| micros(&record["appended_at"])).collect();
    assert_eq!((said.len(), said), (3, held));
}

#[test]
fn quiet_says_nothing_but_errors_and_verbose_says_more() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    symlink("a.jsonl", sandbox.log("link.jsonl")).unwrap();
    let quiet = sandbox.once(&["-q"]).exits(0);
    assert_eq!(quiet.stderr, "");
    let plain = sandbox.once(&[]).exits(0);
    assert_eq!(plain.count("[watcher.symlink_skipped]"), 0, "{plain:#?}");
    let verbose = sandbox.once(&["-v"]).exits(0);
    verbose.told_once("[watcher.symlink_skipped]");
    assert!(verbose.stderr.lines().count() > plain.stderr.lines().count());
    let (quiet, verbose) = (
        sandbox.run(&["-q", "drain", "--peek"]),
        sandbox.run(&["drain", "--peek", "-v"]),
    );
    assert_eq!(quiet.stderr, "");
    assert!(verbose.stderr.contains("1 record"), "{verbose:#?}");
    assert_eq!(quiet.stdout, verbose.stdout);
    let wrong = sandbox.run(&["-q", "watch", "--once", "/"]).exits(3);
    assert!(wrong.error().contains("outside the scope"), "{wrong:#?}");
}

// What writers do to their logs while a watcher runs

#[test]
fn an_atomically_replaced_log_is_rotated_and_both_contents_are_captured() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\n");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first line", &vec!["one".into()], || sandbox.lines_of("a"));
    fs::hard_link(&path, sandbox.log("a.jsonl.1")).unwrap();
    append(&path, "two\n");
    append(sandbox.log("a.jsonl.new"), "three\n");
    fs::rename(sandbox.log("a.jsonl.new"), &path).unwrap();
    wait_until_equal("all lines", &["one", "two", "three"].map(String::from).to_vec(), || {
        sandbox.lines_of("a")
    });
    append(&path, "four\n");
    wait_until_equal("the line after", &4, || sandbox.records().len());
    watcher.stop().no_error();
    let rotations = sandbox.entries("rotate");
    assert_eq!(rotations.len(), 1, "{rotations:?}");
    assert_eq!(rotations[0]["old_file_id"], sandbox.entries("new")[0]["file_id"]);
    assert_ne!(rotations[0]["old_file_id"], rotations[0]["file_id"]);
    assert_eq!(sandbox.entries("delete"), Vec::<Value>::new());
    assert_eq!(sandbox.drain_raw(), "one\ntwo\nthree\nfour\n");
}

#[test]
fn a_log_renamed_away_and_begun_anew_is_captured_whole() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\n");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first line", &vec!["one".into()], || sandbox.lines_of("a"));
    append(&path, "two\n");
    fs::rename(&path, sandbox.log("a.jsonl.1")).unwrap();
    append(&path, "three\n");
    wait_until_equal("all lines", &["one", "two", "three"].map(String::from).to_vec(), || {
        sandbox.lines_of("a")
    });
    watcher.stop().no_error();
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\nthree\n");
}

#[test]
fn a_truncated_log_begins_a_new_epoch() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\ntwo\nthree\n");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first epoch", &3, || sandbox.records().len());
    fs::write(&path, "new\n").unwrap();
    wait_until_equal("the second epoch", &4, || sandbox.records().len());
    append(&path, "more\n");
    wait_until_equal("what follows", &5, || sandbox.records().len());
    watcher.stop().no_error();
    let records = sandbox.records();
    assert_eq!(
        records[3..],
        [
            ("a".into(), 1, 0, 1, b"new".to_vec()),
            ("a".into(), 1, 4, 2, b"more".to_vec())
        ]
    );
    let truncations = sandbox.entries("truncate");
    assert_eq!(truncations.len(), 1, "{truncations:?}");
    assert_eq!(
        (&truncations[0]["reason"], &truncations[0]["was"]),
        (&json!("shrank"), &json!(14))
    );
}

#[test]
fn a_log_that_was_rewritten_and_has_grown_past_the_offset_begins_a_new_epoch() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\ntwo\n");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first epoch", &2, || sandbox.records().len());
    // In one write, so that no look finds it shorter.
    let mut file = File::options().write(true).open(&path).unwrap();
    file.write_all(b"quite another first line\nand more\n").unwrap();
    wait_until_equal("the second epoch", &4, || sandbox.records().len());
    watcher.stop().no_error();
    let records = sandbox.records();
    assert_eq!(
        records[2..],
        [
            ("a".into(), 1, 0, 1, b"quite another first line".to_vec()),
            ("a".into(), 1, 25, 2, b"and more".to_vec())
        ]
    );
    let truncations = sandbox.entries("truncate");
    assert_eq!(truncations.len(), 1, "{truncations:?}");
    assert_eq!(
        (&truncations[0]["reason"], &truncations[0]["was"]),
        (&json!("rewritten"), &json!(8))
    );
}

#[test]
fn a_log_that_was_regrown_between_two_watchers_begins_a_new_epoch() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\ntwo\n");
    sandbox.once(&[]).exits(0);
    fs::write(&path, "1ne\ntwo\nthree\n").unwrap();
    sandbox.once(&[]).exits(0).no_error();
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n1ne\ntwo\nthree\n");
    assert_eq!(sandbox.entries("truncate")[0]["reason"], "rewritten");
}

#[test]
fn a_deleted_log_is_told_once_and_its_lines_stay() {
    let sandbox = Sandbox::new();
    let path = sandbox.log("a.jsonl");
    append(&path, "one\ntwo\nhalf");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the lines", &2, || sandbox.records().len());
    fs::remove_file(&path).unwrap();
    wait_until_equal("the deletion", &1, || sandbox.entries("delete").len());
    append(sandbox.log("b.jsonl"), "other\n");
    wait_until_equal("another log", &3, || sandbox.records().len());
    watcher.stop().no_error();
    let deletions = sandbox.entries("delete");
    assert_eq!(deletions.len(), 1, "{deletions:?}");
    assert_eq!(deletions[0]["offset"], 8);
    assert_eq!(sandbox.drain_raw(), "one\ntwo\nother\n");
}

#[test]
fn a_root_that_is_not_there_yet_is_waited_for() {
    let sandbox = Sandbox::new();
    let watcher = Running::start(sandbox.command(&["watch", "--interval", "100ms", "user/later/logs"]));
    watcher.says("[watcher.root_missing]");
    fs::create_dir_all(sandbox.path("user/later/logs/deep/er")).unwrap();
    append(sandbox.path("user/later/logs/deep/er/a.jsonl"), "one\n");
    wait_until_equal("the line", &vec!["one".into()], || sandbox.lines_of("a"));
    let ended = watcher.stop().no_error();
    ended.told_once("[watcher.root_missing]");
    assert_eq!(sandbox.drain_raw(), "one\n");
}

#[test]
fn a_root_that_vanishes_and_returns_is_no_deletion_and_nothing_is_captured_twice() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.log("deep")).unwrap();
    for name in ["a.jsonl", "deep/b.jsonl"] {
        append(sandbox.log(name), "one\n");
    }
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first lines", &2, || sandbox.records().len());
    for round in 1..=2 {
        let warnings = || watcher.stderr().matches("[watcher.root_missing]").count();
        let before = warnings();
        fs::rename(sandbox.log(""), sandbox.path("user/away")).unwrap();
        wait_for("the warning", || (warnings() > before).then_some(()));
        append(sandbox.path("user/away/a.jsonl"), "meanwhile\n");
        fs::rename(sandbox.path("user/away"), sandbox.log("")).unwrap();
        append(sandbox.log("deep/b.jsonl"), "after\n");
        // Only a walk over the whole root can find this one.
        append(sandbox.log(format!("new-{round}.jsonl")), "new\n");
        wait_until_equal("the lines since", &(2 + 3 * round), || sandbox.records().len());
    }
    watcher.stop().no_error();
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.lines_of("a"), ["one", "meanwhile", "meanwhile"]);
    assert_eq!(sandbox.lines_of("b"), ["one", "after", "after"]);
    assert_eq!(sandbox.records().len(), 8);
    assert_eq!(sandbox.entries("delete"), Vec::<Value>::new());
    assert_eq!(sandbox.entries("new").len(), 4);
}

#[test]
fn a_watch_of_a_missing_root_ends_with_an_error_and_deletes_nothing() {
    let sandbox = with_batches(1, 2);
    fs::rename(sandbox.log(""), sandbox.path("user/away")).unwrap();
    let ended = sandbox.once(&[]).exits(1);
    ended.told_once("[watcher.root_missing]");
    assert!(ended.error().contains("could not be looked at"), "{ended:#?}");
    fs::rename(sandbox.path("user/away"), sandbox.log("")).unwrap();
    append(sandbox.log("a.jsonl"), "line 3\n");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.entries("delete"), Vec::<Value>::new());
    assert_eq!(sandbox.drain_raw(), numbered(1..=3));
}

#[test]
fn symlinks_below_a_root_are_left_alone() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("user/other")).unwrap();
    append(sandbox.path("user/other/b.jsonl"), "not this\n");
    symlink(sandbox.path("user/other"), sandbox.log("directory")).unwrap();
    symlink(sandbox.path("user/other/b.jsonl"), sandbox.log("file.jsonl")).unwrap();
    append(sandbox.log("a.jsonl"), "one\n");
    let watcher = sandbox.watch(&["-v"]);
    wait_until_equal("the line", &1, || sandbox.records().len());
    symlink("directory/b.jsonl", sandbox.log("late.jsonl")).unwrap();
    watcher.says("late.jsonl is a symlink and is left alone");
    append(sandbox.log("a.jsonl"), "two\n");
    wait_until_equal("the next line", &2, || sandbox.records().len());
    let ended = watcher.stop().no_error();
    assert_eq!(ended.count("[watcher.symlink_skipped]"), 3, "{ended:#?}");
    let status: Value = serde_json::from_slice(&fs::read(sandbox.home("status.json")).unwrap()).unwrap();
    assert_eq!(status["symlinks"], 3);
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

// Privacy

#[test]
fn the_home_is_private_whatever_the_umask() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=5));
    let run = |args: &[&str], code| Running::start(sandbox.shell("umask 0", args)).end().exits(code);
    run(&["watch", "--once", "user/logs"], 0);
    append(sandbox.log("a.jsonl"), "line 6\n");
    run(&["watch", "--once", "user/logs"], 0);
    run(&["drain", "--max", "2"], 0);
    let second = sandbox.home("pending").join(&sandbox.batches()[1]);
    edit(second, |text| text.replace("\"ulid\"", "\"bilu\""));
    run(&["drain"], 1);
    append(sandbox.log("a.jsonl"), numbered(7..=9));
    run(&["watch", "--once", "user/logs"], 0);
    run(&["drain", "--max", "1"], 0);
    let everything = sandbox.everything();
    for (path, (mode, content)) in &everything {
        let expected = if content.is_some() { 0o600 } else { 0o700 };
        assert_eq!(*mode, expected, "{} has {mode:o}", path.display());
    }
    let has = |suffix: &str| everything.keys().any(|path| path.to_str().unwrap().ends_with(suffix));
    for suffix in [
        ".lock",
        ".reason",
        "cursors.json",
        "status.json",
        "000001.jsonl",
        "-3.jsonl",
    ] {
        assert!(has(suffix), "{suffix}");
    }
}

#[test]
fn no_message_holds_the_text_of_a_line() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "hidden-text {\n\"hidden-text\n");
    let watched = sandbox.once(&["-vv"]).exits(0);
    let name = sandbox.batches().remove(0);
    edit(sandbox.home("pending").join(name), |text| {
        text.replace("\"record\":{", "\"record\":\"hidden-text\",{")
    });
    let drained = sandbox.run(&["-vv", "drain"]).exits(1);
    for ended in [watched, drained] {
        assert_eq!(ended.count("hidden-text"), 0, "{ended:#?}");
    }
}

// A queue with a limit

#[test]
fn a_full_queue_ends_a_single_watch_with_what_remains_and_nothing_is_lost_or_doubled() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=5));
    append(sandbox.log("b.jsonl"), numbered(6..=8));
    let limit = ["--max-pending-records", "4"];
    let full = sandbox.once(&limit).exits(1);
    assert!(full.error().contains("4 records are pending"), "{full:#?}");
    assert!(full.error().contains("are not captured"), "{full:#?}");
    assert!(full.hint().contains("drain"), "{full:#?}");
    full.told_once("[queue.full]");
    assert_eq!(sandbox.status()["pending_records"], 4);
    let again = sandbox.once(&limit).exits(1);
    assert!(again.error().contains("4 records are pending"), "{again:#?}");
    assert_eq!(sandbox.status()["pending_records"], 4);
    assert_eq!(sandbox.drain_raw(), numbered(1..=4));
    sandbox.once(&limit).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), numbered(5..=8));
    sandbox.once(&limit).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "");
}

#[test]
fn quiet_does_not_silence_the_error_of_a_full_queue() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=2));
    let full = sandbox.once(&["-q", "--max-pending-records", "1"]).exits(1);
    assert!(full.error().contains("the queue is full"), "{full:#?}");
    assert!(full.hint().contains("drain"), "{full:#?}");
}

#[test]
fn a_watcher_whose_queue_was_full_goes_on_by_itself_after_a_drain() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=10));
    let watcher = sandbox.watch(&["-v", "--max-pending-records", "4"]);
    watcher.says("[queue.full]");
    wait_until_equal("the status", &json!(true), || sandbox.status()["queue_full"].clone());
    assert_eq!(sandbox.status()["pending_records"], 4);
    assert_eq!(sandbox.drain_raw(), numbered(1..=4));
    watcher.says("[queue.room]");
    wait_until_equal("what fits", &4, || sandbox.records().len());
    assert_eq!(sandbox.drain_raw(), numbered(5..=8));
    wait_until_equal("the rest", &2, || sandbox.records().len());
    wait_until_equal("the status", &json!(false), || sandbox.status()["queue_full"].clone());
    watcher.stop().no_error();
    assert_eq!(sandbox.drain_raw(), numbered(9..=10));
}

#[test]
fn a_limit_in_bytes_is_passed_by_one_record_at_most() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=9));
    let limit = ["--max-pending-bytes", "1000"];
    let mut drained = String::new();
    let mut full = 0;
    loop {
        let ended = sandbox.once(&limit);
        let bytes = sandbox.status()["pending_bytes"].as_u64().unwrap();
        assert!(bytes < 2000, "{bytes}");
        drained += &sandbox.drain_raw();
        if ended.code == Some(0) {
            break;
        }
        assert!(ended.exits(1).error().contains("bytes are pending"));
        full += 1;
    }
    assert!(full > 1);
    assert_eq!(drained, numbered(1..=9));
}

// Outputs and limits of the system

#[test]
fn nothing_is_acknowledged_into_an_output_that_cannot_take_it() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), numbered(1..=5));
    sandbox.once(&[]).exits(0);
    let script = |redirect: &str| {
        let command = sandbox.shell(&format!("exec {redirect}"), &["drain", "--format", "raw"]);
        Running::start(command).end()
    };
    for redirect in ["1>&-", "1</dev/null", "1>/dev/full"] {
        let ended = script(redirect).exits(1);
        assert!(ended.error().contains("write"), "{redirect}: {ended:#?}");
        assert_eq!(sandbox.status()["pending_records"], 5, "{redirect}");
    }
    script("1>/dev/null").exits(0);
    assert_eq!(sandbox.status()["pending_records"], 0, "thrown away as asked");
}

#[test]
fn a_write_that_is_cut_short_by_a_limit_publishes_nothing_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let lines = numbered(1..=2000);
    append(sandbox.log("a.jsonl"), &lines);
    // Without SIGXFSZ a write beyond the limit is short, and the next one fails with EFBIG.
    let limited = "trap '' XFSZ; ulimit -f 64";
    let ended = Running::start(sandbox.shell(limited, &["watch", "--once", "user/logs"]))
        .end()
        .exits(1);
    assert!(ended.error().contains("queue is full"), "{ended:#?}");
    ended.told_once("queue.full");
    assert!(sandbox.batches().is_empty());
    assert!(sandbox.entries("captured").is_empty());
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.drain_raw(), lines);
}

#[test]
fn a_watcher_whose_lock_file_is_removed_stops_before_its_next_commit() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    let watcher = sandbox.watch(&[]);
    wait_until_equal("the first line", &1, || sandbox.batches().len());
    fs::remove_file(sandbox.home("lock")).unwrap();
    append(sandbox.log("a.jsonl"), "two\n");
    let ended = watcher.end().exits(1);
    assert!(ended.error().contains("lost the lock"), "{ended:#?}");
    sandbox.once(&[]).exits(0);
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

#[test]
fn patterns_say_which_files_are_logs() {
    let sandbox = Sandbox::new();
    for path in ["a.jsonl", "b.log", "deep/c.log", "deep/d.jsonl", "deep/er/e.jsonl"] {
        fs::create_dir_all(sandbox.log(path).parent().unwrap()).unwrap();
        append(sandbox.log(path), format!("{path}\n"));
    }
    sandbox.once(&["--glob", "*.log", "--glob", "deep/*.jsonl"]).exits(0);
    assert_eq!(sandbox.drain_raw(), "b.log\ndeep/c.log\ndeep/d.jsonl\n");
}

#[test]
fn a_large_backlog_of_a_file_is_told_once() {
    let sandbox = Sandbox::new();
    let line = "x".repeat(1023) + "\n";
    append(sandbox.log("a.jsonl"), line.repeat(11 * 1024));
    append(sandbox.log("b.jsonl"), line.repeat(9 * 1024));
    // A large log that is new is an ordinary backlog.
    let ended = sandbox.once(&["-v"]).exits(0);
    ended.told_once("watcher.large_file_growth");
    let told = "info: ";
    assert!(
        ended
            .stderr
            .lines()
            .any(|line| line.starts_with(told) && line.contains("a.jsonl has 11534336 bytes")),
        "{ended:#?}"
    );
    append(sandbox.log("a.jsonl"), line.repeat(11 * 1024));
    let ended = sandbox.once(&[]).exits(0);
    ended.told_once("watcher.large_file_growth");
    assert!(
        ended.line("warn: ").contains("a.jsonl has 11534336 bytes"),
        "{ended:#?}"
    );
}

#[test]
fn a_killed_watcher_leaves_a_status_that_does_not_claim_everything() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    let mut watcher = sandbox.watch(&[]);
    wait_until_equal("the first line", &1, || sandbox.batches().len());
    wait_until_equal("the status", &true, || sandbox.home("status.json").exists());
    watcher.kill();
    let ended = sandbox.run(&["status"]).exits(0);
    assert!(
        ended.text().contains("capture   not known: the watcher was killed"),
        "{ended:#?}"
    );
    sandbox.once(&[]).exits(0);
    let ended = sandbox.run(&["status"]).exits(0);
    assert!(
        ended
            .text()
            .contains("everything was captured when the watcher stopped"),
        "{ended:#?}"
    );
}

#[test]
fn from_end_leaves_out_what_stood_when_the_root_was_first_seen_and_nothing_else() {
    let sandbox = Sandbox::new();
    append(sandbox.log("old.jsonl"), "one\ntwo\nthr");
    sandbox.once(&["--from", "end"]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "");
    append(sandbox.log("old.jsonl"), "ee\nfour\n");
    append(sandbox.log("new.jsonl"), "first\n");
    sandbox.once(&["--from", "end"]).exits(0).no_error();
    let lines: Vec<_> = sandbox
        .envelopes()
        .iter()
        .map(|envelope| {
            let (record, source) = (&envelope["record"], &envelope["record"]["source"]);
            (
                record["surface"].clone(),
                source["offset"].clone(),
                source["line"].clone(),
            )
        })
        .collect();
    let expected = [
        (json!("first"), json!(0), json!(1)),
        (json!("three"), json!(8), Value::Null),
        (json!("four"), json!(14), Value::Null),
    ];
    assert_eq!(lines, expected);
    assert_eq!(sandbox.entries("skipped")[0]["offset"], 8);
    assert_eq!(sandbox.entries("root").len(), 1);
}

#[test]
fn max_files_leaves_the_last_files_alone_says_so_once_and_deletes_nothing() {
    let sandbox = Sandbox::new();
    for name in ["b.jsonl", "c.jsonl", "d.jsonl"] {
        append(sandbox.log(name), format!("{name}\n"));
    }
    let ended = sandbox.once(&["--max-files", "2"]).exits(0);
    assert_eq!(ended.count("watcher.bounded_walk_overflow"), 1);
    assert_eq!(sandbox.drain_raw(), "b.jsonl\nc.jsonl\n");
    // A newcomer that sorts earlier pushes one out: it is neither read nor deleted, and goes on later.
    append(sandbox.log("a.jsonl"), "a.jsonl\n");
    append(sandbox.log("c.jsonl"), "more\n");
    sandbox.once(&["--max-files", "2"]).exits(0);
    assert_eq!(sandbox.drain_raw(), "a.jsonl\n");
    assert_eq!(sandbox.entries("delete").len(), 0);
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "more\nd.jsonl\n");
}

#[test]
fn once_captures_a_whole_last_line_without_newline_and_its_newline_adds_nothing() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "{\"a\":1}\n{\"b\":2}");
    append(sandbox.log("b.jsonl"), "{\"torn\":");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "{\"a\":1}\n{\"b\":2}\n");
    append(sandbox.log("a.jsonl"), "\n{\"c\":3}\n");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "{\"c\":3}\n");
}

#[test]
fn what_moves_between_two_runs_is_not_captured_again() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.once(&[]).exits(0).no_error();
    fs::create_dir(sandbox.log("archived")).unwrap();
    fs::rename(sandbox.log("a.jsonl"), sandbox.log("archived/b.jsonl")).unwrap();
    append(sandbox.log("archived/b.jsonl"), "two\n");
    let ended = sandbox.once(&["--events"]).exits(0).no_error();
    let events: Vec<_> = ended
        .json()
        .iter()
        .map(|event| (event["kind"].clone(), event["continues"].clone()))
        .collect();
    let expected = [
        (json!("new"), json!(4)),
        (json!("append"), Value::Null),
        (json!("delete"), Value::Null),
    ];
    assert_eq!(events, expected);
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}
