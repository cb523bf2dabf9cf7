//! The turn of one file: look, step, and do what the step says.

use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::table::{Key, Seen, Tracked};
use super::{Tailer, Turn};
use crate::error::Error;
use crate::limits::{CHANGES_MAX, HOT_WINDOW, REST_PATIENCE, TURN_BYTES};
use crate::pure::identity::Identity;
use crate::pure::record::LogFile;
use crate::pure::step::{Content, Known, Look, Reason, Sight, Step, Why, step};
use crate::show::Shown;
use crate::source::tail::{Cursor, Progress};
use crate::source::tree::{Kind, Log, Stat};
use crate::source::{EventSink, Transition, Verdict};

impl Tailer {
    /// A turn for the file at a path.
    pub(super) fn turn(&mut self, key: &Key, root: usize, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let found = self.stat_path(key, root);
        let kept = match &found {
            Ok(stat) if stat.kind == Kind::File => self.kept_for(key, root, &stat.identity),
            Err(error) if !is_gone(error) => return Ok(self.look_failed(key, error)),
            Ok(_) | Err(_) => None,
        };
        let was_kept = kept.is_some();
        let log = if let Some(log) = kept {
            log
        } else {
            // What the file of before still holds comes first.
            let rest = self.read_rest(key, root, sink)?;
            if rest != Turn::Done {
                return Ok(rest);
            }
            match found {
                Ok(stat) if stat.kind != Kind::File => {
                    return Ok(self.not_known(key, Why::Failed, "it is not a regular file"));
                }
                found => match found.and_then(|_| self.open(key, root)) {
                    Ok(log) => log,
                    Err(error) => return Ok(self.look_failed(key, &error)),
                },
            }
        };
        let turn = self.visit(key, root, &*log, sink);
        self.keep(key, log, was_kept, &turn);
        turn
    }

    /// The kept handle, if it is of the file that the path shows. One that could not be read is opened again
    /// then, if that leads to the same file.
    fn kept_for(&mut self, key: &Key, root: usize, found: &Identity) -> Option<Box<dyn Log>> {
        let mut log = self.handles.take(key)?;
        let tracked = self.files.get_mut(key)?;
        let (followed, stat) = (tracked.cursor.file.identity, log.stat());
        let shown = stat.as_ref().map_or(followed, |stat| stat.identity);
        if !shown.same(found) {
            self.handles.keep(key, log);
            return None;
        }
        (tracked.rest_fails_since, tracked.ends) = (None, false);
        if (stat.is_err() || tracked.unreadable)
            && let Ok(again) = self.open(key, root)
            && again.stat().is_ok_and(|stat| stat.identity.same(&shown))
        {
            log = again;
        }
        Some(log)
    }

    /// Keeps the handle of a turn, if it is of the file that is followed, and that file is hot or not read to its
    /// end: it may be renamed or removed before its next turn. One that `was_kept` need not show again whose it is.
    fn keep(&mut self, key: &Key, log: Box<dyn Log>, was_kept: bool, turn: &Result<Turn, Error>) {
        if matches!(turn, Ok(Turn::Done)) && !self.hot.contains(key) {
            return;
        }
        let Some(tracked) = self.files.get(key) else { return };
        let is_followed = |stat: Stat| stat.identity.same(&tracked.cursor.file.identity);
        if log.stat().map_or(was_kept, is_followed) {
            self.handles.keep(key, log);
        }
    }

    /// Reads on in the kept handle of a file that its path does not show any more.
    ///
    /// One that cannot be read, or has no room for its next line, keeps what follows at its path waiting for a
    /// while, and then is given up.
    pub(super) fn read_rest(&mut self, key: &Key, root: usize, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let Some(log) = self.handles.take(key) else {
            return Ok(Turn::Done);
        };
        if let Some(tracked) = self.files.get_mut(key)
            && !tracked.ends
        {
            // Nobody can come back for what was written since its first look.
            (tracked.ends, tracked.limit) = (true, None);
        }
        let turn = self.visit(key, root, &*log, sink);
        let now = self.clock.now();
        if let Ok(Turn::Unknown | Turn::NoRoom) = turn
            && let Some(tracked) = self.files.get_mut(key)
        {
            let since = *tracked.rest_fails_since.get_or_insert(now);
            if now < since + REST_PATIENCE {
                self.handles.keep(key, log);
                return turn;
            }
            tracked.rest_fails_since = None;
            let (shown, offset) = (Shown::path(&key.0).to_string(), tracked.cursor.offset);
            log::warn!(code = "watcher.rest_given_up", path = shown.as_str(), offset = offset;
                "the file that stood at {shown} cannot be read to its end: what it holds behind offset {offset} is given up");
            return Ok(Turn::Done);
        }
        self.keep(key, log, true, &turn);
        turn
    }

