//! What kind of filesystem something is on, by its magic number of statfs(2).

#[cfg(not(target_os = "linux"))]
use std::os::fd::BorrowedFd;

#[cfg(target_os = "linux")]
pub(crate) use linux::{changes_untold, keeps_births, mounts, network};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::OsString;
    use std::fs::File;
    use std::io::{self, BufRead, BufReader};
    use std::os::fd::{AsFd, BorrowedFd};
    use std::os::unix::ffi::OsStringExt;
    use std::path::{Path, PathBuf};

    use rustix::fs::{CWD, Mode, OFlags, fstat, fstatfs, major, minor, openat};
    use rustix::io::retry_on_intr;

    const OVERLAY: u64 = 0x794C_7630;
    const FUSE: u64 = 0x6573_5546;
    const MOUNTS: &str = "/proc/self/mountinfo";

    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_cast,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "the width and sign of f_type differ between platforms; a magic number has 32 bits"
    )]
    fn magic(file: BorrowedFd<'_>) -> io::Result<u64> {
        Ok(u64::from(retry_on_intr(|| fstatfs(file))?.f_type as u32))
    }

    /// The name of the network filesystem that an open file is on.
    pub(crate) fn network(file: BorrowedFd<'_>) -> io::Result<Option<&'static str>> {
        Ok(match magic(file)? {
            0x6969 => Some("NFS"),
            0x517B | 0xFE53_4D42 | 0xFF53_4D42 => Some("SMB"),
            0x0102_1997 => Some("9p"),
            0x00C3_6400 => Some("Ceph"),
            0x5346_414F | 0x6B41_4653 => Some("AFS"),
            0x7375_7245 => Some("Coda"),
            0x0BD0_0BD0 => Some("Lustre"),
            0x0116_1970 => Some("GFS2"),
            _ => None,
        })
    }

    /// Whether files keep their time of birth, which on overlayfs changes when a file is copied up; None when nobody
    /// can say.
    pub(crate) fn keeps_births(file: BorrowedFd<'_>) -> Option<bool> {
        Some(magic(file).ok()? != OVERLAY)
    }

    /// Why inotify may not tell what changes in an open directory: others write there, whom this kernel does not see.
    pub(crate) fn changes_untold(directory: BorrowedFd<'_>) -> Option<String> {
        let blind = blind(directory)?;
        match blind {
            Blind::By(name) => Some(format!("it is on {name}, where others write unseen")),
            Blind::ByLayer(name) => Some(format!("it is on an overlay of {name}, where others write unseen")),
        }
    }

    enum Blind {
        By(&'static str),
        ByLayer(&'static str),
    }

    fn blind(directory: BorrowedFd<'_>) -> Option<Blind> {
        match magic(directory) {
            Ok(OVERLAY) => layers(directory).iter().find_map(|layer| {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                // In a container, those of its own root cannot be seen, and nobody else writes there.
                let layer = retry_on_intr(|| openat(CWD, layer, flags, Mode::empty())).ok()?;
                blind_itself(layer.as_fd()).map(Blind::ByLayer)
            }),
            _ => blind_itself(directory).map(Blind::By),
        }
    }

    fn blind_itself(directory: BorrowedFd<'_>) -> Option<&'static str> {
        match magic(directory).ok()? {
            FUSE => Some("FUSE"),
            0x786F_4256 => Some("vboxsf"),
            0xBACB_ACBC => Some("vmhgfs"),
            0x7C7C_6673 => Some("prl_fs"),
            0x1983_0326 => Some("BeeGFS"),
            0x4750_4653 => Some("GPFS"),
            0x7461_636F => Some("OCFS2"),
            0xAAD7_AAEA => Some("PanFS"),
            0xBEEF_DEAD => Some("SNFS"),
            0x6163_6673 => Some("ACFS"),
            0x0131_11A8 => Some("IBRIX"),
            _ => network(directory).ok()?,
        }
    }

    /// The table of mounts of this process.
    pub(crate) fn mounts() -> io::Result<File> {
        File::open(MOUNTS)
    }

    /// The directories of which the overlay around an open directory is made, as far as the table of mounts says.
    fn layers(directory: BorrowedFd<'_>) -> Vec<PathBuf> {
        let Ok(device) = fstat(directory).map(|stat| stat.st_dev) else {
            return Vec::new();
        };
        let device = format!("{}:{}", major(device), minor(device));
        let Ok(mounts) = mounts() else { return Vec::new() };
        let lines = BufReader::new(mounts).split(b'\n').map_while(Result::ok);
        let mut lines = lines.map(|line| String::from_utf8_lossy(&line).into_owned());
        let line = lines.find(|line| line.split(' ').nth(2) == Some(device.as_str()));
        line.as_deref().map(layers_of).unwrap_or_default()
    }

    /// The layers that a line of the table names: `lowerdir=a:b,upperdir=c` among its last options.
    fn layers_of(line: &str) -> Vec<PathBuf> {
        let options = line.rsplit(' ').next().unwrap_or_default();
        let named = options.split(',').filter_map(|option| {
            let (key, value) = option.split_once('=')?;
            ["lowerdir", "lowerdir+", "datadir+", "upperdir"]
                .contains(&key)
                .then_some(value)
        });
        let paths = named.flat_map(|value| value.split(':'));
        paths.map(unescaped).filter(|path| path.is_absolute()).collect()
    }

    /// Undoes `\040` and its like.
    fn unescaped(text: &str) -> PathBuf {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            let octal = after.get(..3).filter(|_| *first == b'\\');
            let octal = octal.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 8).ok());
            bytes.push(octal.unwrap_or(*first));
            rest = if octal.is_some() { &after[3..] } else { after };
        }
        Path::new(&OsString::from_vec(bytes)).to_owned()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_layers_of_an_overlay_are_read_from_its_line() {
            let line = r"36 35 0:30 / /m rw - overlay overlay rw,lowerdir=/a\040b:/c,upperdir=/u,workdir=/w";
            let layers: Vec<_> = ["/a b", "/c", "/u"].map(PathBuf::from).into();
            assert_eq!(layers_of(line), layers);
            assert_eq!(layers_of("36 35 0:30 / /m rw - tmpfs tmpfs rw"), [] as [PathBuf; 0]);
        }

        #[test]
        fn a_local_directory_is_told_of() {
            let temp = tempfile::tempdir().unwrap();
            let directory = File::open(temp.path()).unwrap();
            assert_eq!(changes_untold(directory.as_fd()), None);
            let processes = File::open("/proc").unwrap();
            assert_eq!(network(processes.as_fd()).unwrap(), None);
        }
    }
}

/// Not known on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn network(_: BorrowedFd<'_>) -> std::io::Result<Option<&'static str>> {
    Ok(None)
}

/// Births are not used on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn keeps_births(_: BorrowedFd<'_>) -> Option<bool> {
    Some(false)
}

/// Nothing tells anything on this platform.
#[cfg(not(target_os = "linux"))]
pub(crate) fn changes_untold(_: BorrowedFd<'_>) -> Option<String> {
    None
}
