//! The source that is told where something changed: quiet while nothing does, and there at once when something does.

#[cfg(target_os = "linux")]
mod linux;
mod notifier;
mod unwatched;
mod watches;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use notifier::{Interest, Notifier, Told, WatchId, What};
use unwatched::Unwatched;
use watches::{News, Watches};

use super::tailer::{SourceOptions, Tailer, hot_interval};
use super::tree::Tree;
use super::{Budget, EventSink, Noticing, Overview, PollReport, Source, Wake};
use crate::clock::Clock;
use crate::error::Error;
use crate::limits::{HOT_INTERVAL, SWEEP_COST};
use crate::pure::fold::Fold;
use crate::wake::{Awaited, StopSignal, Woken};

/// Looks where it is told to, and everywhere every `sweep_interval`, since nothing that is told, or not, is believed.
///
/// Directories of which nothing is told are polled as [`super::polling::PollingSource`] does it. Dropping it ends all
/// watches. It starts no thread.
#[allow(clippy::struct_excessive_bools, reason = "each is true by itself")]
pub struct NotifySource {
    tailer: Tailer,
    watches: Watches,
    news: News,
    clock: Arc<dyn Clock>,
    interval: Duration,
    sweep_interval: Duration,
    due: Due,
    /// There is a root of which nobody tells when it comes or goes.
    root_untold: bool,
    /// The last poll looked, and left something to do.
    has_rest: bool,
    refused: bool,
}

/// When something is to be looked at though nothing was told of it.
struct Due {
    /// Everything.
    sweep: Instant,
    /// Everything, if that is wanted earlier: after the loss of hints.
    sweep_earliest: Instant,
    sweep_wanted: bool,
    /// What is polled.
    polled: Instant,
    /// What changed lately and is polled.
    hot: Instant,
    /// What changed lately, what is followed on, what could not be looked at, and roots of which nobody tells.
    again: Instant,
    /// Until it is due once more: it doubles as long as there is nothing of it that changed lately.
    again_interval: Duration,
}

/// What this system has to tell of changes.
///
/// Fails with EMFILE when this user has as many of it as may be, and as unsupported where there is none.
pub fn notifier() -> io::Result<Box<dyn Notifier>> {
    #[cfg(target_os = "linux")]
    return Ok(Box::new(linux::LinuxNotifier::new()?));
    #[cfg(not(target_os = "linux"))]
    Err(io::ErrorKind::Unsupported.into())
}

impl NotifySource {
    /// Goes on from what was committed. What cannot be watched is polled, or `is_left_to_sweeps`.
    ///
    /// Fails as [`crate::error::ErrorKind::Usage`] when a pattern is none.
    pub fn new(
        options: SourceOptions,
        tree: Box<dyn Tree>,
        clock: Arc<dyn Clock>,
        fold: &Fold,
        notifier: Box<dyn Notifier>,
        is_left_to_sweeps: bool,
    ) -> Result<Self, Error> {
        let (interval, sweep_interval) = (options.interval, options.sweep_interval);
        let now = clock.now();
        Ok(Self {
            tailer: Tailer::new(options, tree, Arc::clone(&clock), fold)?,
            watches: Watches::new(notifier, Unwatched::new(is_left_to_sweeps)),
            news: News::default(),
            clock,
            interval,
            sweep_interval,
            due: Due {
                sweep: now,
                sweep_earliest: now,
                sweep_wanted: false,
                polled: now,
                hot: now,
                again: now + interval,
                again_interval: interval,
            },
            root_untold: false,
            has_rest: false,
            refused: false,
        })
    }

    fn look(&mut self) {
        self.watches.read(&mut self.news);
        let now = self.clock.now();
        let told = !self.news.hints.is_empty();
        let is_again = now >= self.due.again;
        let is_polled = self.watches.unwatched().is_polled() && now >= self.due.polled;
        self.ask_for_sweep(is_again, is_polled);
        if now >= self.due.sweep || (self.due.sweep_wanted && now >= self.due.sweep_earliest) {
            return self.sweep(now);
        }
        if is_polled {
            self.watches.unwatched().places(&mut self.news.hints);
        }
        let hints = std::mem::take(&mut self.news.hints);
        if !hints.is_empty() && !self.tailer.look_near(&hints, &mut self.watches) {
            self.due.sweep_wanted = true;
            if now >= self.due.sweep_earliest {
                return self.sweep(now);
            }
        }
        // Inodes come before handles here too: what moved goes on at its new path.
        if is_again {
            self.tailer.look_again();
        }
        if is_polled {
            self.due.polled = self.clock.now() + self.interval;
        }
        if self.watches.unwatched().is_polled() && now >= self.due.hot {
            self.look_at_hot_polled();
        }
        self.set_again(now, is_again, told);
    }

