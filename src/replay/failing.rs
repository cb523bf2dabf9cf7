//! A tree in which looks fail as the script says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;

use crate::source::tree::{EachEntry, EachInode, Log, OsTree, Stat, Tree};

/// What fails, and how, by its path in the tree; the empty path is the tree itself.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<BTreeMap<PathBuf, Errno>>);

impl Failures {
    /// From now on looks at `path` fail so, or do not fail.
    pub(super) fn set(&self, path: &Path, errno: Option<Errno>) {
        let path = plain(path);
        match errno {
            Some(errno) => self.lock().insert(path, errno),
            None => self.lock().remove(&path),
        };
    }

    fn look(&self, path: &Path) -> io::Result<()> {
        self.lock().get(path).map_or(Ok(()), |errno| Err((*errno).into()))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Errno>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The path without `.`.
fn plain(path: &Path) -> PathBuf {
    path.components()
        .filter(|part| part.as_os_str() != OsStr::new("."))
        .collect()
}

/// The operating system's tree, where it does not fail.
pub(super) struct FailingTree {
    tree: OsTree,
    /// The tree of the script, absolute and resolved.
    top: PathBuf,
    failures: std::sync::Arc<Failures>,
    /// Where the roots that were opened are in the tree, by device and inode.
    roots: RefCell<BTreeMap<(u64, u64), PathBuf>>,
}

impl FailingTree {
    pub(super) fn new(top: &Path, failures: &std::sync::Arc<Failures>) -> Self {
        Self {
            tree: OsTree::default(),
            top: top.to_owned(),
            failures: std::sync::Arc::clone(failures),
            roots: RefCell::default(),
        }
    }

    /// Device and inode of a directory.
    fn identity(&self, directory: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
        let found = self.tree.stat(directory, Path::new(""))?.identity;
        Ok((found.device, found.inode))
    }

    /// The look at what is below a root, by its path in the tree.
    fn look_below(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<()> {
        let roots = self.roots.borrow();
        let root = roots.get(&self.identity(root)?).map_or(Path::new(""), PathBuf::as_path);
        self.failures.look(&plain(&root.join(relative)))
    }
}

impl Tree for FailingTree {
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        let in_tree = path.strip_prefix(&self.top).unwrap_or(path);
        self.failures.look(in_tree)?;
        let root = self.tree.open_root(path)?;
        let key = self.identity(root.as_fd())?;
        self.roots.borrow_mut().insert(key, in_tree.to_owned());
        Ok(root)
    }

    fn open_dir(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<OwnedFd> {
        // The root itself failed, if it did, when it was opened.
        if !relative.as_os_str().is_empty() {
            self.look_below(root, relative)?;
        }
        self.tree.open_dir(root, relative)
    }

    fn list(&self, directory: BorrowedFd<'_>, each: &mut EachEntry<'_>) -> io::Result<()> {
        self.tree.list(directory, each)
    }

    fn inodes(&self, directory: BorrowedFd<'_>, each: &mut EachInode<'_>) -> io::Result<()> {
        self.tree.inodes(directory, each)
    }

    fn stat(&self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
        self.tree.stat(directory, name)
    }

    fn open(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<Box<dyn Log>> {
        self.look_below(root, relative)?;
        self.tree.open(root, relative)
    }
}
