//! The real binary that is told of changes: small limits, a watcher that stands still, filesystems that come and go.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells when it was skipped")]
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use support::namespace::{in_namespace, inside};
use support::{Running, Sandbox, append, wait_until_equal};

fn start(command: Command) -> Running {
    let watcher = Running::start(command);
    watcher.says("watching ");
    watcher
}

/// Waits until these lines, in whatever order, were captured, each once.
fn wait_for_lines(sandbox: &Sandbox, mut expected: Vec<String>) {
    expected.sort();
    wait_until_equal("these lines", &expected, || {
        let records = sandbox.records().into_iter();
        let mut lines: Vec<_> = records.map(|record| String::from_utf8(record.4).unwrap()).collect();
        lines.sort();
        lines
    });
}

fn root(sandbox: &Sandbox) -> Value {
    sandbox.status()["roots"][0].clone()
}

#[test]
fn directories_beyond_the_limit_of_watches_are_polled_and_nothing_is_missed() {
    let sandbox = Sandbox::new();
    let mut expected = Vec::new();
    for number in 0..20 {
        let directory = sandbox.log(format!("d{number}"));
        fs::create_dir(&directory).unwrap();
        append(directory.join("a.jsonl"), format!("{number}\n"));
        expected.push(number.to_string());
    }
    let limit = "echo 5 > /proc/sys/user/max_inotify_watches";
    let args = ["watch", "--interval", "100ms", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Ur", limit, &args) else {
        return;
    };
    let watcher = start(command);
    wait_for_lines(&sandbox, expected.clone());
    for number in 0..20 {
        append(sandbox.log(format!("d{number}/a.jsonl")), format!("more {number}\n"));
        fs::create_dir(sandbox.log(format!("d{number}/e"))).unwrap();
        append(sandbox.log(format!("d{number}/e/b.jsonl")), format!("new {number}\n"));
        expected.extend([format!("more {number}"), format!("new {number}")]);
    }
    wait_for_lines(&sandbox, expected);
    wait_until_equal("what the status says", &true, || {
        let root = root(&sandbox);
        root["source"] == "notify" && root["polled"].as_u64().is_some_and(|polled| polled >= 15)
    });
    let why = &root(&sandbox)["polled_first"][0]["why"];
    assert_eq!(why, "no more directories can be watched");
    let ended = watcher.stop();
    assert_eq!(ended.count("fs.inotify.max_user_watches"), 1, "{ended:#?}");
    assert_eq!(ended.count("polled instead"), 1, "{ended:#?}");
}

const NO_INSTANCE: &str = "echo 0 > /proc/sys/user/max_inotify_instances";

#[test]
fn without_an_instance_everything_is_polled_and_that_is_told_once() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    let args = ["watch", "--interval", "100ms", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Ur", NO_INSTANCE, &args) else {
        return;
    };
    let watcher = start(command);
    wait_for_lines(&sandbox, vec!["one".into()]);
    fs::create_dir(sandbox.log("d")).unwrap();
    append(sandbox.log("d/b.jsonl"), "two\n");
    wait_for_lines(&sandbox, vec!["one".into(), "two".into()]);
    assert_eq!(root(&sandbox)["source"], "poll");
    let ended = watcher.stop();
    assert_eq!(ended.count("fs.inotify.max_user_instances"), 1, "{ended:#?}");
    assert_eq!(ended.count("everything is polled"), 1, "{ended:#?}");
}

#[test]
fn without_an_instance_the_notify_source_is_an_error() {
    let sandbox = Sandbox::new();
    let args = ["watch", "--source", "notify", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Ur", NO_INSTANCE, &args) else {
        return;
    };
    let ended = Running::start(command).end().exits(1);
    assert!(ended.error().contains("cannot be told of changes"), "{ended:#?}");
    assert!(ended.hint().contains("--source poll"), "{ended:#?}");
}

