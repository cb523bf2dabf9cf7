//! Back-pressure: when nothing is taken, and when something is again.

use super::{Capture, Full};
use crate::error::Error;
use crate::limits::{BATCH_BYTES, BATCH_RECORDS, COMMIT_LINES_MAX, FULL_RETRY};
use crate::queue::depth;

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
        let mut reason = self.options.limits.reached(self.depth);
        if reason.is_some() {
            // Others drain it; only a listing knows. One that fails shows no room.
            match depth::list(&*self.disk) {
                Ok(listing) => {
                    self.depth = listing.depth();
                    reason = self.options.limits.reached(self.depth);
                }
                Err(error) => log::info!("the queue stays full: {error}"),
            }
        }
        let space = self.disk.space();
        if reason.is_none() && space.is_ok_and(depth::disk_is_full) {
            reason = Some("the disk is full".into());
        }
        match reason {
            Some(reason) => self.set_full(reason),
            None => self.full = None,
        }
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
        u64::from(self.open.records) >= records.min(BATCH_RECORDS.into())
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
