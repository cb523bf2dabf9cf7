//! `tailspool trace`: where a record came from, what happened since, and where it is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Sandbox, append};
use tailspool::disk::{Disk, SimDisk};
use tailspool::ledger::{Ledger, segment_path, segments};
use tailspool::pure::entry::{Captured, Delete, Entry};
use tailspool::pure::fold::Fold;
use tailspool::pure::identity::Window;
use tailspool::trace::{find, find_linear, trace};
use ulid::Ulid;

/// `trace --json` of a record that is known.
#[track_caller]
fn traced(sandbox: &Sandbox, ulid: &str) -> Value {
    let ended = sandbox.run(&["trace", "--json", ulid]).exits(0).no_error();
    ended.json().remove(0)
}

/// The ULIDs that wait, in order.
fn ulids(sandbox: &Sandbox) -> Vec<String> {
    let envelopes = sandbox.envelopes();
    let ulids = envelopes
        .iter()
        .map(|envelope| envelope["ulid"].as_str().unwrap().to_owned());
    ulids.collect()
}

fn captured(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), text);
    sandbox.once(&[]).exits(0);
    sandbox
}

fn line(offset: u64, length: u64, number: u64, told_by: &str) -> Value {
    json!({"offset": offset, "length": length, "number": number, "told_by": told_by})
}

#[test]
fn a_record_that_waits_is_told_by_its_envelope() {
    let sandbox = captured("one\n\ntwo\nthree\n");
    let ulids = ulids(&sandbox);
    let found = traced(&sandbox, &ulids[1].to_lowercase());
    assert_eq!(found["ulid"], ulids[1].as_str());
    let origin = &found["origin"];
    assert_eq!(origin["path"], sandbox.log("a.jsonl").to_str().unwrap());
    assert_eq!(origin["session_id"], "a");
    let run = json!({"index": 1, "from": 0, "to": 15, "line": 1, "line_last": 4, "lines": 3, "blank": 1});
    assert_eq!(origin["run"], run);
    assert_eq!(origin["line"], line(5, 3, 3, "envelope"));
    assert_eq!(origin["commit"]["batch"], sandbox.batches()[0].as_str());
    assert_eq!(origin["standing"]["state"], "stands");
    assert_eq!(
        (&found["now"]["state"], &found["now"]["claimed"]),
        (&json!("pending"), &json!(false))
    );
    let shown = sandbox.run(&["trace", &ulids[1]]).exits(0).no_error();
    assert!(shown.text().contains("line      3, 3 bytes at 5\n"), "{shown:#?}");
    assert!(shown.text().contains("now       waiting in pending-"), "{shown:#?}");
}

#[test]
fn how_far_a_drain_came_in_a_batch_is_told() {
    let sandbox = captured("one\ntwo\n");
    let ulids = ulids(&sandbox);
    sandbox.run(&["drain", "--max", "1"]).exits(0);
    assert_eq!(traced(&sandbox, &ulids[0])["now"]["handed_out"], true);
    assert_eq!(traced(&sandbox, &ulids[1])["now"]["handed_out"], false);
}

#[test]
fn of_a_drained_record_the_line_is_told_by_the_file_as_long_as_it_stands() {
    let sandbox = captured("one\n\ntwo\nthree\n");
    let ulids = ulids(&sandbox);
    sandbox.drain_raw();
    append(sandbox.log("a.jsonl"), "more\n");
    sandbox.once(&[]).exits(0);
    let found = traced(&sandbox, &ulids[2]);
    assert_eq!(found["now"]["state"], "delivered");
    assert_eq!(found["deliveries"][0]["reader"], "stdout");
    assert_eq!(
        (&found["origin"]["line"], &found["origin"]["later_runs"]),
        (&line(9, 5, 4, "file"), &json!(1))
    );
    // Also under another name.
    fs::rename(sandbox.log("a.jsonl"), sandbox.log("a.jsonl.1")).unwrap();
    assert_eq!(traced(&sandbox, &ulids[0])["origin"]["line"], line(0, 3, 1, "file"));
    fs::remove_file(sandbox.log("a.jsonl.1")).unwrap();
    sandbox.once(&[]).exits(0);
    let origin = &traced(&sandbox, &ulids[0])["origin"];
    assert_eq!(origin["line"], json!(null));
    let kinds: Vec<_> = origin["since"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| &event["kind"])
        .collect();
    assert_eq!(kinds, ["delete", "closed"]);
    assert!(origin["since"][0]["at"].is_string(), "{origin:#}");
    assert_eq!(origin["file"]["presence"], "gone");
    let shown = sandbox.run(&["trace", &ulids[0]]).exits(0).no_error();
    assert!(shown.text().contains("since     delete in commit "), "{shown:#?}");
}

