//! Which directories are watched, and what is made of what is told about them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::Bound;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

use super::notifier::{Interest, Notifier, Told, WatchId, What};
use super::unwatched::Unwatched;
use crate::pure::identity::Identity;
use crate::show::Shown;
use crate::source::tailer::{Change, Entered, Entering, Hints};

/// What was told since the last look.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Where to look.
    pub(super) hints: Hints,
    /// Anything may have changed.
    pub(super) lost: bool,
    /// A root may have come, gone, or been replaced.
    pub(super) roots: bool,
    /// Directories are not watched any more that may be there still.
    pub(super) unwatched: bool,
}

/// A directory that is watched.
struct Watched {
    path: Arc<Path>,
    /// The roots in which its entries count.
    roots: BTreeSet<usize>,
    /// It is the directory of a root.
    is_top: bool,
    /// The names in it that lead to roots.
    leads: BTreeSet<OsString>,
    /// None for one above the roots.
    identity: Option<Identity>,
    /// The last sweep that came there.
    sweep: u64,
}

impl Watched {
    fn at(path: Arc<Path>, sweep: u64) -> Self {
        Self {
            path,
            roots: BTreeSet::new(),
            is_top: false,
            leads: BTreeSet::new(),
            identity: None,
            sweep,
        }
    }

    fn note(&self, told: &Told<'_>, news: &mut News) {
        let Some(name) = told.name else {
            // It moved, or its rights changed.
            news.roots |= self.is_top || !self.leads.is_empty();
            return self.hint(&self.path, Change::Entry, news);
        };
        let change = match told.what {
            What::Content => Change::Content,
            _ => Change::Entry,
        };
        news.roots |= change == Change::Entry && self.leads.contains(name);
        if !self.roots.is_empty() {
            self.hint(&self.path.join(name), change, news);
        }
    }

    fn note_end(&self, news: &mut News) {
        news.roots |= self.is_top || !self.leads.is_empty();
        self.hint(&self.path, Change::Entry, news);
    }

    fn hint(&self, path: &Path, change: Change, news: &mut News) {
        for root in &self.roots {
            news.hints.add(*root, path.to_owned(), change);
        }
    }
}

/// The watches, by their number and by path.
#[derive(Default)]
struct Table {
    watched: HashMap<WatchId, Watched>,
    by_path: BTreeMap<Arc<Path>, WatchId>,
}

impl Table {
    /// Puts a watch at a path. Returns the one that was there before, which leads nowhere now.
    fn put(&mut self, id: WatchId, path: &Path, sweep: u64) -> (&mut Watched, Option<WatchId>) {
        let before = self.by_path.get(path).copied().filter(|before| *before != id);
        if let Some(before) = before {
            self.watched.remove(&before);
        }
        if self.watched.get(&id).is_some_and(|watched| *watched.path != *path) {
            // The same directory under another name.
            self.take(id);
        }
        let path: Arc<Path> = path.into();
        self.by_path.insert(Arc::clone(&path), id);
        let watched = self.watched.entry(id).or_insert_with(|| Watched::at(path, sweep));
        if watched.sweep != sweep {
            *watched = Watched::at(Arc::clone(&watched.path), sweep);
        }
        (watched, before)
    }

    fn take(&mut self, id: WatchId) -> Option<Watched> {
        let watched = self.watched.remove(&id)?;
        if self.by_path.get(&watched.path) == Some(&id) {
            self.by_path.remove(&watched.path);
        }
        Some(watched)
    }

    /// Takes out the watches at and below a path.
    fn take_below(&mut self, path: &Path, taken: &mut Vec<WatchId>) {
        let from = self.by_path.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        let below = from.take_while(|(watched, _)| watched.starts_with(path));
        let first = taken.len();
        taken.extend(below.map(|(_, id)| *id));
        for id in &taken[first..] {
            if let Some(watched) = self.watched.remove(id) {
                self.by_path.remove(&watched.path);
            }
        }
    }
}

/// Watches what a walk enters.
pub(super) struct Watches {
    notifier: Box<dyn Notifier>,
    table: Table,
    unwatched: Unwatched,
    sweep: u64,
}

impl Watches {
    pub(super) fn new(notifier: Box<dyn Notifier>, unwatched: Unwatched) -> Self {
        Self {
            notifier,
            table: Table::default(),
            unwatched,
            sweep: 0,
        }
    }

