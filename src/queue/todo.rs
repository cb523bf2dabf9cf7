//! What a drain has still to hand out, where others change the queue meanwhile.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};

use super::depth::list;
use crate::disk::Disk;
use crate::limits::RELIST_MAX;
use crate::pure::name::Name;

/// The names of a listing that were not tried yet, oldest first.
///
/// One that is gone when its turn comes was drained by somebody else, or went into a batch that is not on the list. So
/// the queue is listed anew before anything younger is handed out. Where that shows nothing new, others drain, and it is
/// done ever more rarely, but once at the end.
pub(super) struct Todo {
    names: BTreeSet<OsString>,
    tried: BTreeSet<OsString>,
    /// Names that the first listing did not have.
    new: BTreeSet<OsString>,
    /// The youngest name of the first listing: what comes later is not for this drain.
    youngest: Option<OsString>,
    missed: bool,
    /// Names that were tried since the queue was listed, and how many must have been before it is again.
    since: usize,
    least: usize,
}

impl Todo {
    /// These, of which the youngest one may have vanished.
    pub(super) fn of(names: impl Iterator<Item = OsString>, vanished: Option<OsString>) -> Self {
        let names: BTreeSet<_> = names.collect();
        Self {
            youngest: names.last().cloned().max(vanished),
            names,
            tried: BTreeSet::new(),
            new: BTreeSet::new(),
            missed: false,
            since: 0,
            least: 0,
        }
    }

    /// A batch was gone.
    pub(super) fn missed(&mut self) {
        self.missed = true;
    }

    pub(super) fn next(&mut self) -> Option<OsString> {
        self.names.pop_first()
    }

    /// Whether the first listing did not have it.
    pub(super) fn is_new(&self, name: &OsStr) -> bool {
        self.new.contains(name)
    }

    pub(super) fn tried(&mut self, name: OsString) {
        self.tried.insert(name);
        self.since += 1;
    }

    /// Lists the queue anew if something may be missing.
    pub(super) fn relist_if_due(&mut self, disk: &dyn Disk) {
        for _ in 0..RELIST_MAX {
            if self.missed && (self.since >= self.least || self.names.is_empty()) {
                self.relist(disk);
            }
        }
    }

    /// A listing that fails shows nothing new.
    fn relist(&mut self, disk: &dyn Disk) {
        let Ok(listing) = list(disk) else { return };
        let mut is_new = false;
        let mut still = BTreeSet::new();
        for (name, (kind, _)) in listing.files {
            if self.names.contains(&name) {
                still.insert(name);
            } else if matches!(kind, Name::Batch(_))
                && Some(&name) <= self.youngest.as_ref()
                && !self.tried.contains(&name)
            {
                is_new = true;
                self.new.insert(name.clone());
                still.insert(name);
            }
        }
        self.names = still;
        self.least = if is_new { 0 } else { (2 * self.least).max(1) };
        self.since = 0;
        self.missed = listing.vanished.is_some();
    }
}
