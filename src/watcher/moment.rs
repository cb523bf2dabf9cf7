//! What a run tells while it goes on, and when.

use std::time::Instant;

use super::consumer::Consumer;
use crate::capture::Tally;
use crate::limits::{PROGRESS_EVERY, TOLD_EVERY};
use crate::source::{Overview, PollReport, Source};

/// What a run tells while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// The first look at the roots is done.
    Begun(&'a Overview),
    /// More was captured of what was found at first; at most every 100 ms.
    Progress(&'a Overview, &'a Tally),
    /// Everything that was found is captured, for the first time. Not told with `once`: the end says it.
    CaughtUp(&'a Overview, &'a Tally),
    /// More was captured since the last word; at most once a minute, after [`Moment::CaughtUp`].
    Minute(&'a Overview, &'a Tally),
}

/// What was told.
#[derive(Default)]
pub(super) struct Told {
    /// When the last word was; None before the first.
    at: Option<Instant>,
    caught_up: bool,
    /// The records that it spoke of.
    lines: u64,
}

impl Told {
    /// Tells what is due.
    pub(super) fn tell(
        &mut self,
        source: &dyn Source,
        consumer: &dyn Consumer,
        report: PollReport,
        once: bool,
        tell: &mut dyn FnMut(Moment<'_>),
    ) {
        let (now, tally) = (consumer.now(), consumer.tally());
        if self.at.is_none() {
            self.at = Some(now);
            tell(Moment::Begun(&source.overview()));
        }
        // What was taken last may wait for its commit still.
        let catches_up = !once && !self.caught_up && report.passes > 0 && consumer.deadline().is_none();
        if !catches_up && self.due(tally).is_none_or(|due| now < due) {
            return;
        }
        let mut overview = source.overview();
        // Taken is not captured yet.
        overview.backlog_bytes += consumer.uncommitted_bytes();
        if catches_up {
            self.caught_up = true;
            tell(Moment::CaughtUp(&overview, tally));
        } else if self.caught_up {
            tell(Moment::Minute(&overview, tally));
        } else {
            tell(Moment::Progress(&overview, tally));
        }
        (self.at, self.lines) = (Some(now), tally.lines);
    }

    /// When the next word is due, though nothing else may happen until then.
    pub(super) fn deadline(&self, consumer: &dyn Consumer) -> Option<Instant> {
        // A backlog is worked on without a pause, and where it cannot be, there is no progress to be told of.
        self.due(consumer.tally()).filter(|_| self.caught_up)
    }

    fn due(&self, tally: &Tally) -> Option<Instant> {
        let every = if self.caught_up { TOLD_EVERY } else { PROGRESS_EVERY };
        self.at.filter(|_| tally.lines > self.lines).map(|at| at + every)
    }
}
