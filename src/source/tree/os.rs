//! The operating system's trees.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_os = "linux")]
use rustix::fs::RawDir;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::stats::by_two;
use super::{EachEntry, EachInode, EachStat, Kind, Log, Stamp, Stat, Tree};
use crate::filesystem::keeps_births;
#[cfg(target_os = "linux")]
use crate::limits::LISTING_BYTES;
use crate::pure::identity::Identity;

/// The operating system's trees.
#[derive(Debug)]
pub struct OsTree {
    openat2: AtomicBool,
    /// Whether files of a device keep their time of birth, as far as it was asked.
    births: RefCell<BTreeMap<u64, bool>>,
}

impl Default for OsTree {
    fn default() -> Self {
        Self {
            openat2: AtomicBool::new(cfg!(target_os = "linux")),
            births: RefCell::default(),
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// A directory that is only passed through; where the platform can, without the right to read it.
#[cfg(target_os = "linux")]
const PASSED: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
#[cfg(not(target_os = "linux"))]
const PASSED: OFlags = DIRECTORY;
const REGULAR: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

impl OsTree {
    /// For tests: as on a system without `openat2`.
    pub fn without_openat2() -> Self {
        Self {
            openat2: AtomicBool::new(false),
            births: RefCell::default(),
        }
    }

    fn beneath(&self, root: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        if self.openat2.load(Ordering::Relaxed) {
            match resolve_beneath(root, relative, flags) {
                // Not known to the kernel (before Linux 5.6), or forbidden by a filter of system calls.
                Err(Errno::NOSYS | Errno::PERM) => self.openat2.store(false, Ordering::Relaxed),
                other => return Ok(other?),
            }
        }
        by_component(root, relative, flags)
    }
}

#[cfg(target_os = "linux")]
fn resolve_beneath(root: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::ResolveFlags;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    let mut tries = 0;
    loop {
        let opened = rustix::fs::openat2(root, relative, flags | OFlags::CLOEXEC, Mode::empty(), resolve);
        match opened {
            // EAGAIN: something was renamed while the kernel resolved the path (openat2(2)).
            Err(Errno::INTR | Errno::AGAIN) if tries < 16 => tries += 1,
            other => return other,
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn resolve_beneath(_: BorrowedFd<'_>, _: &Path, _: OFlags) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Opens one component after the other, none through a symlink.
fn by_component(root: BorrowedFd<'_>, relative: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mut names = Vec::new();
    for component in relative.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::CurDir => {}
            _ => return Err(Errno::XDEV.into()),
        }
    }
    let last = names.pop().unwrap_or(OsStr::new("."));
    let open = |at: BorrowedFd<'_>, name: &OsStr, flags: OFlags| {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        retry_on_intr(|| rustix::fs::openat(at, name, flags, Mode::empty()))
    };
    let mut at: Option<OwnedFd> = None;
    for name in names {
        at = Some(open(at.as_ref().map_or(root, AsFd::as_fd), name, PASSED)?);
    }
    Ok(open(at.as_ref().map_or(root, AsFd::as_fd), last, flags)?)
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    }
}

#[cfg(target_os = "linux")]
fn stat_at(directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
    use rustix::fs::{StatxFlags, makedev, statx};
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH;
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let found = match retry_on_intr(|| statx(directory, name, flags, wanted)) {
        // Not known to the kernel (before Linux 4.11), or forbidden by a filter of system calls.
        Err(Errno::NOSYS | Errno::PERM) => return plain_stat(directory, name),
        other => other?,
    };
    let stamp = |time: rustix::fs::StatxTimestamp| Stamp {
        seconds: time.tv_sec,
        nanoseconds: time.tv_nsec,
    };
    let has_birth = found.stx_mask & StatxFlags::BTIME.bits() != 0;
    Ok(Stat {
        kind: kind_of(FileType::from_raw_mode(found.stx_mode.into())),
        identity: Identity {
            device: makedev(found.stx_dev_major, found.stx_dev_minor),
            inode: found.stx_ino,
            btime: has_birth.then(|| stamp(found.stx_btime).timestamp()),
        },
        links: found.stx_nlink.into(),
        size: found.stx_size,
        mtime: stamp(found.stx_mtime),
        ctime: stamp(found.stx_ctime),
    })
}

#[cfg(not(target_os = "linux"))]
fn stat_at(directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
    plain_stat(directory, name)
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "the widths and signs of the fields differ between platforms"
)]
fn plain_stat(directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
    let found = if name.as_os_str().is_empty() {
        retry_on_intr(|| rustix::fs::fstat(directory))?
    } else {
        retry_on_intr(|| rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW))?
    };
    let stamp = |seconds, nanoseconds| Stamp { seconds, nanoseconds };
    Ok(Stat {
        kind: kind_of(FileType::from_raw_mode(found.st_mode)),
        identity: Identity {
            device: found.st_dev as u64,
            inode: found.st_ino,
            btime: None,
        },
        links: found.st_nlink as u64,
        size: found.st_size as u64,
        mtime: stamp(found.st_mtime as i64, found.st_mtime_nsec as u32),
        ctime: stamp(found.st_ctime as i64, found.st_ctime_nsec as u32),
    })
}

impl Tree for OsTree {
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        // Something else may be mounted by now, under a number that was given away.
        self.births.borrow_mut().clear();
        let top = retry_on_intr(|| rustix::fs::openat(CWD, "/", PASSED | OFlags::CLOEXEC, Mode::empty()))?;
        let relative = path.strip_prefix("/").map_err(|_| io::Error::from(Errno::INVAL))?;
        self.beneath(top.as_fd(), relative, DIRECTORY)
    }

