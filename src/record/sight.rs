//! What a look shows: what stands where, and what cannot be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use jiff::Timestamp;
use rustix::io::Errno;

use super::files::Files;
use super::plan::{Names, Thing};
use super::shadow::Trouble;
use super::walk::{Found, Walked};
use crate::error::Error;
use crate::replay::name_of;
use crate::source::globs::Globs;
use crate::source::tree::{Kind, Log, Stat, Tree};

/// Paths that cannot be looked at, and the names of the errors.
pub(super) type Failing = BTreeMap<String, &'static str>;

/// What a look shows.
#[derive(Default)]
pub(super) struct Sight {
    pub(super) names: Names,
    pub(super) failing: Failing,
}

/// Makes a sight of a walk.
pub(super) struct Observer<'a> {
    pub(super) tree: &'a dyn Tree,
    /// Which files are logs.
    pub(super) globs: &'a Globs,
    pub(super) files: &'a mut Files,
    /// What the look before showed.
    pub(super) before: &'a Sight,
    /// The time of day.
    pub(super) at: Timestamp,
}

impl Observer<'_> {
    /// What is where now. The content of what changed is in the copies afterwards.
    pub(super) fn observe(mut self, walked: Walked) -> Result<Sight, Error> {
        let mut sight = Sight {
            names: self.unknown(&walked.failed),
            failing: walked.failed,
        };
        let mut read = BTreeSet::new();
        for thing in sight.names.values() {
            if let Thing::File(number) = thing {
                self.read_kept(Some(*number), &mut read)?;
            }
        }
        let Some(root) = &walked.root else {
            return Ok(sight);
        };
        for (path, found) in walked.found {
            let thing = match found {
                Found::Directory => Some(Thing::Directory),
                Found::Symlink(target) => Some(Thing::Symlink(target.to_string_lossy().into_owned())),
                Found::File(stat) => {
                    let seen = self.file(root.as_fd(), &path, &stat, &mut read)?;
                    let errno = seen.errno.map(|errno| (path.clone(), errno));
                    sight.failing.extend(errno);
                    seen.number.map(Thing::File)
                }
            };
            sight.names.extend(thing.map(|thing| (path, thing)));
        }
        Ok(sight)
    }

    /// What was in the directories that cannot be looked into now: nobody knows better.
    fn unknown(&self, failed: &Failing) -> Names {
        let is_below = |path: &str| {
            let mut above = path.match_indices('/').map(|(at, _)| &path[..at]);
            failed.contains_key(".") || above.any(|above| failed.contains_key(above))
        };
        let unknown = self.before.names.iter().filter(|(path, _)| is_below(path));
        unknown.map(|(path, thing)| (path.clone(), thing.clone())).collect()
    }

    /// Looks at a file, and copies what changed of it, once a look; `read` are those that were copied.
    fn file(&mut self, root: BorrowedFd<'_>, path: &str, stat: &Stat, read: &mut BTreeSet<u64>) -> Result<Seen, Error> {
        let known = self.files.number(&stat.identity);
        if known.is_none() && !self.globs.is_match(path) {
            return Ok(Seen::of(None));
        }
        let well = |number: &u64| read.contains(number) || self.files.is_up_to_date(*number, stat);
        if !self.before.failing.contains_key(path) && known.as_ref().is_some_and(well) {
            return Ok(Seen::of(known));
        }
        match self.open(root, path) {
            Ok(Some((stat, log))) => self.opened(path, stat, log, read),
            // The next look says what became of it.
            Ok(None) => {
                self.files.doubt(known);
                Ok(Seen::of(known))
            }
            Err(error) => {
                let number = self.number(path, stat)?;
                self.files.doubt(number);
                self.read_kept(number, read)?;
                Ok(Seen::failing(number, &error))
            }
        }
    }

    /// Reads what a file that cannot be opened shows by its handle, once a look.
    fn read_kept(&mut self, number: Option<u64>, read: &mut BTreeSet<u64>) -> Result<(), Error> {
        if let Some(number) = number.filter(|number| !read.contains(number))
            && self.files.read_kept(number)?
        {
            read.insert(number);
        }
        Ok(())
    }

    /// Opens a file; None when there is nothing, or something else, since it was listed.
    fn open(&self, root: BorrowedFd<'_>, path: &str) -> io::Result<Option<(Stat, Box<dyn Log>)>> {
        let opened = self
            .tree
            .open(root, Path::new(path))
            .and_then(|log| Ok((log.stat()?, log)));
        let others = [Errno::NOENT, Errno::LOOP, Errno::NXIO, Errno::NOTDIR, Errno::ISDIR];
        match opened {
            Ok((stat, log)) => Ok(Some((stat, log)).filter(|_| stat.kind == Kind::File)),
            Err(error)
                if others
                    .iter()
                    .any(|other| Some(other.raw_os_error()) == error.raw_os_error()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn opened(&mut self, path: &str, stat: Stat, log: Box<dyn Log>, read: &mut BTreeSet<u64>) -> Result<Seen, Error> {
        let Some(number) = self.number(path, &stat)? else {
            return Ok(Seen::of(None));
        };
        if read.contains(&number) {
            return Ok(Seen::of(Some(number)));
        }
        match self.files.read(number, log, stat, self.at) {
            Ok(()) => {
                read.insert(number);
                Ok(Seen::of(Some(number)))
            }
            Err(Trouble::Copy(error)) => Err(error),
            Err(Trouble::Log(error)) => Ok(Seen::failing(Some(number), &error)),
        }
    }

    /// The number of a file, which it gets if it is a log; None when it is no log and is not recorded.
    fn number(&mut self, path: &str, stat: &Stat) -> Result<Option<u64>, Error> {
        match self.files.number(&stat.identity) {
            None if self.globs.is_match(path) => self.files.begin(&stat.identity).map(Some),
            known => Ok(known),
        }
    }
}

/// Which file was seen, if it is recorded, and why it could not be read, if so.
struct Seen {
    number: Option<u64>,
    errno: Option<&'static str>,
}

impl Seen {
    fn of(number: Option<u64>) -> Self {
        Self { number, errno: None }
    }

    fn failing(number: Option<u64>, error: &io::Error) -> Self {
        Self {
            number,
            errno: number.map(|_| name_of(error)),
        }
    }
}
