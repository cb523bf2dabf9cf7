//! Names and paths in the home that somebody wrote there by hand, with checksums that hold.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tailspool::pure::commit::Commit;
use tailspool::pure::entry::Entry;

use super::SECRET;
use super::support::{Sandbox, append};

/// Writes `text` into a file outside of all roots and the scope, with the lines of a known log at its beginning.
fn outside(sandbox: &Sandbox) -> PathBuf {
    let path = sandbox.path("outside/a.jsonl");
    fs::create_dir(path.parent().unwrap()).unwrap();
    append(&path, format!("one\n{SECRET}\n"));
    path
}

/// Changes the text of the ledger's lines, and seals them anew.
fn change_ledger(sandbox: &Sandbox, change: impl Fn(&str) -> String) {
    let (path, content) = sandbox.segment();
    let (mut bytes, mut entries, mut number) = (Vec::new(), Vec::new(), 0);
    for line in str::from_utf8(&content).unwrap().lines() {
        let line = change(line);
        if serde_json::from_str::<Value>(&line).unwrap()["kind"] != "commit" {
            entries.push(Entry::parse(line.as_bytes()).unwrap());
            continue;
        }
        number += 1;
        let start = bytes.len();
        for (n, entry) in entries.drain(..).enumerate() {
            entry.push(&mut bytes, number, n).unwrap();
        }
        let sealed = start..bytes.len();
        let commit: Commit = serde_json::from_str(&line).unwrap();
        commit.push(&mut bytes, sealed).unwrap();
    }
    assert_ne!(bytes, content, "something was changed");
    fs::write(path, bytes).unwrap();
}

/// Changes the text of the snapshot, and makes its checksum right.
fn change_cursors(sandbox: &Sandbox, change: impl Fn(&str) -> String) {
    let path = sandbox.home("cursors.json");
    let text = fs::read_to_string(&path).unwrap();
    let body = text.split(",\"checksum\":").next().unwrap();
    let changed = change(body);
    assert_ne!(changed, body, "something was changed");
    let sum = blake3::hash(changed.as_bytes()).to_hex();
    fs::write(path, format!("{changed},\"checksum\":\"{sum}\"}}\n")).unwrap();
}

/// Ways to name the file outside: by itself, and by a way through the root.
fn ways(sandbox: &Sandbox, outside: &Path) -> [String; 2] {
    let through = sandbox.log("../../outside/a.jsonl");
    assert!(through.exists());
    [outside, &through].map(|path| path.to_str().unwrap().to_owned())
}

/// Runs every command that reads the home; nothing of the file outside is told, taken or changed.
fn nothing_leads_out(sandbox: &Sandbox, outside: &Path, ulid: &str) {
    let before = fs::read(outside).unwrap();
    for args in [
        &["status"][..],
        &["sessions"],
        &["trace", ulid],
        &["verify", "--json"],
        &["-vv", "watch", "--once", "user/logs"],
        &["-vv", "watch", "--once", "--source", "poll", "user/logs"],
        &["verify"],
        &["drain", "--format", "raw"],
    ] {
        let ended = sandbox.run(args);
        assert!(matches!(ended.code, Some(0 | 1 | 5)), "{args:?}: {ended:#?}");
        assert!(!ended.stderr.contains(SECRET), "{args:?}: {ended:#?}");
        assert!(!ended.text().contains(SECRET), "{args:?}: {ended:#?}");
        if args.contains(&"--json") {
            let files = &ended.json()[0]["files"];
            assert_eq!(
                (&files["standing"], &files["moved"]),
                (&json!(0), &json!(0)),
                "{ended:#?}"
            );
        }
    }
    assert_eq!(fs::read(outside).unwrap(), before);
}

fn captured() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.once(&[]).exits(0);
    let ulid = sandbox.envelopes()[0]["ulid"].as_str().unwrap().to_owned();
    (sandbox, ulid)
}

/// Makes the ledger or the snapshot speak of the inode at another path too, as a forger would.
fn forged(sandbox: &Sandbox, outside: &Path, way: &str, text: &str) -> String {
    use std::os::unix::fs::MetadataExt;
    let log = sandbox.log("a.jsonl");
    let (ours, theirs) = (fs::metadata(&log).unwrap().ino(), fs::metadata(outside).unwrap().ino());
    text.replace(log.to_str().unwrap(), way)
        .replace(&format!("\"inode\":{ours}"), &format!("\"inode\":{theirs}"))
        .replace(&format!(",{ours},["), &format!(",{theirs},["))
}

#[test]
fn a_path_in_the_ledger_that_leads_out_of_the_scope_is_never_opened() {
    for way in 0..2 {
        let (sandbox, ulid) = captured();
        let outside = outside(&sandbox);
        let way = &ways(&sandbox, &outside)[way];
        change_ledger(&sandbox, |text| forged(&sandbox, &outside, way, text));
        fs::remove_file(sandbox.home("cursors.json")).unwrap();
        fs::remove_file(sandbox.log("a.jsonl")).unwrap();
        nothing_leads_out(&sandbox, &outside, &ulid);
    }
}

