//! What a drain has still to hand out, where others change the queue meanwhile.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use super::depth::list;
use crate::disk::Disk;
use crate::limits::RELIST_MAX;
use crate::pure::name::{Name, named_by};

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
    /// What the youngest one of the first listing is named by: what comes later is not for this drain. The youngest one may
    /// go into a batch that begins with it, and has another name.
    youngest: Option<Vec<u8>>,
    missed: bool,
    /// Names that were tried since the queue was listed, and how many must have been before it is again.
    since: usize,
    least: usize,
}

impl Todo {
    /// These, of which the youngest one may have vanished.
    pub(super) fn of(names: impl Iterator<Item = OsString>, vanished: Option<&OsStr>) -> Self {
        let names: BTreeSet<_> = names.collect();
        Self {
            youngest: names.last().map(OsString::as_os_str).max(vanished).map(begins_with),
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
                && Some(begins_with(&name)) <= self.youngest
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

/// What a name begins with: the ULID of its first record, or what another program put there.
fn begins_with(name: &OsStr) -> Vec<u8> {
    let text = named_by(name).map(String::into_bytes);
    text.unwrap_or_else(|| name.as_bytes().strip_prefix(b"pending-").unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::SimDisk;
    use crate::home::{PENDING, pending};

    const OLD: &str = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAA-1.jsonl";
    const YOUNGEST: &str = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAB-5.jsonl";

    #[test]
    fn what_the_youngest_went_into_is_handed_out_and_what_came_later_is_not() {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(PENDING)).unwrap();
        let mut todo = Todo::of([OLD, YOUNGEST].into_iter().map(OsString::from), None);
        let merged = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAB-64.jsonl";
        for name in [OLD, merged, "pending-01ARZ3NDEKTSV4RRFFQ69G5FAC-1.jsonl"] {
            disk.create(&pending(name)).unwrap();
        }
        assert_eq!(todo.next().unwrap(), OLD);
        todo.tried(OLD.into());
        assert_eq!(todo.next().unwrap(), YOUNGEST);
        todo.tried(YOUNGEST.into());
        todo.missed();
        todo.relist_if_due(&disk);
        assert_eq!(todo.next().unwrap(), merged);
        assert!(todo.is_new(merged.as_ref()));
        assert_eq!(todo.next(), None);
        // Of other programs a name may be any bytes.
        let last = OsStr::from_bytes(b"pending-\xff.json").to_owned();
        let mut todo = Todo::of([YOUNGEST.into(), last.clone()].into_iter(), None);
        todo.missed();
        todo.relist_if_due(&disk);
        let left = std::iter::from_fn(|| todo.next()).count();
        assert_eq!(left, 3, "all that is there and not younger than that");
    }
}
