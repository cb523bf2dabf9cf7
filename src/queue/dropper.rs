//! When a queue drops its oldest records, and how much: the policy above [`prune`].

use std::cell::Cell;
use std::ffi::OsStr;
use std::time::Instant;

use super::audit::Audit;
use super::depth::{Depth, QueueLimits, disk_is_full};
use super::prune::{Pruned, prune};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::{DROPS_IN_VAIN_MAX, FULL_RETRY, PRUNE_STEP_RECORDS};

/// Drops for one writer of a queue.
#[derive(Debug, Default)]
pub struct Dropper {
    audit: Audit,
    tried: Option<Tried>,
    /// Nothing is tried before, since the last note could not be written.
    pause_until: Option<Instant>,
}

/// The last try to make room on the disk.
#[derive(Debug, Clone, Copy)]
struct Tried {
    at: Instant,
    /// Bytes that were free before.
    free: u64,
    /// Whether the disk itself said that it was full, and not only a write.
    was_full: bool,
    /// How many tries there were since there was room.
    steps: u32,
}

/// How many records make room at a time: about 100, and a hundredth of what is pending where that is more, so that
/// listing it costs little a record.
fn step(depth: Depth) -> u64 {
    PRUNE_STEP_RECORDS.max(depth.records / 100)
}

impl Dropper {
    /// Drops until `excess` says that it is enough.
    pub fn drop_oldest(
        &mut self,
        disk: &dyn Disk,
        clock: &dyn Clock,
        keep: Option<&OsStr>,
        excess: &dyn Fn(Depth) -> u64,
    ) -> Result<Pruned, Error> {
        let pruned = prune(disk, &mut self.audit, clock.utc(), keep, excess)?;
        self.pause_until = self.audit.fails.then(|| clock.now() + FULL_RETRY);
        Ok(pruned)
    }

    /// Whether there was something to drop that could not be noted.
    pub fn cannot_note(&self) -> bool {
        self.audit.fails
    }

    /// Drops what is above the limits, and a step more. None for a second after the audit log could not be written.
    pub fn for_limits(
        &mut self,
        disk: &dyn Disk,
        clock: &dyn Clock,
        limits: QueueLimits,
        keep: Option<&OsStr>,
    ) -> Result<Option<Pruned>, Error> {
        if self.pause_until.is_some_and(|until| clock.now() < until) {
            return Ok(None);
        }
        let excess = |depth| if limits.passed(depth) { step(depth) } else { 0 };
        self.drop_oldest(disk, clock, keep, &excess).map(Some)
    }

    /// Drops one step, since the disk is full or, if `met`, a write said so. At most once a second, and only as long
    /// as it helps: if others fill the disk, or it frees nothing, the rest is kept.
    pub fn for_disk(&mut self, disk: &dyn Disk, clock: &dyn Clock, met: bool) -> Result<Option<Pruned>, Error> {
        let space = disk.space();
        let (free, is_full) = space.map_or((0, false), |space| (space.free, disk_is_full(space)));
        if !is_full && !met {
            // A quota is seen only by those who write.
            self.tried = self.tried.filter(|tried| !tried.was_full);
            return Ok(None);
        }
        let at = clock.now();
        let steps = match self.tried {
            None => 1,
            Some(tried) if at < tried.at + FULL_RETRY => return Ok(None),
            Some(tried) if is_full && free <= tried.free => return Ok(None),
            Some(tried) if tried.steps >= DROPS_IN_VAIN_MAX => return Ok(None),
            Some(tried) => tried.steps + 1,
        };
        self.tried = Some(Tried {
            at,
            free,
            was_full: is_full,
            steps,
        });
        let once = Cell::new(true);
        let excess = |depth| if once.take() { step(depth) } else { 0 };
        self.drop_oldest(disk, clock, None, &excess).map(Some)
    }

    /// A write succeeded: what failed writes made necessary is over.
    pub fn written(&mut self) {
        self.tried = self.tried.filter(|tried| tried.was_full);
    }
}
