//! The state that the ledger adds up to: a cursor is a fold of the ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pure::chain::Suffix;
use crate::pure::commit::Commit;
use crate::pure::entry::{Captured, Entry, New, Rotate, Settled, Truncate};
use crate::pure::identity::{Evidence, Identity, Window};
use crate::pure::record::{SettledTail, path_from_text};

/// Where a commit ends in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Number of the segment, from 1.
    pub segment: u32,
    /// Bytes into it.
    pub offset: u64,
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
    /// Bytes of all runs since the home was made.
    pub captured_bytes: u64,
    /// When the last commit was made.
    pub at: Option<Timestamp>,
    /// The roots over which a first pass was made, as text.
    #[serde(default)]
    pub roots: BTreeSet<String>,
    /// Every file that was ever followed.
    #[serde(with = "by_id")]
    pub files: BTreeMap<Ulid, FileState>,
    /// The files of facts that are not sealed yet.
    #[serde(skip)]
    touched: BTreeSet<Ulid>,
}

/// What is known of one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileState {
    /// Which file.
    pub file_id: Ulid,
    /// Its stem.
    pub session_id: String,
    /// Its path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the identity.
    pub device: u64,
    /// Inode, of the identity.
    pub inode: u64,
    /// Birth, of the identity.
    pub btime: Option<Timestamp>,
    /// The current epoch.
    pub epoch: u64,
    /// Physical lines before the offset; null where they were never counted.
    pub line: Option<u64>,
    /// The byte after the last captured line.
    pub offset: u64,
    /// Null at offset 0.
    pub head: Option<Window>,
    /// Null at offset 0.
    pub guard: Option<Window>,
    /// What still stands behind a stretch that is being read again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suffix: Option<Suffix>,
    /// The last line, captured before it had a newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<SettledTail>,
    /// Other paths that were noted as showing it, as text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<String>,
    /// Where in the ledger it is told of.
    #[serde(default)]
    pub told: Option<Told>,
    /// Whether it is still there.
    pub state: Presence,
}

/// A stretch of the ledger that holds every line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// Where the commit before the first of them ends.
    pub from: Mark,
    /// Where the last commit with one of them ends.
    pub to: Mark,
}

/// Whether a file is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// At its path, as far as we know.
    Followed,
    /// Its path does not show it any more, and what its writer still adds is read.
    Former,
    /// Following has ended; kept, since it may come back.
    Gone,
}

impl FileState {
    /// Which inode it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            device: self.device,
            inode: self.inode,
            btime: self.btime,
        }
    }

    /// The evidence beside the offset.
    #[must_use]
    pub fn evidence(&self) -> Option<Evidence> {
        Some(Evidence {
            head: self.head?,
            guard: self.guard?,
        })
    }

    /// Its path; None when the state is damaged.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        path_from_text(&self.path, self.path_base64.as_deref())
    }

    /// A file that stands here now.
    fn at(place: &Place<'_>) -> Self {
        Self {
            file_id: place.file_id,
            session_id: place.session_id.to_owned(),
            path: place.path.to_owned(),
            path_base64: place.path_base64.cloned(),
            device: place.identity.device,
            inode: place.identity.inode,
            btime: place.identity.btime,
            epoch: 0,
            line: Some(0),
            offset: 0,
            head: None,
            guard: None,
            suffix: None,
            settled: None,
            links: Vec::new(),
            told: None,
            state: Presence::Followed,
        }
    }

    /// It stands there from now on.
    fn move_to(&mut self, place: &Place<'_>) {
        place.session_id.clone_into(&mut self.session_id);
        place.path.clone_into(&mut self.path);
        self.path_base64 = place.path_base64.cloned();
        let Identity { device, inode, btime } = place.identity;
        (self.device, self.inode, self.btime) = (device, inode, btime);
        self.state = Presence::Followed;
    }

    fn truncate(&mut self, cut: &Truncate) -> Result<(), String> {
        if self.epoch + 1 != cut.epoch || self.offset != cut.was || cut.kept > cut.was {
            return Err(format!(
                "a truncation at {} into epoch {} does not follow epoch {} at {}",
                cut.was, cut.epoch, self.epoch, self.offset
            ));
        }
        self.suffix = match cut.kept_from {
            None => None,
            Some(from) => Some(Suffix {
                from,
                to: self.suffix.map_or(self.offset, |suffix| suffix.to),
                lines: cut.kept_from_lines.unwrap_or(0),
                guard: self
                    .suffix
                    .map(|suffix| suffix.guard)
                    .or(self.guard)
                    .ok_or("a suffix is kept of nothing")?,
            }),
        };
        self.epoch = cut.epoch;
        (self.line, self.offset, self.head, self.guard) = (cut.kept_lines, cut.kept, cut.head, cut.guard);
        // The last line stands if what is before it does.
        self.settled = self.settled.filter(|_| self.suffix.is_some());
        Ok(())
    }

    fn captured(&mut self, run: &Captured) -> Result<(), String> {
        let fits = run.line.map(|line| line - 1) == self.line;
        if self.epoch != run.epoch || self.offset != run.from || !fits || run.to <= run.from {
            return Err(format!(
                "a run of file {} from {} in epoch {} (line {:?}) does not follow its cursor at {} in epoch {} ({:?} lines)",
                run.file_id, run.from, run.epoch, run.line, self.offset, self.epoch, self.line
            ));
        }
        if run.settled.is_some() && run.settled != self.settled.map(|settled| settled.ulid) {
            return Err(format!(
                "a run of file {} begins with a line that was not settled",
                run.file_id
            ));
        }
        self.offset = run.to;
        let lines = run.lines + run.blank + u64::from(run.settled.is_some());
        self.line = self.line.map(|line| line + lines);
        (self.head, self.guard) = (Some(run.head), Some(run.guard));
        (self.device, self.inode, self.btime) = (run.device, run.inode, run.btime);
        self.settled = self.settled.filter(|_| self.suffix.is_some());
        if let Some(suffix) = self.suffix.filter(|suffix| suffix.from <= run.to) {
            if suffix.from != run.to {
                return Err(format!("a run of file {} reaches into what was kept", run.file_id));
            }
            self.line = self.line.map(|line| line + suffix.lines);
            (self.offset, self.guard, self.suffix) = (suffix.to, Some(suffix.guard), None);
        }
        Ok(())
    }
}

