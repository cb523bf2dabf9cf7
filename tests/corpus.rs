//! The corpus that the benches read is as it was asked for, and its checker misses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[allow(dead_code, reason = "the tests use a part")]
#[path = "../benches/corpus/mod.rs"]
mod corpus;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use corpus::check::{Check, Verdict};
use corpus::make::{make, manifest_path};
use corpus::manifest::Manifest;
use corpus::tree::FILES;
use tempfile::TempDir;

/// A corpus of so many MiB in a directory of its own.
fn corpus(mebibytes: u64, seed: u64) -> (TempDir, PathBuf, Manifest) {
    let temp = tempfile::tempdir().unwrap();
    let out = fs::canonicalize(temp.path()).unwrap().join("logs");
    let manifest = make(&out, mebibytes, seed).unwrap();
    (temp, out, manifest)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let [one, same, other] = [(6, 7), (6, 7), (6, 8)].map(|(mebibytes, seed)| corpus(mebibytes, seed));
    assert_eq!(one.2.about, same.2.about);
    assert_eq!(one.2.entries, same.2.entries);
    assert_eq!(one.2.marks, same.2.marks);
    assert_ne!(one.2.about.root, other.2.about.root);
}

#[test]
fn a_manifest_is_read_as_it_was_kept() {
    let (_temp, out, manifest) = corpus(4, 1);
    manifest.save(&manifest_path(&out)).unwrap();
    let read = Manifest::load(&manifest_path(&out)).unwrap();
    assert_eq!(
        (read.about, read.entries, read.marks),
        (manifest.about, manifest.entries, manifest.marks)
    );
}

/// The size below which so many of 100 lie.
fn quantile(sizes: &mut [usize], percent: usize) -> usize {
    sizes.sort_unstable();
    sizes[(sizes.len() - 1) * percent / 100]
}

fn assert_near(what: &str, found: usize, wanted: usize, tolerance_percent: usize) {
    let off = found.abs_diff(wanted) * 100 / wanted;
    assert!(off <= tolerance_percent, "{what}: {found}, not {wanted}");
}

#[test]
fn files_and_lines_have_the_sizes_that_real_ones_have() {
    let (_temp, out, manifest) = corpus(64, 1);
    assert_near("bytes", usize::try_from(manifest.about.bytes).unwrap(), 64 << 20, 3);
    let mut files = Vec::new();
    let mut lines: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let kinds = [
        "\"type\":\"tool_result\"",
        "\"type\":\"thinking\"",
        "\"type\":\"token_count\"",
        "\"type\":\"turn_context\"",
    ];
    for entry in &manifest.entries {
        let is_shared = entry.path.starts_with(".claude") || entry.path.starts_with(".codex");
        let is_session = entry.captured && entry.bytes > 0 && !entry.path.ends_with("history.jsonl");
        if !is_shared || !is_session || entry.same_as.is_some() {
            continue;
        }
        files.push(usize::try_from(entry.bytes).unwrap());
        for line in fs::read(out.join(&entry.path)).unwrap().split(|byte| *byte == b'\n') {
            let head = String::from_utf8_lossy(&line[..line.len().min(700)]);
            if let Some(kind) = kinds
                .into_iter()
                .find(|kind| head.contains(kind) && !head.contains("base64"))
            {
                lines.entry(kind).or_default().push(line.len() + 1);
            }
        }
    }
    for (percent, share) in [(50, 0.5), (75, 0.75), (90, 0.9)] {
        assert_near(
            &format!("files, p{percent}"),
            quantile(&mut files, percent),
            FILES.at(share),
            15,
        );
    }
    let wanted = [(2584, 19_751), (2314, 13_306), (710, 716), (14_500, 14_520)];
    for (kind, (median, high)) in kinds.into_iter().zip(wanted) {
        let sizes = lines.get_mut(kind).unwrap();
        assert_near(&format!("{kind}, p50"), quantile(sizes, 50), median, 15);
        assert_near(&format!("{kind}, p90"), quantile(sizes, 90), high, 25);
    }
}

