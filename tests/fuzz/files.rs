//! Files on a disk in memory.

use std::io::Read;
use std::path::Path;

use tailspool::disk::{Disk, SimDisk};

/// Makes a file, and the directory that it is in.
pub(crate) fn put(disk: &SimDisk, path: impl AsRef<Path>, bytes: &[u8]) {
    let path = path.as_ref();
    disk.create_dir(path.parent().unwrap()).unwrap();
    disk.create(path).unwrap().write_at(bytes, 0).unwrap();
}

/// Its content; None when it is not there.
pub(crate) fn content(disk: &SimDisk, path: impl AsRef<Path>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    disk.read_from(path.as_ref(), 0).ok()?.read_to_end(&mut bytes).unwrap();
    Some(bytes)
}

/// The names in a directory; none when it is not there.
pub(crate) fn names(disk: &SimDisk, directory: &str) -> Vec<String> {
    let names = disk.list(Path::new(directory)).unwrap_or_default();
    names.into_iter().map(|name| name.into_string().unwrap()).collect()
}