    /// Follows the transition table for one open file until there is nothing to do or its turn is over.
    fn visit(&mut self, key: &Key, root: usize, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let turn = self.follow(key, root, log, sink)?;
        if let Some(tracked) = self.files.get_mut(key) {
            let followed = tracked.cursor.file.identity;
            let is_another = || log.stat().is_ok_and(|stat| !stat.identity.same(&followed));
            tracked.unreadable = turn == Turn::Unknown && !is_another();
            if !matches!(turn, Turn::Unknown | Turn::NoRoom) {
                tracked.rest_fails_since = None;
            }
        }
        Ok(turn)
    }

    fn follow(&mut self, key: &Key, root: usize, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let (mut worked, mut changes) = (0, 0);
        loop {
            if worked >= TURN_BYTES {
                return Ok(Turn::More);
            }
            if changes > CHANGES_MAX {
                return Ok(self.not_known(key, Why::Failed, "it changes faster than it can be read"));
            }
            let stat = match log.stat() {
                Ok(stat) if stat.kind == Kind::File => stat,
                Ok(_) => return Ok(self.not_known(key, Why::Failed, "it is not a regular file")),
                Err(error) => return Ok(self.look_failed(key, &error)),
            };
            let limit = self.limit(key, &stat);
            let look = match self.look(key, root, log, &stat) {
                Ok(look) => look,
                Err(error) => return Ok(self.look_failed(key, &error)),
            };
            let known = self
                .files
                .get(key)
                .map_or(Known::Nothing, |tracked| Known::Followed(tracked.cursor.position()));
            match step(known, look) {
                Step::Wait => match look {
                    Look::Unknown(why) => return Ok(self.not_known(key, why, "it is on another device than before")),
                    // It shrank between `fstat` and the read.
                    Look::Present(_) | Look::Absent => changes += 1,
                },
                Step::Stay | Step::Delete => {
                    self.caught_up(key, &stat);
                    return Ok(Turn::Done);
                }
                Step::New => {
                    if self.begin(key, root, &stat, None, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Rotate | Step::Truncate(_) if self.changes_too_fast(key) => {
                    return Ok(self.not_known(key, Why::Failed, "it is rewritten faster than it can be read"));
                }
                Step::Rotate => {
                    let old = self.files.get(key).map(|tracked| Arc::clone(&tracked.cursor.file));
                    if self.begin(key, root, &stat, old, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Truncate(reason) => {
                    if self.truncate(key, reason, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Withdraw => {
                    if let Some(tracked) = self.files.get_mut(key) {
                        tracked.cursor.tail = None;
                        tracked.cursor.size_seen = stat.size;
                    }
                }
                Step::Append => {
                    let Some(tracked) = self.files.get_mut(key) else {
                        return Ok(Turn::Done);
                    };
                    tracked.tell_large_growth(&stat);
                    let before = tracked.cursor.offset;
                    let progress = tracked.cursor.take(log, limit, &mut self.fetched, sink)?;
                    let taken = tracked.cursor.offset.saturating_sub(before);
                    // The search for the end of a long line takes nothing and is work all the same.
                    self.worked_bytes += if let Progress::Worked(bytes) = progress {
                        bytes
                    } else {
                        taken
                    };
                    match progress {
                        Progress::CaughtUp => {
                            self.caught_up(key, &stat);
                            return Ok(Turn::Done);
                        }
                        Progress::Worked(bytes) => worked += bytes,
                        Progress::Refused => return Ok(Turn::Refused),
                        Progress::NoRoom(length) => return Ok(self.no_room(key, length)),
                        Progress::Changed => changes += 1,
                        Progress::Failed(cause) => return Ok(self.look_failed(key, &cause)),
                    }
                }
            }
        }
    }

    /// Looks at an open file, with the cursor of its path if there is one.
    pub(super) fn look(&mut self, key: &Key, root: usize, log: &dyn Log, stat: &Stat) -> io::Result<Look> {
        if let Some(tracked) = self.files.get_mut(key) {
            let ours = tracked.cursor.file.identity.device;
            let theirs = stat.identity.device;
            if ours != theirs {
                let known = self.adopted.get(&(root, ours)) == Some(&theirs);
                // Before the first line there is nothing that could be captured twice.
                let free = tracked.cursor.offset == 0;
                if !known && !free {
                    let fits = stat.size >= tracked.cursor.offset;
                    if !fits || tracked.cursor.compare(log, &mut self.fetched)? != Content::Holds {
                        return Ok(Look::Unknown(Why::OtherDevice));
                    }
                    self.adopted.insert((root, ours), theirs);
                }
                tracked.cursor.move_to_device(theirs);
            }
            return tracked.cursor.look(log, stat, &mut self.fetched);
        }
        Ok(Look::Present(Sight {
            identity: stat.identity,
            size: stat.size,
            content: Content::NotCompared,
        }))
    }

    /// Up to which size the file is read: all of it, or with `once` what its first look showed.
    pub(super) fn limit(&mut self, key: &Key, stat: &Stat) -> u64 {
        match self.files.get_mut(key) {
            Some(tracked) if self.once => *tracked.limit.get_or_insert(stat.size),
            _ => u64::MAX,
        }
        .min(stat.size)
    }

    /// Follows a file from its start: a new one, or one that stands where `old` stood.
    pub(super) fn begin(
        &mut self,
        key: &Key,
        root: usize,
        stat: &Stat,
        old: Option<Arc<LogFile>>,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let file = Arc::new(LogFile {
            file_id: self.ids.fresh(self.clock.unix_ms()),
            epoch: 0,
            path: Arc::clone(&key.0),
            identity: stat.identity,
            agent: self.roots[root].root.spec.agent.clone(),
        });
        let mtime = stat.mtime.timestamp();
        let transition = match old {
            None => Transition::New { mtime },
            Some(old) => Transition::Rotate { old, mtime },
        };
        if sink.transition(&file, &transition)? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        let mut tracked = Tracked::new(Cursor::at_start(file), root);
        (tracked.sweep, tracked.size) = (self.sweep, stat.size);
        tracked.changes = self.files.get(key).map_or(0, |old| old.changes + 1);
        self.files.insert(key.clone(), tracked);
        self.handles.take(key);
        Ok(Verdict::Taken)
    }

    pub(super) fn truncate(&mut self, key: &Key, reason: Reason, sink: &mut dyn EventSink) -> Result<Verdict, Error> {
        let Some(tracked) = self.files.get_mut(key) else {
            return Ok(Verdict::Taken);
        };
        let before = &tracked.cursor;
        let file = Arc::new(LogFile {
            epoch: before.file.epoch + 1,
            ..(*before.file).clone()
        });
        let was = before.offset;
        if sink.transition(&file, &Transition::Truncate { reason, was })? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        tracked.cursor = Cursor::at_start(file);
        tracked.limit = None;
        tracked.changes += 1;
        tracked.large_growth_told = false;
        Ok(Verdict::Taken)
    }

    /// Whether `--once` would come to no end with a file.
    fn changes_too_fast(&self, key: &Key) -> bool {
        self.once && self.files.get(key).is_some_and(|tracked| tracked.changes > CHANGES_MAX)
    }

    /// Remembers what was seen, and whether the file is hot.
    pub(super) fn caught_up(&mut self, key: &Key, stat: &Stat) {
        self.unknown.remove(&*key.0);
        let now = self.clock.now();
        let age = self.clock.utc().duration_since(stat.mtime.timestamp());
        let Some(tracked) = self.files.get_mut(key) else { return };
        let seen = Seen::from(stat);
        let moved = tracked.seen.is_some_and(|before| before != seen);
        let recent = age.unsigned_abs() < HOT_WINDOW;
        (tracked.cursor.size_seen, tracked.size) = (stat.size, stat.size);
        tracked.seen = Some(seen);
        if !tracked.ends {
            tracked.changes = 0;
        }
        if moved || recent {
            tracked.hot_until = Some(now + HOT_WINDOW);
            self.hot.insert(key.clone());
        }
    }
}

/// Whether the error of a look says that its path does not lead to a file any more.
pub(super) fn is_gone(error: &io::Error) -> bool {
    let symlink_on_the_way = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
    symlink_on_the_way || matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
