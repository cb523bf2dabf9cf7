//! A queue of many small batches, merged by the real command beside a drain, `status`, `verify` and `trace`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;
mod support;

use std::fmt::Write;
use std::sync::Arc;

use pipeline::{Pipeline, TestClock};
use serde_json::Value;
use support::{Sandbox, append, wait_for};
use tailspool::disk::{Disk, OsDisk};
use tailspool::limits::COMPACT_FROM_BATCHES;

fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        writeln!(text, "line {number}").unwrap();
        text
    })
}

/// A home in which so many records wait, each in a batch of its own.
fn many(count: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), lines(count));
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(&sandbox.home("")).unwrap());
    let mut pipeline = Pipeline::start(&disk, &sandbox.log(""), &TestClock::new()).unwrap();
    pipeline.capture.batch_records_max(1);
    pipeline.look().unwrap();
    pipeline.capture.stop().unwrap();
    assert_eq!(sandbox.batches().len(), count);
    sandbox
}

#[test]
fn many_small_batches_are_merged_while_a_watcher_runs_and_no_record_is_lost_or_out_of_order() {
    let count = usize::try_from(COMPACT_FROM_BATCHES).unwrap() + 300;
    let sandbox = many(count);
    let first: Value = serde_json::from_str(sandbox.run(&["drain", "--max", "1", "--peek"]).exits(0).text()).unwrap();
    let ulid = first["ulid"].as_str().unwrap().to_owned();
    let watcher = sandbox.watch(&[]);
    // Beside the merging: what is read is whole and in order, whatever of it is merged just now.
    let peeked = sandbox
        .run(&["drain", "--peek", "--format", "raw", "--max", "50"])
        .exits(0);
    assert_eq!(peeked.text(), lines(50));
    let drained = sandbox
        .run(&["drain", "--format", "raw", "--max", "100"])
        .exits(0)
        .no_error();
    assert_eq!(drained.text(), lines(100));
    wait_for("batches to be merged", || {
        (sandbox.batches().len() < count - 700).then_some(())
    });
    append(sandbox.log("a.jsonl"), "one more\n");
    wait_for("the next line", || {
        (sandbox.status()["captured_lines"] == count + 1).then_some(())
    });
    watcher.stop().exits(0);
    let status = sandbox.status();
    assert_eq!(status["pending_records"], count + 1 - 100);
    sandbox.run(&["verify"]).exits(0);
    let traced = sandbox.run(&["trace", &ulid, "--json"]).exits(0).json().remove(0);
    assert_ne!(traced["now"]["state"], "pending", "{traced}");
    let next: Value = serde_json::from_str(sandbox.run(&["drain", "--max", "1", "--peek"]).exits(0).text()).unwrap();
    let traced = sandbox
        .run(&["trace", next["ulid"].as_str().unwrap(), "--json"])
        .exits(0)
        .json()
        .remove(0);
    assert_eq!(traced["now"]["state"], "pending", "{traced}");
    let rest = lines(count)[lines(100).len()..].to_owned() + "one more\n";
    assert_eq!(sandbox.drain_raw(), rest);
    assert_eq!(sandbox.names("pending"), [""; 0]);
    sandbox.run(&["verify"]).exits(0);
    let merged = sandbox.entries("compacted");
    assert!(merged.len() > 5, "{}", merged.len());
}
