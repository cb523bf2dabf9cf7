//! Whose inode a path shows.

use std::io;

use ulid::Ulid;

use super::Tailer;
use super::repeats::Answer;
use super::table::Key;
use super::turn::is_gone;
use crate::error::Error;
use crate::limits::FORERUNNERS_MAX;
use crate::pure::identity::Identity;
use crate::pure::step::{Content, Known, Look, Sight, Why};
use crate::source::EventSink;
use crate::source::tree::{Log, Stat};

/// A look at an open file, and the known file that it is about, if that is not the one at its path.
pub(super) enum Looked {
    Look(Look, Option<Ulid>),
    /// There is more to hash before anything can be said.
    More,
    Refused,
    Failed(io::Error),
}

impl Tailer {
    /// What we know of a path.
    pub(super) fn known(&self, key: &Key) -> Known {
        if !self.table.at.contains(key.bytes()) {
            return Known::Nothing;
        }
        match self.tracked_at(key) {
            Some(tracked) if !self.is_leaving(key) => Known::Followed(tracked.cursor.position()),
            _ => Known::Left,
        }
    }

    /// Whether the inode of the file at a path stands elsewhere.
    pub(super) fn is_leaving(&self, key: &Key) -> bool {
        self.table.here(key.bytes()).is_some_and(|id| self.is_moving(id))
    }

    /// Whether the inode of a file was found at another path, and not at its own, and still stands there as its own.
    pub(super) fn is_moving(&self, id: Ulid) -> bool {
        let found = self.elsewhere.get(&id).filter(|_| self.table.has_its_inode(id));
        let Some((key, root)) = found else {
            return false;
        };
        let cursor = self.table.cursor(id);
        cursor.is_some_and(|cursor| self.shows(key, *root, &cursor.file.identity))
    }

    /// Whether a path shows an inode now.
    pub(super) fn shows(&self, key: &Key, root: usize, identity: &Identity) -> bool {
        let found = self.stat_path(key, root);
        found.is_ok_and(|found| found.identity.same(identity))
    }

