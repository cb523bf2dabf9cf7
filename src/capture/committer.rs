//! The steps of a commit that reach the disk: 1 to 3 of `docs/durability.md`.

use std::error::Error as StdError;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::open::OpenBatch;
use crate::disk::{Disk, is_full};
use crate::error::{Error, ErrorKind};
use crate::home::{LockMark, pending};
use crate::ledger::{AppendError, Ledger};
use crate::pure::commit::Commit;
use crate::pure::entry::Entry;
use crate::pure::fold::Mark;
use crate::queue::outgoing::{Layout, Outgoing};

/// Carries commits out.
pub(super) struct Committer {
    disk: Arc<dyn Disk>,
    home: LockMark,
    ledger: Ledger,
    layout: Layout,
}

/// How a commit ended that did not fail for good.
pub(super) enum End {
    Done(Done),
    /// Nothing of it was done.
    NoRoom(io::Error),
}

/// A commit that was made.
pub(super) struct Done {
    pub(super) commit: Commit,
    /// Where it ends.
    pub(super) mark: Mark,
    pub(super) ledger_bytes: u64,
    /// Records and bytes of each file.
    pub(super) files: Vec<(u64, u64)>,
}

impl Committer {
    pub(super) fn new(disk: Arc<dyn Disk>, home: LockMark, ledger: Ledger, layout: Layout) -> Self {
        Self {
            disk,
            home,
            ledger,
            layout,
        }
    }

    pub(super) fn segment_bytes_max(&mut self, bytes: u64) {
        self.ledger.segment_bytes_max(bytes);
    }

    /// Steps 1 to 3. After an error nothing may be written any more.
    pub(super) fn commit(&mut self, batch: &mut OpenBatch, at: Timestamp) -> Result<End, Error> {
        let Some(name) = batch.batch() else {
            return self.commit_with(None, &batch.entries, at);
        };
        batch.text.settle()?;
        match Outgoing::write_all(&*self.disk, name, &batch.text.pieces(), self.layout) {
            Ok(file) => self.commit_with(Some(file), &batch.entries, at),
            Err(cause) if is_full(&cause) => Ok(End::NoRoom(cause)),
            Err(cause) => Err(latched(
                &*self.disk,
                "cannot write the batch",
                Some(&name.temporary()),
                cause,
            )),
        }
    }

    /// The rest of a commit, for files that are written but not synced, or for none.
    pub(super) fn commit_with(
        &mut self,
        mut file: Option<Outgoing>,
        entries: &[Entry],
        at: Timestamp,
    ) -> Result<End, Error> {
        self.home.check(&*self.disk)?;
        let names = file.as_ref().map(Outgoing::names).unwrap_or_default();
        let name = names.first().cloned();
        let latched = |what, cause| latched(&*self.disk, what, name.as_deref(), cause);
        if let Some(file) = &mut file {
            file.sync(&*self.disk)
                .map_err(|cause| latched("cannot sync the batch", cause))?;
        }
        let (commit, mark) = match self.ledger.append(entries, names, at) {
            Ok(done) => done,
            Err(AppendError::Full(cause)) => {
                if let Some(file) = file {
                    file.discard(&*self.disk)
                        .map_err(|cause| latched("cannot remove the batch", cause))?;
                }
                return Ok(End::NoRoom(cause));
            }
            Err(AppendError::Final(error)) => return Err(error),
        };
        // It has happened. What is left is to let others see it.
        let files = file.as_ref().map(|file| file.sizes().collect()).unwrap_or_default();
        if let Some(file) = file {
            file.publish(&*self.disk)
                .map_err(|cause| latched("cannot make visible the batch", cause))?;
        }
        Ok(End::Done(Done {
            commit,
            mark,
            ledger_bytes: self.ledger.last_append_bytes(),
            files,
        }))
    }
}

/// Nobody waits for it: one commit is under way at a time.
pub(super) fn lock(committer: &Mutex<Committer>) -> MutexGuard<'_, Committer> {
    committer.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An error after which nothing is written any more.
pub(super) fn latched(
    disk: &dyn Disk,
    what: &str,
    batch: Option<&str>,
    cause: impl Into<Box<dyn StdError + Send + Sync>>,
) -> Error {
    Error::new(ErrorKind::Latched, what)
        .at(disk.show(&pending(batch.unwrap_or_default())))
        .because(cause)
        .hint("nothing is lost: what was not committed still stands in the logs; start again when the disk is well")
}
