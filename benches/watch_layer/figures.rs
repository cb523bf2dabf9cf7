//! The figures of one layer, of the process that they are taken in.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::appends;
use super::layers::{Layer, layer};

/// After so long without a change there is none on its way.
const QUIET: Duration = Duration::from_millis(200);

/// How much of each is measured.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) few: usize,
    pub(super) many: usize,
    pub(super) listings: usize,
    pub(super) slow_appends: usize,
    pub(super) fast_appends: usize,
}

/// Directories of the tree with `many`, the top one included.
pub(super) fn directories(trees: &Path, count: usize) -> Vec<PathBuf> {
    let top = trees.join("many");
    let below = (1..count).map(|number| top.join(format!("{:02}/{number:05}", number / 1000)));
    std::iter::once(top.clone()).chain(below).collect()
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

fn number_after(text: &str, key: &str) -> u64 {
    let found = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    found.split_whitespace().next().unwrap().parse().unwrap()
}

fn resident_kib() -> u64 {
    number_after(&fs::read_to_string("/proc/self/status").unwrap(), "VmRSS:")
}

/// How often a thread of this process went to sleep of itself, and so was woken.
fn switches() -> u64 {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let one = |thread: std::io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        number_after(&status, "voluntary_ctxt_switches:")
    };
    threads.map(one).sum()
}

fn seconds_to_watch(listener: &mut dyn Layer, directories: &[PathBuf]) -> f64 {
    let begun = Instant::now();
    listener.watch(directories);
    begun.elapsed().as_secs_f64()
}

/// Everything that comes until it is quiet.
fn hear(listener: &mut dyn Layer) -> usize {
    std::iter::from_fn(|| listener.next(QUIET)).count()
}

/// Drops a listener, and waits until its thread has taken back the watches: it would be measured with what comes next.
fn end(listener: Box<dyn Layer>) {
    drop(listener);
    while fs::read_dir("/proc/self/task").unwrap().count() > 1 {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// All figures of a layer as JSON; the text of `sizes` is JSON too.
pub(super) fn measure(name: &str, trees: &Path, sizes: &str) -> Value {
    let sizes: Sizes = serde_json::from_str(sizes).unwrap();
    let mut figures = Map::new();
    memory(name, trees, sizes, &mut figures);
    listing(name, trees, sizes, &mut figures);
    if name != "nothing" {
        latency(name, trees, sizes, &mut figures);
        load(name, trees, sizes, &mut figures);
    }
    Value::Object(figures)
}

/// First of all, while nothing was allocated that is free again.
fn memory(name: &str, trees: &Path, sizes: Sizes, figures: &mut Map<String, Value>) {
    let directories = directories(trees, sizes.many);
    let before = resident_kib();
    let mut listener = layer(name);
    let seconds = seconds_to_watch(&mut *listener, &directories);
    figures.insert("watch_many_ms".into(), json!(seconds * 1e3));
    figures.insert("resident_mib".into(), json!(resident_kib() as f64 / 1024.0));
    let more = resident_kib().saturating_sub(before) as f64 / 1024.0;
    figures.insert("resident_more_mib".into(), json!(more));
    end(listener);
}

fn listing(name: &str, trees: &Path, sizes: Sizes, figures: &mut Map<String, Value>) {
    let directories = directories(trees, sizes.few);
    let mut listener = layer(name);
    let seconds = seconds_to_watch(&mut *listener, &directories);
    figures.insert("watch_few_ms".into(), json!(seconds * 1e3));
    hear(&mut *listener);
    let (mut cpu, mut woken) = (0.0, 0);
    for _ in 0..sizes.listings {
        let (cpu_before, woken_before) = (cpu_seconds(), switches());
        for directory in &directories {
            assert!(fs::read_dir(directory).unwrap().all(|entry| entry.is_ok()));
        }
        hear(&mut *listener);
        (cpu, woken) = (cpu + cpu_seconds() - cpu_before, woken + switches() - woken_before);
    }
    let each = sizes.listings as f64;
    figures.insert("listing_cpu_ms".into(), json!(cpu * 1e3 / each));
    figures.insert("listing_wakeups".into(), json!(woken as f64 / each));
    end(listener);
}

/// A listener to the tree that is appended to.
fn listener(name: &str, tree: &Path) -> Box<dyn Layer> {
    let mut listener = layer(name);
    listener.watch(&appends::directories(tree));
    listener
}

fn latency(name: &str, trees: &Path, sizes: Sizes, figures: &mut Map<String, Value>) {
    let tree = trees.join("appends");
    let mut listener = listener(name, &tree);
    let writer = appends::start(&tree, 200, sizes.slow_appends);
    let mut seen = Vec::new();
    while let Some(path) = listener.next(Duration::from_secs(2)) {
        seen.push((path, appends::now()));
    }
    end(listener);
    let mut late = appends::latencies(&tree, &appends::told(writer), &seen);
    late.sort_unstable();
    let at = |share: usize| late[late.len() * share / 100] as f64 / 1e3;
    figures.insert("p50_us".into(), json!(at(50)));
    figures.insert("p99_us".into(), json!(at(99)));
}

fn load(name: &str, trees: &Path, sizes: Sizes, figures: &mut Map<String, Value>) {
    let tree = trees.join("appends");
    let mut listener = listener(name, &tree);
    let writer = appends::start(&tree, 2000, sizes.fast_appends);
    let (cpu, woken) = (cpu_seconds(), switches());
    let mut heard = 0;
    while listener.next(Duration::from_secs(2)).is_some() {
        heard += 1;
    }
    figures.insert("load_cpu_ms".into(), json!((cpu_seconds() - cpu) * 1e3));
    figures.insert("load_wakeups".into(), json!(switches() - woken));
    assert!(heard > 0 && appends::told(writer).len() == sizes.fast_appends);
}
