//! Compaction: where too many small batches wait unread, neighbours are merged. `docs/durability.md` has the steps.

mod ours;

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ulid::Ulid;

use super::Capture;
use super::committer::{Done, End, lock};
use crate::disk::Disk;
use crate::error::Error;
use crate::home::{PENDING, pending};
use crate::limits::{BATCH_BYTES, COMPACT_EVERY, COMPACT_PAUSES, COMPACT_RETRY};
use crate::pure::entry::Entry;
use crate::pure::merge::MergeBounds;
use crate::pure::name::{Batch, Name, lock_of};
use crate::queue::claim::is_merging;
use crate::queue::depth::{Listing, OnFull, list, room_bytes};
use crate::queue::merge::{self, Merge, NotWritten};
use crate::source::tailer::handles_max;
use ours::Ours;

/// What is to be merged, and when that is looked at.
pub(super) struct Compaction {
    bounds: MergeBounds,
    groups: VecDeque<Group>,
    /// The batches that the ledger names.
    ours: Ours,
    /// Those whose content is not well.
    damaged: BTreeSet<Ulid>,
    /// Nothing is done before.
    due: Instant,
}

/// Neighbours that lie in the queue, and their bytes.
struct Group {
    batches: Vec<Batch>,
    bytes: u64,
}

/// What a step came to.
enum Step {
    /// There is more to do.
    Done,
    /// There was nothing to do, or it cannot be done now.
    Vain,
}

impl Compaction {
    pub(super) fn new(now: Instant, on_full: OnFull) -> Self {
        let bounds = MergeBounds::default();
        Self {
            bounds: MergeBounds {
                // Each takes two handles.
                batches_max: bounds.batches_max.min(handles_max() / 4).max(2),
                bytes_max: match on_full {
                    OnFull::Wait => bounds.bytes_max,
                    // Whole files are dropped, so these stay as small as any.
                    OnFull::DropOldest => BATCH_BYTES as u64,
                },
                ..bounds
            },
            groups: VecDeque::new(),
            ours: Ours::default(),
            damaged: BTreeSet::new(),
            due: now,
        }
    }
}

impl Capture {
    /// For tests: other bounds of what is merged, and it is looked at at once.
    pub fn merge_bounds(&mut self, bounds: MergeBounds) {
        self.compaction.bounds = bounds;
        self.compaction.due = self.clock.now();
    }

    /// When there is something to do about batches that wait, if there is.
    pub(super) fn compaction_due(&self) -> Option<Instant> {
        let is_wanted = !self.compaction.groups.is_empty() || self.depth.batches > self.compaction.bounds.from_batches;
        is_wanted.then_some(self.compaction.due)
    }

    /// One step, if it is time: a group is merged, or looked for. `more`: a source has more at once, which should not wait.
    pub(super) fn compact(&mut self, more: bool) -> Result<(), Error> {
        if self.compaction_due().is_none_or(|due| self.clock.now() < due) {
            return Ok(());
        }
        self.finish()?;
        if self.full.is_some() {
            return Ok(());
        }
        let begun = self.clock.now();
        let group = self.compaction.groups.pop_front();
        let is_look = group.is_none();
        let step = match group {
            Some(group) => self.merge(&group)?,
            None => self.look_for_groups(),
        };
        let now = self.clock.now();
        let pause = (now - begun) * COMPACT_PAUSES[usize::from(more)];
        let least = match step {
            Step::Done if !is_look && self.compaction.groups.is_empty() => COMPACT_EVERY,
            Step::Done => Duration::ZERO,
            Step::Vain => {
                self.compaction.groups.clear();
                COMPACT_RETRY
            }
        };
        self.compaction.due = now + pause.max(least);
        Ok(())
    }

    /// Reads a piece of the ledger; when all of it is known, lists the queue and chooses.
    fn look_for_groups(&mut self) -> Step {
        match self.choose() {
            Ok(step) => step,
            Err(error) => {
                log::info!("nothing is merged: {error}");
                Step::Vain
            }
        }
    }

    fn choose(&mut self) -> Result<Step, Error> {
        let mark = self.fold.mark;
        if self.compaction.ours.is_begun() && !self.compaction.ours.is_read(mark) {
            self.compaction.ours.read(&*self.disk, mark)?;
            return Ok(Step::Done);
        }
        let listing = list(&*self.disk)?;
        self.depth = listing.depth();
        if !self.compaction.ours.is_begun() {
            let oldest = listing.files.values().find_map(|(kind, _)| match kind {
                Name::Batch(batch) => Some(batch.first),
                _ => None,
            });
            let Some(oldest) = oldest else { return Ok(Step::Vain) };
            self.compaction.ours.begin(&*self.disk, oldest)?;
            return Ok(Step::Done);
        }
        if let Some(compacted) = &self.fold.compacted {
            let failed = |cause| {
                Error::io(
                    "cannot remove what was merged in",
                    self.disk.show(Path::new(PENDING)),
                    cause,
                )
            };
            if !merge::finish(&*self.disk, compacted).map_err(failed)? {
                return Ok(Step::Vain);
            }
        }
        let files = listing.files.values().map(|(kind, _)| *kind);
        self.compaction.forget_all_but(files);
        self.compaction.groups = self.compaction.groups_of(&*self.disk, &listing)?;
        Ok(if self.compaction.groups.is_empty() {
            Step::Vain
        } else {
            Step::Done
        })
    }

