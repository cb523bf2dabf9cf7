//! Handing out what is pending: oldest first, each batch under a claim, removed only after its reader had it.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use super::claim::{Claim, Progress, progress};
use super::depth::{Listing, list};
use super::envelopes::{Checked, WriteError};
pub use super::envelopes::{Format, Refusal};
use crate::disk::{Disk, DiskFile};
use crate::error::Error;
use crate::home::{PENDING, QUARANTINE, pending};
use crate::pure::name::lock_of;
use crate::show::Shown;

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

/// Where records go.
pub trait Output {
    /// Takes bytes.
    fn writer(&mut self) -> &mut dyn Write;

    /// Makes sure that what was taken is with the reader, as far as that can be known. After this the batch
    /// is removed.
    fn settle(&mut self) -> io::Result<()>;
}

/// What a drain came to.
#[derive(Debug, Default)]
pub struct DrainReport {
    /// Records handed out.
    pub records: u64,
    /// Batches that somebody else holds.
    pub held: u64,
    /// Nothing more could be handed out after a failure: the reader is gone, or its last record broke off.
    pub stopped: bool,
    /// Each batch that was not handed out, and why.
    pub failures: Vec<Error>,
}

/// Hands out what is pending now. One batch that fails does not stop the younger ones.
///
/// Fails only when the queue cannot be listed.
pub fn drain(disk: &dyn Disk, options: DrainOptions, output: &mut dyn Output) -> Result<DrainReport, Error> {
    let Listing { files, not_ours } = list(disk)?;
    for name in not_ours {
        let shown = Shown::name(&name).to_string();
        log::warn!(code = "queue.not_ours", name = shown.as_str();
            "{shown} in the queue is no regular file; it is left alone");
    }
    let mut drain = Drain {
        disk,
        options,
        output,
        report: DrainReport::default(),
    };
    for name in files.keys() {
        if drain.report.records >= options.records_max || drain.report.stopped {
            break;
        }
        drain.one(name);
    }
    Ok(drain.report)
}

struct Drain<'a> {
    disk: &'a dyn Disk,
    options: DrainOptions,
    output: &'a mut dyn Output,
    report: DrainReport,
}

impl Drain<'_> {
    fn one(&mut self, name: &OsStr) {
        if self.options.peek {
            return self.peek(name);
        }
        match Claim::take(self.disk, name) {
            Ok(Some(claim)) => self.claimed(name, claim),
            Ok(None) => self.report.held += 1,
            Err(error) => self.failed(name, "cannot claim the batch", error),
        }
    }

    fn peek(&mut self, name: &OsStr) {
        let progress = progress(self.disk, &pending(lock_of(name)));
        let checked = match Checked::read(self.disk, Path::new(name), self.options.format) {
            Ok(checked) => checked,
            // Drained since it was listed.
            Err(Refusal::Unreadable(error)) if error.kind() == io::ErrorKind::NotFound => return,
            Err(refusal) => return self.failed(name, "cannot show the batch", refusal.to_string()),
        };
        self.hand_out(name, &checked, progress.as_ref());
    }

    fn claimed(&mut self, name: &OsStr, claim: Claim<'_>) {
        let checked = match Checked::read(self.disk, Path::new(name), self.options.format) {
            Ok(checked) => checked,
            Err(Refusal::Damaged(what)) => return self.quarantine(name, claim, &what),
            Err(refusal) => return self.failed(name, "cannot drain the batch", refusal.to_string()),
        };
        let Some(end) = self.hand_out(name, &checked, claim.progress().as_ref()) else {
            return;
        };
        match checked.ulid(end) {
            Some(next) => claim.stop_at(&Progress::at(next, 0)),
            None => {
                if let Err(error) = claim.acknowledge() {
                    self.failed(name, "cannot remove the drained batch", error);
                }
            }
        }
    }

    /// Writes records from where an earlier drain stopped; returns where this one did, or None if the
    /// reader did not get them.
    fn hand_out(&mut self, name: &OsStr, checked: &Checked<'_>, progress: Option<&Progress>) -> Option<usize> {
        let start = progress.map_or(0, |progress| checked.position(&progress.next));
        let room = usize::try_from(self.options.records_max - self.report.records).unwrap_or(usize::MAX);
        let end = start.saturating_add(room).min(checked.len());
        let written = checked
            .write(start..end, self.options.format, self.output.writer())
            .and_then(|()| self.output.settle().map_err(WriteError::Output));
        match written {
            Ok(()) => {
                self.report.records += (end - start) as u64;
                return Some(end);
            }
            Err(WriteError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => self.report.stopped = true,
            Err(WriteError::Output(error)) => {
                // No reader, no younger batch either.
                self.report.stopped = true;
                self.failed(name, "cannot write out the batch", error);
            }
            // Drained by somebody else since it was shown.
            Err(WriteError::Source(error)) if self.options.peek && error.kind() == io::ErrorKind::NotFound => {}
            Err(WriteError::Source(error)) => {
                // A record may have been cut off in its middle, and what is written next would be glued to it.
                self.report.stopped = true;
                self.failed(name, "cannot read the batch to its end", error);
            }
        }
        None
    }

    fn failed(&mut self, name: &OsStr, what: &str, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) {
        let error = Error::new(crate::error::ErrorKind::Failed, what).at(self.disk.show(&pending(name)));
        self.report.failures.push(error.because(cause));
    }

    /// Moves a damaged batch out of the way of the younger ones, with its reason beside it.
    fn quarantine(&mut self, name: &OsStr, claim: Claim<'_>, what: &str) {
        let moved = match self.move_to_quarantine(name, what) {
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

    fn move_to_quarantine(&self, name: &OsStr, what: &str) -> io::Result<()> {
        let directory = Path::new(QUARANTINE);
        self.disk.create_dir(directory)?;
        // The same name may have been here before; nothing is overwritten.
        let free = |name: &OsString| {
            let found = self.disk.meta(&directory.join(name));
            found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        let with = |name: &OsStr, suffix: &str| {
            let mut name = name.to_owned();
            name.push(suffix);
            name
        };
        let numbered = (1..1000).map(|count| with(name, &format!(".{count}")));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let name_there = names.find(free).ok_or(io::ErrorKind::AlreadyExists)?;
        let reason = with(&name_there, ".reason");
        let mut file: Box<dyn DiskFile> = self.disk.open(&directory.join(reason), true)?;
        file.truncate(0)?;
        file.write_at(format!("{what}\n").as_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(&pending(name), &directory.join(name_there))?;
        self.disk.sync_dir(directory)?;
        self.disk.sync_dir(Path::new(PENDING))
    }
}
