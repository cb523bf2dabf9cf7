//! The writer as its callers see it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::backlog::Backlog;
use super::shared::{Phase, Shared, State, deadline, wait};
use super::spill::Spill;
use super::worker::{self, Worker};
use super::{Options, Pair, ProvenanceStore, Refused, Stopped, Why, spiller};
use crate::disk::Disk;

/// Takes pairs at once and brings them to a [`ProvenanceStore`] later; the module says what is promised.
///
/// It can be shared between threads. Dropping it stops it with the timeout of its options; a drop never panics, and
/// does not happen when the process ends by `exit`.
pub struct ProvenanceWriter(Mode);

enum Mode {
    Behind(Arc<Shared>),
    Direct {
        store: Arc<dyn ProvenanceStore>,
        options: Options,
        /// Held during a call, so that they come one at a time.
        is_stopped: Mutex<bool>,
    },
}

impl ProvenanceWriter {
    /// Starts a writer whose spill is in this home. Spill of writers that are no more is delivered first.
    ///
    /// Fails only if the system has no thread for it.
    pub fn spawn(disk: Arc<dyn Disk>, store: Arc<dyn ProvenanceStore>, options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(options));
        // From here on an error drops the writer, which ends the thread that there is.
        let this = Self(Mode::Behind(Arc::clone(&shared)));
        let spill = Spill::new(Arc::clone(&disk));
        // A thread that cannot be started is done as well.
        let (worker_done, spiller_done) = (worker::Done(Arc::clone(&shared)), spiller::Done(Arc::clone(&shared)));
        thread::Builder::new().name("tailspool-spill".into()).spawn(move || {
            spiller::run(&spiller_done.0, spill);
        })?;
        let worker = Worker::new(shared, store, disk);
        thread::Builder::new().name("tailspool-prov".into()).spawn(move || {
            let _done = worker_done;
            worker.run();
        })?;
        Ok(this)
    }

    /// A writer without threads and without spill: each batch goes to the store before `enqueue` returns.
    pub fn synchronous(store: Arc<dyn ProvenanceStore>, options: Options) -> Self {
        Self(Mode::Direct {
            store,
            options,
            is_stopped: Mutex::new(false),
        })
    }

    /// Takes a batch. Never blocks on the store or on a disk; an empty batch is none.
    ///
    /// What was taken is in memory: it is with the store or on disk after [`Self::flush`] or [`Self::stop`] said so,
    /// and a crash before that may lose it. The pairs of one batch, and the batches of one thread, keep their order.
    /// A refusal is logged as well, so that a caller for whom nothing depends on it may go on.
    pub fn enqueue(&self, batch: Vec<Pair>) -> Result<(), Refused> {
        if batch.is_empty() {
            return Ok(());
        }
        let taken = match &self.0 {
            Mode::Behind(shared) => enqueue(shared, batch),
            Mode::Direct {
                store,
                options,
                is_stopped,
            } => {
                let is_stopped = is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
                if *is_stopped {
                    refused(&Why::Stopped, &batch, true);
                    Err((Why::Stopped, batch))
                } else {
                    hand_over(&**store, options, batch)
                }
            }
        };
        taken.map_err(|(why, pairs)| Refused { why, pairs })
    }

    /// Waits until all that was enqueued before, and what earlier writers left, is with the store; returns how many
    /// pairs are not, after `timeout` at the latest. Spilled ones count, and those in files that cannot be read.
    pub fn flush(&self, timeout: Duration) -> u64 {
        let Mode::Behind(shared) = &self.0 else { return 0 };
        let mut state = shared.lock();
        let target = state.backlog.taken();
        state.urgent_below = target;
        state.nudges += 1;
        shared.work.notify_all();
        let is_over = |state: &State| {
            let has_all = state.claims.is_some() && state.backlog.is_through(target);
            has_all || state.phase == Phase::Ended
        };
        let (state, _) = wait(&shared.done, state, deadline(timeout), is_over);
        state.backlog.left_of(target)
    }

    /// Stops: takes no more, gives the store until `timeout` to take what there is, and writes the rest to disk.
    ///
    /// Waits at most `stop_grace` longer, for the disk. A store that is stuck is left behind with its thread, which
    /// does nothing more once the call returns; what it holds is spilled. A second stop has nothing to do.
    pub fn stop(&self, timeout: Duration) -> Stopped {
        match &self.0 {
            Mode::Behind(shared) => stop(shared, timeout),
            Mode::Direct { is_stopped, .. } => {
                *is_stopped.lock().unwrap_or_else(PoisonError::into_inner) = true;
                Stopped::default()
            }
        }
    }
}

