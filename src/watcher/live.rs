//! What a watcher's owner can ask while it runs.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::engine::{Board, Glance, Outcome};
use super::status_file::StatusFile;
use crate::capture::Tally;
use crate::error::Error;
use crate::source::tailer::hot_interval;
use crate::source::{Overview, WatchedPath};

/// How a watcher is doing, at most about 100 ms ago.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveStatus {
    /// It goes on; else it was stopped, is done, or failed.
    pub running: bool,
    /// The roots, as they are watched; empty before the first look.
    pub roots: Vec<WatchedPath>,
    /// Files followed.
    pub files: u64,
    /// Bytes of them, at the last look.
    pub bytes: u64,
    /// Bytes of them that are not captured yet.
    pub backlog_bytes: u64,
    /// Paths that could not be looked at.
    pub unknown: u64,
    /// Records captured since the start: committed, or taken by the caller's own sink.
    pub captured_lines: u64,
    /// Bytes of the logs that they, and blank lines, take.
    pub captured_bytes: u64,
    /// Commits; 0 without a home.
    pub commits: u64,
    /// Why the queue, or the caller's own sink, takes nothing now; None when it does.
    pub queue_full: Option<String>,
    /// Events that the channel had no room for. They are not lost: the queue, or the caller's own sink, has them.
    pub events_missed: u64,
    /// Everything that was found at first has been captured.
    pub caught_up: bool,
    /// Why it ended, if an error or a panic ended it: the error and its causes.
    pub error: Option<String>,
}

/// The status that the engine shows and its owner reads.
#[derive(Default)]
pub(super) struct Live {
    status: Mutex<LiveStatus>,
    pub(super) events_missed: Arc<AtomicU64>,
    stopping: AtomicBool,
}

impl Live {
    pub(super) fn running() -> Self {
        let status = LiveStatus {
            running: true,
            ..LiveStatus::default()
        };
        Self {
            status: Mutex::new(status),
            ..Self::default()
        }
    }

    /// The watcher is to stop.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> LiveStatus {
        LiveStatus {
            events_missed: self.events_missed.load(Ordering::Relaxed),
            ..self.lock().clone()
        }
    }

    pub(super) fn caught_up(&self, overview: &Overview, tally: &Tally) {
        let mut status = self.lock();
        status.show(overview, tally);
        status.caught_up = true;
    }

    pub(super) fn end(&self, result: &Result<Outcome, Error>) {
        let mut status = self.lock();
        status.running = false;
        match result {
            Ok(outcome) => {
                status.show(&outcome.overview, &outcome.captured);
                status.backlog_bytes = outcome.left_bytes;
                status.queue_full.clone_from(&outcome.queue_full);
                status.caught_up |= outcome.complete && outcome.left_bytes == 0 && outcome.overview.unknown == 0;
            }
            Err(error) => status.error = Some(error.with_causes()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, LiveStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveStatus {
    fn show(&mut self, overview: &Overview, tally: &Tally) {
        self.roots.clone_from(&overview.roots);
        (self.files, self.bytes) = (overview.files, overview.bytes);
        (self.backlog_bytes, self.unknown) = (overview.backlog_bytes, overview.unknown);
        (self.captured_lines, self.captured_bytes) = (tally.lines, tally.bytes);
        self.commits = tally.commits;
    }
}

/// Shows the engine's doings to its owner and, with a home, to other processes.
pub(super) struct Boards<'a> {
    live: &'a Live,
    file: Option<StatusFile<'a>>,
    /// What the owner was shown last.
    shown: Option<Mark>,
    next: Option<Instant>,
}

/// What changes when something happened: records, commits, looks, and whether the queue is full.
type Mark = (u64, u64, u64, bool);

impl<'a> Boards<'a> {
    pub(super) fn new(live: &'a Live, file: Option<StatusFile<'a>>) -> Self {
        Self {
            live,
            file,
            shown: None,
            next: None,
        }
    }

    fn show(&mut self, glance: &Glance<'_>) {
        let begun = Instant::now();
        let overview = glance.source.overview();
        let mut status = self.live.lock();
        status.show(&overview, glance.consumer.tally());
        status.backlog_bytes += glance.consumer.uncommitted_bytes();
        status.queue_full = glance.consumer.queue_full().map(str::to_owned);
        // To sum over many files costs 5 % of the time at most.
        self.next = Some(glance.now + hot_interval(begun.elapsed()));
    }
}

impl Board for Boards<'_> {
    fn update(&mut self, glance: &Glance<'_>) -> Option<Instant> {
        let file_due = self.file.as_mut().and_then(|file| file.update(glance));
        let live_due = self.update_live(glance);
        [file_due, live_due].into_iter().flatten().min()
    }
}

impl Boards<'_> {
    fn update_live(&mut self, glance: &Glance<'_>) -> Option<Instant> {
        let tally = glance.consumer.tally();
        let is_full = glance.consumer.queue_full().is_some();
        let mark = (tally.lines, tally.commits, glance.report.looks, is_full);
        if self.shown == Some(mark) {
            return None;
        }
        if let Some(next) = self.next.filter(|next| glance.now < *next) {
            return Some(next);
        }
        self.show(glance);
        self.shown = Some(mark);
        None
    }
}
