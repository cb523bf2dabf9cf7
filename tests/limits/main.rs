//! What happens at the limits of the system: nothing is lost, nothing comes twice, and it is said what is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![cfg(target_os = "linux")]

mod descriptors;
mod files;
mod home;
#[path = "../pipeline/mod.rs"]
mod pipeline;
#[path = "../support/mod.rs"]
mod support;
mod time;
mod trees;

use serde_json::json;
use support::Sandbox;

fn numbered(range: std::ops::Range<usize>) -> String {
    range.fold(String::new(), |lines, number| lines + &format!("{{\"n\":{number}}}\n"))
}

fn sorted(lines: &str) -> Vec<&str> {
    let mut lines: Vec<_> = lines.lines().collect();
    lines.sort_unstable();
    lines
}

#[track_caller]
fn assert_same_lines(found: &str, expected: &str) {
    assert!(
        sorted(found) == sorted(expected),
        "{} of {} bytes",
        found.len(),
        expected.len()
    );
}

/// Asserts that `verify` finds everything as it was captured.
#[track_caller]
fn assert_verified(sandbox: &Sandbox) {
    let ended = sandbox.run(&["verify", "--json"]).exits(0);
    assert_eq!(ended.json()[0]["findings"], json!([]), "{ended:#?}");
}
