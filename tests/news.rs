//! What a drain that follows hears of its queue, and what it does then.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pipeline::{Collected, TestClock};
use serde_json::json;
use tailspool::disk::{Disk, OsDisk};
use tailspool::limits::{FOLLOW_CHECK, FOLLOW_HELD, FOLLOW_INTERVAL};
use tailspool::queue::claim::Claim;
use tailspool::queue::drain::{DrainOptions, Format, Overseer};
use tailspool::queue::follow::{Following, follow};
use tailspool::queue::news::{Heard, HomeNews, News};
use tailspool::queue::{CaptureQueue, QueueOptions};
use tailspool::wake::stop_pair;

/// More than any test takes: a wait for so long ends by what it waits for.
const LONG: Duration = Duration::from_secs(600);

const OPTIONS: DrainOptions = DrainOptions {
    format: Format::Raw,
    records_max: u64::MAX,
    peek: false,
};

/// A home in a directory of its own, so that it can be moved.
struct Place {
    temp: tempfile::TempDir,
    disk: OsDisk,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let disk = OsDisk::create(&temp.path().join("home")).unwrap();
        Self { temp, disk }
    }

    fn pending(&self, name: &str) -> PathBuf {
        self.temp.path().join("home/pending").join(name)
    }

    fn append(&self, text: &str) {
        let queue = CaptureQueue::open(&self.temp.path().join("home"), QueueOptions::default()).unwrap();
        let record = json!({"surface": text, "cue": "", "tier": "episodic", "session_id": "-", "role": "user"});
        queue.append(&record).unwrap();
    }

    /// The name of the one batch that is pending.
    fn batch(&self) -> String {
        let names = self.disk.list(Path::new("pending")).unwrap();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].to_str().unwrap().to_owned()
    }
}

/// Acts the nth wait, from 1, which may end after so long.
struct Acted<F> {
    waits: u32,
    interval: Duration,
    act: F,
}

impl<F: FnMut(u32, Duration) -> Heard> News for Acted<F> {
    fn is_over(&mut self) -> bool {
        false
    }

    fn wait(&mut self, time: Duration) -> Heard {
        self.waits += 1;
        (self.act)(self.waits, time)
    }

    fn check_interval(&self) -> Duration {
        self.interval
    }
}

/// Follows with what `news` tells; what was handed out.
fn followed(disk: &dyn Disk, clock: &TestClock, news: &mut dyn News) -> String {
    let mut output = Collected::default();
    let mut following = Following {
        output: &mut output,
        overseer: &mut (),
        news,
        tell: &mut |error| panic!("{error}"),
    };
    let _ = follow(disk, clock, OPTIONS, &mut following).unwrap();
    String::from_utf8(output.0).unwrap()
}

#[test]
fn a_follower_lists_when_it_hears_of_a_batch_and_at_its_slow_check_and_not_otherwise() {
    let place = Place::new();
    place.append("first");
    let clock = TestClock::new();
    let pending = || place.disk.list(Path::new("pending")).unwrap().len();
    let act = |wait, time| {
        match wait {
            1 => {
                assert_eq!((pending(), time), (0, FOLLOW_CHECK), "the first round needs no news");
                place.append("heard of");
                return Heard::Batch;
            }
            2 => {
                assert_eq!(pending(), 0);
                place.append("not heard of");
                clock.pass(time / 2);
            }
            3 => {
                assert_eq!(
                    (pending(), time),
                    (1, FOLLOW_CHECK / 2),
                    "half of the time is no reason to look"
                );
                clock.pass(time);
            }
            _ => {
                assert_eq!(pending(), 0, "the slow check finds it");
                return Heard::Stop;
            }
        }
        Heard::Nothing
    };
    let mut news = Acted {
        waits: 0,
        interval: FOLLOW_CHECK,
        act,
    };
    assert_eq!(
        followed(&place.disk, &clock, &mut news),
        "first\nheard of\nnot heard of\n"
    );
}

