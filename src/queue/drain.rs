//! Handing out what is pending: oldest first, each batch under a claim, removed only after its reader had it.

mod ahead;
mod secured;

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::thread::Scope;
use std::time::Instant;

use super::claim::{Asked, Claim, Progress, SpareLocks, is_merging, progress};
use super::closer::Closer;
use super::depth::{Listing, list};
use super::envelopes::{Checked, RawRooms};
pub use super::envelopes::{Format, Refusal};
use super::merge::list_settled;
use super::quarantine::quarantine;
use super::reader::{Broken, Handler, Reader, Stream};
pub use super::reader::{HandlerError, Output, Securing};
use super::todo::Todo;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::home::{QUARANTINE, pending};
use crate::limits::{AHEAD_BATCHES_MAX, MERGE_PATIENCE, MERGE_RETRY, UNSECURED_BYTES_MAX};
use crate::pure::name::lock_of;
use crate::pure::record::Envelope;
use crate::show::Shown;
use ahead::Ahead;
use secured::{Secured, Taken, unsecured_max};

/// What a drain is asked to do.
#[derive(Debug, Clone, Copy)]
pub struct DrainOptions {
    /// In which form records are handed out.
    pub format: Format,
    /// How many records at most.
    pub records_max: u64,
    /// Hand out and leave everything as it is.
    pub peek: bool,
}

/// Records of one batch that a reader took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handed<'a> {
    /// ULID of the first one, as it is written.
    pub first: &'a str,
    /// ULID of the last one.
    pub last: &'a str,
    /// How many.
    pub records: u64,
}

/// What a drain came to.
#[must_use = "what failed is told here only"]
#[derive(Debug, Default)]
pub struct DrainReport {
    /// Records handed out.
    pub records: u64,
    /// Batches that somebody else holds.
    pub held: u64,
    /// Nothing more could be handed out after a failure: the reader is gone, or its last record broke off.
    pub stopped: bool,
    /// It stopped because of a failure.
    pub broken: bool,
    /// Each batch that was not handed out, and why.
    pub failures: Vec<Error>,
    /// The names of those that still stand in the queue.
    pub failed: Vec<OsString>,
}

/// Decides about each batch before it is claimed, and hears of what is handed out.
pub trait Overseer {
    /// Whether a batch is to be tried now.
    fn wants(&mut self, _name: &OsStr) -> bool {
        true
    }

    /// Hears at once of a batch that was not handed out.
    fn failed(&mut self, _error: &Error) {}

    /// Hears of records that their reader took. They may come again if we die before the batch is removed.
    fn handed(&mut self, _handed: Handed<'_>) {}
}

/// Wants everything and listens to nothing.
impl Overseer for () {}

/// Hands out what is pending now, as bytes. One batch that fails does not stop the younger ones.
///
/// Fails only when the queue cannot be listed.
pub fn drain(
    disk: &dyn Disk,
    options: DrainOptions,
    output: &mut dyn Output,
    overseer: &mut dyn Overseer,
) -> Result<DrainReport, Error> {
    let format = options.format;
    run(disk, options, &mut Stream { output, format }, overseer)
}

/// Calls `handler` with each envelope that is pending now, oldest first. One that fails leaves its batch and what
/// follows it there for the next time, and does not stop the younger batches.
///
/// Fails only when the queue cannot be listed.
pub fn ingest(
    disk: &dyn Disk,
    handler: &mut dyn FnMut(&Envelope<'_>) -> Result<(), HandlerError>,
    overseer: &mut dyn Overseer,
) -> Result<DrainReport, Error> {
    let options = DrainOptions {
        format: Format::Envelope,
        records_max: u64::MAX,
        peek: false,
    };
    run(disk, options, &mut Handler(handler), overseer)
}

fn run(
    disk: &dyn Disk,
    options: DrainOptions,
    reader: &mut dyn Reader,
    overseer: &mut dyn Overseer,
) -> Result<DrainReport, Error> {
    let Listing {
        files,
        not_ours,
        vanished,
    } = if options.peek { list_settled(disk)? } else { list(disk)? };
    for name in not_ours {
        let shown = Shown::name(&name).to_string();
        log::warn!(code = "queue.not_ours", name = shown.as_str();
            "{shown} in the queue is no regular file; it is left alone");
    }
    let mut todo = Todo::of(files.into_keys(), vanished.as_deref());
    let unsecured_max = unsecured_max();
    std::thread::scope(|scope| {
        let mut drain = Drain {
            scope,
            disk,
            options,
            reader,
            overseer,
            report: DrainReport::default(),
            rooms: RawRooms::default(),
            ahead: VecDeque::new(),
            unsecured: Vec::new(),
            unsecured_bytes: 0,
            unsecured_max,
            securing: None,
            sync_failure: None,
            spares: SpareLocks::new(disk, 2 * unsecured_max),
            closer: Closer::new(unsecured_max),
            vanished: vanished.is_some(),
            is_patient: true,
            is_new: false,
            shown: None,
        };
        drain.all(&mut todo);
        Ok(drain.report)
    })
}

struct Drain<'scope, 'o, 'a> {
    scope: &'scope Scope<'scope, 'o>,
    disk: &'a dyn Disk,
    options: DrainOptions,
    reader: &'o mut dyn Reader,
    overseer: &'o mut dyn Overseer,
    report: DrainReport,
    rooms: RawRooms,
    /// What is handed out next, oldest first.
    ahead: VecDeque<Ahead<'scope, 'a>>,
    /// What the reader has and may lose still, oldest first.
    unsecured: Vec<Taken<'a>>,
    unsecured_bytes: u64,
    unsecured_max: usize,
    /// What is being made durable, older than these.
    securing: Option<Secured<'scope, 'a>>,
    /// Why a sync failed: nothing is secured after that.
    sync_failure: Option<String>,
    spares: SpareLocks<'a>,
    closer: Closer,
    /// A batch was gone when its turn came: it may be part of another one now.
    vanished: bool,
    /// It waits for batches that are being merged.
    is_patient: bool,
    /// The batch was not in the first listing.
    is_new: bool,
    /// ULID of the last record that was shown and stays.
    shown: Option<String>,
}

impl<'scope, 'a: 'scope> Drain<'scope, '_, 'a> {
    fn all(&mut self, todo: &mut Todo) {
        loop {
            if std::mem::take(&mut self.vanished) {
                todo.missed();
            }
            todo.relist_if_due(self.disk);
            let Some(name) = todo.next() else { break };
            if self.report.records >= self.options.records_max || self.report.stopped {
                break;
            }
            self.is_new = todo.is_new(&name);
            self.one(&name);
            todo.tried(name);
        }
        self.catch_up();
        self.secure_all();
    }

