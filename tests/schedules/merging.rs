//! A watcher that merges batches, beside those who read them and drop them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tailspool::disk::{Disk, SimDisk};
use tailspool::home::pending;
use tailspool::pure::entry::Compacted;
use tailspool::pure::name::{Batch, Name};
use tailspool::queue::merge::{Merge, finish};

use super::actors::{
    Handed, at_the_end, by_ulid, copy, drains, each_came, holds, names, noted, prunes, queue, switches, with_a_death,
};
use super::explorer::{Actor, Play};
use super::turns::Turned;

const ALL: &[&str] = &["1", "2", "3", "4", "5", "6"];

fn waiting() -> SimDisk {
    queue(&[&["1", "2"], &["3", "4"], &["5", "6"]])
}

fn batches(disk: &SimDisk) -> Vec<Batch> {
    let kinds = names(disk, "pending")
        .into_iter()
        .map(|name| Name::parse(name.as_ref()));
    kinds
        .filter_map(|kind| match kind {
            Name::Batch(batch) => Some(batch),
            _ => None,
        })
        .collect()
}

/// What the ledger would say.
#[derive(Clone, Default)]
struct Told(Arc<std::sync::Mutex<Option<Compacted>>>, Arc<AtomicBool>);

impl Told {
    /// What a start does that follows.
    fn repair(&self, disk: &SimDisk) {
        for name in names(disk, "pending") {
            let Name::Temporary(batch) = Name::parse(name.as_ref()) else {
                continue;
            };
            if self.1.load(Ordering::SeqCst) {
                disk.rename(&pending(&name), &pending(batch.name())).unwrap();
            } else {
                disk.unlink(&pending(&name)).unwrap();
            }
        }
        if let (Some(compacted), true) = (&*self.0.lock().unwrap(), self.1.load(Ordering::SeqCst)) {
            assert!(finish(disk, compacted).unwrap());
        }
    }
}

/// Merges these batches, as the watcher does.
fn merges(batches: &[Batch], told: &Told) -> Actor {
    let (batches, told) = (batches.to_vec(), told.clone());
    Box::new(move |disk: &Turned| drop(merge(disk, &batches, &told)))
}

fn merge(disk: &Turned, batches: &[Batch], told: &Told) -> Result<(), Box<dyn std::error::Error>> {
    let Some(merge) = Merge::claim(disk, batches)? else {
        return Ok(());
    };
    let mut file = match merge.write() {
        Ok(file) => file,
        Err(error) => {
            merge.give_up();
            return Err(format!("{error:?}").into());
        }
    };
    file.sync(disk)?;
    told.0.lock().unwrap().clone_from(&merge.entry());
    disk.step("commit")?;
    told.1.store(true, Ordering::SeqCst);
    file.publish(disk)?;
    merge.remove()?;
    disk.sync_dir(Path::new("pending"))?;
    Ok(())
}

fn played(begin: &SimDisk, in_order: bool) -> Play {
    let (handed, told) = (Handed::default(), Told::default());
    let actors = vec![merges(&batches(begin), &told), drains(&handed)];
    Play {
        disk: copy(begin),
        actors,
        judge: Box::new(move |disk, died| {
            if in_order {
                assert_eq!(handed.order(), ALL, "all of it, by one drain, in order");
            }
            if died > 0 {
                told.repair(disk);
            }
            at_the_end(disk, &handed, died);
            if died == 0 {
                each_came(&handed, ALL, 0);
            } else {
                let counts = handed.counts();
                assert!(ALL.iter().all(|text| counts.contains_key(*text)), "{counts:?}");
            }
        }),
    }
}

#[test]
fn one_drain_beside_a_merge_hands_out_each_record_once_and_in_order() {
    let begin = waiting();
    holds("a merge and a drain", switches(2), &|| played(&begin, true));
}

#[test]
fn a_merge_or_a_drain_beside_it_that_is_killed_loses_no_record() {
    let begin = waiting();
    holds("a merge and a drain, one of which is killed", with_a_death(1), &|| {
        played(&begin, false)
    });
}

#[test]
fn what_is_dropped_beside_a_merge_is_noted_and_the_rest_is_handed_out() {
    let begin = waiting();
    let ulids = by_ulid(&begin);
    holds("a merge and one who drops", switches(2), &|| {
        let (handed, told, ulids) = (Handed::default(), Told::default(), ulids.clone());
        Play {
            disk: copy(&begin),
            actors: vec![merges(&batches(&begin), &told), prunes(2)],
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                let (noted, handed) = (noted(disk, &ulids), handed.counts());
                for text in ALL {
                    let came = (handed.get(*text).copied(), noted.get(*text).copied());
                    assert!(matches!(came, (Some(1), None) | (None, Some(1))), "{text}: {came:?}");
                }
            }),
        }
    });
}
