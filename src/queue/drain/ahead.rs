//! Large batches are read and checked while those before them are handed out.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::cores;
use crate::disk::Disk;
use crate::limits::{AHEAD_BYTES_MAX, HALVES_FROM_BYTES};
use crate::queue::claim::Claim;
use crate::queue::envelopes::{Checked, Format, RawRooms, Refusal};

/// A batch that is claimed, and is being checked.
pub(super) struct Ahead<'scope, 'a> {
    pub(super) name: OsString,
    pub(super) claim: Claim<'a>,
    thread: ScopedJoinHandle<'scope, Result<Checked<'a>, Refusal>>,
}

impl<'scope, 'a: 'scope> Ahead<'scope, 'a> {
    /// Begins. Gives the claim back where that is not worth a thread, or there is none to be had.
    pub(super) fn begin(
        scope: &'scope Scope<'scope, '_>,
        disk: &'a dyn Disk,
        name: &OsStr,
        claim: Claim<'a>,
        format: Format,
        rooms: &RawRooms,
    ) -> Result<Self, Claim<'a>> {
        let is_worth_it = (HALVES_FROM_BYTES..=AHEAD_BYTES_MAX).contains(&claim.batch_bytes());
        if !is_worth_it || !cores::has_second() {
            return Err(claim);
        }
        let (path, rooms) = (name.to_owned(), rooms.clone());
        let check = move || Checked::read_into(&rooms, disk, Path::new(&path), format);
        match Builder::new().name("check".into()).spawn_scoped(scope, check) {
            Ok(thread) => Ok(Self {
                name: name.to_owned(),
                claim,
                thread,
            }),
            Err(_) => Err(claim),
        }
    }

    /// Waits for what came of it.
    pub(super) fn end(self) -> (OsString, Claim<'a>, Result<Checked<'a>, Refusal>) {
        let checked = self.thread.join();
        let panicked = |_| Err(io::Error::other("the thread that checks it has ended").into());
        (self.name, self.claim, checked.unwrap_or_else(panicked))
    }
}
