//! The real disk, by system calls relative to one descriptor of the home.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::{Disk, DiskFile, EntryKind, HomePlace, Meta, Space};
use crate::error::Error;

/// A home on the operating system's disk.
///
/// The directory is opened once; a path that comes to show another directory later is not followed.
#[derive(Debug)]
pub struct OsDisk {
    home: OwnedFd,
    path: PathBuf,
    #[cfg(target_os = "linux")]
    room: std::sync::Arc<super::direct::PieceRoom>,
}

impl OsDisk {
    /// Opens an existing home.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let home = retry_on_intr(|| rustix::fs::openat(CWD, path, flags, Mode::empty())).map_err(|errno| {
            Error::io("cannot open the home", path, errno.into())
                .hint("the home is the directory of the queue; choose another one with --home DIR or TAILSPOOL_HOME")
        })?;
        Ok(Self {
            home,
            path: path.to_owned(),
            #[cfg(target_os = "linux")]
            room: std::sync::Arc::default(),
        })
    }

    /// Opens the home, and makes it and the directories above it, each synced into its parent.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let hint = "choose another one with --home DIR or TAILSPOOL_HOME";
        create_dirs(path).map_err(|cause| Error::io("cannot make the home", path, cause).hint(hint))?;
        let disk = Self::open(path)?;
        // An earlier process may have made the home and died before this.
        match disk.sync_dir(Path::new("..")) {
            // One that we may not read is one that we did not make the home in.
            Err(cause) if cause.kind() != io::ErrorKind::PermissionDenied => {
                Err(Error::io("cannot sync the directory above", path, cause).hint(hint))
            }
            _ => Ok(disk),
        }
    }

    /// Where the home is.
    pub fn place(&self) -> io::Result<HomePlace> {
        let stat = rustix::fs::fstat(&self.home)?;
        Ok(HomePlace {
            path: self.path.canonicalize()?,
            identity: (device(&stat), stat.st_ino),
        })
    }

    /// Whether the path of the home still shows the directory that was opened.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let identity = |stat: Stat| (device(&stat), stat.st_ino);
        let now = rustix::fs::stat(&self.path).map(identity);
        now == rustix::fs::fstat(&self.home).map(identity)
    }

    /// Whether its permissions let others than its owner write in it.
    #[must_use]
    pub fn is_writable_by_others(&self) -> bool {
        let others = Mode::WGRP | Mode::WOTH;
        rustix::fs::fstat(&self.home).is_ok_and(|stat| Mode::from_raw_mode(stat.st_mode).intersects(others))
    }

    /// Opens a directory in the home; the empty path is the home. A symlink is not followed.
    pub fn open_dir(&self, path: &Path) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(retry_on_intr(|| {
            rustix::fs::openat(&self.home, path, flags, Mode::empty())
        })?)
    }

    /// The name of the network filesystem that the home is on, if it is on one that we know.
    ///
    /// `flock` and rename are not to be relied on there. FUSE is not told apart: it may be local. Not told on every
    /// platform.
    pub fn network_filesystem(&self) -> io::Result<Option<&'static str>> {
        crate::filesystem::network(self.home.as_fd())
    }
}

pub(super) fn create_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    create_dirs(parent)?;
    match retry_on_intr(|| rustix::fs::mkdirat(CWD, path, Mode::RWXU)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    File::open(parent)?.sync_all()
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    reason = "the width and sign of st_dev and its like differ between platforms"
)]
fn device(stat: &Stat) -> u64 {
    stat.st_dev as u64
}

#[allow(
    clippy::useless_conversion,
    clippy::unnecessary_cast,
    clippy::cast_sign_loss,
    reason = "the width and sign of st_dev and its like differ between platforms"
)]
fn meta_of(stat: &Stat) -> Meta {
    let regular = FileType::from_raw_mode(stat.st_mode).is_file();
    let since_epoch = Duration::from_secs(stat.st_mtime.max(0) as u64);
    Meta {
        kind: if regular { EntryKind::File } else { EntryKind::Other },
        inode: stat.st_ino,
        size: stat.st_size as u64,
        modified: SystemTime::UNIX_EPOCH + since_epoch,
    }
}

impl Disk for OsDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match retry_on_intr(|| rustix::fs::mkdirat(&self.home, path, Mode::RWXU)) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.open_with(path, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let create = if create { OFlags::CREATE } else { OFlags::empty() };
        self.open_with(path, OFlags::RDWR | create)
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.open_file(path, OFlags::RDONLY | OFlags::NONBLOCK)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::renameat(&self.home, from, &self.home, to))?;
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        retry_on_intr(|| rustix::fs::renameat_with(&self.home, from, &self.home, to, flags))?;
        Ok(())
    }

    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    fn rename_new(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::unlinkat(&self.home, path, AtFlags::empty()))?;
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        rustix::fs::fsync(self.open_dir(path)?)?;
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::new(self.open_dir(path)?)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let stat = retry_on_intr(|| rustix::fs::statat(&self.home, path, AtFlags::SYMLINK_NOFOLLOW))?;
        Ok(meta_of(&stat))
    }

    fn space(&self) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(&self.home)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn rest(&self) {
        #[cfg(target_os = "linux")]
        self.room.rest();
    }

    fn show(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() {
            // Joined, it would end with a slash.
            return self.path.clone();
        }
        self.path.join(path)
    }
}

