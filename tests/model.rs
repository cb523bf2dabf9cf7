//! The model test: by chance, programs do to logs what programs do, and a small model says what must be captured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells how much was tried")]

#[path = "model/action.rs"]
mod action;
#[path = "model/dice.rs"]
mod dice;
mod hunt;
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
use std::sync::atomic::{AtomicU64, Ordering};

use action::{Action, Kind};
use dice::Dice;
use hunt::{Hunt, Hunted};
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
    asked: AtomicU64,
    open: AtomicU64,
}

/// Plays a list of actions, and judges each look.
fn play(manner: Manner, actions: &[Action], counts: &Counts) -> Result<(), Failure> {
    let mut world = World::new(manner);
    let mut oracle = Oracle::default();
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&mut world, &mut oracle, actions)));
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

/// As the script of a fixture tree, so that it can be kept as one.
fn told(failure: &Failure) -> String {
    let head = Head::new(failure.why.lines().next().unwrap_or_default());
    let head = serde_json::to_string(&head).unwrap();
    let script = failure
        .played
        .iter()
        .map(|operation| serde_json::to_string(operation).unwrap());
    let script: Vec<_> = std::iter::once(head).chain(script).collect();
    format!("{}\n\nAs a fixture's script.jsonl:\n{}", failure.why, script.join("\n"))
}

fn run(teller: Teller, cases: u64) {
    let counts = Counts::default();
    let hunt = Hunt {
        program: "model",
        drawn: &|seed| drawn(seed, teller),
        play: &|manner, actions: &[Action]| play(manner, actions, &counts),
        told: &told,
    };
    hunt.run(cases, &|Hunted { cases, seconds }| {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let a_second = (cases * ACTIONS as u64) as f64 / seconds;
        println!(
            "{teller:?}: {cases} cases in {seconds:.1} s, {a_second:.0} actions a second; {} of {} answers were open",
            counts.open.load(Ordering::Relaxed),
            counts.asked.load(Ordering::Relaxed)
        );
    });
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
