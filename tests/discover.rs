//! The logs of the known agents: found without a word, and told of.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::{Ended, Running, Sandbox, append, chmod, wait_until_equal};
use tailspool::agents::{AGENTS, Place, Var};

/// Writes one line to a file below the user's home, with its directories.
fn write(sandbox: &Sandbox, path: impl AsRef<Path>, line: &str) {
    let path = sandbox.path("user").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    append(path, format!("{line}\n"));
}

fn example(place: &Place) -> std::path::PathBuf {
    Path::new(place.base).join(place.below).join(place.example)
}

/// The lines in the queue, each with the agent of its record.
fn captured(sandbox: &Sandbox) -> BTreeMap<String, Value> {
    let envelopes = sandbox.envelopes().into_iter();
    let lines = envelopes.map(|mut envelope| {
        let record = envelope["record"].take();
        let line = record["surface"].as_str().unwrap().to_owned();
        (line, record["source"]["agent"].clone())
    });
    let all: Vec<_> = lines.collect();
    let lines: BTreeMap<_, _> = all.iter().cloned().collect();
    assert_eq!(lines.len(), all.len(), "a line is there twice: {all:?}");
    lines
}

fn discover(sandbox: &Sandbox) -> Vec<Value> {
    sandbox.run(&["discover", "--json"]).exits(0).no_error().json()
}

#[test]
fn without_a_root_the_logs_of_every_known_agent_are_captured_and_bear_its_name() {
    let sandbox = Sandbox::new();
    let mut expected = BTreeMap::new();
    for agent in AGENTS {
        for place in agent.places {
            let line = format!("{}: {}", agent.name, example(place).display());
            write(&sandbox, example(place), &line);
            expected.insert(line, Value::from(agent.name));
        }
    }
    let ended = sandbox.run(&["watch", "--once"]).exits(0).no_error();
    assert_eq!(captured(&sandbox), expected);
    assert!(
        ended.line("watching ").contains("~/.claude/projects (claude)"),
        "{ended:#?}"
    );
    let found = discover(&sandbox);
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|row| row["files"] == 1), "{found:?}");
}

#[test]
fn a_variable_that_moves_an_agent_adds_where_it_says_and_the_default_stays() {
    for agent in AGENTS {
        for (place, var) in agent
            .places
            .iter()
            .flat_map(|place| place.moved_by.iter().map(move |var| (place, var)))
        {
            let sandbox = Sandbox::new();
            let below = match var {
                Var::Base(_) => Path::new(place.below).join(place.example),
                Var::Home(_) => example(place),
                Var::Logs(_) => place.example.into(),
            };
            write(&sandbox, Path::new("moved").join(below), "moved");
            write(&sandbox, example(place), "default");
            let mut command = sandbox.command(&["watch", "--once"]);
            command.env(var.name(), sandbox.path("user/moved"));
            Running::start(command).end().exits(0).no_error();
            let name = Value::from(agent.name);
            let expected = [("default".to_owned(), name.clone()), ("moved".to_owned(), name)];
            assert_eq!(captured(&sandbox), expected.into(), "{}", var.name());
        }
    }
}

#[test]
fn what_is_no_session_log_stays_out() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "session");
    for side in [
        ".claude/projects/p/s/tool-results/1.txt",
        ".claude/history.jsonl",
        ".claude/sessions/123.json",
        ".codex/history.jsonl",
        ".copilot/session-state/1/files/data.jsonl",
        ".gemini/tmp/demo/logs.jsonl",
        ".cursor/projects/p/mcp.jsonl",
        ".qwen/projects/p/chats/1.ledger.jsonl",
        ".pi/agent/sessions/p/subagent-artifacts/1_transcript.jsonl",
        ".openclaw/agents/main/sessions/1.trajectory.jsonl",
        ".kimi/sessions/1/2/context.jsonl",
        ".grok/sessions/1/2/chat_history.jsonl",
        ".commandcode/projects/p/1.prompts.jsonl",
    ] {
        write(&sandbox, side, side);
    }
    sandbox.run(&["watch", "--once"]).exits(0).no_error();
    assert_eq!(captured(&sandbox), [("session".to_owned(), "claude".into())].into());
}

#[test]
fn a_pattern_that_is_asked_for_counts_in_the_directories_of_the_agents_too() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "jsonl");
    write(&sandbox, ".claude/projects/p/s.log", "log");
    sandbox.run(&["watch", "--once", "--glob", "*.log"]).exits(0).no_error();
    assert_eq!(captured(&sandbox), [("log".to_owned(), "claude".into())].into());
}

