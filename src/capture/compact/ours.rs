//! Which batches the ledger names: only these are merged, whatever other programs put beside them.

use std::collections::{BTreeMap, BTreeSet};

use ulid::Ulid;

use crate::disk::Disk;
use crate::error::Error;
use crate::ledger::search::place;
use crate::ledger::{Commits, Found};
use crate::limits::COMPACT_LEDGER_BYTES;
use crate::pure::fold::Mark;
use crate::pure::name::{Batch, Name};

/// What was learnt of them so far, read in pieces.
#[derive(Default)]
pub(super) struct Ours {
    /// How many records each holds.
    known: BTreeMap<Ulid, u64>,
    /// Up to where the ledger was read.
    read: Option<Mark>,
}

impl Ours {
    pub(super) fn is_begun(&self) -> bool {
        self.read.is_some()
    }

    /// Whether all up to `end` was read.
    pub(super) fn is_read(&self, end: Mark) -> bool {
        self.read.is_some_and(|read| read >= end)
    }

    /// Begins where the ledger tells of a batch. Older ones are not asked for.
    pub(super) fn begin(&mut self, disk: &dyn Disk, oldest: Ulid) -> Result<(), Error> {
        let place = place(disk, oldest)?;
        self.read = Some(place.unwrap_or(Mark { segment: 1, offset: 0 }));
        Ok(())
    }

    /// Reads a piece more, up to `end`, which is where a commit ends.
    pub(super) fn read(&mut self, disk: &dyn Disk, end: Mark) -> Result<(), Error> {
        let Some(begin) = self.read else { return Ok(()) };
        let mut commits = Commits::open(disk, begin.segment, begin.offset)?;
        let mut at = begin;
        while at < end && at.offset - begin.offset < COMPACT_LEDGER_BYTES {
            match commits.read()? {
                Some(Found::Sealed { commit, end, .. }) => {
                    at.offset = end;
                    self.learn(&commit.batches);
                }
                Some(Found::Damaged { end, .. }) => at.offset = end,
                Some(Found::Unsealed { .. }) | None => {
                    // All of it was committed, so a segment follows.
                    at = Mark {
                        segment: at.segment + 1,
                        offset: 0,
                    };
                    break;
                }
            }
        }
        self.read = Some(at);
        Ok(())
    }

    fn learn(&mut self, batches: &[String]) {
        for name in batches {
            if let Name::Batch(batch) = Name::parse(name.as_ref()) {
                // A merged one in place of the oldest of those that went into it.
                self.known.insert(batch.first, batch.records);
            }
        }
    }

    /// Whether a `commit` line names it, and no later one names another that begins with its first record.
    pub(super) fn has(&self, batch: &Batch) -> bool {
        self.known.get(&batch.first) == Some(&batch.records)
    }

    pub(super) fn retain(&mut self, batches: &BTreeSet<Ulid>) {
        self.known.retain(|first, _| batches.contains(first));
    }
}