    /// Whether only a sweep can tell what is there, by what was told and what is due.
    fn ask_for_sweep(&mut self, is_again: bool, is_polled: bool) {
        let mut asks_roots = std::mem::take(&mut self.news.roots) || (is_again && self.root_untold);
        self.due.sweep_wanted |= std::mem::take(&mut self.news.unwatched);
        if std::mem::take(&mut self.news.lost) {
            log::info!(code = "watcher.hints_lost"; "more changed than could be told: everything is looked at");
            self.due.sweep_wanted = true;
        }
        if is_again {
            asks_roots |= self.tailer.unknown_places(&mut self.news.hints);
        }
        if asks_roots {
            // What came above a root may be all that tells of the next step down to it.
            self.root_untold = !self.tailer.look_above(&mut self.watches);
        }
        self.due.sweep_wanted |= (asks_roots || is_polled) && self.tailer.roots_changed();
    }

    /// Looks everywhere.
    fn sweep(&mut self, now: Instant) {
        // It comes after everything that was told by now.
        self.news = News::default();
        self.watches.begin_sweep();
        self.root_untold = !self.tailer.look_above(&mut self.watches);
        self.tailer.sweep(&mut self.watches);
        let tailer = &self.tailer;
        self.watches.end_sweep(|path| tailer.is_unknown_at(path));
        let end = self.clock.now();
        self.due.sweep_wanted = false;
        self.due.sweep = end + self.sweep_interval;
        self.due.sweep_earliest = end + HOT_INTERVAL.max((end - now) * SWEEP_COST);
        self.due.polled = end + self.interval;
        self.due.hot = self.due.hot.max(end + HOT_INTERVAL);
        self.set_again(end, true, true);
    }

    /// `before`: when the look began, whose cost is a twentieth of the time at most.
    fn set_again(&mut self, before: Instant, is_again: bool, told: bool) {
        let now = self.clock.now();
        if told || self.root_untold || self.tailer.is_lively() {
            self.due.again_interval = self.interval;
        } else if is_again {
            self.due.again_interval = (self.due.again_interval * 2).min(self.sweep_interval.max(self.interval));
        }
        let next = now + self.due.again_interval;
        self.due.again = if is_again {
            next.max(now + hot_interval(now - before))
        } else {
            next.min(self.due.again)
        };
    }

    fn look_at_hot_polled(&mut self) {
        let before = self.clock.now();
        let unwatched = self.watches.unwatched();
        self.tailer.look_at_hot(&|path| unwatched.covers(path));
        let now = self.clock.now();
        self.due.hot = now + hot_interval(now - before);
    }

    /// When there is something to do though nothing is told.
    fn next(&self) -> Instant {
        let mut next = self.due.sweep;
        if self.due.sweep_wanted {
            next = next.min(self.due.sweep_earliest);
        }
        if self.watches.unwatched().is_polled() {
            next = next.min(self.due.polled);
            if self.tailer.is_hot() {
                next = next.min(self.due.hot);
            }
        }
        if self.tailer.has_again() || self.root_untold {
            next = next.min(self.due.again);
        }
        next
    }
}

impl Source for NotifySource {
    fn poll(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        // What was refused is offered again before anything new is looked for. What is told goes before what is left: while
        // something is, every other poll is for that.
        let is_for_the_rest = std::mem::take(&mut self.has_rest);
        if !self.refused && !is_for_the_rest {
            self.look();
        }
        let report = self.tailer.work(budget, sink)?;
        self.refused = report.refused;
        self.has_rest = report.more && !report.refused && !is_for_the_rest;
        if self.due.again_interval > self.interval && self.tailer.is_lively() {
            self.set_again(self.clock.now(), false, false);
        }
        Ok(report)
    }

    fn look_now(&mut self) {
        let now = self.clock.now();
        (self.due.polled, self.due.hot, self.due.again) = (now, now, now);
    }

    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        self.tailer.finish(sink)
    }

    fn wait(&mut self, deadline: Instant, stop: &StopSignal) -> Wake {
        // While the sink refuses, nothing is looked for: only the deadline can change anything.
        let until = if self.refused {
            deadline
        } else {
            deadline.min(self.next())
        };
        let mounts = self.watches.mounts().map(Awaited::urgent);
        let told = self.watches.descriptor().map(Awaited::readable);
        let has_mounts = mounts.is_some();
        let awaited: Vec<_> = mounts.into_iter().chain(told).filter(|_| !self.refused).collect();
        let left = until.saturating_duration_since(self.clock.now());
        match stop.wait(&awaited, Some(left)) {
            Woken::Stopped => Wake::Stop,
            Woken::Ready(place) => {
                self.news.roots |= has_mounts && place == 0;
                Wake::Look
            }
            Woken::TimedOut if until == deadline => Wake::Deadline,
            Woken::TimedOut => Wake::Look,
        }
    }

    fn overview(&self) -> Overview {
        let mut overview = self.tailer.overview();
        let unwatched = self.watches.unwatched();
        for root in &mut overview.roots {
            if !unwatched.is_polled_at(&root.path) {
                root.noticing = Noticing::Notify;
            }
        }
        unwatched.show(&mut overview.roots);
        overview
    }
}
