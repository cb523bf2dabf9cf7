//! Merging batches of the queue into one: the steps of `docs/durability.md`, "Compaction", but for the commit.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use ulid::Ulid;

use super::claim::{Asked, Claim, is_held};
use super::depth::{Listing, list};
use super::envelopes::{Checked, Format, Refusal};
use super::outgoing::{Layout, Outgoing};
use crate::disk::{Disk, is_full};
use crate::error::Error;
use crate::home::{PENDING, pending};
use crate::limits::{COMPACT_WRITE_BYTES, MERGE_PEEK_PATIENCE, MERGE_RETRY};
use crate::pure::entry::Compacted;
use crate::pure::name::{Batch, Name};

/// Neighbours that are claimed, and wait to be merged.
pub struct Merge<'a> {
    disk: &'a dyn Disk,
    sources: Vec<(Batch, Claim<'a>)>,
}

/// Why batches were not written into one. Nothing of it is left.
#[derive(Debug)]
pub enum NotWritten {
    /// This one is not well.
    Damaged(Batch),
    /// One could not be read.
    Unreadable(io::Error),
    /// The file could not be made, or its name is taken by something else.
    NotBegun(io::Error),
    /// There was no room.
    NoRoom(io::Error),
    /// The disk failed, and nothing more may be written.
    Final(io::Error),
}

impl<'a> Merge<'a> {
    /// Claims batches up to the first that is not to be had, or that a drain has begun. None when fewer than two are.
    pub fn claim(disk: &'a dyn Disk, group: &[Batch]) -> io::Result<Option<Self>> {
        let mut this = Self {
            disk,
            sources: Vec::new(),
        };
        for batch in group {
            match claimed(disk, batch) {
                Ok(Some(claim)) => this.sources.push((*batch, claim)),
                Ok(None) => break,
                Err(error) => {
                    this.give_up();
                    return Err(error);
                }
            }
        }
        if this.sources.len() > 1 {
            return Ok(Some(this));
        }
        this.give_up();
        Ok(None)
    }

    /// Gives the claims up, as if nothing had been.
    pub fn give_up(self) {
        for (batch, claim) in self.sources {
            if let Err(error) = claim.unlink_lock() {
                log::debug!("the lock file of {} stays: {error}", batch.name());
            }
        }
    }

    /// What the ledger says of it.
    pub fn entry(&self) -> Option<Compacted> {
        Compacted::of(&self.batches())
    }

    fn batches(&self) -> Vec<Batch> {
        self.sources.iter().map(|(batch, _)| *batch).collect()
    }

    /// Writes the batches one after the other into a temporary file, which is not synced.
    pub fn write(&self) -> Result<Outgoing, NotWritten> {
        let target = self.entry().and_then(|entry| entry.target());
        let target = target.ok_or_else(|| NotWritten::NotBegun(io::ErrorKind::InvalidInput.into()))?;
        if self.disk.meta(&pending(target.name())).is_ok() {
            return Err(NotWritten::NotBegun(io::ErrorKind::AlreadyExists.into()));
        }
        let begun = Outgoing::begin(self.disk, target, Layout::Batch);
        let mut file = begun.map_err(NotWritten::NotBegun)?;
        match self.copy(&mut file) {
            Ok(()) => Ok(file),
            Err(why) => match file.discard(self.disk) {
                Ok(()) => Err(why),
                Err(worse) => Err(NotWritten::Final(worse)),
            },
        }
    }

    fn copy(&self, file: &mut Outgoing) -> Result<(), NotWritten> {
        let mut buffer = Vec::with_capacity(COMPACT_WRITE_BYTES);
        for (batch, _) in &self.sources {
            let unreadable = NotWritten::Unreadable;
            let name = batch.name();
            // Damage would be that of all of them.
            let checked = match Checked::read(self.disk, Path::new(&name), Format::Envelope) {
                Ok(checked) => checked,
                Err(Refusal::Unreadable(error)) => return Err(unreadable(error)),
                Err(_) => return Err(NotWritten::Damaged(*batch)),
            };
            let mut reader = self.disk.read_from(&pending(&name), 0).map_err(unreadable)?;
            let mut copied = 0;
            loop {
                let room = COMPACT_WRITE_BYTES - buffer.len();
                let read = reader.by_ref().take(room as u64).read_to_end(&mut buffer);
                let read = read.map_err(unreadable)?;
                copied += read as u64;
                if read < room {
                    break;
                }
                file.write(&buffer).map_err(of_write)?;
                buffer.clear();
            }
            if copied != checked.bytes() {
                return Err(NotWritten::Damaged(*batch));
            }
        }
        file.write(&buffer).map_err(of_write)
    }

