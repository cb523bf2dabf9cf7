//! A clock that is set back.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::TAIL_SETTLE;

use crate::pipeline::{Pipeline, TestClock, drained};
use crate::support::append;

#[test]
fn a_clock_that_is_set_back_an_hour_changes_nothing_but_the_times_written_down() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("a.jsonl");
    for notify in [false, true] {
        let _ = fs::remove_file(&path);
        let (disk, clock) = (SimDisk::new(), TestClock::new());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let start = || {
            let start = if notify {
                Pipeline::start_notify
            } else {
                Pipeline::start
            };
            start(&shared, temp.path(), &clock).unwrap()
        };
        let mut pipeline = start();
        append(&path, "{\"n\":1}\n");
        pipeline.look().unwrap();
        clock.set_back(Duration::from_secs(3600));
        append(&path, "{\"n\":2}\n");
        pipeline.look().unwrap();
        drop(pipeline);
        // Also when only the ledger knows how late it was.
        let mut pipeline = start();
        append(&path, "{\"n\":3}\n{\"n\":4}");
        pipeline.look().unwrap();
        // A quiet last line is settled by the time that passes, not by that of the day.
        clock.set_back(Duration::from_secs(3600));
        for _ in 0..3 {
            clock.pass(TAIL_SETTLE);
            pipeline.look().unwrap();
        }
        assert_eq!(
            drained(&disk),
            "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n",
            "in the order of the file"
        );
    }
}
