//! A full batch is committed while the next one is filled.
//!
//! One commit is under way at a time, and the next one begins when it has ended: the order of what reaches the disk is
//! that of commits one after the other.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use jiff::Timestamp;

use super::Capture;
use super::committer::{Committer, End, lock};
use super::open::OpenBatch;
use crate::error::{Error, ErrorKind};
use crate::limits::{BATCH_BYTES, BATCH_RECORDS, OVERLAP_BATCHES};
use crate::queue::depth::OnFull;
use crate::queue::outgoing::Layout;

/// When a full batch is committed, and when the envelopes of many lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// While the next one is filled, by a thread of its own.
    #[default]
    Thread,
    /// Before anything more is taken.
    Never,
    /// When the next one is full or anything else is committed, and so as late as can be, but by the same thread: for tests,
    /// where a thread would leave the order of what happens to chance.
    Late,
}

struct Task {
    batch: OpenBatch,
    at: Timestamp,
}

struct Ended {
    batch: OpenBatch,
    end: Result<End, Error>,
}

/// The commit that is under way.
pub(super) struct Background {
    overlap: Overlap,
    committer: Arc<Mutex<Committer>>,
    worker: Option<Worker>,
    /// Bytes of the logs that it covers; None when there is none.
    under_way: Option<u64>,
    /// To be done by this thread.
    late: Option<Task>,
}

/// Dropping it waits until it has ended.
struct Worker {
    tasks: Option<Sender<Task>>,
    ended: Receiver<Ended>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    pub(super) fn new(overlap: Overlap, committer: Arc<Mutex<Committer>>) -> Self {
        Self {
            overlap,
            committer,
            worker: None,
            under_way: None,
            late: None,
        }
    }

    pub(super) fn source_bytes(&self) -> u64 {
        self.under_way.unwrap_or_default()
    }

    pub(super) fn is_at_work(&self) -> bool {
        self.under_way.is_some()
    }

    fn begin(&mut self, task: Task) -> Result<(), Error> {
        self.under_way = Some(task.batch.source_bytes());
        if self.overlap != Overlap::Thread {
            self.late = Some(task);
            return Ok(());
        }
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(Arc::clone(&self.committer))?),
        };
        let is_sent = worker.tasks.as_ref().is_some_and(|tasks| tasks.send(task).is_ok());
        if is_sent { Ok(()) } else { Err(gone()) }
    }

    /// Waits for it.
    fn end(&mut self) -> Result<Option<Ended>, Error> {
        if self.under_way.take().is_none() {
            return Ok(None);
        }
        if let Some(task) = self.late.take() {
            return Ok(Some(task.run(&self.committer)));
        }
        let worker = self.worker.as_ref().ok_or_else(gone)?;
        worker.ended.recv().map(Some).map_err(|_| gone())
    }
}

impl Task {
    fn run(mut self, committer: &Mutex<Committer>) -> Ended {
        let end = lock(committer).commit(&mut self.batch, self.at);
        Ended { batch: self.batch, end }
    }
}

impl Worker {
    fn start(committer: Arc<Mutex<Committer>>) -> Result<Self, Error> {
        let (tasks, from_engine) = channel::<Task>();
        let (to_engine, ended) = channel();
        let work = move || {
            for task in from_engine {
                if to_engine.send(task.run(&committer)).is_err() {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("commit".into()).spawn(work);
        let thread = thread.map_err(|cause| Error::new(ErrorKind::Latched, "cannot start a thread").because(cause))?;
        Ok(Self {
            tasks: Some(tasks),
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was seen, if anybody looked.
            let _ = thread.join();
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Latched, "the thread that commits has ended").hint("start again; nothing is lost")
}

impl Capture {
    /// Commits the full batch, beside the filling of the next one where nothing hangs on how it ends.
    pub(super) fn pass_on(&mut self) -> Result<(), Error> {
        if !self.may_overlap() {
            return self.commit();
        }
        self.alive()?;
        self.finish()?;
        if self.full.is_some() {
            return Ok(());
        }
        self.open.close_run();
        self.may_commit()?;
        let at = self.clock.utc();
        let batch = self.take_open();
        self.background
            .begin(Task { batch, at })
            .inspect_err(|_| self.latched = true)
    }

    /// Waits for the commit that is under way, if one is.
    pub(super) fn finish(&mut self) -> Result<(), Error> {
        match self.background.end() {
            Ok(None) => Ok(()),
            Ok(Some(ended)) => self.conclude(ended.batch, ended.end),
            Err(error) => {
                self.latched = true;
                Err(error)
            }
        }
    }

    /// Near a limit of the queue or of the disk, the next batch depends on how this one ends, and its size must be known
    /// to the byte.
    pub(super) fn may_overlap(&self) -> bool {
        let (records, bytes) = self.options.limits.room(self.depth);
        self.options.overlap != Overlap::Never
            && self.options.layout == Layout::Batch
            && self.options.on_full == OnFull::Wait
            && self.full.is_none()
            && records >= OVERLAP_BATCHES * u64::from(BATCH_RECORDS)
            && bytes.min(self.batch_room_bytes) >= OVERLAP_BATCHES * BATCH_BYTES as u64
    }
}
