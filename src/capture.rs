//! The consumer: takes what a source finds, and makes it durable. The one module that knows source, queue
//! and ledger together.

mod long;
mod open;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::clock::Clock;
use crate::cursors;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::home::{HomeLock, pending};
use crate::ledger::{AppendError, Ledger, is_full};
use crate::limits::{BATCH_BYTES, BATCH_RECORDS, COMMIT_INTERVAL, COMMIT_LINES_MAX, FULL_RETRY, SNAPSHOT_EVERY_BYTES};
use crate::pure::entry::{Delete, Entry, New, Rotate, Truncate};
use crate::pure::fold::Fold;
use crate::pure::lines::lines;
use crate::pure::record::{LogFile, appended_at, path_to_text};
use crate::pure::ulids::Ulids;
use crate::queue::batch::BatchFile;
use crate::queue::depth::{self, Depth, QueueLimits};
use crate::source::{Block, EventSink, LongLine, LongVerdict, Transition, Verdict};
use crate::start::{Started, start};
use open::OpenBatch;

/// How a capture behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Least time between two commits, unless a batch is full.
    pub commit_interval: Duration,
    /// When the queue is full.
    pub limits: QueueLimits,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            commit_interval: COMMIT_INTERVAL,
            limits: QueueLimits::default(),
        }
    }
}

/// Hears of each event once it is committed.
pub type Observer = Box<dyn FnMut(&Event) + Send>;

/// A home that is captured into.
///
/// What a source hands over is collected in a batch and made durable by [`Capture::commit`], in the order
/// of `docs/durability.md`. After an error of kind [`ErrorKind::Latched`] nothing more is written, and only a
/// new start goes on. Dropping it without [`Capture::stop`] is what a crash is: nothing committed is lost,
/// what was not committed is read again.
pub struct Capture {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    options: CaptureOptions,
    lock: HomeLock,
    ledger: Ledger,
    fold: Fold,
    ulids: Ulids,
    open: OpenBatch,
    depth: Depth,
    full: Option<Full>,
    latched: bool,
    opened: Instant,
    last_commit: Option<Instant>,
    snapshot: SnapshotPace,
    observer: Option<Observer>,
    captured: Tally,
}

/// Why nothing is taken, and when that is looked at again.
struct Full {
    reason: String,
    retry_at: Instant,
}

/// When the next snapshot is due.
struct SnapshotPace {
    commit: u64,
    ledger_bytes: u64,
    snapshot_bytes: u64,
}

/// What this capture has committed since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub lines: u64,
    /// Files that a record came from.
    pub files: std::collections::BTreeSet<ulid::Ulid>,
    /// Commits.
    pub commits: u64,
}

/// Whether a commit was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Committed {
    Yes,
    NoRoom,
}

