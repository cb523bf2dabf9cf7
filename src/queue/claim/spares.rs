//! Lock files of batches that are gone, held on to for the batches that follow.
//!
//! To make a file for each batch and to remove it again is dear where very many batches are drained: ext4 gives no inode away
//! that was freed a short time ago, and looks at each of these anew for each file that is made (`recently_deleted` in its
//! `ialloc.c`). Another name for a file that is there already costs nothing of the kind.

use std::io;
use std::path::{Path, PathBuf};

use super::unlink_lock;
use crate::disk::{Disk, DiskFile};
use crate::show::Shown;

/// Locked files without content, each at the path of a lock file whose batch is gone. Dropping removes them.
pub struct SpareLocks<'a> {
    disk: &'a dyn Disk,
    files: Vec<(PathBuf, Box<dyn DiskFile>)>,
    files_max: usize,
}

impl<'a> SpareLocks<'a> {
    /// None yet, and at most so many open files.
    pub fn new(disk: &'a dyn Disk, files_max: usize) -> Self {
        Self {
            disk,
            files: Vec::new(),
            files_max,
        }
    }

    /// Takes the lock file at `path`; one that cannot be used again is removed.
    pub(super) fn keep(&mut self, path: PathBuf, mut file: Box<dyn DiskFile>) -> io::Result<()> {
        let is_of_use = self.files.len() < self.files_max
            && file
                .meta()
                .and_then(|meta| if meta.size > 0 { file.truncate(0) } else { Ok(()) })
                .is_ok();
        if is_of_use {
            self.files.push((path, file));
            return Ok(());
        }
        unlink_lock(self.disk, &path)
    }

    /// A locked file that is now at `path`. None where there is none, or something is there, whoever made it.
    pub(super) fn take(&mut self, path: &Path) -> Option<Box<dyn DiskFile>> {
        if let Some(at) = self.files.iter().position(|(spare, _)| spare == path) {
            let (_, file) = self.files.swap_remove(at);
            return self.is_at(path, &*file).then_some(file);
        }
        let (spare, file) = self.files.pop()?;
        match self.disk.rename_new(&spare, path) {
            // Another program may have put its own where ours was.
            Ok(()) => self.is_at(path, &*file).then_some(file),
            Err(error) => {
                match error.kind() {
                    io::ErrorKind::AlreadyExists => self.files.push((spare, file)),
                    // Removed by somebody else.
                    io::ErrorKind::NotFound => {}
                    // This filesystem has no such rename.
                    _ => {
                        self.files_max = 0;
                        self.unlink(&spare, &*file);
                    }
                }
                None
            }
        }
    }

    fn is_at(&self, path: &Path, file: &dyn DiskFile) -> bool {
        let ours = file.meta().map(|meta| meta.inode);
        let found = self.disk.meta(path).map(|meta| meta.inode);
        matches!((ours, found), (Ok(ours), Ok(found)) if ours == found)
    }

    /// Under its lock, and only if nobody put another one there.
    fn unlink(&self, path: &Path, file: &dyn DiskFile) {
        if !self.is_at(path, file) {
            return;
        }
        if let Err(error) = unlink_lock(self.disk, path) {
            log::info!("{} stays: {error}", Shown::path(&self.disk.show(path)));
        }
    }
}

impl Drop for SpareLocks<'_> {
    fn drop(&mut self) {
        for (path, file) in std::mem::take(&mut self.files) {
            self.unlink(&path, &*file);
        }
    }
}
