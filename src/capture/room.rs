//! Back-pressure: when nothing is taken, and when something is again.

use std::cell::Cell;

use super::{Capture, Full};
use crate::error::Error;
use crate::home::PENDING;
use crate::limits::{BATCH_BYTES, BATCH_RECORDS, COMMIT_LINES_MAX, FULL_RETRY, PRUNE_STEP_RECORDS, RECORD_FILES};
use crate::pure::entry::{Dropped, Entry};
use crate::queue::audit::AUDIT;
use crate::queue::depth::{self, Depth, OnFull};
use crate::queue::outgoing::Layout;
use crate::queue::prune::{prune, prune_step};
use crate::show::count;

impl Capture {
    pub(super) fn set_full(&mut self, reason: String) {
        let retry_at = self.clock.now() + FULL_RETRY;
        if self.full.is_none() {
            log::warn!(code = "queue.full", reason = reason.as_str();
                "the queue is full ({reason}): reading stops, nothing is lost; drain it, or make room");
        }
        self.full = Some(Full { reason, retry_at });
    }

    /// Whether something may be taken now.
    pub(super) fn has_room(&mut self) -> Result<bool, Error> {
        self.alive()?;
        if self.full.is_none() && self.open.is_empty() {
            self.look_for_limits();
        }
        if self.full.is_some() {
            self.find_room()?;
        }
        Ok(self.full.is_none())
    }

    /// Sets or clears `full` by the limits and the disk.
    pub(super) fn look_for_limits(&mut self) {
        if self.why_full().is_some() {
            // Others drain it; only a listing knows. One that fails shows no room.
            let counted = match self.options.on_full {
                OnFull::Wait => depth::list(&*self.disk).map(|listing| listing.depth()),
                OnFull::DropOldest => self.drop_oldest(0),
            };
            match counted {
                Ok(depth) => self.depth = depth,
                Err(error) => log::info!("the queue stays full: {error}"),
            }
        }
        match self.why_full() {
            Some(reason) => self.set_full(reason),
            None => self.full = None,
        }
    }

    fn why_full(&self) -> Option<String> {
        let disk_is_full = || self.disk.space().is_ok_and(depth::disk_is_full);
        let reached = self.options.limits.reached(self.depth);
        reached.or_else(|| disk_is_full().then(|| "the disk is full".into()))
    }

    /// Makes room at the cost of the oldest records; the ledger hears of it with the next commit.
    /// Some go in any case if `least` says so.
    fn drop_oldest(&mut self, least: u64) -> Result<Depth, Error> {
        let (disk, limits) = (&*self.disk, self.options.limits);
        let least = Cell::new(least);
        let excess = |depth: Depth| {
            let disk_is_full = disk.space().is_ok_and(depth::disk_is_full);
            if limits.reached(depth).is_some() || disk_is_full {
                prune_step(depth)
            } else {
                least.take()
            }
        };
        let pruned = prune(disk, &mut self.audit, self.clock.utc(), None, &excess)?;
        if !pruned.files.is_empty() {
            log::warn!(code = "queue.dropped", records = pruned.records;
                "the queue is full: {} dropped, noted in {PENDING}/{AUDIT}", count(pruned.records, "record"));
        }
        let dropped = pruned.files.into_iter().map(|(name, records)| {
            Entry::Dropped(Dropped {
                file: name.to_string_lossy().into_owned(),
                records,
            })
        });
        self.open.entries.extend(dropped);
        Ok(pruned.depth)
    }

    /// Whether a limit of the queue is all that keeps things from being taken.
    pub(super) fn is_full_of_records(&self) -> bool {
        let disk_has_room = !self.disk.space().is_ok_and(depth::disk_is_full);
        self.open.is_empty() && disk_has_room && self.options.limits.reached(self.depth).is_some()
    }

    /// At most once a second: whether there is room again, and a commit of what waits for it.
    pub(super) fn find_room(&mut self) -> Result<(), Error> {
        if self.full.as_ref().is_some_and(|full| self.clock.now() < full.retry_at) {
            return Ok(());
        }
        self.open.close_run();
        if !self.open.is_empty() {
            self.commit_open()?;
        }
        // A write met ENOSPC, whatever the disk says of itself.
        if !self.open.is_empty() && self.options.on_full == OnFull::DropOldest {
            match self.drop_oldest(PRUNE_STEP_RECORDS) {
                Ok(depth) => self.depth = depth,
                Err(error) => log::info!("nothing is dropped: {error}"),
            }
            self.commit_open()?;
        }
        // Open still: there was no room for it.
        if self.open.is_empty() {
            self.look_for_limits();
        }
        if self.full.is_none() {
            log::info!(code = "queue.room"; "there is room again: reading goes on");
        }
        Ok(())
    }

    /// Whether the open batch must be committed before anything is added.
    pub(super) fn batch_is_full(&self) -> bool {
        let (records, bytes) = self.options.limits.room(self.depth);
        let most = match self.options.layout {
            Layout::Batch => BATCH_RECORDS,
            Layout::Record => RECORD_FILES,
        };
        u64::from(self.open.records) >= records.min(most.into())
            || self.open.bytes.len() as u64 >= bytes.min(BATCH_BYTES as u64)
            || self.open.entries.len() + 1 >= COMMIT_LINES_MAX
    }

    /// Makes room in the open batch, if need be by a commit.
    pub(super) fn make_way(&mut self) -> Result<bool, Error> {
        if self.batch_is_full() {
            self.commit()?;
        }
        self.has_room()
    }
}
