//! Depth, length of paths, many entries.

use std::fs;
use std::process::Command;

use crate::support::{Sandbox, append, wait_until_equal};
use crate::{assert_same_lines, assert_verified};

#[test]
fn a_log_200_directories_down_is_captured_and_followed() {
    for source in ["poll", "notify"] {
        let sandbox = Sandbox::new();
        let deepest = sandbox.log("d/".repeat(200));
        fs::create_dir_all(&deepest).unwrap();
        append(deepest.join("a.jsonl"), "one\n");
        let watcher = sandbox.watch(&["--source", source]);
        append(deepest.join("a.jsonl"), "two\n");
        wait_until_equal("both lines", &2, || sandbox.records().len());
        watcher.stop().no_error();
        assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
        assert_verified(&sandbox);
    }
}

#[test]
fn a_log_whose_path_is_longer_than_the_system_takes_is_told_of_and_the_others_are_captured() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    // The names are longer in sum than one path may be, so they are made one in the other.
    let script = "for level in $(seq 200); do mkdir a-name-of-thirty-characters-xx; \
                  cd a-name-of-thirty-characters-xx; done; echo deep > b.jsonl";
    let mut command = Command::new("bash");
    let made = command
        .args(["-ec", script])
        .current_dir(sandbox.log(""))
        .status()
        .unwrap();
    assert!(made.success());
    let ended = sandbox.once(&[]).exits(1);
    assert_eq!(ended.error(), "error: 1 path could not be looked at", "{ended:#?}");
    assert_eq!(ended.count("File name too long"), 1, "{ended:#?}");
    assert_eq!(sandbox.drain_raw(), "one\n");
}

#[test]
fn a_directory_of_5000_entries_is_captured_once_and_what_is_added_to_it_too() {
    let sandbox = Sandbox::new();
    let mut lines = String::new();
    for number in 0..5000 {
        let (is_log, line) = (number % 10 == 0, format!("{number}\n"));
        let extension = if is_log { "jsonl" } else { "txt" };
        fs::write(sandbox.log(format!("{number}.{extension}")), &line).unwrap();
        if is_log {
            lines += &line;
        }
    }
    sandbox.once(&[]).exits(0).no_error();
    sandbox.once(&[]).exits(0).no_error();
    assert_same_lines(&sandbox.drain_raw(), &lines);
    let watcher = sandbox.watch(&[]);
    append(sandbox.log("10.jsonl"), "more\n");
    append(sandbox.log("new.jsonl"), "new\n");
    wait_until_equal("both lines", &2, || sandbox.records().len());
    watcher.stop().no_error();
    assert_same_lines(&sandbox.drain_raw(), "more\nnew\n");
    assert_verified(&sandbox);
}
