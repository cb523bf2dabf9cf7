//! Golden cases: every fixture tree under `fixtures/trees` is played through the whole pipeline and its
//! committed events are compared with the expected ones.
//!
//! `TAILSPOOL_BLESS=1 cargo test --test trees` writes the expected events anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "it tells what each tree came to")]

mod pipeline;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pipeline::{Meddled, Meddler, Pipeline, TestClock, drain_some};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::{Map, Value};
use tailspool::capture::CaptureOptions;
use tailspool::disk::{Disk, OsDisk};
use tailspool::queue::drain::Format;

/// The first line of a script.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default = "the_tree")]
    roots: Vec<String>,
    #[serde(default)]
    options: Map<String, Value>,
    needs: Option<String>,
}

fn the_tree() -> Vec<String> {
    vec![".".into()]
}

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
enum Operation {
    Write {
        path: String,
        text: Option<String>,
        base64: Option<String>,
    },
    Append {
        path: String,
        text: Option<String>,
        base64: Option<String>,
    },
    Rename {
        from: String,
        to: String,
    },
    Truncate {
        path: String,
        size: u64,
    },
    Remove {
        path: String,
    },
    Mkdir {
        path: String,
    },
    Chmod {
        path: String,
        mode: String,
    },
    Symlink {
        path: String,
        target: String,
    },
    Hardlink {
        from: String,
        to: String,
    },
    Look,
    Pass {
        ms: u64,
    },
    Fail {
        path: String,
        errno: Option<String>,
    },
    Restart,
    Crash,
}

/// Looks that fail as the script says.
struct Failing {
    top: PathBuf,
    failures: Mutex<BTreeMap<PathBuf, Errno>>,
}

impl Meddler for Failing {
    fn root(&self, path: &Path) -> io::Result<()> {
        self.open(path.strip_prefix(&self.top).unwrap())
    }

    fn open(&self, relative: &Path) -> io::Result<()> {
        match self.failures.lock().unwrap().get(relative) {
            Some(errno) => Err((*errno).into()),
            None => Ok(()),
        }
    }
}

/// One tree while it is played.
struct Player {
    top: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<TestClock>,
    roots: Vec<String>,
    failing: Arc<Failing>,
    events: Arc<Mutex<Vec<Value>>>,
    pipeline: Option<Pipeline>,
}

impl Player {
    fn start(&mut self) {
        let roots: Vec<&str> = self.roots.iter().map(String::as_str).collect();
        let options = CaptureOptions::default();
        let mut pipeline = Pipeline::start_with(
            &self.disk,
            &self.top,
            &roots,
            &self.clock,
            Meddled::tree(&self.failing),
            options,
        )
        .unwrap();
        let events = Arc::clone(&self.events);
        pipeline.capture.observe(Box::new(move |event| {
            events.lock().unwrap().push(serde_json::to_value(event).unwrap());
        }));
        self.pipeline = Some(pipeline);
    }

    fn path(&self, relative: &str) -> PathBuf {
        let stays = Path::new(relative)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        assert!(stays, "{relative} leaves the tree");
        let path = self.top.join(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn play(&mut self, operation: Operation) {
        match operation {
            Operation::Write { path, text, base64 } => {
                fs::write(self.path(&path), content(text, base64)).unwrap();
            }
            Operation::Append { path, text, base64 } => {
                let mut file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(self.path(&path))
                    .unwrap();
                file.write_all(&content(text, base64)).unwrap();
            }
            Operation::Rename { from, to } => fs::rename(self.path(&from), self.path(&to)).unwrap(),
            Operation::Truncate { path, size } => {
                OpenOptions::new()
                    .write(true)
                    .open(self.path(&path))
                    .unwrap()
                    .set_len(size)
                    .unwrap();
            }
            Operation::Remove { path } => {
                let path = self.path(&path);
                if path.is_dir() {
                    fs::remove_dir_all(path)
                } else {
                    fs::remove_file(path)
                }
                .unwrap();
            }
            Operation::Mkdir { path } => fs::create_dir_all(self.path(&path)).unwrap(),
            Operation::Chmod { path, mode } => {
                let mode = u32::from_str_radix(&mode, 8).unwrap();
                fs::set_permissions(self.path(&path), fs::Permissions::from_mode(mode)).unwrap();
            }
            Operation::Symlink { path, target } => symlink(target, self.path(&path)).unwrap(),
            Operation::Hardlink { from, to } => fs::hard_link(self.path(&from), self.path(&to)).unwrap(),
            Operation::Look => {
                self.clock.pass(Duration::from_secs(2));
                self.pipeline.as_mut().unwrap().look().unwrap();
            }
            Operation::Pass { ms } => self.clock.pass(Duration::from_millis(ms)),
            Operation::Fail { path, errno } => self.fail(&path, errno.as_deref()),
            Operation::Restart => {
                self.pipeline.take().unwrap().capture.stop().unwrap();
                self.start();
            }
            Operation::Crash => {
                self.pipeline = None;
                self.start();
            }
        }
    }

    fn fail(&self, path: &str, errno: Option<&str>) {
        let path = if path == "." { PathBuf::new() } else { path.into() };
        let mut failures = self.failing.failures.lock().unwrap();
        match errno {
            None => drop(failures.remove(&path)),
            Some(name) => {
                let errno = match name {
                    "EACCES" => Errno::ACCESS,
                    "EIO" => Errno::IO,
                    "EMFILE" => Errno::MFILE,
                    "ESTALE" => Errno::STALE,
                    other => panic!("unknown errno {other}"),
                };
                failures.insert(path, errno);
            }
        }
    }

    /// The events without what differs from run to run.
    fn normalized(&self) -> String {
        let (mut inodes, mut files) = (Labels::new('i'), Labels::new('f'));
        let mut text = String::new();
        for event in self.events.lock().unwrap().iter() {
            let mut event = event.as_object().unwrap().clone();
            for key in ["device", "at", "mtime"] {
                event.remove(key);
            }
            let file_id = event["file_id"].clone();
            // The order of appearance: what was there before comes first.
            if let Some(old) = event.get_mut("old_inode") {
                *old = inodes.latest(old).into();
            }
            // An inode number that was given to another file is another inode, whether this filesystem
            // gives numbers away again or not.
            let inode = Value::Array(vec![event["inode"].clone(), file_id.clone()]);
            event.insert("inode".into(), inodes.of(&inode).into());
            event.insert("file_id".into(), files.of(&file_id).into());
            let path = Path::new(event["path"].as_str().unwrap())
                .strip_prefix(&self.top)
                .unwrap();
            let path = path.to_str().unwrap().to_owned();
            event.insert("path".into(), path.into());
            text += &serde_json::to_string(&event).unwrap();
            text.push('\n');
        }
        text
    }

    /// Each `append` is a record, in order, and the bytes are those of the event.
    fn check_queue(&self) {
        let (raw, report) = drain_some(&*self.disk, Format::Raw, u64::MAX, false);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        let mut expected = Vec::new();
        for event in self
            .events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| event["kind"] == "append")
        {
            match event["line"].as_str() {
                Some(line) => expected.extend_from_slice(line.as_bytes()),
                None => expected.extend(STANDARD.decode(event["line_base64"].as_str().unwrap()).unwrap()),
            }
            expected.push(b'\n');
        }
        assert_eq!(
            String::from_utf8_lossy(&raw),
            String::from_utf8_lossy(&expected),
            "the queue"
        );
        assert_eq!(raw, expected, "the bytes in the queue");
    }
}

struct Labels(char, Vec<Value>);

impl Labels {
    fn new(letter: char) -> Self {
        Self(letter, Vec::new())
    }

