//! Looks at the places where something may have changed, and nowhere else.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Tailer;
use super::table::{At, Key, bytes};
use super::turn::is_gone;
use super::walk::{Entering, Found, Walk};
use crate::limits::DRAIN_QUIET;
use crate::source::tree::{Kind, Log, Stat};

/// What may have changed at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// The content of a file.
    Content,
    /// Which file, directory or nothing stands there, or who may look at it.
    Entry,
}

/// Where something may have changed: the number of a root, and absolute paths in it.
#[derive(Debug, Default)]
pub struct Hints(BTreeMap<(usize, PathBuf), Change>);

impl Hints {
    /// Adds one.
    pub fn add(&mut self, root: usize, path: PathBuf, change: Change) {
        let known = self.0.entry((root, path)).or_insert(change);
        *known = change.max(*known);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn names_entry(&self, root: usize, path: &Path) -> bool {
        self.0.get(&(root, path.to_owned())) == Some(&Change::Entry)
    }
}

impl Tailer {
    /// Looks at what stands at these paths, and in the directories among them, and queues turns and second looks as a
    /// sweep does. Reads no file. False when only a sweep can tell, since only so many files of a root are watched.
    pub fn look_near(&mut self, hints: &Hints, entering: &mut dyn Entering) -> bool {
        self.walk += 1;
        let (mut walk, mut missing) = (Walk::default(), BTreeSet::new());
        let mut needs_sweep = false;
        let mut walked: Option<&(usize, PathBuf)> = None;
        for (place, change) in &hints.0 {
            let (root, path) = (place.0, &place.1);
            self.look_at_formers_of(path);
            // A directory comes before what is in it.
            if walked.is_some_and(|(top_root, top)| *top_root == root && path.starts_with(top)) {
                continue;
            }
            let Some(below) = self.watched_below(root, path) else {
                continue;
            };
            if *change == Change::Content && self.look_at_content(root, &below.path, &mut walk) {
                continue;
            }
            if self.files_max.is_some() {
                needs_sweep |= !self.is_left_alone(root, &below.path);
                continue;
            }
            let here = self.look_at_entry(root, &below, &mut walk, entering);
            if here == Here::Walked {
                walked = Some(place);
            }
            self.missing_at(root, &below.path, here, &walk, &mut missing);
        }
        self.look_at_inodes(&mut walk);
        self.look_at_links(&missing, &mut walk);
        self.match_inodes(&mut walk.found);
        let missing = missing.into_iter().rev().collect();
        self.queue(std::mem::take(&mut walk.found), missing, false);
        if !self.unknown.is_empty() {
            let roots = 0..self.roots.len();
            let named = |path: &Path| roots.clone().any(|root| hints.names_entry(root, path));
            self.forget_known(&walk, |path| path.ancestors().any(named));
        }
        !needs_sweep
    }

    /// A path below its root, if that is open and the path is not left alone there.
    fn watched_below(&self, root: usize, path: &Path) -> Option<Below> {
        let watched = self.roots.get(root)?;
        let place = watched.root.place.as_ref().filter(|_| watched.directory.is_some())?;
        let relative = path.strip_prefix(&place.directory).ok()?;
        let (path, relative) = match &place.only {
            // The directory of a root that is a file stands for that file.
            Some(only) if relative.as_os_str().is_empty() => (path.join(only), PathBuf::from(only)),
            Some(only) if relative != Path::new(only) => return None,
            _ => (path.to_owned(), relative.to_owned()),
        };
        let is_excluded = !self.exclude.is_empty() && self.exclude.covers(&watched.root, &relative);
        (!is_excluded).then_some(Below { path, relative })
    }

    /// What was unlinked or replaced is told of under its old name.
    fn look_at_formers_of(&mut self, path: &Path) {
        if !self.formers.is_empty() {
            let now = self.clock.now();
            let formers: Vec<_> = self.formers_at(&Key(path.into())).collect();
            for id in formers {
                self.look_at_former(id, now);
            }
        }
    }

    /// A turn for the file that is followed at a path, unless its handle shows that everything of it was taken; where
    /// none is kept, the turn itself looks. False when none is followed there.
    fn look_at_content(&mut self, root: usize, path: &Path, walk: &mut Walk) -> bool {
        let now = self.clock.now();
        let key = Key(path.into());
        let Some(id) = self.table.here(key.bytes()) else {
            return false;
        };
        let Some(tracked) = self.table.get(id) else {
            return false;
        };
        let kept = self.handles.get(id).map(Log::stat);
        let is_told_only = kept.is_none();
        let is_unmoved = |stat: io::Result<Stat>| stat.is_ok_and(|stat| tracked.is_unmoved(&stat, now));
        if !kept.is_some_and(is_unmoved) {
            walk.found.push(Found {
                key,
                root,
                size: tracked.size,
                identity: None,
                is_told_only,
            });
        }
        true
    }

