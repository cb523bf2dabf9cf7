//! Plays cases that seeds draw, many at a time, and makes those that fail as short as they can be.
//!
//! `TAILSPOOL_CASES=N` plays more cases of each test, `TAILSPOOL_FIRST=N` begins with another one, `TAILSPOOL_SEED=0x…` plays
//! one, `TAILSPOOL_FAILURES=N` goes on until so many have failed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::dice::Dice;

/// What is played: how, and a list of actions.
pub(crate) type Case<M, A> = (M, Vec<A>);

/// Plays a case, and says how it failed.
pub(crate) type Play<'a, M, A, F> = &'a (dyn Fn(M, &[A]) -> Result<(), F> + Sync);

/// A test that draws its cases.
pub(crate) struct Hunt<'a, M, A, F> {
    /// Its program, as `cargo test --test` knows it.
    pub(crate) program: &'a str,
    pub(crate) drawn: &'a (dyn Fn(u64) -> Case<M, A> + Sync),
    pub(crate) play: Play<'a, M, A, F>,
    /// What is told of a case that failed.
    pub(crate) told: &'a (dyn Fn(&F) -> String + Sync),
}

/// How much was played.
pub(crate) struct Hunted {
    pub(crate) cases: u64,
    pub(crate) seconds: f64,
}

impl<M: Copy + Send + Sync, A: Clone + Send + Sync, F: Send> Hunt<'_, M, A, F> {
    /// Plays `cases` cases, or as many as the environment says. `show` prints how it went, before anything that failed is
    /// told.
    pub(crate) fn run(&self, cases: u64, show: &dyn Fn(&Hunted)) {
        let one = number("TAILSPOOL_SEED");
        let cases = one.map_or_else(|| number("TAILSPOOL_CASES").unwrap_or(cases), |_| 1);
        let first = number("TAILSPOOL_FIRST").unwrap_or(0);
        let failures_max = number("TAILSPOOL_FAILURES").unwrap_or(1);
        let (played, next, begun) = (AtomicU64::new(0), AtomicU64::new(0), Instant::now());
        let (stopped, failed) = (AtomicBool::new(false), Mutex::new(Vec::new()));
        let work = || {
            while !stopped.load(Ordering::Relaxed) {
                let case = next.fetch_add(1, Ordering::Relaxed);
                if case >= cases {
                    return;
                }
                let seed = one.unwrap_or_else(|| Dice::new(first + case).next());
                let (manner, actions) = (self.drawn)(seed);
                played.fetch_add(1, Ordering::Relaxed);
                if let Err(failure) = (self.play)(manner, &actions) {
                    let told = self.report(seed, &self.shrunk(manner, actions, failure));
                    let mut failed = failed.lock().unwrap();
                    failed.push(told);
                    stopped.store(failed.len() as u64 >= failures_max, Ordering::Relaxed);
                }
            }
        };
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
        show(&Hunted {
            cases: played.into_inner(),
            seconds: begun.elapsed().as_secs_f64(),
        });
        let failed = failed.into_inner().unwrap();
        assert!(failed.is_empty(), "{}", failed.join("\n----\n"));
    }

    /// Drops actions, many at a time and then one by one, as long as it still fails.
    fn shrunk(&self, manner: M, mut actions: Vec<A>, mut failure: F) -> F {
        let mut size = actions.len() / 2;
        loop {
            let (mut at, mut dropped) = (0, false);
            while at < actions.len() {
                let end = actions.len().min(at + size.max(1));
                let fewer = [&actions[..at], &actions[end..]].concat();
                if let Err(found) = (self.play)(manner, &fewer) {
                    (actions, failure, dropped) = (fewer, found, true);
                } else {
                    at = end;
                }
            }
            if size <= 1 && !dropped {
                return failure;
            }
            size /= 2;
        }
    }

    fn report(&self, seed: u64, failure: &F) -> String {
        format!(
            "{}\n\nTAILSPOOL_SEED={seed:#018x} cargo test --test {} -- --nocapture\n",
            (self.told)(failure),
            self.program
        )
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let hex = text.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16).unwrap());
    Some(hex.unwrap_or_else(|| text.parse().unwrap()))
}
