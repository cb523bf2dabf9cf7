//! The entries of the cursor table.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::limits::LARGE_GROWTH_BYTES;
use crate::pure::identity::Identity;
use crate::show::Shown;
use crate::source::tail::Cursor;
use crate::source::tree::{Stamp, Stat};

/// A path, ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) Arc<Path>);

impl Key {
    fn bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

/// A file that we follow.
pub(super) struct Tracked {
    pub(super) cursor: Cursor,
    pub(super) root: usize,
    /// What `stat` said when everything up to then was taken.
    pub(super) seen: Option<Seen>,
    /// Its size at the last look of any kind.
    pub(super) size: u64,
    pub(super) hot_until: Option<Instant>,
    /// Up to where it is read, for `once`.
    pub(super) limit: Option<u64>,
    /// It is being read to its end because its path does not show it any more.
    pub(super) ends: bool,
    /// How often what its path shows was truncated, rewritten or replaced since it was read to its end.
    pub(super) changes: u32,
    pub(super) large_growth_told: bool,
    /// Its last visit could not read it.
    pub(super) unreadable: bool,
    /// Since when what is left in it cannot be read, or has no room, while its path does not show it.
    pub(super) rest_fails_since: Option<Instant>,
    /// The last sweep that found it.
    pub(super) sweep: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    identity: Identity,
    size: u64,
    mtime: Stamp,
    ctime: Stamp,
}

impl From<&Stat> for Seen {
    fn from(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }
}

impl Tracked {
    pub(super) fn new(cursor: Cursor, root: usize) -> Self {
        let cursor_size = cursor.size_seen;
        Self {
            cursor,
            root,
            seen: None,
            size: cursor_size,
            hot_until: None,
            limit: None,
            ends: false,
            changes: 0,
            large_growth_told: false,
            unreadable: false,
            rest_fails_since: None,
            sweep: 0,
        }
    }

    pub(super) fn tell_large_growth(&mut self, stat: &Stat) {
        let growth = stat.size - self.cursor.offset;
        if growth > LARGE_GROWTH_BYTES && !self.large_growth_told {
            self.large_growth_told = true;
            let shown = Shown::path(&self.cursor.file.path).to_string();
            log::warn!(code = "watcher.large_file_growth", path = shown.as_str(), growth = growth, threshold = LARGE_GROWTH_BYTES;
                "{shown} has {growth} bytes to read; all of them are read");
        }
    }
}
