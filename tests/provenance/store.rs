//! A store and a disk that do what a test says, and say what was done to them.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tailspool::disk::{Disk, DiskFile, Meta, SimDisk, Space};
use tailspool::provenance::{Pair, ProvenanceStore, StoreError};

#[derive(Default)]
struct Inner {
    is_shut: bool,
    fails: u32,
    panics: u32,
    entered: usize,
    calls: Vec<Vec<Pair>>,
}

/// A store that can be shut, so that its calls are stuck, and that fails as often as it is told.
#[derive(Default)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    changed: Condvar,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// One whose calls are stuck until it is opened.
    pub(crate) fn shut() -> Arc<Self> {
        let store = Self::new();
        store.change(|inner| inner.is_shut = true);
        store
    }

    /// One that fails this often.
    pub(crate) fn failing(times: u32) -> Arc<Self> {
        let store = Self::new();
        store.change(|inner| inner.fails = times);
        store
    }

    /// One that panics this often.
    pub(crate) fn panicking(times: u32) -> Arc<Self> {
        let store = Self::new();
        store.change(|inner| inner.panics = times);
        store
    }

    pub(crate) fn open(&self) {
        self.change(|inner| inner.is_shut = false);
    }

    pub(crate) fn set_failing(&self, times: u32) {
        self.change(|inner| inner.fails = times);
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        change(&mut self.inner.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait(&self, until: impl Fn(&Inner) -> bool) -> MutexGuard<'_, Inner> {
        let inner = self.inner.lock().unwrap();
        self.changed.wait_while(inner, |inner| !until(inner)).unwrap()
    }

    /// Waits until it was called this often.
    pub(crate) fn wait_for_calls(&self, count: usize) {
        drop(self.wait(|inner| inner.entered >= count));
    }

    /// Waits until it took this many pairs.
    pub(crate) fn wait_for_pairs(&self, count: usize) {
        drop(self.wait(|inner| inner.calls.iter().map(Vec::len).sum::<usize>() >= count));
    }

    /// How many pairs each call brought.
    pub(crate) fn call_sizes(&self) -> Vec<usize> {
        self.inner.lock().unwrap().calls.iter().map(Vec::len).collect()
    }

    pub(crate) fn pairs(&self) -> Vec<Pair> {
        self.inner.lock().unwrap().calls.concat()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.pairs().iter().map(|pair| pair.id().to_owned()).collect()
    }
}

impl ProvenanceStore for Store {
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        self.change(|inner| inner.entered += 1);
        let mut inner = self.wait(|inner| !inner.is_shut);
        if inner.fails > 0 {
            inner.fails -= 1;
            return Err("told to".into());
        }
        let panics = inner.panics > 0;
        inner.panics = inner.panics.saturating_sub(1);
        if panics {
            drop(inner);
            panic!("told to");
        }
        inner.calls.push(pairs.to_vec());
        drop(inner);
        self.changed.notify_all();
        Ok(())
    }
}

/// A simulated disk whose creates can be held up, and whose reads fail as often as it is told.
pub(crate) struct Stubborn {
    pub(crate) disk: SimDisk,
    is_stuck: Mutex<bool>,
    freed: Condvar,
    pub(crate) read_failures: AtomicU32,
}

impl Stubborn {
    pub(crate) fn new(disk: SimDisk) -> Arc<Self> {
        Arc::new(Self {
            disk,
            is_stuck: Mutex::new(false),
            freed: Condvar::new(),
            read_failures: AtomicU32::new(0),
        })
    }

    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        *self.is_stuck.lock().unwrap() = is_stuck;
        self.freed.notify_all();
    }

    fn wait(&self) {
        let is_stuck = self.is_stuck.lock().unwrap();
        drop(self.freed.wait_while(is_stuck, |is_stuck| *is_stuck).unwrap());
    }
}

impl Disk for Stubborn {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.wait();
        self.disk.create(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(path, create)
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let fails = |left: u32| left.checked_sub(1);
        if self
            .read_failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, fails)
            .is_ok()
        {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.read_from(path, offset)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename_new(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.disk.unlink(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk.list(path)
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.disk.meta(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }

    fn show(&self, path: &Path) -> PathBuf {
        self.disk.show(path)
    }
}
