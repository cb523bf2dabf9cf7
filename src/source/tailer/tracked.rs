//! A file that is followed, and what was seen of it.

use std::sync::Arc;
use std::time::Instant;

use log::Level;

use super::table::{Counted, Key};
use crate::error::Error;
use crate::limits::{LARGE_GROWTH_BYTES, TAIL_SETTLE};
use crate::pure::identity::Identity;
use crate::pure::rare::Rare;
use crate::pure::sighting::Sighting;
use crate::show::Shown;
use crate::source::recheck::Recheck;
use crate::source::tail::Cursor;
use crate::source::tree::{Log, Stat};
use crate::source::{EventSink, SettleVerdict};

/// A file that we follow, at its path or, as a former one, by its handle.
pub(super) struct Tracked {
    pub(super) cursor: Cursor,
    pub(super) root: usize,
    /// What `stat` said when everything up to then was taken.
    pub(super) seen: Option<Seen>,
    /// Its size at the last look of any kind.
    pub(super) size: u64,
    pub(super) hot_until: Option<Instant>,
    /// When it is to be checked once more, since it may be rewritten and show the same times.
    pub(super) racy_until: Option<Instant>,
    /// Since when nothing about it moved.
    pub(super) quiet_since: Instant,
    /// What it showed when its last line, without newline, was offered last. Whether it was taken, is known already or
    /// waits for more: it is not offered again as long as the file shows the same.
    pub(super) settle_tried: Rare<Seen>,
    /// Up to where it is read, for `once`.
    pub(super) limit: Option<u64>,
    /// How often what its path shows was truncated, rewritten or replaced since it was read to its end.
    pub(super) changes: u32,
    pub(super) large_growth_told: bool,
    /// Its last visit could not read it.
    pub(super) unreadable: bool,
    /// Since when a former file cannot be read, or has no room for its next line.
    pub(super) fails_since: Option<Instant>,
    /// Its handle is wanted for others: following it ends as soon as it is read to its end.
    pub(super) ends: bool,
    /// Its run chain is being hashed anew.
    pub(super) recheck: Option<Box<Recheck>>,
    /// The last walk in which its path showed it.
    pub(super) shown: u64,
    pub(super) counted: Counted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) identity: Identity,
    pub(super) sighting: Sighting,
}

impl From<&Stat> for Seen {
    fn from(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            sighting: stat.sighting(),
        }
    }
}

impl Tracked {
    pub(super) fn new(cursor: Cursor, root: usize, now: Instant) -> Self {
        let cursor_size = cursor.size_seen;
        Self {
            cursor,
            root,
            seen: None,
            size: cursor_size,
            hot_until: None,
            racy_until: None,
            quiet_since: now,
            settle_tried: Rare::default(),
            limit: None,
            changes: 0,
            large_growth_told: false,
            unreadable: false,
            fails_since: None,
            ends: false,
            recheck: None,
            shown: 0,
            counted: Counted::default(),
        }
    }

    /// Its path, or the last one that it had.
    pub(super) fn key(&self) -> Key {
        Key(Arc::clone(&self.cursor.file.path))
    }

    /// Bytes that were seen and not captured.
    pub(super) fn backlog_bytes(&self) -> u64 {
        let behind = self.size.saturating_sub(self.cursor.end());
        // A last line that was captured without its newline is no backlog.
        let settled = self.cursor.settled_here().filter(|settled| settled.length == behind);
        let behind = if settled.is_some() { 0 } else { behind };
        self.cursor.read_again_bytes() + behind
    }

    /// Offers what is left of it, without a newline, unless a stretch before it is still to be read again.
    pub(super) fn settle_rest(
        &mut self,
        log: &dyn Log,
        size: u64,
        sink: &mut dyn EventSink,
    ) -> Result<SettleVerdict, Error> {
        if self.cursor.suffix.is_some() {
            return Ok(SettleVerdict::Waits);
        }
        self.cursor.settle(log, size, sink)
    }

    /// Bytes of its last line that are left behind when nobody can read it any more, as far as sizes tell.
    pub(super) fn left_behind(&self, size: u64) -> u64 {
        let left = size.saturating_sub(self.cursor.end());
        let settled = self.cursor.settled.get().is_some_and(|settled| settled.length == left);
        if settled { 0 } else { left }
    }

    /// Whether nothing about it moved since it was read to its end.
    pub(super) fn is_unmoved(&self, stat: &Stat, now: Instant) -> bool {
        self.seen == Some(Seen::from(stat)) && self.racy_until.is_none_or(|until| now < until)
    }

    /// Whether it ends with a line without newline that was not offered as it is now.
    pub(super) fn has_untried_tail(&self) -> bool {
        self.seen.is_some() && self.settle_tried.get() != self.seen && self.size > self.cursor.end()
    }

    /// What it shows, if everything in it was taken, and no change could leave it showing the same.
    pub(super) fn proven(&self) -> Option<Sighting> {
        let seen = self
            .seen
            .filter(|_| self.racy_until.is_none() && self.cursor.suffix.is_none())?;
        let settled = self.cursor.settled.get().map_or(0, |settled| settled.length);
        let is_all_taken = seen.sighting.size == self.cursor.offset + settled;
        (is_all_taken && seen.identity == self.cursor.file.identity).then_some(seen.sighting)
    }

    /// It shows what it showed when it was read to its end by an earlier run, as far as we know.
    pub(super) fn believe(&mut self, sighting: Sighting) {
        let seen = Seen {
            identity: self.cursor.file.identity,
            sighting,
        };
        self.seen = Some(seen);
        if self.proven().is_none() {
            self.seen = None;
            return;
        }
        (self.size, self.cursor.size_seen) = (sighting.size, sighting.size);
        if sighting.size > self.cursor.offset {
            self.settle_tried = self.seen.into();
        }
    }

    /// Whether its last line, without newline, may be whole.
    pub(super) fn may_settle(&self, now: Instant) -> bool {
        self.has_untried_tail() && now >= self.quiet_since + TAIL_SETTLE
    }

    pub(super) fn tell_large_growth(&mut self, stat: &Stat) {
        let growth = stat.size.saturating_sub(self.cursor.end());
        if growth > LARGE_GROWTH_BYTES && !self.large_growth_told {
            self.large_growth_told = true;
            let shown = Shown::path(&self.cursor.file.path).to_string();
            // A large file that is new is an ordinary backlog.
            let level = if self.cursor.offset == 0 {
                Level::Info
            } else {
                Level::Warn
            };
            log::log!(level, code = "watcher.large_file_growth", path = shown.as_str(), growth = growth, threshold = LARGE_GROWTH_BYTES;
                "{shown} has {growth} bytes to read; all of them are read");
        }
    }
}
