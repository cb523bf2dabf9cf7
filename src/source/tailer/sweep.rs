//! Finding what moved: the walk over all roots, the look at hot files, and what is missing.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::table::{Key, Seen};
use super::turn::is_gone;
use super::{Job, LOOK_FAILED, Tailer, Turn};
use crate::error::{Error, ErrorKind};
use crate::pure::step::{Known, Look, Step, Why, step};
use crate::show::Shown;
use crate::source::roots::Root;
use crate::source::scope;
use crate::source::tree::{Kind, Log, Stat, split};
use crate::source::{EventSink, Transition, Verdict};

/// A file that moved since it was last caught up with.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    key: Key,
    root: usize,
    size: u64,
}

/// What one sweep found out.
#[derive(Default)]
struct Walk {
    found: Vec<Found>,
    /// Directories that were not listed completely; nothing below them is evidence of absence.
    incomplete: BTreeSet<PathBuf>,
}

impl Walk {
    /// Whether a file could be there and was not seen.
    fn hides(&self, path: &Path) -> bool {
        path.ancestors().any(|above| self.incomplete.contains(above))
    }
}

impl Tailer {
    /// Walks all roots, and queues a turn for each file that moved since it was last caught up with, and a
    /// second look at those that were not found. Reads no file.
    pub fn sweep(&mut self) {
        self.sweep += 1;
        self.symlinks.clear();
        let mut walk = Walk::default();
        for root in 0..self.roots.len() {
            if let Err((why, cause)) = self.open_root(root) {
                self.roots[root].directory = None;
                let path = self.roots[root].root.resolved.clone();
                self.note_unknown(&path, why, &cause.to_string());
                walk.incomplete.insert(path);
                continue;
            }
            self.walk(root, &mut walk);
        }
        let missing = self.missing_keys(&walk);
        let (sweep, moved) = (self.sweep, walk.found.len());
        log::debug!("walk {sweep}: {moved} files moved, {} are missing", missing.len());
        self.queue(std::mem::take(&mut walk.found), missing);
        // What was not known before, and is hidden or waits for its turn or a second look, is not known still.
        let (sweep, queued, missing) = (self.sweep, &self.queued, &self.missing);
        let waits = |path: &Path| queued.contains_key(bytes(path)) || missing.contains(bytes(path));
        self.unknown
            .retain(|path, tried| *tried == sweep || waits(path) || walk.hides(path));
        let (unknown, symlinks) = (&self.unknown, &self.symlinks);
        self.told
            .retain(|(path, _)| unknown.contains_key(path) || symlinks.contains(path));
    }

    /// New jobs go before what is left of earlier ones, so that a backlog never stands in their way.
    /// `missing` comes in the order in which it is put there, last first.
    fn queue(&mut self, mut found: Vec<Found>, missing: Vec<Key>) {
        found.sort();
        found.retain(|found| {
            // Its second look becomes a turn if anything is there.
            if self.missing.contains(&found.key) {
                return false;
            }
            self.queued.insert(found.key.clone(), found.size).is_none()
        });
        for key in missing {
            if self.missing.insert(key.clone()) {
                self.work.push_front(Job::Missing(key));
            }
        }
        for Found { key, root, .. } in found.into_iter().rev() {
            self.work.push_front(Job::File(key, root));
        }
    }

    /// Looks at the files that changed lately or whose handle is kept, and queues a turn for each that moved.
    pub fn look_at_hot(&mut self) {
        let now = self.clock.now();
        let mut moved = Vec::new();
        let (mut cold, mut quiet) = (Vec::new(), Vec::new());
        let only_kept = self.handles.keys().filter(|key| !self.hot.contains(*key));
        for key in self.hot.iter().chain(only_kept) {
            let Some(tracked) = self.files.get(key) else {
                cold.push(key.clone());
                continue;
            };
            let ends = tracked.hot_until.is_none_or(|until| now >= until);
            let last = ends && tracked.hot_until.is_some();
            let is_unknown = self.unknown.contains_key(&*key.0);
            let tried = self.unknown.get(&*key.0) == Some(&self.sweep);
            match self.stat_path(key, tracked.root) {
                Ok(stat) if tracked.seen == Some(Seen::from(&stat)) => {
                    // Only here nothing can be left in it.
                    if ends {
                        quiet.push(key.clone());
                    }
                }
                // Once a sweep, since no sweep finds it below a root that is not there. What cannot be found has a
                // last look.
                Err(error) if tried && !(last && is_gone(&error)) => {}
                // The next sweep tries it again.
                Ok(_) if is_unknown && tracked.seen.is_none() => {}
                Ok(_) | Err(_) => moved.push(Found {
                    key: key.clone(),
                    root: tracked.root,
                    size: tracked.size,
                }),
            }
            if ends {
                cold.push(key.clone());
            }
        }
        for key in cold {
            self.hot.remove(&key);
            if let Some(tracked) = self.files.get_mut(&key) {
                tracked.hot_until = None;
            }
        }
        for key in quiet {
            self.handles.take(&key);
        }
        self.queue(moved, Vec::new());
    }

