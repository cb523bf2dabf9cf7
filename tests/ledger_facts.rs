//! What the ledger says beside the events: runs, kept runs, links, what is left out, settled last lines, and how
//! following ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells which tree has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use tailspool::pure::entry::Entry;
use tailspool::replay::{Head, Operation, SCRIPT, Script, Stage};
use ulid::Ulid;

/// Plays operations, one JSON object each, on a tree that is watched with these options.
fn played(options: &str, operations: &[&str]) -> Stage {
    let head: Head = serde_json::from_str(&format!(r#"{{"about":"x","options":{options}}}"#)).unwrap();
    let mut stage = Stage::new(&head).unwrap();
    for operation in operations {
        let operation: Operation = serde_json::from_str(operation).unwrap();
        stage.play(&operation).unwrap();
    }
    stage.stop().unwrap();
    stage
}

/// The ledger as lines for people, of these kinds only.
fn facts(stage: &Stage, kinds: &[&str]) -> Vec<String> {
    let top = stage.tree().to_str().unwrap();
    let mut ulids = Vec::new();
    let entries = stage.ledger().unwrap().into_iter();
    let shown = entries.map(|entry| (entry.kind(), shown(&entry, top, &mut ulids)));
    shown
        .filter(|(kind, _)| kinds.contains(kind))
        .map(|(_, text)| text)
        .collect()
}

fn shown(entry: &Entry, top: &str, ulids: &mut Vec<Ulid>) -> String {
    let name = |path: &str| path.strip_prefix(top).unwrap().trim_start_matches('/').to_owned();
    let mut label = |ulid: Ulid| {
        let known = ulids.iter().position(|known| *known == ulid);
        let at = known.unwrap_or_else(|| {
            ulids.push(ulid);
            ulids.len() - 1
        });
        format!("u{}", at + 1)
    };
    let number = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    match entry {
        Entry::New(new) => format!("new {}", name(&new.path)),
        Entry::Captured(run) => {
            let settled = run
                .settled
                .map_or(String::new(), |ulid| format!(", the first is {}", label(ulid)));
            let (from, to, line) = (run.from, run.to, number(run.line));
            let counts = format!("{} records and {} blank lines", run.lines, run.blank);
            format!("captured {from}..{to} of line {line}: {counts}{settled}")
        }
        Entry::Truncate(cut) => {
            let from = number(cut.kept_from);
            format!("truncate at {}: kept to {} and from {from}", cut.was, cut.kept)
        }
        Entry::Rotate(rotate) => format!("rotate {}", name(&rotate.path)),
        Entry::Delete(delete) => format!("delete {} at {}", name(&delete.path), delete.offset),
        Entry::Settled(settled) => {
            let replaces = settled
                .replaces
                .map_or(String::new(), |ulid| format!(", replaces {}", label(ulid)));
            let (at, length, line) = (settled.offset, settled.length, number(settled.line));
            format!(
                "settled line {line}, {length} bytes at {at}, as {}{replaces}",
                label(settled.ulid)
            )
        }
        Entry::Closed(closed) => {
            let fragment = closed.fragment.as_deref().unwrap_or("no fragment");
            let (length, unread) = (closed.fragment_length, number(closed.unread));
            format!(
                "closed at {}: {fragment}, {length} bytes; unread {unread}",
                closed.offset
            )
        }
        Entry::Linked(linked) => format!("linked {}", name(&linked.path)),
        Entry::Skipped(skipped) => format!("skipped to {}", skipped.offset),
        Entry::Root(root) => format!("root {:?}", name(&root.path)),
        Entry::Dropped(dropped) => format!("dropped {} files", dropped.files),
        Entry::Compacted(compacted) => format!("compacted into {}", compacted.target),
    }
}

const LOOK: &str = r#"{"op":"look"}"#;
const RESTART: &str = r#"{"op":"restart"}"#;
const CRASH: &str = r#"{"op":"crash"}"#;
const TEN_SECONDS: &str = r#"{"op":"pass","ms":10000}"#;
const HALF_A_MINUTE: &str = r#"{"op":"pass","ms":30000}"#;
const REMOVE: &str = r#"{"op":"remove","path":"a.jsonl"}"#;
const RENAME: &str = r#"{"op":"rename","from":"a.jsonl","to":"a.old"}"#;
const LINK: &str = r#"{"op":"hardlink","from":"a.jsonl","to":"b.jsonl"}"#;
/// Eight bytes.
const LINE: &str = r#"{"op":"append","path":"a.jsonl","text":"{\"n\":1}\n"}"#;
const NEWLINE: &str = r#"{"op":"append","path":"a.jsonl","text":"\n"}"#;
/// Seven bytes, a whole object.
const TAIL: &str = r#"{"op":"append","path":"a.jsonl","text":"{\"n\":2}"}"#;
/// Eleven bytes, another one.
const OTHER_TAIL: &str = r#"{"op":"append","path":"a.jsonl","text":"{\"other\":3}"}"#;
/// Four bytes, no object.
const TORN: &str = r#"{"op":"append","path":"a.jsonl","text":"{\"to"}"#;
const CUT: &str = r#"{"op":"truncate","path":"a.jsonl","size":8}"#;

/// Plays the operations and compares the facts of these kinds.
fn check(kinds: &[&str], options: &str, operations: &[&str], expected: &[&str]) {
    let stage = played(options, operations);
    assert_eq!(facts(&stage, kinds), expected, "{options} {operations:#?}");
}

const CLOSED: &[&str] = &["closed"];
const SETTLED: &[&str] = &["settled", "captured", "closed"];

#[test]
fn following_ends_with_a_fragment_or_without_and_says_what_was_not_read() {
    let at_8 = "closed at 8: no fragment, 0 bytes; unread 0";
    check(CLOSED, "{}", &[LINE, LOOK, RENAME, LOOK, HALF_A_MINUTE], &[]);
    check(
        CLOSED,
        "{}",
        &[LINE, LOOK, RENAME, LOOK, HALF_A_MINUTE, LOOK, LOOK],
        &[at_8],
    );
    check(CLOSED, "{}", &[LINE, LOOK, REMOVE, LOOK], &[at_8]);
    let torn = "closed at 8: {\"to, 4 bytes; unread 0";
    let quiet = [LINE, TORN, LOOK, RENAME, LOOK, HALF_A_MINUTE, LOOK, RESTART, LOOK];
    check(CLOSED, "{}", &quiet, &[torn]);
    check(CLOSED, "{}", &[LINE, TORN, LOOK, REMOVE, LOOK], &[torn]);
    // Removed where nobody had a handle of it.
    let unread = "closed at 8: no fragment, 0 bytes; unread ?";
    check(CLOSED, "{}", &[LINE, LOOK, CRASH, REMOVE, LOOK], &[unread]);
}

#[test]
fn a_second_name_is_noted_once() {
    let operations = [LINE, LINK, LOOK, LINE, LOOK, RESTART, LOOK, CRASH, LINE, LOOK];
    check(
        &["linked", "new"],
        "{}",
        &operations,
        &["new a.jsonl", "linked b.jsonl"],
    );
}

#[test]
fn the_first_pass_over_a_root_is_noted_once_and_what_it_leaves_out() {
    check(
        &["root"],
        "{}",
        &[LINE, LOOK, RESTART, LOOK, CRASH, LOOK],
        &["root \"\""],
    );
    check(
        &["new", "skipped", "captured"],
        r#"{"from":"end"}"#,
        &[LINE, LINE, TAIL, LOOK, NEWLINE, LOOK, CRASH, LINE, LOOK],
        &[
            "new a.jsonl",
            "skipped to 16",
            "captured 16..24 of line ?: 1 records and 0 blank lines",
            "captured 24..32 of line ?: 1 records and 0 blank lines",
        ],
    );
}

#[test]
fn each_look_makes_a_run_that_counts_its_lines() {
    check(
        &["captured"],
        "{}",
        &[LINE, NEWLINE, NEWLINE, LINE, LOOK, NEWLINE, LOOK, LINE, LOOK],
        &[
            "captured 0..18 of line 1: 2 records and 2 blank lines",
            "captured 18..19 of line 5: 0 records and 1 blank lines",
            "captured 19..27 of line 6: 1 records and 0 blank lines",
        ],
    );
}

#[test]
fn what_is_kept_ends_where_a_run_does_and_lines_are_counted_on() {
    check(
        &["truncate", "captured"],
        "{}",
        &[LINE, LOOK, LINE, LINE, LOOK, CUT, LOOK, LINE, LOOK],
        &[
            "captured 0..8 of line 1: 1 records and 0 blank lines",
            "captured 8..24 of line 2: 2 records and 0 blank lines",
            "truncate at 24: kept to 8 and from ?",
            "captured 8..16 of line 2: 1 records and 0 blank lines",
        ],
    );
}

const FIRST: &str = "captured 0..8 of line 1: 1 records and 0 blank lines";
const SECOND_SETTLED: &str = "settled line 2, 7 bytes at 8, as u1";

#[test]
fn a_settled_line_is_no_record_of_the_run_that_covers_it() {
    check(
        SETTLED,
        "{}",
        &[LINE, TAIL, LOOK, TEN_SECONDS, LOOK, NEWLINE, LOOK, LINE, LOOK],
        &[
            FIRST,
            SECOND_SETTLED,
            "captured 8..16 of line 2: 0 records and 0 blank lines, the first is u1",
            "captured 16..24 of line 3: 1 records and 0 blank lines",
        ],
    );
    check(
        SETTLED,
        "{}",
        &[LINE, TAIL, LOOK, TEN_SECONDS, LOOK, CRASH, NEWLINE, LINE, LOOK],
        &[
            FIRST,
            SECOND_SETTLED,
            "captured 8..24 of line 2: 1 records and 0 blank lines, the first is u1",
        ],
    );
}

#[test]
fn other_bytes_in_place_of_a_settled_line_are_a_record() {
    let completed = "captured 8..23 of line 2: 1 records and 0 blank lines";
    let operations = [LINE, TAIL, LOOK, TEN_SECONDS, LOOK, LINE, LOOK];
    check(SETTLED, "{}", &operations, &[FIRST, SECOND_SETTLED, completed]);
    let taken_back = [LINE, TAIL, LOOK, TEN_SECONDS, LOOK, CUT, OTHER_TAIL, LOOK, REMOVE, LOOK];
    let again = "settled line 2, 11 bytes at 8, as u2, replaces u1";
    let closed = "closed at 8: no fragment, 0 bytes; unread 0";
    check(SETTLED, "{}", &taken_back, &[FIRST, SECOND_SETTLED, again, closed]);
}

#[test]
fn a_last_line_settles_when_once_or_following_ends_unless_it_is_torn() {
    let first_settled = "settled line 1, 7 bytes at 0, as u1";
    check(
        SETTLED,
        r#"{"once":true}"#,
        &[TAIL, LOOK, RESTART, LOOK],
        &[first_settled],
    );
    let closed = "closed at 8: no fragment, 0 bytes; unread 0";
    check(
        SETTLED,
        "{}",
        &[LINE, TAIL, LOOK, REMOVE, LOOK],
        &[FIRST, SECOND_SETTLED, closed],
    );
    let operations = [TORN, LOOK, TEN_SECONDS, LOOK, TEN_SECONDS, RESTART, LOOK];
    check(SETTLED, "{}", &operations, &[]);
}

/// What a ledger says of one file.
#[derive(Default)]
struct Told {
    epoch: u64,
    offset: u64,
    /// The runs that stand captured, by their first bytes.
    runs: BTreeMap<u64, u64>,
    /// Where what was kept behind a stretch begins and ends.
    suffix: Option<(u64, u64)>,
}

impl Told {
    fn captured(&mut self, from: u64, to: u64) {
        assert_eq!(from, self.offset, "no hole, no overlap");
        self.runs.insert(from, to);
        self.offset = to;
        if let Some((_, end)) = self.suffix.take_if(|(begin, _)| *begin == to) {
            self.offset = end;
        }
    }

    fn cut(&mut self, was: u64, kept: u64, kept_from: Option<u64>) {
        assert_eq!(was, self.offset);
        let end = self.suffix.map_or(was, |(_, end)| end);
        self.suffix = kept_from.map(|from| (from, end));
        for (from, border) in [("kept", Some(kept)), ("kept_from", kept_from)] {
            let is_border = |border| {
                let mut runs = self.runs.iter();
                border == 0 || runs.any(|(from, to)| *from == border || *to == border)
            };
            assert!(border.is_none_or(is_border), "{from} is no border of a run");
        }
        self.runs
            .retain(|from, to| *to <= kept || kept_from.is_some_and(|kept_from| *from >= kept_from));
        self.offset = kept;
    }
}

/// The runs of each file follow one another, what is kept begins and ends where a run does, and every record is one
/// of a run or a settled line.
#[test]
fn in_every_fixture_tree_runs_have_no_hole_and_count_the_records() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees");
    for entry in fs::read_dir(trees).unwrap() {
        let path = entry.unwrap().path().join(SCRIPT);
        let script = Script::read(&path).unwrap();
        if !script.head.needs.is_empty() {
            continue;
        }
        let mut stage = Stage::new(&script.head).unwrap();
        for step in &script.steps {
            stage.play(&step.operation).unwrap();
        }
        stage.stop().unwrap();
        let shown = path.display();
        println!("{shown}");
        let mut files: BTreeMap<Ulid, Told> = BTreeMap::new();
        let (mut records, mut linked) = (0, Vec::new());
        for entry in stage.ledger().unwrap() {
            match entry {
                Entry::Captured(run) => {
                    let told = files.entry(run.file_id).or_default();
                    assert_eq!(run.epoch, told.epoch);
                    told.captured(run.from, run.to);
                    records += run.lines;
                }
                Entry::Settled(settled) => {
                    assert_eq!(settled.offset, files.entry(settled.file_id).or_default().offset);
                    records += 1;
                }
                Entry::Truncate(cut) => {
                    let told = files.entry(cut.file_id).or_default();
                    told.epoch += 1;
                    assert_eq!(cut.epoch, told.epoch);
                    told.cut(cut.was, cut.kept, cut.kept_from);
                }
                Entry::Skipped(skipped) => files.entry(skipped.file_id).or_default().offset = skipped.offset,
                Entry::New(new) if new.continues.is_some() => {
                    assert_eq!(new.continues, Some(files[&new.file_id].offset));
                }
                Entry::Rotate(rotate) if rotate.continues.is_some() => {
                    assert_eq!(rotate.continues, Some(files[&rotate.file_id].offset));
                }
                Entry::Linked(link) => linked.push((link.file_id, link.path)),
                Entry::New(_)
                | Entry::Rotate(_)
                | Entry::Delete(_)
                | Entry::Closed(_)
                | Entry::Root(_)
                | Entry::Dropped(_)
                | Entry::Compacted(_) => {}
            }
        }
        assert!(files.values().all(|told| told.suffix.is_none()), "{shown}");
        assert_eq!(records, stage.queue().unwrap().len() as u64, "{shown}");
        let links = linked.len();
        linked.sort();
        linked.dedup();
        assert_eq!(linked.len(), links, "{shown}: a link is noted once");
    }
}

#[test]
fn a_record_of_another_line_names_the_settled_one_that_it_replaces() {
    let stage = played("{}", &[LINE, TAIL, LOOK, TEN_SECONDS, LOOK, LINE, LOOK]);
    let settled = stage.ledger().unwrap().into_iter().find_map(|entry| match entry {
        Entry::Settled(settled) => Some(settled.ulid),
        _ => None,
    });
    let replacing = stage
        .events()
        .into_iter()
        .map(|event| serde_json::to_value(event).unwrap());
    let replacing: Vec<_> = replacing.filter_map(|event| event.get("replaces").cloned()).collect();
    assert_eq!(replacing, [json!(settled.unwrap().to_string())]);
}