impl Capture {
    /// Takes the home, repairs it, and is ready to take lines.
    ///
    /// Fails as [`ErrorKind::HomeInUse`] when another watcher has the home, and with a hint when the ledger
    /// is damaged.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Box<dyn FnMut() -> u128 + Send>,
        options: CaptureOptions,
    ) -> Result<Self, Error> {
        let Started {
            lock,
            fold,
            ledger,
            behind_bytes,
        } = start(&disk, clock.utc())?;
        let depth = depth::list(&*disk)?.depth();
        Ok(Self {
            ulids: Ulids::above(fold.ulid_high_water, random),
            snapshot: SnapshotPace {
                // What the snapshot of before does not cover counts already.
                commit: if behind_bytes == 0 { fold.commit } else { 0 },
                ledger_bytes: behind_bytes,
                snapshot_bytes: 0,
            },
            opened: clock.now(),
            disk,
            clock,
            options,
            lock,
            ledger,
            fold,
            open: OpenBatch::default(),
            depth,
            full: None,
            latched: false,
            last_commit: None,
            observer: None,
            captured: Tally::default(),
        })
    }

    /// Sets who hears of each event once it is committed. Lines are copied for it.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// For tests: ledger segments of another size.
    pub fn segment_bytes_max(&mut self, bytes: u64) {
        self.ledger.segment_bytes_max(bytes);
    }

    /// Everything that was committed.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// What was committed since this capture was opened.
    pub fn captured(&self) -> &Tally {
        &self.captured
    }

    /// Why nothing is taken now; None when something is.
    pub fn queue_full(&self) -> Option<&str> {
        self.full.as_ref().map(|full| full.reason.as_str())
    }

    /// Bytes of lines that were taken and are not committed.
    pub fn uncommitted_bytes(&self) -> u64 {
        self.open.source_bytes()
    }

    /// When [`Capture::tick`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.full {
            Some(full) => Some(full.retry_at),
            None if self.open.is_empty() => None,
            None => Some(self.commit_due()),
        }
    }

    /// Commits if that is due, and looks for room if there was none.
    pub fn tick(&mut self) -> Result<(), Error> {
        self.alive()?;
        if self.full.is_some() {
            self.find_room()?;
        }
        if self.full.is_none() && !self.open.is_empty() && self.clock.now() >= self.commit_due() {
            self.commit()?;
        }
        Ok(())
    }

    /// Commits what was taken. With no room it stays taken and is committed later.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.alive()?;
        self.open.close_run();
        if self.open.is_empty() {
            return Ok(());
        }
        if let Committed::Yes = self.commit_open()? {
            self.snapshot_if_due();
        }
        Ok(())
    }

    /// Commits, writes a snapshot and gives the home up. What could not be committed for want of room is
    /// read again by the next start.
    pub fn stop(mut self) -> Result<Tally, Error> {
        self.commit()?;
        if self.fold.commit > self.snapshot.commit {
            self.write_snapshot();
        }
        self.lock.clear();
        Ok(self.captured)
    }

    /// When the next commit is due; at once when there was none.
    fn commit_due(&self) -> Instant {
        self.last_commit
            .map_or(self.opened, |last| last + self.options.commit_interval)
    }

    fn alive(&self) -> Result<(), Error> {
        if self.latched {
            return Err(
                Error::new(ErrorKind::Latched, "the capture has stopped after a failed write").hint("start again"),
            );
        }
        Ok(())
    }

    /// Steps 1 to 3 of a commit, for the open batch.
    fn commit_open(&mut self) -> Result<Committed, Error> {
        let mut file = None;
        if let Some(batch) = self.open.batch() {
            file = match self.write_batch(batch) {
                Ok(file) => Some(file),
                Err(cause) if is_full(&cause) => return Ok(self.no_room(&cause)),
                Err(cause) => return Err(self.latch("cannot write the batch", Some(&batch.temporary()), cause)),
            };
        }
        self.commit_with(file)
    }

    fn write_batch(&mut self, batch: crate::pure::name::Batch) -> std::io::Result<BatchFile> {
        let mut file = BatchFile::create(&*self.disk, batch)?;
        match file.write(&self.open.bytes) {
            Ok(()) => Ok(file),
            Err(cause) => {
                file.discard(&*self.disk)?;
                Err(cause)
            }
        }
    }

    /// The rest of a commit, for a batch that is written but not synced, or for no batch.
    fn commit_with(&mut self, mut file: Option<BatchFile>) -> Result<Committed, Error> {
        if let Err(error) = self.lock.check(&*self.disk) {
            self.latched = true;
            return Err(error);
        }
        let name = file.as_ref().map(|file| file.batch().name());
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
        let appended = self
            .ledger
            .append(&self.open.entries, name.iter().cloned().collect(), self.clock.utc());
        let (commit, mark) = match appended {
            Ok(done) => done,
            Err(AppendError::Full(cause)) => {
                if let Some(Err(cause)) = file.map(|file| file.discard(&*self.disk)) {
                    return Err(self.latch("cannot remove the batch", name.as_deref(), cause));
                }
                return Ok(self.no_room(&cause));
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
        if let Some(file) = file {
            let (records, bytes) = (file.batch().records, file.bytes());
            if let Err(cause) = file.publish(&*self.disk) {
                return Err(self.latch("cannot make visible the batch", name.as_deref(), cause));
            }
            self.depth.add(records, bytes);
        }
        self.committed();
        Ok(Committed::Yes)
    }

    fn committed(&mut self) {
        self.last_commit = Some(self.clock.now());
        self.captured.commits += 1;
        for entry in &self.open.entries {
            if let Entry::Captured(run) = entry
                && run.lines > 0
            {
                self.captured.lines += run.lines;
                self.captured.files.insert(run.file_id);
            }
        }
        if let Some(observer) = &mut self.observer {
            self.open.events.iter().for_each(observer);
        }
        self.snapshot.ledger_bytes += self.ledger.last_append_bytes();
        self.open.clear();
    }

    fn latch(
        &mut self,
        what: &str,
        batch: Option<&str>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.latched = true;
        let path = self.disk.show(&pending(batch.unwrap_or_default()));
        let error = Error::new(ErrorKind::Latched, what).at(path).because(cause).hint(
            "nothing is lost: what was not committed still stands in the logs; start again when the disk is well",
        );
        log::error!(code = "watcher.latched"; "{error}: nothing more is written");
        error
    }

    fn snapshot_if_due(&mut self) {
        if self.snapshot.ledger_bytes > self.snapshot.snapshot_bytes.max(SNAPSHOT_EVERY_BYTES) {
            self.write_snapshot();
        }
    }

    /// A snapshot only spares the next start some reading, so failing at it is no error.
    fn write_snapshot(&mut self) {
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

    fn no_room(&mut self, cause: &dyn std::fmt::Display) -> Committed {
        self.set_full(cause.to_string());
        Committed::NoRoom
    }

    fn set_full(&mut self, reason: String) {
        let retry_at = self.clock.now() + FULL_RETRY;
        if self.full.is_none() {
            log::warn!(code = "queue.full", reason = reason.as_str();
                "the queue is full ({reason}): reading stops, nothing is lost; drain it, or make room");
        }
        self.full = Some(Full { reason, retry_at });
    }

    /// Whether something may be taken now.
    fn has_room(&mut self) -> Result<bool, Error> {
        self.alive()?;
        if self.full.is_none() && self.open.is_empty() {
            self.look_for_limits();
        }
        if self.full.is_some() {
            self.find_room()?;
        }
        Ok(self.full.is_none())
    }

    /// Sets or clears `full` by the limits and the disk.
    fn look_for_limits(&mut self) {
        let mut reason = self.options.limits.reached(self.depth);
        if reason.is_some() {
            // Others drain it; only a listing knows. One that fails shows no room.
            match depth::list(&*self.disk) {
                Ok(listing) => {
                    self.depth = listing.depth();
                    reason = self.options.limits.reached(self.depth);
                }
                Err(error) => log::info!("the queue stays full: {error}"),
            }
        }
        let space = self.disk.space();
        if reason.is_none() && space.is_ok_and(depth::disk_is_full) {
            reason = Some("the disk is full".into());
        }
        match reason {
            Some(reason) => self.set_full(reason),
            None => self.full = None,
        }
    }

    /// At most once a second: whether there is room again, and a commit of what waits for it.
    fn find_room(&mut self) -> Result<(), Error> {
        if self.full.as_ref().is_some_and(|full| self.clock.now() < full.retry_at) {
            return Ok(());
        }
        if self.open.is_empty() {
            self.look_for_limits();
        } else {
            self.open.close_run();
            if self.commit_open()? == Committed::NoRoom {
                return Ok(());
            }
            self.full = None;
        }
        if self.full.is_none() {
            log::info!(code = "queue.room"; "there is room again: reading goes on");
        }
        Ok(())
    }

    /// Whether the open batch must be committed before anything is added.
    fn batch_is_full(&self) -> bool {
        let (records, bytes) = self.options.limits.room(self.depth);
        u64::from(self.open.records) >= records.min(BATCH_RECORDS.into())
            || self.open.bytes.len() as u64 >= bytes.min(BATCH_BYTES as u64)
            || self.open.entries.len() + 1 >= COMMIT_LINES_MAX
    }

    /// Makes room in the open batch, if need be by a commit.
    fn make_way(&mut self) -> Result<bool, Error> {
        if self.batch_is_full() {
            self.commit()?;
        }
        self.has_room()
    }
}

impl EventSink for Capture {
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error> {
        if !self.make_way()? {
            return Ok(Verdict::Refused);
        }
        self.open.close_run();
        self.open.entries.push(entry_of(file, transition));
        if self.observer.is_some() {
            let event = Event::of_transition(file, transition, self.clock.utc());
            self.open.events.push(event);
        }
        Ok(Verdict::Taken)
    }

    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error> {
        let accepted_at = self.clock.utc();
        let (stamp, unix_ms) = (appended_at(accepted_at), self.clock.unix_ms());
        let (mut taken, mut noted) = (0, 0);
        for line in lines(&block.bytes[block.lead..], block.offset, block.number) {
            if self.batch_is_full() || !self.open.continues(block.file, line.offset) {
                self.open.extend_run(block, noted, taken);
                noted = taken;
                if !self.make_way()? {
                    return Ok(taken);
                }
                self.open.begin_run(block.file, line.offset, line.number);
            }
            self.open.push(&line, &stamp, unix_ms, &mut self.ulids);
            if self.observer.is_some() && !line.bytes.is_empty() {
                let length = line.bytes.len() as u64;
                let event = Event::of_line(block.file, line.offset, length, Some(line.bytes), accepted_at);
                self.open.events.push(event);
            }
            taken += line.bytes.len() + 1;
        }
        self.open.extend_run(block, noted, taken);
        Ok(taken)
    }

    fn long_line(&mut self, line: &mut dyn LongLine) -> Result<LongVerdict, Error> {
        if self.has_room()? {
            self.commit()?;
        }
        if !self.has_room()? {
            return Ok(LongVerdict::Refused);
        }
        self.capture_long(line)
    }
}

fn entry_of(file: &LogFile, transition: &Transition) -> Entry {
    let (path, path_base64) = path_to_text(&file.path);
    let session_id = file.session_id().into_owned();
    let (file_id, epoch, identity) = (file.file_id, file.epoch, file.identity);
    match transition {
        Transition::New { mtime } => Entry::New(New {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            continues: None,
        }),
        Transition::Rotate { old, mtime } => Entry::Rotate(Rotate {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            old_file_id: old.file_id,
            old_inode: old.identity.inode,
            continues: None,
        }),
        Transition::Truncate { reason, was } => Entry::Truncate(Truncate {
            file_id,
            epoch,
            path,
            path_base64,
            reason: *reason,
            was: *was,
            kept: 0,
            kept_from: None,
        }),
        Transition::Delete { offset } => Entry::Delete(Delete {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            offset: *offset,
        }),
    }
}
