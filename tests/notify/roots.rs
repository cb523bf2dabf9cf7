//! Roots that come, go and are replaced, and what is above them.

use std::fs;
use std::os::unix::fs::symlink;

use tailspool::limits::{HOT_INTERVAL, INTERVAL};

use crate::world::{Setting, World};

fn files() -> Setting<'static> {
    Setting {
        roots: &["logs/a.jsonl", "logs/b.jsonl"],
        ..Setting::default()
    }
}

#[test]
fn a_root_that_is_deleted_and_made_again_is_watched() {
    let mut world = World::new();
    world.append("logs/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    for round in 0..4 {
        fs::remove_dir_all(world.path("logs")).unwrap();
        if round % 2 == 0 {
            assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
        }
        world.mkdir("logs/d");
        world.append("logs/d/a.jsonl", &format!("{round}\n"));
        assert_eq!(world.after(HOT_INTERVAL), [round.to_string()]);
        world.append("logs/d/a.jsonl", "more\n");
        // What repeats a file that was deleted would be that file.
        world.append("logs/new.jsonl", &format!("other {round}\n"));
        assert_eq!(world.told(), ["more".to_owned(), format!("other {round}")]);
    }
}

#[test]
fn another_root_that_takes_its_place_is_watched_and_the_first_one_is_not() {
    let mut world = World::new();
    world.mkdir("logs/d");
    world.append("logs/d/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    world.mkdir("other/d");
    world.append("other/d/b.jsonl", "two\n");
    world.mv("logs", "away");
    world.mv("other", "logs");
    assert_eq!(world.after(HOT_INTERVAL), ["two"]);
    world.append("logs/d/b.jsonl", "three\n");
    world.append("away/d/c.jsonl", "unseen\n");
    assert_eq!(world.told(), ["three"]);
    // And back, with a look between.
    world.mv("logs", "other");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    world.append("away/d/a.jsonl", "four\n");
    world.mv("away", "logs");
    assert_eq!(world.after(HOT_INTERVAL), ["four", "unseen"]);
    world.append("logs/d/a.jsonl", "five\n");
    assert_eq!(world.told(), ["five"]);
}

#[test]
fn a_directory_above_the_root_may_be_renamed() {
    let setting = || Setting {
        roots: &["x/y/logs"],
        ..Setting::default()
    };
    let mut world = World::with(setting(), |top| fs::create_dir_all(top.join("x/y/logs/d")).unwrap());
    world.append("x/y/logs/d/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    world.mv("x", "z");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    assert_eq!(world.unknown(), 1, "the root is not there");
    world.append("z/y/logs/d/a.jsonl", "two\n");
    world.mkdir("x/y/logs/d");
    world.append("x/y/logs/d/b.jsonl", "three\n");
    assert!(world.after(HOT_INTERVAL).contains(&"three".to_owned()));
    world.append("x/y/logs/d/b.jsonl", "four\n");
    assert_eq!(world.told(), ["four"]);
    // The whole way up is replaced at once.
    world.mv("x", "w");
    world.mv("z", "x");
    world.append("x/y/logs/d/a.jsonl", "five\n");
    assert!(world.after(HOT_INTERVAL).contains(&"five".to_owned()));
    world.append("x/y/logs/d/a.jsonl", "six\n");
    assert_eq!(world.told(), ["six"]);
    world.mkdir("x/y/logs/e");
    world.append("x/y/logs/e/a.jsonl", "seven\n");
    assert_eq!(world.told(), ["seven"]);
}

#[test]
fn a_root_that_comes_later_is_told_of_by_what_is_above_it() {
    let setting = Setting {
        roots: &["x/y/logs"],
        ..Setting::default()
    };
    let mut world = World::with(setting, |_| {});
    for name in ["x", "x/y", "x/y/logs"] {
        world.mkdir(name);
        assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    }
    world.append("x/y/logs/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);

    // All of it at once.
    let setting = Setting {
        roots: &["x/y/logs"],
        ..Setting::default()
    };
    let mut world = World::with(setting, |_| {});
    world.mkdir("x/y/logs/d");
    world.append("x/y/logs/d/a.jsonl", "one\n");
    assert_eq!(world.after(HOT_INTERVAL), ["one"]);
    world.append("x/y/logs/d/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
}

#[test]
fn a_root_that_comes_as_a_symlink_is_told_of() {
    let mut world = World::with(Setting::default(), |top| fs::create_dir(top.join("real")).unwrap());
    world.append("real/a.jsonl", "one\n");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    symlink("real", world.path("logs")).unwrap();
    assert_eq!(world.after(HOT_INTERVAL), ["one"]);
    world.append("real/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
}

#[test]
fn a_root_that_comes_where_nobody_tells_of_it_is_looked_for_at_each_interval() {
    let setting = Setting {
        scope: "logs",
        ..Setting::default()
    };
    let logs = |top: &std::path::Path| fs::create_dir(top.join("logs")).unwrap();
    let mut world = World::begin(setting, logs, |top| fs::remove_dir(top.join("logs")).unwrap());
    assert_eq!(world.after(INTERVAL), [""; 0]);
    for _ in 0..9 {
        world.pass(INTERVAL);
        world.poll();
    }
    world.mkdir("logs/d");
    world.append("logs/d/a.jsonl", "one\n");
    assert_eq!(world.told(), [""; 0], "nobody tells of it");
    assert_eq!(world.after(INTERVAL), ["one"]);
    world.append("logs/d/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
}

#[test]
fn a_root_that_goes_and_comes_where_nobody_tells_of_it_is_looked_for() {
    let setting = Setting {
        scope: "logs",
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| fs::create_dir(top.join("logs")).unwrap());
    world.append("logs/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    world.mv("logs", "away");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    assert_eq!(world.unknown(), 1);
    world.append("away/a.jsonl", "two\n");
    world.mv("away", "logs");
    assert_eq!(world.after(INTERVAL), ["two"]);
    world.append("logs/a.jsonl", "three\n");
    assert_eq!(world.told(), ["three"]);
}

#[test]
fn two_roots_that_are_files_of_one_directory_are_both_told_of() {
    let mut world = World::with(files(), |top| {
        fs::create_dir(top.join("logs")).unwrap();
        fs::write(top.join("logs/a.jsonl"), "a1\n").unwrap();
        fs::write(top.join("logs/b.jsonl"), "b1\n").unwrap();
    });
    assert_eq!(world.drained(), ["a1", "b1"]);
    world.append("logs/a.jsonl", "a2\n");
    world.append("logs/b.jsonl", "b2\n");
    world.append("logs/c.jsonl", "unseen\n");
    assert_eq!(world.told(), ["a2", "b2"]);
    // One is replaced by rename, the other is removed and made again.
    world.append("logs/a.tmp", "a3\n");
    world.mv("logs/a.tmp", "logs/a.jsonl");
    fs::remove_file(world.path("logs/b.jsonl")).unwrap();
    assert_eq!(world.told(), ["a3"]);
    world.append("logs/b.jsonl", "b3\n");
    world.append("logs/a.jsonl", "a4\n");
    assert_eq!(world.told(), ["a4", "b3"]);
    assert_eq!(world.sweeps, 1);
    // The directory of both.
    world.mv("logs", "away");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    world.append("away/a.jsonl", "a5\n");
    world.mv("away", "logs");
    assert_eq!(world.after(HOT_INTERVAL), ["a5"]);
    world.append("logs/b.jsonl", "b4\n");
    assert_eq!(world.told(), ["b4"]);
}

#[test]
fn a_file_that_is_a_root_beside_a_directory_that_is_one_is_captured_once() {
    let setting = Setting {
        roots: &["logs/a.jsonl", "logs/d"],
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| {
        fs::create_dir_all(top.join("logs/d")).unwrap();
        fs::write(top.join("logs/a.jsonl"), "a1\n").unwrap();
    });
    assert_eq!(world.drained(), ["a1"]);
    world.append("logs/a.jsonl", "a2\n");
    world.append("logs/d/b.jsonl", "b1\n");
    world.append("logs/c.jsonl", "unseen\n");
    assert_eq!(world.told(), ["a2", "b1"]);
    // The file moves into the other root, and goes on there.
    world.mv("logs/a.jsonl", "logs/d/a.jsonl");
    world.append("logs/d/a.jsonl", "a3\n");
    assert_eq!(world.told(), ["a3"]);
    world.mv("logs/d", "logs/e");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    world.mv("logs/e", "logs/d");
    world.append("logs/d/a.jsonl", "a4\n");
    assert_eq!(world.after(HOT_INTERVAL), ["a4"]);
    world.append("logs/d/b.jsonl", "b2\n");
    assert_eq!(world.told(), ["b2"]);
}

#[test]
fn a_root_that_is_missing_costs_no_sweep_of_the_others() {
    let setting = Setting {
        roots: &["logs", "x/y/later"],
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| fs::create_dir(top.join("logs")).unwrap());
    for _ in 0..9 {
        assert_eq!(world.after(INTERVAL), [""; 0]);
    }
    assert_eq!((world.sweeps, world.unknown()), (1, 1));
    world.mkdir("x/y/later");
    world.append("x/y/later/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    assert_eq!((world.sweeps, world.unknown()), (2, 0));
}

#[test]
fn a_directory_that_leads_to_one_root_and_holds_another_is_watched_for_both() {
    let setting = Setting {
        roots: &["logs/a.jsonl", "logs/x/y"],
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| fs::create_dir(top.join("logs")).unwrap());
    world.append("logs/a.jsonl", "one\n");
    assert_eq!(world.after(HOT_INTERVAL), ["one"]);
    world.mkdir("logs/x");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    world.append("logs/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
    world.mkdir("logs/x/y");
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    world.append("logs/a.jsonl", "three\n");
    world.append("logs/x/y/b.jsonl", "four\n");
    assert_eq!(world.told(), ["four", "three"]);
}
