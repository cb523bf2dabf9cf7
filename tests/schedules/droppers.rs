//! Those who drop from the queue, beside those who read it and append to it.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use tailspool::queue::QueueOptions;
use tailspool::queue::audit::Audit;
use tailspool::queue::depth::{Depth, OnFull, QueueLimits};
use tailspool::queue::prune::prune;

use super::actors::{
    Handed, at_the_end, by_ulid, copy, drains, holds, noted, open, prunes, queue, read, switches, with_a_death,
};
use super::explorer::{Actor, Play};
use super::turns::Turned;

#[test]
fn a_record_is_delivered_or_noted_as_dropped_and_never_both() {
    let begin = queue(&[&["1", "2"], &["3"], &["4"]]);
    let ulids = by_ulid(&begin);
    for (what, bounds) in [
        ("a drain and one who drops", switches(2)),
        ("a drain and one who drops, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let (handed, ulids) = (Handed::default(), ulids.clone());
            Play {
                disk: copy(&begin),
                actors: vec![drains(&handed), prunes(1)],
                judge: Box::new(move |disk, died| {
                    at_the_end(disk, &handed, died);
                    let noted = noted(disk, &ulids);
                    let handed = handed.counts();
                    for text in ["1", "2", "3", "4"] {
                        let came = (handed.get(text).copied(), noted.get(text).copied());
                        let once = matches!(came, (Some(1), None) | (None, Some(1)));
                        // Noted, and then the one who notes died; or delivered, and then the drain died.
                        let by_death = died > 0 && matches!(came, (Some(1 | 2), None | Some(1)));
                        assert!(once || by_death, "{text} was delivered and noted so often: {came:?}");
                    }
                }),
            }
        });
    }
}

#[test]
fn two_who_drop_note_each_record_once() {
    let begin = queue(&[&["1"], &["2"], &["3"]]);
    let ulids = by_ulid(&begin);
    for (what, bounds) in [
        ("two who drop", switches(2)),
        ("two who drop, one of which is killed", with_a_death(1)),
    ] {
        holds(what, bounds, &|| {
            let (handed, ulids) = (Handed::default(), ulids.clone());
            Play {
                disk: copy(&begin),
                actors: vec![prunes(1), prunes(1)],
                judge: Box::new(move |disk, died| {
                    let excess = |depth: Depth| depth.records.saturating_sub(1);
                    prune(disk, &mut Audit::default(), Timestamp::UNIX_EPOCH, None, &excess).unwrap();
                    at_the_end(disk, &handed, died);
                    let noted: Vec<_> = noted(disk, &ulids).into_iter().collect();
                    assert_eq!(noted, [("1".to_owned(), 1), ("2".to_owned(), 1)]);
                    assert_eq!(handed.counts().into_keys().collect::<Vec<_>>(), ["3"]);
                }),
            }
        });
    }
}

#[test]
fn what_is_appended_while_others_drop_and_drain_is_handed_out_or_noted() {
    let begin = queue(&[&["1"], &["2"]]);
    let limits = QueueLimits {
        records_max: Some(2),
        bytes_max: None,
    };
    let options = move || QueueOptions {
        limits,
        on_full: OnFull::DropOldest,
        ..QueueOptions::default()
    };
    let appends = |who: u128, text: &'static str, told: &Handed| -> Actor {
        let told = told.clone();
        Box::new(move |disk: &Turned| {
            let queue = open(Arc::new(disk.clone()), options(), who);
            if let Ok(ulid) = queue.append(&json!({"surface": text})) {
                told.add(&ulid.to_string());
            }
        })
    };
    holds("two who append, each of which drops", switches(2), &|| {
        let (handed, told) = (Handed::default(), Handed::default());
        let actors = vec![appends(1, "3", &told), appends(2, "4", &told)];
        Play {
            disk: copy(&begin),
            actors,
            judge: Box::new(move |disk, died| {
                assert_eq!(told.counts().len(), 2, "both were appended");
                at_the_end(disk, &handed, died);
                let text = read(disk, "pending/.overflow-audit.log");
                let dropped = text.lines().count();
                let handed = handed.counts();
                assert!(handed.values().all(|count| *count == 1), "{handed:?}");
                assert_eq!(handed.len() + dropped, 4, "{handed:?} and {text}");
                assert!(dropped <= 3, "the newest one stays");
            }),
        }
    });
    holds("one who appends and drops, and a drain", switches(2), &|| {
        let (handed, told) = (Handed::default(), Handed::default());
        let actors = vec![appends(1, "3", &told), drains(&handed)];
        Play {
            disk: copy(&begin),
            actors,
            judge: Box::new(move |disk, died| {
                at_the_end(disk, &handed, died);
                let dropped = read(disk, "pending/.overflow-audit.log").lines().count();
                let handed = handed.counts();
                assert!(handed.values().all(|count| *count == 1), "{handed:?}");
                assert_eq!(handed.len() + dropped, 3, "{handed:?}, {dropped} dropped");
                assert!(handed.contains_key("3"), "what was appended last is never dropped");
            }),
        }
    });
}