    /// After the target was made visible: removes the batches, the oldest last. After an error some of them stay.
    pub fn remove(mut self) -> io::Result<()> {
        while let Some((_, claim)) = self.sources.pop() {
            claim.remove(true)?;
        }
        Ok(())
    }
}

/// A batch that nobody holds, and that no drain has begun.
fn claimed<'a>(disk: &'a dyn Disk, batch: &Batch) -> io::Result<Option<Claim<'a>>> {
    let Asked::Claimed(mut claim) = Claim::ask(disk, batch.name().as_ref())? else {
        return Ok(None);
    };
    match claim.mark_merging() {
        Ok(true) => Ok(Some(claim)),
        Ok(false) => Ok(None),
        Err(error) => {
            // Half a mark says nothing.
            let _ = claim.unlink_lock();
            Err(error)
        }
    }
}

fn of_write(error: io::Error) -> NotWritten {
    if is_full(&error) {
        NotWritten::NoRoom(error)
    } else {
        NotWritten::Final(error)
    }
}

/// Removes what went into a committed batch and still stands, each under its claim; whether nothing is left of it.
pub fn finish(disk: &dyn Disk, compacted: &Compacted) -> io::Result<bool> {
    let names: BTreeSet<OsString> = disk.list(Path::new(PENDING))?.into_iter().collect();
    let left = compacted.sources().unwrap_or_default().into_iter().rev();
    let left: Vec<_> = left
        .filter(|batch| names.contains(&OsString::from(batch.name())))
        .collect();
    if left.is_empty() {
        return Ok(true);
    }
    let mut is_done = true;
    for batch in left {
        match Claim::ask(disk, batch.name().as_ref())? {
            Asked::Claimed(claim) => {
                // The lock file of the oldest is that of the target too, and may say how far a drain came in it.
                let is_shared = compacted.target().is_some_and(|target| target.first == batch.first)
                    && disk.meta(&pending(&compacted.target)).is_ok();
                claim.remove(!is_shared)?;
            }
            Asked::Held => is_done = false,
            Asked::Gone => {}
        }
    }
    disk.sync_dir(Path::new(PENDING))?;
    Ok(is_done)
}

/// The oldest batch that stands beside one that it goes or went into, finished or not, where these are held: batches are
/// being merged.
pub fn under_way(disk: &dyn Disk) -> io::Result<Option<Ulid>> {
    let mut firsts: Vec<Batch> = disk
        .list(Path::new(PENDING))?
        .iter()
        .filter_map(|name| match Name::parse(name) {
            Name::Batch(batch) | Name::Temporary(batch) => Some(batch),
            _ => None,
        })
        .collect();
    firsts.sort_unstable_by_key(|batch| (batch.first, batch.records));
    firsts.dedup();
    for pair in firsts.windows(2).filter(|pair| pair[0].first == pair[1].first) {
        if is_held(disk, pair[0].name().as_ref())? {
            return Ok(Some(pair[0].first));
        }
    }
    Ok(None)
}

/// What is pending, listed while nothing is being merged, as far as that is to be had in 100 ms.
pub fn list_settled(disk: &dyn Disk) -> Result<Listing, Error> {
    let give_up = Instant::now() + MERGE_PEEK_PATIENCE;
    loop {
        let listing = list(disk)?;
        let moves =
            listing.vanished.is_some() || (listing.has_twins() && under_way(disk).is_ok_and(|first| first.is_some()));
        if !moves || Instant::now() >= give_up {
            return Ok(listing);
        }
        std::thread::sleep(MERGE_RETRY);
    }
}
