//! When a commit is due.

use std::time::Instant;

use super::Capture;
use crate::error::Error;
use crate::queue::depth;
use crate::source::tailer::hot_interval;

impl Capture {
    /// When [`Capture::tick`] has something to do, if the source has nothing more at once.
    pub fn deadline(&self) -> Option<Instant> {
        if let Some(full) = &self.full {
            return Some(full.retry_at);
        }
        let commit = (!self.open.is_empty()).then(|| self.commit_due(self.depth.batches, false));
        commit.into_iter().chain(self.compaction_due()).min()
    }

    /// Commits if that is due, and looks for room if there was none. `more`: the source has more at once, which may
    /// join what is open.
    pub fn tick(&mut self, more: bool) -> Result<(), Error> {
        self.alive()?;
        if !more {
            self.finish()?;
        }
        if self.full.is_some() {
            self.find_room()?;
        }
        if self.full.is_none() && !self.open.is_empty() && self.is_due(more) {
            self.commit()?;
        }
        if self.full.is_none() {
            self.compact(more)?;
        }
        if !more && self.open.is_empty() {
            self.open.give_room_back();
            self.spare.give_room_back();
            self.encoder.rest();
            self.disk.rest();
        }
        Ok(())
    }

    /// Whether a commit is due. Counts the queue anew if it would be due were everything read.
    fn is_due(&mut self, more: bool) -> bool {
        let now = self.clock.now();
        if now < self.commit_due(self.depth.batches, more) && now >= self.commit_due(0, more) && now >= self.recount_at
        {
            self.recount();
        }
        self.clock.now() >= self.commit_due(self.depth.batches, more)
    }

    /// When the next commit is due; at once when there was none.
    fn commit_due(&self, unread_files: u64, more: bool) -> Instant {
        let interval = self.options.commit_pace.interval(unread_files, more);
        self.last_commit.map_or(self.opened, |last| last + interval)
    }

    /// Others drain the queue; only a listing knows what is left. One that fails shows nothing new.
    pub(super) fn recount(&mut self) {
        let before = self.clock.now();
        match depth::list(&*self.disk) {
            Ok(listing) => self.depth = listing.depth(),
            Err(error) => log::info!("the queue counts as unread as before: {error}"),
        }
        let now = self.clock.now();
        // At most 5 % of the time.
        self.recount_at = now + hot_interval(now - before);
    }
}
