//! What the callers and the two threads of a writer share.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::adopt::Claim;
use super::backlog::Backlog;
use super::{Options, Pair};

/// How far a writer is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Pairs are taken in.
    Running,
    /// No more are taken in; what is there goes to the store.
    Stopping,
    /// Nothing more goes to the store; what is in memory goes to disk.
    Ending,
    /// Nothing more is done. A thread that was stuck until now leaves everything as it is.
    Ended,
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) backlog: Backlog,
    /// Writers that are no more, whose files are delivered first; None until they were looked for.
    pub(super) claims: Option<Vec<Claim>>,
    /// Pairs below this number are not kept waiting for others.
    pub(super) urgent_below: u64,
    /// Counts what should end a wait after a failure.
    pub(super) nudges: u64,
    pub(super) worker_is_done: bool,
    pub(super) spiller_is_done: bool,
    /// `enqueue` refuses, and said so.
    pub(super) is_refusing: bool,
}

pub(super) struct Shared {
    pub(super) options: Options,
    state: Mutex<State>,
    /// For the worker: there may be something to do.
    pub(super) work: Condvar,
    /// For the spiller: there may be too much in memory.
    pub(super) spill: Condvar,
    /// For who flushes or stops: something was done.
    pub(super) done: Condvar,
}

/// What the worker does next.
pub(super) enum Task {
    /// Some lines of the oldest file, behind those that are done.
    File { name: String, done: u64 },
    /// These pairs, which stay in memory until the store took them.
    Memory(Vec<Pair>),
    /// Nothing, ever.
    End,
}

/// When a wait is over; None is never.
pub(super) fn deadline(wait: Duration) -> Option<Instant> {
    Instant::now().checked_add(wait)
}

/// Waits until `is_over`, or a deadline; says whether it is.
pub(super) fn wait<'a>(
    condition: &Condvar,
    mut state: MutexGuard<'a, State>,
    until: Option<Instant>,
    mut is_over: impl FnMut(&State) -> bool,
) -> (MutexGuard<'a, State>, bool) {
    while !is_over(&state) {
        state = match until {
            None => condition.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return (state, false);
                }
                let woken = condition.wait_timeout(state, left);
                woken.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
    (state, true)
}

impl Shared {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                phase: Phase::Running,
                backlog: Backlog::new(options),
                claims: None,
                urgent_below: 0,
                nudges: 0,
                worker_is_done: false,
                spiller_is_done: false,
                is_refusing: false,
            }),
            work: Condvar::new(),
            spill: Condvar::new(),
            done: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wake_all(&self) {
        self.work.notify_all();
        self.spill.notify_all();
        self.done.notify_all();
    }

    /// Writes down what the store took, and says so; false if that is nobody's business any more.
    pub(super) fn note(&self, took: impl FnOnce(&mut Backlog)) -> bool {
        let mut state = self.lock();
        if state.phase == Phase::Ended {
            return false;
        }
        took(&mut state.backlog);
        drop(state);
        self.done.notify_all();
        true
    }

    /// Waits after a failure, unless somebody asks for haste.
    pub(super) fn pause(&self, condition: &Condvar, pause: Duration) {
        let state = self.lock();
        let (phase, nudges) = (state.phase, state.nudges);
        // At the end there is one try only.
        if phase >= Phase::Ending {
            return;
        }
        let hurry = |state: &State| state.phase != phase || state.nudges != nudges;
        drop(wait(condition, state, deadline(pause), hurry));
    }

    /// Waits for something that the worker can do.
    pub(super) fn next_task(&self) -> Task {
        let is_idle = |state: &State| state.backlog.is_empty() && state.phase == Phase::Running;
        let (state, _) = wait(&self.work, self.lock(), None, |state| !is_idle(state));
        let until = deadline(self.options.coalesce);
        let (state, _) = wait(&self.work, state, until, State::needs_no_others);
        if state.phase >= Phase::Ending {
            return Task::End;
        }
        if let Some(file) = state.backlog.oldest_file() {
            let (name, done) = (file.name.clone(), file.done);
            return Task::File { name, done };
        }
        match state.backlog.call() {
            pairs if pairs.is_empty() => Task::End,
            pairs => Task::Memory(pairs),
        }
    }
}

impl State {
    /// The oldest file is gone, or is left for a later writer. Returns the claim that it was the last file of.
    pub(super) fn forget_file(&mut self, is_aside: bool) -> Option<Claim> {
        let file = self.backlog.forget_file(is_aside)?;
        let claims = self.claims.as_mut()?;
        let at = claims.iter().position(|claim| claim.has(&file))?;
        let has_more = self.backlog.has_file(|other| claims[at].has(other));
        (!has_more).then(|| claims.remove(at))
    }

    /// Whether waiting for more pairs would be in vain.
    fn needs_no_others(&self) -> bool {
        self.phase != Phase::Running
            || self.backlog.oldest_file().is_some()
            || self.backlog.fills_a_call()
            || !self.backlog.is_through(self.urgent_below)
    }
}