impl Drop for ProvenanceWriter {
    fn drop(&mut self) {
        let Mode::Behind(shared) = &self.0 else { return };
        let lost = stop(shared, shared.options.timeout).unkept.len();
        if lost > 0 {
            log::error!(code = "provenance.lost", pairs = lost;
                "{lost} pairs are lost: neither the provenance store nor the disk took them");
        }
    }
}

/// What was not taken, and why.
type NotTaken = (Why, Vec<Pair>);

fn enqueue(shared: &Shared, batch: Vec<Pair>) -> Result<(), NotTaken> {
    let bytes = batch.iter().map(Pair::bytes).sum();
    let mut state = shared.lock();
    if state.phase != Phase::Running {
        drop(state);
        refused(&Why::Stopped, &batch, true);
        return Err((Why::Stopped, batch));
    }
    if !state.backlog.has_room(batch.len(), bytes) {
        let is_first = !std::mem::replace(&mut state.is_refusing, true);
        drop(state);
        refused(&Why::NoRoom, &batch, is_first);
        return Err((Why::NoRoom, batch));
    }
    state.is_refusing = false;
    let filled = |backlog: &Backlog| (backlog.holds_memory(), backlog.fills_a_call());
    let before = filled(&state.backlog);
    state.backlog.push(batch);
    let wakes_worker = before != filled(&state.backlog);
    let wakes_spiller = state.backlog.is_over();
    drop(state);
    if wakes_worker {
        shared.work.notify_one();
    }
    if wakes_spiller {
        shared.spill.notify_one();
    }
    Ok(())
}

fn refused(why: &Why, batch: &[Pair], is_first: bool) {
    let level = if is_first { log::Level::Warn } else { log::Level::Debug };
    log::log!(level, code = "provenance.refused", pairs = batch.len();
        "pairs are refused: {why}");
}

fn hand_over(store: &dyn ProvenanceStore, options: &Options, mut batch: Vec<Pair>) -> Result<(), NotTaken> {
    let calls = batch.chunks(options.call_pairs_max.max(1));
    let mut taken = 0;
    for call in calls {
        if let Err(error) = worker::call(store, call) {
            log::warn!(code = "provenance.flush_failed", pairs = call.len();
                "the provenance store did not take a batch: {error}");
            batch.drain(..taken);
            return Err((Why::Store(error), batch));
        }
        taken += call.len();
    }
    Ok(())
}

fn stop(shared: &Shared, timeout: Duration) -> Stopped {
    let mut state = shared.lock();
    if state.phase != Phase::Running {
        return Stopped::default();
    }
    state.phase = Phase::Stopping;
    shared.wake_all();
    let (mut state, _) = wait(&shared.done, state, deadline(timeout), |state| state.worker_is_done);
    state.phase = Phase::Ending;
    shared.wake_all();
    let grace = deadline(shared.options.stop_grace);
    let (mut state, _) = wait(&shared.done, state, grace, |state| state.spiller_is_done);
    state.phase = Phase::Ended;
    let all = state.backlog.taken();
    let unkept = state.backlog.take_memory();
    let spilled = state.backlog.left_of(all);
    let claims = std::mem::take(&mut state.claims);
    drop(state);
    // Closing may block.
    drop(claims);
    shared.wake_all();
    Stopped { spilled, unkept }
}
