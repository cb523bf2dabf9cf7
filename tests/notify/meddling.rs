//! A clock, a notifier and a tree that the test meddles with, and what is warned of.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use log::{Log as Logger, Metadata, Record};
use tailspool::clock::Clock;
use tailspool::source::notify::{Interest, Notifier, Told, WatchId, What, notifier};
use tailspool::source::tree::{Log, Stat};

use crate::pipeline::Meddler;

/// A clock that only the test moves; the time of day on its own.
pub(crate) struct Clocks {
    begin: Instant,
    begin_utc: Timestamp,
    passed: Mutex<Duration>,
    pub(crate) jump: Mutex<SignedDuration>,
}

impl Clocks {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            begin: Instant::now(),
            begin_utc: Timestamp::now(),
            passed: Mutex::default(),
            jump: Mutex::default(),
        })
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}

impl Clock for Clocks {
    fn now(&self) -> Instant {
        self.begin + *self.passed.lock().unwrap()
    }

    fn utc(&self) -> Timestamp {
        self.begin_utc + *self.passed.lock().unwrap() + *self.jump.lock().unwrap()
    }
}

/// What becomes of what is told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Telling {
    #[default]
    Plain,
    /// It is held back.
    Late,
    /// It is told twice.
    Doubled,
    /// It goes nowhere, and this is said to be so.
    Lost,
    /// The same, and nothing is said.
    Dropped,
    /// The next reading fails.
    Failing,
}

/// What the notifier does wrong, and what it did.
#[derive(Default)]
pub(crate) struct Faults {
    /// As many watches as there is room for.
    pub(crate) room: Option<usize>,
    /// It is blind to these directories.
    pub(crate) blind: BTreeSet<u64>,
    pub(crate) telling: Telling,
    /// This directory is told of too, by a watch that nobody asked for.
    pub(crate) stranger: Option<PathBuf>,
    /// What is told beside what happens: of every watch, this.
    pub(crate) also: Vec<(What, Option<OsString>)>,
    /// The watches that it gave away and that were not given back.
    pub(crate) watches: BTreeSet<WatchId>,
}

/// The system's notifier with faults.
pub(crate) struct Faulty {
    inner: Box<dyn Notifier>,
    faults: Arc<Mutex<Faults>>,
    held: VecDeque<(WatchId, What, Option<OsString>)>,
}

impl Faulty {
    pub(crate) fn notifier(faults: &Arc<Mutex<Faults>>) -> Box<dyn Notifier> {
        Box::new(Self {
            inner: notifier().unwrap(),
            faults: Arc::clone(faults),
            held: VecDeque::new(),
        })
    }
}

impl Notifier for Faulty {
    fn watch(&mut self, directory: BorrowedFd<'_>, path: &Path, interest: Interest) -> io::Result<WatchId> {
        let watch = self.inner.watch(directory, path, interest)?;
        let mut faults = self.faults.lock().unwrap();
        if faults.room.is_some_and(|room| faults.watches.len() >= room) && !faults.watches.contains(&watch) {
            self.inner.unwatch(watch);
            return Err(rustix::io::Errno::NOSPC.into());
        }
        faults.watches.insert(watch);
        Ok(watch)
    }

    fn unwatch(&mut self, watch: WatchId) {
        self.faults.lock().unwrap().watches.remove(&watch);
        self.inner.unwatch(watch);
    }

    fn blindness(&self, directory: BorrowedFd<'_>) -> Option<String> {
        let inode = rustix::fs::fstat(directory).unwrap().st_ino;
        let is_blind = self.faults.lock().unwrap().blind.contains(&inode);
        is_blind.then(|| "it is far away".into())
    }

    fn read(&mut self, each: &mut dyn FnMut(Told<'_>)) -> io::Result<()> {
        let mut faults = self.faults.lock().unwrap();
        if let Some(stranger) = faults.stranger.take() {
            let directory = File::open(&stranger)?;
            self.inner.watch(directory.as_fd(), &stranger, Interest::Logs)?;
        }
        let held = &mut self.held;
        self.inner.read(&mut |told| {
            held.push_back((told.watch, told.what, told.name.map(OsStr::to_owned)));
        })?;
        match faults.telling {
            Telling::Failing => {
                faults.telling = Telling::Plain;
                held.clear();
                return Err(rustix::io::Errno::IO.into());
            }
            Telling::Late => return Ok(()),
            Telling::Lost | Telling::Dropped if !held.is_empty() => {
                held.clear();
                if let Some(watch) = faults.watches.first().filter(|_| faults.telling == Telling::Lost) {
                    let (watch, what, name) = (*watch, What::Lost, None);
                    each(Told { watch, what, name });
                }
            }
            Telling::Plain | Telling::Doubled | Telling::Lost | Telling::Dropped => {}
        }
        for (what, name) in &faults.also {
            for watch in &faults.watches {
                let (watch, what, name) = (*watch, *what, name.as_deref());
                each(Told { watch, what, name });
            }
        }
        for (watch, what, name) in std::mem::take(held) {
            for _ in 0..if faults.telling == Telling::Doubled { 2 } else { 1 } {
                let name = name.as_deref();
                each(Told { watch, what, name });
            }
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.inner.descriptor()
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// What the tree does wrong, and what was read in it.
#[derive(Default)]
pub(crate) struct Odd {
    pub(crate) read_bytes: Mutex<u64>,
    /// This path below its root cannot be opened.
    pub(crate) closed: Mutex<Option<PathBuf>>,
    /// These inodes are shown on another device.
    pub(crate) elsewhere: Mutex<BTreeSet<u64>>,
}

impl Meddler for Odd {
    fn open(&self, relative: &Path) -> io::Result<()> {
        let closed = self.closed.lock().unwrap();
        if closed.as_deref().is_some_and(|closed| relative.starts_with(closed)) {
            return Err(rustix::io::Errno::ACCESS.into());
        }
        Ok(())
    }

    fn change(&self, mut stat: Stat) -> Stat {
        if self.elsewhere.lock().unwrap().contains(&stat.identity.inode) {
            stat.identity.device += 1;
        }
        stat
    }

    fn read_at(&self, log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = log.read_at(bytes, offset)?;
        *self.read_bytes.lock().unwrap() += read as u64;
        Ok(read)
    }
}

thread_local! {
    static WARNINGS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Keeps the warnings of each thread.
struct Warnings;

impl Logger for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            WARNINGS.with_borrow_mut(|warnings| warnings.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

pub(crate) fn listen() {
    if log::set_logger(&Warnings).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

/// The warnings of this thread since the last call.
pub(crate) fn warnings() -> Vec<String> {
    WARNINGS.take()
}
