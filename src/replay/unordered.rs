//! How events differ from the expected ones of another source, which need not come in the same order: what was captured
//! of each file, line by line, and its other events as a set.

use std::collections::BTreeMap;

use super::diff::diff;
use super::expect::{differing, shown};
use super::labels::{Entry, LABELLED, counted_anew};

/// What differs, for people; None when nothing does.
pub(super) fn compare(expected: &[Entry], got: &[Entry]) -> Option<String> {
    let (expected, got) = (file_by_file(expected), file_by_file(got));
    if expected == got {
        return None;
    }
    let by_path = differing(&expected, &got);
    let texts = |entries: &[Entry]| entries.iter().map(shown).collect::<Vec<_>>();
    Some(by_path)
        .filter(|text| !text.is_empty())
        .or_else(|| Some(diff(&texts(&expected), &texts(&got))))
}

/// The events of one file and how they sort, whatever its labels are.
type OfFile = Vec<(String, Entry)>;

/// The events by file: its lines in order, then the others sorted; files sorted by that. Labels count in this order, so
/// that events which are equal but for their labels and their order become equal: whatever the labels were, two results
/// that are equal are the same events under other names.
fn file_by_file(entries: &[Entry]) -> Vec<Entry> {
    let mut files = BTreeMap::<String, (OfFile, OfFile)>::new();
    for entry in entries {
        let file_id = entry.get("file_id").map(ToString::to_string).unwrap_or_default();
        let (lines, others) = files.entry(file_id).or_default();
        let is_line = entry.get("kind").is_some_and(|kind| kind == "append");
        if is_line { lines } else { others }.push((unlabelled(entry), entry.clone()));
    }
    let mut files: Vec<_> = files.into_values().map(whole).collect();
    let texts = |file: &OfFile| file.iter().map(|(text, _)| text.clone()).collect::<Vec<_>>();
    files.sort_by_cached_key(texts);
    let mut sorted: Vec<_> = files.into_iter().flatten().map(|(_, entry)| entry).collect();
    counted_anew(&mut sorted);
    sorted
}

fn whole((lines, mut others): (OfFile, OfFile)) -> OfFile {
    others.sort_by(|(one, _), (other, _)| one.cmp(other));
    [lines, others].concat()
}

fn unlabelled(entry: &Entry) -> String {
    let mut plain = entry.clone();
    for key in LABELLED {
        plain.remove(key);
    }
    shown(&plain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Events given as kind, path, inode and file; what else they say is `more`.
    fn events(all: &[(&str, &str, &str, &str, u64)]) -> Vec<Entry> {
        let one = |(kind, path, inode, file_id, more): &(&str, &str, &str, &str, u64)| {
            let event = json!({"kind": kind, "path": path, "inode": inode, "file_id": file_id, "offset": more});
            let Value::Object(entry) = event else {
                panic!("no object")
            };
            entry
        };
        all.iter().map(one).collect()
    }

    const EXPECTED: [(&str, &str, &str, &str, u64); 6] = [
        ("new", "a", "i1", "f1", 0),
        ("append", "a", "i1", "f1", 0),
        ("append", "a", "i1", "f1", 9),
        ("new", "b", "i2", "f2", 0),
        ("delete", "a", "i1", "f1", 9),
        ("rotate", "b", "i3", "f2", 0),
    ];

    #[test]
    fn the_order_of_files_and_of_events_that_are_no_lines_does_not_count() {
        let expected = events(&EXPECTED);
        let mut got = events(&[
            ("rotate", "b", "i1", "f1", 0),
            ("new", "b", "i2", "f1", 0),
            ("append", "a", "i3", "f2", 0),
            ("delete", "a", "i3", "f2", 9),
            ("append", "a", "i3", "f2", 9),
            ("new", "a", "i3", "f2", 0),
        ]);
        assert_eq!(compare(&expected, &got), None);
        got.swap(2, 4);
        assert!(compare(&expected, &got).is_some(), "the order of lines does");
    }

    #[test]
    fn one_event_too_few_too_many_or_of_another_file_or_inode_is_a_difference() {
        let expected = events(&EXPECTED);
        for place in 0..EXPECTED.len() {
            let (mut fewer, mut twice) = (EXPECTED.to_vec(), EXPECTED.to_vec());
            twice.push(fewer.remove(place));
            assert!(compare(&expected, &events(&fewer)).is_some(), "without {place}");
            assert!(compare(&expected, &events(&twice)).is_some(), "{place} twice");
            let (mut other_file, mut other_inode) = (EXPECTED, EXPECTED);
            other_file[place].3 = "f7";
            other_inode[place].2 = if EXPECTED[place].1 == "b" { "i1" } else { "i7" };
            assert!(compare(&expected, &events(&other_file)).is_some(), "{place} of another");
            assert!(
                compare(&expected, &events(&other_inode)).is_some(),
                "{place} in another"
            );
        }
    }

    #[test]
    fn one_file_where_two_were_expected_is_a_difference_that_is_shown() {
        let two = events(&[("new", "a", "i1", "f1", 0), ("new", "b", "i2", "f2", 0)]);
        let one = events(&[("new", "a", "i1", "f1", 0), ("new", "b", "i1", "f1", 0)]);
        let shown = compare(&two, &one).unwrap();
        assert!(shown.starts_with("in b:\n-{"), "{shown}");
    }
}
