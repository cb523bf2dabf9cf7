//! The disk under the home: the one place that creates, writes, syncs, renames, removes and locks.
//!
//! Every path is relative to the home and has at most two components. [`OsDisk`] is the real one;
//! [`SimDisk`] keeps what was written and what was synced apart, and fails or crashes where it is told.
//! [`append_lines`] and [`load_or_move_aside`] are made of these operations; [`replace`] and [`inside`] are about
//! files anywhere.

mod append;
#[cfg(target_os = "linux")]
mod direct;
mod inside;
mod os;
mod recover;
mod replace;
mod sim;

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use rustix::io::Errno;

pub use append::append_lines;
pub use inside::{inside, stays_inside};
pub use os::{OsDisk, sync_output};
pub use recover::{Loaded, load, load_or_move_aside};
pub use replace::replace;
pub use sim::{Fault, Loss, SimDisk};

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Anything else: a directory, a symlink, a device.
    Other,
}

/// What `stat` says of a file, symlinks not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Regular file or not.
    pub kind: EntryKind,
    /// `st_ino`; together with the disk it names the file.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last modification.
    pub modified: SystemTime,
}

/// Where a home is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomePlace {
    /// Resolved.
    pub path: std::path::PathBuf,
    /// Device and inode.
    pub identity: (u64, u64),
}

/// Room on the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Free for this user.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The operations on the home.
///
/// Every operation is complete when it returns `Ok`, and no operation is durable before its sync: the
/// bytes of a file before [`DiskFile::sync`], a name before [`Disk::sync_dir`] of its directory. What was
/// not synced may be there after a loss of power, in whole, in part, or not at all. Nothing is retried but
/// EINTR. All calls block until the disk is done.
pub trait Disk: Send + Sync {
    /// Makes a directory, 0700. One that is there already is success.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file, 0600. One that is there already is an error.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a regular file for writing, and makes it, 0600, if it is not there and `create` says so.
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a regular file for reading, from byte `offset`.
    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>>;

    /// Gives the file a new name, in place of whatever had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// The same where nothing has the new name; `AlreadyExists` where something has. `Unsupported` or another error where the
    /// system has no such call, or the filesystem does not know it.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable. The empty path is the home.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, in no order.
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>>;

    /// What is at a path.
    fn meta(&self, path: &Path) -> io::Result<Meta>;

    /// How much room there is.
    fn space(&self) -> io::Result<Space>;

    /// Gives memory back that was kept for what is written next.
    fn rest(&self) {}

    /// For messages: the path as a user would find it.
    fn show(&self, path: &Path) -> std::path::PathBuf;
}

/// A file that is open for writing. Dropping it closes it and gives up its lock; it does not sync.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Writes the pieces one behind the other, as one call of [`DiskFile::write_at`] would.
    fn write_pieces_at(&mut self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        match pieces {
            [bytes] => self.write_at(bytes, offset),
            _ => self.write_at(&pieces.concat(), offset),
        }
    }

    /// Makes the bytes and the length durable. A failure is final: what was written since the last sync
    /// may be lost, and a second call proves nothing.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to this length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Takes the exclusive lock of the file if nobody holds it; false if somebody does.
    fn try_lock(&mut self) -> io::Result<bool>;

    /// Whether somebody else holds the exclusive lock at this moment. Those who only ask do not disturb
    /// each other.
    fn is_locked(&mut self) -> io::Result<bool>;

    /// What the file is, whatever its name shows by now.
    fn meta(&self) -> io::Result<Meta>;
}

/// Whether an error means that there is no room.
pub fn is_full(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| full.contains(&code)) || error.kind() == io::ErrorKind::WriteZero
}

/// The one conformance suite of [`Disk`]; both implementations run it.
#[cfg(test)]
pub(crate) mod conformance {
    use super::*;

    fn content(disk: &dyn Disk, path: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        disk.read_from(Path::new(path), 0)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    fn kind_of<T>(result: io::Result<T>) -> io::ErrorKind {
        match result {
            Ok(_) => panic!("an error was expected"),
            Err(error) => error.kind(),
        }
    }

    pub(crate) fn holds(disk: &dyn Disk) {
        let (dir, a, b) = (Path::new("d"), Path::new("d/a"), Path::new("d/b"));
        disk.create_dir(dir).unwrap();
        disk.create_dir(dir).unwrap();
        assert_eq!(kind_of(disk.meta(a)), io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.open(a, false)), io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.read_from(a, 0)), io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.unlink(a)), io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.rename(a, b)), io::ErrorKind::NotFound);
        assert_eq!(kind_of(disk.list(Path::new("x"))), io::ErrorKind::NotFound);

        let mut file = disk.create(a).unwrap();
        assert_eq!(kind_of(disk.create(a)), io::ErrorKind::AlreadyExists);
        file.write_at(b"hello", 0).unwrap();
        file.write_at(b"J", 0).unwrap();
        file.write_at(b"!", 5).unwrap();
        file.sync().unwrap();
        assert_eq!(content(disk, "d/a"), b"Jello!");
        file.truncate(2).unwrap();
        assert_eq!(content(disk, "d/a"), b"Je");
        let meta = disk.meta(a).unwrap();
        assert_eq!((meta.kind, meta.size), (EntryKind::File, 2));
        assert_eq!(disk.meta(dir).unwrap().kind, EntryKind::Other);

        assert!(file.try_lock().unwrap());
        let mut second = disk.open(a, false).unwrap();
        assert!(!second.try_lock().unwrap(), "the first handle holds the lock");
        assert!(second.is_locked().unwrap());
        drop(file);
        assert!(!second.is_locked().unwrap());
        assert!(second.try_lock().unwrap(), "a dropped handle gives up its lock");
        assert!(!disk.open(a, false).unwrap().try_lock().unwrap());

        disk.rename(a, b).unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["b"]);
        assert_eq!(disk.meta(b).unwrap().inode, meta.inode);
        disk.create(a).unwrap().write_at(b"other", 0).unwrap();
        disk.rename(a, b).unwrap();
        assert_eq!(content(disk, "d/b"), b"other", "a rename replaces");
        assert_eq!(kind_of(disk.rename_new(a, b)), io::ErrorKind::NotFound);
        disk.create(a).unwrap();
        assert_eq!(kind_of(disk.rename_new(a, b)), io::ErrorKind::AlreadyExists);
        assert_eq!(content(disk, "d/b"), b"other", "and this one does not");
        disk.unlink(a).unwrap();
        disk.rename_new(b, a).unwrap();
        disk.rename_new(a, b).unwrap();
        assert_eq!(disk.list(dir).unwrap(), ["b"]);
        assert_eq!(second.meta().unwrap().inode, meta.inode, "a handle stays with its file");
        disk.unlink(b).unwrap();
        assert!(disk.list(dir).unwrap().is_empty());
        assert!(disk.open(a, true).is_ok());
        assert!(disk.space().unwrap().total > 0);
    }
}
