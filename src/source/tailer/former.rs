//! Following on: what is still written to a file that its path does not show any more, and the end of that.

use std::io;

use ulid::Ulid;

use super::steps::Spot;
use super::table::Key;
use super::turn::is_gone;
use super::whereabouts::Whereabouts;
use super::{Job, Tailer, Turn};
use crate::error::Error;
use crate::limits::{DRAIN_QUIET, FRAGMENT_BYTES_MAX, LAST_TURNS_MAX, REST_PATIENCE};
use crate::show::Shown;
use crate::source::tree::{Log, read_full};
use crate::source::{EventSink, Fact, SettleVerdict, Verdict};

impl Tailer {
    /// The path of a file does not show it any more.
    pub(super) fn leave(&mut self, id: Ulid) {
        let now = self.clock.now();
        let Some(tracked) = self.table.get_mut(id) else { return };
        // Nobody can come back for what was written since its first look.
        (tracked.limit, tracked.quiet_since) = (None, now);
        self.hot.remove(&id);
        self.add_former(id);
        self.queue_former(id);
    }

    /// A file is followed on from here, by its handle or by its inode.
    pub(super) fn add_former(&mut self, id: Ulid) {
        if let Some(tracked) = self.table.get(id) {
            self.former_at.entry(tracked.key()).or_default().push(id);
            self.formers.insert(id);
        }
    }

    /// The files that left a path, are followed on and were not found elsewhere, the last one first.
    pub(super) fn formers_at(&self, key: &Key) -> impl Iterator<Item = Ulid> {
        let there = self.former_at.get(key).into_iter().flatten().rev();
        there.copied().filter(|id| !self.is_moving(*id))
    }

    /// A file is followed at a path again, or not any more.
    pub(super) fn no_former(&mut self, id: Ulid) {
        self.formers.remove(&id);
        if let Some(tracked) = self.table.get(id) {
            let key = tracked.key();
            if let Some(there) = self.former_at.get_mut(&key) {
                there.retain(|other| *other != id);
                if there.is_empty() {
                    self.former_at.remove(&key);
                }
            }
        }
    }

    /// Reads on in a former file, and ends following it when that is due.
    pub(super) fn former_turn(&mut self, id: Ulid, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        if !self.formers.contains(&id) {
            return Ok(Turn::Done);
        }
        let log = match self.handles.take(id) {
            Some(log) => log,
            None => match self.whereabouts(id) {
                Whereabouts::Found(log) => log,
                Whereabouts::Nowhere => return self.close(id, None, false, sink),
                Whereabouts::Unknown(cause) => return Ok(self.former_not_known(id, &cause.to_string())),
            },
        };
        let turn = self.follow(&Spot::File(id), &*log, sink)?;
        if matches!(turn, Turn::Unknown | Turn::NoRoom) && self.has_failed_for_long(id) {
            return self.give_up(id, log, sink);
        }
        if turn == Turn::Done && self.is_to_end(id, &*log) {
            return self.close_or_keep(id, log, false, sink);
        }
        self.handles.keep(id, log);
        Ok(turn)
    }

    /// Whether following a file that was read to its end is over.
    fn is_to_end(&self, id: Ulid, log: &dyn Log) -> bool {
        let Some(tracked) = self.table.get(id) else { return true };
        let is_quiet = self.clock.now() >= tracked.quiet_since + DRAIN_QUIET;
        tracked.ends || (is_quiet && log.stat().is_ok_and(|stat| stat.links > 0))
    }

    fn close_or_keep(
        &mut self,
        id: Ulid,
        log: Box<dyn Log>,
        given_up: bool,
        sink: &mut dyn EventSink,
    ) -> Result<Turn, Error> {
        let turn = self.close(id, Some(&*log), given_up, sink)?;
        if !turn.is_over() {
            self.handles.keep(id, log);
        }
        Ok(turn)
    }

    /// Whether a file could not be read for so long that it is given up.
    pub(super) fn has_failed_for_long(&mut self, id: Ulid) -> bool {
        let now = self.clock.now();
        let Some(tracked) = self.table.get_mut(id) else {
            return true;
        };
        now >= *tracked.fails_since.get_or_insert(now) + REST_PATIENCE
    }

    fn give_up(&mut self, id: Ulid, log: Box<dyn Log>, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        self.tell_given_up(id);
        self.close_or_keep(id, log, true, sink)
    }

