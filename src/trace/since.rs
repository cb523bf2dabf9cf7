//! What the ledger tells of a file behind the line of a record.
//!
//! Of the runs captured since only the number is told; their lines are passed over, so that this costs little more
//! than looking for the file's id in the rest of the ledger.

use std::io::Read;

use jiff::Timestamp;
use memchr::memmem;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::words::what;
use crate::disk::Disk;
use crate::error::Error;
use crate::ledger::search::{Hit, no_record};
use crate::ledger::{damaged, segment_numbers, segment_path};
use crate::limits::{READ_BYTES, TRACED_MAX};
use crate::pure::commit::COMMIT_PREFIX;
use crate::pure::entry::{Captured, Entry, Truncate};
use crate::pure::fold::Mark;
use crate::pure::identity::Identity;
use crate::pure::lines::whole;

const CAPTURED_PREFIX: &[u8] = br#"{"kind":"captured""#;

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The kind of the ledger line.
    pub kind: &'static str,
    /// Its commit.
    pub commit: u64,
    /// When that was made.
    pub at: Option<Timestamp>,
    /// In words.
    pub what: String,
}

/// Whether a record's bytes still count as captured from where they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Standing {
    /// They do.
    Stands,
    /// The file was rewritten or shrank there.
    Superseded {
        /// The commit that says so.
        commit: u64,
    },
    /// The last line got its newline, and counts as part of a run.
    Completed {
        /// The commit of that run.
        commit: u64,
    },
    /// Other bytes came in place of the last line.
    Replaced {
        /// The record of these, where the ledger tells it.
        by: Option<Ulid>,
        /// The commit of these.
        commit: u64,
    },
}

/// Where a file is, as far as the ledger tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileNow {
    /// The path at which it was last seen.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Whether it is there still.
    pub presence: Presence,
    /// Which inode it is.
    #[serde(skip)]
    pub identity: Identity,
}

/// Whether a file is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// At its path.
    Followed,
    /// Its path does not show it any more.
    Former,
    /// Following has ended.
    Gone,
}

/// Everything since.
pub(super) struct Since {
    pub(super) standing: Standing,
    pub(super) events: Vec<Event>,
    pub(super) left_out: u64,
    pub(super) later_runs: u64,
    pub(super) file: FileNow,
}

/// Reads on behind the line of a record.
pub(super) fn since(disk: &dyn Disk, hit: &Hit) -> Result<Since, Error> {
    let mut teller = Teller::new(hit)?;
    let end = sealed_end(disk)?;
    for segment in hit.end.segment..=end.segment {
        let start = if segment == hit.end.segment { hit.end.offset } else { 0 };
        let limit = if segment == end.segment { end.offset } else { u64::MAX };
        let path = segment_path(segment);
        let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
        let reader = disk.read_from(&path, start).map_err(failed)?;
        let mut reader = reader.take(limit.saturating_sub(start));
        let mut piece = Vec::new();
        loop {
            let mut some = reader.by_ref().take(READ_BYTES as u64);
            if some.read_to_end(&mut piece).map_err(failed)? == 0 {
                break;
            }
            let whole = whole(&piece);
            let told = teller.lines(&piece[..whole]);
            told.map_err(|error| damaged(disk, segment, error.to_string()))?;
            piece.drain(..whole);
        }
    }
    Ok(teller.since)
}

/// Where the last `commit` line ends; what follows is not committed.
fn sealed_end(disk: &dyn Disk) -> Result<Mark, Error> {
    for segment in segment_numbers(disk)?.into_iter().rev() {
        let path = segment_path(segment);
        let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
        let mut start = disk.meta(&path).map_err(failed)?.size;
        let mut after = Vec::new();
        while start > 0 {
            let from = start.saturating_sub(READ_BYTES as u64);
            let mut bytes = Vec::new();
            let reader = disk.read_from(&path, from).map_err(failed)?;
            reader.take(start - from).read_to_end(&mut bytes).map_err(failed)?;
            bytes.extend_from_slice(&after);
            if let Some(at) = last_commit(&bytes, from == 0) {
                let offset = from + at as u64;
                return Ok(Mark { segment, offset });
            }
            (start, after) = (from, bytes);
        }
    }
    Ok(Mark { segment: 1, offset: 0 })
}

