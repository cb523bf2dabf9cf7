//! The whole pipeline in one thread, on a clock that the test owns.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::Clock;
use tailspool::disk::Disk;
use tailspool::error::Error;
use tailspool::limits::FOLLOW_INTERVAL;
use tailspool::queue::drain::{DrainOptions, DrainReport, Format, Output, drain};
use tailspool::queue::news::{Heard, News};
use tailspool::source::kind::SourceKind;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::{EachEntry, EachInode, Log, OsTree, Stat, Tree};
use tailspool::source::{Budget, Source};

/// News of a queue that must be looked at: hears nothing, and lets a closure sleep, which says when it is over.
pub(crate) struct Polled<F>(pub(crate) F);

impl<F: FnMut(Duration) -> bool> News for Polled<F> {
    fn is_over(&mut self) -> bool {
        false
    }

    fn wait(&mut self, time: Duration) -> Heard {
        if (self.0)(time) { Heard::Stop } else { Heard::Nothing }
    }

    fn check_interval(&self) -> Duration {
        FOLLOW_INTERVAL
    }
}

/// A clock that only the test moves.
pub(crate) struct TestClock {
    begin: Instant,
    /// Near the time of the files, or none of them would count as recent.
    begin_utc: Timestamp,
    passed: Mutex<Duration>,
    /// How much the time of day was set back.
    set_back: Mutex<Duration>,
}

impl TestClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begin: Instant::now(),
            begin_utc: Timestamp::now(),
            passed: Mutex::default(),
            set_back: Mutex::default(),
        })
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }

    /// Sets the time of day back; the other clock goes on.
    pub(crate) fn set_back(&self, time: Duration) {
        *self.set_back.lock().unwrap() += time;
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Instant {
        self.begin + self.passed()
    }

    fn utc(&self) -> Timestamp {
        self.begin_utc + self.passed() - *self.set_back.lock().unwrap()
    }
}

/// Random parts that are the same in each run.
pub(crate) fn counted() -> Box<dyn FnMut() -> u128 + Send> {
    let mut drawn = 0;
    Box::new(move || {
        drawn += 1000;
        drawn
    })
}

/// A capture and the source that feeds it.
pub(crate) struct Pipeline {
    pub(crate) capture: Capture,
    pub(crate) source: Box<dyn Source>,
    pub(crate) clock: Arc<TestClock>,
}

impl Pipeline {
    /// Starts on `disk`, watching `top`.
    pub(crate) fn start(disk: &Arc<dyn Disk>, top: &Path, clock: &Arc<TestClock>) -> Result<Self, Error> {
        Self::start_on(SourceKind::Poll, disk, top, clock)
    }

    /// The same, told of changes: what was done before a poll is told to that poll.
    pub(crate) fn start_notify(disk: &Arc<dyn Disk>, top: &Path, clock: &Arc<TestClock>) -> Result<Self, Error> {
        Self::start_on(SourceKind::Notify, disk, top, clock)
    }

    pub(crate) fn start_on(
        kind: SourceKind,
        disk: &Arc<dyn Disk>,
        top: &Path,
        clock: &Arc<TestClock>,
    ) -> Result<Self, Error> {
        let (tree, options) = (Box::<OsTree>::default(), CaptureOptions::default());
        Self::start_all(kind, disk, top, &["."], clock, tree, options, &|_| {})
    }

    pub(crate) fn start_with(
        disk: &Arc<dyn Disk>,
        top: &Path,
        roots: &[&str],
        clock: &Arc<TestClock>,
        tree: Box<dyn Tree>,
        options: CaptureOptions,
    ) -> Result<Self, Error> {
        Self::start_all(SourceKind::Poll, disk, top, roots, clock, tree, options, &|_| {})
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "whoever does not need them all takes a shorter one"
    )]
    pub(crate) fn start_all(
        kind: SourceKind,
        disk: &Arc<dyn Disk>,
        top: &Path,
        roots: &[&str],
        clock: &Arc<TestClock>,
        tree: Box<dyn Tree>,
        options: CaptureOptions,
        change: &dyn Fn(&mut SourceOptions),
    ) -> Result<Self, Error> {
        let clock_dyn: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
        let capture = Capture::open(Arc::clone(disk), Arc::clone(&clock_dyn), counted(), options)?;
        let scope = Scope::new(None, &[top.to_owned()])?;
        let specs = roots
            .iter()
            .map(|root| RootSpec::new(if *root == "." { top.to_owned() } else { top.join(root) }));
        let roots = roots::check(specs.collect(), &scope, None)?;
        let mut options = SourceOptions::new(roots, scope);
        change(&mut options);
        let source = kind.open(options, tree, clock_dyn, capture.fold())?;
        Ok(Self {
            capture,
            source,
            clock: Arc::clone(clock),
        })
    }

    /// One whole pass (with notify: what was told, and what is due by time), with a commit after each job, so that a pass has many commits.
    pub(crate) fn look_step_by_step(&mut self) -> Result<(), Error> {
        self.source.look_now();
        loop {
            let report = self.source.poll(Budget { bytes: 1 }, &mut self.capture)?;
            self.capture.commit()?;
            if !report.more || report.refused {
                return Ok(());
            }
        }
    }

    /// One whole pass, as above, and one commit.
    pub(crate) fn look(&mut self) -> Result<(), Error> {
        self.source.look_now();
        loop {
            let report = self.source.poll(Budget { bytes: u64::MAX }, &mut self.capture)?;
            if !report.more || report.refused {
                return self.capture.commit();
            }
        }
    }
}

