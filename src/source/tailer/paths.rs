//! Looks at single paths below a root that is open.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use super::Tailer;
use super::table::Key;
use crate::source::tree::{Log, Stat, split};

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
