//! A notify source with what it is told, and the queue that it feeds.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, SimDisk};
use tailspool::limits::POLL_BYTES;
use tailspool::source::notify::NotifySource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::{Budget, Source, WatchedPath};

use crate::meddling::{Clocks, Faults, Faulty, Odd, listen};
use crate::pipeline::{Meddled, counted, drained};

/// How a world begins.
#[derive(Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// Below its top.
    pub(crate) roots: &'a [&'a str],
    /// Below its top.
    pub(crate) scope: &'a str,
    /// With `auto`, what cannot be watched is polled.
    pub(crate) polls: bool,
    pub(crate) records_max: Option<u64>,
    /// As many watches as there is room for.
    pub(crate) room: Option<usize>,
    /// How many files of a root are watched.
    pub(crate) files_max: Option<usize>,
}

impl Default for Setting<'_> {
    fn default() -> Self {
        Self {
            roots: &["logs"],
            scope: "",
            polls: true,
            records_max: None,
            room: None,
            files_max: None,
        }
    }
}

/// `logs/` is the root, unless set otherwise; what is beside it is in the scope.
pub(crate) struct World {
    pub(crate) temp: tempfile::TempDir,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) odd: Arc<Odd>,
    pub(crate) faults: Arc<Mutex<Faults>>,
    /// Sweeps up to now.
    pub(crate) sweeps: u64,
    disk: SimDisk,
    capture: Capture,
    source: NotifySource,
}

impl World {
    /// One whose first sweep is done.
    pub(crate) fn new() -> Self {
        Self::with(Setting::default(), |top| fs::create_dir(top.join("logs")).unwrap())
    }

    pub(crate) fn with(setting: Setting<'_>, prepare: impl FnOnce(&Path)) -> Self {
        Self::begin(setting, prepare, |_| {})
    }

    /// The same, with something that happens before the source is made, and after the roots were checked.
    pub(crate) fn begin(setting: Setting<'_>, prepare: impl FnOnce(&Path), then: impl FnOnce(&Path)) -> Self {
        listen();
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        prepare(&top);
        let clocks = Clocks::new();
        let clock: Arc<dyn Clock> = Arc::<Clocks>::clone(&clocks);
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut options = CaptureOptions::default();
        options.limits.records_max = setting.records_max;
        let capture = Capture::open(shared, Arc::clone(&clock), counted(), options).unwrap();
        let scope = Scope::new(None, &[top.join(setting.scope)]).unwrap();
        let specs = setting.roots.iter().map(|root| RootSpec::new(top.join(root)));
        let roots = roots::check(specs.collect(), &scope, None).unwrap();
        then(&top);
        let mut options = SourceOptions::new(roots, scope);
        options.files_max = setting.files_max;
        let odd = Arc::default();
        let faults = Arc::new(Mutex::new(Faults::default()));
        faults.lock().unwrap().room = setting.room;
        let notifier = Faulty::notifier(&faults);
        let tree = Meddled::tree(&odd);
        let source = NotifySource::new(options, tree, clock, capture.fold(), notifier, !setting.polls);
        let mut this = Self {
            temp,
            clocks,
            odd,
            faults,
            sweeps: 0,
            disk,
            capture,
            source: source.unwrap(),
        };
        this.poll();
        assert_eq!(this.sweeps, 1);
        this
    }

    /// A path below the top.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.temp.path().canonicalize().unwrap().join(relative)
    }

    pub(crate) fn mkdir(&self, relative: &str) {
        fs::create_dir_all(self.path(relative)).unwrap();
    }

    pub(crate) fn append(&self, relative: &str, text: &str) {
        write(&mut self.writer(relative), text);
    }

    /// Renames what is at one path to another one.
    pub(crate) fn mv(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// One that keeps its file open.
    pub(crate) fn writer(&self, relative: &str) -> File {
        let mut options = OpenOptions::new();
        options.create(true).append(true).open(self.path(relative)).unwrap()
    }

    pub(crate) fn inode(&self, relative: &str) -> u64 {
        fs::metadata(self.path(relative)).unwrap().ino()
    }

    pub(crate) fn faulty(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.lock().unwrap());
    }

    /// How many directories are watched.
    pub(crate) fn watches(&self) -> usize {
        self.faults.lock().unwrap().watches.len()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clocks.pass(time);
    }

    /// Polls as the engine does, until there is nothing to do, or nothing that may be done.
    pub(crate) fn poll(&mut self) {
        loop {
            let budget = Budget { bytes: POLL_BYTES };
            let report = self.source.poll(budget, &mut self.capture).unwrap();
            self.capture.tick(false).unwrap();
            self.capture.commit().unwrap();
            self.sweeps = self.sweeps.max(report.passes);
            if !report.more || report.refused {
                return;
            }
        }
    }

    /// The lines that one look at what was told brings, without any time passing, sorted.
    pub(crate) fn told(&mut self) -> Vec<String> {
        self.poll();
        self.drained()
    }

    /// The same after some time.
    pub(crate) fn after(&mut self, time: Duration) -> Vec<String> {
        self.pass(time);
        self.told()
    }

    pub(crate) fn drained(&self) -> Vec<String> {
        let mut lines: Vec<_> = drained(&self.disk).lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// How often a kind of entry is in the ledger.
    pub(crate) fn ledger(&self, kind: &str) -> usize {
        let mut text = String::new();
        let path = Path::new("provenance/provenance-000001.jsonl");
        let mut ledger = self.disk.read_from(path, 0).unwrap();
        io::Read::read_to_string(&mut ledger, &mut text).unwrap();
        let wanted = format!("{{\"kind\":\"{kind}\"");
        text.lines().filter(|line| line.starts_with(&wanted)).count()
    }

    pub(crate) fn read_bytes(&self) -> u64 {
        std::mem::take(&mut self.odd.read_bytes.lock().unwrap())
    }

    pub(crate) fn files(&self) -> u64 {
        self.source.overview().files
    }

    pub(crate) fn unknown(&self) -> u64 {
        self.source.overview().unknown
    }

    pub(crate) fn root(&self) -> WatchedPath {
        self.source.overview().roots.remove(0)
    }

    /// The paths that are polled, relative to the top.
    pub(crate) fn polled(&self) -> Vec<String> {
        let top = self.path("");
        let root = self.root();
        assert_eq!(root.polled, root.polled_first.len() as u64);
        let polled = root.polled_first.iter();
        let polled = polled.map(|polled| polled.path.strip_prefix(&top).unwrap());
        polled.map(|path| path.to_str().unwrap().to_owned()).collect()
    }
}

pub(crate) fn write(file: &mut File, text: &str) {
    file.write_all(text.as_bytes()).unwrap();
}
