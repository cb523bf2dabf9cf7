//! The model test: by chance, programs do to logs what programs do, and a small model says what must be captured.
//!
//! `TAILSPOOL_CASES=N` runs more cases of each test, `TAILSPOOL_FIRST=N` begins with another one, `TAILSPOOL_SEED=0x…` runs one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells how much was tried")]

#[path = "model/action.rs"]
mod action;
#[path = "model/dice.rs"]
mod dice;
#[path = "model/known.rs"]
mod known;
#[path = "model/lines.rs"]
mod lines;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/unreliable.rs"]
mod unreliable;
#[path = "model/whole.rs"]
mod whole;
#[path = "model/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use action::{Action, Kind};
use dice::Dice;
use oracle::Oracle;
use tailspool::event::{Detail, Event};
use tailspool::limits::SWEEP_INTERVAL;
use tailspool::replay::{Head, Operation, Queued};
use unreliable::Teller;
use world::{Manner, World};

const ACTIONS: usize = 50;

/// What went wrong, and what had been done.
struct Failure {
    why: String,
    played: Vec<Operation>,
}

#[derive(Default)]
struct Counts {
    cases: AtomicU64,
    asked: AtomicU64,
    open: AtomicU64,
}

/// Plays a list of actions, and judges each look.
fn play(manner: Manner, actions: &[Action], counts: &Counts) -> Result<(), Failure> {
    let mut world = World::new(manner);
    let mut oracle = Oracle::default();
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&mut world, &mut oracle, actions)));
    counts.cases.fetch_add(1, Ordering::Relaxed);
    counts.asked.fetch_add(oracle.asked, Ordering::Relaxed);
    counts.open.fetch_add(oracle.open, Ordering::Relaxed);
    let why = match judged {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(why)) => why,
        Err(_) => "it panicked".into(),
    };
    let played = std::mem::take(&mut world.played);
    Err(Failure { why, played })
}

fn judge(world: &mut World, oracle: &mut Oracle, actions: &[Action]) -> Result<(), String> {
    let manner = world.manner;
    for action in actions
        .iter()
        .filter(|action| !manner.is_gentle() || action.kind.keeps_lines())
    {
        world.act(action);
        after(world, oracle, action.kind)?;
    }
    world.heal();
    if manner.teller == Teller::Silent {
        world.pass(u64::try_from(SWEEP_INTERVAL.as_millis()).unwrap());
    }
    for ms in [0, 11_000, 31_000, 0] {
        world.pass(ms);
        world.look();
        after(world, oracle, Kind::Look)?;
    }
    world.stop();
    let events = world.events();
    if manner.teller != Teller::Silent {
        oracle.stop(world, &events)?;
    }
    let (events, queue) = world.all();
    if manner.teller == Teller::Silent {
        whole::is_captured(world, &events)?;
    }
    if manner.is_gentle() {
        whole::no_line_twice(&events)?;
    }
    in_order(&events, &queue)?;
    world.verified()
}

fn after(world: &mut World, oracle: &mut Oracle, kind: Kind) -> Result<(), String> {
    let events = world.events();
    match kind {
        // What a look finds then, nobody can say.
        Kind::Look | Kind::Restart | Kind::Crash if world.manner.teller == Teller::Silent => {}
        Kind::Look => {
            oracle.look(world, &events)?;
            world.looked();
        }
        Kind::Restart | Kind::Crash => {
            oracle.stop(world, &events)?;
            oracle.start();
        }
        _ if !events.is_empty() => return Err("something came without a look".into()),
        _ => {}
    }
    Ok(())
}

/// The queue, which is ordered by ULIDs, holds what the events say, and in each epoch of a file offsets rise.
fn in_order(events: &[Event], queue: &[Queued]) -> Result<(), String> {
    let said = events.iter().filter_map(|event| match event.detail {
        Detail::Append { offset, terminated, .. } => Some((event.file_id, event.epoch, offset, terminated)),
        _ => None,
    });
    let held = queue
        .iter()
        .map(|one| (one.file_id, one.epoch, one.offset, one.terminated));
    if !said.eq(held.clone()) {
        return Err("the queue is not what the events say".into());
    }
    let mut reached = std::collections::BTreeMap::new();
    for (file_id, epoch, offset, _) in held {
        let before = reached.insert((file_id, epoch), offset);
        if before.is_some_and(|before| before > offset) {
            return Err(format!("offset {offset} of {file_id} in epoch {epoch} comes too late"));
        }
    }
    Ok(())
}

