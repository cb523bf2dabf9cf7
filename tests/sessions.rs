//! `sessions`: what it lists, and that it adds up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Sandbox, append};
use unicode_width::UnicodeWidthStr;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

/// Gives a log this age.
fn age(path: impl AsRef<Path>, seconds: u64) {
    let file = File::options().append(true).open(path).unwrap();
    let at = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(at).unwrap();
}

fn list(sandbox: &Sandbox, more: &[&str]) -> Vec<Value> {
    let args = [&["sessions", "--json"], more].concat();
    sandbox.run(&args).exits(0).no_error().json()
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions
        .iter()
        .map(|session| session["session_id"].as_str().unwrap())
        .collect()
}

/// Asserts that lines and bytes of all sessions are those of the status.
#[track_caller]
fn assert_adds_up(sandbox: &Sandbox) {
    let (sessions, status) = (list(sandbox, &[]), sandbox.status());
    let sum = |key: &str| {
        sessions
            .iter()
            .map(|session| session[key].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(sum("lines"), status["captured_lines"], "{sessions:?}");
    assert_eq!(sum("bytes"), status["captured_bytes"], "{sessions:?}");
    assert_eq!(
        sessions.len() as u64,
        status["files"].as_u64().unwrap() + status["files_gone"].as_u64().unwrap()
    );
}

/// A sandbox with sessions of two agents and of none, of several ages.
fn with_sessions() -> Sandbox {
    let sandbox = Sandbox::new();
    for (path, text, seconds) in [
        (
            ".claude/projects/-w/old.jsonl",
            "{\"type\":\"summary\"}\n{\"cwd\":\"/home/me/w\"}\n",
            20 * DAY,
        ),
        (".claude/projects/-w/old/subagents/agent-1.jsonl", "{}\n", 10 * MINUTE),
        (
            ".codex/sessions/2026/02/26/rollout-1.jsonl",
            "{\"payload\":{\"cwd\":\"/home/me/x\"}}\n",
            2 * DAY,
        ),
        ("logs/plain.jsonl", "1\n\n2\n", 0),
    ] {
        let path = sandbox.path("user").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(&path, text);
        age(&path, seconds);
    }
    let roots = ["user/logs", "user/.claude/projects", "user/.codex/sessions"];
    sandbox.run(&[&["watch", "--once"], &roots[..]].concat()).exits(0);
    sandbox
}

#[test]
fn each_log_is_a_session_and_the_one_with_the_newest_line_comes_first() {
    let sandbox = with_sessions();
    let sessions = list(&sandbox, &[]);
    assert_eq!(ids(&sessions), ["plain", "agent-1", "rollout-1", "old"]);
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            (
                &session["agent"],
                &session["project"],
                &session["lines"],
                &session["bytes"],
                &session["state"],
            )
        })
        .map(|(agent, project, lines, bytes, state)| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            (
                text(agent),
                text(project),
                lines.as_u64().unwrap(),
                bytes.as_u64().unwrap(),
                text(state),
            )
        })
        .collect();
    let row = |agent: &str, project: &str, lines, bytes, state: &str| {
        (agent.to_owned(), project.to_owned(), lines, bytes, state.to_owned())
    };
    assert_eq!(
        rows,
        [
            row("-", "logs", 2, 5, "active"),
            row("claude", "-w", 1, 3, "quiet"),
            row("codex", "/home/me/x", 1, 33, "quiet"),
            row("claude", "/home/me/w", 2, 40, "quiet"),
        ]
    );
    for session in &sessions {
        let at = |key: &str| session[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        assert!(at("first_line_at") <= at("last_line_at"), "{session}");
        assert!(at("last_line_at") <= at("last_captured_at"), "{session}");
        assert!(at("first_captured_at") <= at("last_captured_at"), "{session}");
    }
    assert_adds_up(&sandbox);
}

#[test]
fn sessions_can_be_asked_for_by_agent_age_and_number() {
    let sandbox = with_sessions();
    for (args, expected) in [
        (&["--agent", "claude"][..], &["agent-1", "old"][..]),
        (&["--agent", "none"], &["plain"]),
        (&["--agent", "nobody"], &[]),
        (&["--since", "5m"], &["plain"]),
        (&["--since", "3d"], &["plain", "agent-1", "rollout-1"]),
        (&["--since", "3w", "--limit", "1"], &["plain"]),
        (&["--since", "1999-12-31"], &["plain", "agent-1", "rollout-1", "old"]),
        (&["--since", "2999-12-31T10:00:00Z"], &[]),
        (&["--limit", "2"], &["plain", "agent-1"]),
        (&["--agent", "claude", "--limit", "1", "--since", "1h"], &["agent-1"]),
    ] {
        assert_eq!(ids(&list(&sandbox, args)), expected, "{args:?}");
    }
    for bad in [
        &["--since", "soon"][..],
        &["--since", "-3d"],
        &["--limit", "0"],
        &["--since", ""],
    ] {
        let args = [&["sessions"], bad].concat();
        sandbox.run(&args).exits(2).error();
    }
    let ended = sandbox.run(&["sessions", "--agent", "nobody"]).exits(0).no_error();
    assert!(
        ended.stdout.is_empty() && ended.stderr.contains("none of 4 sessions"),
        "{ended:#?}"
    );
}

