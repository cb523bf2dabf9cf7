//! What the ledger says of one file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{Mark, add};
use crate::pure::chain::Suffix;
use crate::pure::entry::{Captured, New, Rotate, Truncate};
use crate::pure::identity::{Evidence, Identity, Window};
use crate::pure::rare::Rare;
use crate::pure::record::{SettledTail, path_from_text};
use crate::pure::sighting::CaughtUp;

/// What is known of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileState {
    /// Which file.
    pub file_id: Ulid,
    /// Its path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
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
    pub suffix: Rare<Suffix>,
    /// The last line, captured before it had a newline.
    pub settled: Rare<SettledTail>,
    /// Other paths that were noted as showing it, as text.
    pub links: Vec<String>,
    /// Where in the ledger it is told of.
    pub told: Option<Told>,
    /// Which of all the times that a file came to a path was its last one.
    pub placed: u64,
    /// The agent of its root, if known.
    pub agent: Option<String>,
    /// Where its session works, if one of its first lines said so.
    pub cwd: Option<String>,
    /// Its records, of all epochs.
    pub captured_lines: u64,
    /// The bytes of what was captured of it, newlines and blank lines included, of all epochs.
    pub captured_bytes: u64,
    /// Its modification time when it was captured from last, or found.
    pub mtime: Timestamp,
    /// The commits with its first line and with its last one so far.
    pub lines_at: Option<(Timestamp, Timestamp)>,
    /// Whether it is still there.
    pub state: Presence,
    /// What it showed when everything of it had been captured.
    pub seen: CaughtUp,
}

/// A stretch of the ledger that holds every line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

    /// The stem of its path.
    #[must_use]
    pub fn session_id(&self) -> Cow<'_, str> {
        Path::new(&self.path).file_stem().unwrap_or_default().to_string_lossy()
    }

    /// Its path; None when the state is damaged.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        path_from_text(&self.path, self.path_base64.as_deref())
    }

    /// A file that stands here now.
    pub(super) fn at(place: &Place<'_>, placed: u64) -> Self {
        Self {
            file_id: place.file_id,
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
            suffix: Rare::default(),
            settled: Rare::default(),
            links: Vec::new(),
            told: None,
            placed,
            agent: place.agent.cloned(),
            cwd: None,
            captured_lines: 0,
            captured_bytes: 0,
            mtime: place.mtime,
            lines_at: None,
            state: Presence::Followed,
            seen: CaughtUp::default(),
        }
    }

    /// It stands there from now on.
    pub(super) fn move_to(&mut self, place: &Place<'_>, placed: u64) {
        self.placed = placed;
        place.path.clone_into(&mut self.path);
        self.path_base64 = place.path_base64.cloned();
        let Identity { device, inode, btime } = place.identity;
        (self.device, self.inode, self.btime) = (device, inode, btime);
        self.agent = place.agent.cloned();
        self.state = Presence::Followed;
    }

    pub(super) fn truncate(&mut self, cut: &Truncate) -> Result<(), String> {
        if self.epoch.checked_add(1) != Some(cut.epoch) || self.offset != cut.was || cut.kept > cut.was {
            return Err(format!(
                "a truncation at {} into epoch {} does not follow epoch {} at {}",
                cut.was, cut.epoch, self.epoch, self.offset
            ));
        }
        let before = self.suffix.get();
        let kept = match cut.kept_from {
            None => None,
            Some(from) => Some(Suffix {
                from,
                to: before.map_or(self.offset, |suffix| suffix.to),
                lines: cut.kept_from_lines.unwrap_or(0),
                guard: before
                    .map(|suffix| suffix.guard)
                    .or(self.guard)
                    .ok_or("a suffix is kept of nothing")?,
            }),
        };
        self.suffix = kept.into();
        self.epoch = cut.epoch;
        (self.line, self.offset, self.head, self.guard) = (cut.kept_lines, cut.kept, cut.head, cut.guard);
        // The last line stands if what is before it does.
        self.keep_settled();
        Ok(())
    }

    /// The settled last line stands only behind what was kept.
    fn keep_settled(&mut self) {
        if self.suffix.is_none() {
            self.settled = Rare::default();
        }
    }

    /// Adds a run. Returns how many bytes were not captured before.
    pub(super) fn captured(&mut self, run: &Captured) -> Result<u64, String> {
        let fits = run.line == self.line.map(|line| line.saturating_add(1));
        if self.epoch != run.epoch || self.offset != run.from || !fits || run.to <= run.from {
            return Err(format!(
                "a run of file {} from {} in epoch {} (line {:?}) does not follow its cursor at {} in epoch {} ({:?} lines)",
                run.file_id, run.from, run.epoch, run.line, self.offset, self.epoch, self.line
            ));
        }
        if run.settled.is_some() && run.settled != self.settled.get().map(|settled| settled.ulid) {
            return Err(format!(
                "a run of file {} begins with a line that was not settled",
                run.file_id
            ));
        }
        // Its first line may be captured already, without its newline.
        let before = self.settled.get().filter(|_| run.settled.is_some());
        let bytes = (run.to - run.from).saturating_sub(before.map_or(0, |settled| settled.length));
        add(&mut self.captured_lines, run.lines);
        add(&mut self.captured_bytes, bytes);
        self.mtime = run.mtime.unwrap_or(self.mtime);
        if self.cwd.is_none() {
            self.cwd.clone_from(&run.cwd);
        }
        self.offset = run.to;
        self.line = self.line.map(|line| line.saturating_add(run.physical_lines()));
        (self.head, self.guard) = (Some(run.head), Some(run.guard));
        (self.device, self.inode, self.btime) = (run.device, run.inode, run.btime);
        self.keep_settled();
        if let Some(suffix) = self.suffix.get().filter(|suffix| suffix.from <= run.to) {
            if suffix.from != run.to {
                return Err(format!("a run of file {} reaches into what was kept", run.file_id));
            }
            self.line = self.line.map(|line| line.saturating_add(suffix.lines));
            (self.offset, self.guard, self.suffix) = (suffix.to, Some(suffix.guard), Rare::default());
        }
        Ok(bytes)
    }
}

/// Where a `new` or a `rotate` says that a file stands.
pub(super) struct Place<'a> {
    pub(super) file_id: Ulid,
    pub(super) epoch: u64,
    path: &'a str,
    path_base64: Option<&'a String>,
    identity: Identity,
    mtime: Timestamp,
    agent: Option<&'a String>,
    pub(super) continues: Option<u64>,
}

impl<'a> From<&'a New> for Place<'a> {
    fn from(new: &'a New) -> Self {
        Self {
            file_id: new.file_id,
            epoch: new.epoch,
            path: &new.path,
            path_base64: new.path_base64.as_ref(),
            identity: Identity {
                device: new.device,
                inode: new.inode,
                btime: new.btime,
            },
            mtime: new.mtime,
            agent: new.agent.as_ref(),
            continues: new.continues,
        }
    }
}

impl<'a> From<&'a Rotate> for Place<'a> {
    fn from(rotate: &'a Rotate) -> Self {
        Self {
            file_id: rotate.file_id,
            epoch: rotate.epoch,
            path: &rotate.path,
            path_base64: rotate.path_base64.as_ref(),
            identity: Identity {
                device: rotate.device,
                inode: rotate.inode,
                btime: rotate.btime,
            },
            mtime: rotate.mtime,
            agent: rotate.agent.as_ref(),
            continues: rotate.continues,
        }
    }
}
