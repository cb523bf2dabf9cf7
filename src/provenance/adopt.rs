//! Spill files that writers left which are no more.
//!
//! A writer holds the `flock` of its lock file from before its first spill file until it ends, however it ends. Who
//! gets the lock has all files of that writer to itself; so no two deliver the same file.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use ulid::Ulid;

use super::backlog::Spilled;
use super::names::{Found, SpillName, in_overflow, lock_of};
use crate::disk::{Disk, DiskFile};
use crate::home::OVERFLOW;
use crate::show::Shown;

/// The files of one earlier writer, held as long as this lives.
pub(super) struct Claim {
    owner: Ulid,
    _lock: Box<dyn DiskFile>,
}

impl Claim {
    pub(super) fn has(&self, file: &Spilled) -> bool {
        Found::parse(file.name.as_ref()).owner() == Some(self.owner)
    }

    /// All of its files are gone: removes its lock file.
    pub(super) fn end(self, disk: &dyn Disk) {
        remove(disk, &lock_of(self.owner));
    }
}

/// Claims what no living writer holds, oldest first.
pub(super) fn adopt(disk: &dyn Disk) -> io::Result<(Vec<Claim>, Vec<Spilled>)> {
    let owners: BTreeSet<Ulid> = list(disk)?
        .iter()
        .filter_map(|name| Found::parse(name).owner())
        .collect();
    let (mut claims, mut files) = (Vec::new(), Vec::new());
    for owner in owners {
        match claim(disk, owner) {
            Ok(Some((claim, spilled))) => {
                claims.push(claim);
                files.extend(spilled);
            }
            Ok(None) => {}
            Err(error) => log::warn!(code = "provenance.spill_unreadable";
                "{} cannot be claimed, and what it stands for waits: {error}", Shown::path(&disk.show(&lock_of(owner)))),
        }
    }
    Ok((claims, files))
}

fn list(disk: &dyn Disk) -> io::Result<Vec<OsString>> {
    match disk.list(Path::new(OVERFLOW)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        listed => listed,
    }
}

/// None: somebody holds it, or there is nothing.
fn claim(disk: &dyn Disk, owner: Ulid) -> io::Result<Option<(Claim, Vec<Spilled>)>> {
    let path = lock_of(owner);
    let Some(lock) = lock(disk, &path)? else {
        return Ok(None);
    };
    // Only now is the list true: who held the lock before may have removed some.
    let found: Vec<_> = list(disk)?.iter().map(|name| Found::parse(name)).collect();
    let mut names = Vec::new();
    for found in found.into_iter().filter(|found| found.owner() == Some(owner)) {
        match found {
            Found::Spill(name) => names.push(name),
            Found::Temporary(name) => remove(disk, &in_overflow(name.name() + ".tmp")),
            Found::Lock(_) | Found::Other => {}
        }
    }
    let claim = Claim { owner, _lock: lock };
    if names.is_empty() {
        claim.end(disk);
        return Ok(None);
    }
    names.sort_unstable();
    Ok(Some((claim, names.iter().map(earlier).collect())))
}

/// Takes a lock file, which is made if need be. None: somebody else has it, or had it and removed it just now.
pub(super) fn lock(disk: &dyn Disk, path: &Path) -> io::Result<Option<Box<dyn DiskFile>>> {
    let mut file = disk.open(path, true)?;
    if !file.try_lock()? {
        return Ok(None);
    }
    match disk.meta(path) {
        Ok(meta) => Ok((meta.inode == file.meta()?.inode).then_some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn earlier(name: &SpillName) -> Spilled {
    Spilled {
        name: name.name(),
        lines: name.lines,
        done: 0,
        bytes: 0,
        own: false,
    }
}

fn remove(disk: &dyn Disk, path: &Path) {
    if let Err(error) = disk.unlink(path) {
        log::info!("{} stays: {error}", Shown::path(&disk.show(path)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn with(owner: u128, numbers: &[u32]) -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(OVERFLOW)).unwrap();
        for &number in numbers {
            let name = SpillName {
                owner: Ulid(owner),
                number,
                lines: 1,
            };
            disk.create(&in_overflow(name.name())).unwrap();
        }
        disk
    }

    #[test]
    fn nothing_is_there_before_the_first_spill() {
        let (claims, files) = adopt(&SimDisk::new()).unwrap();
        assert!(claims.is_empty() && files.is_empty());
    }

    #[test]
    fn files_are_adopted_in_the_order_of_their_numbers_by_one_at_a_time() {
        let disk = with(7, &[10, 9, 2]);
        disk.create(&in_overflow("foreign.jsonl")).unwrap();
        disk.create(&in_overflow(format!("{}-00000011-1.jsonl.tmp", Ulid(7))))
            .unwrap();
        let (claims, files) = adopt(&disk).unwrap();
        let numbers: Vec<_> = files.iter().map(|file| &file.name[27..35]).collect();
        assert_eq!(numbers, ["00000002", "00000009", "00000010"]);
        assert!(claims[0].has(&files[0]));
        assert!(adopt(&disk).unwrap().1.is_empty(), "they are held");
        drop(claims);
        assert_eq!(adopt(&disk).unwrap().1.len(), 3, "a claim ends with its holder");
        let names = disk.list(Path::new(OVERFLOW)).unwrap();
        assert!(!names.iter().any(|name| name.to_string_lossy().ends_with(".tmp")));
    }

    #[test]
    fn the_lock_of_a_writer_that_left_nothing_is_removed() {
        let disk = with(7, &[]);
        disk.create(&lock_of(Ulid(7))).unwrap();
        assert!(adopt(&disk).unwrap().0.is_empty());
        assert!(disk.list(Path::new(OVERFLOW)).unwrap().is_empty());
    }
}