/// Where the last whole `commit` line ends in these bytes; `at_start` when a line begins with them.
fn last_commit(bytes: &[u8], at_start: bool) -> Option<usize> {
    let whole = &bytes[..whole(bytes)];
    memmem::rfind_iter(whole, COMMIT_PREFIX).find_map(|at| {
        let begins = if at == 0 { at_start } else { whole[at - 1] == b'\n' };
        let end = at + memchr::memchr(b'\n', &whole[at..])? + 1;
        begins.then_some(end)
    })
}

/// The key that every line but `root` has.
#[derive(Deserialize)]
struct Numbered {
    commit: u64,
    at: Option<Timestamp>,
}

/// Goes through lines and tells what is of the file.
struct Teller<'a> {
    hit: &'a Hit,
    id: Ulid,
    file_text: String,
    ulid_text: String,
    /// Events from here on wait for the time of their commit.
    untimed: usize,
    since: Since,
}

impl<'a> Teller<'a> {
    fn new(hit: &'a Hit) -> Result<Self, Error> {
        let (id, path, path_base64, device, inode, btime) = match &hit.entry {
            Entry::Captured(run) => (
                run.file_id,
                &run.path,
                &run.path_base64,
                run.device,
                run.inode,
                run.btime,
            ),
            Entry::Settled(line) => (
                line.file_id,
                &line.path,
                &line.path_base64,
                line.device,
                line.inode,
                line.btime,
            ),
            _ => return Err(no_record()),
        };
        Ok(Self {
            hit,
            id,
            file_text: id.to_string(),
            ulid_text: hit.ulid.to_string(),
            untimed: 0,
            since: Since {
                standing: Standing::Stands,
                events: Vec::new(),
                left_out: 0,
                later_runs: 0,
                file: FileNow {
                    path: path.clone(),
                    path_base64: path_base64.clone(),
                    presence: Presence::Followed,
                    identity: Identity { device, inode, btime },
                },
            },
        })
    }

    /// Goes through whole lines.
    fn lines(&mut self, lines: &[u8]) -> Result<(), serde_json::Error> {
        let finder = memmem::Finder::new(self.file_text.as_bytes()).into_owned();
        let mut at = 0;
        loop {
            // Where the commit ends behind these lines, the next ones tell its time.
            if self.untimed < self.since.events.len()
                && let Some(commit) = next_commit(&lines[at..])
            {
                self.time(&serde_json::from_slice(commit)?);
            }
            let Some(found) = finder.find(&lines[at..]).map(|found| at + found) else {
                return Ok(());
            };
            let start = memchr::memrchr(b'\n', &lines[..found]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &lines[found..]).map_or(lines.len(), |newline| found + newline + 1);
            at = end;
            self.line(&lines[start..end])?;
        }
    }

    /// All that waits for a time is of the commit that comes next.
    fn time(&mut self, commit: &Numbered) {
        for event in &mut self.since.events[self.untimed..] {
            event.at = commit.at;
        }
        self.untimed = self.since.events.len();
    }

    fn line(&mut self, line: &[u8]) -> Result<(), serde_json::Error> {
        if line.starts_with(COMMIT_PREFIX) {
            return Ok(());
        }
        let is_run = line.starts_with(CAPTURED_PREFIX);
        if is_run {
            self.since.later_runs += 1;
            if !self.waits_for_a_run() && memmem::find(line, self.ulid_text.as_bytes()).is_none() {
                return Ok(());
            }
        }
        let entry = Entry::parse(line)?;
        if !entry.files().contains(&Some(self.id)) {
            return Ok(());
        }
        let Numbered { commit, .. } = serde_json::from_slice(line)?;
        self.entry(&entry, commit);
        Ok(())
    }

