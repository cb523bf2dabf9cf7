//! The thread that hands pairs to the store, always the oldest first: files, then memory.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::backlog::Backlog;
use super::names::in_overflow;
use super::options::Backoff;
use super::reader::{Chunk, SpillReader};
use super::shared::{Phase, Shared, Task};
use super::store::StoreError;
use super::{Pair, ProvenanceStore, adopt, quarantine};
use crate::disk::Disk;
use crate::limits::SPILL_READ_TRIES;
use crate::show::Shown;

pub(super) struct Worker {
    shared: Arc<Shared>,
    store: Arc<dyn ProvenanceStore>,
    disk: Arc<dyn Disk>,
    /// The oldest file, if some of it was read.
    open: Option<(String, SpillReader)>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, store: Arc<dyn ProvenanceStore>, disk: Arc<dyn Disk>) -> Self {
        Self {
            shared,
            store,
            disk,
            open: None,
        }
    }

    pub(super) fn run(mut self) {
        self.adopt();
        loop {
            match self.shared.next_task() {
                Task::File { name, done } => self.some_of_file(&name, done),
                Task::Memory(pairs) => self.memory(&pairs),
                Task::End => return,
            }
        }
    }

    /// Before anything of our own: what earlier writers left.
    fn adopt(&self) {
        if self.shared.lock().phase >= Phase::Ending {
            return;
        }
        let (claims, files) = adopt::adopt(&*self.disk).unwrap_or_else(|error| {
            log::warn!(code = "provenance.spill_unreadable";
                "what an earlier process left for the provenance store waits for the next one: {error}");
            (Vec::new(), Vec::new())
        });
        let mut state = self.shared.lock();
        if state.phase < Phase::Ending {
            state.claims = Some(claims);
            state.backlog.adopt(files);
        }
        drop(state);
        self.shared.done.notify_all();
    }

    fn memory(&self, pairs: &[Pair]) {
        if self.hand_over(pairs) {
            let took = |backlog: &mut Backlog| backlog.took_from_memory(pairs.len());
            self.shared.note(took);
        }
    }

    fn some_of_file(&mut self, name: &str, done: u64) {
        match self.read(name, done) {
            Ok(chunk) => self.chunk(name, &chunk),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                log::warn!(code = "provenance.spill_unreadable";
                    "{} was removed by somebody else", Shown::path(&self.disk.show(&in_overflow(name))));
                self.finished(true);
            }
            Err(error) => {
                log::warn!(code = "provenance.spill_unreadable";
                    "{} stays for a later process: {error}", Shown::path(&self.disk.show(&in_overflow(name))));
                self.finished(true);
            }
        }
    }

    /// The next chunk of a file. A file that cannot be read is tried a few times, since the reason may pass.
    fn read(&mut self, name: &str, done: u64) -> io::Result<Chunk> {
        let mut backoff = Backoff::new(&self.shared.options);
        let mut tries = 1;
        loop {
            match self.try_read(name, done) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && tries < SPILL_READ_TRIES => {
                    self.open = None;
                    tries += 1;
                    self.shared.pause(&self.shared.work, backoff.next());
                }
                outcome => return outcome,
            }
        }
    }

    fn try_read(&mut self, name: &str, done: u64) -> io::Result<Chunk> {
        let reader = match self.open.take() {
            Some((open, reader)) if open == name => reader,
            _ => SpillReader::open(&*self.disk, &in_overflow(name), done)?,
        };
        let (_, reader) = self.open.insert((name.to_owned(), reader));
        let pairs_max = self.shared.lock().backlog.call_pairs_max();
        reader.chunk(pairs_max)
    }

    fn chunk(&mut self, name: &str, chunk: &Chunk) {
        if !chunk.pairs.is_empty() && !self.hand_over(&chunk.pairs) {
            // What was read is read again by whoever comes next.
            self.open = None;
            return;
        }
        let is_noted = self.shared.note(|backlog| backlog.took_from_file(chunk.lines));
        if chunk.is_last && is_noted {
            let is_gone = self.remove(name);
            self.finished(!is_gone);
        }
    }

    /// Removes a file whose pairs the store took. Its bad lines go into quarantine first.
    ///
    /// The removal is not synced: a file that comes back after a loss of power is a repetition.
    fn remove(&self, name: &str) -> bool {
        let bad = self.open.as_ref().map_or(&[][..], |(_, reader)| reader.bad());
        if !bad.is_empty() {
            match quarantine::keep(&*self.disk, name, bad) {
                Ok(kept) => log::warn!(code = "provenance.quarantined";
                    "lines of a spill file that are no pairs are now in {}", Shown::path(&kept)),
                Err(error) => {
                    log::warn!(code = "provenance.spill_unreadable";
                        "{} stays, since its damaged lines cannot be set aside: {error}",
                        Shown::path(&self.disk.show(&in_overflow(name))));
                    return false;
                }
            }
        }
        match self.disk.unlink(&in_overflow(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!(code = "provenance.spill_unreadable";
                    "{} stays and will be delivered again: {error}", Shown::path(&self.disk.show(&in_overflow(name))));
                false
            }
            _ => true,
        }
    }

    /// The oldest file had its turn.
    fn finished(&mut self, is_aside: bool) {
        self.open = None;
        let mut state = self.shared.lock();
        if state.phase == Phase::Ended {
            return;
        }
        let ended = state.forget_file(is_aside);
        let is_last = state.backlog.oldest_file().is_none();
        drop(state);
        self.shared.wake_all();
        if let Some(claim) = ended.filter(|_| !is_aside) {
            claim.end(&*self.disk);
        }
        if is_last && !is_aside {
            log::info!(code = "provenance.drained"; "the spill of the provenance writer is with its store");
        }
    }

    /// Hands pairs to the store until it takes them; false if there is no time left for that.
    fn hand_over(&self, pairs: &[Pair]) -> bool {
        let mut backoff = Backoff::new(&self.shared.options);
        let mut is_first = true;
        loop {
            match call(&*self.store, pairs) {
                Ok(()) => return true,
                Err(error) => failed(&error, pairs.len(), is_first),
            }
            is_first = false;
            self.shared.pause(&self.shared.work, backoff.next());
            if self.shared.lock().phase >= Phase::Ending {
                return false;
            }
        }
    }
}

/// Lets whoever stops the writer know that the worker has ended, also if it panicked.
pub(super) struct Done(pub(super) Arc<Shared>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.lock().worker_is_done = true;
        self.0.wake_all();
    }
}

/// A store that panics has failed.
pub(super) fn call(store: &dyn ProvenanceStore, pairs: &[Pair]) -> Result<(), StoreError> {
    catch_unwind(AssertUnwindSafe(|| store.append(pairs))).unwrap_or_else(|_| Err("the store panicked".into()))
}

/// Only the first failure in a row is worth a warning.
fn failed(error: &StoreError, pairs: usize, is_first: bool) {
    let level = if is_first { log::Level::Warn } else { log::Level::Debug };
    log::log!(level, code = "provenance.flush_failed", pairs = pairs;
        "the provenance store did not take {pairs} pairs, which are kept and tried again: {error}");
}
