//! The polling source: a walk of the tree at each interval, and more frequent looks at hot files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tailer::{SourceOptions, Tailer, hot_interval};
use super::tree::Tree;
use super::{Budget, EventSink, Overview, PollReport, Source, Wake};
use crate::clock::Clock;
use crate::error::Error;
use crate::limits::{HOT_INTERVAL, SWEEP_COST};
use crate::pure::fold::Fold;
use crate::wake::{StopSignal, Woken};

/// Looks everywhere, every `interval`, or less often where that takes more than a fifth of the time; at files that
/// changed in the last minute, every 100 ms. With `once`, when nothing is left to do, it looks everywhere again 100 ms after
/// the last walk, for what could not be looked at.
///
/// Dropping it closes its handles. It starts no thread.
pub struct PollingSource {
    tailer: Tailer,
    clock: Arc<dyn Clock>,
    interval: Duration,
    next_sweep: Instant,
    next_hot: Instant,
    /// With `once`: when everything is looked at, if nothing is left to do by then.
    next_try: Option<Instant>,
    refused: bool,
}

impl PollingSource {
    /// Goes on from what was committed.
    ///
    /// Fails as [`crate::error::ErrorKind::Usage`] when a pattern is none.
    pub fn new(options: SourceOptions, tree: Box<dyn Tree>, clock: Arc<dyn Clock>, fold: &Fold) -> Result<Self, Error> {
        let (interval, once) = (options.interval, options.once);
        let now = clock.now();
        Ok(Self {
            tailer: Tailer::new(options, tree, Arc::clone(&clock), fold)?,
            clock,
            interval,
            next_sweep: now,
            next_hot: now,
            next_try: once.then_some(now),
            refused: false,
        })
    }

    fn look(&mut self) {
        let before = self.clock.now();
        if before >= self.next_sweep {
            self.tailer.sweep(&mut ());
            let now = self.clock.now();
            let pause = (now - before) * SWEEP_COST;
            self.next_sweep = now + self.interval.max(pause);
            self.next_try = self.next_try.map(|_| now + HOT_INTERVAL.max(pause));
            // As long after the last look at them as that must be: a walk takes nothing off it. Between two walks, if it may.
            self.next_hot = self.next_hot.max(now + HOT_INTERVAL.min(self.interval / 2));
        } else if before >= self.next_hot && self.tailer.has_hot() {
            self.tailer.look_at_hot(&|_| true);
            let now = self.clock.now();
            self.next_hot = now + hot_interval(now - before);
        }
    }
}

impl Source for PollingSource {
    fn poll(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        // What was refused is offered again before anything new is looked for.
        if !self.refused {
            self.look();
        }
        let report = self.tailer.work(budget, sink)?;
        self.refused = report.refused;
        if let Some(next_try) = self.next_try.filter(|_| !report.more) {
            self.next_sweep = next_try;
        }
        Ok(report)
    }

    fn look_now(&mut self) {
        self.next_sweep = self.clock.now();
    }

    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        self.tailer.finish(sink)
    }

    fn wait(&mut self, deadline: Instant, stop: &StopSignal) -> Wake {
        // While the sink refuses, nothing is looked for: only the deadline can change anything.
        let mut until = if self.refused {
            deadline
        } else {
            deadline.min(self.next_sweep)
        };
        if !self.refused && self.tailer.has_hot() {
            until = until.min(self.next_hot);
        }
        match stop.wait(&[], Some(until.saturating_duration_since(Instant::now()))) {
            Woken::Stopped => Wake::Stop,
            Woken::TimedOut if until == deadline => Wake::Deadline,
            Woken::TimedOut | Woken::Ready(_) => Wake::Look,
        }
    }

    fn overview(&self) -> Overview {
        self.tailer.overview()
    }
}
