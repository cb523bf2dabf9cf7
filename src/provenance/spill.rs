//! Writing spill files.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::Pair;
use super::adopt::lock;
use super::names::{SpillName, in_overflow, lock_of};
use crate::disk::{Disk, DiskFile};
use crate::home::OVERFLOW;
use crate::show::Shown;

/// How often a lock file of our own is looked for.
const OWNER_TRIES: u32 = 16;

/// Writes the spill files of one writer, and holds its lock from the first one on.
pub(super) struct Spill {
    disk: Arc<dyn Disk>,
    owner: Ulid,
    number: u32,
    lock: Option<Box<dyn DiskFile>>,
}

/// A spill file that was written.
pub(super) struct Written {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Spill {
    pub(super) fn new(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            owner: Ulid::nil(),
            number: 0,
            lock: None,
        }
    }

    /// Writes these pairs into a file of their own. It is durable when this returns; after an error there is none, as
    /// far as the disk still obeys.
    pub(super) fn write(&mut self, pairs: &[Pair]) -> io::Result<Written> {
        // A number is used once, so that what a failed try left behind is in nobody's way.
        self.number += 1;
        let mut content = Vec::new();
        pairs.iter().try_for_each(|pair| pair.write_line(&mut content))?;
        self.prepare()?;
        let name = SpillName {
            owner: self.owner,
            number: self.number,
            lines: pairs.len() as u64,
        };
        let name = name.name();
        if let Err(error) = self.put(&name, &content) {
            self.take_back(&name);
            return Err(error);
        }
        Ok(Written {
            name,
            bytes: content.len() as u64,
        })
    }

    /// The directory and the lock, made by the first spill.
    fn prepare(&mut self) -> io::Result<()> {
        if self.lock.is_some() {
            return Ok(());
        }
        self.disk.create_dir(Path::new(OVERFLOW))?;
        self.disk.sync_dir(Path::new(""))?;
        // Who looks for what dead writers left may have the lock for a moment, and remove it. Nothing is ours yet,
        // so another name will do.
        for _ in 0..OWNER_TRIES {
            self.owner = Ulid::new();
            self.lock = lock(&*self.disk, &lock_of(self.owner))?;
            if self.lock.is_some() {
                return Ok(());
            }
        }
        Err(io::Error::other("somebody takes each lock file that is made"))
    }

    fn put(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let (path, temporary) = (in_overflow(name), temporary(name));
        let mut file = self.disk.create(&temporary)?;
        file.write_at(content, 0)?;
        file.sync()?;
        self.disk.rename(&temporary, &path)?;
        self.disk.sync_dir(Path::new(OVERFLOW))
    }

    /// Removes a file. What cannot be taken back is delivered by a later writer, as a repetition.
    pub(super) fn take_back(&mut self, name: &str) {
        for path in [temporary(name), in_overflow(name)] {
            match self.disk.unlink(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log::info!("{} stays: {error}", Shown::path(&self.disk.show(&path)));
                }
                _ => {}
            }
        }
        // If the directory went away, the next try makes it again.
        if self.disk.meta(&lock_of(self.owner)).is_err() {
            self.lock = None;
        }
    }

    /// Ends the ownership. Files that are left belong to whoever claims them next.
    pub(super) fn end(self, files_left: bool) {
        if self.lock.is_some() && !files_left {
            let path = lock_of(self.owner);
            if let Err(error) = self.disk.unlink(&path) {
                log::info!("{} stays: {error}", Shown::path(&self.disk.show(&path)));
            }
        }
    }
}

fn temporary(name: &str) -> std::path::PathBuf {
    in_overflow(format!("{name}.tmp"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimDisk};

    fn pairs() -> Vec<Pair> {
        let object = std::collections::BTreeMap::from([("a", 1)]);
        ["1", "2"].map(|id| Pair::of(id, &object).unwrap()).to_vec()
    }

    fn names(disk: &SimDisk) -> Vec<String> {
        let names = disk.list(Path::new(OVERFLOW)).unwrap();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    #[test]
    fn the_first_spill_makes_the_directory_and_names_never_meet() {
        let disk = SimDisk::new();
        let mut spill = Spill::new(Arc::new(disk.clone()));
        assert!(disk.list(Path::new(OVERFLOW)).is_err());
        let first = spill.write(&pairs()).unwrap();
        let second = spill.write(&pairs()).unwrap();
        assert_ne!(first.name, second.name);
        let lock = format!("{}.lock", spill.owner);
        assert_eq!(names(&disk), [first.name, second.name, lock]);
    }

    #[test]
    fn a_failed_spill_leaves_nothing_and_the_next_one_is_written() {
        for at in 0..7 {
            for fault in [Fault::Eio, Fault::Full] {
                let disk = SimDisk::new();
                let mut spill = Spill::new(Arc::new(disk.clone()));
                disk.plan(at, fault);
                let failed = spill.write(&pairs()).is_err();
                disk.make_room();
                let spills = |disk: &SimDisk| names(disk).iter().filter(|name| name.contains("jsonl")).count();
                if failed && disk.list(Path::new(OVERFLOW)).is_ok() {
                    assert_eq!(spills(&disk), 0, "{fault:?} at {at}");
                }
                let before = usize::from(!failed);
                spill.write(&pairs()).unwrap();
                assert_eq!(spills(&disk), before + 1, "{fault:?} at {at}");
            }
        }
    }
}