#[test]
fn a_run_of_one_line_needs_neither_envelope_nor_file() {
    let sandbox = captured("one\n");
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    let ulids = ulids(&sandbox);
    sandbox.drain_raw();
    fs::remove_file(sandbox.log("a.jsonl")).unwrap();
    assert_eq!(traced(&sandbox, &ulids[1])["origin"]["line"], line(4, 3, 2, "ledger"));
}

#[test]
fn what_a_rewrite_touched_is_superseded_and_what_it_left_stands() {
    let sandbox = captured("one\n");
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    let before = ulids(&sandbox);
    fs::write(sandbox.log("a.jsonl"), "one\nTWO\n").unwrap();
    sandbox.once(&[]).exits(0);
    let after = ulids(&sandbox);
    assert_eq!(after.len(), 3);
    assert_eq!(traced(&sandbox, &before[0])["origin"]["standing"]["state"], "stands");
    let origin = &traced(&sandbox, &before[1])["origin"];
    assert_eq!(origin["standing"]["state"], "superseded");
    assert_eq!(origin["since"][0]["kind"], "truncate");
    assert_eq!(origin["standing"]["commit"], origin["since"][0]["commit"]);
    let origin = &traced(&sandbox, &after[2])["origin"];
    assert_eq!((&origin["epoch"], &origin["since"]), (&json!(1), &json!([])));
}

#[test]
fn a_rotated_file_is_told_of_with_its_successor() {
    let sandbox = captured("one\n");
    let ulids = ulids(&sandbox);
    fs::rename(sandbox.log("a.jsonl"), sandbox.log("a.jsonl.1")).unwrap();
    append(sandbox.log("a.jsonl"), "two\n");
    sandbox.once(&[]).exits(0);
    let origin = &traced(&sandbox, &ulids[0])["origin"];
    assert_eq!(origin["since"][0]["kind"], "rotate", "{origin:#}");
    assert_ne!(origin["file"]["presence"], "followed");
}

#[test]
fn a_last_line_without_newline_is_told_by_the_ledger_and_so_is_what_became_of_it() {
    let sandbox = captured("{\"n\":1}\n{\"n\":2}");
    let settled = ulids(&sandbox)[1].clone();
    let origin = &traced(&sandbox, &settled)["origin"];
    assert_eq!(
        (&origin["run"], &origin["standing"]["state"]),
        (&json!(null), &json!("stands"))
    );
    sandbox.drain_raw();
    assert_eq!(traced(&sandbox, &settled)["origin"]["line"], line(8, 7, 2, "ledger"));
    append(sandbox.log("a.jsonl"), "\n{\"n\":3}\n{\"n\":4}");
    sandbox.once(&[]).exits(0);
    let origin = &traced(&sandbox, &settled)["origin"];
    assert_eq!(origin["standing"]["state"], "completed", "{origin:#}");
    assert_eq!(origin["since"][0]["kind"], "captured");
    // The run begins with the settled line, which is not among its records.
    let third = ulids(&sandbox)[0].clone();
    let other = ulids(&sandbox)[1].clone();
    sandbox.drain_raw();
    assert_eq!(traced(&sandbox, &third)["origin"]["line"], line(16, 7, 3, "file"));
    append(sandbox.log("a.jsonl"), " \n");
    sandbox.once(&[]).exits(0);
    let standing = &traced(&sandbox, &other)["origin"]["standing"];
    assert_eq!(
        (&standing["state"], &standing["by"]),
        (&json!("replaced"), &json!(ulids(&sandbox)[0]))
    );
}

