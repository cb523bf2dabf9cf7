//! inotify itself.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init, remove_watch};
use rustix::io::Errno;

use super::{Event, Mask, Watch};
use crate::limits::{INOTIFY_BYTES, INOTIFY_READS_MAX};

/// Directories that the kernel tells of, by one descriptor. Dropping it ends all of its watches.
#[derive(Debug)]
pub struct Inotify {
    fd: OwnedFd,
    buffer: Box<[MaybeUninit<u8>]>,
}

impl Inotify {
    /// Makes one without watches. Fails when the user has too many of them, or the process too many descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            fd: init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            buffer: vec![MaybeUninit::uninit(); INOTIFY_BYTES].into_boxed_slice(),
        })
    }

    /// Watches a directory that is open, and changes the mask if it is watched already.
    ///
    /// It goes by the descriptor, through `/proc`, so that no path can lead elsewhere; where that is not to be had by
    /// `path`, and fails as ESTALE if that shows another directory. The descriptor may be closed afterwards.
    pub fn add(&self, directory: BorrowedFd<'_>, path: &Path, mask: Mask) -> io::Result<Watch> {
        let flags = WatchFlags::from_bits_retain(mask.0) | WatchFlags::ONLYDIR;
        let opened = format!("/proc/self/fd/{}", directory.as_raw_fd());
        match add_watch(&self.fd, opened, flags) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => {
                self.add_path(directory, path, flags | WatchFlags::DONT_FOLLOW)
            }
            added => Ok(Watch(added?)),
        }
    }

    fn add_path(&self, directory: BorrowedFd<'_>, path: &Path, flags: WatchFlags) -> io::Result<Watch> {
        let watch = Watch(add_watch(&self.fd, path, flags)?);
        let (opened, shown) = (rustix::fs::fstat(directory)?, rustix::fs::stat(path));
        if shown.is_ok_and(|shown| (shown.st_dev, shown.st_ino) == (opened.st_dev, opened.st_ino)) {
            return Ok(watch);
        }
        self.remove(watch);
        Err(Errno::STALE.into())
    }

    /// Ends a watch; [`Mask::IGNORED`] is told of it, and what came before that is told still.
    pub fn remove(&self, watch: Watch) {
        // It fails for one that has ended by itself.
        let _ = remove_watch(&self.fd, watch.0);
    }

    /// Hands on what was told up to now, or a good part of it: what is left makes the descriptor readable still.
    /// Does not wait.
    pub fn read(&mut self, each: &mut dyn FnMut(Event<'_>)) -> io::Result<()> {
        let mut reader = Reader::new(&self.fd, &mut self.buffer);
        let mut reads = 0;
        loop {
            if reader.is_buffer_empty() {
                if reads == INOTIFY_READS_MAX {
                    return Ok(());
                }
                reads += 1;
            }
            match reader.next() {
                Ok(event) => each(Event {
                    watch: Watch(event.wd()),
                    what: Mask(event.events().bits()),
                    cookie: event.cookie(),
                    name: event.file_name().map(|name| OsStr::from_bytes(name.to_bytes())),
                }),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Readable when there is something to be read.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::*;

    type Told = Vec<(Watch, Mask, Option<String>)>;

    fn told(inotify: &mut Inotify) -> Told {
        let mut told = Told::new();
        let mut each = |event: Event<'_>| {
            let name = event.name.map(|name| name.to_str().unwrap().to_owned());
            told.push((event.watch, event.what, name));
        };
        inotify.read(&mut each).unwrap();
        told
    }

    #[test]
    fn the_bits_are_those_of_the_system() {
        use rustix::fs::inotify::ReadFlags;
        for (ours, theirs) in [
            (Mask::MODIFY, WatchFlags::MODIFY),
            (Mask::ATTRIB, WatchFlags::ATTRIB),
            (Mask::CLOSE_WRITE, WatchFlags::CLOSE_WRITE),
            (Mask::MOVED_FROM, WatchFlags::MOVED_FROM),
            (Mask::MOVED_TO, WatchFlags::MOVED_TO),
            (Mask::CREATE, WatchFlags::CREATE),
            (Mask::DELETE, WatchFlags::DELETE),
            (Mask::DELETE_SELF, WatchFlags::DELETE_SELF),
            (Mask::MOVE_SELF, WatchFlags::MOVE_SELF),
        ] {
            assert_eq!(ours.0, theirs.bits());
        }
        for (ours, theirs) in [
            (Mask::UNMOUNT, ReadFlags::UNMOUNT),
            (Mask::OVERFLOW, ReadFlags::QUEUE_OVERFLOW),
            (Mask::IGNORED, ReadFlags::IGNORED),
            (Mask::ISDIR, ReadFlags::ISDIR),
        ] {
            assert_eq!(ours.0, theirs.bits());
        }
    }

    #[test]
    fn what_was_asked_for_is_told_by_name_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let directory = File::open(temp.path()).unwrap();
        let mut inotify = Inotify::new().unwrap();
        let mask = Mask::MOVED_TO | Mask::DELETE_SELF;
        // The path is not looked at.
        let watch = inotify.add(directory.as_fd(), Path::new("/nowhere"), mask).unwrap();
        assert_eq!(told(&mut inotify), []);
        drop(directory);
        fs::write(temp.path().join("a"), "").unwrap();
        fs::rename(temp.path().join("a"), temp.path().join("b")).unwrap();
        fs::create_dir(temp.path().join("c")).unwrap();
        fs::rename(temp.path().join("c"), temp.path().join("d")).unwrap();
        assert_eq!(
            told(&mut inotify),
            [
                (watch, Mask::MOVED_TO, Some("b".into())),
                (watch, Mask::MOVED_TO | Mask::ISDIR, Some("d".into())),
            ]
        );
        temp.close().unwrap();
        assert_eq!(
            told(&mut inotify),
            [(watch, Mask::DELETE_SELF, None), (watch, Mask::IGNORED, None)]
        );
        inotify.remove(watch);
    }

    #[test]
    fn a_path_that_shows_another_directory_is_not_watched() {
        let (temp, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let directory = File::open(temp.path()).unwrap();
        let mut inotify = Inotify::new().unwrap();
        let flags = WatchFlags::MOVED_TO | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let refused = inotify.add_path(directory.as_fd(), other.path(), flags).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::STALE.raw_os_error()));
        assert!(matches!(told(&mut inotify)[..], [(_, Mask::IGNORED, None)]));
        let watch = inotify.add_path(directory.as_fd(), temp.path(), flags).unwrap();
        fs::write(other.path().join("a"), "").unwrap();
        fs::rename(other.path().join("a"), temp.path().join("b")).unwrap();
        assert_eq!(told(&mut inotify), [(watch, Mask::MOVED_TO, Some("b".into()))]);
    }

    #[test]
    fn one_reading_is_bounded_and_loses_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let directory = File::open(temp.path()).unwrap();
        let mut inotify = Inotify::new().unwrap();
        inotify.add(directory.as_fd(), temp.path(), Mask::CREATE).unwrap();
        // Each takes 272 bytes, and so more than fits one buffer.
        let count = INOTIFY_BYTES / 272 + 100;
        for n in 0..count {
            File::create(temp.path().join(format!("{n:0255}"))).unwrap();
        }
        let names: Vec<_> = told(&mut inotify).into_iter().filter_map(|(_, _, name)| name).collect();
        assert_eq!(names.len(), count);
        assert!(names.is_sorted());
        assert_eq!(told(&mut inotify), []);
    }
}