#[test]
fn the_table_fits_80_columns_and_shows_names_escaped() {
    let sandbox = Sandbox::new();
    for (directory, name) in [
        ("p".repeat(100), "s".repeat(100)),
        (
            "日本語の長いプロジェクトの名前とその続き".to_owned(),
            "日本語".repeat(12),
        ),
        ("e\u{1b}[31m\nscape".to_owned(), "a".to_owned()),
    ] {
        fs::create_dir(sandbox.log(&directory)).unwrap();
        append(sandbox.log(directory).join(name + ".jsonl"), "x\n".repeat(123_456));
    }
    sandbox.once(&[]).exits(0);
    let ended = sandbox.run(&["sessions"]).exits(0).no_error();
    let lines: Vec<_> = ended.text().lines().collect();
    assert_eq!(lines.len(), 4, "{ended:#?}");
    for line in &lines {
        assert!(line.width() <= 80, "{} columns: {line}", line.width());
    }
    assert!(
        ended.text().contains("…") && ended.text().contains("scape"),
        "{ended:#?}"
    );
    assert!(!ended.text().contains('\u{1b}'));
    assert!(
        ended.stderr.contains("3 sessions: 370368 lines, 723.3 KiB"),
        "{ended:#?}"
    );
}

#[test]
fn what_became_of_a_log_is_its_state() {
    let sandbox = Sandbox::new();
    for name in ["stays", "goes", "shrinks", "moves"] {
        append(
            sandbox.log(format!("{name}.jsonl")),
            format!("{name} one\n{name} two\n"),
        );
    }
    sandbox.once(&[]).exits(0);
    fs::remove_file(sandbox.log("goes.jsonl")).unwrap();
    fs::write(sandbox.log("shrinks.jsonl"), "stub\n").unwrap();
    fs::rename(sandbox.log("moves.jsonl"), sandbox.log("moved.jsonl")).unwrap();
    sandbox.once(&[]).exits(0);
    let sessions = list(&sandbox, &[]);
    let find = |id: &str| {
        let found = sessions.iter().find(|session| session["session_id"] == id);
        found.unwrap_or_else(|| panic!("no {id} in {sessions:?}"))
    };
    assert_eq!(sessions.len(), 4);
    for (id, state, lines, epoch) in [
        ("stays", "active", 2, 0),
        ("goes", "gone", 2, 0),
        ("shrinks", "rewritten", 3, 1),
        ("moved", "active", 2, 0),
    ] {
        let session = find(id);
        assert_eq!(
            (&session["state"], &session["lines"], &session["epoch"]),
            (&state.into(), &lines.into(), &epoch.into()),
            "{id}"
        );
    }
    assert_adds_up(&sandbox);
}

#[test]
fn a_last_line_that_is_captured_before_its_newline_counts_once() {
    let sandbox = Sandbox::new();
    append(sandbox.log("s.jsonl"), "{\"a\":1}\n{\"b\":2}");
    sandbox.once(&[]).exits(0);
    assert_eq!(list(&sandbox, &[])[0]["lines"], 2);
    assert_eq!(list(&sandbox, &[])[0]["bytes"], 15);
    assert_eq!(sandbox.status()["backlog_bytes"], 0, "it is no backlog");
    assert_adds_up(&sandbox);
    append(sandbox.log("s.jsonl"), "\n{\"c\":3}\n");
    sandbox.once(&[]).exits(0);
    assert_eq!(list(&sandbox, &[])[0]["lines"], 3);
    assert_eq!(list(&sandbox, &[])[0]["bytes"], 24);
    assert_adds_up(&sandbox);
}

#[test]
fn a_snapshot_and_a_ledger_without_one_tell_the_same() {
    let sandbox = with_sessions();
    append(sandbox.log("plain.jsonl"), "3\n");
    sandbox.once(&[]).exits(0);
    let told = list(&sandbox, &[]);
    let snapshot = fs::read_to_string(sandbox.home("cursors.json")).unwrap();
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    assert_eq!(list(&sandbox, &[]), told, "from the ledger alone");
    // One of an earlier version holds too little: it is made anew.
    let (body, _) = snapshot.rsplit_once(",\"checksum\"").unwrap();
    let body = body.replace("\"version\":4", "\"version\":2");
    let checksum = blake3::hash(body.as_bytes());
    let old = format!("{body},\"checksum\":\"{checksum}\"}}\n");
    fs::write(sandbox.home("cursors.json"), old).unwrap();
    assert_eq!(list(&sandbox, &[]), told, "beside an old snapshot");
    sandbox.run(&["verify"]).exits(0);
    sandbox.once(&[]).exits(0).told_once("cursors.rebuilt");
    assert!(
        !sandbox.names("").iter().any(|name| name.contains(".bak")),
        "it was not damaged"
    );
    assert_eq!(list(&sandbox, &[]), told, "after a start");
}

#[test]
fn where_nothing_was_captured_there_is_no_session() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["sessions"]).exits(0).no_error();
    assert!(
        ended.stdout.is_empty() && ended.stderr.contains("nothing was captured yet"),
        "{ended:#?}"
    );
    assert!(list(&sandbox, &[]).is_empty());
    assert!(!sandbox.home("").exists());
}
