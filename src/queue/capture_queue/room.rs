//! When a queue takes nothing more, and how room is made in it.

use std::ffi::OsStr;
use std::path::Path;

use super::{CaptureQueue, State};
use crate::error::{Error, ErrorKind};
use crate::home::PENDING;
use crate::limits::FULL_RETRY;
use crate::queue::depth::{OnFull, disk_is_full, list};
use crate::queue::drain::HandlerError;
use crate::queue::prune::Pruned;

impl CaptureQueue {
    /// Counts anew, and tells what was dropped.
    pub(super) fn pruned(&self, state: &mut State, pruned: &Pruned) {
        (state.depth, state.listed_at) = (pruned.depth, self.clock.now());
        if !pruned.files.is_empty() {
            log::warn!(code = "queue.dropped", records = pruned.records;
                "records were dropped from the queue and noted in its audit log");
        }
    }

    pub(super) fn drop_for_disk(&self, state: &mut State, met: bool) -> Result<(), Error> {
        if let Some(pruned) = state.dropper.for_disk(&*self.disk, &*self.clock, met)? {
            self.pruned(state, &pruned);
        }
        Ok(())
    }

    /// Makes sure that so many records may be appended.
    pub(super) fn look_for_room(&self, state: &mut State, records: u64) -> Result<(), Error> {
        match self.options.on_full {
            OnFull::DropOldest => self.drop_for_disk(state, false)?,
            OnFull::Wait => {
                let is_old = self.clock.now() >= state.listed_at + FULL_RETRY;
                if self.limit_reached(state, records).is_some() && is_old {
                    state.depth = list(&*self.disk)?.depth();
                    state.listed_at = self.clock.now();
                }
                if let Some(reason) = self.limit_reached(state, records) {
                    return Err(self.full(reason));
                }
            }
        }
        if self.disk.space().is_ok_and(disk_is_full) {
            return Err(self.full("its disk is full"));
        }
        Ok(())
    }

    /// Why so many records are too many. An empty queue accepts any batch.
    fn limit_reached(&self, state: &State, records: u64) -> Option<String> {
        let (limits, depth) = (self.options.limits, state.depth);
        let too_many = depth.records > 0 && records > limits.room(depth).0;
        let passes =
            || too_many.then(|| format!("{} records are pending, and {records} more are too many", depth.records));
        limits.reached(depth).or_else(passes)
    }

    pub(super) fn full(&self, reason: impl Into<HandlerError>) -> Error {
        Error::new(ErrorKind::QueueFull, "the queue is full:")
            .at(self.disk.show(Path::new(PENDING)))
            .because(reason)
            .hint("nothing was appended; drain it or make room, and try again")
    }

    /// The record is in the queue, so what fails here is told and no error of the append.
    pub(super) fn drop_excess(&self, state: &mut State, keep: &OsStr) {
        let limits = self.options.limits;
        if self.options.on_full != OnFull::DropOldest || !limits.passed(state.depth) {
            return;
        }
        match state.dropper.for_limits(&*self.disk, &*self.clock, limits, Some(keep)) {
            Ok(Some(pruned)) => self.pruned(state, &pruned),
            Ok(None) => {}
            Err(error) => log::warn!(code = "queue.prune_failed"; "the queue is over its limit: {error}"),
        }
    }
}
