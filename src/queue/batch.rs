//! A batch on its way into the queue: a temporary file that only a commit makes visible.

use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::home::{PENDING, pending};
use crate::pure::name::Batch;

/// A batch that is being written. Its file is locked, so that no start of another process removes it.
pub struct BatchFile {
    batch: Batch,
    file: Box<dyn DiskFile>,
    bytes: u64,
}

impl BatchFile {
    /// Makes the temporary file.
    pub fn create(disk: &dyn Disk, batch: Batch) -> io::Result<Self> {
        let mut file = disk.create(&pending(batch.temporary()))?;
        if !file.try_lock()? {
            return Err(io::Error::other("a file that was made just now is locked"));
        }
        Ok(Self { batch, file, bytes: 0 })
    }

    /// Appends.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(bytes, self.bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// How much was written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Which batch it is.
    pub fn batch(&self) -> Batch {
        self.batch
    }

    /// Makes bytes and name durable. A failure is final.
    pub fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        self.file.sync()?;
        disk.sync_dir(Path::new(PENDING))
    }

    /// After the commit: makes the batch visible. Tried twice; that it is visible already is success.
    pub fn publish(self, disk: &dyn Disk) -> io::Result<()> {
        // Not locked any more when a reader sees it. Since it is in the ledger, a start would not remove it.
        drop(self.file);
        let (from, to) = (pending(self.batch.temporary()), pending(self.batch.name()));
        let rename = || match disk.rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && disk.meta(&to).is_ok() => Ok(()),
            other => other,
        };
        rename().or_else(|_| rename())
    }

    /// Without a commit: removes the file.
    pub fn discard(self, disk: &dyn Disk) -> io::Result<()> {
        disk.unlink(&pending(self.batch.temporary()))
    }
}
