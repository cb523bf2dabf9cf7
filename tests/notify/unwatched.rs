//! Directories of which nothing is told: no room for more watches, or the filesystem keeps it to itself.

use std::fs;
use std::path::Path;

use tailspool::limits::{HOT_INTERVAL, INTERVAL, SWEEP_INTERVAL};
use tailspool::source::Noticing;

use crate::meddling::warnings;
use crate::world::{Setting, World};

fn two(top: &Path) {
    for name in ["near", "far"] {
        fs::create_dir_all(top.join("logs").join(name)).unwrap();
    }
}

fn with_room(polls: bool) -> World {
    warnings();
    // What is above the root takes one; so `logs`, and what of the two is listed first.
    let setting = Setting {
        polls,
        room: Some(3),
        ..Setting::default()
    };
    World::with(setting, two)
}

/// Which of the two is told of, and which is not: the listing decides.
fn by_room(unwatched: &[String]) -> (&'static str, &'static str) {
    assert_eq!(unwatched.len(), 1, "{unwatched:?}");
    match unwatched[0].as_str() {
        "logs/near" => ("logs/far", "logs/near"),
        "logs/far" => ("logs/near", "logs/far"),
        other => panic!("{other}"),
    }
}

fn lines_of(world: &mut World, near: &str, far: &str) {
    world.append(&format!("{near}/a.jsonl"), "near\n");
    world.append(&format!("{far}/a.jsonl"), "far\n");
    assert_eq!(world.told(), ["near"]);
    assert_eq!(world.after(INTERVAL), ["far"]);
    // It is hot now.
    world.append(&format!("{far}/a.jsonl"), "hot\n");
    assert_eq!(world.after(HOT_INTERVAL), ["hot"]);
    // What comes later there is polled as well, and nothing more is said.
    world.mkdir(&format!("{far}/new"));
    world.append(&format!("{far}/new/b.jsonl"), "new\n");
    assert_eq!(world.after(INTERVAL), ["new"]);
    fs::remove_file(world.path(&format!("{far}/new/b.jsonl"))).unwrap();
    let deleted = world.ledger("delete");
    assert_eq!(world.after(INTERVAL), [""; 0]);
    assert_eq!(world.ledger("delete"), deleted + 1);
}

#[test]
fn where_there_is_no_room_for_watches_it_is_polled_until_there_is() {
    let mut world = with_room(true);
    let polled = world.polled();
    let (near, far) = by_room(&polled);
    assert_eq!(world.root().noticing, Noticing::Notify);
    lines_of(&mut world, near, far);
    assert_eq!(world.sweeps, 1);
    let told = warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("max_user_watches"), "{told:?}");
    assert!(told[0].contains("polled"), "{told:?}");
    // A sweep that finds no room changes nothing and says nothing.
    world.pass(SWEEP_INTERVAL);
    world.poll();
    assert_eq!((world.sweeps, world.polled()), (2, polled));
    assert_eq!(warnings(), [""; 0]);
    // One that finds some does.
    world.faulty(|faults| faults.room = None);
    world.pass(SWEEP_INTERVAL);
    world.poll();
    assert_eq!((world.sweeps, world.polled()), (3, Vec::new()));
    world.append(&format!("{far}/a.jsonl"), "told\n");
    world.append(&format!("{near}/a.jsonl"), "too\n");
    assert_eq!(world.told(), ["told", "too"]);
    assert_eq!(warnings(), [""; 0]);
}

#[test]
fn a_directory_that_comes_when_there_is_no_room_left_is_polled() {
    let mut world = World::new();
    warnings();
    world.faulty(|faults| faults.room = Some(2));
    for name in ["logs/d", "logs/e"] {
        world.mkdir(&format!("{name}/below"));
        world.append(&format!("{name}/below/a.jsonl"), &format!("{name}\n"));
    }
    assert_eq!(world.told(), ["logs/d", "logs/e"]);
    assert_eq!(world.polled(), ["logs/d", "logs/e"]);
    assert_eq!(warnings().len(), 1);
    world.append("logs/e/below/b.jsonl", "more\n");
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.after(INTERVAL), ["more"]);
    // One of them goes, and another one comes.
    world.mv("logs/d", "logs/f");
    world.append("logs/f/below/a.jsonl", "moved\n");
    assert_eq!(world.told(), ["moved"]);
    world.append("logs/f/below/a.jsonl", "on\n");
    world.append("logs/f/below/new.jsonl", "new\n");
    assert_eq!(world.after(INTERVAL), ["new", "on"]);
    assert_eq!(world.sweeps, 1);
    assert_eq!(warnings(), [""; 0]);
}