#[test]
fn what_the_queue_dropped_and_what_readers_got_is_told_where_it_was_written_down() {
    let sandbox = captured("one\ntwo\n");
    let ulids = ulids(&sandbox);
    sandbox.drain_raw();
    fs::remove_file(sandbox.home("provenance/deliveries.jsonl")).unwrap();
    let audit = json!({"ts": "2026-01-02T03:04:05Z", "dropped_ulid": ulids[0], "appended_at": "x", "reason": "full",
        "queue_size_before_prune": 7});
    append(sandbox.home("pending/.overflow-audit.log"), format!("{audit}\n"));
    let dropped = json!({"state": "dropped", "at": "2026-01-02T03:04:05Z", "reason": "full"});
    assert_eq!(traced(&sandbox, &ulids[0])["now"], dropped);
    assert_eq!(traced(&sandbox, &ulids[1])["now"]["state"], "drained");
    let delivery =
        json!({"first": ulids[1], "last": ulids[1], "records": 1, "reader": "cat", "at": "2026-01-02T03:04:05Z"});
    let other =
        json!({"first": ulids[0], "last": ulids[0], "records": 1, "reader": "cat", "at": "2026-01-02T03:04:05Z"});
    append(
        sandbox.home("provenance/deliveries.jsonl"),
        format!("{other}\n{{\n{delivery}\n{delivery}\n{{\"fi"),
    );
    let found = traced(&sandbox, &ulids[1]);
    assert_eq!(found["now"]["state"], "delivered");
    assert_eq!(
        (&found["deliveries"], &found["deliveries_unreadable"]),
        (&json!([delivery, delivery]), &json!(1))
    );
    let shown = sandbox.run(&["trace", &ulids[1]]).exits(0).no_error();
    assert!(
        shown.text().contains("given to  cat at 2026-01-02T03:04:05Z\n"),
        "{shown:#?}"
    );
}

#[test]
fn a_record_in_quarantine_is_told_with_the_reason() {
    let sandbox = captured("one\ntwo\n");
    let ulids = ulids(&sandbox);
    let name = sandbox.batches()[0].clone();
    let path = sandbox.home("pending").join(&name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replacen('{', "[", 1)).unwrap();
    sandbox.run(&["drain"]).exits(1);
    for ulid in &ulids {
        let now = &traced(&sandbox, ulid)["now"];
        assert_eq!((&now["state"], &now["file"]), (&json!("quarantined"), &json!(name)));
        assert!(now["reason"].is_string());
    }
}

