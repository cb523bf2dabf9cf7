//! What the engine needs of whatever takes the lines.

use std::time::Instant;

use crate::capture::{Capture, Tally};
use crate::error::Error;
use crate::source::EventSink;

/// A sink that the engine drives.
///
/// Between two polls the engine calls [`Consumer::tick`], and again when [`Consumer::deadline`] has come, however quiet
/// the source is. Dropping it without [`Consumer::stop`] is what a crash is.
pub(crate) trait Consumer: EventSink {
    /// The time, by the clock that its deadlines go by.
    fn now(&self) -> Instant;

    /// Does what is due. `more`: the source has more at once.
    fn tick(&mut self, more: bool) -> Result<(), Error>;

    /// When a tick has something to do; None when everything that was taken is safe.
    fn deadline(&self) -> Option<Instant>;

    /// Why nothing is taken now; None when something is.
    fn queue_full(&self) -> Option<&str>;

    /// Whether a run that is to end by itself ends when something is refused, rather than wait for room.
    fn refusal_ends(&self) -> bool;

    /// Bytes of lines that were taken and are not committed.
    fn uncommitted_bytes(&self) -> u64;

    /// What was captured.
    fn tally(&self) -> &Tally;

    /// Commits what was taken.
    fn commit(&mut self) -> Result<(), Error>;

    /// Commits and ends.
    fn stop(self) -> Result<Tally, Error>
    where
        Self: Sized;
}

impl Consumer for Capture {
    fn now(&self) -> Instant {
        self.clock().now()
    }

    fn tick(&mut self, more: bool) -> Result<(), Error> {
        self.tick(more)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    fn queue_full(&self) -> Option<&str> {
        self.queue_full()
    }

    fn refusal_ends(&self) -> bool {
        true
    }

    fn uncommitted_bytes(&self) -> u64 {
        self.uncommitted_bytes()
    }

    fn tally(&self) -> &Tally {
        self.captured()
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.commit()
    }

    fn stop(self) -> Result<Tally, Error> {
        self.stop()
    }
}
