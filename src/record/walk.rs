//! One walk of the tree that is recorded. No symlink is followed.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::TEMPORARY;
use crate::replay::name_of;
use crate::source::tree::{Kind, Stat, Tree};

/// What was found at a path.
#[derive(Debug)]
pub(super) enum Found {
    Directory,
    /// And where it points.
    Symlink(PathBuf),
    File(Stat),
}

/// What a walk came to.
#[derive(Debug, Default)]
pub(super) struct Walked {
    /// None when it could not be opened.
    pub(super) root: Option<OwnedFd>,
    /// By the path in the tree.
    pub(super) found: BTreeMap<String, Found>,
    /// The directories that could not be looked into, and the names of the errors. Of what is in them nothing
    /// is known.
    pub(super) failed: BTreeMap<String, &'static str>,
    /// Names that no script can hold.
    pub(super) unnamed: Vec<PathBuf>,
}

/// Walks a tree; `but` is a directory, by device and inode, that is left out with all in it, and so is what is
/// `excluded`.
pub(super) fn walk(tree: &dyn Tree, root: &Path, but: Option<(u64, u64)>, excluded: &dyn Fn(&Path) -> bool) -> Walked {
    let mut walked = Walked::default();
    let top = match tree.open_root(root) {
        Ok(top) => top,
        Err(error) => {
            walked.failed.insert(".".into(), name_of(&error));
            return walked;
        }
    };
    let mut waiting = vec![String::new()];
    while let Some(path) = waiting.pop() {
        match entries(tree, top.as_fd(), &path, but) {
            Ok(Some(entries)) => walked.take(&path, entries, &mut waiting, excluded),
            // It is left out.
            Ok(None) => drop(walked.found.remove(&path)),
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_empty() => {
                walked.found.remove(&path);
            }
            Err(error) => {
                let path = if path.is_empty() { ".".into() } else { path };
                walked.failed.insert(path, name_of(&error));
            }
        }
    }
    walked.root = Some(top);
    walked
}

impl Walked {
    fn take(
        &mut self,
        directory: &str,
        entries: Vec<(OsString, Found)>,
        waiting: &mut Vec<String>,
        excluded: &dyn Fn(&Path) -> bool,
    ) {
        for (name, found) in entries {
            if excluded(&Path::new(directory).join(&name)) {
                continue;
            }
            let Some(name) = name.to_str() else {
                self.unnamed.push(Path::new(directory).join(name));
                continue;
            };
            if name.starts_with(TEMPORARY) {
                continue;
            }
            let path = match directory {
                "" => name.to_owned(),
                directory => format!("{directory}/{name}"),
            };
            if matches!(found, Found::Directory) {
                waiting.push(path.clone());
            }
            self.found.insert(path, found);
        }
    }
}

/// What is in a directory; None when it is the one to be left out.
fn entries(
    tree: &dyn Tree,
    top: BorrowedFd<'_>,
    path: &str,
    but: Option<(u64, u64)>,
) -> io::Result<Option<Vec<(OsString, Found)>>> {
    let directory = tree.open_dir(top, Path::new(path))?;
    let directory = directory.as_fd();
    if but.is_some() {
        let identity = tree.stat(directory, Path::new(""))?.identity;
        if but == Some((identity.device, identity.inode)) {
            return Ok(None);
        }
    }
    let mut names = Vec::new();
    tree.list(directory, &mut |name, _| names.push(name.to_owned()))?;
    let mut entries = Vec::new();
    for name in names {
        match look(tree, directory, &name) {
            Ok(Some(found)) => entries.push((name, found)),
            Ok(None) => {}
            // Gone since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Some(entries))
}

/// What a name shows; None when it is nothing that a script knows.
fn look(tree: &dyn Tree, directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Found>> {
    let stat = tree.stat(directory, Path::new(name))?;
    Ok(match stat.kind {
        Kind::File => Some(Found::File(stat)),
        Kind::Directory => Some(Found::Directory),
        Kind::Symlink => match rustix::fs::readlinkat(directory, name, Vec::new()) {
            Ok(target) => Some(Found::Symlink(OsString::from_vec(target.into_bytes()).into())),
            // It is no symlink any more.
            Err(Errno::INVAL | Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        },
        Kind::Other => None,
    })
}