fn drawn(seed: u64, teller: Teller) -> (Manner, Vec<Action>) {
    let mut dice = Dice::new(seed);
    (Manner::drawn(&mut dice, teller), action::list(&mut dice, ACTIONS))
}

/// Drops actions, many at a time and then one by one, as long as it still fails.
fn shrunk(manner: Manner, mut actions: Vec<Action>, mut failure: Failure) -> Failure {
    let counts = Counts::default();
    let mut size = actions.len() / 2;
    loop {
        let (mut at, mut dropped) = (0, false);
        while at < actions.len() {
            let end = actions.len().min(at + size.max(1));
            let fewer = [&actions[..at], &actions[end..]].concat();
            if let Err(found) = play(manner, &fewer, &counts) {
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

fn report(seed: u64, failure: &Failure) -> String {
    let head = Head::new(failure.why.lines().next().unwrap_or_default());
    let head = serde_json::to_string(&head).unwrap();
    let script = failure
        .played
        .iter()
        .map(|operation| serde_json::to_string(operation).unwrap());
    let script: Vec<_> = std::iter::once(head).chain(script).collect();
    format!(
        "{}\n\nAs a fixture's script.jsonl:\n{}\n\nTAILSPOOL_SEED={seed:#018x} cargo test --test model -- --nocapture\n",
        failure.why,
        script.join("\n")
    )
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let hex = text.strip_prefix("0x").map(|hex| u64::from_str_radix(hex, 16).unwrap());
    Some(hex.unwrap_or_else(|| text.parse().unwrap()))
}

/// The seed of a case.
fn seed_of(case: u64) -> u64 {
    Dice::new(case).next()
}

/// Plays `cases` cases, or so many as the environment says.
fn run(teller: Teller, cases: u64) {
    let one = number("TAILSPOOL_SEED");
    let cases = one.map_or_else(|| number("TAILSPOOL_CASES").unwrap_or(cases), |_| 1);
    let first = number("TAILSPOOL_FIRST").unwrap_or(0);
    let failures_max = number("TAILSPOOL_FAILURES").unwrap_or(1);
    let (counts, next, begun) = (Counts::default(), AtomicU64::new(0), Instant::now());
    let (stopped, failed) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    let work = || {
        while !stopped.load(Ordering::Relaxed) {
            let case = next.fetch_add(1, Ordering::Relaxed);
            if case >= cases {
                return;
            }
            let seed = one.unwrap_or_else(|| seed_of(first + case));
            let (manner, actions) = drawn(seed, teller);
            if let Err(failure) = play(manner, &actions, &counts) {
                let mut failed = failed.lock().unwrap();
                failed.push(report(seed, &shrunk(manner, actions, failure)));
                stopped.store(failed.len() as u64 >= failures_max, Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    let (seconds, cases) = (begun.elapsed().as_secs_f64(), counts.cases.into_inner());
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    let a_second = (cases * ACTIONS as u64) as f64 / seconds;
    println!(
        "{teller:?}: {cases} cases in {seconds:.1} s, {a_second:.0} actions a second; {} of {} answers were open",
        counts.open.into_inner(),
        counts.asked.into_inner()
    );
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n----\n"));
}

#[test]
fn whatever_programs_do_to_logs_each_line_is_captured_once_when_logs_are_polled() {
    run(Teller::Nobody, 1_500);
}

#[test]
fn whatever_programs_do_to_logs_each_line_is_captured_once_when_changes_are_told() {
    run(Teller::System, 1_000);
}

#[test]
fn what_is_told_twice_and_in_no_order_brings_the_same_lines() {
    run(Teller::Confused, 250);
}

#[test]
fn where_the_loss_of_hints_is_told_each_line_is_captured_once() {
    run(Teller::Overwhelmed, 250);
}

#[test]
fn where_hints_are_lost_silently_a_sweep_completes_what_was_captured_and_no_line_comes_twice() {
    run(Teller::Silent, 500);
}
