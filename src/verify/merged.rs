//! Whether a merged batch holds what the ledger says of those that went into it.

use std::collections::BTreeSet;

use ulid::Ulid;

use super::expected::{Expected, Reader};
use crate::disk::Disk;
use crate::error::Error;
use crate::ledger::search::place;
use crate::ledger::{Commits, Found, segment_numbers};
use crate::pure::entry::{Compacted, Entry};
use crate::pure::fold::Mark;
use crate::pure::name::Name;
use crate::waiting::{Trouble, bad};

/// Compares, and returns how many records there are. Batches that had gone into those that were merged count by themselves,
/// so only commits are asked that captured something.
pub(super) fn check(disk: &dyn Disk, compacted: &Compacted, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
    let sources = compacted
        .sources()
        .ok_or_else(|| bad("its ledger line contradicts itself"))?;
    let mut merged = Merged {
        reader,
        found: 0,
        begun: BTreeSet::new(),
    };
    let begin = place(disk, sources[0].first).map_err(|error| unclear(&error))?;
    merged.walk(disk, begin.unwrap_or(Mark { segment: 1, offset: 0 }), compacted.records)?;
    if merged.found != compacted.records || merged.reader.peek()?.is_some() {
        let found = merged.found;
        return Err(bad(format!("the ledger tells of {found} records in it")));
    }
    match sources.iter().find(|source| !merged.begun.contains(&source.first)) {
        None => Ok(merged.found),
        Some(source) => Err(bad(format!("{} went into it and is not there", source.name()))),
    }
}

struct Merged<'a, 'd> {
    reader: &'a mut Reader<'d>,
    found: u64,
    /// The ULIDs by which the batches are named that were found in it.
    begun: BTreeSet<Ulid>,
}

impl Merged<'_, '_> {
    /// Compares commit after commit, until so many records are found.
    fn walk(&mut self, disk: &dyn Disk, begin: Mark, records: u64) -> Result<(), Trouble> {
        let numbers = segment_numbers(disk).map_err(|error| unclear(&error))?;
        for segment in numbers.range(begin.segment..) {
            let start = if *segment == begin.segment { begin.offset } else { 0 };
            let mut commits = Commits::open(disk, *segment, start).map_err(|error| unclear(&error))?;
            while self.found < records
                && let Some(found) = commits.read().map_err(|error| unclear(&error))?
            {
                // What is damaged is a finding of its own.
                if let Found::Sealed { commit, lines, .. } = found {
                    self.commit(&commit.batches, lines)?;
                }
            }
        }
        Ok(())
    }

    fn commit(&mut self, batches: &[String], lines: &[u8]) -> Result<(), Trouble> {
        for name in batches {
            let Name::Batch(batch) = Name::parse(name.as_ref()) else {
                continue;
            };
            // One that was drained before, or was merged itself.
            if self.reader.peek()? != Some(batch.first) {
                continue;
            }
            let lines = lines.split_inclusive(|byte| *byte == b'\n');
            let entries: Result<Vec<_>, _> = lines.map(Entry::parse).collect();
            let entries = entries.map_err(|error| bad(format!("a line of its commit is none: {error}")))?;
            if entries.iter().any(|entry| matches!(entry, Entry::Compacted(_))) {
                continue;
            }
            let found = Expected::of(&name.into(), Name::Batch(batch), &entries).check_part(self.reader)?;
            if found != batch.records {
                return Err(bad(format!("the ledger tells of {found} records in {name}")));
            }
            self.found += found;
            self.begun.insert(batch.first);
        }
        Ok(())
    }
}

fn unclear(error: &Error) -> Trouble {
    Trouble::Unclear(format!("the ledger cannot be read: {error}"))
}