/// Collects what is drained.
#[derive(Default)]
pub(crate) struct Collected(pub(crate) Vec<u8>);

impl Output for Collected {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Drains at most `records_max` records; what was handed out, and the report.
pub(crate) fn drain_some(disk: &dyn Disk, format: Format, records_max: u64, peek: bool) -> (Vec<u8>, DrainReport) {
    let mut out = Collected::default();
    let options = DrainOptions {
        format,
        records_max,
        peek,
    };
    let report = drain(disk, options, &mut out, &mut ()).unwrap();
    (out.0, report)
}

/// Everything that is pending, in the form `raw`.
pub(crate) fn drained(disk: &dyn Disk) -> String {
    let (raw, report) = drain_some(disk, Format::Raw, u64::MAX, false);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    String::from_utf8(raw).unwrap()
}

/// Appends to a file, which may be new.
pub(crate) fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What stands between us and the logs: by default nothing.
pub(crate) trait Meddler: Send + Sync + 'static {
    /// Before a root is opened, by its absolute path.
    fn root(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Before a directory or file below a root is opened.
    fn open(&self, _relative: &Path) -> io::Result<()> {
        Ok(())
    }

    /// A log was opened.
    fn opened(&self) {}

    /// A handle of a log was closed.
    fn closed(&self) {}

    /// Before `fstat` and read of a log: the handle with this number, counted from 0.
    fn handle(&self, _number: u64) -> io::Result<()> {
        Ok(())
    }

    /// In place of `fstat` of a log.
    fn stat(&self, log: &dyn Log) -> io::Result<Stat> {
        log.stat()
    }

    /// What a `stat` of anything shows.
    fn change(&self, stat: Stat) -> Stat {
        stat
    }

    /// In place of a read of a log.
    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        log.read_at(bytes, offset)
    }
}

/// The operating system's tree, with a meddler before it.
pub(crate) struct Meddled<M>(OsTree, Arc<M>, AtomicU64);

impl<M: Meddler> Meddled<M> {
    pub(crate) fn tree(meddler: &Arc<M>) -> Box<dyn Tree> {
        Self::on(OsTree::default(), meddler)
    }

    pub(crate) fn on(tree: OsTree, meddler: &Arc<M>) -> Box<dyn Tree> {
        Box::new(Self(tree, Arc::clone(meddler), AtomicU64::new(0)))
    }
}

struct MeddledLog<M: Meddler>(Box<dyn Log>, Arc<M>, u64);

impl<M: Meddler> Drop for MeddledLog<M> {
    fn drop(&mut self) {
        self.1.closed();
    }
}

impl<M: Meddler> Log for MeddledLog<M> {
    fn stat(&self) -> io::Result<Stat> {
        self.1.handle(self.2)?;
        Ok(self.1.change(self.1.stat(&*self.0)?))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.handle(self.2)?;
        self.1.read_at(&*self.0, bytes, offset)
    }
}

impl<M: Meddler> Tree for Meddled<M> {
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        self.1.root(path)?;
        self.0.open_root(path)
    }

    fn open_dir(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<OwnedFd> {
        if !relative.as_os_str().is_empty() {
            self.1.open(relative)?;
        }
        self.0.open_dir(root, relative)
    }

    fn list(&self, directory: BorrowedFd<'_>, each: &mut EachEntry<'_>) -> io::Result<()> {
        self.0.list(directory, each)
    }

    fn inodes(&self, directory: BorrowedFd<'_>, each: &mut EachInode<'_>) -> io::Result<()> {
        self.0.inodes(directory, each)
    }

    fn stat(&self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
        Ok(self.1.change(self.0.stat(directory, name)?))
    }

    fn open(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<Box<dyn Log>> {
        self.1.open(relative)?;
        let log = self.0.open(root, relative)?;
        let number = self.2.fetch_add(1, Ordering::SeqCst);
        self.1.opened();
        Ok(Box::new(MeddledLog(log, Arc::clone(&self.1), number)))
    }
}
