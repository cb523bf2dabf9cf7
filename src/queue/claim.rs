//! Claims: a batch belongs to whoever holds the `flock` of its lock file.

mod spares;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::{Disk, DiskFile, is_full};
use crate::error::Error;
use crate::home::{PENDING, pending};
use crate::limits::{CLAIM_REOPEN_MAX, CLAIM_RETRY, ORPHANS_HELD};
use crate::pure::name::{Name, lock_of};
use crate::show::Shown;

pub use spares::SpareLocks;

/// A claimed batch. Dropping the claim gives it up; the lock file stays beside a batch that stays.
pub struct Claim<'a> {
    disk: &'a dyn Disk,
    /// None when there was no room for a lock file: a full disk is when a queue must be drained.
    lock_file: Option<Box<dyn DiskFile>>,
    /// Locked as well, so that claims with and without a lock file exclude each other. None when the batch may
    /// not be opened for writing: with these rights nobody can claim it alone.
    batch_file: Option<Box<dyn DiskFile>>,
    batch: PathBuf,
    batch_bytes: u64,
    lock: PathBuf,
}

/// What a lock file holds while its batch goes into another one.
const MERGING: &[u8] = br#"{"merging":true}"#;

/// How far a drain came in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// ULID of the first record that was not handed out.
    pub next: String,
    /// Failed tries of the batch.
    pub attempts: u64,
    sum: String,
}

impl Progress {
    /// Progress that stands at `next`.
    pub fn at(next: &str, attempts: u64) -> Self {
        Self {
            next: next.to_owned(),
            attempts,
            sum: sum(next, attempts),
        }
    }
}

fn sum(next: &str, attempts: u64) -> String {
    let hash = blake3::hash(format!("{next} {attempts}").as_bytes());
    hash.to_hex()[..16].to_owned()
}

/// What came of asking for a claim.
pub enum Asked<'a> {
    /// It is ours.
    Claimed(Claim<'a>),
    /// Somebody else holds the batch.
    Held,
    /// There is no such batch any more.
    Gone,
}

impl<'a> Claim<'a> {
    /// Claims a batch. None: somebody else holds it, or it is gone.
    pub fn take(disk: &'a dyn Disk, name: &OsStr) -> io::Result<Option<Self>> {
        Ok(match Self::ask(disk, name)? {
            Asked::Claimed(claim) => Some(claim),
            Asked::Held | Asked::Gone => None,
        })
    }

    /// Claims a batch, or says why not.
    pub fn ask(disk: &'a dyn Disk, name: &OsStr) -> io::Result<Asked<'a>> {
        Self::ask_with(disk, name, &mut SpareLocks::new(disk, 0))
    }

    /// The same, with a lock file of an earlier batch if there is one.
    pub fn ask_with(disk: &'a dyn Disk, name: &OsStr, spares: &mut SpareLocks<'_>) -> io::Result<Asked<'a>> {
        let (batch, lock) = (pending(name), pending(lock_of(name)));
        let spare = spares.take(&lock);
        let lock_file = match spare.map_or_else(|| locked(disk, &lock, true), |file| Ok(Some(file))) {
            Ok(None) if is_gone(disk, &batch, &lock) => return Ok(Asked::Gone),
            Ok(None) => return Ok(Asked::Held),
            Ok(file) => file,
            Err(error) if is_full(&error) => None,
            Err(error) => return Err(error),
        };
        let mut claim = Self {
            disk,
            lock_file: lock_file.map(|file| unmarked(disk, &lock, file)).transpose()?,
            batch_file: None,
            batch,
            batch_bytes: 0,
            lock,
        };
        // Whoever drained it between our listing and our lock has unlinked it under the lock.
        match disk.meta(&claim.batch) {
            Ok(meta) => claim.batch_bytes = meta.size,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What holds progress is about a merged batch, which has the lock file of its oldest source.
                if claim.progress().is_none() {
                    claim.unlink_lock()?;
                }
                return Ok(Asked::Gone);
            }
            Err(error) => return Err(error),
        }
        match locked(disk, &claim.batch, false) {
            Ok(None) => return Ok(Asked::Held),
            Ok(file) => claim.batch_file = file,
            Err(error) if claim.lock_file.is_some() && error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
        Ok(Asked::Claimed(claim))
    }

