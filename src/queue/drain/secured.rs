//! What a reader has taken: acknowledged at once, or some batches together once it cannot lose them any more.

use std::ffi::OsString;
use std::io;
use std::thread::{Builder, ScopedJoinHandle};

use rustix::process::{Resource, getrlimit};

use super::{Drain, Handed};
use crate::limits::UNSECURED_BATCHES_MAX;
use crate::queue::claim::{Claim, Progress};
use crate::queue::reader::Broken;

/// Records of a batch that a reader has taken.
pub(super) struct Taken<'a> {
    pub(super) claim: Claim<'a>,
    pub(super) name: OsString,
    /// ULIDs of the first and the last one; None when there are none.
    pub(super) ends: Option<(String, String)>,
    pub(super) records: u64,
    /// The first one that it has not taken.
    pub(super) next: Option<String>,
}

/// Batches that are being made durable with their reader.
pub(super) struct Secured<'scope, 'a> {
    batches: Vec<Taken<'a>>,
    thread: ScopedJoinHandle<'scope, io::Result<()>>,
}

impl<'a> Secured<'_, 'a> {
    pub(super) fn batches(&self) -> &[Taken<'a>] {
        &self.batches
    }
}

/// Batches that wait to be secured at a time. Each has two open files, and twice as many may be claimed: one half is being
/// secured.
pub(super) fn unsecured_max() -> usize {
    let files_max = getrlimit(Resource::Nofile).current;
    let spared = files_max.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX) / 16);
    spared.clamp(1, UNSECURED_BATCHES_MAX)
}

impl<'scope, 'a: 'scope> Drain<'scope, '_, 'a> {
    /// Has made durable what waits for it, and acknowledges what is by then.
    pub(super) fn secure(&mut self) {
        self.end_securing();
        self.unsecured_bytes = 0;
        let batches = std::mem::take(&mut self.unsecured);
        if batches.is_empty() {
            return;
        }
        if let Some(error) = self.sync_failure.clone() {
            // Their bytes may be among those that were lost then, and a second sync would not tell.
            return self.secured(batches, &Err(error));
        }
        let begun = self.reader.securing().and_then(|secure| {
            let thread = Builder::new().name("sync".into());
            thread.spawn_scoped(self.scope, secure).ok()
        });
        if let Some(thread) = begun {
            self.securing = Some(Secured { batches, thread });
            return;
        }
        let secured = match self.reader.secure() {
            Ok(()) => Ok(()),
            Err(Broken::Reader(error)) => Err(error.to_string()),
            Err(Broken::Source(error)) => Err(error.to_string()),
            Err(Broken::Gone) => Err("the reader went away".to_owned()),
        };
        self.secured(batches, &secured);
    }

    /// The same, and waits for it.
    pub(super) fn secure_all(&mut self) {
        self.secure();
        self.end_securing();
    }

    fn end_securing(&mut self) {
        if let Some(Secured { batches, thread }) = self.securing.take() {
            let secured = match thread.join() {
                Ok(secured) => secured.map_err(|error| error.to_string()),
                Err(_) => Err("the thread that syncs has ended".to_owned()),
            };
            self.secured(batches, &secured);
        }
    }

    fn secured(&mut self, batches: Vec<Taken<'a>>, secured: &Result<(), String>) {
        self.sync_failure = secured.as_ref().err().cloned();
        for taken in batches {
            let Err(error) = secured else {
                self.acknowledge(taken, None, 0);
                continue;
            };
            self.report.records -= taken.records;
            self.judge(&taken.name, Some(Broken::Reader(error.clone().into())));
        }
    }

    /// Takes down how far a batch was handed out, and removes it when that is all of it.
    pub(super) fn acknowledge(&mut self, taken: Taken<'a>, broken: Option<&Broken>, tries_before: u64) {
        let mut claim = taken.claim;
        if let Some((first, last)) = &taken.ends {
            let records = taken.records;
            self.overseer.handed(Handed { first, last, records });
        }
        let Some(next) = taken.next else {
            let bytes = claim.batch_bytes();
            match claim.acknowledge_to(&mut self.spares) {
                Ok(nameless) => self.closer.close(nameless, bytes),
                Err(error) => self.failed(&taken.name, "cannot remove the drained batch", error),
            }
            return;
        };
        match broken {
            // Nothing was tried.
            Some(Broken::Gone) => {}
            Some(_) => claim.note(&Progress::at(&next, tries_before.saturating_add(1))),
            None => claim.note(&Progress::at(&next, 0)),
        }
    }
}
