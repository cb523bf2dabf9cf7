//! The thread that moves to disk what is too much for memory.

use std::sync::Arc;

use super::Pair;
use super::backlog::Backlog;
use super::options::Backoff;
use super::shared::{Phase, Shared, wait};
use super::spill::{Spill, Written};

/// Moves the oldest pairs to disk while there are too many in memory, and at the end all of them.
pub(super) fn run(shared: &Shared, mut spill: Spill) {
    let mut backoff = Backoff::new(&shared.options);
    let mut is_failing = false;
    loop {
        let is_ending = due_or_ending(shared);
        let snapshot = shared.lock().backlog.snapshot();
        if is_ending && snapshot.pairs.is_empty() {
            break;
        }
        match spill.write(&snapshot.pairs) {
            Ok(written) => {
                let Written { name, bytes } = written;
                let mut state = shared.lock();
                if state.phase == Phase::Ended {
                    return;
                }
                let is_needed = state.backlog.moved_to_file(&snapshot, name.clone(), bytes);
                drop(state);
                if is_needed {
                    shared.work.notify_all();
                    spilled(&snapshot.pairs, bytes);
                } else {
                    spill.take_back(&name);
                }
                (backoff, is_failing) = (Backoff::new(&shared.options), false);
            }
            Err(error) => {
                let level = if is_failing {
                    log::Level::Debug
                } else {
                    log::Level::Warn
                };
                log::log!(level, code = "provenance.spill_failed", pairs = snapshot.pairs.len();
                    "pairs that the provenance store did not take yet cannot be written to disk: {error}");
                is_failing = true;
                if is_ending {
                    break;
                }
                shared.pause(&shared.spill, backoff.next());
            }
        }
    }
    let files_left = shared.lock().backlog.holds_own_files();
    spill.end(files_left);
}

/// Waits for too much in memory (false), or for the end (true).
fn due_or_ending(shared: &Shared) -> bool {
    let is_due = |backlog: &Backlog| backlog.is_over() && backlog.may_spill();
    let (state, _) = wait(&shared.spill, shared.lock(), None, |state| {
        state.phase >= Phase::Ending || is_due(&state.backlog)
    });
    state.phase >= Phase::Ending
}

fn spilled(pairs: &[Pair], bytes: u64) {
    let pairs = pairs.len();
    log::warn!(code = "provenance.spilled", pairs = pairs, bytes = bytes;
        "{pairs} pairs wait on disk, since the provenance store is slower than what comes");
}

/// Lets whoever stops the writer know that nothing more is written.
pub(super) struct Done(pub(super) Arc<Shared>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.lock().spiller_is_done = true;
        self.0.wake_all();
    }
}
