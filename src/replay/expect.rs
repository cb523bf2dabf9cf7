//! The expected events, and how others differ from them: path by path, whatever the order between paths.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use super::diff::diff;
use super::labels::{Entry, counted_anew, path_of, paths};
use super::{bad_line, files, json_cause};
use crate::error::Error;
use crate::show::Shown;

/// Reads the expected events of a fixture.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, Error> {
    let bytes = files::read_fixture(
        path,
        "if the events that come are the right ones, write them down with --bless",
    )?;
    let entries = files::lines(&bytes).map(|(line, text)| {
        let entry: Entry = serde_json::from_slice(text).map_err(|error| bad_line(path, line, json_cause(&error)))?;
        match entry.get("path") {
            Some(Value::String(_)) => Ok(entry),
            _ => Err(bad_line(path, line, "an event has a `path`")),
        }
    });
    entries.collect()
}

/// Events as the text of `expect.jsonl`.
pub(super) fn text(entries: &[Entry]) -> String {
    entries.iter().map(|entry| shown(entry) + "\n").collect()
}

pub(super) fn shown(entry: &Entry) -> String {
    Value::Object(entry.clone()).to_string()
}

/// What differs, for people; None when nothing does.
pub(super) fn compare(expected: &[Entry], got: &[Entry]) -> Option<String> {
    let differing = differing(expected, got);
    if differing.is_empty() {
        return None;
    }
    // Labels count over all paths, so that another order between paths gives other labels.
    let (expected_anew, got_anew) = (path_by_path(expected), path_by_path(got));
    (expected_anew != got_anew).then_some(differing)
}

/// The differences of each path.
pub(super) fn differing(expected: &[Entry], got: &[Entry]) -> String {
    let mut text = String::new();
    let mut all = paths(expected);
    all.extend(paths(got));
    for path in all {
        let of_path = |entries: &[Entry]| -> Vec<String> {
            let entries = entries.iter().filter(|entry| path_of(entry) == path);
            entries.map(shown).collect()
        };
        let found = diff(&of_path(expected), &of_path(got));
        if !found.is_empty() {
            let _ = write!(text, "in {}:\n{found}", Shown::path(Path::new(&path)));
        }
    }
    text
}

/// The events by path, each path's in order, with labels that count in this order.
fn path_by_path(entries: &[Entry]) -> Vec<Entry> {
    let mut sorted = entries.to_vec();
    sorted.sort_by(|one, other| path_of(one).cmp(path_of(other)));
    counted_anew(&mut sorted);
    sorted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(path: &str, inode: &str, file_id: &str, offset: u64) -> Entry {
        let event = json!({"path": path, "inode": inode, "file_id": file_id, "offset": offset});
        event.as_object().unwrap().clone()
    }

    #[test]
    fn the_order_between_paths_is_not_compared() {
        let expected = [
            event("a", "i1", "f1", 0),
            event("a", "i1", "f1", 9),
            event("b", "i2", "f2", 0),
        ];
        let got = [
            event("b", "i1", "f1", 0),
            event("a", "i2", "f2", 0),
            event("a", "i2", "f2", 9),
        ];
        assert_eq!(compare(&expected, &got), None);
    }

    #[test]
    fn the_order_in_a_path_is() {
        let expected = [event("a", "i1", "f1", 0), event("a", "i1", "f1", 9)];
        let got = [event("a", "i1", "f1", 9), event("a", "i1", "f1", 0)];
        let shown = compare(&expected, &got).unwrap();
        assert!(
            shown.starts_with("in a:\n") && shown.contains("\n-{") && shown.contains("\n+{"),
            "{shown}"
        );
    }

    #[test]
    fn one_file_where_two_were_expected_is_a_difference() {
        let expected = [event("a", "i1", "f1", 0), event("b", "i2", "f2", 0)];
        let got = [event("a", "i1", "f1", 0), event("b", "i1", "f1", 0)];
        assert!(compare(&expected, &got).is_some());
    }
}