    fn open_dir(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<OwnedFd> {
        self.beneath(root, relative, DIRECTORY)
    }

    fn list(&self, directory: BorrowedFd<'_>, each: &mut EachEntry<'_>) -> io::Result<()> {
        entries(directory, &mut |name, kind, _| {
            let kind = match kind {
                FileType::Unknown => None,
                known => Some(kind_of(known)),
            };
            each(name, kind);
        })
    }

    fn inodes(&self, directory: BorrowedFd<'_>, each: &mut EachInode<'_>) -> io::Result<()> {
        entries(directory, &mut |name, _, inode| each(name, inode))
    }

    fn stat(&self, directory: BorrowedFd<'_>, name: &Path) -> io::Result<Stat> {
        Ok(self.with_birth(stat_at(directory, name)?, directory, name))
    }

    fn stats(&self, directory: BorrowedFd<'_>, names: &[&OsStr], each: &mut EachStat<'_>) {
        let stat = |name: &OsStr| stat_at(directory, Path::new(name));
        by_two(names, &stat, &mut |place, found| {
            let found = found.map(|stat| self.with_birth(stat, directory, Path::new(names[place])));
            each(place, found);
        });
    }

    fn open(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<Box<dyn Log>> {
        let file = File::from(self.beneath(root, relative, REGULAR)?);
        let births = keeps_births(file.as_fd()).unwrap_or(false);
        Ok(Box::new(OsLog { file, births }))
    }
}

impl OsTree {
    /// Without the birth of a file where the filesystem does not keep that.
    fn with_birth(&self, mut stat: Stat, directory: BorrowedFd<'_>, name: &Path) -> Stat {
        let device = stat.identity.device;
        let known = self.births.borrow().get(&device).copied();
        let keeps = if let Some(keeps) = known {
            keeps
        } else {
            let asked = keeps_births_at(directory, name);
            self.births.borrow_mut().extend(asked.map(|keeps| (device, keeps)));
            asked.unwrap_or(false)
        };
        stat.identity.btime = stat.identity.btime.filter(|_| keeps);
        stat
    }
}

#[cfg(target_os = "linux")]
fn keeps_births_at(directory: BorrowedFd<'_>, name: &Path) -> Option<bool> {
    if name.as_os_str().is_empty() {
        return keeps_births(directory);
    }
    // Something may be mounted there.
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = retry_on_intr(|| rustix::fs::openat(directory, name, flags, Mode::empty())).ok()?;
    keeps_births(found.as_fd())
}

#[cfg(not(target_os = "linux"))]
fn keeps_births_at(_: BorrowedFd<'_>, _: &Path) -> Option<bool> {
    Some(false)
}

/// Lists a directory by its own descriptor, which need not be opened a second time: it was opened for this, and stands at
/// its beginning.
#[cfg(target_os = "linux")]
fn entries(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&OsStr, FileType, u64)) -> io::Result<()> {
    let mut buffer = vec![MaybeUninit::uninit(); LISTING_BYTES];
    let mut listing = RawDir::new(directory, &mut buffer);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            each(name, entry.file_type(), entry.ino());
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn entries(directory: BorrowedFd<'_>, each: &mut dyn FnMut(&OsStr, FileType, u64)) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            each(name, entry.file_type(), entry.ino());
        }
    }
    Ok(())
}

struct OsLog {
    file: File,
    births: bool,
}

impl Log for OsLog {
    fn stat(&self) -> io::Result<Stat> {
        let mut stat = stat_at(self.file.as_fd(), Path::new(""))?;
        stat.identity.btime = stat.identity.btime.filter(|_| self.births);
        Ok(stat)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(bytes, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::read_full;
    use super::*;

    fn conforms(tree: &OsTree) {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let top = base.join("root");
        std::fs::create_dir_all(top.join("a/b")).unwrap();
        std::fs::write(top.join("a/b/f"), "inside").unwrap();
        std::fs::write(base.join("secret"), "outside").unwrap();
        symlink("../secret", top.join("file-link")).unwrap();
        symlink("..", top.join("up")).unwrap();
        symlink("a", top.join("sideways")).unwrap();
        symlink(&top, base.join("root-link")).unwrap();

        let root = tree.open_root(&top).unwrap();
        let root = root.as_fd();
        let log = tree.open(root, Path::new("a/b/f")).unwrap();
        let mut bytes = [0; 99];
        assert_eq!(read_full(&*log, &mut bytes, 2).unwrap(), 4);
        assert_eq!(&bytes[..4], b"side");
        assert_eq!(log.stat().unwrap(), tree.stat(root, Path::new("a/b/f")).unwrap());
        assert_eq!(log.stat().unwrap().kind, Kind::File);

        for escape in [
            "file-link",
            "up/secret",
            "../secret",
            "sideways/b/f",
            "a/../../secret",
            "/etc/passwd",
        ] {
            assert!(tree.open(root, Path::new(escape)).is_err(), "{escape}");
        }
        assert!(tree.open_dir(root, Path::new("up")).is_err());
        assert!(
            tree.open_root(&base.join("root-link")).is_err(),
            "a root is opened by its resolved path"
        );

        let mut names = Vec::new();
        let listed = tree.open_dir(root, Path::new("")).unwrap();
        tree.list(listed.as_fd(), &mut |name, kind| names.push((name.to_owned(), kind)))
            .unwrap();
        let mut names: Vec<_> = names.iter().map(|(name, _)| name.to_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["a", "file-link", "sideways", "up"]);
        assert_eq!(tree.stat(root, Path::new("up")).unwrap().kind, Kind::Symlink);
    }

    #[test]
    fn nothing_leaves_a_root_with_openat2() {
        conforms(&OsTree::default());
    }

    #[test]
    fn nothing_leaves_a_root_without_openat2() {
        conforms(&OsTree::without_openat2());
    }
}
