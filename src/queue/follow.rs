//! Draining as records come: what is new at once, what failed again later.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::drain::{DrainOptions, DrainReport, Handed, Output, Overseer, drain};
use super::news::{Heard, News};
use super::retry::Retries;
use crate::clock::Clock;
use crate::disk::{Disk, Meta};
use crate::error::Error;
use crate::home::PENDING;
use crate::limits::{FOLLOW_HELD, FOLLOW_INTERVAL, FOLLOW_RELIST, RACY};

/// What a drain that follows is given beside the queue.
pub struct Following<'a> {
    /// Who gets the records.
    pub output: &'a mut dyn Output,
    /// Who decides about batches, and hears of what is handed out.
    pub overseer: &'a mut dyn Overseer,
    /// Tells when to look again, and when to stop.
    pub news: &'a mut dyn News,
    /// Hears of each failure.
    pub tell: &'a mut dyn FnMut(&Error),
}

/// Drains until it is time to stop, the reader is gone, or `records_max` were handed out.
///
/// A batch that fails is tried again after 60, 120, and then always 240 s, and the younger ones go on meanwhile.
/// Returns what all the rounds came to, without the failures that were told. Fails only when the queue cannot be
/// listed.
pub fn follow(
    disk: &dyn Disk,
    clock: &dyn Clock,
    mut options: DrainOptions,
    following: &mut Following<'_>,
) -> Result<DrainReport, Error> {
    let mut rounds = Rounds::default();
    let mut whole = DrainReport::default();
    loop {
        if rounds.is_due(disk, clock.now(), following.news.check_interval()) {
            let report = rounds.drain(disk, clock, options, following)?;
            if options.records_max != u64::MAX {
                options.records_max -= report.records;
            }
            whole.records += report.records;
            whole.stopped = report.stopped;
            whole.broken = report.broken;
        }
        let done = whole.stopped || options.records_max == 0 || rounds.stop;
        if done {
            return Ok(whole);
        }
        match following.news.wait(rounds.pause(clock.now())) {
            Heard::Stop => return Ok(whole),
            heard => rounds.heard = heard == Heard::Batch,
        }
    }
}

/// What one round leaves for the next.
#[derive(Default)]
struct Rounds {
    retries: Retries,
    /// The queue's directory, as it was when it was listed last.
    directory: Option<Meta>,
    /// When it is listed anew although nothing changed.
    again_at: Option<Instant>,
    /// When it is looked at whether it changed.
    check_at: Option<Instant>,
    /// Something came since.
    heard: bool,
    stop: bool,
}

impl Rounds {
    /// Whether a listing could show something to do that the last one did not.
    fn is_due(&mut self, disk: &dyn Disk, now: Instant, check_interval: Duration) -> bool {
        let is_past = |at: Option<Instant>| at.is_none_or(|at| at <= now);
        if self.heard || is_past(self.again_at) || self.retries.next_due().is_some_and(|due| due <= now) {
            return true;
        }
        if !is_past(self.check_at) {
            return false;
        }
        self.check_at = Some(now + check_interval);
        disk.meta(Path::new(PENDING)).ok() != self.directory
    }

    /// How long there is nothing to do, unless something is heard.
    fn pause(&self, now: Instant) -> Duration {
        let timers = [self.again_at, self.check_at, self.retries.next_due()];
        let next = timers.into_iter().flatten().min();
        next.map_or(FOLLOW_INTERVAL, |next| {
            next.saturating_duration_since(now).max(FOLLOW_INTERVAL)
        })
    }

    fn drain(
        &mut self,
        disk: &dyn Disk,
        clock: &dyn Clock,
        options: DrainOptions,
        following: &mut Following<'_>,
    ) -> Result<DrainReport, Error> {
        let (now, utc) = (clock.now(), SystemTime::from(clock.utc()));
        let check_interval = following.news.check_interval();
        self.check_at = Some(now + check_interval);
        self.directory = disk.meta(Path::new(PENDING)).ok();
        let mut patient = Patient {
            overseer: following.overseer,
            retries: &self.retries,
            now,
            news: following.news,
            tell: following.tell,
            stop: false,
            present: BTreeSet::new(),
            tried: BTreeSet::new(),
        };
        let report = drain(disk, options, following.output, &mut patient)?;
        let (present, tried) = (patient.present, patient.tried);
        self.stop = patient.stop;
        let waits = |name: &OsStr| present.contains(name) && !tried.contains(name);
        self.retries
            .retain(|name| waits(name) || report.failed.iter().any(|failed| failed == name));
        for name in &report.failed {
            self.retries.failed(name, clock.now());
        }
        // Times of directories are coarse: what changed just before its listing may change unseen. One from the
        // future says nothing of that.
        let is_old = self
            .directory
            .is_none_or(|meta| meta.modified + RACY <= utc || meta.modified > utc + RACY);
        self.again_at = Some(
            now + match (is_old, report.held) {
                (false, 0) => check_interval,
                (false, 1..) => check_interval.min(FOLLOW_HELD),
                // Whoever holds a batch may die, which changes nothing in the directory.
                (true, 1..) => FOLLOW_HELD,
                (true, 0) => FOLLOW_RELIST,
            },
        );
        Ok(report)
    }
}

/// Leaves out what failed a short while ago, and everything once it is time to stop.
struct Patient<'a> {
    overseer: &'a mut dyn Overseer,
    retries: &'a Retries,
    now: Instant,
    news: &'a mut dyn News,
    tell: &'a mut dyn FnMut(&Error),
    stop: bool,
    /// Of the batches that failed before, those that are still there, and those that are tried again.
    present: BTreeSet<OsString>,
    tried: BTreeSet<OsString>,
}

impl Overseer for Patient<'_> {
    fn wants(&mut self, name: &OsStr) -> bool {
        self.stop = self.stop || self.news.is_over();
        let wanted = !self.stop && self.retries.is_due(name, self.now) && self.overseer.wants(name);
        if self.retries.knows(name) {
            self.present.insert(name.to_owned());
            if wanted {
                self.tried.insert(name.to_owned());
            }
        }
        wanted
    }

    fn failed(&mut self, error: &Error) {
        self.overseer.failed(error);
        (self.tell)(error);
    }

    fn handed(&mut self, handed: Handed<'_>) {
        self.overseer.handed(handed);
    }
}
