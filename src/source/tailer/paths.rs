//! Looks at single paths below a root that is open.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::Tailer;
use super::table::Key;
use crate::source::tree::{Log, Stat, split};

/// The directory that was opened last, during one look at many files.
#[derive(Default)]
pub(super) struct LastParent(Option<(usize, PathBuf, OwnedFd)>);

impl LastParent {
    fn get(&self, root: usize, path: &Path) -> Option<&OwnedFd> {
        let (of, known, directory) = self.0.as_ref()?;
        (*of == root && known == path).then_some(directory)
    }
}

impl Tailer {
    /// The directory of a root, and the path below it.
    pub(super) fn below_root<'a>(&'a self, key: &'a Key, root: usize) -> io::Result<(&'a OwnedFd, &'a Path)> {
        let watched = &self.roots[root];
        let (Some(directory), Some(place)) = (&watched.directory, &watched.root.place) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let relative = key.0.strip_prefix(&place.directory).map_err(io::Error::other)?;
        Ok((directory, relative))
    }

    pub(super) fn stat_in_root(&self, root: usize, name: &Path) -> io::Result<Stat> {
        match &self.roots[root].directory {
            Some(directory) => self.tree.stat(directory.as_fd(), name),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// `lstat` of a path, without a symlink on the way.
    pub(super) fn stat_path(&self, key: &Key, root: usize) -> io::Result<Stat> {
        self.stat_near(key, root, &mut LastParent::default())
    }

    /// The same for many paths: those in one directory that come one after the other share its handle, as in a walk.
    pub(super) fn stat_near(&self, key: &Key, root: usize, last: &mut LastParent) -> io::Result<Stat> {
        let (directory, relative) = self.below_root(key, root)?;
        let (parent, name) = split(relative);
        let name = Path::new(&name);
        if parent.as_os_str().is_empty() {
            return self.tree.stat(directory.as_fd(), name);
        }
        if let Some(directory) = last.get(root, parent) {
            return self.tree.stat(directory.as_fd(), name);
        }
        let opened = self.tree.open_dir(directory.as_fd(), parent)?;
        let stat = self.tree.stat(opened.as_fd(), name);
        last.0 = Some((root, parent.to_owned(), opened));
        stat
    }

    pub(super) fn open(&self, key: &Key, root: usize) -> io::Result<Box<dyn Log>> {
        let (directory, relative) = self.below_root(key, root)?;
        self.tree.open(directory.as_fd(), relative)
    }
}
