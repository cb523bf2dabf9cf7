//! Finding what moved: the walk over all roots, and the look at hot files.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::table::{Key, Seen};
use super::turn::is_gone;
use super::{Job, LOOK_FAILED, Tailer};
use crate::error::ErrorKind;
use crate::pure::step::Why;
use crate::show::Shown;
use crate::source::roots::Root;
use crate::source::scope;
use crate::source::tree::{Kind, Stat};

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
            let tried = self.unknown.get(&*key.0) == Some(&self.sweep);
            match self.stat_path(key, tracked.root) {
                Ok(stat) if tracked.seen == Some(Seen::from(&stat)) => {
                    // Only here nothing can be left in it.
                    if ends {
                        quiet.push(key.clone());
                    }
                }
                // What is unknown is tried once a sweep, also below a root that is not there, where no sweep finds it.
                // What cannot be found has a last look.
                Err(error) if tried && !(last && is_gone(&error)) => {}
                Ok(_) if tried && tracked.seen.is_none() => {}
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
}

fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