    pub(super) fn tell_given_up(&self, id: Ulid) {
        if let Some(tracked) = self.table.get(id) {
            let (shown, offset) = (
                Shown::path(&tracked.cursor.file.path).to_string(),
                tracked.cursor.offset,
            );
            log::warn!(code = "watcher.rest_given_up", path = shown.as_str(), offset = offset;
                "the file that stood at {shown} cannot be read to its end: what it holds behind offset {offset} is given up");
        }
    }

    /// Following a file ends: its last line is captured if it is whole, else written down as a fragment. One that
    /// is `given_up` need not be readable.
    fn close(
        &mut self,
        id: Ulid,
        log: Option<&dyn Log>,
        given_up: bool,
        sink: &mut dyn EventSink,
    ) -> Result<Turn, Error> {
        let Some(tracked) = self.table.get_mut(id) else {
            return Ok(Turn::Done);
        };
        let size = log
            .and_then(|log| log.stat().ok())
            .map_or(tracked.size, |stat| stat.size);
        let mut left = size.saturating_sub(tracked.cursor.end());
        let mut fragment = Vec::new();
        match log.filter(|_| left > 0) {
            None => left = tracked.left_behind(size),
            Some(log) => {
                match tracked.settle_rest(log, size, sink)? {
                    SettleVerdict::Refused => return Ok(Turn::Refused),
                    SettleVerdict::Changed if !given_up => return Ok(Turn::More),
                    SettleVerdict::Taken(_) | SettleVerdict::Known => left = 0,
                    SettleVerdict::Waits | SettleVerdict::NoRoom | SettleVerdict::Changed => {}
                }
                fragment = read_fragment(log, tracked.cursor.end(), left).unwrap_or_default();
            }
        }
        let cursor = &tracked.cursor;
        let is_read = cursor.suffix.is_none() && fragment.len() as u64 == left.min(FRAGMENT_BYTES_MAX as u64);
        let was_seen = log.is_some() || tracked.seen.is_some() || tracked.shown > 0;
        let fact = Fact::Closed {
            file: &cursor.file,
            offset: cursor.offset,
            fragment: &fragment,
            fragment_length: if fragment.is_empty() { 0 } else { left },
            unread: was_seen.then(|| if is_read { 0 } else { left + cursor.read_again_bytes() }),
        };
        if sink.fact(&fact)? == Verdict::Refused {
            return Ok(Turn::Refused);
        }
        self.forget(id);
        Ok(Turn::Done)
    }

    /// A file is gone: only its cursor is kept, since it may come back.
    fn forget(&mut self, id: Ulid) {
        self.no_former(id);
        self.hot.remove(&id);
        self.handles.take(id);
        if let Some(tracked) = self.table.take(id) {
            let key = tracked.key();
            // What is there now and cannot be looked at is another's.
            if self.stat_path(&key, tracked.root).is_err_and(|error| is_gone(&error)) {
                self.unknown.remove(&*key.0);
            }
            self.table.bury(tracked.cursor);
        }
    }

    /// Closes the handles that are too many, of those that have been quiet longest first. What is followed by nothing
    /// else is read to its end before.
    pub(super) fn end_surplus(&mut self) {
        for id in self.handles.surplus() {
            match self.table.get_mut(id) {
                Some(tracked) if self.formers.contains(&id) => {
                    // Before anything else is opened. One that cannot end now has its turn at the next look.
                    if !std::mem::replace(&mut tracked.ends, true) {
                        self.queued_formers.insert(id);
                        self.work.push_front(Job::Former(id));
                    }
                }
                _ => drop(self.handles.take(id)),
            }
        }
    }

    /// Ends the following of files that have no name any more: no later run could find them.
    pub fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error> {
        let nameless = |id: &Ulid| {
            let log = self.handles.get(*id);
            log.is_some_and(|log| log.stat().is_ok_and(|stat| stat.links == 0))
        };
        let nameless: Vec<_> = self.formers.iter().copied().filter(nameless).collect();
        for id in nameless {
            if let Some(tracked) = self.table.get_mut(id) {
                tracked.ends = true;
            }
            // A writer that is faster than we are is left behind: the next start says what nobody read.
            let mut turns = 0;
            while self.former_turn(id, sink)? == Turn::More && turns < LAST_TURNS_MAX {
                turns += 1;
            }
        }
        self.table.count();
        Ok(())
    }
}

/// The beginning of an unfinished line of `length` bytes.
fn read_fragment(log: &dyn Log, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let wanted = usize::try_from(length).map_or(FRAGMENT_BYTES_MAX, |length| length.min(FRAGMENT_BYTES_MAX));
    let mut bytes = vec![0; wanted];
    let read = read_full(log, &mut bytes, offset)?;
    bytes.truncate(read);
    Ok(bytes)
}