    fn one(&mut self, name: &OsStr) {
        if !self.overseer.wants(name) {
            return;
        }
        if self.options.peek {
            return self.peek(name);
        }
        match self.claim(name) {
            Ok(Asked::Claimed(claim)) => self.claimed(name, claim),
            Ok(Asked::Held) => self.report.held += 1,
            Ok(Asked::Gone) => self.vanished = true,
            Err(error) => self.failed(name, "cannot claim the batch", error),
        }
    }

    /// Claims a batch. One that is being merged is waited for, or what is younger would be handed out before it.
    fn claim(&mut self, name: &OsStr) -> io::Result<Asked<'a>> {
        // What went into it, or it went into, and waits to be secured: both have one lock file.
        let lock = pending(lock_of(name));
        if self.ahead.iter().any(|ahead| ahead.claim.lock() == lock) {
            self.catch_up();
        }
        let mut taken = self.securing.iter().flat_map(Secured::batches).chain(&self.unsecured);
        if taken.any(|taken| taken.claim.lock() == lock) {
            self.secure_all();
        }
        let begun = Instant::now();
        let mut is_sure = false;
        loop {
            let asked = Claim::ask_with(self.disk, name, &mut self.spares)?;
            if !matches!(asked, Asked::Held) || !self.is_patient {
                return Ok(asked);
            }
            let is_merging = is_merging(self.disk, name);
            // The mark comes just after the claim.
            if !is_merging && std::mem::replace(&mut is_sure, true) {
                return Ok(asked);
            }
            if begun.elapsed() >= MERGE_PATIENCE {
                self.is_patient = false;
                return Ok(asked);
            }
            if is_merging {
                self.catch_up();
                std::thread::sleep(MERGE_RETRY);
            }
        }
    }

    fn peek(&mut self, name: &OsStr) {
        let progress = progress(self.disk, &pending(lock_of(name)));
        let checked = match Checked::read(self.disk, Path::new(name), self.reader.format()) {
            Ok(checked) => checked,
            // Drained since it was listed, or merged.
            Err(Refusal::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                self.vanished = true;
                return;
            }
            Err(refusal) => return self.failed(name, "cannot show the batch", refusal.to_string()),
        };
        let start = progress.map_or(0, |progress| checked.position(&progress.next));
        // Merged since the first listing: some of it may have been shown.
        let start = match &self.shown {
            Some(shown) if self.is_new => start.max(checked.position_after(shown)),
            _ => start,
        };
        let (end, broken) = self.hand_out(&checked, start, None);
        self.report.records += (end - start) as u64;
        if end > start {
            self.shown = checked.ulid(end - 1).map(str::to_owned);
        }
        match broken {
            // Drained by somebody else since it was shown, or merged.
            Some(Broken::Source(error)) if error.kind() == io::ErrorKind::NotFound => self.vanished = true,
            broken => self.judge(name, broken),
        }
    }

    /// Has a batch checked, and meanwhile hands out one of those before it.
    fn claimed(&mut self, name: &OsStr, claim: Claim<'a>) {
        let format = self.reader.format();
        // With a maximum it is not known yet whether it will be handed out. Any other reader than a file may take hours for the
        // one before, while somebody else could have this one.
        let begun = if self.options.records_max == u64::MAX && self.reader.needs_securing() {
            Ahead::begin(self.scope, self.disk, name, claim, format, &self.rooms)
        } else {
            Err(claim)
        };
        match begun {
            Ok(ahead) => {
                self.ahead.push_back(ahead);
                if self.ahead.len() > AHEAD_BATCHES_MAX {
                    self.end_oldest();
                }
            }
            Err(claim) => {
                self.catch_up();
                if self.report.stopped {
                    return claim.release();
                }
                let checked = Checked::read_into(&self.rooms, self.disk, Path::new(name), format);
                self.hand_over(name, claim, checked);
            }
        }
    }