#[test]
fn a_path_in_the_cursors_that_leads_out_of_the_root_is_never_opened() {
    for way in 0..2 {
        let (sandbox, ulid) = captured();
        let outside = outside(&sandbox);
        let way = &ways(&sandbox, &outside)[way];
        change_cursors(&sandbox, |text| forged(&sandbox, &outside, way, text));
        fs::remove_file(sandbox.log("a.jsonl")).unwrap();
        let before = fs::read(&outside).unwrap();
        for source in ["poll", "notify"] {
            let ended = sandbox.once(&["-vv", "--source", source]);
            assert!(matches!(ended.code, Some(0 | 1)), "{ended:#?}");
            assert!(!ended.stderr.contains("cursors.rebuilt"), "it was believed: {ended:#?}");
        }
        sandbox.run(&["trace", &ulid]);
        assert_eq!(sandbox.drain_raw(), "one\n");
        assert_eq!(fs::read(&outside).unwrap(), before);
    }
}

#[test]
fn a_log_of_which_the_ledger_says_that_it_lies_across_the_root_is_not_opened_even_in_the_scope() {
    let (sandbox, _) = captured();
    let private = sandbox.path("user/private");
    fs::create_dir(&private).unwrap();
    fs::rename(sandbox.log("a.jsonl"), private.join("a.jsonl")).unwrap();
    let (log, across) = (sandbox.log("a.jsonl"), sandbox.log("../private/a.jsonl"));
    change_ledger(&sandbox, |text| {
        text.replace(log.to_str().unwrap(), across.to_str().unwrap())
    });
    fs::remove_file(sandbox.home("cursors.json")).unwrap();
    let private = private.to_str().unwrap();
    let report = sandbox
        .run(&["verify", "--json", "--exclude", private])
        .json()
        .remove(0);
    assert_eq!(
        (&report["files"]["unchecked"], &report["files"]["standing"]),
        (&json!(1), &json!(0)),
        "{report:#}"
    );
}

#[test]
fn a_commit_that_names_files_outside_the_queue_moves_and_removes_none_of_them() {
    for name in [
        "../../outside/a.jsonl",
        "../cursors.json",
        "/etc/passwd",
        "..",
        "",
        "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-1.jsonl/../../lock",
        "pending-..json",
    ] {
        let (sandbox, ulid) = captured();
        let outside = outside(&sandbox);
        let batch = sandbox.batches().remove(0);
        change_ledger(&sandbox, |text| text.replace(&batch, name));
        fs::remove_file(sandbox.home("cursors.json")).unwrap();
        // A leftover makes a start ask the ledger which of them to publish.
        let leftover = sandbox.home("pending/pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-1.jsonl.tmp");
        append(&leftover, "");
        let before = fs::read(&outside).unwrap();
        sandbox.once(&[]).exits(0);
        for args in [&["trace", &ulid][..], &["verify"], &["status"], &["sessions"]] {
            let ended = sandbox.run(args);
            assert!(matches!(ended.code, Some(0 | 1 | 5)), "{name}: {args:?}: {ended:#?}");
        }
        assert_eq!(sandbox.drain_raw(), "one\n", "{name}");
        assert_eq!(fs::read(&outside).unwrap(), before);
        assert!(!leftover.exists() && sandbox.home("lock").exists(), "{name}");
    }
}

#[test]
fn odd_names_in_the_queue_are_drained_as_what_they_hold_or_left_alone() {
    let (sandbox, _) = captured();
    let (pending, batch) = (sandbox.home("pending"), sandbox.batches().remove(0));
    let envelope = fs::read_to_string(pending.join(&batch)).unwrap();
    let names = [
        "pending-..json",
        "pending-....lock",
        "pending-\n.json",
        "pending-\u{1b}[31m.json",
        "...",
    ];
    for name in names {
        fs::write(pending.join(name), &envelope).unwrap();
    }
    let longest = format!("pending-{}.json", "x".repeat(255 - "pending-.json".len()));
    fs::write(pending.join(&longest), "no envelope").unwrap();
    let ended = sandbox.run(&["drain", "--format", "raw"]).exits(1);
    assert_eq!(ended.text(), "one\n".repeat(4), "{ended:#?}");
    assert_eq!(
        ended.count("error: "),
        1,
        "only the one that is no envelope: {ended:#?}"
    );
    assert!(pending.join("...").exists(), "it has not a name of the queue");
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    // The longest name takes no suffix, so it cannot be set aside; it holds nobody up.
    assert_eq!(sandbox.run(&["drain", "--format", "raw"]).exits(1).text(), "two\n");
}

#[test]
fn progress_that_leads_anywhere_else_hands_out_the_whole_batch() {
    use tailspool::queue::claim::Progress;
    for next in ["../../outside/a.jsonl", "/", "", "\u{1b}[31m"] {
        let (sandbox, _) = captured();
        let batch = sandbox.batches().remove(0);
        let lock = sandbox.home("pending").join(batch.replace("-1.jsonl", ".lock"));
        fs::write(&lock, serde_json::to_vec(&Progress::at(next, 3)).unwrap()).unwrap();
        assert_eq!(sandbox.drain_raw(), "one\n", "{next}");
        assert!(!lock.exists());
    }
}
