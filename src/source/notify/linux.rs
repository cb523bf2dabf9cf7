//! The notifier of Linux: inotify, what it is blind to, and the table of mounts.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::notifier::{Interest, Notifier, Told, WatchId, What};
use crate::filesystem;
use crate::inotify::{Inotify, Mask};

/// Tells what inotify(7) tells.
pub(super) struct LinuxNotifier {
    inotify: Inotify,
    /// `/proc/self/mountinfo`, which can be waited for (proc(5)).
    mounts: Option<File>,
}

impl LinuxNotifier {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            inotify: Inotify::new()?,
            mounts: filesystem::mounts().ok(),
        })
    }
}

impl Notifier for LinuxNotifier {
    fn watch(&mut self, directory: BorrowedFd<'_>, path: &Path, interest: Interest) -> io::Result<WatchId> {
        let entries = Mask::CREATE | Mask::DELETE | Mask::MOVED_FROM | Mask::MOVED_TO;
        let names = entries | Mask::ATTRIB | Mask::MOVE_SELF;
        let mask = match interest {
            Interest::Names => names,
            Interest::Logs => names | Mask::MODIFY,
        };
        self.inotify.add(directory, path, mask)
    }

    fn unwatch(&mut self, watch: WatchId) {
        self.inotify.remove(watch);
    }

    fn blindness(&self, directory: BorrowedFd<'_>) -> Option<String> {
        filesystem::changes_untold(directory)
    }

    fn read(&mut self, each: &mut dyn FnMut(Told<'_>)) -> io::Result<()> {
        self.inotify.read(&mut |event| {
            let what = what(event.what);
            each(Told {
                watch: event.watch,
                what,
                name: event.name,
            });
        })
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.inotify.fd())
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.mounts.as_ref().map(AsFd::as_fd)
    }
}

fn what(told: Mask) -> What {
    if told.has(Mask::OVERFLOW) {
        What::Lost
    } else if told.has(Mask::IGNORED | Mask::UNMOUNT) {
        What::Ended
    } else if told.has(Mask::MOVED_FROM) && told.has(Mask::ISDIR) {
        What::DirectoryLeft
    } else if told.has(Mask::MOVE_SELF) {
        What::Moved
    } else if told.has(Mask::MODIFY) {
        What::Content
    } else {
        What::Entry
    }
}
