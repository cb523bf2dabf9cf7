//! What is not watched this time is known where it turns up; what is said of directories that come and go.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use support::{Running, Sandbox, append};

/// A path below the user's home; what is above it is made.
fn user(sandbox: &Sandbox, path: &str) -> PathBuf {
    let path = sandbox.path("user").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn once(sandbox: &Sandbox, more: &[&str]) {
    let args = [&["watch", "--once"], more].concat();
    sandbox.run(&args).exits(0).no_error();
}

fn lines(sandbox: &Sandbox) -> Vec<String> {
    let envelopes = sandbox.envelopes().into_iter();
    let lines = envelopes.map(|envelope| envelope["record"]["surface"].as_str().unwrap().to_owned());
    let mut lines: Vec<_> = lines.collect();
    lines.sort();
    lines
}

#[test]
fn an_agents_directory_that_becomes_a_symlink_while_nobody_watches_is_not_captured_again() {
    let sandbox = Sandbox::new();
    append(user(&sandbox, ".claude/projects/p/s.jsonl"), "one\n");
    once(&sandbox, &[]);
    fs::rename(user(&sandbox, ".claude"), user(&sandbox, "dots/claude")).unwrap();
    symlink("dots/claude", user(&sandbox, ".claude")).unwrap();
    append(user(&sandbox, ".claude/projects/p/s.jsonl"), "two\n");
    once(&sandbox, &[]);
    assert_eq!(lines(&sandbox), ["one", "two"]);
    once(&sandbox, &[]);
    assert_eq!(lines(&sandbox), ["one", "two"]);
    sandbox.run(&["verify"]).exits(0);
}

#[test]
fn a_root_that_was_moved_into_another_one_is_not_captured_again_and_may_come_back() {
    let sandbox = Sandbox::new();
    append(user(&sandbox, ".codex/archived_sessions/a.jsonl"), "one\n");
    append(user(&sandbox, ".codex/sessions/b.jsonl"), "two\n");
    once(&sandbox, &[]);
    let (own, other) = (".codex/archived_sessions", ".codex/sessions/old");
    fs::rename(user(&sandbox, own), user(&sandbox, other)).unwrap();
    let watcher = Running::start(sandbox.command(&["watch", "--interval", "100ms"]));
    watcher.says("caught up: 0 lines captured");
    fs::rename(user(&sandbox, other), user(&sandbox, own)).unwrap();
    append(user(&sandbox, ".codex/archived_sessions/a.jsonl"), "three\n");
    support::wait_until_equal("the third line", &3, || lines(&sandbox).len());
    watcher.stop().exits(0);
    once(&sandbox, &[]);
    assert_eq!(lines(&sandbox), ["one", "three", "two"]);
    sandbox.run(&["verify"]).exits(0);
}

#[test]
fn a_file_that_leaves_a_directory_which_is_excluded_by_now_goes_on_where_it_stopped() {
    let sandbox = Sandbox::new();
    let (secret, open) = (".claude/projects/secret/s.jsonl", ".claude/projects/open/s.jsonl");
    append(user(&sandbox, secret), "one\n");
    append(user(&sandbox, ".claude/projects/secret/t.jsonl"), "two\n");
    once(&sandbox, &[]);
    fs::rename(user(&sandbox, secret), user(&sandbox, open)).unwrap();
    append(user(&sandbox, open), "three\n");
    once(&sandbox, &["--exclude", "secret"]);
    assert_eq!(lines(&sandbox), ["one", "three", "two"]);
    append(user(&sandbox, ".claude/projects/secret/t.jsonl"), "four\n");
    once(&sandbox, &[]);
    assert_eq!(lines(&sandbox), ["four", "one", "three", "two"]);
    sandbox.run(&["verify"]).exits(0);
}

#[test]
fn a_directory_of_an_agent_that_appears_outside_the_scope_is_told_once() {
    let sandbox = Sandbox::new();
    append(user(&sandbox, ".claude/projects/p/s.jsonl"), "one\n");
    fs::create_dir_all(sandbox.path("elsewhere")).unwrap();
    let watcher = Running::start(sandbox.command(&["watch", "--interval", "20ms"]));
    watcher.says("caught up: 1 line captured");
    symlink(sandbox.path("elsewhere"), user(&sandbox, ".codex/sessions")).unwrap();
    watcher.says("watcher.path_scope_violation");
    // Each walk that finds one of these came after a walk that saw the symlink.
    for at in 2..6 {
        append(user(&sandbox, &format!(".claude/projects/p/{at}.jsonl")), "more\n");
        support::wait_until_equal("the line", &at, || lines(&sandbox).len());
    }
    watcher.stop().exits(0).told_once("watcher.path_scope_violation");
}

#[test]
fn a_span_may_be_said_as_so_long_ago() {
    let sandbox = Sandbox::new();
    append(user(&sandbox, ".claude/projects/p/s.jsonl"), "one\n");
    once(&sandbox, &[]);
    let listed = sandbox.run(&["sessions", "--json", "--since", "2 days ago"]).exits(0);
    assert_eq!(listed.json().len(), 1);
    let months = sandbox.run(&["sessions", "--since", "1mo"]).exits(2);
    assert!(months.line("error: ").contains("days"), "{months:#?}");
}

#[test]
fn what_an_earlier_watcher_said_is_not_told_of_the_one_that_holds_the_home() {
    let sandbox = Sandbox::new();
    append(user(&sandbox, ".claude/projects/p/s.jsonl"), "one\n");
    once(&sandbox, &[]);
    let lock = fs::OpenOptions::new().write(true).open(sandbox.home("lock")).unwrap();
    lock.lock().unwrap();
    fs::write(sandbox.home("lock"), "1\n").unwrap();
    let status = sandbox.run(&["status"]).exits(0);
    assert!(status.stdout.starts_with(b"capture   not known yet"), "{status:#?}");
}
