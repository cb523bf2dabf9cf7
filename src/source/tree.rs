//! The trees that are watched, as calls that cannot leave them.

mod os;
mod stats;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

pub use os::OsTree;

use crate::pure::identity::Identity;
use crate::pure::sighting::Sighting;
pub use crate::pure::sighting::Stamp;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symlink.
    Symlink,
    /// Something else.
    Other,
}

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Which inode it is.
    pub identity: Identity,
    /// Names that it has; 0 for a file that was unlinked and is open.
    pub links: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of anything.
    pub ctime: Stamp,
}

impl Stat {
    /// What changes whenever the file does.
    pub fn sighting(&self) -> Sighting {
        Sighting {
            size: self.size,
            mtime: self.mtime,
            ctime: self.ctime,
        }
    }
}

/// Calls `each` with the name and, if the directory tells it, the kind of an entry.
pub type EachEntry<'a> = dyn FnMut(&OsStr, Option<Kind>) + 'a;

/// Calls `each` with the name and the inode number of an entry.
pub type EachInode<'a> = dyn FnMut(&OsStr, u64) + 'a;

/// Calls `each` with the place of a name and what `lstat` says of it.
pub type EachStat<'a> = dyn FnMut(usize, io::Result<Stat>) + 'a;

/// A file that is open for reading.
pub trait Log: Send + Sync {
    /// `fstat`.
    fn stat(&self) -> io::Result<Stat>;

    /// Reads at `offset` into `bytes`; 0 is the end of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// Looks into trees. No call follows a symlink below the directory it is given, and none leaves it.
pub trait Tree: Send {
    /// Opens a root by its absolute and resolved path.
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd>;

    /// Opens a directory below a root; the empty path is the root.
    fn open_dir(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<OwnedFd>;

    /// Lists a directory, in no order.
    fn list(&self, directory: BorrowedFd<'_>, each: &mut EachEntry<'_>) -> io::Result<()>;

    /// Calls `each` with the name and the inode number of each entry of a directory, in no order.
    fn inodes(&self, directory: BorrowedFd<'_>, each: &mut EachInode<'_>) -> io::Result<()>;

    /// `lstat` of an entry of a directory; the empty name is the directory itself.
    fn stat(&self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat>;

    /// `lstat` of many entries of a directory. Calls `each` with the place of each name in `names`, in no order, and what came of
    /// it; all of it is true of a moment after the call began.
    fn stats(&self, directory: BorrowedFd<'_>, names: &[&OsStr], each: &mut EachStat<'_>) {
        for (place, name) in names.iter().enumerate() {
            each(place, self.stat(directory, Path::new(name)));
        }
    }

    /// Opens a file below a root for reading. It never blocks, not even on a FIFO.
    fn open(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<Box<dyn Log>>;
}

/// Reads at `offset` until `bytes` is full or the file ends.
pub fn read_full(log: &dyn Log, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match log.read_at(&mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// The parent of a relative path and its last component.
pub fn split(relative: &Path) -> (&Path, OsString) {
    let parent = relative.parent().unwrap_or(Path::new(""));
    (parent, relative.file_name().unwrap_or_default().to_owned())
}
