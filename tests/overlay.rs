//! The real binary on overlayfs, in a namespace where this user may mount one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells when it was skipped")]
#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn in_namespace(script: &str, top: &Path) -> Option<Output> {
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-ec", script]).current_dir(top);
    command.env("BINARY", env!("CARGO_BIN_EXE_tailspool"));
    command.output().ok()
}

const MOUNT: &str = "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged\n";

#[test]
fn a_file_that_is_copied_up_is_the_same_file() {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path();
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(top.join(name)).unwrap();
    }
    fs::write(top.join("lower/a.jsonl"), "{\"n\":1}\n{\"n\":2}\n").unwrap();
    if !in_namespace(MOUNT, top).is_some_and(|output| output.status.success()) {
        println!("skipped: overlayfs cannot be mounted here");
        return;
    }
    let script = r#"
        "$BINARY" watch --once --scope . --home home merged
        printf '{"n":3}\n' >> merged/a.jsonl
        "$BINARY" watch --once --scope . --home home merged
        "$BINARY" drain --format raw --home home
    "#;
    let output = in_namespace(&(MOUNT.to_owned() + script), top).unwrap();
    let (out, talk) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    assert_eq!(out, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n", "{talk}");
}
