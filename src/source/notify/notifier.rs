//! What an operating system tells about directories.

use std::ffi::OsStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// The number of a watch. None is given away twice.
pub type WatchId = crate::inotify::Watch;

/// Tells what changes in directories, each by itself.
///
/// What it tells is a hint: it may come late, twice, in another order, under a name that stands for something else by
/// now, or not at all. Only the loss of many at once is told.
pub trait Notifier: Send {
    /// Begins to tell of an open directory. A second watch of the same directory is the first one, with this interest
    /// from now on.
    ///
    /// `path` is for systems that cannot go by the descriptor.
    fn watch(&mut self, directory: BorrowedFd<'_>, path: &Path, interest: Interest) -> io::Result<WatchId>;

    /// Ends it. What was told before may still come.
    fn unwatch(&mut self, watch: WatchId);

    /// Why changes in an open directory may come untold; None when they do not.
    fn blindness(&self, directory: BorrowedFd<'_>) -> Option<String>;

    /// Calls `each` with what happened since the last call, in order. Does not block.
    fn read(&mut self, each: &mut dyn FnMut(Told<'_>)) -> io::Result<()>;

    /// Can be read when [`Self::read`] has something to tell; None where nobody can wait for that.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Has something urgent when a filesystem was mounted or unmounted, which no directory tells; None where nobody can
    /// wait for that.
    fn mounts(&self) -> Option<BorrowedFd<'_>>;
}

/// What is wanted to be told of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// Everything that may happen to logs in it.
    Logs,
    /// Which names come, go, and change their rights in it, and whether it goes itself.
    Names,
}

/// What is told at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// Of which directory; nothing with [`What::Lost`].
    pub watch: WatchId,
    /// What happened.
    pub what: What,
    /// The entry to which it happened; None is the directory itself.
    pub name: Option<&'a OsStr>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Something was written to a file.
    Content,
    /// An entry came, went, or changed its rights.
    Entry,
    /// An entry that is a directory went elsewhere, with everything in it.
    DirectoryLeft,
    /// The watched directory itself was renamed.
    Moved,
    /// The watch has ended: its directory is gone, or was unmounted.
    Ended,
    /// More happened than could be kept: anything may have changed.
    Lost,
}
