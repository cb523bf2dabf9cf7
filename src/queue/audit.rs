//! `.overflow-audit.log`: which records were dropped to make room.
//!
//! A record is noted here, durably, before its file goes; one that was noted before and is still there, because
//! whoever noted it died, is not noted again.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, append_lines};
use crate::home::pending;
use crate::limits::{AUDIT_NOTED_MAX, PIECE_BYTES};
use crate::pure::record::appended_at;
use crate::waiting::skip_line;

/// The name of the log, in `pending/`.
pub const AUDIT: &str = ".overflow-audit.log";

/// One line: a record that was dropped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// When.
    pub ts: String,
    /// Which.
    pub dropped_ulid: String,
    /// When it had been appended; empty when its envelope could not be read.
    pub appended_at: String,
    /// `queue_overflow`.
    pub reason: String,
    /// Records that were pending.
    pub queue_size_before_prune: u64,
}

impl Dropped {
    /// A record dropped for want of room.
    pub fn for_room(ulid: &str, appended: &str, pending_records: u64, now: Timestamp) -> Self {
        Self {
            ts: appended_at(now),
            dropped_ulid: ulid.to_owned(),
            appended_at: appended.to_owned(),
            reason: "queue_overflow".into(),
            queue_size_before_prune: pending_records,
        }
    }
}

fn path() -> PathBuf {
    pending(AUDIT)
}

/// The log as far as it was read.
///
/// Records are dropped oldest first, so what was noted below the oldest pending one is over and forgotten; where
/// that does not hold, the whole log is asked.
#[derive(Debug)]
pub struct Audit {
    /// How far it was read, and which file.
    read: u64,
    inode: Option<u64>,
    /// What was noted, from `floor` on.
    noted: BTreeSet<String>,
    noted_max: usize,
    floor: String,
    /// The last try to read or write it failed.
    pub(super) fails: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Self::remembering(AUDIT_NOTED_MAX)
    }
}

impl Audit {
    /// One that remembers about so many records, and asks the log for the others.
    pub fn remembering(noted_max: usize) -> Self {
        Self {
            read: 0,
            inode: None,
            noted: BTreeSet::new(),
            noted_max,
            floor: String::new(),
            fails: false,
        }
    }

    /// Reads what was noted since the last time, by whomever. `oldest` is the ULID that the oldest pending file is
    /// named by.
    pub fn refresh(&mut self, disk: &dyn Disk, oldest: Option<&str>) -> io::Result<()> {
        let meta = match disk.meta(&path()) {
            Ok(meta) => Some(meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if meta.is_none_or(|meta| self.inode != Some(meta.inode) || meta.size < self.read) {
            *self = Self {
                fails: self.fails,
                ..Self::remembering(self.noted_max)
            };
        }
        self.inode = meta.map(|meta| meta.inode);
        self.raise_floor(oldest);
        if meta.is_some() {
            let mut fresh = BTreeSet::new();
            self.read = each_noted(disk, self.read, &mut |ulid| {
                if ulid >= self.floor {
                    fresh.insert(ulid);
                }
            })?;
            self.noted.append(&mut fresh);
        }
        if self.noted.len() > self.noted_max {
            let middle = self.noted.iter().nth(self.noted.len() / 2).cloned();
            self.raise_floor(middle.as_deref());
        }
        Ok(())
    }

    fn raise_floor(&mut self, floor: Option<&str>) {
        if let Some(floor) = floor.filter(|floor| *floor > self.floor.as_str()) {
            self.noted = self.noted.split_off(floor);
            floor.clone_into(&mut self.floor);
        }
    }

    /// Leaves out those that were noted already.
    pub fn retain_new(&self, disk: &dyn Disk, dropped: &mut Vec<Dropped>) -> io::Result<()> {
        dropped.retain(|one| !self.noted.contains(&one.dropped_ulid));
        let mut below: BTreeSet<&str> = dropped.iter().map(|one| one.dropped_ulid.as_str()).collect();
        below.retain(|ulid| *ulid < self.floor.as_str());
        if below.is_empty() {
            return Ok(());
        }
        let mut found = BTreeSet::new();
        each_noted(disk, 0, &mut |ulid| {
            if below.contains(ulid.as_str()) {
                found.insert(ulid);
            }
        })?;
        dropped.retain(|one| !found.contains(&one.dropped_ulid));
        Ok(())
    }

    /// Notes records, durably.
    pub fn note(&self, disk: &dyn Disk, dropped: &[Dropped]) -> io::Result<()> {
        let mut lines = Vec::new();
        for one in dropped {
            serde_json::to_writer(&mut lines, one)?;
            lines.push(b'\n');
        }
        append_lines(disk, &path(), &lines).map(drop)
    }
}

/// Calls `each` with the ULID of each whole line from byte `from`; returns where the last one ends. What is no line
/// of such a log says nothing.
fn each_noted(disk: &dyn Disk, from: u64, each: &mut dyn FnMut(String)) -> io::Result<u64> {
    let log = match disk.read_from(&path(), from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(from),
        log => log?,
    };
    let mut reader = BufReader::with_capacity(PIECE_BYTES, log);
    let (mut end, mut line) = (from, Vec::new());
    loop {
        line.clear();
        let mut read = reader.by_ref().take(PIECE_BYTES as u64).read_until(b'\n', &mut line)? as u64;
        if line.len() == PIECE_BYTES && line.last() != Some(&b'\n') {
            read += skip_line(&mut reader)?;
        } else if line.last() != Some(&b'\n') {
            return Ok(end);
        }
        end += read;
        if let Ok(dropped) = serde_json::from_slice::<Dropped>(&line) {
            each(dropped.dropped_ulid);
        }
    }
}
