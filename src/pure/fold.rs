//! The state that the ledger adds up to: a cursor is a fold of the ledger.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pure::commit::Commit;
use crate::pure::entry::{Compacted, Entry, Settled};
use crate::pure::record::SettledTail;
use crate::pure::sighting::{CaughtUp, Sighting};

mod file;
pub mod row;

use file::Place;
pub use file::{FileState, Presence, Told};

/// Where a commit ends in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Bytes into it.
    pub offset: u64,
}

/// What a file showed when everything of it up to an offset was captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// Which file.
    pub file_id: Ulid,
    /// Its epoch then.
    pub epoch: u64,
    /// The byte after its last captured line.
    pub offset: u64,
    /// What it showed.
    pub sighting: Sighting,
}

/// Everything that was committed, added up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fold {
    /// The last commit in it; 0 before the first.
    pub commit: u64,
    /// Where that commit ends.
    #[serde(rename = "ledger")]
    pub mark: Mark,
    /// The highest ULID given to a record.
    pub ulid_high_water: Ulid,
    /// Records since the home was made.
    pub captured_lines: u64,
    /// Bytes of what was captured since the home was made, newlines and blank lines included.
    pub captured_bytes: u64,
    /// When the last commit was made.
    pub at: Option<Timestamp>,
    /// The roots over which a first pass was made, as text.
    #[serde(default)]
    pub roots: BTreeSet<String>,
    /// How often a file came to a path.
    pub places: u64,
    /// The last compaction of the queue: a source of it that is still there is a leftover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compacted: Option<Compacted>,
    /// Every file that was ever followed. Boxed: a tree whose keys rise is half empty.
    #[serde(skip)]
    pub files: BTreeMap<Ulid, Box<FileState>>,
    /// The files of facts that are not sealed yet.
    #[serde(skip)]
    touched: BTreeSet<Ulid>,
    /// Those of them that a record came from.
    #[serde(skip)]
    lined: BTreeSet<Ulid>,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            commit: 0,
            mark: Mark { segment: 1, offset: 0 },
            ulid_high_water: Ulid::nil(),
            captured_lines: 0,
            captured_bytes: 0,
            at: None,
            roots: BTreeSet::new(),
            places: 0,
            compacted: None,
            files: BTreeMap::new(),
            touched: BTreeSet::new(),
            lined: BTreeSet::new(),
        }
    }
}

