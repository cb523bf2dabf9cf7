//! What comes before and after the steps of a commit, and the snapshot that follows now and then.

use std::error::Error as StdError;

use super::committer::{Done, End, latched, lock};
use super::open::OpenBatch;
use super::{Capture, SnapshotPace};
use crate::cursors;
use crate::error::Error;
use crate::limits::SNAPSHOT_EVERY_BYTES;
use crate::queue::outgoing::Outgoing;

impl Capture {
    /// Commits the open batch. Without room it stays open, and the queue is full.
    pub(super) fn commit_open(&mut self) -> Result<(), Error> {
        self.may_commit()?;
        let at = self.clock.utc();
        let mut batch = self.take_open();
        let ended = lock(&self.committer).commit(&mut batch, at);
        self.conclude(batch, ended)
    }

    /// The rest of a commit, for files that are written but not synced. False when there is no room: then what is open
    /// stays so.
    pub(super) fn commit_with(&mut self, file: Outgoing) -> Result<bool, Error> {
        self.may_commit()?;
        let at = self.clock.utc();
        let ended = lock(&self.committer).commit_with(Some(file), &self.open.entries, at);
        if let Ok(End::NoRoom(_)) = ended {
            return Ok(false);
        }
        let batch = self.take_open();
        self.conclude(batch, ended)?;
        Ok(true)
    }

    /// Fails unless what is open fits what was committed.
    pub(super) fn may_commit(&mut self) -> Result<(), Error> {
        // A contradiction that came into the ledger would make every start refuse.
        self.fold.accepts(&self.open.entries).map_err(|what| {
            let name = self.open.batch().map(|batch| batch.name());
            self.latch(
                "the cursors contradict each other; not committed:",
                name.as_deref(),
                what,
            )
        })
    }

    /// What is open, which is nothing then.
    pub(super) fn take_open(&mut self) -> OpenBatch {
        self.open.text.close(&mut self.encoder);
        let empty = OpenBatch::of(self.options.layout, self.rooms.clone());
        let spare = std::mem::replace(&mut self.spare, empty);
        std::mem::replace(&mut self.open, spare)
    }

    /// Takes down how the commit of a batch ended. Without room it is open again, and the queue is full.
    pub(super) fn conclude(&mut self, mut batch: OpenBatch, ended: Result<End, Error>) -> Result<(), Error> {
        match ended {
            Ok(End::Done(done)) => {
                self.committed(&batch, done)?;
                batch.clear();
                // The room that a batch has taken is used again.
                if self.open.is_empty() && self.open.noted.is_empty() {
                    std::mem::swap(&mut batch, &mut self.open);
                }
                self.spare = batch;
                self.snapshot_if_due();
                self.drop_excess();
                Ok(())
            }
            Ok(End::NoRoom(cause)) => {
                let next = self.take_open();
                self.open = batch.joined(next).inspect_err(|_| self.latched = true)?;
                self.set_full(cause.to_string());
                Ok(())
            }
            Err(error) => {
                self.latched = true;
                Err(error)
            }
        }
    }

    fn committed(&mut self, batch: &OpenBatch, done: Done) -> Result<(), Error> {
        for entry in &batch.entries {
            if let Err(what) = self.fold.apply(entry) {
                let name = batch.batch().map(|batch| batch.name());
                return Err(self.latch("the cursors contradict the ledger", name.as_deref(), what));
            }
        }
        self.fold.seal(&done.commit, done.mark);
        for noted in &batch.noted {
            self.fold.note(noted);
        }
        let (number, lines, records) = (done.commit.commit, done.commit.lines, batch.records);
        log::info!("commit {number}: {records} records, {lines} ledger lines");
        for (records, bytes) in done.files {
            self.depth.add(records, bytes);
        }
        self.snapshot.ledger_bytes += done.ledger_bytes;
        self.last_commit = Some(self.clock.now());
        self.dropper.written();
        self.captured.add(&batch.entries);
        if let Some(observer) = &mut self.observer {
            batch.events.iter().for_each(observer);
        }
        Ok(())
    }

    pub(super) fn latch(
        &mut self,
        what: &str,
        batch: Option<&str>,
        cause: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Error {
        self.latched = true;
        latched(&*self.disk, what, batch, cause)
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
                    is_behind: false,
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
