//! Back-pressure: when nothing is taken, and when something is again.

use super::{Capture, Full};
use crate::error::Error;
use crate::home::PENDING;
use crate::limits::{BATCH_BYTES, BATCH_LINES_MAX, FULL_RETRY};
use crate::pure::entry::Entry;
use crate::queue::audit::AUDIT;
use crate::queue::depth::{self, OnFull};
use crate::queue::prune::Pruned;
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
        match self.options.on_full {
            OnFull::DropOldest => {
                self.drop_excess();
                self.drop_for_disk(false);
            }
            OnFull::Wait if self.options.limits.reached(self.depth).is_some() => {
                self.recount();
            }
            OnFull::Wait => {}
        }
        let space = self.disk.space().ok();
        // Half of the room, since the ledger takes some too; a batch for which there is none would wait for ever.
        self.batch_room_bytes = space.map_or(u64::MAX, |space| depth::room_bytes(space) / 2);
        let disk_is_full = || space.is_some_and(depth::disk_is_full);
        let why_full = self
            .limit_reached()
            .or_else(|| disk_is_full().then(|| "the disk is full".into()));
        match why_full {
            Some(reason) => self.set_full(reason),
            None => self.full = None,
        }
    }

    /// Why a limit keeps things from being taken.
    fn limit_reached(&self) -> Option<String> {
        match self.options.on_full {
            OnFull::Wait => self.options.limits.reached(self.depth),
            OnFull::DropOldest => self.stuck.then(|| {
                let records = count(self.depth.records, "record");
                format!("{records} are pending that cannot be dropped")
            }),
        }
    }

    /// Where the oldest are dropped: makes room for what is above the limits.
    pub(super) fn drop_excess(&mut self) {
        let limits = self.options.limits;
        // Until a try says otherwise: what cannot be dropped now may not grow either.
        self.stuck = self.options.on_full == OnFull::DropOldest && limits.passed(self.depth);
        if self.stuck {
            let dropped = self.dropper.for_limits(&*self.disk, &*self.clock, limits, None);
            self.dropped(dropped);
        }
    }

    fn drop_for_disk(&mut self, met: bool) {
        let dropped = self.dropper.for_disk(&*self.disk, &*self.clock, met);
        self.dropped(dropped);
    }

    /// Counts anew; the ledger hears with the next commit of what went.
    fn dropped(&mut self, dropped: Result<Option<Pruned>, Error>) {
        let pruned = match dropped {
            Ok(Some(pruned)) => pruned,
            Ok(None) => return,
            Err(error) => return log::info!("nothing is dropped: {error}"),
        };
        self.depth = pruned.depth;
        // The newest file alone may be above any limit; what readers hold may not stay there beside it.
        let limits = self.options.limits;
        let beside_newest = pruned.depth.without(pruned.newest);
        self.stuck = limits.passed(beside_newest) || (self.dropper.cannot_note() && limits.passed(pruned.depth));
        if let Some(dropped) = pruned.entry() {
            log::warn!(code = "queue.dropped", records = pruned.records;
                "the queue is full: {} dropped, noted in {PENDING}/{AUDIT}", count(pruned.records, "record"));
            self.open.close_run();
            self.open.entries.push(Entry::Dropped(dropped));
        }
    }

    /// Whether a limit of the queue is all that keeps things from being taken.
    pub(super) fn is_full_of_records(&self) -> bool {
        let disk_has_room = !self.disk.space().is_ok_and(depth::disk_is_full);
        self.open.is_empty() && disk_has_room && self.limit_reached().is_some()
    }

    /// At most once a second: whether there is room again, and a commit of what waits for it.
    pub(super) fn find_room(&mut self) -> Result<(), Error> {
        self.finish()?;
        if self.full.as_ref().is_some_and(|full| self.clock.now() < full.retry_at) {
            return Ok(());
        }
        self.open.close_run();
        if !self.open.is_empty() {
            self.commit_open()?;
        }
        // A write met ENOSPC, whatever the disk says of itself.
        if !self.open.is_empty() && self.options.on_full == OnFull::DropOldest {
            self.drop_for_disk(true);
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
        let (records, bytes) = match self.options.on_full {
            OnFull::Wait => self.options.limits.room(self.depth),
            OnFull::DropOldest => self.options.limits.room_dropping(self.depth),
        };
        let bytes = bytes.min(BATCH_BYTES as u64).min(self.batch_room_bytes);
        u64::from(self.open.records) >= records.min(self.batch_records.into())
            || (self.open.text.bytes() + self.encoder.surplus_bytes()) as u64 >= bytes.max(1)
            || self.open.entries.len() + 1 >= BATCH_LINES_MAX
    }

    /// Makes room in the open batch, if need be by a commit.
    pub(super) fn make_way(&mut self) -> Result<bool, Error> {
        if self.batch_is_full() {
            self.pass_on()?;
        }
        self.has_room()
    }
}
