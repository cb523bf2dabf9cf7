//! When a queue takes nothing more, and how room is made in it.

use std::ffi::OsStr;
use std::path::Path;

use super::{CaptureQueue, State};
use crate::error::{Error, ErrorKind};
use crate::home::PENDING;
use crate::limits::FULL_RETRY;
use crate::queue::depth::{Depth, OnFull, disk_is_full, list};
use crate::queue::drain::HandlerError;
use crate::queue::prune::{Pruned, prune, prune_step};

impl CaptureQueue {
    pub(super) fn prune(
        &self,
        state: &mut State,
        keep: Option<&OsStr>,
        excess: &dyn Fn(Depth) -> u64,
    ) -> Result<Pruned, Error> {
        let pruned = prune(&*self.disk, &mut state.audit, self.clock.utc(), keep, excess)?;
        (state.depth, state.listed_at) = (pruned.depth, self.clock.now());
        if !pruned.files.is_empty() {
            log::warn!(code = "queue.dropped", records = pruned.records;
                "records were dropped from the queue and noted in its audit log");
        }
        Ok(pruned)
    }

    /// Makes sure that something may be appended.
    pub(super) fn look_for_room(&self, state: &mut State) -> Result<(), Error> {
        match self.options.on_full {
            OnFull::Wait => {
                let is_old = self.clock.now() >= state.listed_at + FULL_RETRY;
                if self.options.limits.reached(state.depth).is_some() && is_old {
                    state.depth = list(&*self.disk)?.depth();
                    state.listed_at = self.clock.now();
                }
                if let Some(reason) = self.options.limits.reached(state.depth) {
                    return Err(self.full(reason));
                }
            }
            OnFull::DropOldest if self.disk_is_full() => {
                let excess = |depth| if self.disk_is_full() { prune_step(depth) } else { 0 };
                self.prune(state, None, &excess)?;
            }
            OnFull::DropOldest => {}
        }
        if self.disk_is_full() {
            return Err(self.full("its disk is full"));
        }
        Ok(())
    }

    fn disk_is_full(&self) -> bool {
        self.disk.space().is_ok_and(disk_is_full)
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
        let is_over = |depth: Depth| {
            let over = |limit: Option<u64>, value| limit.is_some_and(|limit| value > limit);
            over(limits.records_max, depth.records) || over(limits.bytes_max, depth.bytes)
        };
        if self.options.on_full != OnFull::DropOldest || !is_over(state.depth) {
            return;
        }
        let excess = |depth| if is_over(depth) { prune_step(depth) } else { 0 };
        if let Err(error) = self.prune(state, Some(keep), &excess) {
            log::warn!(code = "queue.prune_failed"; "the queue is over its limit: {error}");
        }
    }
}
