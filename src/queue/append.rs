//! Putting a file into the queue without a ledger: temporary, synced, renamed, directory synced.

use std::io;
use std::path::Path;

use super::claim::Claim;
use super::drain::HandlerError;
use crate::disk::Disk;
use crate::home::{PENDING, pending};

/// Why a file is not in the queue.
#[derive(Debug)]
pub(super) enum NotAppended {
    /// Nothing of it is there.
    Clean(io::Error),
    /// A sync failed, or nobody knows what is there: nothing more may be written.
    Final(HandlerError),
}

/// Puts `bytes` into the queue under `name`. When this returns, they are there durably.
pub(super) fn put(disk: &dyn Disk, temporary: &str, name: &str, bytes: &[u8]) -> Result<(), NotAppended> {
    let from = pending(temporary);
    let mut file = disk.create(&from).map_err(NotAppended::Clean)?;
    if let Err(cause) = file.write_at(bytes, 0) {
        return Err(taken_back(disk, &from, cause));
    }
    if let Err(cause) = file.sync() {
        return Err(NotAppended::Final(match disk.unlink(&from) {
            Ok(()) => cause.into(),
            Err(worse) => format!("{cause}, and its temporary file stays: {worse}").into(),
        }));
    }
    drop(file);
    if let Err(cause) = disk.rename(&from, &pending(name)) {
        return Err(taken_back(disk, &from, cause));
    }
    match disk.sync_dir(Path::new(PENDING)) {
        Ok(()) => Ok(()),
        Err(cause) => Err(withdrawn(disk, name, &cause)),
    }
}

/// What was not finished is removed.
fn taken_back(disk: &dyn Disk, path: &Path, cause: io::Error) -> NotAppended {
    match disk.unlink(path) {
        Ok(()) => NotAppended::Clean(cause),
        Err(error) if error.kind() == io::ErrorKind::NotFound => NotAppended::Clean(cause),
        Err(worse) => NotAppended::Final(format!("{cause}, and its temporary file stays: {worse}").into()),
    }
}

/// The file is visible, and may not survive a loss of power.
fn withdrawn(disk: &dyn Disk, name: &str, cause: &io::Error) -> NotAppended {
    // Under a claim: a reader may be at it.
    let withdrawn = Claim::take(disk, name.as_ref()).and_then(|claim| claim.map(Claim::acknowledge).transpose());
    NotAppended::Final(match withdrawn {
        Ok(Some(())) => format!("{cause}; it was taken out of the queue again").into(),
        Ok(None) => format!("{cause}; a reader has it, or had it").into(),
        Err(worse) => format!("{cause}; it may be in the queue still: {worse}").into(),
    })
}
