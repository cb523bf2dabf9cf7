//! A turn for a path: which handle is read, and what is kept of it.

use std::io;

use rustix::io::Errno;
use ulid::Ulid;

use super::steps::Spot;
use super::table::Key;
use super::{Tailer, Turn};
use crate::error::Error;
use crate::pure::identity::Identity;
use crate::pure::step::Why;
use crate::source::EventSink;
use crate::source::tree::{Kind, Log, Stat};

impl Tailer {
    /// A turn for the file at a path.
    pub(super) fn turn(&mut self, key: &Key, root: usize, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        if self.is_over(key, root) {
            return Ok(Turn::Done);
        }
        let found = self.stat_path(key, root);
        if self.is_told_for_nothing(key, &found) {
            return Ok(Turn::Done);
        }
        let kept = match &found {
            Ok(stat) if stat.kind == Kind::File => self.kept_for(key, root, &stat.identity),
            Err(error) if !is_gone(error) => return Ok(self.look_failed(key, error)),
            Ok(_) | Err(_) => None,
        };
        let log = if let Some(log) = kept {
            log
        } else {
            // What the file of before still holds comes first.
            let shown = found.as_ref().ok().map(|stat| stat.identity);
            let rest = self.rest(key, shown, sink)?;
            if !rest.is_over() {
                return Ok(rest);
            }
            match found {
                Ok(stat) if stat.kind != Kind::File => {
                    self.close_cold(key);
                    return Ok(self.not_known(key, Why::Failed, "it is not a regular file"));
                }
                found => match found.and_then(|_| self.open(key, root)) {
                    Ok(log) => log,
                    Err(error) => {
                        self.close_cold(key);
                        return Ok(self.look_failed(key, &error));
                    }
                },
            }
        };
        let spot = Spot::Path(key.clone(), root);
        let turn = self.follow(&spot, &*log, sink);
        self.keep(key, log, &turn);
        turn
    }

    /// Whether nothing moved of a file of which something was told, and which was not looked at since.
    fn is_told_for_nothing(&mut self, key: &Key, found: &io::Result<Stat>) -> bool {
        let queued = self.queued.get_mut(key);
        if !queued.is_some_and(|queued| std::mem::take(&mut queued.is_told_only)) {
            return false;
        }
        let (now, tracked) = (self.clock.now(), self.tracked_at(key));
        let is_unmoved = |stat| tracked.is_some_and(|tracked| tracked.is_unmoved(stat, now));
        found.as_ref().is_ok_and(is_unmoved)
    }

    /// The kept handle, if it is of the file that the path shows. One that could not be read is opened again
    /// then, if that leads to the same file.
    fn kept_for(&mut self, key: &Key, root: usize, found: &Identity) -> Option<Box<dyn Log>> {
        let id = self.table.here(key.bytes())?;
        let mut log = self.handles.take(id)?;
        let tracked = self.table.get_mut(id)?;
        let (followed, stat) = (tracked.cursor.file.identity, log.stat());
        let shown = stat.as_ref().map_or(followed, |stat| stat.identity);
        if !shown.same(found) {
            self.handles.keep(id, log);
            return None;
        }
        tracked.fails_since = None;
        if (stat.is_err() || tracked.unreadable)
            && let Ok(again) = self.open(key, root)
            && again.stat().is_ok_and(|stat| stat.identity.same(&shown))
        {
            log = again;
        }
        Some(log)
    }

    /// Keeps the handle of a turn, if it is of the file that is followed, and that file is hot or not read to its
    /// end: it may be renamed or removed before its next turn.
    fn keep(&mut self, key: &Key, log: Box<dyn Log>, turn: &Result<Turn, Error>) {
        let Some(id) = self.table.here(key.bytes()) else { return };
        if matches!(turn, Ok(Turn::Done)) && !self.hot.contains(&id) {
            return;
        }
        let followed = self.table.get(id).map(|tracked| tracked.cursor.file.identity);
        let is_it = |stat: Stat| followed.is_some_and(|followed| stat.identity.same(&followed));
        // One that fails was the file's before, unless a better one is kept.
        if log.stat().map_or(!self.handles.holds(id), is_it) {
            self.handles.keep(id, log);
        }
    }

    /// Reads on in the kept handles of the file at a path, which shows something else or nothing, and of the one that
    /// stood there before. One that cannot be read stands in nobody's way: it is followed on as a former file, or given
    /// up after a while.
    pub(super) fn rest(&mut self, key: &Key, shown: Option<Identity>, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let here = self.table.here(key.bytes());
        let former = self.formers_at(key).next();
        for id in here.into_iter().chain(former) {
            let identity = self.table.get(id).map(|tracked| tracked.cursor.file.identity);
            if identity.is_some_and(|identity| shown.is_some_and(|shown| identity.same(&shown))) {
                // It comes back, and is read there.
                continue;
            }
            let turn = self.rest_of(id, sink)?;
            if !turn.is_over() {
                return Ok(turn);
            }
        }
        Ok(Turn::Done)
    }

    fn rest_of(&mut self, id: Ulid, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let Some(log) = self.handles.take(id) else {
            return Ok(Turn::Done);
        };
        if let Some(tracked) = self.table.get_mut(id) {
            // Nobody can come back for what was written since its first look.
            tracked.limit = None;
        }
        let turn = self.follow(&Spot::File(id), &*log, sink);
        // A former file is given up in a turn of its own, which writes down what is left.
        let may_give_up = matches!(turn, Ok(Turn::Unknown | Turn::NoRoom)) && !self.formers.contains(&id);
        if may_give_up && self.has_failed_for_long(id) {
            self.tell_given_up(id);
        } else {
            self.handles.keep(id, log);
        }
        turn
    }

    /// Closes the handle of a file that is cold and was read to its end, and whose path shows nothing that can be
    /// believed: its inode is not held for ever.
    pub(super) fn close_cold(&mut self, key: &Key) {
        if let Some(id) = self.table.here(key.bytes())
            && !self.hot.contains(&id)
            && self.table.get(id).is_some_and(|tracked| tracked.seen.is_some())
        {
            self.handles.take(id);
        }
    }
}

/// Whether the error of a look says that its path does not lead to a file any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let symlink_on_the_way = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    symlink_on_the_way || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