#[test]
fn directories_that_overlap_are_captured_once() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "one");
    write(&sandbox, ".omp/agent/sessions/p/s.jsonl", "two");
    write(&sandbox, "wide/projects/q/s.jsonl", "three");
    write(&sandbox, "wide/projects/sessions/1/wire.jsonl", "four");
    fs::create_dir_all(sandbox.path("user/.config")).unwrap();
    symlink(sandbox.path("user/.claude"), sandbox.path("user/.config/claude")).unwrap();
    let run = |args: &[&str]| {
        let mut command = sandbox.command(args);
        command
            .env("PI_CODING_AGENT_DIR", sandbox.path("user/.omp/agent"))
            // The second one lies in the first.
            .env("CLAUDE_CONFIG_DIR", sandbox.path("user/wide"))
            .env("KIMI_SHARE_DIR", sandbox.path("user/wide/projects"));
        Running::start(command).end().exits(0).no_error()
    };
    run(&["watch", "--once"]);
    let lines: Vec<_> = captured(&sandbox).into_keys().collect();
    assert_eq!(lines, ["four", "one", "three", "two"]);
    run(&["watch", "--once"]);
    assert_eq!(captured(&sandbox).len(), 4);
    assert_eq!(run(&["discover", "--json"]).json().len(), 3);
}

#[test]
fn a_directory_outside_the_scope_is_left_out_with_a_hint_and_captured_when_it_is_allowed() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "inside");
    fs::create_dir_all(sandbox.path("elsewhere/sessions")).unwrap();
    append(sandbox.path("elsewhere/sessions/s.jsonl"), "outside\n");
    let run = |more: &[&str]| {
        let mut command = sandbox.command(&[&["watch", "--once"], more].concat());
        command.env("CODEX_HOME", sandbox.path("elsewhere"));
        Running::start(command).end().exits(0)
    };
    let ended = run(&[]);
    ended.told_once("watcher.root_left_out");
    let line = ended.line("warn: ");
    assert!(
        line.contains("elsewhere/sessions (Codex)") && line.contains("--scope DIR"),
        "{line}"
    );
    assert_eq!(sandbox.drain_raw(), "inside\n");
    let elsewhere = sandbox.path("elsewhere");
    run(&["--scope", elsewhere.to_str().unwrap()]);
    assert_eq!(sandbox.drain_raw(), "outside\n");
    // Where nothing is, nothing is missed.
    fs::remove_dir_all(elsewhere).unwrap();
    assert_eq!(run(&[]).count("left_out"), 0);
}

#[test]
fn where_no_agent_was_a_watch_fails_and_says_what_it_looked_for() {
    let sandbox = Sandbox::new();
    // A file is no directory of logs.
    write(&sandbox, ".codex/sessions", "a file");
    let ended = sandbox.run(&["watch", "--once"]).exits(1);
    assert!(
        ended.error().contains("no agent's session logs were found"),
        "{ended:#?}"
    );
    for agent in AGENTS {
        for place in agent.places {
            let path = format!("~/{}/{}", place.base, place.below);
            assert!(ended.hint().contains(&path), "{path} in {ended:#?}");
        }
    }
    assert!(!sandbox.home("").exists());
    let ended = sandbox.run(&["discover"]).exits(0).no_error();
    assert!(
        ended.stderr.contains("nothing was found") && ended.stdout.is_empty(),
        "{ended:#?}"
    );
}

#[test]
fn an_agent_that_comes_while_a_watcher_runs_is_captured_and_nobody_missed_it_before() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "first");
    let watcher = Running::start(sandbox.command(&["watch", "--interval", "100ms"]));
    watcher.says("caught up: 1 line captured");
    let roots = || sandbox.status()["roots"].as_array().unwrap().len();
    wait_until_equal("the status", &1, roots);
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "later");
    wait_until_equal("the line", &vec!["first".to_owned(), "later".to_owned()], || {
        captured(&sandbox).into_keys().collect()
    });
    wait_until_equal("the new root", &2, roots);
    let ended = watcher.stop().no_error();
    assert_eq!(ended.count("warn"), 0, "{ended:#?}");
    assert_eq!(sandbox.status()["roots"][1]["agent"], "codex");
}

