//! Setting aside what is damaged.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use crate::disk::Disk;
use crate::home::{PENDING, QUARANTINE, pending};

/// Moves a pending file to `quarantine/`, under a name that nothing has, with the reason beside it. Moving it back
/// queues it again.
pub(super) fn quarantine(disk: &dyn Disk, name: &OsStr, what: &str) -> io::Result<()> {
    let directory = Path::new(QUARANTINE);
    disk.create_dir(directory)?;
    let there = free_name(disk, name)?;
    let mut file = disk.open(&directory.join(with(&there, ".reason")), true)?;
    file.truncate(0)?;
    file.write_at(format!("{what}\n").as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&pending(name), &directory.join(there))?;
    disk.sync_dir(directory)?;
    disk.sync_dir(Path::new(PENDING))
}

/// The name, or the name with the first number that is free: it may have been here before.
fn free_name(disk: &dyn Disk, name: &OsStr) -> io::Result<OsString> {
    let is_free = |name: &OsString| {
        let found = disk.meta(&Path::new(QUARANTINE).join(name));
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let numbered = (1..1000).map(|count| with(name, &format!(".{count}")));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(is_free).ok_or_else(|| io::ErrorKind::AlreadyExists.into())
}

fn with(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}