    /// Looks at what stands at a path, and below it.
    fn look_at_entry(&mut self, root: usize, below: &Below, walk: &mut Walk, entering: &mut dyn Entering) -> Here {
        let path = &below.path;
        // Until it turns out to be one still.
        self.symlinks.remove(path);
        match self.stat_path(&Key(path.as_path().into()), root) {
            Ok(stat) if stat.kind == Kind::Directory => {
                if entering.knows(path, &stat.identity) && !self.is_unknown_below(path) {
                    return Here::Known;
                }
                self.walk_below(root, below.relative.clone(), walk, entering);
                return Here::Walked;
            }
            Ok(stat) if stat.kind == Kind::File && self.is_log(root, path) => self.saw(root, path, &stat, walk),
            Ok(stat) if stat.kind == Kind::File => self.look_at_inode(path, &stat.identity, walk),
            Ok(stat) if stat.kind == Kind::Symlink => self.note_symlink(path.clone()),
            Ok(_) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => self.incomplete(path.clone(), &error, walk),
        }
        Here::Seen
    }

    /// Whether what a path shows does not count among the files of a root of which only so many are watched.
    fn is_left_alone(&self, root: usize, path: &Path) -> bool {
        let key = Key(path.into());
        let is_file = || self.stat_path(&key, root).is_ok_and(|stat| stat.kind == Kind::File);
        self.is_over(&key, root) || (!self.is_log(root, path) && is_file())
    }

    fn is_unknown_below(&self, path: &Path) -> bool {
        self.unknown.keys().any(|unknown| unknown.starts_with(path))
    }

    /// The paths at and below a path that this walk did not find and would have found if they were there.
    fn missing_at(&mut self, root: usize, path: &Path, here: Here, walk: &Walk, missing: &mut BTreeSet<Key>) {
        let is_missing = |key: &Key, at: &At| at.root == root && at.walk != self.walk && !walk.hides(&key.0);
        let key = Key(path.into());
        if self.table.at.get(key.bytes()).is_some_and(|at| is_missing(&key, at)) {
            missing.insert(key);
        }
        if here != Here::Known {
            let below = self.table.at.below(bytes(path));
            missing.extend(
                below
                    .filter(|(key, at)| is_missing(key, at))
                    .map(|(key, _)| key.clone()),
            );
        }
    }

    /// Where something is to be tried again, as hints: what could not be looked at. True when a whole root could not.
    pub fn unknown_places(&self, hints: &mut Hints) -> bool {
        let mut is_root = false;
        for path in self.unknown.keys() {
            let is_in = |root: &usize| {
                let watched = &self.roots[*root].root;
                watched.resolved == *path || watched.place.as_ref().is_some_and(|place| place.holds(path))
            };
            match (0..self.roots.len()).find(is_in) {
                Some(root) if self.roots[root].directory.is_some() => hints.add(root, path.clone(), Change::Entry),
                Some(_) => is_root = true,
                None => {}
            }
        }
        is_root
    }

    /// Whether a root has come, has gone, or is another directory than the one that is open.
    pub fn roots_changed(&self) -> bool {
        self.roots.iter().any(|watched| {
            let resolved = &watched.root.resolved;
            match (&watched.directory, &watched.root.place) {
                (Some(open), Some(place)) => !self.is_open_at(&place.directory, open),
                // One that was refused stays so until the next start.
                _ if watched.refused_for_good => false,
                _ => self.tree.open_root(resolved).is_ok() || resolved.is_file() || leads_somewhere(resolved),
            }
        })
    }

    fn is_open_at(&self, path: &Path, open: &OwnedFd) -> bool {
        let identity = |directory: &OwnedFd| {
            self.tree
                .stat(directory.as_fd(), Path::new(""))
                .map(|stat| stat.identity)
        };
        let there = self.tree.open_root(path).and_then(|there| identity(&there));
        there.is_ok_and(|there| identity(open).is_ok_and(|open| open.same(&there)))
    }

    /// Looks at hot files, at kept handles, and for files that are followed without one.
    pub fn look_again(&mut self) {
        self.look_at_hot(&|_| true);
        let unheld: Vec<_> = self
            .formers
            .iter()
            .copied()
            .filter(|id| !self.handles.holds(*id))
            .collect();
        for id in unheld {
            self.queue_former(id);
        }
    }

    /// Whether something changed lately: a file at its path, or one that is followed on.
    pub fn is_lively(&self) -> bool {
        let now = self.clock.now();
        let mut formers = self.formers.iter().filter_map(|id| self.table.get(*id));
        !self.hot.is_empty() || formers.any(|tracked| now < tracked.quiet_since + DRAIN_QUIET)
    }

    /// Whether [`Self::look_again`] has anything to look at.
    pub fn has_again(&self) -> bool {
        self.has_hot() || !self.formers.is_empty() || !self.unknown.is_empty()
    }
}

/// A path, absolute and below its root.
struct Below {
    path: PathBuf,
    relative: PathBuf,
}

/// Whether a path is a symlink, and what it leads to is there.
fn leads_somewhere(path: &Path) -> bool {
    path.is_symlink() && path.exists()
}

/// What a look at a path came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    /// It shows a directory, which was walked.
    Walked,
    /// It shows a directory of which every change is told.
    Known,
    /// It shows something else, or nothing.
    Seen,
}