    /// Notes that the batch goes into another one; false where a drain left behind how far it came, or there is no lock
    /// file.
    pub fn mark_merging(&mut self) -> io::Result<bool> {
        let Some(file) = &mut self.lock_file else {
            return Ok(false);
        };
        if file.meta()?.size > 0 {
            return Ok(false);
        }
        file.write_at(MERGING, 0)?;
        Ok(true)
    }

    /// Where an earlier drain stopped, if it left that behind and it can be read.
    pub fn progress(&self) -> Option<Progress> {
        progress(self.disk, &self.lock)
    }

    /// Writes down how far we came. Failing at it is no error: the batch is then handed out from its start.
    pub fn note(&mut self, progress: &Progress) {
        let Some(file) = &mut self.lock_file else {
            return log::debug!("there was no room for a lock file, so how far the drain came is not kept");
        };
        let written = serde_json::to_vec(progress)
            .map_err(io::Error::from)
            .and_then(|text| file.write_at(&text, 0).and_then(|()| file.truncate(text.len() as u64)));
        if let Err(error) = written {
            log::warn!(code = "queue.progress_lost";
                "how far {} was handed out cannot be kept, so its first records come again: {error}", Shown::path(&self.disk.show(&self.batch)));
        }
    }

    /// Acknowledges the batch: it is removed, and then its lock file. A lock file that cannot be removed is no error;
    /// a start of a watcher removes it.
    pub fn acknowledge(self) -> io::Result<()> {
        let disk = self.disk;
        self.acknowledge_to(&mut SpareLocks::new(disk, 0)).map(drop)
    }

