//! How much is pending, and when that is too much.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::disk::{Disk, EntryKind, Meta, Space};
use crate::error::Error;
use crate::home::{PENDING, pending};
use crate::limits::{BATCH_BYTES, FREE_BYTES_MIN, FREE_SHARE_PERCENT, PRUNE_STEP_RECORDS};
use crate::pure::entry::Compacted;
use crate::pure::name::Name;

/// What is pending.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Files.
    pub batches: u64,
    /// Records, by the names.
    pub records: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Depth {
    /// Adds a batch.
    pub fn add(&mut self, records: u64, bytes: u64) {
        // Names that others made may claim any number.
        self.batches += 1;
        self.records = self.records.saturating_add(records);
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl Depth {
    /// Without some of it.
    #[must_use]
    pub fn without(mut self, part: Self) -> Self {
        self.batches = self.batches.saturating_sub(part.batches);
        self.records = self.records.saturating_sub(part.records);
        self.bytes = self.bytes.saturating_sub(part.bytes);
        self
    }

    /// Takes away a batch.
    pub fn remove(&mut self, records: u64, bytes: u64) {
        *self = self.without(Self {
            batches: 1,
            records,
            bytes,
        });
    }
}

/// What a reader may have, oldest first.
#[derive(Debug, Default)]
pub struct Listing {
    /// Name and `stat` of each batch and single record.
    pub files: BTreeMap<OsString, (Name, Meta)>,
    /// Names of ours that stand on something that is no regular file.
    pub not_ours: Vec<OsString>,
    /// The youngest name that was gone when it was looked at: what took its place may be missing.
    pub vanished: Option<OsString>,
}

impl Listing {
    /// All of it, added up.
    pub fn depth(&self) -> Depth {
        let mut depth = Depth::default();
        for (name, meta) in self.files.values() {
            depth.add(name.readable_records().unwrap_or(0), meta.size);
        }
        depth
    }

    /// Leaves out what went into a batch that is there too: leftovers, which the next start removes.
    pub fn leave_out_merged(&mut self, compacted: &Compacted) {
        if self.files.contains_key(OsStr::new(&compacted.target)) {
            let is_source = |name: &OsString| {
                compacted
                    .sources
                    .iter()
                    .any(|source| name.as_os_str() == OsStr::new(source))
            };
            self.files.retain(|name, _| !is_source(name));
        }
    }

    /// Whether two batches begin with the same record: one went into the other.
    pub fn has_twins(&self) -> bool {
        let batches = self.files.values().filter_map(|(name, _)| match name {
            Name::Batch(batch) => Some(batch.first),
            _ => None,
        });
        let mut before = None;
        batches.into_iter().any(|first| before.replace(first) == Some(first))
    }
}

/// Lists what is pending. A queue that was never made is empty.
pub fn list(disk: &dyn Disk) -> Result<Listing, Error> {
    let directory = Path::new(PENDING);
    let names = match disk.list(directory) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(cause) => return Err(Error::io("cannot list the queue", disk.show(directory), cause)),
    };
    let mut listing = Listing::default();
    for name in names {
        let kind = Name::parse(&name);
        if kind.readable_records().is_none() {
            continue;
        }
        match disk.meta(&pending(&name)) {
            Ok(meta) if meta.kind == EntryKind::File => drop(listing.files.insert(name, (kind, meta))),
            Ok(_) => listing.not_ours.push(name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                listing.vanished = listing.vanished.max(Some(name));
            }
            Err(cause) => return Err(Error::io("cannot look at", disk.show(&pending(&name)), cause)),
        }
    }
    Ok(listing)
}

/// When the queue is full, beside the disk being so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLimits {
    /// Records that may be pending.
    pub records_max: Option<u64>,
    /// Bytes that may be pending; passed by one record at most.
    pub bytes_max: Option<u64>,
}

/// What happens when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum OnFull {
    /// Nothing more is taken until there is room.
    #[default]
    Wait,
    /// The oldest records make room, each written down in `.overflow-audit.log` first.
    DropOldest,
}

impl QueueLimits {
    /// Why no batch may be added now; None when one may. An empty queue accepts any batch.
    pub fn reached(&self, depth: Depth) -> Option<String> {
        let over = |limit: Option<u64>, value| limit.is_some_and(|limit| value > 0 && value >= limit);
        if over(self.records_max, depth.records) {
            return Some(format!("{} records are pending", depth.records));
        }
        over(self.bytes_max, depth.bytes).then(|| format!("{} bytes are pending", depth.bytes))
    }

    /// Whether more is pending than may be, where what is too much is dropped.
    pub fn passed(&self, depth: Depth) -> bool {
        let over = |limit: Option<u64>, value| limit.is_some_and(|limit| value > limit);
        over(self.records_max, depth.records) || over(self.bytes_max, depth.bytes)
    }

    /// How many records and bytes the next batch may hold where older ones make room for it.
    pub fn room_dropping(&self, depth: Depth) -> (u64, u64) {
        let left = |limit: Option<u64>, value, least: u64| {
            limit.map_or(u64::MAX, |limit| limit.saturating_sub(value).max(limit.min(least)))
        };
        let records = left(self.records_max, depth.records, PRUNE_STEP_RECORDS);
        (records, left(self.bytes_max, depth.bytes, BATCH_BYTES as u64))
    }

    /// How many records and bytes the next batch may hold, at least one record.
    pub fn room(&self, depth: Depth) -> (u64, u64) {
        let left = |limit: Option<u64>, value| limit.map_or(u64::MAX, |limit| limit.saturating_sub(value).max(1));
        (left(self.records_max, depth.records), left(self.bytes_max, depth.bytes))
    }
}

/// Whether the disk is so full that nothing more may be queued.
pub fn disk_is_full(space: Space) -> bool {
    space.free < reserve(space)
}

/// How much a disk takes until it is full.
pub fn room_bytes(space: Space) -> u64 {
    space.free.saturating_sub(reserve(space))
}

fn reserve(space: Space) -> u64 {
    let share = space.total / 100 * FREE_SHARE_PERCENT;
    share.min(FREE_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_full_at_the_smaller_of_both_bounds() {
        let gib = 1 << 30;
        let full = |free, total| disk_is_full(Space { free, total });
        assert!(!full(gib, 1000 * gib));
        assert!(full(gib - 1, 1000 * gib));
        assert!(!full(60 * 1024, 1024 * 1024));
        assert!(full(50 * 1024, 1024 * 1024));
    }

    #[test]
    fn an_empty_queue_accepts_any_batch() {
        let limits = QueueLimits {
            records_max: Some(3),
            bytes_max: Some(0),
        };
        assert_eq!(limits.reached(Depth::default()), None);
        let mut depth = Depth::default();
        depth.add(2, 0);
        assert_eq!(limits.reached(depth), None);
        assert_eq!(limits.room(depth).0, 1);
        depth.add(1, 0);
        assert!(limits.reached(depth).is_some());
    }
}