    fn open_root(&mut self, root: usize) -> Result<(), (Why, io::Error)> {
        let others = self.roots.iter().enumerate().filter(|(other, _)| *other != root);
        let others: Vec<Root> = others.map(|(_, watched)| watched.root.clone()).collect();
        let home = self.home.as_ref().map(|home| home.path.as_path());
        let watched = &mut self.roots[root];
        let was_there = watched.root.place.is_some();
        if let Err(error) = watched.root.appear(&self.scope, &others, home) {
            let told = (watched.root.resolved.clone(), LOOK_FAILED);
            if error.kind() == ErrorKind::Scope && !self.told.contains(&told) {
                log::error!(code = scope::VIOLATION; "{error}: nothing in it is opened");
            }
            return Err((Why::Failed, io::Error::other(error.to_string())));
        }
        if !was_there && watched.root.place.is_some() {
            self.resume();
        }
        let watched = &mut self.roots[root];
        let Some(place) = &watched.root.place else {
            return Err((Why::RootMissing, io::ErrorKind::NotFound.into()));
        };
        match self.tree.open_root(&place.directory) {
            Ok(directory) => {
                watched.directory = Some(directory);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err((Why::RootMissing, error)),
            Err(error) => Err((Why::Failed, error)),
        }
    }

    fn walk(&mut self, root: usize, walk: &mut Walk) {
        let Some(place) = self.roots[root].root.place.clone() else {
            return;
        };
        if let Some(name) = &place.only {
            let path = place.directory.join(name);
            match self.stat_in_root(root, Path::new(name)) {
                Ok(stat) => self.saw(root, path, &stat, walk),
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.files.contains_key(bytes(&path)) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.note_unknown(&path, Why::RootMissing, &error.to_string());
                }
                Err(error) => self.incomplete(path, &error, walk),
            }
            return;
        }
        let mut waiting = vec![PathBuf::new()];
        while let Some(relative) = waiting.pop() {
            if let Err(error) = self.walk_directory(root, &place.directory, &relative, &mut waiting, walk) {
                self.incomplete(place.directory.join(relative), &error, walk);
            }
        }
    }

    fn incomplete(&mut self, path: PathBuf, error: &io::Error, walk: &mut Walk) {
        let why = match error.kind() {
            io::ErrorKind::NotFound => Why::Vanished,
            _ => Why::Failed,
        };
        if why == Why::Failed {
            self.note_unknown(&path, why, &error.to_string());
        }
        walk.incomplete.insert(path);
    }

    /// Lists one directory: files are looked at, directories added to `waiting`.
    fn walk_directory(
        &mut self,
        root: usize,
        top: &Path,
        relative: &Path,
        waiting: &mut Vec<PathBuf>,
        walk: &mut Walk,
    ) -> io::Result<()> {
        let Some(top_fd) = &self.roots[root].directory else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = self.tree.open_dir(top_fd.as_fd(), relative)?;
        let here = self.tree.stat(directory.as_fd(), Path::new(""))?;
        let identity = (here.identity.device, here.identity.inode);
        if self.home.as_ref().is_some_and(|home| home.identity == identity) {
            return Ok(());
        }
        let (mut files, mut untold) = (Vec::new(), Vec::new());
        let (mut symlinks, mut directories) = (Vec::new(), Vec::new());
        self.tree.list(directory.as_fd(), &mut |name, kind| match kind {
            Some(Kind::Directory) => directories.push(name.to_owned()),
            Some(Kind::Symlink) => symlinks.push(name.to_owned()),
            Some(Kind::File) => files.push(name.to_owned()),
            Some(Kind::Other) => {}
            None => untold.push(name.to_owned()),
        })?;
        for name in untold {
            match self
                .tree
                .stat(directory.as_fd(), Path::new(&name))
                .map(|stat| stat.kind)
            {
                Ok(Kind::Directory) => directories.push(name),
                Ok(Kind::Symlink) => symlinks.push(name),
                Ok(Kind::File) => files.push(name),
                Ok(Kind::Other) => {}
                Err(error) => self.incomplete(top.join(relative).join(name), &error, walk),
            }
        }
        for name in files {
            let relative = relative.join(&name);
            if !self.matches(&relative) {
                continue;
            }
            let path = top.join(&relative);
            match self.tree.stat(directory.as_fd(), Path::new(&name)) {
                Ok(stat) => self.saw(root, path, &stat, walk),
                Err(error) => self.incomplete(path, &error, walk),
            }
        }
        for name in symlinks {
            self.note_symlink(top.join(relative).join(name));
        }
        waiting.extend(directories.into_iter().map(|name| relative.join(name)));
        Ok(())
    }

