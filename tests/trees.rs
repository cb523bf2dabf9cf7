//! Golden cases: every fixture tree under `fixtures/trees` is played through the whole pipeline and its
//! committed events are compared with the expected ones.
//!
//! `TAILSPOOL_BLESS=1 cargo test --test trees` writes the expected events anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells what each tree came to")]

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tailspool::replay::{Played, bless, play};
use tailspool::source::kind::SourceKind;

/// The error with its causes.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

/// The fixtures, by name.
fn fixtures() -> Vec<PathBuf> {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees");
    let entries = fs::read_dir(trees).unwrap().map(|entry| entry.unwrap().path());
    let mut fixtures: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    fixtures.sort();
    fixtures
}

/// Plays every fixture tree.
fn play_all(play: impl Fn(&Path) -> Result<Played, tailspool::error::Error>) {
    // Which inode numbers are given away again depends on who else makes files.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let fixtures = fixtures();
    assert!(fixtures.len() >= 60, "the trees were found: {}", fixtures.len());
    let mut failed = Vec::new();
    for fixture in &fixtures {
        let name = fixture.file_name().unwrap().display();
        match play(fixture) {
            Ok(Played::Passed) => println!("passed {name}"),
            Ok(Played::Blessed) => println!("blessed {name}"),
            Ok(Played::Skipped(why)) => println!("skipped {name}: {why}"),
            Ok(Played::Differs(diff)) => failed.push(format!("{name} differs\n{diff}")),
            Err(error) => failed.push(format!("{name}: {}\n", chain(&error))),
        }
    }
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.concat());
}

#[test]
fn every_fixture_tree_gives_its_expected_events_when_it_is_polled() {
    if std::env::var_os("TAILSPOOL_BLESS").is_some() {
        play_all(bless);
    } else {
        play_all(|fixture| play(fixture, SourceKind::Poll));
    }
}

#[test]
fn every_fixture_tree_gives_the_same_lines_and_events_when_changes_are_told() {
    play_all(|fixture| play(fixture, SourceKind::Notify));
}

#[test]
fn every_fixture_tree_is_in_the_tables_of_the_docs_and_every_name_there_is_one() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/testing.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (_, tables) = docs.split_once("## What each fixture tree is for\n").unwrap();
    let cells = tables
        .lines()
        .filter(|row| row.starts_with('|'))
        .filter_map(|row| row.split('|').nth(2));
    let named: BTreeSet<_> = cells
        .flat_map(quoted)
        .filter(|name| !is_test(name) && !is_path(name))
        .collect();
    let fixtures = fixtures();
    let there: BTreeSet<_> = fixtures
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    let unnamed: Vec<_> = there.difference(&named).collect();
    let missing: Vec<_> = named.difference(&there).collect();
    assert!(
        unnamed.is_empty() && missing.is_empty(),
        "not in the tables: {unnamed:?}; no tree: {missing:?}"
    );
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Names of tests are sentences with underscores, names of trees have hyphens.
fn is_test(name: &str) -> bool {
    name.matches('_').count() >= 2
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn is_path(name: &str) -> bool {
    name.contains('/')
}

/// All that is written in these directories and below.
fn sources(directory: &Path, text: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn every_test_and_every_path_that_the_docs_on_testing_name_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    sources(&top.join("src"), &mut text);
    sources(&top.join("tests"), &mut text);
    let docs = fs::read_to_string(top.join("docs/testing.md")).unwrap();
    let names: BTreeSet<_> = docs.lines().flat_map(quoted).collect();
    let tests = names.iter().filter(|name| is_test(name));
    assert!(tests.clone().count() >= 40, "the names were found");
    let missing: Vec<_> = tests.filter(|name| !text.contains(&format!("fn {name}()"))).collect();
    let is_ours = |name: &&&str| {
        ["src/", "tests/", "benches/", "scripts/", "fixtures/"]
            .iter()
            .any(|top| name.starts_with(top))
    };
    let plain = |name: &&&str| is_ours(name) && !name.contains(['*', ' ']);
    let nowhere: Vec<_> = names
        .iter()
        .filter(plain)
        .filter(|name| !top.join(name).exists())
        .collect();
    assert!(
        missing.is_empty() && nowhere.is_empty(),
        "no test: {missing:?}; no file: {nowhere:?}"
    );
}