    /// Hands out all that was checked ahead.
    fn catch_up(&mut self) {
        while !self.ahead.is_empty() {
            self.end_oldest();
        }
    }

    fn end_oldest(&mut self) {
        let Some(ahead) = self.ahead.pop_front() else { return };
        let (name, claim, checked) = ahead.end();
        if self.report.stopped {
            claim.release();
        } else {
            self.hand_over(&name, claim, checked);
        }
    }

    fn hand_over(&mut self, name: &OsStr, mut claim: Claim<'a>, checked: Result<Checked<'a>, Refusal>) {
        let checked = match checked {
            Ok(checked) => checked,
            Err(Refusal::Damaged(what)) => return self.quarantine(name, claim, &what),
            // Some programs drop records without a claim.
            Err(Refusal::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => {
                return drop(claim.acknowledge());
            }
            Err(refusal) => return self.failed(name, "cannot drain the batch", refusal.to_string()),
        };
        let before = claim.progress();
        let start = before.as_ref().map_or(0, |before| checked.position(&before.next));
        let waits = self.reader.needs_securing();
        let (end, broken) = self.hand_out(&checked, start, Some(&mut claim).filter(|_| !waits));
        let records = (end - start) as u64;
        self.report.records += records;
        let last = end.checked_sub(1).and_then(|last| checked.ulid(last));
        let ends = checked.ulid(start).zip(last).filter(|_| records > 0);
        let taken = Taken {
            claim,
            name: name.to_owned(),
            ends: ends.map(|(first, last)| (first.to_owned(), last.to_owned())),
            records,
            next: checked.ulid(end).map(ToOwned::to_owned),
        };
        if waits && broken.is_none() {
            self.unsecured.push(taken);
            self.unsecured_bytes += checked.bytes();
            if self.unsecured.len() >= self.unsecured_max || self.unsecured_bytes >= UNSECURED_BYTES_MAX {
                self.secure();
            }
            return;
        }
        let tries_before = before.filter(|_| end == start).map_or(0, |before| before.attempts);
        self.acknowledge(taken, broken.as_ref(), tries_before);
        self.judge(name, broken);
    }

    /// Hands out records from `start`; returns before which place all were taken, and why no more.
    fn hand_out(
        &mut self,
        checked: &Checked<'_>,
        start: usize,
        mut claim: Option<&mut Claim<'_>>,
    ) -> (usize, Option<Broken>) {
        let room = usize::try_from(self.options.records_max - self.report.records).unwrap_or(usize::MAX);
        let end = start.saturating_add(room).min(checked.len());
        let mut reached = start;
        let taken = self.reader.take(checked, start..end, &mut |upto| {
            reached = upto;
            // Whoever dies now leaves behind how far it came.
            if let (Some(claim), Some(next)) = (&mut claim, checked.ulid(upto)) {
                claim.note(&Progress::at(next, 0));
            }
        });
        (reached, taken.err())
    }

    /// Writes down why a reader did not get all, and whether it can get more.
    fn judge(&mut self, name: &OsStr, broken: Option<Broken>) {
        let Some(broken) = broken else { return };
        // A record may have been cut off in its middle, and what is written next would be glued to it.
        self.report.stopped = !self.reader.goes_on();
        self.report.broken |= self.report.stopped && !matches!(broken, Broken::Gone);
        match broken {
            Broken::Gone => {}
            Broken::Reader(error) => {
                let operation = self.reader.operation();
                self.failed(name, operation, error);
            }
            Broken::Source(error) => self.failed(name, "cannot read the batch to its end", error),
        }
    }

    fn failed(&mut self, name: &OsStr, what: &str, cause: impl Into<HandlerError>) {
        let error = Error::new(ErrorKind::Failed, what).at(self.disk.show(&pending(name)));
        let error = error.because(cause);
        self.overseer.failed(&error);
        self.report.failures.push(error);
        self.report.failed.push(name.to_owned());
    }

    /// Moves a damaged batch out of the way of the younger ones, with its reason beside it.
    fn quarantine(&mut self, name: &OsStr, claim: Claim<'_>, what: &str) {
        let moved = match quarantine(self.disk, name, what) {
            Ok(()) => {
                if let Err(error) = claim.unlink_lock() {
                    log::info!("its lock file stays: {error}");
                }
                format!("it is now in {QUARANTINE}/ [queue.quarantined]")
            }
            Err(error) => format!("it cannot be moved to {QUARANTINE}/: {error}"),
        };
        self.failed(
            name,
            "cannot drain the batch",
            format!("its content is damaged: {what}; {moved}"),
        );
    }
}