#[test]
fn a_batch_that_somebody_holds_has_a_timer_and_ends_it_when_it_is_gone() {
    let place = Place::new();
    place.append("held");
    let mut claim = Claim::take(&place.disk, place.batch().as_ref()).unwrap();
    let clock = TestClock::new();
    let act = |wait, time| {
        if wait > 1 {
            assert_eq!(time, FOLLOW_CHECK);
            return Heard::Stop;
        }
        assert_eq!(time, FOLLOW_HELD);
        claim = None;
        clock.pass(time);
        Heard::Nothing
    };
    let mut news = Acted {
        waits: 0,
        interval: FOLLOW_CHECK,
        act,
    };
    assert_eq!(followed(&place.disk, &clock, &mut news), "held\n");
}

/// Leaves everything for later, and takes a second to say so.
struct Slow<'a>(&'a TestClock);

impl Overseer for Slow<'_> {
    fn wants(&mut self, _: &OsStr) -> bool {
        self.0.pass(Duration::from_secs(1));
        false
    }
}

#[test]
fn a_follower_whose_rounds_take_longer_than_its_timers_does_not_spin() {
    let place = Place::new();
    place.append("left");
    let clock = TestClock::new();
    let act = |wait, time| {
        assert!(time >= FOLLOW_INTERVAL, "{time:?}");
        clock.pass(time);
        if wait == 10 { Heard::Stop } else { Heard::Batch }
    };
    let mut news = Acted {
        waits: 0,
        interval: FOLLOW_INTERVAL,
        act,
    };
    let mut following = Following {
        output: &mut Collected::default(),
        overseer: &mut Slow(&clock),
        news: &mut news,
        tell: &mut |error| panic!("{error}"),
    };
    let report = follow(&place.disk, &*clock, OPTIONS, &mut following).unwrap();
    assert_eq!((report.records, news.waits), (0, 10));
}

#[test]
fn a_refusal_to_tell_leaves_the_follower_looking_every_200_ms() {
    let place = Place::new();
    fs::write(
        place.temp.path().join("home/pending"),
        "no directory, and so not to be watched",
    )
    .unwrap();
    let (_stopper, stop) = stop_pair().unwrap();
    let mut refused = HomeNews::new(&place.disk, stop);
    assert_eq!(refused.check_interval(), FOLLOW_INTERVAL);
    fs::remove_file(place.temp.path().join("home/pending")).unwrap();
    let clock = TestClock::new();
    let act = |wait, time: Duration| {
        if wait == 1 {
            place.append("looked for");
        }
        clock.pass(time);
        let heard = refused.wait(Duration::ZERO);
        if wait == 2 { Heard::Stop } else { heard }
    };
    let mut news = Acted {
        waits: 0,
        interval: FOLLOW_INTERVAL,
        act,
    };
    assert_eq!(followed(&place.disk, &clock, &mut news), "looked for\n");
}

#[cfg(target_os = "linux")]
mod told {
    use super::*;

    const BATCH: &str = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-2.jsonl";

    #[test]
    fn a_batch_that_is_renamed_in_is_heard_of_and_a_single_record_too() {
        let place = Place::new();
        let (_stopper, stop) = stop_pair().unwrap();
        let mut news = HomeNews::new(&place.disk, stop);
        assert_eq!(news.check_interval(), FOLLOW_CHECK);
        assert_eq!(news.wait(Duration::ZERO), Heard::Nothing);
        place.append("single");
        assert_eq!(news.wait(LONG), Heard::Batch);
        assert_eq!(news.wait(Duration::ZERO), Heard::Nothing, "it is told once");
        fs::write(place.pending("x.tmp"), "").unwrap();
        fs::rename(place.pending("x.tmp"), place.pending(BATCH)).unwrap();
        assert_eq!(news.wait(LONG), Heard::Batch);
    }

    #[test]
    fn a_batch_wakes_a_follower_that_sleeps_and_so_does_a_stop() {
        let place = Place::new();
        let (stopper, stop) = stop_pair().unwrap();
        let mut news = HomeNews::new(&place.disk, stop);
        std::thread::scope(|scope| {
            scope.spawn(|| place.append("1"));
            assert_eq!(news.wait(LONG), Heard::Batch);
            scope.spawn(|| stopper.stop());
            assert_eq!(news.wait(LONG), Heard::Stop);
        });
        assert!(news.is_over() && !news.is_lost());
    }