    /// The next run says what became of a settled line.
    fn waits_for_a_run(&self) -> bool {
        matches!(self.hit.entry, Entry::Settled(_)) && self.since.standing == Standing::Stands
    }

    fn entry(&mut self, entry: &Entry, commit: u64) {
        let file = &mut self.since.file;
        match entry {
            Entry::New(new) if new.file_id == self.id => {
                file.path.clone_from(&new.path);
                file.path_base64.clone_from(&new.path_base64);
                file.identity = identity(new.device, new.inode, new.btime);
                file.presence = Presence::Followed;
            }
            Entry::Rotate(rotate) if rotate.file_id == self.id => {
                file.path.clone_from(&rotate.path);
                file.path_base64.clone_from(&rotate.path_base64);
                file.identity = identity(rotate.device, rotate.inode, rotate.btime);
                file.presence = Presence::Followed;
            }
            Entry::Rotate(rotate) => self.leaves(&rotate.path),
            Entry::Delete(delete) => self.leaves(&delete.path),
            Entry::Closed(_) => file.presence = Presence::Gone,
            Entry::Truncate(cut) => self.cut(cut, commit),
            Entry::Captured(run) => return self.run(run, commit),
            Entry::Settled(settled) if settled.replaces == Some(self.hit.ulid) => {
                let by = Some(settled.ulid);
                self.since.standing = Standing::Replaced { by, commit };
            }
            Entry::New(_)
            | Entry::Settled(_)
            | Entry::Linked(_)
            | Entry::Skipped(_)
            | Entry::Root(_)
            | Entry::Dropped(_)
            | Entry::Compacted(_) => {}
        }
        self.tell(entry, commit);
    }

    fn leaves(&mut self, path: &str) {
        if self.since.file.path == path && self.since.file.presence == Presence::Followed {
            self.since.file.presence = Presence::Former;
        }
    }

    fn cut(&mut self, cut: &Truncate, commit: u64) {
        let kept = match &self.hit.entry {
            Entry::Captured(run) => run.to <= cut.kept || cut.kept_from.is_some_and(|from| run.from >= from),
            // The last line stands if the end of what is before it does.
            _ => cut.kept_from.is_some(),
        };
        if !kept && self.since.standing == Standing::Stands {
            self.since.standing = Standing::Superseded { commit };
        }
    }

    /// Only a run that tells of a settled line is told of.
    fn run(&mut self, run: &Captured, commit: u64) {
        let Entry::Settled(settled) = &self.hit.entry else {
            return;
        };
        if self.since.standing != Standing::Stands || run.from != settled.offset {
            return;
        }
        self.since.standing = if run.settled == Some(self.hit.ulid) {
            Standing::Completed { commit }
        } else {
            Standing::Replaced { by: run.first, commit }
        };
        self.tell(&Entry::Captured(run.clone()), commit);
    }

    fn tell(&mut self, entry: &Entry, commit: u64) {
        if self.since.events.len() >= TRACED_MAX {
            self.since.left_out += 1;
            return;
        }
        self.since.events.push(Event {
            kind: entry.kind(),
            commit,
            at: None,
            what: what(entry, self.id),
        });
    }
}

fn identity(device: u64, inode: u64, btime: Option<Timestamp>) -> Identity {
    Identity { device, inode, btime }
}

/// The next `commit` line.
fn next_commit(lines: &[u8]) -> Option<&[u8]> {
    let begins = |at: &usize| *at == 0 || lines[at - 1] == b'\n';
    let at = memmem::find_iter(lines, COMMIT_PREFIX).find(begins)?;
    let end = memchr::memchr(b'\n', &lines[at..])?;
    Some(&lines[at..at + end])
}
