//! Where a known file stands now, for those who only look: at its path, or under another name in its directory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

use super::exclude::Exclude;
use super::scope::Scope;
use super::tree::{Kind, Log, Tree, read_full, split};
use crate::pure::identity::{Identity, Window};

/// What became of a file.
pub enum Standing {
    /// Open, at this path.
    At(Box<dyn Log>, PathBuf),
    /// Its path shows another inode or nothing, and no name in its directory shows it.
    Gone,
    /// Nobody can say: it lies outside the scope, or a look failed.
    Unknown(String),
}

/// Looks for files. It opens nothing outside the scope, nor what is excluded, and follows no symlink below it.
pub struct Finder<'a> {
    tree: &'a dyn Tree,
    scope: &'a Scope,
    exclude: &'a Exclude,
    /// The directories of the scope that were opened.
    tops: HashMap<PathBuf, OwnedFd>,
    /// The directory that was listed last, and the names of its inodes.
    listed: Option<(PathBuf, HashMap<u64, Vec<OsString>>)>,
}

impl<'a> Finder<'a> {
    /// Within this scope, but for what is excluded.
    pub fn new(tree: &'a dyn Tree, scope: &'a Scope, exclude: &'a Exclude) -> Self {
        Self {
            tree,
            scope,
            exclude,
            tops: HashMap::new(),
            listed: None,
        }
    }

    /// Looks for the file with this identity that stood at this absolute and resolved path.
    ///
    /// Files of one directory are best asked for one after the other: its list is kept.
    pub fn find(&mut self, path: &Path, identity: &Identity) -> Standing {
        let Some(top) = self.scope.holding(path).map(Path::to_owned) else {
            return Standing::Unknown("it is outside the scope; --scope DIR lets it be read".into());
        };
        if path.components().any(|part| part == Component::ParentDir) {
            return Standing::Unknown("its path goes up by `..`, as no watcher writes one".into());
        }
        if self.exclude.may_cover(path) {
            return Standing::Unknown("it is excluded".into());
        }
        match self.look(&top, path, identity) {
            Ok(Some((log, path))) => Standing::At(log, path),
            Ok(None) => Standing::Gone,
            Err(error) if is_gone(&error) => Standing::Gone,
            Err(error) => Standing::Unknown(error.to_string()),
        }
    }

    fn look(&mut self, top: &Path, path: &Path, identity: &Identity) -> io::Result<Option<(Box<dyn Log>, PathBuf)>> {
        if !self.tops.contains_key(top) {
            self.tops.insert(top.to_owned(), self.tree.open_root(top)?);
        }
        let Ok(relative) = path.strip_prefix(top) else {
            return Ok(None);
        };
        match self.open(top, relative, identity) {
            Ok(Some(log)) => return Ok(Some((log, path.to_owned()))),
            Ok(None) => {}
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
        let (parent, own_name) = split(relative);
        for name in self.names(top, parent, identity.inode)? {
            let relative = parent.join(&name);
            if name != own_name && self.exclude.may_cover(&top.join(&relative)) {
                return Err(io::Error::other("it may have another name now, which is excluded"));
            }
            if name != own_name
                && let Some(log) = self.open(top, &relative, identity)?
            {
                return Ok(Some((log, top.join(relative))));
            }
        }
        Ok(None)
    }

    /// Opens the file there if it is this one.
    fn open(&self, top: &Path, relative: &Path, identity: &Identity) -> io::Result<Option<Box<dyn Log>>> {
        let Some(top) = self.tops.get(top) else {
            return Ok(None);
        };
        let log = self.tree.open(top.as_fd(), relative)?;
        let stat = log.stat()?;
        let ours = stat.kind == Kind::File && is_ours(identity, &stat.identity);
        Ok(ours.then_some(log))
    }

    /// The names that show an inode number in a directory.
    fn names(&mut self, top: &Path, parent: &Path, inode: u64) -> io::Result<Vec<OsString>> {
        let directory = top.join(parent);
        if self.listed.as_ref().is_none_or(|(listed, _)| *listed != directory) {
            let Some(top) = self.tops.get(top) else {
                return Ok(Vec::new());
            };
            let opened = self.tree.open_dir(top.as_fd(), parent)?;
            let mut names: HashMap<u64, Vec<OsString>> = HashMap::new();
            self.tree.inodes(opened.as_fd(), &mut |name, inode| {
                names.entry(inode).or_default().push(name.to_owned());
            })?;
            self.listed = Some((directory, names));
        }
        let listed = self.listed.as_ref().and_then(|(_, names)| names.get(&inode));
        Ok(listed.cloned().unwrap_or_default())
    }
}

/// Whether both are one inode. A device gets another number when it is mounted again; then the birth tells.
fn is_ours(ours: &Identity, found: &Identity) -> bool {
    ours.same(found) || (ours.inode == found.inode && ours.btime.is_some() && ours.btime == found.btime)
}

/// Whether an error says that nothing of ours is there: no such name, or a symlink in its place.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

/// Whether a window holds what it held at `start`.
pub fn window_stands(log: &dyn Log, window: &Window, start: u64) -> io::Result<bool> {
    let mut bytes = vec![0; window.bytes()];
    let read = read_full(log, &mut bytes, start)?;
    Ok(window.holds(&bytes[..read]))
}