    #[test]
    fn claims_locks_removals_and_unfinished_files_of_others_wake_nobody() {
        let place = Place::new();
        place.append("taken by another");
        let (_stopper, stop) = stop_pair().unwrap();
        let mut news = HomeNews::new(&place.disk, stop);
        let claim = Claim::take(&place.disk, place.batch().as_ref()).unwrap().unwrap();
        claim.acknowledge().unwrap();
        for (from, to) in [
            ("a", "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-2.jsonl.tmp"),
            ("b", "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV.lock"),
            ("c", "pending-x.json.tmp"),
            ("d", ".overflow-audit.log"),
        ] {
            fs::write(place.pending(from), "").unwrap();
            fs::rename(place.pending(from), place.pending(to)).unwrap();
            fs::remove_file(place.pending(to)).unwrap();
        }
        fs::write(place.temp.path().join("home/status.json.tmp"), "").unwrap();
        assert_eq!(news.wait(Duration::ZERO), Heard::Nothing);
        assert_eq!(news.check_interval(), FOLLOW_CHECK, "it is told still");
    }

    #[test]
    fn news_that_were_lost_are_news() {
        let place = Place::new();
        let (_stopper, stop) = stop_pair().unwrap();
        let mut news = HomeNews::new(&place.disk, stop);
        let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let most: u32 = most.trim().parse().unwrap();
        // Nothing of this is news by itself.
        let (mut from, mut to) = (place.pending("a"), place.pending("b"));
        fs::write(&from, "").unwrap();
        for _ in 0..=most {
            fs::rename(&from, &to).unwrap();
            (from, to) = (to, from);
        }
        assert_eq!(news.wait(LONG), Heard::Batch);
    }

    #[test]
    fn a_home_that_is_moved_replaced_or_removed_ends_the_news() {
        for way in ["moved", "replaced", "removed"] {
            let place = Place::new();
            let (_stopper, stop) = stop_pair().unwrap();
            let mut news = HomeNews::new(&place.disk, stop);
            let home = place.temp.path().join("home");
            match way {
                "removed" => fs::remove_dir_all(&home).unwrap(),
                _ => fs::rename(&home, place.temp.path().join("elsewhere")).unwrap(),
            }
            if way == "replaced" {
                fs::create_dir(&home).unwrap();
            }
            assert_eq!(news.wait(LONG), Heard::Stop, "{way}");
            assert!(news.is_lost(), "{way}");
        }
    }

    #[test]
    fn a_home_below_a_directory_that_is_moved_is_missed_at_the_slow_check() {
        let place = Place::new();
        let inner = place.temp.path().join("home/inner/home");
        let disk = OsDisk::create(&inner).unwrap();
        let (_stopper, stop) = stop_pair().unwrap();
        let mut news = HomeNews::new(&disk, stop);
        fs::rename(
            place.temp.path().join("home/inner"),
            place.temp.path().join("home/other"),
        )
        .unwrap();
        assert_eq!(news.wait(Duration::ZERO), Heard::Stop);
        assert!(news.is_lost());
    }

    #[test]
    fn a_queue_that_is_removed_alone_is_looked_at_from_then_on() {
        for way in ["removed", "moved"] {
            let place = Place::new();
            let (_stopper, stop) = stop_pair().unwrap();
            let mut news = HomeNews::new(&place.disk, stop);
            match way {
                "removed" => fs::remove_dir(place.pending("")).unwrap(),
                _ => fs::rename(place.pending(""), place.temp.path().join("home/old")).unwrap(),
            }
            assert_eq!(news.wait(LONG), Heard::Batch, "{way}");
            assert_eq!(news.check_interval(), FOLLOW_INTERVAL, "{way}");
            assert_eq!(news.wait(Duration::ZERO), Heard::Nothing, "{way}");
        }
    }
}
