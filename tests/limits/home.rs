//! Little room for the home, and a home that may only be read.

use std::fs;
use std::sync::Arc;

use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::FULL_RETRY;
use tailspool::queue::depth::list;

use crate::numbered;
use crate::pipeline::{Pipeline, TestClock, drained};
use crate::support::namespace::{in_namespace, inside, script_in_namespace};
use crate::support::{Ended, Running, Sandbox, append, chmod, wait_until_equal};

#[test]
fn a_home_of_64_kib_takes_what_fits_and_the_rest_as_it_is_drained_or_grows() {
    let sandbox = Sandbox::new();
    let lines = numbered(0..3000);
    append(sandbox.log("a.jsonl"), &lines);
    fs::create_dir(sandbox.home("")).unwrap();
    let mount = "mount -t tmpfs -o size=64k tmpfs state";
    let script = r#"
        full=0
        for round in $(seq 40); do
            if "$0" watch --once user/logs 2>said; then break; fi
            grep -q 'error: the queue is full' said && grep -q '^hint: drain it or make room' said
            full=$((full + 1))
            "$0" drain --format raw
        done
        echo "full $full times" >&2
        mount -o remount,size=4m state
        "$0" watch --once user/logs
        "$0" drain --format raw
        "$0" verify >&2
    "#;
    let Some(command) = script_in_namespace(&sandbox, "-Urm", mount, script, &[]) else {
        return;
    };
    let ended = Running::start(command).end().exits(0);
    assert!(ended.text() == lines, "{ended:#?}");
    assert_eq!(ended.count("full 0 times"), 0, "{ended:#?}");
}

#[test]
fn no_batch_is_larger_than_half_of_what_the_disk_takes() {
    /// What is kept free of a large disk.
    const RESERVE: u64 = 1 << 30;
    const ROOM: u64 = 20_000;
    let temp = tempfile::tempdir().unwrap();
    let (disk, clock) = (SimDisk::new(), TestClock::new());
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
    let lines = numbered(0..500);
    append(temp.path().join("a.jsonl"), &lines);
    let (mut found, mut largest) = (String::new(), 0);
    while found.len() < lines.len() {
        disk.set_free(RESERVE + ROOM);
        clock.pass(FULL_RETRY);
        pipeline.look().unwrap();
        let files = list(&disk).unwrap().files;
        assert!(!files.is_empty(), "it goes on");
        largest = files.values().map(|(_, meta)| meta.size).fold(largest, u64::max);
        found += &drained(&disk);
    }
    assert!(found == lines);
    // One record more than is allowed.
    assert!((ROOM / 4..ROOM / 2 + 1000).contains(&largest), "{largest}");
}

#[test]
fn a_watcher_whose_disk_was_full_goes_on_by_itself_once_there_is_room() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.home("")).unwrap();
    let mount = "mount -t tmpfs -o size=1m tmpfs state";
    let args = ["watch", "-v", "--interval", "100ms", "user/logs"];
    let Some(command) = in_namespace(&sandbox, "-Urm", mount, &args) else {
        return;
    };
    let watcher = Running::start(command);
    watcher.says("watching ");
    let state = sandbox.home("");
    let state = state.display();
    inside(
        &watcher,
        &format!("cat /dev/zero > '{state}/filler' 2>/dev/null || true"),
    );
    let lines = numbered(0..2000);
    append(sandbox.log("a.jsonl"), &lines);
    watcher.says("[queue.full]");
    watcher.says("drain it, or make room");
    inside(&watcher, &format!("rm '{state}/filler'"));
    watcher.says("[queue.room]");
    let drain = format!(
        "'{}' --home '{state}' drain --format raw",
        env!("CARGO_BIN_EXE_tailspool")
    );
    let mut drained = String::new();
    wait_until_equal("all lines", &lines.len(), || {
        drained += &inside(&watcher, &drain);
        drained.len()
    });
    assert!(drained == lines);
    watcher.stop().no_error();
}

#[test]
fn a_home_that_may_only_be_read_is_an_error_and_can_be_read() {
    let sandbox = Sandbox::unprivileged();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.hand_over();
    sandbox.once(&[]).exits(0);
    append(sandbox.log("a.jsonl"), "two\n");
    let directories = ["pending", "provenance", ""];
    let files = || {
        fs::read_dir(sandbox.home(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
    };
    let files: Vec<_> = files().filter(|path| path.is_file()).collect();
    let set = |of_files, of_directories| {
        for path in &files {
            chmod(path, of_files);
        }
        for path in directories {
            chmod(sandbox.home(path), of_directories);
        }
    };
    set(0o400, 0o500);
    let before = sandbox.everything();
    let refused = |ended: Ended| {
        let ended = ended.exits(1);
        assert!(ended.error().contains("ermission denied"), "{ended:#?}");
        assert!(ended.hint().contains("home"), "{ended:#?}");
    };
    refused(sandbox.once(&[]));
    assert_eq!(
        sandbox.run(&["drain", "--format", "raw", "--peek"]).exits(0).text(),
        "one\n"
    );
    sandbox.run(&["status"]).exits(0);
    assert!(sandbox.everything() == before, "nothing changed");
    chmod(sandbox.home(""), 0o700);
    set(0o600, 0o700);
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}

#[test]
fn a_home_on_a_filesystem_mounted_read_only_is_an_error_and_can_be_read() {
    let sandbox = Sandbox::new();
    append(sandbox.log("a.jsonl"), "one\n");
    sandbox.once(&[]).exits(0);
    append(sandbox.log("a.jsonl"), "two\n");
    let mount = "mount --bind state state; mount -o remount,bind,ro state";
    let script = r#""$0" status >/dev/null; "$0" drain --peek --format raw; exec "$0" watch --once user/logs"#;
    let Some(command) = script_in_namespace(&sandbox, "-Urm", mount, script, &[]) else {
        return;
    };
    let ended = Running::start(command).end().exits(1);
    assert_eq!(ended.text(), "one\n", "{ended:#?}");
    assert!(ended.error().contains("ead-only file system"), "{ended:#?}");
    assert!(ended.hint().contains("home"), "{ended:#?}");
    sandbox.once(&[]).exits(0).no_error();
    assert_eq!(sandbox.drain_raw(), "one\ntwo\n");
}
