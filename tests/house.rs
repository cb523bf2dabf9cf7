//! House rules that no lint knows.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

use std::fs;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The lines of `src/`, without the test modules, that hold one of `words`; `but` names files that may.
fn lines_with(words: &[&str], but: &[&str]) -> Vec<String> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&top.join("src"), &mut files);
    assert!(files.len() > 20, "the sources were found");
    let mut hits = Vec::new();
    for path in files {
        let name = path.strip_prefix(top).unwrap().to_str().unwrap().to_owned();
        if but.iter().any(|allowed| name.starts_with(allowed)) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for line in code.lines().filter(|line| words.iter().any(|word| line.contains(word))) {
            hits.push(format!("{name}: {}", line.trim()));
        }
    }
    hits
}

#[test]
fn only_the_disk_writes_syncs_renames_and_locks() {
    let words = [
        "fs::write",
        "File::options",
        " File::create",
        "OpenOptions",
        "fs::rename",
        "renameat",
        "fsync",
        "fdatasync",
        "sync_all",
        "sync_data",
        "flock(",
        "unlinkat",
        "remove_file",
        "mkdirat",
        "create_dir_all",
        "ftruncate",
        "set_len(",
    ];
    // The player writes as the programs do that write logs, in a directory of its own; a recording is a
    // fixture and copies in another one.
    let others = [
        "src/disk/",
        "src/replay/files.rs",
        "src/replay/needs.rs",
        "src/record/script.rs",
        "src/record/shadow.rs",
    ];
    assert_eq!(lines_with(&words, &others), [""; 0]);
}

#[test]
fn only_the_tree_opens_logs() {
    let words = [
        " File::open",
        "fs::read(",
        "fs::read_to_string",
        "openat",
        "fs::read_dir",
    ];
    // Fixtures are no logs, and neither are copies of them, nor is the config file, nor the table of mounts.
    let others = [
        "src/filesystem.rs",
        "src/config/file.rs",
        "src/disk/",
        "src/source/tree/",
        "src/replay/files.rs",
        "src/record/script.rs",
        "src/record/shadow.rs",
    ];
    assert_eq!(lines_with(&words, &others), [""; 0]);
}

#[test]
fn no_path_is_printed_as_it_is() {
    // `Shown` escapes what a name may hold; what goes into JSON or a file is not text for people.
    assert_eq!(lines_with(&[".display()"], &[]), [""; 0]);
}

#[test]
fn the_rules_know_no_file_thread_clock_or_environment() {
    let words = [
        "std::fs",
        "std::thread",
        "Instant",
        "SystemTime",
        "std::env",
        "Timestamp::now",
        "rustix",
    ];
    let hits: Vec<_> = lines_with(&words, &[])
        .into_iter()
        .filter(|hit| hit.starts_with("src/pure/"))
        .collect();
    assert_eq!(hits, [""; 0]);
}

#[test]
fn every_test_that_the_docs_name_is_there() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&top.join("src"), &mut files);
    sources(&top.join("tests"), &mut files);
    let code: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let docs: String = ["testing", "security"]
        .iter()
        .map(|name| fs::read_to_string(top.join(format!("docs/{name}.md"))).unwrap())
        .collect();
    let tests = |text: &str| {
        text.len() > 20
            && text
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte))
    };
    let named: Vec<_> = docs.split('`').filter(|text| tests(text)).collect();
    assert!(named.len() > 15, "the docs were read: {named:?}");
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}()")))
        .collect();
    assert_eq!(missing, [&""; 0]);
}
