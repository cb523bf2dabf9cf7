//! Finding what moved: the walk over all roots.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use super::table::Key;
use super::{FirstPass, Job, Queued, Tailer};
use crate::pure::identity::Identity;
use crate::pure::step::Why;
use crate::show::Shown;
use crate::source::roots::Root;
use crate::source::tree::{Kind, Stat};

/// A file that moved since it was last caught up with.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) root: usize,
    pub(super) size: u64,
    /// What its path shows.
    pub(super) identity: Option<Identity>,
}

/// What one sweep found out.
#[derive(Default)]
struct Walk {
    found: Vec<Found>,
    /// Directories that were not listed completely; nothing below them is evidence of absence.
    incomplete: BTreeSet<PathBuf>,
    /// Every path below the root that is walked, when only so many may be watched.
    paths: Vec<Key>,
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
                let watched = &mut self.roots[root];
                watched.directory = None;
                let path = watched.root.resolved.clone();
                if watched.told().is_some() || why == Why::Failed {
                    self.note_unknown(&path, why, &cause.to_string());
                } else {
                    self.tell_missing(root);
                }
                walk.incomplete.insert(path);
                continue;
            }
            if self.roots[root].first_pass == FirstPass::ToCome {
                self.roots[root].first_pass = FirstPass::Now(self.sweep);
            }
            self.walk(root, &mut walk);
            self.keep_first(root, &mut walk);
        }
        self.match_inodes(&mut walk.found);
        let missing = self.missing_keys(&walk);
        let (sweep, moved) = (self.sweep, walk.found.len());
        log::debug!("walk {sweep}: {moved} files moved, {} are missing", missing.len());
        self.queue(std::mem::take(&mut walk.found), missing);
        self.queue_formers();
        // What was not known before, and is hidden or waits for its turn or a second look, is not known still.
        let (sweep, queued, missing) = (self.sweep, &self.queued, &self.missing);
        let waits = |path: &Path| queued.contains_key(bytes(path)) || missing.contains(bytes(path));
        self.unknown
            .retain(|path, unknown| unknown.tried == sweep || waits(path) || walk.hides(path));
        let (unknown, symlinks) = (&self.unknown, &self.symlinks);
        self.told
            .retain(|(path, _)| unknown.contains_key(path) || symlinks.contains(path));
        let queued = &self.queued;
        self.repeats.retain(|(key, _), _| queued.contains_key(key));
        self.links.retain(|key, (_, seen)| *seen == sweep || walk.hides(&key.0));
    }

    /// Inodes come before paths: what is followed and was found at another path, but not at its own, is moving. What
    /// its own path shows too is only another name for it.
    fn match_inodes(&mut self, found: &mut Vec<Found>) {
        let (table, links, sweep, roots) = (&mut self.table, &mut self.links, self.sweep, &self.roots);
        let returning = &mut self.returning;
        returning.clear();
        found.retain(|found| {
            let identity = found.identity.as_ref();
            let Some(id) = identity.and_then(|identity| table.by_inode(identity)) else {
                return true;
            };
            let Some(tracked) = table.get_mut(id) else {
                returning.insert(id);
                return true;
            };
            if *tracked.cursor.file.path == *found.key.0 {
                return true;
            }
            if tracked.shown != sweep {
                // Below a root that is not there nothing was looked at.
                if roots[tracked.root].directory.is_some() {
                    tracked.moving = sweep;
                }
                return true;
            }
            let noted = links.get_mut(&found.key);
            match noted.filter(|(known, _)| identity.is_some_and(|identity| known.same(identity))) {
                None => true,
                Some((_, seen)) => {
                    *seen = sweep;
                    false
                }
            }
        });
    }

    /// Former files are looked at too; those without a handle are looked for, or given up.
    fn queue_formers(&mut self) {
        let now = self.clock.now();
        let formers: Vec<_> = self.formers.iter().copied().collect();
        for id in formers {
            if self.handles.holds(id) {
                self.look_at_former(id, now);
            } else {
                self.queue_former(id);
            }
        }
    }

    pub(super) fn queue_former(&mut self, id: Ulid) {
        if self.queued_formers.insert(id) {
            self.work.push_back(Job::Former(id));
        }
    }

    /// Of more files than may be watched, only the first ones are.
    fn keep_first(&mut self, root: usize, walk: &mut Walk) {
        let Some(files_max) = self.files_max else { return };
        let mut paths = std::mem::take(&mut walk.paths);
        paths.sort();
        self.roots[root].last = None;
        let Some(over) = paths.len().checked_sub(files_max).filter(|over| *over > 0) else {
            return;
        };
        self.roots[root].last = paths.get(files_max.saturating_sub(1)).cloned();
        walk.found
            .retain(|found| found.root != root || !self.is_over(&found.key, root));
        let watched = &mut self.roots[root];
        if !std::mem::replace(&mut watched.overflow_told, true) {
            let shown = Shown::path(&watched.root.resolved).to_string();
            log::warn!(code = "watcher.bounded_walk_overflow", root = shown.as_str(), max_files = files_max, overflow_count = over;
                "{shown} holds {over} files more than the {files_max} that are watched: the last ones by path are left alone");
        }
    }

    /// Whether a path is beyond the files of its root that are watched.
    pub(super) fn is_over(&self, key: &Key, root: usize) -> bool {
        self.roots[root].last.as_ref().is_some_and(|last| key > last)
    }

    /// New jobs go before what is left of earlier ones, so that a backlog never stands in their way.
    /// `missing` comes in the order in which it is put there, last first.
    pub(super) fn queue(&mut self, mut found: Vec<Found>, missing: Vec<Key>) {
        found.sort_by(|one, two| one.key.cmp(&two.key));
        found.retain(|found| {
            // Its second look becomes a turn if anything is there.
            if self.missing.contains(&found.key) {
                return false;
            }
            let first_pass = self.roots[found.root].first_pass == FirstPass::Now(self.sweep);
            let queued = Queued {
                size: found.size,
                first_pass: first_pass || self.queued.get(&found.key).is_some_and(|queued| queued.first_pass),
            };
            self.queued.insert(found.key.clone(), queued).is_none()
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

    fn open_root(&mut self, root: usize) -> Result<(), (Why, io::Error)> {
        let others = self.roots.iter().enumerate().filter(|(other, _)| *other != root);
        let others: Vec<Root> = others.map(|(_, watched)| watched.root.clone()).collect();
        let home = self.home.as_ref().map(|home| home.path.as_path());
        let watched = &mut self.roots[root];
        let was_there = watched.root.place.is_some();
        if let Err(error) = watched.root.appear(&self.scope, &others, home) {
            let why = if watched.root.spec.optional && error.io_cause().is_none() {
                Why::RootMissing
            } else {
                Why::Failed
            };
            watched.tell_refused(&error);
            let cause = error.io_cause().map_or_else(|| error.to_string(), ToString::to_string);
            return Err((why, io::Error::other(cause)));
        }
        watched.refused = None;
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
        if self.exclude.covers(&self.roots[root].root, Path::new("")) {
            return;
        }
        if let Some(name) = &place.only {
            let path = place.directory.join(name);
            match self.stat_in_root(root, Path::new(name)) {
                Ok(stat) => self.saw(root, path, &stat, walk),
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.table.at.contains_key(bytes(&path)) => {}
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
            if !self.matches(root, &relative) {
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
        let directories = directories.into_iter().map(|name| relative.join(name));
        waiting.extend(directories.filter(|below| !self.exclude.covers_itself(&self.roots[root].root, below)));
        Ok(())
    }

    /// A file was found. It gets a turn if anything about it moved.
    fn saw(&mut self, root: usize, path: PathBuf, stat: &Stat, walk: &mut Walk) {
        if stat.kind != Kind::File {
            return;
        }
        if self.files_max.is_some() {
            walk.paths.push(Key(path.as_path().into()));
        }
        let now = self.clock.now();
        if let Some(tracked) = self.table.saw(bytes(&path), self.sweep) {
            tracked.size = stat.size;
            if tracked.cursor.file.identity.same(&stat.identity) {
                tracked.shown = self.sweep;
            }
            if tracked.is_unmoved(stat, now) && !tracked.may_settle(now) {
                return;
            }
        }
        let key = Key(path.into());
        walk.found.push(Found {
            key,
            root,
            size: stat.size,
            identity: Some(stat.identity),
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

    /// The paths that this sweep did not find and that it would have found if they were there, last first.
    fn missing_keys(&self, walk: &Walk) -> Vec<Key> {
        let missing = self.table.at.iter().filter(|(_, at)| at.sweep != self.sweep);
        let missing = missing.filter(|(key, _)| !walk.hides(&key.0));
        missing.map(|(key, _)| key.clone()).rev().collect()
    }
}

pub(super) fn bytes(path: &Path) -> &[u8] {
    std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())
}
