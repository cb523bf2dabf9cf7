//! Few open files.

use std::fs;

use crate::support::{Running, Sandbox, append, wait_until_equal};
use crate::{assert_same_lines, assert_verified};

/// 200 logs in 20 directories; their lines.
fn many_logs(sandbox: &Sandbox, round: usize) -> String {
    let mut lines = String::new();
    for number in 0..200 {
        let directory = sandbox.log(format!("d{}", number % 20));
        fs::create_dir_all(&directory).unwrap();
        let line = format!("{round} {number}\n");
        append(directory.join(format!("{number}.jsonl")), &line);
        lines += &line;
    }
    lines
}

#[test]
fn thirty_two_descriptors_are_enough_for_every_command() {
    let sandbox = Sandbox::new();
    let limited = |args: &[&str]| Running::start(sandbox.shell("ulimit -n 32", args));
    let mut lines = many_logs(&sandbox, 0);
    limited(&["watch", "--once", "user/logs"]).end().exits(0).no_error();
    limited(&["verify"]).end().exits(0).no_error();
    for source in ["poll", "notify"] {
        let watcher = limited(&["watch", "--source", source, "--interval", "100ms", "user/logs"]);
        watcher.says("watching ");
        lines += &many_logs(&sandbox, 1);
        wait_until_equal("all lines", &lines.lines().count(), || sandbox.records().len());
        let ended = watcher.stop().no_error();
        assert_eq!(ended.count("cannot look at"), 0, "{ended:#?}");
    }
    let drained = limited(&["drain", "--format", "raw"]).end().exits(0).no_error();
    assert_same_lines(drained.text(), &lines);
    limited(&["sessions"]).end().exits(0).no_error();
    assert_verified(&sandbox);
}

#[test]
fn fewer_descriptors_than_that_are_an_error_that_says_so_and_never_a_loss() {
    let mut refused = 0;
    // With less the loader finds no libraries.
    for most in 4..20 {
        let sandbox = Sandbox::new();
        let lines = many_logs(&sandbox, 0);
        let args = ["watch", "--once", "user/logs"];
        let ended = Running::start(sandbox.shell(&format!("ulimit -n {most}"), &args)).end();
        if ended.code != Some(0) {
            let ended = ended.exits(1);
            ended.error();
            assert!(ended.stderr.contains("Too many open files"), "{most}: {ended:#?}");
            let looked = ended.error().contains("could not be looked at");
            assert!(looked || ended.hint().contains("ulimit -n"), "{most}: {ended:#?}");
            refused += 1;
        }
        let drained = sandbox.run(&["drain", "--format", "raw"]).exits(0).text().to_owned();
        sandbox.once(&[]).exits(0).no_error();
        assert_same_lines(&(drained + &sandbox.drain_raw()), &lines);
        assert_verified(&sandbox);
    }
    assert!((1..16).contains(&refused), "{refused} of 16 were refused");
}
