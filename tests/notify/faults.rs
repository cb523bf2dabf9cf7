//! What is told late, twice, wrongly or not at all; and clocks that jump.

use std::fs;

use jiff::SignedDuration;
use tailspool::limits::{HOT_INTERVAL, INTERVAL, SWEEP_INTERVAL};

use crate::meddling::{Faults, Telling, warnings};
use crate::world::World;

/// Much that happens, and the lines that it brings.
fn bustle(world: &World, round: u32) -> Vec<String> {
    let d = format!("logs/d{round}");
    world.mkdir(&format!("{d}/e"));
    world.append(&format!("{d}/e/a.jsonl"), &format!("{round}a\n"));
    world.append("logs/a.jsonl", &format!("{round}b\n"));
    world.append("logs/b.jsonl", &format!("{round}c\n"));
    if round > 0 {
        let before = format!("logs/d{}", round - 1);
        world.mv(&format!("{before}/e"), &format!("{d}/f"));
        world.append(&format!("{d}/f/a.jsonl"), &format!("{round}d\n"));
        fs::remove_dir_all(world.path(&before)).unwrap();
    }
    let names = if round > 0 { "abcd" } else { "abc" };
    names.chars().map(|name| format!("{round}{name}")).collect()
}

fn with(change: impl FnOnce(&mut Faults)) -> World {
    let world = World::new();
    world.faulty(change);
    world
}

#[test]
fn what_was_lost_is_found_by_one_sweep() {
    for says_so in [true, false] {
        let mut world = with(|faults| {
            faults.telling = if says_so { Telling::Lost } else { Telling::Dropped };
        });
        for round in 0..4 {
            let (lines, sweeps) = (bustle(&world, round), world.sweeps);
            let time = if says_so { HOT_INTERVAL } else { SWEEP_INTERVAL };
            assert_eq!(world.after(time), lines, "{says_so}");
            assert_eq!(world.sweeps, sweeps + 1);
            assert_eq!(world.told(), [""; 0]);
        }
        let sweeps = world.sweeps;
        world.faulty(|faults| faults.telling = Telling::Plain);
        let lines = bustle(&world, 4);
        assert_eq!(world.told(), lines, "the watches hold");
        assert_eq!(world.sweeps, sweeps);
    }
}

#[test]
fn what_is_told_twice_is_captured_once() {
    let mut world = with(|faults| faults.telling = Telling::Doubled);
    for round in 0..4 {
        let lines = bustle(&world, round);
        assert_eq!(world.told(), lines);
    }
    assert_eq!(world.sweeps, 1);
}

#[test]
fn what_is_told_late_is_taken_as_it_stands_by_then() {
    let mut world = World::new();
    let first = bustle(&world, 0);
    assert_eq!(world.told(), first);
    world.faulty(|faults| faults.telling = Telling::Late);
    let mut lines = bustle(&world, 1);
    lines.extend(bustle(&world, 2));
    lines.sort();
    // What was hot is looked at without being told, so nothing of it comes again.
    let mut captured = world.after(INTERVAL);
    world.faulty(|faults| faults.telling = Telling::Plain);
    captured.extend(world.told());
    captured.sort();
    assert_eq!(captured, lines);
    assert_eq!(world.sweeps, 1);
    let lines = bustle(&world, 3);
    assert_eq!(world.told(), lines);
}

#[test]
fn what_is_told_after_a_sweep_of_what_was_before_it_changes_nothing() {
    let mut world = with(|faults| faults.telling = Telling::Late);
    let mut lines = Vec::new();
    for round in 0..2 {
        lines.extend(bustle(&world, round));
    }
    assert_eq!(world.after(SWEEP_INTERVAL), lines);
    world.faulty(|faults| faults.telling = Telling::Plain);
    assert_eq!(world.told(), [""; 0]);
    for round in 2..5 {
        let lines = bustle(&world, round);
        assert_eq!(world.told(), lines);
    }
    assert_eq!(world.sweeps, 2);
}

#[test]
fn what_is_told_of_watches_that_nobody_asked_for_is_ignored() {
    let mut world = World::new();
    world.mkdir("outside");
    let stranger = world.path("outside");
    world.faulty(|faults| faults.stranger = Some(stranger));
    assert_eq!(world.told(), [""; 0]);
    world.append("outside/a.jsonl", "unseen\n");
    world.mkdir("outside/d");
    world.mv("outside/d", "outside/e");
    world.append("logs/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    fs::remove_dir_all(world.path("outside")).unwrap();
    world.append("logs/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn a_reading_that_fails_is_told_and_everything_is_looked_at() {
    let mut world = with(|faults| faults.telling = Telling::Failing);
    warnings();
    let lines = bustle(&world, 0);
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.after(HOT_INTERVAL), lines);
    assert_eq!(world.sweeps, 2);
    let warnings = warnings();
    assert!(warnings[0].starts_with("cannot read what changed: "), "{warnings:?}");
    assert_eq!(warnings.len(), 1);
    let lines = bustle(&world, 1);
    assert_eq!(world.told(), lines);
}

#[test]
fn the_time_of_day_may_jump() {
    let mut world = World::new();
    for round in 0..12 {
        let hours = [1, -1, 0][round as usize % 3];
        *world.clocks.jump.lock().unwrap() = SignedDuration::from_hours(hours);
        let lines = bustle(&world, round);
        assert_eq!(world.told(), lines, "{hours}");
        assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
        assert_eq!(world.after(INTERVAL), [""; 0]);
    }
    assert_eq!(world.sweeps, 1);
    assert_eq!(world.after(SWEEP_INTERVAL), [""; 0]);
    assert_eq!(world.sweeps, 2);
}
