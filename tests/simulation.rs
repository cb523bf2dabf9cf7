//! The whole pipeline by chance: writers, a watcher that crashes, loses power and stalls, a disk that fails, and readers
//! that die and stand in each other's way; all of it drawn from one seed, and judged by a ledger of lines that shares no
//! code with it.
//!
//! tests/hunt says what the environment changes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells how much was tried")]

#[path = "simulation/account.rs"]
mod account;
#[path = "model/dice.rs"]
mod dice;
mod hunt;
#[path = "simulation/machine.rs"]
mod machine;
mod pipeline;
#[path = "simulation/readers.rs"]
mod readers;
#[path = "simulation/steps.rs"]
mod steps;
#[path = "simulation/writers.rs"]
mod writers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use dice::Dice;
use hunt::{Hunt, Hunted};
use machine::{Machine, Manner};
use steps::Step;

const STEPS: usize = 60;

#[derive(Default)]
struct Counts {
    steps: AtomicU64,
    crashes: AtomicU64,
    faults: AtomicU64,
    records: AtomicU64,
}

fn play(manner: Manner, steps: &[Step], counts: &Counts) -> Result<(), String> {
    let mut machine = Machine::new(manner);
    let judged = catch_unwind(AssertUnwindSafe(|| {
        steps.iter().try_for_each(|step| machine.step(step))?;
        machine.finish()
    }));
    counts.steps.fetch_add(steps.len() as u64, Ordering::Relaxed);
    counts.crashes.fetch_add(machine.crashes, Ordering::Relaxed);
    counts.faults.fetch_add(machine.faults, Ordering::Relaxed);
    counts.records.fetch_add(machine.records(), Ordering::Relaxed);
    let outcome = judged.unwrap_or_else(|_| Err("it panicked".into()));
    outcome.map_err(|why| format!("{why}\n{manner:?}\n{}", machine.story()))
}

fn drawn(seed: u64) -> (Manner, Vec<Step>) {
    let mut dice = Dice::new(seed);
    (Manner::drawn(&mut dice), steps::steps(&mut dice, STEPS))
}

#[test]
fn whatever_fails_each_line_that_stood_at_a_look_is_delivered_once_and_no_other() {
    let counts = Counts::default();
    let hunt = Hunt {
        program: "simulation",
        drawn: &drawn,
        play: &|manner, steps: &[Step]| play(manner, steps, &counts),
        told: &String::clone,
    };
    hunt.run(2_000, &|Hunted { cases, seconds }| {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let a_second = of(&counts.steps) as f64 / seconds;
        println!(
            "{cases} cases in {seconds:.1} s: {} operations ({a_second:.0} a second), {} crashes, {} other faults, {} records",
            of(&counts.steps),
            of(&counts.crashes),
            of(&counts.faults),
            of(&counts.records)
        );
    });
}
