//! The engine: one thread that asks a source, fills a capture, and commits in time.

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use serde::Serialize;

use crate::capture::{Capture, Tally};
use crate::cursors;
use crate::disk::Disk;
use crate::error::Error;
use crate::home::{STATUS, STATUS_TMP};
use crate::limits::{ONCE_TRIES, POLL_BYTES, STATUS_EVERY};
use crate::source::{Budget, Overview, PollReport, Source, Wake};
use crate::status::{RootStatus, WatcherStatus};

/// What a run tells while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Moment<'a> {
    /// The first look at the roots is done.
    Begun(&'a Overview),
    /// Everything that was found is captured, for the first time.
    CaughtUp(&'a Overview, &'a Tally),
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was captured.
    pub captured: Tally,
    /// The last look.
    pub overview: Overview,
    /// Why the queue took nothing more, if it did not.
    pub queue_full: Option<String>,
    /// Bytes that were seen and are not committed.
    pub left_bytes: u64,
    /// It ended by itself, not because it was told to.
    pub complete: bool,
}

/// Captures until it is told to stop or, with `once`, until everything that the first look showed is
/// captured, is unknown for good, or finds no room.
///
/// Commits before it returns. After an error only a new start goes on; what was not committed is read again.
pub fn run(
    mut capture: Capture,
    source: &mut dyn Source,
    disk: &dyn Disk,
    wake: &Receiver<Wake>,
    once: bool,
    tell: &mut dyn FnMut(Moment<'_>),
) -> Result<Outcome, Error> {
    let mut board = StatusBoard::default();
    let mut told = Told::default();
    let complete = loop {
        if matches!(wake.try_recv(), Ok(Wake::Stop)) {
            break false;
        }
        let report = source.poll(Budget { bytes: POLL_BYTES }, &mut capture)?;
        capture.tick()?;
        told.tell(source, &capture, report, once, tell);
        board.update(disk, source, &capture, Instant::now());
        let done = report.passes >= ONCE_TRIES || (report.passes > 0 && source.overview().unknown == 0);
        if once && (report.refused || done) {
            break true;
        }
        // Refused, and there was room again just now: the same is offered once more at once.
        if report.more && (!report.refused || capture.queue_full().is_none()) {
            continue;
        }
        let deadline = capture
            .deadline()
            .unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        if source.wait(deadline, wake) == Wake::Stop {
            break false;
        }
    };
    source.finish(&mut capture)?;
    capture.commit()?;
    (board.last, board.stopped) = (None, true);
    board.update(disk, source, &capture, Instant::now());
    let queue_full = capture.queue_full().map(str::to_owned);
    let overview = source.overview();
    Ok(Outcome {
        left_bytes: overview.backlog_bytes + capture.uncommitted_bytes(),
        captured: capture.stop()?,
        overview,
        queue_full,
        complete,
    })
}

#[derive(Default)]
struct Told {
    begun: bool,
    caught_up: bool,
}

impl Told {
    fn tell(
        &mut self,
        source: &dyn Source,
        capture: &Capture,
        report: PollReport,
        once: bool,
        tell: &mut dyn FnMut(Moment<'_>),
    ) {
        if !self.begun {
            self.begun = true;
            tell(Moment::Begun(&source.overview()));
        }
        // What was taken last may wait for its commit still. With `once` the end says it all.
        if !once && !self.caught_up && report.passes > 0 && capture.deadline().is_none() {
            self.caught_up = true;
            tell(Moment::CaughtUp(&source.overview(), capture.captured()));
        }
    }
}

/// Writes `status.json` when it would say something new, at most once a second.
#[derive(Default)]
struct StatusBoard {
    last: Option<Instant>,
    text: Vec<u8>,
    stopped: bool,
}

impl StatusBoard {
    fn update(&mut self, disk: &dyn Disk, source: &dyn Source, capture: &Capture, now: Instant) {
        if self.last.is_some_and(|last| now.duration_since(last) < STATUS_EVERY) {
            return;
        }
        self.last = Some(now);
        let overview = source.overview();
        let roots = overview.roots.iter().map(|root| RootStatus {
            path: root.path.to_string_lossy().into_owned(),
            agent: root.agent.as_deref().map(str::to_owned),
            source: "poll".into(),
        });
        let status = WatcherStatus {
            pid: std::process::id(),
            roots: roots.collect(),
            backlog_bytes: overview.backlog_bytes + capture.uncommitted_bytes(),
            queue_full: capture.queue_full().is_some(),
            unknown: overview.unknown,
            symlinks: overview.symlinks,
            stopped: self.stopped,
        };
        if let Err(error) = self.write(disk, &status) {
            log::debug!("{STATUS} was not written: {error}");
        }
    }

    fn write(&mut self, disk: &dyn Disk, status: &impl Serialize) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(status)?;
        text.push(b'\n');
        if text == self.text {
            return Ok(());
        }
        let temporary = Path::new(STATUS_TMP);
        cursors::remove(disk, temporary)?;
        disk.create(temporary)?.write_at(&text, 0)?;
        disk.rename(temporary, Path::new(STATUS))?;
        self.text = text;
        Ok(())
    }
}