    /// Looks at the open file at a path.
    pub(super) fn look_at(
        &mut self,
        key: &Key,
        root: usize,
        log: &dyn Log,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Looked, Error> {
        // A file whose inode became another's is nowhere, whatever its path shows.
        if let Some(id) = self.table.here(key.bytes()).filter(|id| self.table.has_its_inode(*id)) {
            match self.is_other_device(id, root, log, stat) {
                Ok(false) => {}
                Ok(true) => return Ok(Looked::Look(Look::Unknown(Why::OtherDevice), None)),
                Err(cause) => return Ok(Looked::Failed(cause)),
            }
            let cursor = self.table.cursor(id);
            if cursor.is_some_and(|cursor| cursor.file.identity.same(&stat.identity)) {
                // Wherever else it was found, it is here.
                self.elsewhere.remove(&id);
                return Ok(self.look_at_ours(id, log, stat));
            }
        }
        self.look_at_another(key, log, stat, sink)
    }

    /// Looks at the open file that a cursor follows, whatever its path shows.
    pub(super) fn look_at_ours(&mut self, id: Ulid, log: &dyn Log, stat: &Stat) -> Looked {
        let Some(cursor) = self.table.cursor(id) else {
            return Looked::Look(Look::Unknown(Why::Vanished), None);
        };
        let mut sight = Sight {
            size: stat.size,
            content: Content::NotCompared,
        };
        if !cursor.file.identity.same(&stat.identity) {
            // The handle of another file: nobody can say anything of ours.
            return Looked::Look(Look::Unknown(Why::Failed), None);
        }
        if stat.size >= cursor.end() {
            match cursor.compare(log, &mut self.fetched) {
                Ok(content) => sight.content = content,
                Err(cause) => return Looked::Failed(cause),
            }
        }
        Looked::Look(Look::Ours(sight), Some(id))
    }

    /// Whether the file at a path is on another device than the one we know, and its content is not the one we know.
    fn is_other_device(&mut self, id: Ulid, root: usize, log: &dyn Log, stat: &Stat) -> io::Result<bool> {
        let Some(tracked) = self.table.get(id) else {
            return Ok(false);
        };
        let (ours, theirs) = (tracked.cursor.file.identity.device, stat.identity.device);
        if ours == theirs {
            return Ok(false);
        }
        let known = self.adopted.get(&(root, ours)) == Some(&theirs);
        // Before the first line there is nothing that could be captured twice.
        let free = tracked.cursor.offset == 0;
        if !known && !free {
            let fits = stat.size >= tracked.cursor.end();
            if !fits || tracked.cursor.compare(log, &mut self.fetched)? != Content::Holds {
                return Ok(true);
            }
            self.adopted.insert((root, ours), theirs);
        }
        self.table.move_to_device(id, theirs);
        Ok(false)
    }

    /// The path shows an inode that is not its cursor's.
    fn look_at_another(
        &mut self,
        key: &Key,
        log: &dyn Log,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Looked, Error> {
        if let Some(id) = self.table.by_inode(&stat.identity) {
            match self.whose(id, log, stat) {
                Ok(Look::Nobodys) => {}
                Ok(look) => return Ok(Looked::Look(look, Some(id))),
                Err(cause) => return Ok(Looked::Failed(cause)),
            }
        }
        let forerunners = match self.forerunners(key) {
            Ok(forerunners) => forerunners,
            Err(cause) => return Ok(Looked::Failed(cause)),
        };
        for (id, look) in forerunners {
            match self.repeats(key, id, log, stat, sink)? {
                Answer::Yes => return Ok(Looked::Look(look, Some(id))),
                Answer::No => {}
                Answer::More => return Ok(Looked::More),
                Answer::Refused => return Ok(Looked::Refused),
                Answer::Failed(cause) => return Ok(Looked::Failed(cause)),
            }
        }
        Ok(Looked::Look(Look::Nobodys, None))
    }

    /// What the inode of a known file means at a path that is not its own.
    fn whose(&mut self, id: Ulid, log: &dyn Log, stat: &Stat) -> io::Result<Look> {
        if let Some(tracked) = self.table.get(id)
            && !self.formers.contains(&id)
        {
            if self.roots[tracked.root].directory.is_none() {
                return Err(io::Error::other("it may be below a root that is not there"));
            }
            match self.stat_path(&tracked.key(), tracked.root) {
                Ok(found) if found.identity.same(&stat.identity) => return Ok(Look::Linked),
                Err(error) if !is_gone(&error) => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
        let Some(cursor) = self.table.cursor(id) else {
            return Ok(Look::Nobodys);
        };
        if stat.size < cursor.end() || cursor.compare(log, &mut self.fetched)? != Content::Holds {
            return Ok(Look::Nobodys);
        }
        let is_gone = self.table.get(id).is_none();
        Ok(if is_gone { Look::Returned } else { Look::Moved })
    }

    /// The files that a new inode at a path may go on with, the youngest first: the one that stands there and those
    /// that stood there before, as far as their inodes are gone for good.
    fn forerunners(&mut self, key: &Key) -> io::Result<Vec<(Ulid, Look)>> {
        let here = self.table.here(key.bytes());
        let formers = self.formers_at(key);
        // One whose own inode was found comes back there.
        let is_away = |id: &Ulid| !self.is_moving(*id);
        let gone = self.table.gone_at(key.bytes()).filter(is_away);
        let asked: Vec<_> = here
            .into_iter()
            .chain(formers)
            .chain(gone)
            .take(FORERUNNERS_MAX)
            .collect();
        let mut all = Vec::new();
        for id in asked {
            if self.is_gone_for_good(id)? {
                let stands = here == Some(id);
                all.push((id, if stands { Look::Successor } else { Look::Returned }));
            }
        }
        Ok(all)
    }
}