#[test]
fn every_kind_of_dirt_is_there() {
    let (_temp, _, manifest) = corpus(16, 1);
    let mut dirt: Vec<&str> = manifest
        .entries
        .iter()
        .filter_map(|entry| entry.dirt.as_deref())
        .collect();
    dirt.sort_unstable();
    dirt.dedup();
    let all = [
        "blank",
        "crlf",
        "joined",
        "not utf-8",
        "nul tail",
        "nuls",
        "splice",
        "unfinished",
    ];
    assert_eq!(dirt, all);
    assert!(
        manifest.entries.iter().any(|entry| entry.bytes == 0 && entry.captured),
        "an empty file"
    );
    assert!(
        manifest.entries.iter().any(|entry| entry.same_as.is_some()),
        "a hard link"
    );
    let marks = &manifest.marks;
    assert!(
        marks
            .iter()
            .any(|mark| mark.is_ended() && mark.length() > 0 && !mark.is_json())
    );
}

/// What a home made by the real command holds, one envelope a line, in order.
fn captured(logs: &Path) -> Vec<Vec<u8>> {
    let scope = logs.parent().unwrap();
    let home = scope.join("home");
    let command = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tailspool"))
            .args(["-q", "--home", home.to_str().unwrap()])
            .args(arguments)
            .env_remove("TAILSPOOL_CONFIG")
            .env("XDG_CONFIG_HOME", scope)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    command(&[
        "watch",
        "--once",
        "--scope",
        scope.to_str().unwrap(),
        logs.to_str().unwrap(),
    ]);
    let envelopes = command(&["drain", "--peek", "--format", "envelope"]);
    envelopes
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

fn verdict(manifest: &Manifest, logs: &Path, envelopes: &[Vec<u8>]) -> Verdict {
    let mut check = Check::new(manifest, logs.to_owned());
    check.envelopes(&mut envelopes.concat().as_slice()).unwrap();
    check.finish()
}

#[test]
fn what_is_captured_of_a_corpus_is_what_its_manifest_says() {
    let (temp, logs, manifest) = corpus(16, 1);
    let envelopes = captured(&logs);
    let found = verdict(&manifest, &logs, &envelopes);
    assert!(found.is_good(), "{found:?}");
    assert_eq!(found.records, manifest.about.records);
    let mut check = Check::new(&manifest, logs);
    check.home(&temp.path().join("home")).unwrap();
    assert_eq!(check.finish(), found, "the queue itself is read alike");
}

#[test]
fn a_record_that_is_missing_doubled_changed_out_of_order_or_no_line_is_found() {
    let (_temp, logs, manifest) = corpus(4, 1);
    let whole = captured(&logs);
    let good = verdict(&manifest, &logs, &whole);
    let with = |change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        let mut envelopes = whole.clone();
        change(&mut envelopes);
        let mut found = verdict(&manifest, &logs, &envelopes);
        assert!(!found.is_good() && !found.told.is_empty());
        found.told.clear();
        found
    };
    let records = good.records;
    let clean = || Verdict {
        records,
        ..Verdict::default()
    };
    let missing = with(&|envelopes| drop(envelopes.remove(9)));
    assert_eq!(
        missing,
        Verdict {
            records: records - 1,
            missing: 1,
            ..clean()
        }
    );
    let doubled = with(&|envelopes| envelopes.insert(20, envelopes[9].clone()));
    assert_eq!(
        doubled,
        Verdict {
            records: records + 1,
            doubled: 1,
            ..clean()
        }
    );
    let text = |envelope: &[u8], from: &str, to: &str| {
        let text = String::from_utf8(envelope.to_vec()).unwrap();
        assert!(text.contains(from), "{from} is in {text}");
        text.replacen(from, to, 1).into_bytes()
    };
    let changed = with(&|envelopes| envelopes[9] = text(&envelopes[9], "sessionId", "sessionIx"));
    assert_eq!(changed, Verdict { changed: 1, ..clean() });
    let misjudged = with(&|envelopes| envelopes[9] = text(&envelopes[9], "\"json\":true", "\"json\":false"));
    assert_eq!(
        misjudged,
        Verdict {
            misjudged: 1,
            ..clean()
        }
    );
    let moved = with(&|envelopes| envelopes[9] = text(&envelopes[9], "\"offset\":", "\"offset\":3"));
    assert_eq!(
        moved,
        Verdict {
            extra: 1,
            missing: 1,
            ..clean()
        }
    );
    let same_file = |a: &[u8], b: &[u8]| {
        let file = |envelope: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(envelope).unwrap()["record"]["source"]["path"].clone()
        };
        file(a) == file(b)
    };
    let at = (9..whole.len() - 1)
        .find(|at| same_file(&whole[*at], &whole[at + 1]))
        .unwrap();
    let swapped = with(&|envelopes| envelopes.swap(at, at + 1));
    assert_eq!(
        swapped,
        Verdict {
            disordered: 1,
            ..clean()
        }
    );
}