#[test]
fn a_root_that_is_an_agents_or_lies_in_one_is_of_that_agent() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "one");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "two");
    write(&sandbox, "logs/s.jsonl", "three");
    let roots = ["user/.claude/projects/p", "user/.codex/sessions", "user/logs"];
    sandbox.run(&[&["watch", "--once"], &roots[..]].concat()).exits(0);
    let expected = [
        ("one", "claude".into()),
        ("two", "codex".into()),
        ("three", Value::Null),
    ];
    assert_eq!(
        captured(&sandbox),
        expected.map(|(line, agent)| (line.to_owned(), agent)).into()
    );
}

#[test]
fn in_a_root_above_the_directories_of_agents_each_log_is_of_its_agent() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "one");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "two");
    write(&sandbox, "mine/s.jsonl", "three");
    let args = ["watch", "--once", "user"];
    sandbox.run(&args).exits(0);
    let expected = [
        ("one", "claude".into()),
        ("two", "codex".into()),
        ("three", Value::Null),
    ];
    let expected = expected.map(|(line, agent)| (line.to_owned(), agent)).into();
    assert_eq!(captured(&sandbox), expected);
    // And after a restart.
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "four");
    sandbox.run(&args).exits(0);
    assert_eq!(captured(&sandbox)["four"], "codex");
    // Where one agent's directory was moved into another one's, too.
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "outer");
    write(&sandbox, ".claude/projects/pi/s.jsonl", "inner");
    let mut command = sandbox.command(&["watch", "--once"]);
    command.env("PI_CODING_AGENT_SESSION_DIR", sandbox.path("user/.claude/projects/pi"));
    Running::start(command).end().exits(0).no_error();
    let expected = [("outer".to_owned(), "claude".into()), ("inner".to_owned(), "pi".into())];
    assert_eq!(captured(&sandbox), expected.into());
}

#[test]
fn an_agent_that_is_excluded_by_a_name_is_told_of_and_by_its_path_is_not() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "claude");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "codex");
    let ended = sandbox.run(&["watch", "--once", "--exclude", "proj*"]).exits(0);
    ended.told_once("watcher.root_left_out");
    assert!(
        ended.line("warn: ").contains("the pattern `proj*` covers it"),
        "{ended:#?}"
    );
    assert_eq!(sandbox.drain_raw(), "codex\n");
    let ended = sandbox.run(&["watch", "--once", "--exclude", "~/.claude"]).exits(0);
    assert_eq!(ended.count("warn"), 0, "{ended:#?}");
}

#[test]
fn a_directory_that_was_there_and_is_not_is_told_once_and_nothing_is_concluded() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "claude");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "codex");
    sandbox.run(&["watch", "--once"]).exits(0);
    fs::remove_dir_all(sandbox.path("user/.codex")).unwrap();
    let ended = sandbox.run(&["watch", "--once"]).exits(0);
    ended.told_once("watcher.root_missing");
    assert!(ended.line("warn: ").contains("was watched before"), "{ended:#?}");
    assert_eq!(sandbox.status()["files_gone"], 0);
}

#[test]
fn a_directory_that_nobody_may_look_at_is_captured_once_somebody_may() {
    let sandbox = Sandbox::unprivileged();
    write(&sandbox, ".claude/projects/p/s.jsonl", "first");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "later");
    sandbox.hand_over();
    chmod(sandbox.path("user/.codex"), 0o000);
    let watcher = Running::start(sandbox.command(&["watch", "--interval", "100ms"]));
    watcher.says("watcher.look_failed");
    watcher.says("caught up: 1 line captured");
    chmod(sandbox.path("user/.codex"), 0o700);
    wait_until_equal("the line", &vec!["first".to_owned(), "later".to_owned()], || {
        captured(&sandbox).into_keys().collect()
    });
    watcher.stop();
}

#[test]
fn what_is_excluded_is_neither_watched_nor_counted() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/-work-open/s.jsonl", "open");
    write(&sandbox, ".claude/projects/-work-secret/s.jsonl", "secret");
    write(&sandbox, ".codex/sessions/2026/s.jsonl", "codex");
    write(
        &sandbox,
        ".config/tailspool/tailspool.toml",
        "exclude = ['*secret*', '~/.codex']",
    );
    sandbox.run(&["watch", "--once"]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "open\n");
    let found = discover(&sandbox);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["files"], 1);
}