#[test]
fn what_cannot_be_watched_is_left_to_the_sweeps_when_polling_was_not_asked_for() {
    let mut world = with_room(false);
    let unwatched = world.polled();
    let (near, far) = by_room(&unwatched);
    world.append(&format!("{near}/a.jsonl"), "near\n");
    world.append(&format!("{far}/a.jsonl"), "far\n");
    assert_eq!(world.told(), ["near"]);
    assert_eq!(world.after(INTERVAL), [""; 0]);
    assert_eq!(world.after(SWEEP_INTERVAL), ["far"]);
    let told = warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("slow sweeps"), "{told:?}");
}

/// A world in which `logs/zone` is on a filesystem that keeps to itself what happens there.
fn with_blind_zone(polls: bool) -> World {
    warnings();
    let setting = Setting {
        polls,
        ..Setting::default()
    };
    // The first sweep finds nothing there yet.
    let mut world = World::with(setting, |top| fs::create_dir(top.join("logs")).unwrap());
    world.mkdir("outside/far");
    let inodes = ["outside", "outside/far"].map(|name| world.inode(name));
    world.faulty(|faults| faults.blind.extend(inodes));
    world.odd.elsewhere.lock().unwrap().extend(inodes);
    world.mkdir("logs/near");
    world.mv("outside", "logs/zone");
    assert_eq!(world.told(), [""; 0]);
    world
}

#[test]
fn where_the_filesystem_tells_nothing_it_is_polled() {
    let mut world = with_blind_zone(true);
    assert_eq!(world.polled(), ["logs/zone"]);
    assert_eq!(world.root().polled_first[0].why, "it is far away");
    lines_of(&mut world, "logs/near", "logs/zone/far");
    let told = warnings();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("it is far away"), "{told:?}");
    world.pass(SWEEP_INTERVAL);
    world.poll();
    assert_eq!((world.sweeps, world.polled()), (2, vec!["logs/zone".to_owned()]));
    assert_eq!(warnings(), [""; 0]);
    // It is no longer so: the next sweep finds it out.
    world.faulty(|faults| faults.blind.clear());
    world.pass(SWEEP_INTERVAL);
    world.poll();
    world.append("logs/zone/far/a.jsonl", "told\n");
    assert_eq!(world.told(), ["told"]);
    assert_eq!(world.polled(), [""; 0]);
}

#[test]
fn where_the_filesystem_tells_nothing_and_polling_was_not_asked_for_sweeps_see_it() {
    let mut world = with_blind_zone(false);
    world.append("logs/near/a.jsonl", "near\n");
    world.append("logs/zone/far/a.jsonl", "far\n");
    assert_eq!(world.told(), ["near"]);
    assert_eq!(world.after(INTERVAL), [""; 0]);
    assert_eq!(world.after(SWEEP_INTERVAL), ["far"]);
    assert_eq!(warnings().len(), 1);
}

#[test]
fn a_root_of_which_nothing_is_told_is_shown_as_polled() {
    warnings();
    let setting = Setting {
        room: Some(0),
        ..Setting::default()
    };
    let mut world = World::with(setting, two);
    assert_eq!(world.root().noticing, Noticing::Poll);
    world.append("logs/far/a.jsonl", "one\n");
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.after(INTERVAL), ["one"]);
    // Nobody tells of the root itself either.
    world.mv("logs", "away");
    assert_eq!(world.after(INTERVAL), [""; 0]);
    world.append("away/far/a.jsonl", "two\n");
    world.mv("away", "logs");
    assert_eq!(world.after(INTERVAL), ["two"]);
    let missing = |warning: &String| warning.contains("logs is not there");
    assert_eq!(warnings().iter().filter(|warning| missing(warning)).count(), 1);
}