impl OsDisk {
    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OsFile {
            file: self.open_file(path, flags)?,
            #[cfg(target_os = "linux")]
            room: std::sync::Arc::clone(&self.room),
        }))
    }

    fn open_file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::RUSR | Mode::WUSR;
        let file = File::from(retry_on_intr(|| rustix::fs::openat(&self.home, path, flags, mode))?);
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
        }
    }
}

struct OsFile {
    file: File,
    #[cfg(target_os = "linux")]
    room: std::sync::Arc<super::direct::PieceRoom>,
}

impl DiskFile for OsFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_pieces_at(&[bytes], offset)
    }

    fn write_pieces_at(&mut self, pieces: &[&[u8]], mut offset: u64) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        let mut written = super::direct::write_blocks(&self.file, pieces, offset, &self.room)?;
        #[cfg(not(target_os = "linux"))]
        let mut written = 0;
        for piece in pieces {
            let before = written.min(piece.len());
            std::os::unix::fs::FileExt::write_all_at(&self.file, &piece[before..], offset + before as u64)?;
            written -= before;
            offset += piece.len() as u64;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // Data and length are all that is needed of a file (fdatasync(2)). Not retried, not even on EINTR.
        #[cfg(not(target_vendor = "apple"))]
        rustix::fs::fdatasync(&self.file)?;
        // On Apple's systems only F_FULLFSYNC, which sync_all uses, reaches the medium.
        #[cfg(target_vendor = "apple")]
        self.file.sync_all()?;
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        retry_on_intr(|| rustix::fs::ftruncate(&self.file, length))?;
        Ok(())
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        match retry_on_intr(|| rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    fn is_locked(&mut self) -> io::Result<bool> {
        match retry_on_intr(|| rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockShared)) {
            Ok(()) => {
                rustix::fs::flock(&self.file, FlockOperation::Unlock)?;
                Ok(false)
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(meta_of(&rustix::fs::fstat(&self.file)?))
    }
}

/// Makes what was written to an output durable, if it is a regular file; a pipe or terminal cannot be synced.
pub fn sync_output(output: impl AsFd) -> io::Result<()> {
    let stat = rustix::fs::fstat(&output)?;
    if FileType::from_raw_mode(stat.st_mode).is_file() {
        rustix::fs::fsync(&output)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_write_of_any_size_at_any_offset_leaves_just_its_bytes() {
        use crate::limits::{DIRECT_BLOCK_BYTES, DIRECT_FROM_BYTES, DIRECT_PIECE_BYTES};
        let temp = tempfile::tempdir().unwrap();
        let disk = OsDisk::create(&temp.path().join("home")).unwrap();
        let path = Path::new("file");
        let bytes: Vec<u8> = (0..=250).cycle().take(2 * DIRECT_PIECE_BYTES + 5000).collect();
        for length in [
            DIRECT_FROM_BYTES - 1,
            DIRECT_FROM_BYTES,
            DIRECT_FROM_BYTES + 1,
            bytes.len(),
        ] {
            for offset in [0, 1, DIRECT_BLOCK_BYTES] {
                let mut file = disk.create(path).unwrap();
                file.write_at(&bytes[..length], offset as u64).unwrap();
                // Of no length and place that could go past the page cache.
                file.write_at(b"end", (offset + length) as u64).unwrap();
                file.sync().unwrap();
                let mut found = Vec::new();
                disk.read_from(path, 0).unwrap().read_to_end(&mut found).unwrap();
                let expected = [&vec![0; offset], &bytes[..length], b"end"].concat();
                assert!(found == expected, "{length} bytes at {offset}");
                disk.unlink(path).unwrap();
            }
        }
    }

    #[test]
    fn the_real_disk_conforms() {
        let temp = tempfile::tempdir().unwrap();
        super::super::conformance::holds(&OsDisk::create(&temp.path().join("a/b/home")).unwrap());
    }

    #[test]
    fn files_and_directories_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("a/home");
        let disk = OsDisk::create(&home).unwrap();
        disk.create_dir(Path::new("d")).unwrap();
        disk.create(Path::new("d/f")).unwrap();
        let mode = |path: &str| home.join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("d"), mode("d/f")), (0o700, 0o700, 0o600));
        assert_eq!(disk.place().unwrap().identity.1, home.metadata().unwrap().ino());
    }

    #[test]
    fn neither_a_symlink_nor_a_directory_is_opened_as_a_file() {
        let temp = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(temp.path()).unwrap();
        std::fs::write(temp.path().join("outside"), "secret").unwrap();
        std::os::unix::fs::symlink("outside", temp.path().join("link")).unwrap();
        assert!(disk.read_from(Path::new("link"), 0).is_err());
        assert!(disk.open(Path::new("link"), true).is_err());
        disk.create_dir(Path::new("d")).unwrap();
        assert!(disk.read_from(Path::new("d"), 0).is_err());
    }
}
