//! Symlinks that are put in place between one of our calls and the next.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tailspool::capture::CaptureOptions;
use tailspool::disk::{Disk, SimDisk};
use tailspool::source::kind::SourceKind;
use tailspool::source::tree::{Log, OsTree, Stat};

use super::SECRET;
use super::pipeline::{Meddled, Meddler, Pipeline, TestClock, append, drained};
use super::support::{self, Sandbox, wait_until_equal};

/// What is done just before the call with this number.
struct Swap {
    calls: AtomicUsize,
    at: usize,
    act: Box<dyn Fn() + Send + Sync>,
}

impl Swap {
    fn step(&self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.at {
            (self.act)();
        }
    }
}

impl Meddler for Swap {
    fn root(&self, _: &Path) -> io::Result<()> {
        self.step();
        Ok(())
    }

    fn open(&self, _: &Path) -> io::Result<()> {
        self.step();
        Ok(())
    }

    fn change(&self, stat: Stat) -> Stat {
        self.step();
        stat
    }

    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step();
        log.read_at(bytes, offset)
    }
}

/// What becomes a symlink, below the directory that holds the root, and where it leads to outside of it.
const SWAPS: [(&str, &str); 4] = [
    ("logs/a/b/s.jsonl", "logs/a/b/s.jsonl"),
    ("logs/a/b", "logs/a/b"),
    ("logs/a", "logs/a"),
    ("logs", "logs"),
];

type MakeTree = fn() -> OsTree;

/// Swaps at the `at`-th call of a pass, and looks on; returns how many calls there were.
fn swapped(kind: SourceKind, tree: MakeTree, (inside, outside): (&str, &str), at: usize) -> usize {
    let temps = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [top, other] = temps.each_ref().map(|temp| temp.path().canonicalize().unwrap());
    let log = "logs/a/b/s.jsonl";
    for top in [&top, &other] {
        fs::create_dir_all(top.join("logs/a/b")).unwrap();
    }
    append(&top.join(log), "one\ntwo\n");
    // It goes on as the file inside does, so that nothing but the guard keeps it from being read on.
    append(&other.join(log), &format!("one\ntwo\n{SECRET}\n"));
    let (place, target) = (top.join(inside), other.join(outside));
    let swap = move || {
        fs::rename(&place, place.with_extension("aside")).unwrap();
        symlink(&target, &place).unwrap();
    };
    let swap = Arc::new(Swap {
        calls: AtomicUsize::new(0),
        at,
        act: Box::new(swap),
    });
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let clock = TestClock::new();
    let meddled = Meddled::on(tree(), &swap);
    let options = CaptureOptions::default();
    let mut pipeline = Pipeline::start_all(kind, &disk, &top, &["logs"], &clock, meddled, options, &|_| {}).unwrap();
    for _ in 0..3 {
        pipeline.look().unwrap();
        append(&other.join(log), &format!("{SECRET}\n"));
    }
    drop(pipeline);
    let again = Pipeline::start_all(
        kind,
        &disk,
        &top,
        &["logs"],
        &clock,
        Meddled::on(tree(), &swap),
        CaptureOptions::default(),
        &|_| {},
    );
    // A root that leads out of the scope is refused at a start.
    assert_eq!(
        again.is_err(),
        inside == "logs" && swap.calls.load(Ordering::SeqCst) > at
    );
    if let Ok(mut again) = again {
        again.look().unwrap();
    }
    let captured = drained(&*disk);
    assert!(!captured.contains(SECRET), "{inside} at call {at}: {captured}");
    swap.calls.load(Ordering::SeqCst)
}

#[test]
fn no_symlink_that_is_put_in_place_between_two_calls_leads_out_of_the_root() {
    let trees: [MakeTree; 2] = [OsTree::default, OsTree::without_openat2];
    let mut swaps = 0;
    for kind in [SourceKind::Poll, SourceKind::Notify] {
        for tree in trees {
            for place in SWAPS {
                let mut at = 0;
                while swapped(kind, tree, place, at) > at {
                    at += 1;
                }
                assert!(at > 8, "{place:?}: {at} calls");
                swaps += at;
            }
        }
    }
    assert!(swaps > 300, "{swaps} swaps");
}

#[test]
fn a_root_that_becomes_a_symlink_out_of_the_scope_is_not_followed_while_a_watcher_runs() {
    for source in ["poll", "notify"] {
        let sandbox = Sandbox::new();
        support::append(sandbox.log("a.jsonl"), "one\n");
        let outside = sandbox.path("outside");
        fs::create_dir(&outside).unwrap();
        support::append(outside.join("a.jsonl"), format!("one\n{SECRET}\n"));
        let mut watcher = sandbox.watch(&["--source", source]);
        wait_until_equal("the first line", &1, || sandbox.records().len());
        let aside = sandbox.path("user/aside");
        fs::rename(sandbox.log(""), &aside).unwrap();
        symlink(&outside, sandbox.path("user/logs")).unwrap();
        watcher.says("[watcher.look_failed]");
        support::append(outside.join("a.jsonl"), format!("{SECRET}\n"));
        wait_until_equal("the status", &true, || {
            sandbox.run(&["status"]).text().contains("not everything: 1 path")
        });
        fs::remove_file(sandbox.path("user/logs")).unwrap();
        fs::rename(&aside, sandbox.log("")).unwrap();
        support::append(sandbox.log("a.jsonl"), "two\n");
        wait_until_equal("the next line", &2, || sandbox.records().len());
        assert!(watcher.runs());
        watcher.stop();
        assert_eq!(sandbox.drain_raw(), "one\ntwo\n", "{source}");
        // At a start it is refused, before anything in it is opened.
        fs::rename(sandbox.log(""), &aside).unwrap();
        symlink(&outside, sandbox.path("user/logs")).unwrap();
        sandbox.once(&["--source", source]).exits(3);
        assert_eq!(sandbox.drain_raw(), "");
    }
}
