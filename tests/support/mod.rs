//! A user's home, a tailspool home and the real command, for tests of what can be seen from outside.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

#[cfg(target_os = "linux")]
pub(crate) mod namespace;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tailspool::agents::AGENTS;
use tempfile::TempDir;

/// How long anything that must come is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user and group `nobody`.
const NOBODY: u32 = 65534;

/// Time between two looks for something that must come.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `found` finds something.
pub(crate) fn wait_for<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    wait_closely(what, PAUSE, found)
}

/// The same for something that may be gone again soon.
pub(crate) fn wait_closely<T>(what: &str, pause: Duration, mut found: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(pause);
    }
}

/// Waits until `now` returns `expected`, and shows both when it never does.
pub(crate) fn wait_until_equal<T: PartialEq + Debug>(what: &str, expected: &T, mut now: impl FnMut() -> T) {
    let begin = Instant::now();
    loop {
        let found = now();
        if found == *expected {
            return;
        }
        if begin.elapsed() >= PATIENCE {
            assert_eq!(found, *expected, "waited in vain for: {what}");
        }
        std::thread::sleep(PAUSE);
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The one line of standard error that begins with `prefix`.
    #[track_caller]
    pub(crate) fn line(&self, prefix: &str) -> &str {
        let mut lines = self.stderr.lines().filter(|line| line.starts_with(prefix));
        let line = lines
            .next()
            .unwrap_or_else(|| panic!("no line `{prefix}…` in {self:#?}"));
        assert_eq!(lines.next(), None, "a second one in {self:#?}");
        line
    }

    /// The one line that is printed with this code.
    #[track_caller]
    pub(crate) fn told_once(&self, code: &str) {
        let lines = self.stderr.lines().filter(|line| line.contains(code));
        assert_eq!(lines.count(), 1, "{code} in {self:#?}");
    }

    /// The one `error:` line.
    #[track_caller]
    pub(crate) fn error(&self) -> &str {
        self.line("error: ")
    }

    /// The one `hint:` line.
    #[track_caller]
    pub(crate) fn hint(&self) -> &str {
        self.line("hint: ")
    }

    /// Asserts that no `error:` and no `hint:` line was printed.
    #[track_caller]
    pub(crate) fn no_error(self) -> Self {
        let bad = |line: &str| line.starts_with("error") || line.starts_with("hint");
        assert!(!self.stderr.lines().any(bad), "{self:#?}");
        self
    }

    /// How many lines of standard error hold this.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.stderr.lines().filter(|line| line.contains(text)).count()
    }

    /// Standard output as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.stdout).unwrap()
    }

    /// Standard output as one JSON value a line.
    #[track_caller]
    pub(crate) fn json(&self) -> Vec<Value> {
        self.text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Reads a pipe to its end, and shows meanwhile what has come.
pub(crate) struct Listener {
    heard: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Listener {
    pub(crate) fn to(mut pipe: impl Read + Send + 'static) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&heard);
        let thread = std::thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(read) = pipe.read(&mut piece) {
                if read == 0 {
                    break;
                }
                into.lock().unwrap().extend_from_slice(&piece[..read]);
            }
        });
        Self { heard, thread }
    }

    /// What has come up to now.
    pub(crate) fn so_far(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }

    /// Everything.
    pub(crate) fn all(self) -> Vec<u8> {
        self.thread.join().unwrap();
        let heard = Arc::into_inner(self.heard).unwrap();
        heard.into_inner().unwrap()
    }
}

