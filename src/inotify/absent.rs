//! The stand-in on systems without inotify: there is none to be had.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::{Event, Mask, Watch};

/// Directories that the kernel tells of: none on this platform.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
}

impl Inotify {
    /// Fails as [`io::ErrorKind::Unsupported`].
    pub fn new() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called, since there is none.
    pub fn add(&self, _directory: BorrowedFd<'_>, _path: &Path, _mask: Mask) -> io::Result<Watch> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called, since there is none.
    pub fn remove(&self, _watch: Watch) {}

    /// Never called, since there is none.
    pub fn read(&mut self, _each: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Never called, since there is none.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
