//! The README's demo runs as it is printed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::process::Command;

/// The blocks of a language, in order.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let parts = text.split(fence.as_str()).skip(1);
    parts.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_demo_runs_as_printed_in_any_directory() {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let shell = blocks(&text, "sh");
    assert_eq!(shell[0], "cargo install --locked --path .\n");
    let binary = Path::new(env!("CARGO_BIN_EXE_tailspool"));
    let temp = tempfile::tempdir().unwrap();
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("sh")
        .args(["-e", "-c", shell[1]])
        .current_dir(temp.path())
        .env("PATH", path)
        .env_remove("RUST_LOG")
        .env_remove("TAILSPOOL_CONFIG")
        .env_remove("XDG_CONFIG_HOME")
        .env("HOME", "")
        .output()
        .unwrap();
    let talk = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{talk}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), blocks(&text, "json")[0]);
    assert!(talk.contains("captured 2 lines of 1 file"), "{talk}");
}

#[test]
fn the_results_in_the_readme_are_those_that_were_measured_last() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !top.join("benches/results").is_dir() {
        eprintln!("skipped: a package holds no results");
        return;
    }
    let check = Command::new("python3")
        .arg(top.join("benches/table.py"))
        .arg("--check")
        .output();
    let Ok(check) = check else {
        eprintln!("skipped: python3 is not there");
        return;
    };
    let talk = String::from_utf8(check.stderr).unwrap();
    assert!(check.status.success(), "{talk}");
}