#[test]
fn a_record_of_another_program_is_told_by_its_envelope() {
    let sandbox = captured("one\n");
    let ulid = Ulid::from_parts(5, 6).to_string();
    for name in [format!("pending-{ulid}.json"), "pending-theirs.json".into()] {
        let envelope = json!({"ulid": ulid, "schema_version": 1,
            "record": {"text": "theirs", "source": {"who": "them"}}});
        let path = sandbox.home("pending").join(&name);
        fs::write(&path, serde_json::to_string_pretty(&envelope).unwrap()).unwrap();
        let found = traced(&sandbox, &ulid);
        assert_eq!(
            (&found["origin"], &found["foreign"]["source"]["who"]),
            (&json!(null), &json!("them"))
        );
        assert_eq!(
            (&found["now"]["state"], &found["now"]["file"]),
            (&json!("pending"), &json!(name))
        );
        let shown = sandbox.run(&["trace", &ulid]).exits(0).no_error();
        assert!(shown.text().contains("another program"), "{shown:#?}");
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_nothing_knows_is_an_error_and_what_is_no_ulid_a_usage_error() {
    let sandbox = Sandbox::new();
    let unknown = Ulid::from_parts(1, 2).to_string();
    for _ in 0..2 {
        let ended = sandbox.run(&["trace", &unknown]).exits(1);
        assert!(ended.error().contains(&unknown), "{ended:#?}");
        ended.hint();
        append(sandbox.log("a.jsonl"), "one\n");
        sandbox.once(&[]).exits(0);
    }
    for text in ["", "x", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "01ARZ3NDEKTSV4RRFFQ69G5FAU"] {
        let ended = sandbox.run(&["trace", text]).exits(2);
        ended.error();
        ended.hint();
    }
}

#[test]
fn an_unfinished_end_of_the_ledger_tells_nothing() {
    let sandbox = captured("one\n");
    let ulids = ulids(&sandbox);
    fs::remove_file(sandbox.log("a.jsonl")).unwrap();
    let (path, whole) = sandbox.segment();
    sandbox.once(&[]).exits(0);
    let deleted = sandbox.segment().1;
    fs::write(&path, &deleted[..deleted.len() - 1]).unwrap();
    assert_eq!(traced(&sandbox, &ulids[0])["origin"]["since"], json!([]));
    assert!(deleted.len() > whole.len());
}

// The search

/// A commit: how many records each of its runs has, 0 for a line without one, and how long the lines are.
type Shape = Vec<(u8, u16)>;

fn run(first: Option<Ulid>, lines: u64, filler: usize) -> Entry {
    let window = Window::over(b"");
    Entry::Captured(Captured {
        file_id: Ulid(1),
        epoch: 0,
        session_id: "x".repeat(filler),
        path: "/a.jsonl".into(),
        path_base64: None,
        device: 1,
        inode: 2,
        btime: None,
        batch: first,
        first,
        last: first.map(|first| Ulid(first.0 + u128::from(lines) - 1)),
        from: 0,
        to: 1,
        line: None,
        lines,
        blank: 0,
        settled: None,
        blake3: String::new(),
        head: window,
        guard: window,
        mtime: None,
        cwd: None,
    })
}

fn silent(filler: usize) -> Entry {
    Entry::Delete(Delete {
        file_id: Ulid(1),
        epoch: 0,
        session_id: "x".repeat(filler),
        path: "/a.jsonl".into(),
        path_base64: None,
        device: 1,
        inode: 2,
        offset: 0,
    })
}

/// A ledger of these commits. The ULIDs rise, with gaps.
fn ledger(commits: &[Shape], segment_bytes: u64) -> (SimDisk, u128) {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("provenance")).unwrap();
    disk.create(&segment_path(1)).unwrap();
    let mut ledger = Ledger::open(Arc::new(disk.clone()), &Fold::default(), 1, 0).unwrap();
    ledger.segment_bytes_max(segment_bytes);
    let mut next = 10;
    for shape in commits {
        let entries: Vec<_> = shape
            .iter()
            .map(|(lines, filler)| {
                if *lines == 0 {
                    return silent((*filler).into());
                }
                let first = Ulid(next);
                next += u128::from(*lines) + u128::from(*filler % 3);
                run(Some(first), (*lines).into(), (*filler).into())
            })
            .collect();
        ledger.append(&entries, Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    }
    (disk, next)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn halving_finds_what_reading_everything_finds(
        commits in prop::collection::vec(prop::collection::vec((0_u8..4, any::<u16>()), 0..6), 1..40),
        segment_bytes in 100_000_u64..3_000_000,
    ) {
        let (disk, end) = ledger(&commits, segment_bytes);
        for ulid in (0..end + 5).step_by(3) {
            let ulid = Ulid(ulid);
            prop_assert_eq!(find(&disk, ulid).unwrap(), find_linear(&disk, ulid).unwrap(), "{}", ulid);
        }
    }
}

#[test]
fn every_record_of_many_segments_is_found() {
    let commits: Vec<Shape> = (0..60).map(|n| vec![(n % 4, 900), (1, 300)]).collect();
    let (disk, end) = ledger(&commits, 1000);
    assert!(segments(&disk).unwrap() > 30);
    let found = (0..end)
        .filter(|ulid| find(&disk, Ulid(*ulid)).unwrap().is_some())
        .count();
    let records: u64 = commits.iter().flatten().map(|(lines, _)| u64::from(*lines)).sum();
    assert_eq!(found as u64, records);
}

#[test]
fn what_the_order_does_not_lead_to_is_found_by_reading_everything() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("provenance")).unwrap();
    disk.create(&segment_path(1)).unwrap();
    let mut ledger = Ledger::open(Arc::new(disk.clone()), &Fold::default(), 1, 0).unwrap();
    for ulid in [100, 50, 200] {
        let entries = [run(Some(Ulid(ulid)), 1, 10)];
        ledger.append(&entries, Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
    }
    assert_eq!(find(&disk, Ulid(50)).unwrap(), None);
    let found = trace(&disk, None, Ulid(50)).unwrap().unwrap();
    assert_eq!(found.origin.unwrap().commit.number, 2);
    assert!(trace(&disk, None, Ulid(51)).unwrap().is_none());
}

#[test]
fn a_ulid_that_lies_in_a_delivery_by_chance_was_not_delivered() {
    let sandbox = captured("one\n");
    let first = Ulid::from_parts(7, 100);
    let line = |last: u128, records: u64| {
        let last = Ulid::from_parts(7, last);
        json!({"first": first, "last": last, "records": records, "reader": "cat", "at": "2026-01-02T03:04:05Z"})
    };
    append(
        sandbox.home("provenance/deliveries.jsonl"),
        format!("{}\n", line(110, 3)),
    );
    let between = Ulid::from_parts(7, 105).to_string();
    sandbox.run(&["trace", &between]).exits(1);
    assert_eq!(traced(&sandbox, &first.to_string())["now"]["state"], "delivered");
    append(
        sandbox.home("provenance/deliveries.jsonl"),
        format!("{}\n", line(110, 11)),
    );
    assert_eq!(traced(&sandbox, &between)["now"]["state"], "delivered");
}
