//! Those who append to files of several processes, and the spill of provenance writers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tailspool::disk::{Disk, SimDisk, append_lines};
use tailspool::home::OVERFLOW;
use tailspool::provenance::{Options, Pair, ProvenanceStore, ProvenanceWriter, StoreError};

use super::actors::{copy, holds, names, read, switches, with_a_death};
use super::explorer::{Actor, Play};
use super::turns::Turned;

const FOREVER: Duration = Duration::MAX;
const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn lines_that_several_processes_append_never_meet_and_none_is_lost() {
    let path = Path::new("d/log.jsonl");
    let appends = |lines: [&'static str; 2], told: &Arc<Mutex<Vec<&'static str>>>| -> Actor {
        let told = Arc::clone(told);
        Box::new(move |disk| {
            for line in lines {
                if append_lines(disk, path, format!("{line}\n").as_bytes()).is_ok() {
                    told.lock().unwrap().push(line);
                }
            }
        })
    };
    for (what, bounds) in [
        ("two who append lines to one file", switches(3)),
        ("the same, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("d")).unwrap();
            // What somebody left who died.
            disk.create(path).unwrap().write_at(b"{\"half", 0).unwrap();
            let told = Arc::default();
            Play {
                disk,
                actors: vec![appends(["a1", "a2"], &told), appends(["b1", "b2"], &told)],
                judge: Box::new(move |disk, died| {
                    append_lines(disk, path, b"end\n").unwrap();
                    let text = read(disk, "d/log.jsonl");
                    let lines: Vec<_> = text.lines().collect();
                    let told = told.lock().unwrap();
                    assert!(died > 0 || told.len() == 4, "{told:?}");
                    for line in told.iter() {
                        assert!(lines.contains(line), "{line} is lost: {text}");
                    }
                    // The one that was at work when its writer died may be there.
                    assert!(lines.len() <= told.len() + died + 1, "{text}");
                    let unique: std::collections::BTreeSet<_> = lines.iter().collect();
                    assert_eq!(unique.len(), lines.len(), "{text}");
                    for two in [["a1", "a2"], ["b1", "b2"]] {
                        let at = two.map(|one| lines.iter().position(|line| *line == one));
                        assert!(at[1].is_none() || at[0] < at[1], "{text}");
                    }
                    assert!(lines.iter().all(|line| line.len() == 2 || *line == "end"), "{text}");
                }),
            }
        });
    }
}

#[test]
fn whoever_waited_for_a_file_that_was_renamed_writes_into_the_new_one() {
    let path = Path::new("d/log.jsonl");
    holds(
        "one who appends lines, and one who renames the file",
        switches(3),
        &|| {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("d")).unwrap();
            append_lines(&disk, path, b"old\n").unwrap();
            let (told, renamed) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
            let (tells, keeps) = (Arc::clone(&told), Arc::clone(&renamed));
            let appends: Actor = Box::new(move |disk| {
                for line in ["a1", "a2"] {
                    append_lines(disk, path, format!("{line}\n").as_bytes()).unwrap();
                    tells.lock().unwrap().push(line);
                }
            });
            let rotates: Actor = Box::new(move |disk| {
                let mut file = disk.open(path, false).unwrap();
                if file.try_lock().unwrap() {
                    disk.rename(path, Path::new("d/log.1")).unwrap();
                    *keeps.lock().unwrap() = Some(read(disk, "d/log.1"));
                }
            });
            Play {
                disk,
                actors: vec![appends, rotates],
                judge: Box::new(move |disk, _| {
                    let old = read(disk, "d/log.1");
                    if let Some(then) = &*renamed.lock().unwrap() {
                        assert_eq!(&old, then, "it was written into after it was renamed");
                    }
                    assert_eq!(old + &read(disk, "d/log.jsonl"), "old\na1\na2\n");
                }),
            }
        },
    );
}

/// Counts what it takes, or takes nothing.
struct Counting {
    taken: Arc<Mutex<BTreeMap<String, usize>>>,
    /// Whose writer it is.
    disk: Option<Turned>,
    is_open: bool,
}

impl ProvenanceStore for Counting {
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        if !self.is_open {
            return Err("not now".into());
        }
        // What a process does that was killed did not happen.
        if !self.disk.as_ref().is_some_and(Turned::is_dead) {
            for pair in pairs {
                *self.taken.lock().unwrap().entry(pair.id().to_owned()).or_default() += 1;
            }
        }
        Ok(())
    }
}