    fn merge(&mut self, group: &Group) -> Result<Step, Error> {
        let disk = Arc::clone(&self.disk);
        let room = disk.space().map_or(u64::MAX, room_bytes);
        if room / 2 < group.bytes {
            return Ok(Step::Vain);
        }
        let merge = match Merge::claim(&*disk, &group.batches) {
            Ok(Some(merge)) => merge,
            Ok(None) => return Ok(Step::Done),
            Err(error) => {
                log::info!("nothing is merged: {error}");
                return Ok(Step::Vain);
            }
        };
        let Some(entry) = merge.entry() else {
            return Ok(Step::Vain);
        };
        let target = entry.target.clone();
        let file = match merge.write() {
            Ok(file) => file,
            Err(why) => {
                merge.give_up();
                return self.not_written(&target, why);
            }
        };
        let (sources, entries) = (entry.sources.len() as u64, [Entry::Compacted(entry)]);
        let at = self.clock.utc();
        let ended = lock(&self.committer).commit_with(Some(file), &entries, at);
        match ended {
            Ok(End::Done(done)) => {
                self.merged(&done, &entries[0])?;
                let removed = merge.remove();
                removed.map_err(|cause| self.latch("cannot remove what was merged into", Some(&target), cause))?;
                let synced = disk.sync_dir(Path::new(PENDING));
                synced.map_err(|cause| self.latch("cannot sync the queue after merging", Some(&target), cause))?;
                self.depth.batches = self.depth.batches.saturating_sub(sources - 1);
                log::info!("{sources} batches merged into {target}");
                self.snapshot_if_due();
                Ok(Step::Done)
            }
            Ok(End::NoRoom(cause)) => {
                merge.give_up();
                self.not_written(&target, NotWritten::NoRoom(cause))
            }
            Err(error) => {
                self.latched = true;
                Err(error)
            }
        }
    }

    fn merged(&mut self, done: &Done, entry: &Entry) -> Result<(), Error> {
        if let Err(what) = self.fold.apply(entry) {
            return Err(self.latch("the cursors contradict the ledger", None, what));
        }
        self.fold.seal(&done.commit, done.mark);
        self.snapshot.ledger_bytes += done.ledger_bytes;
        Ok(())
    }

    fn not_written(&mut self, target: &str, why: NotWritten) -> Result<Step, Error> {
        let cause = match why {
            NotWritten::Damaged(batch) => {
                log::info!("{} is not merged: its content is not well", batch.name());
                self.compaction.damaged.insert(batch.first);
                return Ok(Step::Done);
            }
            NotWritten::Final(cause) => return Err(self.latch("cannot write the merged", Some(target), cause)),
            NotWritten::Unreadable(cause) | NotWritten::NotBegun(cause) | NotWritten::NoRoom(cause) => cause,
        };
        log::info!("nothing is merged into {target}: {cause}");
        Ok(Step::Vain)
    }
}

impl Compaction {
    fn forget_all_but(&mut self, files: impl Iterator<Item = Name>) {
        let batches = files.filter_map(|kind| match kind {
            Name::Batch(batch) => Some(batch.first),
            _ => None,
        });
        let batches: BTreeSet<_> = batches.collect();
        self.ours.retain(&batches);
        self.damaged.retain(|first| batches.contains(first));
    }

    fn groups_of(&self, disk: &dyn Disk, listing: &Listing) -> Result<VecDeque<Group>, Error> {
        let directory = Path::new(PENDING);
        let names = disk.list(directory);
        let names = names.map_err(|cause| Error::io("cannot list the queue", disk.show(directory), cause))?;
        let locks: BTreeSet<OsString> = names
            .into_iter()
            .filter(|name| Name::parse(name) == Name::Lock)
            .collect();
        // A drain left behind how far it came; the mark of a merger that died says nothing.
        let is_begun = |batch: &Batch| {
            let (name, lock) = (batch.name(), lock_of(batch.name().as_ref()));
            locks.contains(&lock)
                && disk.meta(&pending(lock)).is_ok_and(|meta| meta.size > 0)
                && !is_merging(disk, name.as_ref())
        };
        let files = listing.files.values().map(|(kind, meta)| match kind {
            Name::Batch(batch) if self.ours.has(batch) && !self.damaged.contains(&batch.first) && !is_begun(batch) => {
                Some((*batch, meta.size))
            }
            _ => None,
        });
        let files: Vec<_> = files.collect();
        let sizes: Vec<_> = files.iter().map(|file| file.map(|(_, bytes)| bytes)).collect();
        let groups = self.bounds.groups(&sizes).into_iter().map(|range| Group {
            bytes: sizes[range.clone()].iter().flatten().sum(),
            batches: files[range].iter().flatten().map(|(batch, _)| *batch).collect(),
        });
        Ok(groups.collect())
    }
}
