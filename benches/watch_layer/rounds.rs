//! Rounds over all layers, and the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::appends;
use super::figures::{Sizes, directories};
use super::layers::{NAMES, layer};

/// Values of all rounds, by layer and figure.
type Values = BTreeMap<(&'static str, String), Vec<f64>>;

const FULL: Sizes = Sizes {
    few: 1_000,
    many: 20_000,
    listings: 10,
    slow_appends: 2_000,
    fast_appends: 20_000,
};
const QUICK: Sizes = Sizes {
    few: 10,
    many: 50,
    listings: 1,
    slow_appends: 40,
    fast_appends: 400,
};

/// Measures, and prints.
pub(super) fn run(words: &[&str]) {
    let quick = words.contains(&"--quick");
    let after = words.iter().position(|word| *word == "--rounds").map(|at| at + 1);
    let rounds: usize = after.map_or(if quick { 1 } else { 5 }, |at| words[at].parse().unwrap());
    let is_place = |(at, word): &(usize, &&str)| !word.starts_with("--") && Some(*at) != after;
    let below = words.iter().enumerate().find(is_place).map_or(".", |(_, word)| word);
    // Layers name absolute paths.
    let trees = tempfile::tempdir_in(Path::new(below).canonicalize().unwrap()).unwrap();
    let sizes = if quick { QUICK } else { FULL };
    let many = directories(trees.path(), sizes.many);
    for directory in &many {
        fs::create_dir_all(directory).unwrap();
    }
    // The first who watches a directory would pay for what the kernel keeps of it.
    layer("inotify").watch(&many);
    appends::make(&trees.path().join("appends"));
    let mut values = Values::new();
    // Each layer comes first and last equally often: what one leaves behind in the caches helps all.
    for round in 0..rounds {
        for at in 0..NAMES.len() {
            one(NAMES[(round + at) % NAMES.len()], trees.path(), sizes, &mut values);
        }
    }
    print(&values, sizes, rounds);
}

/// One layer, in a process of its own.
fn one(name: &'static str, trees: &Path, sizes: Sizes, values: &mut Values) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["measure", name])
        .arg(trees)
        .arg(serde_json::to_string(&sizes).unwrap())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(done.status.success(), "{name} failed");
    let figures: BTreeMap<String, f64> = serde_json::from_slice(&done.stdout).unwrap();
    for (figure, value) in figures {
        values.entry((name, figure)).or_default().push(value);
    }
}

/// Median and range.
fn spread(values: Option<&Vec<f64>>) -> String {
    let Some(values) = values else {
        return "–".into();
    };
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let (low, middle, high) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    format!("{middle:.1} ({low:.1}–{high:.1})")
}

fn print(values: &Values, sizes: Sizes, rounds: usize) {
    let rows = [
        (format!("to watch {} directories, ms", sizes.few), "watch_few_ms"),
        (format!("to watch {} directories, ms", sizes.many), "watch_many_ms"),
        (
            format!("one listing of {} directories: CPU, ms", sizes.few),
            "listing_cpu_ms",
        ),
        (
            format!("one listing of {} directories: wake-ups", sizes.few),
            "listing_wakeups",
        ),
        ("append to named, 200/s: p50, µs".into(), "p50_us"),
        ("append to named, 200/s: p99, µs".into(), "p99_us"),
        (
            format!("{} appends at 2,000/s: CPU, ms", sizes.fast_appends),
            "load_cpu_ms",
        ),
        (
            format!("{} appends at 2,000/s: wake-ups", sizes.fast_appends),
            "load_wakeups",
        ),
        (format!("resident with {} watches, MiB", sizes.many), "resident_mib"),
        ("of that since before, MiB".into(), "resident_more_mib"),
    ];
    println!("{rounds} rounds in turns: median (range), of the process that listens alone.\n");
    println!("| | {} |", NAMES.join(" | "));
    println!("|---|{}", "---|".repeat(NAMES.len()));
    for (what, figure) in rows {
        let cells = NAMES.map(|name| spread(values.get(&(name, figure.into()))));
        println!("| {what} | {} |", cells.join(" | "));
    }
}