    /// The same; its lock file may be kept for other batches. Returns the handle of what has no name any more: closing it
    /// frees its blocks, which may take long.
    pub fn acknowledge_to(self, spares: &mut SpareLocks<'_>) -> io::Result<Option<Box<dyn DiskFile>>> {
        match self.disk.unlink(&self.batch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (disk, lock) = (self.disk, self.lock);
        let kept = match self.lock_file {
            Some(file) => spares.keep(lock.clone(), file),
            None => unlink_lock(disk, &lock),
        };
        if let Err(error) = kept {
            log::info!("{} stays: {error}", Shown::path(&disk.show(&lock)));
        }
        Ok(self.batch_file)
    }

    /// Gives up a batch that nothing was done with.
    pub fn release(self) {
        let is_empty = |file: &dyn DiskFile| file.meta().is_ok_and(|meta| meta.size == 0);
        // How far an earlier drain came stays.
        if self.lock_file.as_deref().is_some_and(is_empty) {
            let (disk, lock) = (self.disk, self.lock.clone());
            if let Err(error) = self.unlink_lock() {
                log::info!("{} stays: {error}", Shown::path(&disk.show(&lock)));
            }
        }
    }

    /// Bytes of the batch when it was claimed.
    pub fn batch_bytes(&self) -> u64 {
        self.batch_bytes
    }

    /// The path of its lock file, which a merged batch has in common with the oldest of its sources.
    pub fn lock(&self) -> &Path {
        &self.lock
    }

    /// Removes the batch, tried twice, and then its lock file, unless that is another batch's too.
    pub fn remove(self, with_lock: bool) -> io::Result<()> {
        let unlink = || match self.disk.unlink(&self.batch) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        unlink().or_else(|_| unlink())?;
        if with_lock {
            let (disk, lock) = (self.disk, self.lock.clone());
            if let Err(error) = self.unlink_lock() {
                log::info!("{} stays: {error}", Shown::path(&disk.show(&lock)));
            }
        }
        Ok(())
    }

    /// After the batch was moved elsewhere: removes its lock file.
    pub fn unlink_lock(self) -> io::Result<()> {
        unlink_lock(self.disk, &self.lock)
    }
}

fn unlink_lock(disk: &dyn Disk, lock: &Path) -> io::Result<()> {
    match disk.unlink(lock) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a lock file holds.
fn content(disk: &dyn Disk, lock: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let read = disk
        .read_from(lock, 0)
        .and_then(|reader| reader.take(1024).read_to_end(&mut text));
    read.map(|_| text).unwrap_or_default()
}

/// Whether whoever holds a lock file has nothing to do with the batch, which is gone, but has it for others.
fn is_gone(disk: &dyn Disk, batch: &Path, lock: &Path) -> bool {
    let found = disk.meta(batch);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && content(disk, lock).is_empty()
}

/// Whoever died while batches were merged left that behind: it holds no more.
fn unmarked(disk: &dyn Disk, lock: &Path, mut file: Box<dyn DiskFile>) -> io::Result<Box<dyn DiskFile>> {
    if file.meta()?.size == MERGING.len() as u64 && content(disk, lock) == MERGING {
        file.truncate(0)?;
    }
    Ok(file)
}

/// Whether whoever holds a batch says that it goes into another one.
pub fn is_merging(disk: &dyn Disk, name: &OsStr) -> bool {
    content(disk, &pending(lock_of(name))) == MERGING
}

/// Whether somebody holds the lock file of a batch at this moment.
pub fn is_held(disk: &dyn Disk, name: &OsStr) -> io::Result<bool> {
    match disk.open(&pending(lock_of(name)), false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        file => file?.is_locked(),
    }
}

/// Opens and locks a file. None: somebody else holds it.
fn locked(disk: &dyn Disk, path: &Path, create: bool) -> io::Result<Option<Box<dyn DiskFile>>> {
    for _ in 0..CLAIM_REOPEN_MAX {
        let mut file = match disk.open(path, create) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.try_lock()? {
            // Whoever only asks whether it is held has it for a moment.
            std::thread::sleep(CLAIM_RETRY);
            if !file.try_lock()? {
                return Ok(None);
            }
        }
        let ours = file.meta()?.inode;
        match disk.meta(path) {
            Ok(meta) if meta.inode == ours => return Ok(Some(file)),
            // Removed by whoever had it before.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads the progress that a lock file holds, without claiming anything.
pub fn progress(disk: &dyn Disk, lock: &Path) -> Option<Progress> {
    let progress: Progress = serde_json::from_slice(&content(disk, lock)).ok()?;
    (progress.sum == sum(&progress.next, progress.attempts)).then_some(progress)
}

/// Removes the lock files whose batch is gone, each under its own claim: with the lock held, the batch is looked for
/// once more.
pub fn remove_orphans(disk: &dyn Disk) -> Result<(), Error> {
    let mut orphans = orphans(disk)?.into_iter().peekable();
    while orphans.peek().is_some() {
        let some: Vec<_> = orphans.by_ref().take(ORPHANS_HELD).collect();
        let held: Vec<_> = some
            .into_iter()
            .filter_map(|name| Some((locked(disk, &pending(&name), false).ok()??, name)))
            .collect();
        let still = self::orphans(disk)?;
        for (_lock, name) in held.iter().filter(|(_, name)| still.contains(name)) {
            if let Err(error) = disk.unlink(&pending(name)) {
                log::info!("{} stays: {error}", Shown::path(&disk.show(&pending(name))));
            }
        }
    }
    Ok(())
}

/// The lock files without a batch.
fn orphans(disk: &dyn Disk) -> Result<BTreeSet<OsString>, Error> {
    let names = disk
        .list(Path::new(PENDING))
        .map_err(|cause| Error::io("cannot list the queue", disk.show(Path::new(PENDING)), cause))?;
    let readable = names
        .iter()
        .filter(|name| Name::parse(name).readable_records().is_some());
    let wanted: BTreeSet<OsString> = readable.map(|name| lock_of(name)).collect();
    let locks = names.into_iter().filter(|name| Name::parse(name) == Name::Lock);
    Ok(locks.filter(|name| !wanted.contains(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, SimDisk};

    const NAME: &str = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-2.jsonl";

    fn with_batch() -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(PENDING)).unwrap();
        disk.create(&pending(NAME)).unwrap();
        disk
    }

    fn names(disk: &SimDisk) -> Vec<OsString> {
        disk.list(Path::new(PENDING)).unwrap()
    }

    /// Claims a batch that nobody holds, and acknowledges it.
    fn drained(disk: &SimDisk, name: &str, spares: &mut SpareLocks<'_>) {
        let Asked::Claimed(claim) = Claim::ask_with(disk, name.as_ref(), spares).unwrap() else {
            panic!("{name} is held by nobody but us");
        };
        claim.acknowledge_to(spares).unwrap();
    }

    #[test]
    fn a_batch_is_claimed_by_one_at_a_time() {
        let disk = with_batch();
        let claim = Claim::take(&disk, NAME.as_ref()).unwrap().unwrap();
        assert!(Claim::take(&disk, NAME.as_ref()).unwrap().is_none());
        drop(claim);
        Claim::take(&disk, NAME.as_ref())
            .unwrap()
            .unwrap()
            .acknowledge()
            .unwrap();
        assert!(names(&disk).is_empty());
        assert!(Claim::take(&disk, NAME.as_ref()).unwrap().is_none(), "it is gone");
        assert!(names(&disk).is_empty(), "and no lock file stays");
    }

    #[test]
    fn a_full_disk_can_be_drained_by_one_at_a_time() {
        let disk = with_batch();
        disk.plan(0, Fault::Full);
        let claim = Claim::take(&disk, NAME.as_ref()).unwrap().unwrap();
        assert!(Claim::take(&disk, NAME.as_ref()).unwrap().is_none());
        assert_eq!(names(&disk), [NAME], "there was no room for a lock file");
        disk.make_room();
        assert!(
            Claim::take(&disk, NAME.as_ref()).unwrap().is_none(),
            "also with room for one"
        );
        claim.acknowledge().unwrap();
        assert!(Claim::take(&disk, NAME.as_ref()).unwrap().is_none());
        assert!(names(&disk).is_empty());
    }

    #[test]
    fn the_batch_goes_before_its_lock_file() {
        let disk = with_batch();
        let claim = Claim::take(&disk, NAME.as_ref()).unwrap().unwrap();
        disk.plan(1, Fault::CrashBefore);
        let _ = claim.acknowledge();
        let after = disk.after_crash(crate::disk::Loss::Nothing);
        assert_eq!(names(&after), [lock_of(NAME.as_ref())]);
        remove_orphans(&after).unwrap();
        assert!(names(&after).is_empty());
    }

    #[test]
    fn progress_that_is_not_ours_is_not_believed() {
        let disk = with_batch();
        let claim = Claim::take(&disk, NAME.as_ref()).unwrap().unwrap();
        assert_eq!(claim.progress(), None);
        let mut claim = claim;
        claim.note(&Progress::at("01ARZ3NDEKTSV4RRFFQ69G5FAW", 1));
        drop(claim);
        let claim = Claim::take(&disk, NAME.as_ref()).unwrap().unwrap();
        assert_eq!(claim.progress().unwrap().next, "01ARZ3NDEKTSV4RRFFQ69G5FAW");
        let lock = pending(lock_of(NAME.as_ref()));
        for text in [
            "",
            "{",
            "{}",
            r#"{"next":"01ARZ3NDEKTSV4RRFFQ69G5FAW","attempts":1,"sum":"0000000000000000"}"#,
        ] {
            let mut file = disk.open(&lock, false).unwrap();
            file.truncate(0).unwrap();
            file.write_at(text.as_bytes(), 0).unwrap();
            assert_eq!(claim.progress(), None, "{text}");
        }
    }

    #[test]
    fn how_far_somebody_came_in_a_merged_batch_stays_when_its_oldest_source_is_asked_for() {
        let disk = with_batch();
        let merged = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-9.jsonl";
        assert_eq!(lock_of(merged.as_ref()), lock_of(NAME.as_ref()));
        disk.create(&pending(merged)).unwrap();
        disk.unlink(&pending(NAME)).unwrap();
        let progress = Progress::at("01ARZ3NDEKTSV4RRFFQ69G5FAW", 0);
        Claim::take(&disk, merged.as_ref()).unwrap().unwrap().note(&progress);
        assert!(matches!(Claim::ask(&disk, NAME.as_ref()).unwrap(), Asked::Gone));
        let claim = Claim::take(&disk, merged.as_ref()).unwrap().unwrap();
        assert_eq!(claim.progress(), Some(progress));
    }

    #[test]
    fn a_lock_file_is_used_again_for_another_batch_and_removed_at_the_end() {
        let disk = with_batch();
        let names = ["pending-a.json", "pending-b.json", "pending-c.json"];
        for name in names {
            disk.create(&pending(name)).unwrap();
        }
        let mut spares = SpareLocks::new(&disk, 1);
        let ask = |name: &str, spares: &mut SpareLocks<'_>| match Claim::ask_with(&disk, name.as_ref(), spares).unwrap()
        {
            Asked::Claimed(claim) => claim,
            Asked::Held | Asked::Gone => panic!("{name} is to be had"),
        };
        let inode = |name: &str| disk.meta(&pending(lock_of(name.as_ref()))).unwrap().inode;
        let mut claim = ask(NAME, &mut spares);
        claim.note(&Progress::at("01ARZ3NDEKTSV4RRFFQ69G5FAW", 1));
        let first = inode(NAME);
        claim.acknowledge_to(&mut spares).unwrap();
        assert_eq!(inode(NAME), first, "it waits");
        let asked = Claim::ask(&disk, NAME.as_ref()).unwrap();
        assert!(matches!(asked, Asked::Gone), "its lock file is held, and it is gone");
        let claim = ask(names[0], &mut spares);
        assert_eq!((inode(names[0]), claim.progress()), (first, None));
        assert!(disk.meta(&pending(lock_of(NAME.as_ref()))).is_err());
        let asked = Claim::ask(&disk, NAME.as_ref()).unwrap();
        assert!(matches!(asked, Asked::Gone));
        assert!(
            Claim::take(&disk, names[0].as_ref()).unwrap().is_none(),
            "and it is locked"
        );
        // One that somebody made stays the one that counts.
        disk.create(&pending(lock_of(names[1].as_ref()))).unwrap();
        let other = inode(names[1]);
        claim.acknowledge_to(&mut spares).unwrap();
        let claim = ask(names[1], &mut spares);
        assert_eq!(inode(names[1]), other);
        claim.acknowledge_to(&mut spares).unwrap();
        let claim = ask(names[2], &mut spares);
        assert_eq!(inode(names[2]), first);
        drop(spares);
        claim.acknowledge().unwrap();
        assert!(self::names(&disk).is_empty());
    }

    #[test]
    fn a_spare_lock_file_that_another_program_replaced_claims_nothing() {
        let disk = with_batch();
        let next = "pending-b.json";
        disk.create(&pending(next)).unwrap();
        let mut spares = SpareLocks::new(&disk, 1);
        drained(&disk, NAME, &mut spares);
        let lock = pending(lock_of(NAME.as_ref()));
        disk.unlink(&lock).unwrap();
        let mut theirs = disk.open(&lock, true).unwrap();
        assert!(theirs.try_lock().unwrap());
        assert!(matches!(
            Claim::ask_with(&disk, next.as_ref(), &mut spares).unwrap(),
            Asked::Held
        ));
        drop(theirs);
        assert!(matches!(
            Claim::ask_with(&disk, next.as_ref(), &mut spares).unwrap(),
            Asked::Claimed(_)
        ));
    }

    #[test]
    fn a_lock_file_that_another_program_put_in_the_place_of_a_spare_stays() {
        let disk = with_batch();
        let mut spares = SpareLocks::new(&disk, 1);
        drained(&disk, NAME, &mut spares);
        let lock = pending(lock_of(NAME.as_ref()));
        disk.unlink(&lock).unwrap();
        disk.create(&lock).unwrap();
        drop(spares);
        assert!(disk.meta(&lock).is_ok());
    }

    #[test]
    fn a_merged_batch_and_its_oldest_source_have_one_lock_file_that_is_taken_over() {
        let disk = with_batch();
        let merged = "pending-01ARZ3NDEKTSV4RRFFQ69G5FAV-9.jsonl";
        disk.create(&pending(merged)).unwrap();
        let mut spares = SpareLocks::new(&disk, 4);
        for name in [NAME, merged] {
            drained(&disk, name, &mut spares);
        }
        drop(spares);
        assert!(names(&disk).is_empty());
    }

    #[test]
    fn orphan_locks_are_removed_and_locks_in_use_stay() {
        let disk = with_batch();
        let (ours, orphan, held) = (
            pending(lock_of(NAME.as_ref())),
            pending("pending-x.lock"),
            pending("pending-y.lock"),
        );
        for path in [&ours, &orphan, &held] {
            disk.create(path).unwrap();
        }
        let mut holder = disk.open(&held, false).unwrap();
        assert!(holder.try_lock().unwrap());
        remove_orphans(&disk).unwrap();
        assert!(disk.meta(&ours).is_ok());
        assert!(disk.meta(&orphan).is_err());
        assert!(disk.meta(&held).is_ok());
    }
}
