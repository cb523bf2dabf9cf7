//! The engine: one thread that asks a source, fills a consumer, and commits in time.

use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::moment::{Moment, Told};
use super::status_file::StatusFile;
use crate::capture::{Capture, Tally};
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::{ONCE_TRIES, POLL_BYTES};
use crate::source::{Budget, Overview, PollReport, Source, Wake};
use crate::wake::StopSignal;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was captured.
    pub captured: Tally,
    /// The last look.
    pub overview: Overview,
    /// Why the queue, or the caller's own sink, took nothing more, if it did not.
    pub queue_full: Option<String>,
    /// Bytes that were seen and are not captured.
    pub left_bytes: u64,
    /// It ended by itself, not because it was told to.
    pub complete: bool,
}

/// Shows others how a run is going.
pub(super) trait Board {
    /// Between two polls. When it wants to be called again at the latest, if something is left to show.
    fn update(&mut self, glance: &Glance<'_>) -> Option<Instant>;
}

/// How a run is going.
pub(super) struct Glance<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) consumer: &'a dyn Consumer,
    /// The last poll.
    pub(super) report: PollReport,
    /// By the clock of the consumer.
    pub(super) now: Instant,
    /// There is nothing more to come.
    pub(super) ended: bool,
}

/// Captures until it is told to stop or, with `once`, until everything that the first look showed is
/// captured, is unknown for good, or finds no room.
///
/// Commits before it returns. After an error only a new start goes on; what was not committed is read again.
pub fn run(
    capture: Capture,
    source: &mut dyn Source,
    disk: &dyn Disk,
    stop: &StopSignal,
    once: bool,
    tell: &mut dyn FnMut(Moment<'_>),
) -> Result<Outcome, Error> {
    drive(capture, source, &mut StatusFile::on(disk), stop, once, tell)
}

/// The same for any consumer, shown on any board.
pub(super) fn drive(
    mut consumer: impl Consumer,
    source: &mut dyn Source,
    board: &mut dyn Board,
    stop: &StopSignal,
    once: bool,
    tell: &mut dyn FnMut(Moment<'_>),
) -> Result<Outcome, Error> {
    let mut told = Told::default();
    let mut report = PollReport::default();
    // With `once`: the first pass behind which nothing was left to do.
    let mut first_pass = None;
    let complete = loop {
        if stop.is_stopped() {
            break false;
        }
        report = source.poll(Budget { bytes: POLL_BYTES }, &mut consumer)?;
        consumer.tick(report.more)?;
        told.tell(source, &consumer, report, once, tell);
        let shown_by = board.update(&glance(source, &consumer, report, false));
        if once && (is_done(source, report, &mut first_pass) || (report.refused && consumer.refusal_ends())) {
            break true;
        }
        // Refused, and there was room again just now: the same is offered once more at once.
        if report.more && (!report.refused || consumer.queue_full().is_none()) {
            continue;
        }
        let deadlines = [consumer.deadline(), told.deadline(&consumer), shown_by];
        let deadline = deadlines.into_iter().flatten().min();
        let deadline = deadline.unwrap_or_else(|| consumer.now() + Duration::from_secs(3600));
        if source.wait(deadline, stop) == Wake::Stop {
            break false;
        }
    };
    source.finish(&mut consumer)?;
    consumer.commit()?;
    board.update(&glance(source, &consumer, report, true));
    let queue_full = consumer.queue_full().map(str::to_owned);
    let overview = source.overview();
    Ok(Outcome {
        left_bytes: overview.backlog_bytes + consumer.uncommitted_bytes(),
        captured: consumer.stop()?,
        overview,
        queue_full,
        complete,
    })
}

/// Whether everything was looked at, or was tried often enough since nothing was left to do for the first time: a walk
/// that is made while there is something to do is no try.
fn is_done(source: &dyn Source, report: PollReport, first_pass: &mut Option<u64>) -> bool {
    if report.passes == 0 {
        return false;
    }
    let first_pass = *first_pass.get_or_insert(report.passes);
    report.passes - first_pass + 1 >= ONCE_TRIES || source.overview().unknown == 0
}

fn glance<'a>(source: &'a dyn Source, consumer: &'a dyn Consumer, report: PollReport, ended: bool) -> Glance<'a> {
    Glance {
        source,
        consumer,
        report,
        now: consumer.now(),
        ended,
    }
}
