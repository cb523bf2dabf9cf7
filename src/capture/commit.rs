//! The commit: steps 1 to 3 of `docs/durability.md`, and the snapshot that follows now and then.

use std::error::Error as StdError;

use super::{Capture, Committed, SnapshotPace};
use crate::cursors;
use crate::disk::is_full;
use crate::error::{Error, ErrorKind};
use crate::home::pending;
use crate::ledger::AppendError;
use crate::limits::SNAPSHOT_EVERY_BYTES;
use crate::pure::entry::Entry;
use crate::queue::outgoing::Outgoing;

impl Capture {
    /// Steps 1 to 3 of a commit, for the open batch. Without room it stays open, and the queue is full.
    pub(super) fn commit_open(&mut self) -> Result<(), Error> {
        let mut file = None;
        if let Some(batch) = self.open.batch() {
            let (bytes, layout) = (&self.open.bytes, self.options.layout);
            file = match Outgoing::write_all(&*self.disk, batch, bytes, layout) {
                Ok(file) => Some(file),
                Err(cause) if is_full(&cause) => {
                    self.set_full(cause.to_string());
                    return Ok(());
                }
                Err(cause) => return Err(self.latch("cannot write the batch", Some(&batch.temporary()), cause)),
            };
        }
        match self.commit_with(file)? {
            Committed::Yes => {
                self.snapshot_if_due();
                self.drop_excess();
            }
            Committed::NoRoom(cause) => self.set_full(cause.to_string()),
        }
        Ok(())
    }

    /// The rest of a commit, for a batch that is written but not synced, or for no batch.
    pub(super) fn commit_with(&mut self, mut file: Option<Outgoing>) -> Result<Committed, Error> {
        if let Err(error) = self.lock.check(&*self.disk) {
            self.latched = true;
            return Err(error);
        }
        let names = file.as_ref().map(Outgoing::names).unwrap_or_default();
        let name = names.first().cloned();
        // A contradiction that came into the ledger would make every start refuse.
        if let Err(what) = self.fold.accepts(&self.open.entries) {
            return Err(self.latch(
                "the cursors contradict each other; not committed:",
                name.as_deref(),
                what,
            ));
        }
        if let Some(file) = &mut file
            && let Err(cause) = file.sync(&*self.disk)
        {
            return Err(self.latch("cannot sync the batch", name.as_deref(), cause));
        }
        let appended = self.ledger.append(&self.open.entries, names, self.clock.utc());
        let (commit, mark) = match appended {
            Ok(done) => done,
            Err(AppendError::Full(cause)) => {
                if let Some(Err(cause)) = file.map(|file| file.discard(&*self.disk)) {
                    return Err(self.latch("cannot remove the batch", name.as_deref(), cause));
                }
                return Ok(Committed::NoRoom(cause));
            }
            Err(AppendError::Final(error)) => {
                self.latched = true;
                return Err(error);
            }
        };
        // It has happened. What is left is to let others see it.
        for entry in &self.open.entries {
            if let Err(what) = self.fold.apply(entry) {
                return Err(self.latch("the cursors contradict the ledger", name.as_deref(), what));
            }
        }
        self.fold.seal(&commit, mark);
        let records = self.open.records;
        log::info!(
            "commit {}: {records} records, {} ledger lines",
            commit.commit,
            commit.lines
        );
        if let Some(file) = file {
            file.sizes().for_each(|(records, bytes)| self.depth.add(records, bytes));
            if let Err(cause) = file.publish(&*self.disk) {
                return Err(self.latch("cannot make visible the batch", name.as_deref(), cause));
            }
        }
        self.committed();
        Ok(Committed::Yes)
    }

    pub(super) fn committed(&mut self) {
        self.last_commit = Some(self.clock.now());
        self.dropper.written();
        self.captured.commits += 1;
        for entry in &self.open.entries {
            let (lines, bytes, file_id) = match entry {
                Entry::Captured(run) => (run.lines, run.to - run.from, run.file_id),
                // Its bytes count here when its newline comes.
                Entry::Settled(settled) => (1, 0, settled.file_id),
                _ => continue,
            };
            self.captured.bytes += bytes;
            if lines > 0 {
                self.captured.lines += lines;
                self.captured.files.insert(file_id);
            }
        }
        if let Some(observer) = &mut self.observer {
            self.open.events.iter().for_each(observer);
        }
        self.snapshot.ledger_bytes += self.ledger.last_append_bytes();
        self.open.clear();
    }

    pub(super) fn latch(
        &mut self,
        what: &str,
        batch: Option<&str>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.latched = true;
        let path = self.disk.show(&pending(batch.unwrap_or_default()));
        Error::new(ErrorKind::Latched, what)
            .at(path)
            .because(cause)
            .hint("nothing is lost: what was not committed still stands in the logs; start again when the disk is well")
    }

    pub(super) fn snapshot_if_due(&mut self) {
        if self.snapshot.ledger_bytes > self.snapshot.snapshot_bytes.max(SNAPSHOT_EVERY_BYTES) {
            self.write_snapshot();
        }
    }

    /// A snapshot only spares the next start some reading, so failing at it is no error.
    pub(super) fn write_snapshot(&mut self) {
        match cursors::save(&*self.disk, &self.fold) {
            Ok(bytes) => {
                self.snapshot = SnapshotPace {
                    commit: self.fold.commit,
                    ledger_bytes: 0,
                    snapshot_bytes: bytes,
                };
            }
            Err(error) => {
                self.snapshot.ledger_bytes = 0;
                log::info!("the snapshot was not written: {error}");
            }
        }
    }
}
