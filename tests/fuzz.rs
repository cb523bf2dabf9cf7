//! What must hold for any bytes, as property tests; `fuzz/` gives the same bodies to a fuzzer.
//!
//! `TAILSPOOL_CASES=N` tries more cases of each.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells which file is played")]

#[path = "fuzz/bodies.rs"]
mod bodies;

use std::fs;
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use bodies::{batch, cli, cursors, envelope, ledger, lines, script, spill};

type Body = fn(&[u8]);

const TARGETS: [(&str, Body); 8] = [
    ("batch", batch::run),
    ("cli", cli::run),
    ("cursors", cursors::run),
    ("envelope", envelope::run),
    ("ledger", ledger::run),
    ("lines", lines::run),
    ("script", script::run),
    ("spill", spill::run),
];

/// Tries a body with few bytes, which do little damage, and with many.
fn holds(body: Body) {
    let cases = std::env::var("TAILSPOOL_CASES").map_or(500, |cases| cases.parse().unwrap());
    body(b"");
    let bytes = prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..400)];
    let outcome = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
    .run(&bytes, |bytes| {
        body(&bytes);
        Ok(())
    });
    outcome.unwrap();
}

#[test]
fn a_damaged_batch_is_handed_out_as_it_was_committed_or_told() {
    holds(batch::run);
}

#[test]
fn any_arguments_are_a_command_or_a_mistake() {
    holds(cli::run);
}

#[test]
fn a_snapshot_is_believed_only_as_it_was_written() {
    holds(cursors::run);
}

#[test]
fn an_envelope_gives_back_what_was_put_into_it() {
    holds(envelope::run);
}

#[test]
fn of_a_damaged_ledger_the_first_commits_are_read_or_none() {
    holds(ledger::run);
}

#[test]
fn lines_in_pieces_are_the_lines_of_the_whole() {
    holds(lines::run);
}

#[test]
fn a_script_that_is_accepted_stays_in_its_tree() {
    holds(script::run);
}

#[test]
fn each_good_line_of_a_damaged_spill_file_is_delivered() {
    holds(spill::run);
}

#[test]
fn what_the_fuzzer_found_once_holds_now() {
    for (name, body) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fuzz/found")
            .join(name);
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            body(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn each_body_has_a_program_of_the_fuzzer() {
    let programs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets")).unwrap();
    let mut programs: Vec<_> = programs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    programs.sort();
    assert_eq!(programs, TARGETS.map(|(name, _)| format!("{name}.rs")));
}