/// Makes a log this many days old.
fn age(sandbox: &Sandbox, path: &str, days: u64) {
    let file = File::options()
        .append(true)
        .open(sandbox.path("user").join(path))
        .unwrap();
    let age = Duration::from_secs(days * 86_400 + 3600);
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn discover_says_files_bytes_ages_and_what_the_clean_up_of_the_agent_leaves() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/old.jsonl", "12345");
    write(&sandbox, ".claude/projects/p/new.jsonl", "123");
    age(&sandbox, ".claude/projects/p/old.jsonl", 27);
    let row = discover(&sandbox).remove(0);
    assert_eq!(
        (&row["agent"], &row["files"], &row["bytes"]),
        (&"claude".into(), &2.into(), &10.into())
    );
    assert!(row["oldest"].as_str() < row["newest"].as_str());
    assert_eq!(
        row["clean_up"],
        serde_json::json!({"period_days": 30, "set_in": null, "oldest_days_left": 3})
    );
    let says = |what: &str| {
        let ended = sandbox.run(&["discover"]).exits(0).no_error();
        assert!(ended.text().contains(what), "{what}: {ended:#?}");
        ended
    };
    says("30 days after its last change (its default): the oldest has 3 days left");
    let settings = |text: &str| fs::write(sandbox.path("user/.claude/settings.json"), text).unwrap();
    settings(r#"{"cleanupPeriodDays": 365}"#);
    says("365 days after its last change (cleanupPeriodDays in ~/.claude/settings.json): the oldest has 338 days left");
    settings(r#"{"cleanupPeriodDays": 20}"#);
    says("the oldest goes when it is started next");
    settings(r#"{"cleanupPeriodDays": 0}"#);
    says("keeps nothing in ~/.claude/projects");
    for bad in [r#"{"cleanupPeriodDays": "x"}"#, "{", &"x".repeat(2 << 20)] {
        settings(bad);
        says("its default").told_once("discover.settings");
    }
}

#[test]
fn the_settings_of_an_agent_are_read_behind_a_symlink_in_the_scope_and_not_behind_one_that_leads_out() {
    let sandbox = Sandbox::new();
    write(&sandbox, ".claude/projects/p/s.jsonl", "line");
    write(&sandbox, "dots/claude.json", r#"{"cleanupPeriodDays": 99}"#);
    let days = || discover(&sandbox)[0]["clean_up"]["period_days"].clone();
    let link = sandbox.path("user/.claude/settings.json");
    symlink(sandbox.path("user/dots/claude.json"), &link).unwrap();
    assert_eq!(days(), 99);
    fs::remove_file(&link).unwrap();
    fs::write(sandbox.path("out.json"), r#"{"cleanupPeriodDays": 99}"#).unwrap();
    symlink(sandbox.path("out.json"), &link).unwrap();
    assert_eq!(days(), 30);
}

#[test]
fn what_cannot_be_looked_at_is_said_and_the_rest_counted() {
    let sandbox = Sandbox::unprivileged();
    write(&sandbox, ".claude/projects/p/s.jsonl", "line");
    write(&sandbox, ".claude/projects/q/s.jsonl", "line");
    write(&sandbox, ".codex/sessions/s.jsonl", "line");
    sandbox.hand_over();
    chmod(sandbox.path("user/.claude/projects/q"), 0o000);
    let ended: Ended = sandbox.run(&["discover", "--json"]).exits(1);
    assert!(ended.error().contains("1 path could not be looked at"), "{ended:#?}");
    assert_eq!(ended.json()[0]["files"], 1);
    chmod(sandbox.path("user/.claude/projects/q"), 0o700);
    chmod(sandbox.path("user/.codex"), 0o000);
    let ended = sandbox.run(&["watch", "--once"]).exits(1);
    assert!(ended.error().contains("2 paths could not be looked at"), "{ended:#?}");
    assert_eq!(ended.count("watcher.look_failed"), 2, "{ended:#?}");
    assert!(sandbox.run(&["status"]).text().contains("could not be looked at"));
    sandbox.run(&["discover"]).exits(1);
    assert_eq!(sandbox.drain_raw(), "line\nline\n", "the rest is captured");
    chmod(sandbox.path("user/.codex"), 0o700);
}

#[test]
fn names_that_would_drive_a_terminal_are_escaped() {
    let sandbox = Sandbox::new();
    write(&sandbox, "x\u{1b}[31m/sessions/s.jsonl", "line");
    let mut command = sandbox.command(&["discover"]);
    command.env("CODEX_HOME", sandbox.path("user/x\u{1b}[31m"));
    let ended = Running::start(command).end().exits(0);
    assert!(ended.text().contains("~/x\\u{1b}[31m/sessions"), "{ended:#?}");
}
