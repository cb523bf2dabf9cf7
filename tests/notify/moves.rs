//! Directories and files that come, go and move.

use std::fs;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use tailspool::limits::INTERVAL;

use crate::world::{World, write};

fn swap(world: &World, one: &str, other: &str) {
    let (one, other) = (world.path(one), world.path(other));
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).unwrap();
}

#[test]
fn a_directory_is_told_of_and_its_first_file_a_moment_later() {
    let mut world = World::new();
    world.mkdir("logs/d");
    assert_eq!(world.told(), [""; 0]);
    world.append("logs/d/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    // Both before anybody looks.
    world.mkdir("logs/e");
    world.append("logs/e/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
    world.append("logs/e/a.jsonl", "three\n");
    world.append("logs/d/b.jsonl", "four\n");
    assert_eq!(world.told(), ["four", "three"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn many_directories_that_are_made_at_once_are_told_of() {
    let mut world = World::new();
    world.mkdir("logs/a/b/c/d");
    world.append("logs/a/b/c/d/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    world.mkdir("logs/a/b/x/y");
    assert_eq!(world.told(), [""; 0]);
    world.append("logs/a/b/x/y/a.jsonl", "two\n");
    world.append("logs/a/b/x/a.jsonl", "three\n");
    assert_eq!(world.told(), ["three", "two"]);
    // A look between each of them.
    let mut path = "logs/n".to_owned();
    for depth in 0..10 {
        world.mkdir(&path);
        assert_eq!(world.told(), [""; 0]);
        world.append(&format!("{path}/a.jsonl"), &format!("{depth}\n"));
        assert_eq!(world.told(), [depth.to_string()]);
        path += "/n";
    }
    assert_eq!(world.sweeps, 1);
}

#[test]
fn a_tree_that_moves_in_within_out_and_back_is_captured_once() {
    let mut world = World::new();
    world.mkdir("outside/t/u");
    world.append("outside/t/a.jsonl", "a1\n");
    world.append("outside/t/u/b.jsonl", "b1\n");
    assert_eq!(world.told(), [""; 0]);
    world.mv("outside/t", "logs/t");
    assert_eq!(world.told(), ["a1", "b1"]);
    world.append("logs/t/u/b.jsonl", "b2\n");
    assert_eq!(world.told(), ["b2"]);

    world.mkdir("logs/deep/er");
    world.mv("logs/t", "logs/deep/er/t");
    assert_eq!(world.told(), [""; 0]);
    world.append("logs/deep/er/t/a.jsonl", "a2\n");
    world.append("logs/deep/er/t/u/b.jsonl", "b3\n");
    world.append("logs/deep/er/t/u/c.jsonl", "c1\n");
    assert_eq!(world.told(), ["a2", "b3", "c1"]);
    assert_eq!(world.files(), 3);

    // Moved and written to before anybody looks.
    world.mv("logs/deep/er/t", "logs/v");
    world.append("logs/v/u/b.jsonl", "b4\n");
    assert_eq!(world.told(), ["b4"]);

    let (deleted, watches) = (world.ledger("delete"), world.watches());
    world.mv("logs/v", "outside/v");
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.watches(), watches - 2);
    assert_eq!(world.ledger("delete"), deleted + 3);
    // Nobody watches there any more.
    world.append("outside/v/u/new.jsonl", "new\n");
    world.mkdir("outside/v/w");
    assert_eq!(world.told(), [""; 0]);
    world.mv("outside/v", "logs/back");
    world.append("logs/back/a.jsonl", "a3\n");
    assert_eq!(world.told(), ["a3", "new"]);
    world.append("logs/back/u/b.jsonl", "b5\n");
    world.append("logs/back/w/d.jsonl", "d1\n");
    assert_eq!(world.told(), ["b5", "d1"]);
    assert_eq!(world.files(), 5);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn a_directory_that_moves_there_and_back_before_anybody_looks_is_still_watched() {
    let mut world = World::new();
    world.mkdir("logs/d/e");
    world.append("logs/d/e/a.jsonl", "one\n");
    assert_eq!(world.told(), ["one"]);
    world.mv("logs/d", "logs/x");
    world.mv("logs/x", "logs/d");
    assert_eq!(world.told(), [""; 0]);
    world.append("logs/d/e/a.jsonl", "two\n");
    world.append("logs/d/b.jsonl", "three\n");
    assert_eq!(world.told(), ["three", "two"]);
    world.mv("logs/d", "outside");
    world.mv("outside", "logs/d");
    world.append("logs/d/e/c.jsonl", "four\n");
    assert_eq!(world.told(), ["four"]);
    world.append("logs/d/e/a.jsonl", "five\n");
    assert_eq!(world.told(), ["five"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn another_directory_of_the_same_name_takes_its_place() {
    let mut world = World::new();
    world.mkdir("logs/d");
    assert_eq!(world.told(), [""; 0]);
    // A rename over an empty one.
    world.mkdir("outside");
    world.append("outside/a.jsonl", "one\n");
    world.mv("outside", "logs/d");
    assert_eq!(world.told(), ["one"]);
    world.append("logs/d/a.jsonl", "two\n");
    assert_eq!(world.told(), ["two"]);
    // Removed and made again, as a rule on the same inode.
    for round in 0..20 {
        fs::remove_dir_all(world.path("logs/d")).unwrap();
        world.mkdir("logs/d");
        if round % 2 == 0 {
            assert_eq!(world.told(), [""; 0]);
        }
        world.append("logs/d/a.jsonl", &format!("{round}\n"));
        assert_eq!(world.told(), [round.to_string()]);
        world.append("logs/d/a.jsonl", "more\n");
        assert_eq!(world.told(), ["more"]);
    }
    assert_eq!(world.sweeps, 1);
}

#[test]
fn two_directories_that_change_places_are_known_and_watched() {
    let mut world = World::new();
    for name in ["logs/c/d", "logs/e"] {
        world.mkdir(name);
        world.mkdir(&format!("{name}/below"));
        world.append(&format!("{name}/below/a.jsonl"), &format!("{name}\n"));
    }
    assert_eq!(world.told(), ["logs/c/d", "logs/e"]);
    for round in 0..4 {
        swap(&world, "logs/c/d", "logs/e");
        if round % 2 == 0 {
            assert_eq!(world.told(), [""; 0]);
        }
        world.append("logs/c/d/below/a.jsonl", "one\n");
        world.append("logs/e/below/b.jsonl", "two\n");
        assert_eq!(world.told(), ["one", "two"]);
        world.append("logs/e/below/a.jsonl", "three\n");
        world.append("logs/e/new.jsonl", "four\n");
        world.append("logs/c/d/new.jsonl", "five\n");
        assert_eq!(world.told(), ["five", "four", "three"]);
    }
    // Nothing of before is captured again, and what each file got came once.
    world.mkdir("outside");
    swap(&world, "logs/e", "outside");
    assert_eq!(world.told(), [""; 0]);
    world.append("logs/e/a.jsonl", "one\n");
    world.append("outside/a.jsonl", "unseen\n");
    assert_eq!(world.told(), ["one"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn what_is_written_to_an_unlinked_file_is_told_under_its_old_name() {
    let mut world = World::new();
    world.mkdir("logs/d");
    let mut writer = world.writer("logs/d/a.jsonl");
    write(&mut writer, "one\n");
    assert_eq!(world.told(), ["one"]);
    fs::remove_file(world.path("logs/d/a.jsonl")).unwrap();
    write(&mut writer, "two\n");
    assert_eq!(world.told(), ["two"]);
    write(&mut writer, "three\n");
    assert_eq!(world.told(), ["three"]);
    // Another one stands there.
    let mut other = world.writer("logs/d/a.jsonl");
    write(&mut other, "four\n");
    write(&mut writer, "five\n");
    assert_eq!(world.told(), ["five", "four"]);
    // And is replaced.
    world.append("logs/d/a.tmp", "six\n");
    world.mv("logs/d/a.tmp", "logs/d/a.jsonl");
    write(&mut other, "seven\n");
    write(&mut writer, "eight\n");
    assert_eq!(world.told(), ["eight", "seven", "six"]);
    write(&mut other, "nine\n");
    assert_eq!(world.told(), ["nine"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn what_is_written_to_a_file_that_was_renamed_away_is_seen_soon() {
    for to in ["logs/d/a.old", "logs/a.jsonl.1", "outside/a.jsonl"] {
        let mut world = World::new();
        world.mkdir("logs/d");
        world.mkdir("outside");
        let mut writer = world.writer("logs/d/a.jsonl");
        write(&mut writer, "one\n");
        assert_eq!(world.told(), ["one"]);
        world.mv("logs/d/a.jsonl", to);
        write(&mut writer, "two\n");
        assert_eq!(world.told(), ["two"], "{to}");
        // Nobody tells of this, but the handle is looked at.
        write(&mut writer, "three\n");
        assert_eq!(world.after(INTERVAL), ["three"], "{to}");
        assert_eq!(world.sweeps, 1);
    }
}

#[test]
fn a_directory_that_may_be_read_later_is_looked_at_when_it_may() {
    for told in [true, false] {
        let mut world = World::new();
        *world.odd.closed.lock().unwrap() = Some("d".into());
        world.mkdir("logs/d/e");
        world.append("logs/d/e/a.jsonl", "one\n");
        assert_eq!(world.told(), [""; 0]);
        assert_eq!(world.unknown(), 1);
        *world.odd.closed.lock().unwrap() = None;
        if told {
            fs::set_permissions(
                world.path("logs/d"),
                fs::metadata(world.path("logs/d")).unwrap().permissions(),
            )
            .unwrap();
            assert_eq!(world.told(), ["one"]);
        } else {
            assert_eq!(world.told(), [""; 0]);
            assert_eq!(world.after(INTERVAL), ["one"]);
        }
        assert_eq!(world.unknown(), 0);
        world.append("logs/d/e/a.jsonl", "two\n");
        world.append("logs/d/b.jsonl", "three\n");
        assert_eq!(world.told(), ["three", "two"]);
        assert_eq!(world.sweeps, 1);
    }
}
