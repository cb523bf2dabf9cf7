//! More than the kernel keeps, more than the sink takes, and nothing at all.

use std::fs;

use tailspool::limits::{FULL_RETRY, HOT_INTERVAL, HOT_WINDOW, SWEEP_INTERVAL};
use tailspool::source::notify::What;

use crate::world::{Setting, World, write};

fn kept_events_max() -> usize {
    let text = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    text.trim().parse().unwrap()
}

#[test]
fn more_events_than_are_kept_cost_one_sweep_and_no_line() {
    let mut world = World::new();
    let [mut one, mut other] = ["logs/a.jsonl", "logs/b.jsonl"].map(|path| world.writer(path));
    assert_eq!(world.told(), [""; 0]);
    // Events of one file that follow each other are told once.
    let rounds = kept_events_max() / 2 + 100;
    let mut expected = Vec::new();
    for round in 0..rounds {
        write(&mut one, &format!("a{round}\n"));
        write(&mut other, &format!("b{round}\n"));
        expected.extend([format!("a{round}"), format!("b{round}")]);
    }
    // This is not told.
    world.mkdir("logs/d");
    world.append("logs/d/c.jsonl", "c\n");
    expected.push("c".into());
    expected.sort();
    assert_eq!(world.after(HOT_INTERVAL), expected);
    assert_eq!(world.sweeps, 2);
    world.append("logs/d/c.jsonl", "more\n");
    assert_eq!(world.told(), ["more"]);
    assert_eq!(world.after(HOT_INTERVAL), [""; 0]);
    assert_eq!(world.sweeps, 2);
}

/// A tree with one log of which the sink took one line, and takes no more before it is tried again.
fn with_a_full_sink() -> World {
    let setting = Setting {
        records_max: Some(1),
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| fs::create_dir(top.join("logs")).unwrap());
    world.append("logs/a.jsonl", "1\n");
    world.poll();
    world.append("logs/a.jsonl", "2\n");
    world.poll();
    world
}

#[test]
fn what_is_told_while_the_sink_refuses_is_looked_at_when_it_takes_again() {
    let mut world = with_a_full_sink();
    // It refuses.
    world.append("logs/b.jsonl", "3\n");
    world.poll();
    world.mkdir("logs/d/e");
    world.append("logs/d/e/c.jsonl", "4\n");
    world.poll();
    world.mv("logs/d", "logs/f");
    world.append("logs/f/e/c.jsonl", "5\n");
    fs::remove_file(world.path("logs/b.jsonl")).unwrap();
    world.poll();
    world.append("logs/b.jsonl", "6\n");
    let mut all = Vec::new();
    for _ in 0..20 {
        all.extend(world.after(FULL_RETRY));
    }
    all.sort();
    // The file that was gone before it was read cannot be captured by anyone.
    assert_eq!(all, ["1", "2", "4", "5", "6"]);
    world.append("logs/f/e/c.jsonl", "7\n");
    assert_eq!(world.told(), ["7"]);
    assert_eq!(world.sweeps, 1);
}

#[test]
fn more_events_than_are_kept_while_the_sink_refuses_cost_no_line() {
    let mut world = with_a_full_sink();
    let [mut one, mut other] = ["logs/b.jsonl", "logs/c.jsonl"].map(|path| world.writer(path));
    for _ in 0..kept_events_max() / 2 + 100 {
        write(&mut one, ".");
        write(&mut other, ".");
    }
    world.poll();
    world.append("logs/d.jsonl", "3\n");
    let mut all = Vec::new();
    for _ in 0..10 {
        all.extend(world.after(FULL_RETRY));
    }
    assert_eq!(all, ["1", "2", "3"]);
    assert_eq!(world.sweeps, 2);
}

#[test]
fn what_is_written_beside_the_files_that_are_watched_of_a_root_costs_no_sweep() {
    let setting = Setting {
        files_max: Some(2),
        ..Setting::default()
    };
    let mut world = World::with(setting, |top| {
        fs::create_dir(top.join("logs")).unwrap();
        for name in ["a.jsonl", "b.jsonl", "c.jsonl", "notes.txt"] {
            fs::write(top.join("logs").join(name), "").unwrap();
        }
    });
    for round in 0..10 {
        world.append("logs/c.jsonl", "beyond\n");
        world.append("logs/notes.txt", "no log\n");
        world.append("logs/b.jsonl", &format!("{round}\n"));
        assert_eq!(world.after(HOT_INTERVAL), [round.to_string()]);
    }
    assert_eq!(world.sweeps, 1);
    // Which files are the first ones may be others by now: only a sweep can tell.
    fs::remove_file(world.path("logs/a.jsonl")).unwrap();
    assert_eq!(world.after(HOT_INTERVAL).len(), 10);
    assert_eq!(world.sweeps, 2);
}

#[test]
fn nothing_is_read_of_a_thousand_files_that_did_not_move() {
    let mut world = World::with(Setting::default(), |top| {
        fs::create_dir(top.join("logs")).unwrap();
        for number in 0..1000 {
            fs::write(top.join(format!("logs/{number:04}.jsonl")), format!("{number:04}\n")).unwrap();
        }
    });
    assert_eq!(world.drained().len(), 1000);
    world.pass(HOT_WINDOW);
    world.poll();
    assert!(world.read_bytes() >= 5000);
    assert_eq!(world.after(SWEEP_INTERVAL), [""; 0]);
    assert_eq!(world.sweeps, 2);
    assert_eq!(world.read_bytes(), 0);
    // Some are said to have changed, and did not.
    let name = |number: u32| Some(format!("{number:04}.jsonl").into());
    let both = |number| [(What::Entry, name(number)), (What::Content, name(1000 - number))];
    world.faulty(|faults| faults.also = (1..500).flat_map(both).collect());
    assert_eq!(world.told(), [""; 0]);
    assert_eq!(world.read_bytes(), 0);
    world.faulty(|faults| faults.also.clear());
    // One did, and nothing else is read.
    world.append("logs/0500.jsonl", "more\n");
    assert_eq!(world.told(), ["more"]);
    assert!((1..100).contains(&world.read_bytes()));
}
