//! The state that the ledger adds up to: a cursor is a fold of the ledger.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pure::entry::{Captured, Commit, Entry};
use crate::pure::identity::{Evidence, Identity, Window};
use crate::pure::record::path_from_text;

/// Where a commit ends in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Files that were deleted or rotated away.
    pub files_gone: u64,
    /// When the last commit was made.
    pub at: Option<Timestamp>,
    /// Files that are followed, and files that were deleted.
    #[serde(with = "by_id")]
    pub files: BTreeMap<Ulid, FileState>,
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
    /// Physical lines before the offset.
    pub line: u64,
    /// The byte after the last captured line.
    pub offset: u64,
    /// Null at offset 0.
    pub head: Option<Window>,
    /// Null at offset 0.
    pub guard: Option<Window>,
    /// Whether it is still there.
    pub state: Presence,
}

/// Whether a file is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// At its path, as far as we know.
    Followed,
    /// Deleted.
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

    fn at_start(entry: &StartOf<'_>) -> Self {
        Self {
            file_id: entry.file_id,
            session_id: entry.session_id.to_owned(),
            path: entry.path.to_owned(),
            path_base64: entry.path_base64.cloned(),
            device: entry.identity.device,
            inode: entry.identity.inode,
            btime: entry.identity.btime,
            epoch: 0,
            line: 0,
            offset: 0,
            head: None,
            guard: None,
            state: Presence::Followed,
        }
    }
}

struct StartOf<'a> {
    file_id: Ulid,
    session_id: &'a str,
    path: &'a str,
    path_base64: Option<&'a String>,
    identity: Identity,
}

impl Default for Fold {
    fn default() -> Self {
        Self {
            commit: 0,
            mark: Mark { segment: 1, offset: 0 },
            ulid_high_water: Ulid::nil(),
            captured_lines: 0,
            captured_bytes: 0,
            files_gone: 0,
            at: None,
            files: BTreeMap::new(),
        }
    }
}

impl Fold {
    /// Adds one fact. An error says how the fact contradicts what was before it.
    pub fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        match entry {
            Entry::New(new) => self.start(&StartOf {
                file_id: new.file_id,
                session_id: &new.session_id,
                path: &new.path,
                path_base64: new.path_base64.as_ref(),
                identity: Identity {
                    device: new.device,
                    inode: new.inode,
                    btime: new.btime,
                },
            }),
            Entry::Captured(run) => self.captured(run),
            Entry::Truncate(cut) => {
                let file = self.file(cut.file_id)?;
                if file.epoch + 1 != cut.epoch || file.offset != cut.was {
                    return Err(format!(
                        "a truncation at {} into epoch {} does not follow epoch {} at {}",
                        cut.was, cut.epoch, file.epoch, file.offset
                    ));
                }
                file.epoch = cut.epoch;
                (file.line, file.offset, file.head, file.guard) = (0, 0, None, None);
                Ok(())
            }
            Entry::Rotate(rotate) => {
                if self.files.remove(&rotate.old_file_id).is_none() {
                    return Err(unknown(rotate.old_file_id));
                }
                self.files_gone += 1;
                self.start(&StartOf {
                    file_id: rotate.file_id,
                    session_id: &rotate.session_id,
                    path: &rotate.path,
                    path_base64: rotate.path_base64.as_ref(),
                    identity: Identity {
                        device: rotate.device,
                        inode: rotate.inode,
                        btime: rotate.btime,
                    },
                })
            }
            Entry::Delete(delete) => {
                self.file(delete.file_id)?.state = Presence::Gone;
                self.files_gone += 1;
                Ok(())
            }
        }
    }

    /// Whether these facts, one after the other, contradict neither each other nor what was before them.
    pub fn accepts(&self, entries: &[Entry]) -> Result<(), String> {
        let mut trial = Self {
            files: BTreeMap::new(),
            ..Self::default()
        };
        for entry in entries {
            let before = match entry {
                Entry::New(new) => new.file_id,
                Entry::Captured(run) => run.file_id,
                Entry::Truncate(cut) => cut.file_id,
                Entry::Rotate(rotate) => rotate.old_file_id,
                Entry::Delete(delete) => delete.file_id,
            };
            if let Some(file) = self.files.get(&before) {
                trial.files.entry(before).or_insert_with(|| file.clone());
            }
        }
        entries.iter().try_for_each(|entry| trial.apply(entry))
    }

    /// Adds the line that seals the facts before it, and where it ends.
    pub fn seal(&mut self, commit: &Commit, mark: Mark) {
        self.commit = commit.commit;
        self.mark = mark;
        self.at = Some(commit.at);
    }

    /// How many files are followed.
    #[must_use]
    pub fn followed(&self) -> usize {
        let followed = |file: &&FileState| file.state == Presence::Followed;
        self.files.values().filter(followed).count()
    }

    fn start(&mut self, start: &StartOf<'_>) -> Result<(), String> {
        match self.files.insert(start.file_id, FileState::at_start(start)) {
            None => Ok(()),
            Some(twice) => Err(format!("file {} begins twice", twice.file_id)),
        }
    }

    fn captured(&mut self, run: &Captured) -> Result<(), String> {
        let file = self.file(run.file_id)?;
        if file.epoch != run.epoch || file.offset != run.from || file.line + 1 != run.line || run.to <= run.from {
            return Err(format!(
                "a run of file {} from {} in epoch {} (line {}) does not follow its cursor at {} in epoch {} (line {})",
                run.file_id, run.from, run.epoch, run.line, file.offset, file.epoch, file.line
            ));
        }
        file.offset = run.to;
        file.line += run.lines + run.blank;
        (file.head, file.guard) = (Some(run.head), Some(run.guard));
        (file.device, file.inode, file.btime) = (run.device, run.inode, run.btime);
        self.captured_lines += run.lines;
        self.captured_bytes += run.to - run.from;
        self.ulid_high_water = self.ulid_high_water.max(run.last.unwrap_or(Ulid::nil()));
        Ok(())
    }

    fn file(&mut self, file_id: Ulid) -> Result<&mut FileState, String> {
        self.files.get_mut(&file_id).ok_or_else(|| unknown(file_id))
    }
}

fn unknown(file_id: Ulid) -> String {
    format!("file {file_id} was never begun")
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