type Taken = Arc<Mutex<BTreeMap<String, usize>>>;

/// Nothing waits for time.
fn options(backoff: Duration) -> Options {
    Options {
        coalesce: AT_ONCE,
        backoff_min: backoff,
        backoff_max: backoff,
        stop_grace: FOREVER,
        ..Options::default()
    }
}

fn writer(disk: Arc<dyn Disk>, store: Counting) -> ProvenanceWriter {
    // After a refusal only the end is waited for.
    let backoff = if store.is_open { AT_ONCE } else { FOREVER };
    ProvenanceWriter::spawn(disk, Arc::new(store), options(backoff)).unwrap()
}

/// Takes these pairs, and leaves them on disk, since its store takes nothing.
fn spill(disk: Arc<dyn Disk>, ids: &[&str]) {
    let closed = Counting {
        taken: Taken::default(),
        disk: None,
        is_open: false,
    };
    let writer = writer(disk, closed);
    // It has looked for what others left: from here on only its end writes.
    writer.flush(FOREVER);
    for id in ids {
        writer
            .enqueue(vec![Pair::of(*id, &json!({"cue": "x"})).unwrap()])
            .unwrap();
    }
    writer.stop(AT_ONCE);
}

fn deliver(disk: Arc<dyn Disk>, taken: &Taken, of: Option<&Turned>) {
    let store = Counting {
        taken: Arc::clone(taken),
        disk: of.cloned(),
        is_open: true,
    };
    writer(disk, store).stop(FOREVER);
}

fn delivers(taken: &Taken) -> Actor {
    let taken = Arc::clone(taken);
    Box::new(move |disk| deliver(Arc::new(disk.clone()), &taken, Some(disk)))
}

/// What is left is delivered, and then nothing is left.
fn rest(disk: &SimDisk, taken: &Taken) -> BTreeMap<String, usize> {
    deliver(Arc::new(disk.clone()), taken, None);
    assert_eq!(names(disk, OVERFLOW), Vec::<String>::new(), "left behind");
    taken.lock().unwrap().clone()
}

#[test]
fn what_a_dead_writer_left_is_delivered_by_one_of_those_that_start() {
    let begin = SimDisk::new();
    begin.create_dir(Path::new(OVERFLOW)).unwrap();
    for id in ["1", "2"] {
        let name = format!("{id:0>26}-00000001-1.jsonl");
        let mut file = begin.create(&Path::new(OVERFLOW).join(name)).unwrap();
        let line = format!("{{\"id\":\"{id}\",\"entry\":{{\"cue\":\"x\"}}}}\n");
        file.write_at(line.as_bytes(), 0).unwrap();
    }
    for (what, bounds) in [
        ("two provenance writers that start", switches(2)),
        ("the same, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let taken = Taken::default();
            Play {
                disk: copy(&begin),
                actors: vec![delivers(&taken), delivers(&taken)],
                judge: Box::new(move |disk, died| {
                    let taken = rest(disk, &taken);
                    let again: usize = taken.values().map(|count| count - 1).sum();
                    assert!(taken.len() == 2 && again <= died, "{taken:?}, {died} died");
                }),
            }
        });
    }
}

#[test]
fn what_a_writer_spills_at_its_end_is_delivered_once_by_one_that_starts_meanwhile() {
    for (what, bounds) in [
        ("a provenance writer that spills and one that starts", switches(4)),
        ("the same, one of which is killed", with_a_death(3)),
    ] {
        holds(what, bounds, &|| {
            let taken = Taken::default();
            let spills: Actor = Box::new(|disk| spill(Arc::new(disk.clone()), &["1", "2"]));
            Play {
                disk: SimDisk::new(),
                actors: vec![spills, delivers(&taken)],
                judge: Box::new(move |disk, died| {
                    let taken = rest(disk, &taken);
                    // Who is killed loses what was in its memory; who was killed delivering is repeated.
                    assert!(died > 0 || taken.len() == 2, "lost: {taken:?}");
                    assert!(died > 0 || taken.values().all(|count| *count == 1), "{taken:?}");
                }),
            }
        });
    }
}