impl Fold {
    /// Adds one fact. An error says how the fact contradicts what was before it.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        self.touched.extend(entry.files().into_iter().flatten());
        match entry {
            Entry::New(new) => self.place(&new.into()),
            Entry::Rotate(rotate) => {
                self.leave(rotate.old_file_id, &rotate.path)?;
                self.place(&rotate.into())
            }
            Entry::Captured(run) => {
                let bytes = self.file(run.file_id)?.captured(run)?;
                add(&mut self.captured_bytes, bytes);
                add(&mut self.captured_lines, run.lines);
                if run.lines > 0 {
                    self.lined.insert(run.file_id);
                }
                self.give_out(run.last);
                Ok(())
            }
            Entry::Truncate(cut) => self.file(cut.file_id)?.truncate(cut),
            Entry::Delete(delete) => self.leave(delete.file_id, &delete.path),
            Entry::Settled(settled) => {
                self.settled(settled)?;
                add(&mut self.captured_lines, 1);
                add(&mut self.captured_bytes, settled.length);
                self.lined.insert(settled.file_id);
                self.give_out(Some(settled.ulid));
                Ok(())
            }
            Entry::Closed(closed) => {
                self.file(closed.file_id)?.state = Presence::Gone;
                Ok(())
            }
            Entry::Linked(linked) => {
                let links = &mut self.file(linked.file_id)?.links;
                if !links.contains(&linked.path) {
                    links.push(linked.path.clone());
                }
                Ok(())
            }
            Entry::Skipped(skipped) => {
                let file = self.file(skipped.file_id)?;
                if file.offset != 0 {
                    return Err(format!("file {} was begun before it is skipped", skipped.file_id));
                }
                (file.offset, file.line) = (skipped.offset, None);
                (file.head, file.guard) = (Some(skipped.head), Some(skipped.guard));
                Ok(())
            }
            Entry::Root(root) => {
                self.roots.insert(root.path.clone());
                Ok(())
            }
            Entry::Dropped(_) => Ok(()),
            Entry::Compacted(compacted) => match compacted.sources() {
                Some(_) => {
                    self.compacted = Some(compacted.clone());
                    Ok(())
                }
                None => Err(format!("{} does not hold what was merged into it", compacted.target)),
            },
        }
    }

    /// Whether these facts, one after the other, contradict neither each other nor what was before them.
    pub fn accepts(&self, entries: &[Entry]) -> Result<(), String> {
        let mut trial = Self::default();
        for entry in entries {
            for named in entry.files().into_iter().flatten() {
                if let Some(file) = self.files.get(&named) {
                    trial.files.entry(named).or_insert_with(|| file.clone());
                }
            }
        }
        entries.iter().try_for_each(|entry| trial.apply(entry))
    }

    /// Adds the line that seals the facts before it, and where it ends.
    pub fn seal(&mut self, commit: &Commit, mark: Mark) {
        let told = Told {
            from: self.mark,
            to: mark,
        };
        for id in std::mem::take(&mut self.touched) {
            if let Some(file) = self.files.get_mut(&id) {
                let from = file.told.map_or(told.from, |before| before.from);
                file.told = Some(Told { from, ..told });
            }
        }
        for id in std::mem::take(&mut self.lined) {
            if let Some(file) = self.files.get_mut(&id) {
                let first = file.lines_at.map_or(commit.at, |(first, _)| first);
                file.lines_at = Some((first, commit.at));
            }
        }
        self.commit = commit.commit;
        self.mark = mark;
        self.at = Some(commit.at);
    }

    /// How many files are followed at their paths.
    #[must_use]
    pub fn followed(&self) -> usize {
        let states = self.files.values().map(|file| file.state);
        states.filter(|state| *state == Presence::Followed).count()
    }

    /// How many files were deleted, rotated away or replaced.
    #[must_use]
    pub fn gone(&self) -> usize {
        self.files.len() - self.followed()
    }

    fn place(&mut self, place: &Place<'_>) -> Result<(), String> {
        add(&mut self.places, 1);
        let placed = self.places;
        let Some(continues) = place.continues else {
            return match self.files.insert(place.file_id, Box::new(FileState::at(place, placed))) {
                None => Ok(()),
                Some(twice) => Err(format!("file {} begins twice", twice.file_id)),
            };
        };
        let file = self.file(place.file_id)?;
        if (file.offset, file.epoch) != (continues, place.epoch) {
            return Err(format!(
                "file {} goes on at {continues} in epoch {} and stood at {} in epoch {}",
                place.file_id, place.epoch, file.offset, file.epoch
            ));
        }
        file.move_to(place, placed);
        Ok(())
    }

    /// A path does not show a file any more. If the file stands elsewhere by now, nothing changes for it.
    fn leave(&mut self, file_id: Ulid, path: &str) -> Result<(), String> {
        let file = self.file(file_id)?;
        if file.path == path && file.state == Presence::Followed {
            file.state = Presence::Former;
        }
        Ok(())
    }

    fn settled(&mut self, settled: &Settled) -> Result<(), String> {
        let file = self.file(settled.file_id)?;
        let before = file.settled.get().map(|before| before.ulid);
        if (file.epoch, file.offset, before) != (settled.epoch, settled.offset, settled.replaces) {
            return Err(format!(
                "a settled line of file {} at {} in epoch {} is not at its cursor at {} in epoch {}",
                settled.file_id, settled.offset, settled.epoch, file.offset, file.epoch
            ));
        }
        let hash = blake3::Hash::from_hex(&settled.blake3).map_err(|error| error.to_string())?;
        add(&mut file.captured_lines, 1);
        add(&mut file.captured_bytes, settled.length);
        file.mtime = settled.mtime.unwrap_or(file.mtime);
        file.settled = Some(SettledTail {
            ulid: settled.ulid,
            length: settled.length,
            hash,
        })
        .into();
        Ok(())
    }

    fn give_out(&mut self, ulid: Option<Ulid>) {
        self.ulid_high_water = self.ulid_high_water.max(ulid.unwrap_or(Ulid::nil()));
    }

    /// Notes what a file showed, if it stands where it stood when everything of it was captured. Whether that is news.
    pub fn note(&mut self, seen: &Noted) -> bool {
        let file = self.files.get_mut(&seen.file_id);
        let Some(file) = file.filter(|file| (file.epoch, file.offset) == (seen.epoch, seen.offset)) else {
            return false;
        };
        file.seen.0.replace(seen.sighting) != Some(seen.sighting)
    }

    /// A file about which something is told: what it showed before says nothing any more.
    fn file(&mut self, file_id: Ulid) -> Result<&mut FileState, String> {
        let file = self.files.get_mut(&file_id).map(|file| &mut **file);
        let file = file.ok_or_else(|| format!("file {file_id} was never begun"))?;
        file.seen = CaughtUp::default();
        Ok(file)
    }
}

/// Adds to a sum. One that is too great was forged, and stays as great as it can be.
fn add(sum: &mut u64, more: u64) {
    *sum = sum.saturating_add(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::entry::{Linked, New};
    use crate::pure::sighting::Stamp;

    fn new(id: u128) -> Entry {
        Entry::New(New {
            file_id: Ulid(id),
            epoch: 0,
            session_id: "s".into(),
            path: "/s.jsonl".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: None,
            mtime: Timestamp::UNIX_EPOCH,
            continues: None,
            agent: None,
        })
    }

    fn noted(offset: u64, seconds: i64) -> Noted {
        let stamp = Stamp {
            seconds,
            nanoseconds: 1,
        };
        let sighting = Sighting {
            size: offset,
            mtime: stamp,
            ctime: stamp,
        };
        Noted {
            file_id: Ulid(1),
            epoch: 0,
            offset,
            sighting,
        }
    }

    #[test]
    fn what_a_file_showed_is_noted_where_it_stands_and_goes_with_the_next_fact_about_it() {
        let mut fold = Fold::default();
        assert!(!fold.note(&noted(0, 1)), "nobody knows it");
        fold.apply(&new(1)).unwrap();
        assert!(!fold.note(&noted(5, 1)), "its lines are not committed");
        assert!(!fold.note(&Noted {
            epoch: 1,
            ..noted(0, 1)
        }));
        assert!(fold.note(&noted(0, 1)));
        assert!(!fold.note(&noted(0, 1)), "that is no news");
        assert!(fold.note(&noted(0, 2)));
        let seen = |fold: &Fold| fold.files[&Ulid(1)].seen.0;
        fold.apply(&new(2)).unwrap();
        assert_eq!(seen(&fold), Some(noted(0, 2).sighting), "of another file");
        let linked = Entry::Linked(Linked {
            file_id: Ulid(1),
            path: "/other.jsonl".into(),
            path_base64: None,
            device: 1,
            inode: 2,
        });
        fold.apply(&linked).unwrap();
        assert_eq!(seen(&fold), None);
    }
}