/// A command that runs. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Listener>,
    stderr: Option<Listener>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().map(Listener::to);
        let stderr = child.stderr.take().map(Listener::to);
        Self { child, stdout, stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it runs still.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has said on standard error up to now.
    pub(crate) fn stderr(&self) -> String {
        let heard = self.stderr.as_ref().map(Listener::so_far).unwrap_or_default();
        String::from_utf8(heard).unwrap()
    }

    /// What it has printed up to now.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.stdout.as_ref().map(Listener::so_far).unwrap_or_default()
    }

    /// Waits until standard error holds this.
    pub(crate) fn says(&self, text: &str) {
        wait_for(&format!("`{text}` on standard error"), || {
            let ended = self.stderr.as_ref().is_none_or(|stderr| stderr.thread.is_finished());
            let said = self.stderr();
            if said.contains(text) {
                return Some(());
            }
            assert!(!ended, "it ended without `{text}`: {said}");
            None
        });
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn status(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for("the end of a command", || child.try_wait().unwrap())
    }

    /// Waits for its end.
    pub(crate) fn end(mut self) -> Ended {
        let status = self.status();
        let all = |listener: Option<Listener>| listener.map(Listener::all).unwrap_or_default();
        let stderr = all(self.stderr.take());
        Ended {
            code: status.code(),
            stdout: all(self.stdout.take()),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// `kill -9`. True when it was that which ended it.
    pub(crate) fn kill(&mut self) -> bool {
        use std::os::unix::process::ExitStatusExt;
        self.child.kill().unwrap();
        self.status().signal() == Some(9)
    }

    /// SIGTERM, and its end, which must be a good one.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end().exits(0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A record in the queue: session, epoch, offset, number of the line, bytes.
pub(crate) type Record = (String, u64, u64, u64, Vec<u8>);

/// `user/` is `$HOME`, `user/logs/` what is watched, `state/` the home of tailspool.
pub(crate) struct Sandbox {
    _temp: TempDir,
    base: PathBuf,
    program: PathBuf,
    /// Run as `nobody`, so that permissions count.
    as_nobody: bool,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("user/logs")).unwrap();
        Self {
            _temp: temp,
            base,
            program: env!("CARGO_BIN_EXE_tailspool").into(),
            as_nobody: false,
        }
    }

    /// One in which permissions count: when the tests run as root, the commands run as `nobody`.
    pub(crate) fn unprivileged() -> Self {
        let mut this = Self::new();
        if !rustix::process::geteuid().is_root() {
            return this;
        }
        this.as_nobody = true;
        // `nobody` may not reach the build directory. By `cp`, since a descriptor of ours that a test beside
        // this one hands to its child by chance would make the copy "busy".
        let copy = this.base.join("tailspool");
        let copied = Command::new("cp").arg(&this.program).arg(&copy).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        this.program = copy;
        this.hand_over();
        this
    }

    /// Gives everything to the user that the commands run as.
    pub(crate) fn hand_over(&self) {
        if self.as_nobody {
            let owner = format!("{NOBODY}:{NOBODY}");
            let done = Command::new("chown")
                .args(["-R", &owner])
                .arg(&self.base)
                .status()
                .unwrap();
            assert!(done.success());
        }
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.base.join(relative)
    }

    /// A path that is watched.
    pub(crate) fn log(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path("user/logs").join(relative)
    }

    /// A path in the home of tailspool.
    pub(crate) fn home(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.path("state").join(relative)
    }

    /// The real command in this sandbox.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(args);
        self.confine(&mut command);
        command
    }

    /// The same, run by `sh` behind `before`.
    pub(crate) fn shell(&self, before: &str, args: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
        command.arg(&self.program).args(args);
        self.confine(&mut command);
        command
    }

    fn confine(&self, command: &mut Command) {
        command
            .env("HOME", self.path("user"))
            .env("TAILSPOOL_HOME", self.home(""))
            .env_remove("RUST_LOG")
            .env_remove("RUST_LOG_STYLE")
            .env_remove("TAILSPOOL_CONFIG")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_STATE_HOME")
            .env_remove("XDG_DATA_HOME");
        for var in AGENTS
            .iter()
            .flat_map(|agent| agent.places)
            .flat_map(|place| place.moved_by)
        {
            command.env_remove(var.name());
        }
        command.current_dir(&self.base).stdout(Stdio::piped());
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        Running::start(self.command(args)).end()
    }

    /// `watch --once` of the logs, with further arguments.
    pub(crate) fn once(&self, more: &[&str]) -> Ended {
        self.run(&[&["watch", "--once", "user/logs"], more].concat())
    }

    /// A watcher of the logs that goes on, after its first look.
    pub(crate) fn watch(&self, more: &[&str]) -> Running {
        let args = ["watch", "--interval", "100ms", "user/logs"];
        let watcher = Running::start(self.command(&[&args, more].concat()));
        watcher.says("watching ");
        watcher
    }

    /// Drains everything, raw.
    #[track_caller]
    pub(crate) fn drain_raw(&self) -> String {
        let ended = self.run(&["drain", "--format", "raw"]).exits(0).no_error();
        ended.text().to_owned()
    }

    /// The names in a directory of the home, sorted.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.home(directory)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The paths in a directory of the home that end with this extension.
    pub(crate) fn paths_with(&self, directory: &str, extension: &str) -> Vec<PathBuf> {
        let paths = self.names(directory).into_iter();
        let paths = paths.map(|name| self.home(directory).join(name));
        paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .collect()
    }

    /// The names of the visible batches, oldest first.
    pub(crate) fn batches(&self) -> Vec<String> {
        let mut names = self.names("pending");
        names.retain(|name| {
            name.strip_suffix(".jsonl")
                .is_some_and(|name| name.starts_with("pending-"))
        });
        names
    }

    /// The envelopes in the visible batches, in order, progress of drains not regarded.
    pub(crate) fn envelopes(&self) -> Vec<Value> {
        let mut envelopes = Vec::new();
        for name in self.batches() {
            // One that was drained since it was listed is not there any more.
            let Ok(text) = fs::read_to_string(self.home("pending").join(name)) else {
                continue;
            };
            envelopes.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        envelopes
    }

    /// The same as records.
    pub(crate) fn records(&self) -> Vec<Record> {
        self.envelopes().iter().map(record).collect()
    }

    /// The lines of one session in the visible batches.
    pub(crate) fn lines_of(&self, session: &str) -> Vec<String> {
        let records = self.records().into_iter().filter(|record| record.0 == session);
        records.map(|record| String::from_utf8(record.4).unwrap()).collect()
    }

    /// Every ledger line that can be read.
    pub(crate) fn ledger(&self) -> Vec<Value> {
        let mut entries = Vec::new();
        for name in self.names("provenance") {
            let bytes = fs::read(self.home("provenance").join(name)).unwrap_or_default();
            let lines = bytes.split(|byte| *byte == b'\n');
            entries.extend(lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()));
        }
        entries
    }

    /// The ledger lines of one kind.
    pub(crate) fn entries(&self, kind: &str) -> Vec<Value> {
        let mut entries = self.ledger();
        entries.retain(|entry| entry["kind"] == kind);
        entries
    }

    /// Path and content of the ledger's only segment.
    pub(crate) fn segment(&self) -> (PathBuf, Vec<u8>) {
        let path = self.home("provenance/provenance-000001.jsonl");
        let content = fs::read(&path).unwrap();
        (path, content)
    }

    /// `status --json`.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        let ended = self.run(&["status", "--json"]).exits(0);
        ended.json().remove(0)
    }

    /// Every path in the home but `lock`, with its mode and content; None for a directory.
    pub(crate) fn everything(&self) -> BTreeMap<PathBuf, (u32, Option<Vec<u8>>)> {
        let mut found = BTreeMap::new();
        let mut waiting = vec![self.home("")];
        while let Some(path) = waiting.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                None
            } else {
                Some(fs::read(&path).unwrap())
            };
            if path != self.home("lock") {
                found.insert(path, (meta.mode() & 0o7777, content));
            }
        }
        found
    }
}

/// What an envelope says.
pub(crate) fn record(envelope: &Value) -> Record {
    let record = &envelope["record"];
    let source = &record["source"];
    let number = |key: &str| source[key].as_u64().unwrap();
    let bytes = match record["surface_base64"].as_str() {
        Some(base64) => STANDARD.decode(base64).unwrap(),
        None => record["surface"].as_str().unwrap().as_bytes().to_owned(),
    };
    let session = record["session_id"].as_str().unwrap().to_owned();
    (session, number("epoch"), number("offset"), number("line"), bytes)
}

/// Appends to a file, which is made if it is not there.
pub(crate) fn append(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(bytes.as_ref()).unwrap();
}

/// Changes the permissions of a path.
pub(crate) fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