    pub(super) fn unwatched(&self) -> &Unwatched {
        &self.unwatched
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.descriptor()
    }

    pub(super) fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.notifier.mounts()
    }

    pub(super) fn begin_sweep(&mut self) {
        self.sweep += 1;
        self.unwatched.begin_sweep();
    }

    /// Ends the watches of directories to which the sweep did not come, but for those that are to be kept.
    pub(super) fn end_sweep(&mut self, keep: impl Fn(&Path) -> bool) {
        let is_left = |watched: &Watched| watched.sweep != self.sweep && !keep(&watched.path);
        let left = self.table.watched.iter().filter(|(_, watched)| is_left(watched));
        let left: Vec<_> = left.map(|(id, _)| *id).collect();
        for id in left {
            self.table.take(id);
            self.notifier.unwatch(id);
        }
        self.unwatched.end_sweep();
    }

    /// Adds what was told since the last call.
    pub(super) fn read(&mut self, news: &mut News) {
        let (table, mut left) = (&mut self.table, Vec::new());
        let read = self.notifier.read(&mut |told| hear(table, told, news, &mut left));
        for id in left {
            self.notifier.unwatch(id);
        }
        if let Err(error) = read {
            log::warn!(code = "watcher.notify_failed";
                "cannot read what changed: {error}; everything is looked at");
            news.lost = true;
        }
    }

    fn watch(&mut self, directory: BorrowedFd<'_>, path: &Path, interest: Interest) -> io::Result<&mut Watched> {
        let id = self.notifier.watch(directory, path, interest)?;
        let (watched, before) = self.table.put(id, path, self.sweep);
        if let Some(before) = before {
            self.notifier.unwatch(before);
        }
        Ok(watched)
    }
}

/// Turns what was told into news. The watches that have left with their directories are added to `left`.
fn hear(table: &mut Table, told: Told<'_>, news: &mut News, left: &mut Vec<WatchId>) {
    match told.what {
        What::Lost => news.lost = true,
        What::Ended => {
            if let Some(ended) = table.take(told.watch) {
                ended.note_end(news);
            }
        }
        What::Content | What::Entry | What::DirectoryLeft | What::Moved => {
            let Some(watched) = table.watched.get(&told.watch) else {
                return;
            };
            watched.note(&told, news);
            if let (What::DirectoryLeft, Some(name)) = (told.what, told.name) {
                // What is told of it from now on comes under its old names. Where it went, it is entered anew.
                let (path, leads) = (watched.path.join(name), watched.leads.contains(name));
                let before = left.len();
                table.take_below(&path, left);
                // Above the roots nothing is walked: one that comes back is the root that it was.
                news.unwatched |= leads && left.len() > before;
            }
        }
    }
}

impl Entering for Watches {
    fn enter(&mut self, entered: &Entered<'_>) {
        if self.unwatched.covers(entered.path) {
            return;
        }
        let blindness = self.unwatched.blindness(entered, &*self.notifier);
        if let Some(why) = blindness {
            return self.unwatched.add_blind(entered, why);
        }
        match self.watch(entered.directory, entered.path, Interest::Logs) {
            Ok(watched) => {
                watched.roots.insert(entered.root);
                watched.is_top |= entered.is_top;
                watched.identity = Some(entered.identity);
            }
            // It is gone: whoever lists it finds that out.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.unwatched.add_failed(entered, &error),
        }
    }

    fn knows(&self, path: &Path, identity: &Identity) -> bool {
        let watched = self.table.by_path.get(path).and_then(|id| self.table.watched.get(id));
        watched.is_some_and(|watched| watched.identity.is_some_and(|known| known.same(identity)))
    }

    fn above(&mut self, path: &Path, directory: BorrowedFd<'_>, name: &OsStr) -> bool {
        // Less would be told of a directory that is in another root too.
        let known = self.table.by_path.get(path).and_then(|id| self.table.watched.get(id));
        let interest = match known {
            Some(watched) if !watched.roots.is_empty() => Interest::Logs,
            _ => Interest::Names,
        };
        match self.watch(directory, path, interest) {
            Ok(watched) => {
                watched.leads.insert(name.to_owned());
                true
            }
            Err(error) => {
                log::debug!("{} is not watched for roots: {error}", Shown::path(path));
                false
            }
        }
    }
}
