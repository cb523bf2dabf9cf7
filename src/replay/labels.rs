//! Events without what differs from run to run: times and devices are left out, paths are relative, and
//! inodes, files and ULIDs become labels.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::pure::record::path_from_text;

/// An event as a fixture holds it.
pub(super) type Entry = serde_json::Map<String, Value>;

/// The keys whose values are labels.
pub(super) const LABELLED: [&str; 4] = ["old_inode", "inode", "file_id", "replaces"];

/// The events as a fixture holds them; labels count in the order of appearance.
pub(super) fn normalized(events: &[Event], top: &Path) -> Result<Vec<Entry>, Error> {
    let failed = || Error::new(ErrorKind::Failed, "an event is not what events are");
    let mut labels = Labels::default();
    let mut entries = Vec::new();
    for event in events {
        let Ok(Value::Object(mut entry)) = serde_json::to_value(event) else {
            return Err(failed());
        };
        for key in ["device", "at", "mtime"] {
            entry.remove(key);
        }
        let path = relative(&mut entry, top).ok_or_else(failed)?;
        entry.insert("path".into(), path.into());
        labels.label(&mut entry).ok_or_else(failed)?;
        entries.push(entry);
    }
    Ok(entries)
}

/// The path in the tree. Names in a script are UTF-8, but the way to the tree need not be.
fn relative(entry: &mut Entry, top: &Path) -> Option<String> {
    let base64 = entry.remove("path_base64");
    let path = path_from_text(entry.get("path")?.as_str()?, base64.as_ref().and_then(Value::as_str))?;
    path.strip_prefix(top).ok()?.to_str().map(str::to_owned)
}

/// The labels that were given.
#[derive(Default)]
struct Labels {
    inodes: Inodes,
    files: Named,
    ulids: Named,
}

impl Labels {
    fn label(&mut self, entry: &mut Entry) -> Option<()> {
        let file_id = entry.get("file_id")?.as_str()?.to_owned();
        // What was there before comes first.
        if let Some(old) = entry.get_mut("old_inode") {
            *old = self.inodes.latest(old.as_u64()?).into();
        }
        let appears = matches!(entry.get("kind")?.as_str()?, "new" | "rotate")
            && entry.get("continues").is_none_or(Value::is_null)
            && !self.files.knows(&file_id);
        let inode = entry.get("inode")?.as_u64()?;
        let inode = self.inodes.of(inode, &file_id, appears);
        entry.insert("inode".into(), inode.into());
        entry.insert("file_id".into(), self.files.of('f', &file_id).into());
        if let Some(replaced) = entry.get_mut("replaces").filter(|replaced| !replaced.is_null()) {
            *replaced = self.ulids.of('u', replaced.as_str()?).into();
        }
        Some(())
    }
}

/// Labels of things that have one name.
#[derive(Default)]
struct Named(BTreeMap<String, usize>);

impl Named {
    fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn of(&mut self, letter: char, name: &str) -> String {
        let next = self.0.len() + 1;
        let number = self.0.entry(name.to_owned()).or_insert(next);
        format!("{letter}{number}")
    }
}

/// Labels of inodes. A number that is given to another file is another inode, whether this filesystem gives
/// numbers away again or not; so each number has generations, and a generation a label.
#[derive(Default)]
struct Inodes {
    count: usize,
    /// The label of a number's last generation.
    latest: BTreeMap<u64, usize>,
    /// What a file's number was labelled.
    of_files: BTreeMap<(u64, String), usize>,
}

impl Inodes {
    fn latest(&mut self, number: u64) -> String {
        let label = self.latest.get(&number).copied();
        let label = label.unwrap_or_else(|| self.begin(number));
        format!("i{label}")
    }

    /// `appears`: a file that was not known before is seen, so that the number begins a generation.
    fn of(&mut self, number: u64, file_id: &str, appears: bool) -> String {
        let key = (number, file_id.to_owned());
        let known = self.of_files.get(&key).or_else(|| self.latest.get(&number)).copied();
        let label = known.filter(|_| !appears).unwrap_or_else(|| self.begin(number));
        self.of_files.insert(key, label);
        format!("i{label}")
    }

    fn begin(&mut self, number: u64) -> usize {
        self.count += 1;
        self.latest.insert(number, self.count);
        self.count
    }
}

/// The same entries with labels that count in their present order, so that those of other orders can be
/// compared.
pub(super) fn counted_anew(entries: &mut [Entry]) {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut counts: BTreeMap<char, usize> = BTreeMap::new();
    for entry in entries {
        for key in LABELLED {
            let Some(Value::String(label)) = entry.get_mut(key) else {
                continue;
            };
            let Some(letter) = label.chars().next() else { continue };
            if !given.contains_key(label.as_str()) {
                let count = counts.entry(letter).or_default();
                *count += 1;
                given.insert(label.clone(), format!("{letter}{count}"));
            }
            if let Some(new) = given.get(label.as_str()) {
                label.clone_from(new);
            }
        }
    }
}

/// The paths that entries are of.
pub(super) fn paths(entries: &[Entry]) -> BTreeSet<String> {
    entries.iter().map(|entry| path_of(entry).to_owned()).collect()
}

/// The path that an entry is of.
pub(super) fn path_of(entry: &Entry) -> &str {
    entry.get("path").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The inode labels of events given as kind, inode, file and whether it continues.
    fn inodes(events: &[(&str, u64, &str, bool)]) -> Vec<String> {
        let mut labels = Labels::default();
        let labelled = events.iter().map(|(kind, inode, file_id, continues)| {
            let continues = continues.then_some(1);
            let event = json!({"kind": kind, "inode": inode, "file_id": file_id, "continues": continues});
            let mut entry = event.as_object().unwrap().clone();
            labels.label(&mut entry).unwrap();
            entry["inode"].as_str().unwrap().to_owned()
        });
        labelled.collect()
    }

    #[test]
    fn a_number_that_another_file_gets_is_another_inode() {
        let events = [
            ("new", 7, "A", false),
            ("delete", 7, "A", false),
            ("new", 7, "B", false),
            ("append", 7, "B", false),
        ];
        assert_eq!(inodes(&events), ["i1", "i1", "i2", "i2"]);
    }

    #[test]
    fn a_file_that_goes_on_in_another_inode_and_back_keeps_their_labels() {
        let events = [
            ("new", 7, "A", false),
            ("rotate", 8, "A", true),
            ("append", 8, "A", false),
            ("new", 7, "A", true),
        ];
        assert_eq!(inodes(&events), ["i1", "i2", "i2", "i1"]);
    }

    #[test]
    fn two_files_with_one_inode_have_a_label_each() {
        let events = [
            ("new", 7, "A", false),
            ("new", 7, "B", false),
            ("append", 7, "A", false),
            ("append", 7, "B", false),
        ];
        assert_eq!(inodes(&events), ["i1", "i2", "i1", "i2"]);
    }

    #[test]
    fn a_rotation_to_the_number_of_the_old_file_names_the_old_label_first() {
        let mut labels = Labels::default();
        let mut label = |event: Value| {
            let mut entry = event.as_object().unwrap().clone();
            labels.label(&mut entry).unwrap();
            Value::from(entry)
        };
        label(json!({"kind": "new", "inode": 7, "file_id": "A", "continues": null}));
        let rotate = label(json!({"kind": "rotate", "inode": 7, "file_id": "B", "old_inode": 7, "continues": null}));
        assert_eq!((&rotate["old_inode"], &rotate["inode"]), (&json!("i1"), &json!("i2")));
    }
}
