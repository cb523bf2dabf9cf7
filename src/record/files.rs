//! The files that are recorded: which they are, what was seen of them, and what changed.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;

use super::shadow::{Change, Shadow, Trouble};
use crate::error::Error;
use crate::limits::{HANDLES_MAX, RACY};
use crate::pure::identity::Identity;
use crate::pure::scrub::{Scrubber, Secret};
use crate::source::tree::{Log, Stat};

/// Device, inode and, where it is known, birth.
type Key = (u64, u64, Option<Timestamp>);

fn key_of(identity: &Identity) -> Key {
    (identity.device, identity.inode, identity.btime)
}

/// A file that is recorded, whatever its name is by now.
pub(super) struct Tracked {
    key: Key,
    /// What it looked like when it was read last; None when it must be read again, whatever it looks like.
    seen: Option<Stat>,
    pub(super) shadow: Shadow,
    /// Where scrubbing is, at the end of what the script holds.
    pub(super) scrubber: Option<Scrubber>,
    /// What the script does not hold yet.
    pub(super) change: Change,
    handle: Option<Box<dyn Log>>,
}

/// All of them, by number.
pub(super) struct Files {
    tracked: BTreeMap<u64, Tracked>,
    numbers: BTreeMap<Key, u64>,
    next: u64,
    /// Those whose handles are kept, the one that was read least lately first.
    handles: VecDeque<u64>,
    handles_max: usize,
    secret: Option<Secret>,
    copies: TempDir,
}

/// Handles that are kept: half of what the process may have open, or the bound.
fn handles_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.and_then(|limit| usize::try_from(limit / 2).ok());
    half.map_or(HANDLES_MAX, |half| half.min(HANDLES_MAX))
}

impl Files {
    /// None yet. Copies of what is seen are kept in a temporary directory, which is removed with this.
    pub(super) fn new(secret: Option<Secret>) -> Result<Self, Error> {
        let made = tempfile::Builder::new().prefix("tailspool-record-").tempdir();
        let failed = |cause| {
            Error::io("cannot make a directory in", std::env::temp_dir(), cause)
                .hint("name a directory that can be written with TMPDIR")
        };
        Ok(Self {
            tracked: BTreeMap::new(),
            numbers: BTreeMap::new(),
            next: 1,
            handles: VecDeque::new(),
            handles_max: handles_max(),
            secret,
            copies: made.map_err(failed)?,
        })
    }

    /// Where the copies are.
    pub(super) fn copies(&self) -> &Path {
        self.copies.path()
    }

    /// The number of a file that is recorded.
    pub(super) fn number(&self, identity: &Identity) -> Option<u64> {
        self.numbers.get(&key_of(identity)).copied()
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Tracked> {
        self.tracked.get_mut(&number)
    }

    /// Begins to record a file; nothing of it was seen.
    pub(super) fn begin(&mut self, identity: &Identity) -> Result<u64, Error> {
        let number = self.next;
        let tracked = Tracked {
            key: key_of(identity),
            seen: None,
            shadow: Shadow::create(self.copies.path().join(number.to_string()))?,
            scrubber: self.secret.as_ref().map(Scrubber::new),
            change: Change::None,
            handle: None,
        };
        self.next += 1;
        self.numbers.insert(tracked.key, number);
        self.tracked.insert(number, tracked);
        Ok(number)
    }

    /// Whether a file needs not be read. One that changed just before it was read may have changed again
    /// without looking other than it did.
    pub(super) fn is_up_to_date(&self, number: u64, stat: &Stat) -> bool {
        let seen = self.tracked.get(&number).and_then(|tracked| tracked.seen);
        seen.is_some_and(|seen| (seen.size, seen.mtime, seen.ctime) == (stat.size, stat.mtime, stat.ctime))
    }

    /// Reads a file, of which `stat` was true before, and keeps its handle.
    pub(super) fn read(&mut self, number: u64, log: Box<dyn Log>, stat: Stat, now: Timestamp) -> Result<(), Trouble> {
        let Some(tracked) = self.tracked.get_mut(&number) else {
            return Ok(());
        };
        tracked.seen = None;
        tracked.change = tracked.shadow.update(&*log)?;
        let racy = SignedDuration::try_from(RACY).unwrap_or(SignedDuration::MAX);
        if now.duration_since(stat.ctime.timestamp()) > racy {
            tracked.seen = Some(stat);
        }
        tracked.handle = Some(log);
        self.handles.retain(|kept| *kept != number);
        self.handles.push_back(number);
        if self.handles.len() > self.handles_max {
            let oldest = self.handles.pop_front();
            if let Some(tracked) = oldest.and_then(|oldest| self.tracked.get_mut(&oldest)) {
                tracked.handle = None;
            }
        }
        Ok(())
    }

    /// It must be read at the next look, if there is one.
    pub(super) fn doubt(&mut self, number: Option<u64>) {
        if let Some(tracked) = number.and_then(|number| self.tracked.get_mut(&number)) {
            tracked.seen = None;
        }
    }

    /// Reads a file that cannot be opened, or is gone, if its handle was kept. Says whether it was read.
    pub(super) fn read_kept(&mut self, number: u64) -> Result<bool, Error> {
        let Some(tracked) = self.tracked.get_mut(&number) else {
            return Ok(false);
        };
        let Some(log) = &tracked.handle else {
            return Ok(false);
        };
        match tracked.shadow.update(&**log) {
            Ok(change) => tracked.change = change,
            Err(Trouble::Log(_)) => return Ok(false),
            Err(Trouble::Copy(error)) => return Err(error),
        }
        Ok(true)
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, number: u64) -> Result<(), Error> {
        self.handles.retain(|kept| *kept != number);
        let Some(tracked) = self.tracked.remove(&number) else {
            return Ok(());
        };
        // Its inode number may be another file's by now.
        if self.numbers.get(&tracked.key) == Some(&number) {
            self.numbers.remove(&tracked.key);
        }
        tracked.shadow.discard()
    }
}
