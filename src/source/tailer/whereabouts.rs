//! Where the inode of a file is that its path does not show any more.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use super::Tailer;
use super::table::Key;
use super::turn::is_gone;
use crate::pure::identity::Identity;
use crate::source::tree::Log;

/// Where the inode of a file is that its path does not show.
pub(super) enum Whereabouts {
    /// Open here, under another name in its directory.
    Found(Box<dyn Log>),
    /// Nowhere.
    Nowhere,
    /// Nobody can say now.
    Unknown(io::Error),
}

/// A directory below a root, and the names in it by inode number.
pub(super) struct Listing {
    root: usize,
    directory: PathBuf,
    names: HashMap<u64, Vec<OsString>>,
}

impl Tailer {
    /// Whether the inode of a file has no name, or is found nowhere. A look that fails is no evidence of it.
    pub(super) fn is_gone_for_good(&mut self, id: Ulid) -> io::Result<bool> {
        if self.is_moving(id) {
            return Ok(false);
        }
        // A handle that fails tells nothing.
        if let Some(Ok(stat)) = self.handles.get(id).map(Log::stat) {
            return Ok(stat.links == 0);
        }
        match self.whereabouts(id) {
            Whereabouts::Nowhere => Ok(true),
            Whereabouts::Found(_) => Ok(false),
            Whereabouts::Unknown(cause) => Err(cause),
        }
    }

    /// Looks for the inode of a file in the directory of its path.
    pub(super) fn whereabouts(&mut self, id: Ulid) -> Whereabouts {
        let Some(tracked) = self.table.get(id).filter(|_| self.table.has_its_inode(id)) else {
            return Whereabouts::Nowhere;
        };
        let (key, root, identity) = (tracked.key(), tracked.root, tracked.cursor.file.identity);
        match self.find_in_directory(&key, root, &identity) {
            Ok(Some(log)) => Whereabouts::Found(log),
            Ok(None) => Whereabouts::Nowhere,
            // The directory itself is gone.
            Err(error) if is_no_entry(&error) && self.roots[root].directory.is_some() => Whereabouts::Nowhere,
            Err(error) => Whereabouts::Unknown(error),
        }
    }

    fn find_in_directory(&mut self, key: &Key, root: usize, identity: &Identity) -> io::Result<Option<Box<dyn Log>>> {
        let (_, relative) = self.below_root(key, root)?;
        let parent = relative.parent().unwrap_or(Path::new("")).to_owned();
        let names = self.listed(root, &parent)?.get(&identity.inode).cloned();
        let (top, _) = self.below_root(key, root)?;
        let Some(names) = names else { return Ok(None) };
        let directory = self.tree.open_dir(top.as_fd(), &parent)?;
        for name in names {
            if self.exclude.covers(&self.roots[root].root, &parent.join(&name)) {
                continue;
            }
            // One that only has its number need not let us open it.
            match self.tree.stat(directory.as_fd(), Path::new(&name)) {
                Ok(stat) if stat.identity.same(identity) => {}
                Ok(_) => continue,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            }
            let log = match self.tree.open(top.as_fd(), &parent.join(name)) {
                Ok(log) => log,
                Err(error) if is_gone(&error) => continue,
                Err(error) => return Err(error),
            };
            if log.stat()?.identity.same(identity) {
                return Ok(Some(log));
            }
        }
        Ok(None)
    }

    /// The names in a directory by inode number. It is listed once while work is done: a whole tree may be deleted, or
    /// renamed, at once.
    fn listed(&mut self, root: usize, parent: &Path) -> io::Result<&HashMap<u64, Vec<OsString>>> {
        let listed = self.listing.take();
        let listing = match listed.filter(|listed| listed.root == root && listed.directory == parent) {
            Some(listing) => listing,
            None => self.list_inodes(root, parent)?,
        };
        Ok(&self.listing.insert(listing).names)
    }

    fn list_inodes(&self, root: usize, parent: &Path) -> io::Result<Listing> {
        let Some(top) = &self.roots[root].directory else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = self.tree.open_dir(top.as_fd(), parent)?;
        let mut names: HashMap<u64, Vec<OsString>> = HashMap::new();
        self.tree.inodes(directory.as_fd(), &mut |name, inode| {
            names.entry(inode).or_default().push(name.to_owned());
        })?;
        Ok(Listing {
            root,
            directory: parent.to_owned(),
            names,
        })
    }
}

/// Whether an error says that there is no such entry, or that what should be a directory is none.
pub(super) fn is_no_entry(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
