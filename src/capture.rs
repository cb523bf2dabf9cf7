//! The consumer: takes what a source finds, and makes it durable. The one module that knows source, queue
//! and ledger together.

mod commit;
mod committer;
mod compact;
mod due;
mod encoder;
mod entries;
mod long;
mod measure;
mod open;
mod overlap;
mod pace;
mod room;
mod rooms;
mod sink;
mod stretch;
mod text;
mod whole;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use ulid::Ulid;

use crate::clock::Clock;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::home::HomeLock;
use crate::limits::{BATCH_RECORDS, RECORD_FILES, STRETCH_BYTES_MIN};
use crate::pure::entry::Entry;
use crate::pure::fold::Fold;
use crate::pure::identity::Window;
use crate::pure::ulids::Ulids;
use crate::queue::depth::{self, Depth, OnFull, QueueLimits};
use crate::queue::dropper::Dropper;
use crate::queue::outgoing::Layout;
use crate::start::{Started, start};
use committer::Committer;
use compact::Compaction;
use encoder::Encoder;
use open::OpenBatch;
use overlap::Background;
use rooms::Rooms;

pub use overlap::Overlap;
pub use pace::CommitPace;

/// How a capture behaves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Least time between two commits, unless a batch is full.
    pub commit_pace: CommitPace,
    /// When the queue is full.
    pub limits: QueueLimits,
    /// What happens then.
    pub on_full: OnFull,
    /// How records lie in the queue.
    pub layout: Layout,
    /// Whether a full batch is committed while the next one is filled, and by how many threads.
    pub overlap: Overlap,
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
    committer: Arc<Mutex<Committer>>,
    /// Before the lock: while it is at work the home is not given up.
    background: Background,
    lock: HomeLock,
    fold: Fold,
    ulids: Ulids,
    encoder: Encoder,
    /// For envelopes.
    rooms: Rooms,
    open: OpenBatch,
    /// Empty, with room.
    spare: OpenBatch,
    depth: Depth,
    dropper: Dropper,
    /// More is pending than may be, and it cannot be dropped.
    stuck: bool,
    full: Option<Full>,
    /// The most that a batch may have.
    batch_records: u32,
    /// Lines with so many bytes are taken together.
    stretch_bytes_min: usize,
    /// The most that a batch may have for want of room on the disk.
    batch_room_bytes: u64,
    /// The long lines that did not fit the disk, by their file.
    oversized: BTreeMap<Ulid, Oversized>,
    latched: bool,
    opened: Instant,
    last_commit: Option<Instant>,
    /// When the queue may be listed again only to count it.
    recount_at: Instant,
    snapshot: SnapshotPace,
    compaction: Compaction,
    observer: Option<Observer>,
    captured: Tally,
}

/// Why nothing is taken, and when that is looked at again.
struct Full {
    reason: String,
    retry_at: Instant,
}

/// A long line that did not fit the disk.
struct Oversized {
    offset: u64,
    length: u64,
    opening: Window,
    /// Bytes of its envelope that were too many.
    needed_bytes: u64,
    /// When it may be tried again, if the disk says that there is room.
    retry_at: Instant,
}

/// When the next snapshot is due.
struct SnapshotPace {
    commit: u64,
    ledger_bytes: u64,
    snapshot_bytes: u64,
    /// Something was noted of files, and nothing committed since.
    is_behind: bool,
}

/// What this capture has committed since it was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub lines: u64,
    /// Bytes of the logs that they, and blank lines, take.
    pub bytes: u64,
    /// Files that a record came from.
    pub files: BTreeSet<Ulid>,
    /// Commits.
    pub commits: u64,
}

impl Tally {
    /// Adds a commit with these ledger lines.
    fn add(&mut self, entries: &[Entry]) {
        self.commits += 1;
        for entry in entries {
            let (lines, bytes, file_id) = match entry {
                Entry::Captured(run) => (run.lines, run.to - run.from, run.file_id),
                // Its bytes count here when its newline comes.
                Entry::Settled(settled) => (1, 0, settled.file_id),
                _ => continue,
            };
            self.bytes += bytes;
            if lines > 0 {
                self.lines += lines;
                self.files.insert(file_id);
            }
        }
    }
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
        let opened = clock.now();
        let committer = Committer::new(Arc::clone(&disk), lock.mark(), ledger, options.layout);
        let committer = Arc::new(Mutex::new(committer));
        let rooms = Rooms::default();
        Ok(Self {
            background: Background::new(options.overlap, Arc::clone(&committer)),
            committer,
            ulids: Ulids::above(fold.ulid_high_water, random),
            snapshot: SnapshotPace {
                // What the snapshot of before does not cover counts already.
                commit: if behind_bytes == 0 { fold.commit } else { 0 },
                ledger_bytes: behind_bytes,
                snapshot_bytes: 0,
                is_behind: false,
            },
            encoder: Encoder::new(options.overlap, rooms.clone()),
            compaction: Compaction::new(opened, options.on_full),
            opened,
            disk,
            clock,
            options,
            lock,
            fold,
            open: OpenBatch::of(options.layout, rooms.clone()),
            spare: OpenBatch::of(options.layout, rooms.clone()),
            rooms,
            depth,
            dropper: Dropper::default(),
            stuck: false,
            full: None,
            batch_records: match options.layout {
                Layout::Batch => BATCH_RECORDS,
                Layout::Record => RECORD_FILES,
            },
            stretch_bytes_min: STRETCH_BYTES_MIN,
            batch_room_bytes: u64::MAX,
            oversized: BTreeMap::new(),
            latched: false,
            last_commit: None,
            recount_at: opened,
            observer: None,
            captured: Tally::default(),
        })
    }

    /// Sets who hears of each event once it is committed. Lines are copied for it.
    pub fn observe(&mut self, observer: Observer) {
        self.observer = Some(observer);
    }

    /// For tests: batches of another size.
    pub fn batch_records_max(&mut self, records: u32) {
        self.batch_records = records;
    }

    /// For tests: lines with so many bytes are taken together.
    pub fn stretch_bytes_min(&mut self, bytes: usize) {
        self.stretch_bytes_min = bytes;
    }

    /// For tests: ledger segments of another size.
    pub fn segment_bytes_max(&mut self, bytes: u64) {
        committer::lock(&self.committer).segment_bytes_max(bytes);
    }

    /// Everything that was committed.
    pub fn fold(&self) -> &Fold {
        &self.fold
    }

    /// What tells it the time.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
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
        self.open.source_bytes() + self.background.source_bytes()
    }

    /// Commits what was taken. With no room it stays taken and is committed later.
    pub fn commit(&mut self) -> Result<(), Error> {
        self.alive()?;
        self.finish()?;
        self.open.close_run();
        if self.open.is_empty() {
            for noted in std::mem::take(&mut self.open.noted) {
                self.snapshot.is_behind |= self.fold.note(&noted);
            }
            return Ok(());
        }
        self.commit_open()
    }

    /// Commits, writes a snapshot and gives the home up. What could not be committed for want of room is
    /// read again by the next start.
    pub fn stop(mut self) -> Result<Tally, Error> {
        self.commit()?;
        // What the first one made room for by dropping is told in the ledger.
        self.commit()?;
        if self.fold.commit > self.snapshot.commit || self.snapshot.is_behind {
            self.write_snapshot();
        }
        self.lock.clear();
        Ok(self.captured)
    }

    fn alive(&self) -> Result<(), Error> {
        if self.latched {
            return Err(
                Error::new(ErrorKind::Latched, "the capture has stopped after a failed write").hint("start again"),
            );
        }
        Ok(())
    }
}