    /// A file was found. It gets a turn if anything about it moved.
    fn saw(&mut self, root: usize, path: PathBuf, stat: &Stat, walk: &mut Walk) {
        if stat.kind != Kind::File {
            return;
        }
        if let Some(tracked) = self.files.get_mut(bytes(&path)) {
            tracked.sweep = self.sweep;
            tracked.size = stat.size;
            if tracked.seen == Some(Seen::from(stat)) {
                return;
            }
        }
        walk.found.push(Found {
            key: Key(path.into()),
            root,
            size: stat.size,
        });
    }

    fn note_symlink(&mut self, path: PathBuf) {
        let code = "watcher.symlink_skipped";
        if self.told.insert((path.clone(), code)) {
            let shown = Shown::path(&path).to_string();
            log::info!(code = code, path = shown.as_str(); "{shown} is a symlink and is left alone");
        }
        self.symlinks.insert(path);
    }

    /// The files that this sweep did not find and that it would have found if they were there, last first.
    fn missing_keys(&self, walk: &Walk) -> Vec<Key> {
        let missing = self.files.iter().filter(|(_, tracked)| tracked.sweep != self.sweep);
        let missing = missing.filter(|(key, _)| !walk.hides(&key.0));
        missing.map(|(key, _)| key.clone()).rev().collect()
    }

    /// A second look at a file that was not found: `delete` only if it is absent beyond doubt, a turn if anything
    /// is at its path.
    pub(super) fn second_look(&mut self, key: &Key, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let Some(tracked) = self.files.get_mut(key) else {
            return Ok(Turn::Done);
        };
        let (root, known) = (tracked.root, Known::Followed(tracked.cursor.position()));
        match self.stat_path(key, root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => return self.turn(key, root, sink),
        }
        // Whatever its absence means.
        let turn = self.read_rest(key, root, sink)?;
        if turn != Turn::Done {
            return Ok(turn);
        }
        let look = self.absence(key, root);
        if step(known, look) != Step::Delete {
            return Ok(Turn::Unknown);
        }
        let Some(tracked) = self.files.get(key) else {
            return Ok(Turn::Done);
        };
        let offset = tracked.cursor.offset;
        if sink.transition(&tracked.cursor.file, &Transition::Delete { offset })? == Verdict::Refused {
            return Ok(Turn::Refused);
        }
        self.files.remove(key);
        self.hot.remove(key);
        self.handles.take(key);
        self.unknown.remove(&*key.0);
        Ok(Turn::Done)
    }

    /// After ENOENT: absent, if the nearest directory that is there is on the device that we know.
    fn absence(&mut self, key: &Key, root: usize) -> Look {
        match self.nearest_device(key, root) {
            Ok(device) if self.is_device_of(key, root, device) => Look::Absent,
            Ok(_) => {
                self.not_known(key, Why::OtherDevice, "");
                Look::Unknown(Why::OtherDevice)
            }
            Err(error) => {
                self.look_failed(key, &error);
                Look::Unknown(Why::Failed)
            }
        }
    }

    fn is_device_of(&self, key: &Key, root: usize, device: u64) -> bool {
        let known = self.files.get(key).map(|tracked| tracked.cursor.file.identity.device);
        known.is_some_and(|known| known == device || self.adopted.get(&(root, known)) == Some(&device))
    }

    /// The device of the nearest directory above a path that is there.
    fn nearest_device(&self, key: &Key, root: usize) -> io::Result<u64> {
        let (directory, relative) = self.below_root(key, root)?;
        let mut above = relative.parent();
        while let Some(path) = above {
            match self.tree.open_dir(directory.as_fd(), path) {
                Ok(found) => return Ok(self.tree.stat(found.as_fd(), Path::new(""))?.identity.device),
                Err(error) if error.kind() == io::ErrorKind::NotFound => above = path.parent(),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    fn below_root<'a>(&'a self, key: &'a Key, root: usize) -> io::Result<(&'a std::os::fd::OwnedFd, &'a Path)> {
        let watched = &self.roots[root];
        let (Some(directory), Some(place)) = (&watched.directory, &watched.root.place) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let relative = key.0.strip_prefix(&place.directory).map_err(io::Error::other)?;
        Ok((directory, relative))
    }

    fn stat_in_root(&self, root: usize, name: &Path) -> io::Result<Stat> {
        match &self.roots[root].directory {
            Some(directory) => self.tree.stat(directory.as_fd(), name),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// `lstat` of a path, without a symlink on the way.
    pub(super) fn stat_path(&self, key: &Key, root: usize) -> io::Result<Stat> {
        let (directory, relative) = self.below_root(key, root)?;
        let (parent, name) = split(relative);
        if parent.as_os_str().is_empty() {
            return self.tree.stat(directory.as_fd(), Path::new(&name));
        }
        let parent = self.tree.open_dir(directory.as_fd(), parent)?;
        self.tree.stat(parent.as_fd(), Path::new(&name))
    }

    pub(super) fn open(&self, key: &Key, root: usize) -> io::Result<Box<dyn Log>> {
        let (directory, relative) = self.below_root(key, root)?;
        self.tree.open(directory.as_fd(), relative)
    }
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