    fn of(&mut self, value: &Value) -> String {
        let at = self.1.iter().position(|known| known == value).unwrap_or_else(|| {
            self.1.push(value.clone());
            self.1.len() - 1
        });
        format!("{}{}", self.0, at + 1)
    }

    /// The label of the last file that had this inode number.
    fn latest(&self, inode: &Value) -> String {
        let at = self.1.iter().rposition(|known| known[0] == *inode).unwrap();
        format!("{}{}", self.0, at + 1)
    }
}

fn content(text: Option<String>, base64: Option<String>) -> Vec<u8> {
    match (text, base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
        other => panic!("one of text and base64: {other:?}"),
    }
}

/// Whether an unlinked file's inode is given to the next new file here.
fn inodes_are_reused(top: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let path = top.join("probe");
    let make = || {
        fs::write(&path, "").unwrap();
        let inode = fs::metadata(&path).unwrap().ino();
        fs::remove_file(&path).unwrap();
        inode
    };
    make() == make()
}

/// Plays one tree; false when this filesystem cannot play it.
fn play(tree: &Path) -> bool {
    let shown = tree.display();
    let script = fs::read_to_string(tree.join("script.jsonl")).unwrap();
    let mut lines = script.lines();
    let head: Head = serde_json::from_str(lines.next().unwrap()).unwrap_or_else(|error| panic!("{shown}:1: {error}"));
    assert!(head.options.is_empty(), "{shown}: no option is known");
    let temp = tempfile::tempdir().unwrap();
    let base = temp.path().canonicalize().unwrap();
    let top = base.join("tree");
    fs::create_dir(&top).unwrap();
    match head.needs.as_deref() {
        None => {}
        Some("inode-reuse") if inodes_are_reused(&top) => {}
        Some("inode-reuse") => return false,
        Some(other) => panic!("{shown}: unknown need {other}"),
    }
    let disk: Arc<dyn Disk> = Arc::new(OsDisk::create(&base.join("home")).unwrap());
    let failing = Failing {
        top: top.clone(),
        failures: Mutex::default(),
    };
    let mut player = Player {
        top,
        disk,
        clock: TestClock::new(),
        roots: head.roots,
        failing: Arc::new(failing),
        events: Arc::default(),
        pipeline: None,
    };
    player.start();
    for (number, line) in lines.enumerate() {
        let operation = serde_json::from_str(line).unwrap_or_else(|error| panic!("{shown}:{}: {error}", number + 2));
        player.play(operation);
    }
    player.pipeline.take().unwrap().capture.stop().unwrap();
    compare(tree, &player.normalized());
    player.check_queue();
    true
}

fn compare(tree: &Path, events: &str) {
    let path = tree.join("expect.jsonl");
    if std::env::var_os("TAILSPOOL_BLESS").is_some() {
        return fs::write(path, events).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(events, expected, "the events of {}", tree.display());
}

#[test]
fn every_fixture_tree_gives_its_expected_events() {
    let trees = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trees");
    let mut names: Vec<_> = fs::read_dir(trees)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    assert!(names.len() >= 20, "the trees were found: {}", names.len());
    let mut failed = Vec::new();
    for tree in &names {
        let name = tree.file_name().unwrap_or(OsStr::new("?")).display();
        match std::panic::catch_unwind(|| play(tree)) {
            Ok(true) => println!("{name}: passed"),
            Ok(false) => println!("{name}: skipped, this filesystem cannot play it"),
            Err(_) => failed.push(name.to_string()),
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}
