//! Where a record came from, what happened to its file since, and where it is now.
//!
//! It only reads. The ledger is not read as a whole: ULIDs rise with its lines, so the line that tells of a record
//! is found by halving.

mod line;
mod queue;
mod since;
mod words;

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::disk::Disk;
use crate::error::Error;
use crate::ledger::search;
pub use crate::ledger::search::{Hit, find, find_linear};
use crate::provenance::Delivery;
use crate::pure::entry::Entry;
use crate::source::standing::Finder;

pub use line::Line;
pub use queue::{Foreign, Now, Place};
pub use since::{Event, FileNow, Presence, Standing};

/// Everything that is known of a record.
#[derive(Debug, Serialize)]
pub struct Trace {
    /// Which record.
    pub ulid: Ulid,
    /// What the ledger says; null for a record of another program.
    pub origin: Option<Origin>,
    /// What the envelope of another program's record says.
    pub foreign: Option<Foreign>,
    /// Where it is now.
    pub now: Now,
    /// Who got it, as far as that was written down.
    pub deliveries: Vec<Delivery>,
    /// Lines of the deliveries that could not be read.
    pub deliveries_unreadable: u64,
}

/// What the ledger says of a record.
#[derive(Debug, Serialize)]
pub struct Origin {
    /// Of which file.
    pub file_id: Ulid,
    /// The file's stem.
    pub session_id: String,
    /// Its path when the record was captured.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// In which epoch.
    pub epoch: u64,
    /// Device then.
    pub device: u64,
    /// Inode then.
    pub inode: u64,
    /// The run that it is in; null for a line that was captured without its newline.
    pub run: Option<RunOf>,
    /// The line, where it can be told.
    pub line: Option<Line>,
    /// The commit that made it durable.
    pub commit: CommitOf,
    /// Whether it still stands captured there.
    pub standing: Standing,
    /// What happened to its file since.
    pub since: Vec<Event>,
    /// Events beyond those.
    pub since_left_out: u64,
    /// Runs of the same file that were captured since.
    pub later_runs: u64,
    /// What became of the file, as far as the ledger tells.
    pub file: FileNow,
}

/// A run, and which of its records it is.
#[derive(Debug, Serialize)]
pub struct RunOf {
    /// Which of its records, from 0.
    pub index: u64,
    /// Offset of the run's first byte.
    pub from: u64,
    /// Offset of the byte after its last newline.
    pub to: u64,
    /// Number of its first physical line; null where lines were never counted.
    pub line: Option<u64>,
    /// Number of its last one.
    pub line_last: Option<u64>,
    /// Records.
    pub lines: u64,
    /// Blank lines.
    pub blank: u64,
}

/// A commit.
#[derive(Debug, Serialize)]
pub struct CommitOf {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The name in the queue that it gave the record.
    pub batch: Option<String>,
}

/// Traces a record; None when nothing tells of it. With a `finder` its file is looked at, if that tells more.
pub fn trace(disk: &dyn Disk, finder: Option<&mut Finder<'_>>, ulid: Ulid) -> Result<Option<Trace>, Error> {
    let mut hit = search::find(disk, ulid)?;
    let mut place = queue::find(disk, ulid, hit.as_ref().and_then(Hit::batch_name).as_deref())?;
    let dropped = queue::dropped(disk, ulid)?;
    let delivered = queue::deliveries(disk, ulid, hit.is_some())?;
    let told = place.is_some() || dropped.is_some() || !delivered.found.is_empty();
    if hit.is_none() && !told {
        hit = search::find_linear(disk, ulid)?;
    }
    if hit.is_none() && !told {
        return Ok(None);
    }
    let envelope_line = place.as_ref().and_then(|place| place.line.clone());
    let origin = match &hit {
        Some(hit) => Some(origin(disk, finder, hit, envelope_line)?),
        None => None,
    };
    let foreign = match &mut place {
        Some(place) if hit.is_none() => place.foreign.take(),
        _ => None,
    };
    let now = match (place, dropped) {
        (Some(place), _) => place.now,
        (None, Some(dropped)) => dropped,
        (None, None) if !delivered.found.is_empty() => Now::Delivered,
        (None, None) => Now::Drained,
    };
    Ok(Some(Trace {
        ulid,
        origin,
        foreign,
        now,
        deliveries: delivered.found,
        deliveries_unreadable: delivered.unreadable,
    }))
}

fn origin(
    disk: &dyn Disk,
    finder: Option<&mut Finder<'_>>,
    hit: &Hit,
    envelope_line: Option<Line>,
) -> Result<Origin, Error> {
    let since = since::since(disk, hit)?;
    let line = envelope_line
        .or_else(|| line::told(hit))
        .or_else(|| line::in_file(hit, &since.file, finder?));
    let commit = CommitOf {
        number: hit.commit.commit,
        at: hit.commit.at,
        batch: hit.batch_name(),
    };
    let (file_id, session_id, path, path_base64) = match &hit.entry {
        Entry::Captured(run) => (run.file_id, &run.session_id, &run.path, &run.path_base64),
        Entry::Settled(settled) => (
            settled.file_id,
            &settled.session_id,
            &settled.path,
            &settled.path_base64,
        ),
        _ => return Err(search::no_record()),
    };
    let (epoch, device, inode) = match &hit.entry {
        Entry::Settled(settled) => (settled.epoch, settled.device, settled.inode),
        Entry::Captured(run) => (run.epoch, run.device, run.inode),
        _ => return Err(search::no_record()),
    };
    Ok(Origin {
        file_id,
        session_id: session_id.clone(),
        path: path.clone(),
        path_base64: path_base64.clone(),
        epoch,
        device,
        inode,
        run: run_of(hit),
        line,
        commit,
        standing: since.standing,
        since: since.events,
        since_left_out: since.left_out,
        later_runs: since.later_runs,
        file: since.file,
    })
}

fn run_of(hit: &Hit) -> Option<RunOf> {
    let Entry::Captured(run) = &hit.entry else { return None };
    let physical = run.lines + run.blank + u64::from(run.settled.is_some());
    Some(RunOf {
        index: hit.index(),
        from: run.from,
        to: run.to,
        line: run.line,
        line_last: run.line.map(|line| line + physical.saturating_sub(1)),
        lines: run.lines,
        blank: run.blank,
    })
}