/// Where a `new` or a `rotate` says that a file stands.
struct Place<'a> {
    file_id: Ulid,
    epoch: u64,
    session_id: &'a str,
    path: &'a str,
    path_base64: Option<&'a String>,
    identity: Identity,
    continues: Option<u64>,
}

impl<'a> From<&'a New> for Place<'a> {
    fn from(new: &'a New) -> Self {
        Self {
            file_id: new.file_id,
            epoch: new.epoch,
            session_id: &new.session_id,
            path: &new.path,
            path_base64: new.path_base64.as_ref(),
            identity: Identity {
                device: new.device,
                inode: new.inode,
                btime: new.btime,
            },
            continues: new.continues,
        }
    }
}

impl<'a> From<&'a Rotate> for Place<'a> {
    fn from(rotate: &'a Rotate) -> Self {
        Self {
            file_id: rotate.file_id,
            epoch: rotate.epoch,
            session_id: &rotate.session_id,
            path: &rotate.path,
            path_base64: rotate.path_base64.as_ref(),
            identity: Identity {
                device: rotate.device,
                inode: rotate.inode,
                btime: rotate.btime,
            },
            continues: rotate.continues,
        }
    }
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
            files: BTreeMap::new(),
            touched: BTreeSet::new(),
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
                self.file(run.file_id)?.captured(run)?;
                self.captured_lines += run.lines;
                self.captured_bytes += run.to - run.from;
                self.give_out(run.last);
                Ok(())
            }
            Entry::Truncate(cut) => self.file(cut.file_id)?.truncate(cut),
            Entry::Delete(delete) => self.leave(delete.file_id, &delete.path),
            Entry::Settled(settled) => {
                self.settled(settled)?;
                self.captured_lines += 1;
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
        self.commit = commit.commit;
        self.mark = mark;
        self.at = Some(commit.at);
    }

    /// How many files are followed at their paths.
    #[must_use]
    pub fn followed(&self) -> usize {
        let followed = |file: &&FileState| file.state == Presence::Followed;
        self.files.values().filter(followed).count()
    }

    /// How many files were deleted, rotated away or replaced.
    #[must_use]
    pub fn gone(&self) -> usize {
        self.files.len() - self.followed()
    }

    fn place(&mut self, place: &Place<'_>) -> Result<(), String> {
        let Some(continues) = place.continues else {
            return match self.files.insert(place.file_id, FileState::at(place)) {
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
        file.move_to(place);
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
        let before = file.settled.map(|before| before.ulid);
        if (file.epoch, file.offset, before) != (settled.epoch, settled.offset, settled.replaces) {
            return Err(format!(
                "a settled line of file {} at {} in epoch {} is not at its cursor at {} in epoch {}",
                settled.file_id, settled.offset, settled.epoch, file.offset, file.epoch
            ));
        }
        let hash = blake3::Hash::from_hex(&settled.blake3).map_err(|error| error.to_string())?;
        file.settled = Some(SettledTail {
            ulid: settled.ulid,
            length: settled.length,
            hash,
        });
        Ok(())
    }

    fn give_out(&mut self, ulid: Option<Ulid>) {
        self.ulid_high_water = self.ulid_high_water.max(ulid.unwrap_or(Ulid::nil()));
    }

    fn file(&mut self, file_id: Ulid) -> Result<&mut FileState, String> {
        self.files
            .get_mut(&file_id)
            .ok_or_else(|| format!("file {file_id} was never begun"))
    }
}

mod by_id {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};
    use ulid::Ulid;

    use super::FileState;

    pub(super) fn serialize<S: Serializer>(files: &BTreeMap<Ulid, FileState>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(files.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Ulid, FileState>, D::Error> {
        let files = Vec::<FileState>::deserialize(from)?;
        Ok(files.into_iter().map(|file| (file.file_id, file)).collect())
    }
}