#[test]
fn a_watcher_that_stood_still_while_more_happened_than_is_kept_captures_all_of_it() {
    let sandbox = Sandbox::new();
    let watcher = sandbox.watch(&["--source", "notify", "-v"]);
    append(sandbox.log("a.jsonl"), "first\n");
    wait_for_lines(&sandbox, vec!["first".into()]);
    watcher.signal(Signal::STOP);
    let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let kept: usize = kept.trim().parse().unwrap();
    let mut expected = vec!["first".to_owned()];
    // Events of one file that follow each other are told once, so these take turns.
    for number in 0..kept + 100 {
        let line = number.to_string();
        if number % 100 == 0 {
            fs::create_dir(sandbox.log(&line)).unwrap();
            append(sandbox.log(&line).join("b.jsonl"), format!("{line}\n"));
            expected.push(line);
        } else {
            append(sandbox.log(format!("{}.jsonl", number % 2)), format!("{line}\n"));
            expected.push(line);
        }
    }
    watcher.signal(Signal::CONT);
    watcher.says("more changed than could be told");
    wait_for_lines(&sandbox, expected.clone());
    append(sandbox.log("100/b.jsonl"), "last\n");
    expected.push("last".into());
    wait_for_lines(&sandbox, expected);
    assert_eq!(root(&sandbox)["source"], "notify");
    watcher.stop();
}

#[test]
fn few_descriptors_are_enough_for_many_files() {
    let sandbox = Sandbox::new();
    let mut command = Command::new("prlimit");
    command.args(["--nofile=64:64", "--version"]).stdout(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        println!("skipped: there is no prlimit here");
        return;
    }
    let args = ["watch", "--source", "notify", "user/logs"];
    let watcher = start(sandbox.shell("prlimit --pid $$ --nofile=64:64", &args));
    let mut expected = Vec::new();
    for round in 0..2 {
        for number in 0..300 {
            let directory = sandbox.log(format!("d{}", number % 30));
            fs::create_dir_all(&directory).unwrap();
            append(directory.join(format!("{number}.jsonl")), format!("{round} {number}\n"));
            expected.push(format!("{round} {number}"));
        }
        wait_for_lines(&sandbox, expected.clone());
    }
    let ended = watcher.stop();
    assert_eq!(ended.count("cannot look at"), 0, "{ended:#?}");
}

#[test]
fn a_filesystem_that_goes_and_comes_is_noticed_by_the_table_of_mounts() {
    let sandbox = Sandbox::new();
    let logs = sandbox.log("").to_str().unwrap().to_owned();
    let mount = format!("mount -t tmpfs tmpfs '{logs}'");
    let args = ["watch", "--source", "notify", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Urm", &mount, &args) else {
        return;
    };
    let watcher = start(command);
    inside(&watcher, &format!("echo one > '{logs}/a.jsonl'"));
    wait_for_lines(&sandbox, vec!["one".into()]);
    // The watcher has it open, and still it goes.
    inside(&watcher, &format!("umount -l '{logs}'"));
    append(sandbox.log("b.jsonl"), "below\n");
    wait_for_lines(&sandbox, vec!["one".into(), "below".into()]);
    inside(
        &watcher,
        &format!("{mount}; mkdir '{logs}/d'; echo two > '{logs}/d/a.jsonl'"),
    );
    wait_for_lines(&sandbox, vec!["one".into(), "below".into(), "two".into()]);
    inside(&watcher, &format!("echo three >> '{logs}/d/a.jsonl'"));
    let all = ["one", "below", "two", "three"].map(str::to_owned);
    wait_for_lines(&sandbox, all.into());
    watcher.stop();
}

#[test]
fn an_overlay_of_local_layers_is_told_of() {
    let sandbox = Sandbox::new();
    for name in ["lower", "upper", "work"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    append(sandbox.path("lower/a.jsonl"), "one\n");
    let logs = sandbox.log("").to_str().unwrap().to_owned();
    let mount = format!("mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work '{logs}'");
    let args = ["watch", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Urm", &mount, &args) else {
        return;
    };
    let watcher = start(command);
    wait_for_lines(&sandbox, vec!["one".into()]);
    inside(
        &watcher,
        &format!("echo two >> '{logs}/a.jsonl'; mkdir '{logs}/d'; echo three > '{logs}/d/b.jsonl'"),
    );
    let all = ["one", "two", "three"].map(str::to_owned);
    wait_for_lines(&sandbox, all.into());
    let root = root(&sandbox);
    assert_eq!(
        (&root["source"], &root["polled"]),
        (&"notify".into(), &Value::Null),
        "{root}"
    );
    watcher.stop();
}
