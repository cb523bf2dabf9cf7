//! A visit of one open file: look, step, and do what the step says, until there is nothing to do.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::cut::Cut;
use super::table::Key;
use super::tracked::{Seen, Tracked};
use super::whose::Looked;
use super::{Tailer, Turn};
use crate::error::Error;
use crate::limits::{CHANGES_MAX, HOT_WINDOW, RACY, TURN_BYTES};
use crate::pure::rare::Rare;
use crate::pure::step::{Known, Look, Reason, Step, Why, step};
use crate::source::tail::Progress;
use crate::source::tree::{Kind, Log, Stat};
use crate::source::{EventSink, Fact, SettleVerdict, Verdict};

/// What is visited.
pub(super) enum Spot {
    /// Whatever stands at a path.
    Path(Key, usize),
    /// A file that is followed, by its handle, whatever its path shows.
    File(Ulid),
}

/// One look of a visit: where, at which open file, and what that says of itself.
#[derive(Clone, Copy)]
struct Visit<'a> {
    spot: &'a Spot,
    log: &'a dyn Log,
    stat: &'a Stat,
    /// When the look began.
    at: Timestamp,
}

/// What one step of a visit came to.
enum Went {
    /// This many bytes were worked through; look again.
    On(u64),
    /// The file changed under the reading, so many times at most; look again.
    Changed,
    Over(Turn),
}

impl From<Verdict> for Went {
    /// A transition was offered: look again, unless it was refused.
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Taken => Self::On(0),
            Verdict::Refused => Self::Over(Turn::Refused),
        }
    }
}

impl Tailer {
    /// Follows the transition table for one open file until there is nothing to do or its turn is over.
    pub(super) fn follow(&mut self, spot: &Spot, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let turn = self.steps(spot, log, sink)?;
        if let Some(id) = self.file_of(spot)
            && let Some(tracked) = self.table.get_mut(id)
        {
            let followed = tracked.cursor.file.identity;
            let is_another = || log.stat().is_ok_and(|stat| !stat.identity.same(&followed));
            tracked.unreadable = turn == Turn::Unknown && !is_another();
            if !matches!(turn, Turn::Unknown | Turn::NoRoom) {
                tracked.fails_since = None;
            }
        }
        Ok(turn)
    }

    fn steps(&mut self, spot: &Spot, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let (mut worked, mut changes) = (0, 0);
        loop {
            if worked >= TURN_BYTES {
                return Ok(Turn::More);
            }
            if changes > CHANGES_MAX {
                return Ok(self.not_known_at(spot, "it changes faster than it can be read"));
            }
            match self.one_step(spot, log, sink)? {
                Went::On(bytes) => worked += bytes,
                Went::Changed => changes += 1,
                Went::Over(turn) => return Ok(turn),
            }
        }
    }

    /// One look and the step that it means.
    fn one_step(&mut self, spot: &Spot, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Went, Error> {
        let at = self.clock.utc();
        let stat = match log.stat() {
            Ok(stat) if stat.kind == Kind::File => stat,
            Ok(_) => return Ok(Went::Over(self.not_known_at(spot, "it is not a regular file"))),
            Err(error) => return Ok(Went::Over(self.look_failed_at(spot, &error))),
        };
        let stat = &stat;
        let visit = Visit { spot, log, stat, at };
        let looked = match spot {
            Spot::Path(key, root) => self.look_at(key, *root, log, stat, sink)?,
            Spot::File(id) => self.look_at_ours(*id, log, stat),
        };
        let (look, whom) = match looked {
            Looked::Look(look, whom) => (look, whom),
            Looked::More => return Ok(self.hashes_on()),
            Looked::Refused => return Ok(Went::Over(Turn::Refused)),
            Looked::Failed(error) => return Ok(Went::Over(self.look_failed_at(spot, &error))),
        };
        let next = step(self.known_at(spot), look);
        if matches!(next, Step::Rotate | Step::Replace | Step::Succeed | Step::Truncate(_))
            && self.changes_too_fast(spot)
        {
            return Ok(Went::Over(
                self.not_known_at(spot, "it is rewritten faster than it can be read"),
            ));
        }
        match (next, spot, whom) {
            (Step::Wait, _, _) => Ok(self.wait_at(spot, look)),
            (Step::Append, _, Some(id)) => self.append(visit, id, sink),
            (Step::Stay, _, Some(id)) => self.at_end(visit, id, sink),
            (Step::Withdraw, _, Some(id)) => {
                if let Some(tracked) = self.table.get_mut(id) {
                    tracked.cursor.tail = Rare::default();
                    tracked.cursor.size_seen = stat.size;
                }
                Ok(Went::On(0))
            }
            (Step::Truncate(reason), _, Some(id)) => self.went_after_cut(visit, id, reason, sink),
            (Step::New | Step::Rotate, Spot::Path(key, root), _) => {
                self.begin(key, *root, log, stat, sink).map(Went::from)
            }
            (Step::Resume | Step::Replace, Spot::Path(key, root), Some(id)) => {
                self.resume_at(key, *root, id, stat, sink).map(Went::from)
            }
            (Step::Succeed, Spot::Path(key, _), Some(id)) => self.succeed(key, id, stat, sink).map(Went::from),
            (Step::Link, Spot::Path(key, _), Some(id)) => self.link(key, id, stat, sink),
            (Step::Delete, Spot::Path(key, _), _) => self.delete(key, sink).map(Went::from),
            // A file that is visited by its handle is its own; nothing else is known of it.
            _ => Ok(Went::Over(self.not_known_at(spot, "nothing can be said of it"))),
        }
    }

    fn wait_at(&mut self, spot: &Spot, look: Look) -> Went {
        match look {
            Look::Unknown(Why::OtherDevice) => {
                let Spot::Path(key, _) = spot else {
                    return Went::Over(Turn::Unknown);
                };
                Went::Over(self.not_known(key, Why::OtherDevice, ""))
            }
            Look::Unknown(_) => Went::Over(self.not_known_at(spot, "its handle is not its own")),
            // It shrank between `fstat` and the read, or what is known changed.
            _ => Went::Changed,
        }
    }

    /// Reads on, up to a turn.
    fn append(&mut self, visit: Visit<'_>, id: Ulid, sink: &mut dyn EventSink) -> Result<Went, Error> {
        let Visit { spot, log, stat, .. } = visit;
        let once = self.once;
        let Some(tracked) = self.table.get_mut(id) else {
            return Ok(Went::Over(Turn::Done));
        };
        // With `once` a file is read up to what its first look showed, unless nobody can come back for it.
        let is_former = self.formers.contains(&id);
        let limit = match spot {
            Spot::Path(..) if once && !is_former => *tracked.limit.get_or_insert(stat.size),
            Spot::Path(..) | Spot::File(_) => u64::MAX,
        };
        tracked.tell_large_growth(stat);
        tracked.cursor.mtime = stat.mtime.timestamp();
        let before = tracked.cursor.offset;
        let progress = tracked
            .cursor
            .take(log, limit.min(stat.size), &mut self.fetched, sink)?;
        let taken = tracked.cursor.offset.saturating_sub(before);
        // The search for the end of a long line takes nothing and is work all the same.
        self.worked_bytes += if let Progress::Worked(bytes) = progress {
            bytes
        } else {
            taken
        };
        Ok(match progress {
            Progress::CaughtUp => return self.at_end(visit, id, sink),
            Progress::Worked(bytes) => Went::On(bytes),
            Progress::Refused => Went::Over(Turn::Refused),
            Progress::NoRoom(length) => Went::Over(self.no_room(id, length)),
            Progress::Changed => Went::Changed,
            Progress::Misfit => return self.went_after_cut(visit, id, Reason::Rewritten, sink),
            Progress::Failed(cause) => Went::Over(self.look_failed_at(spot, &cause)),
        })
    }

    fn went_after_cut(
        &mut self,
        visit: Visit<'_>,
        id: Ulid,
        reason: Reason,
        sink: &mut dyn EventSink,
    ) -> Result<Went, Error> {
        Ok(match self.cut(id, reason, visit.log, visit.stat, sink)? {
            Cut::Done => Went::Changed,
            Cut::More => self.hashes_on(),
            Cut::Refused => Went::Over(Turn::Refused),
            Cut::Failed(cause) => Went::Over(self.look_failed_at(visit.spot, &cause)),
        })
    }

    /// There is more of a chain to hash: that was as much work as a turn of reading.
    fn hashes_on(&mut self) -> Went {
        self.worked_bytes += TURN_BYTES;
        Went::Over(Turn::More)
    }

    /// Another name of a file that is followed: noted once.
    fn link(&mut self, key: &Key, id: Ulid, stat: &Stat, sink: &mut dyn EventSink) -> Result<Went, Error> {
        if let Some(cursor) = self.table.cursor(id) {
            let fact = Fact::Linked {
                file: &cursor.file,
                path: &key.0,
                identity: stat.identity,
            };
            let is_noted = self.links.get(key).is_some_and(|(known, _)| known.same(&stat.identity));
            if !is_noted && sink.fact(&fact)? == Verdict::Refused {
                return Ok(Went::Over(Turn::Refused));
            }
        }
        self.links.insert(key.clone(), (stat.identity, self.walk));
        let stood_here = self.table.here(key.bytes());
        self.table.at.remove(key);
        if let Some(left) = stood_here {
            self.leave(left);
        }
        self.unknown.remove(&*key.0);
        Ok(Went::Over(Turn::Done))
    }

    /// Everything that is complete was taken: the last line may be whole without its newline.
    fn at_end(&mut self, visit: Visit<'_>, id: Ulid, sink: &mut dyn EventSink) -> Result<Went, Error> {
        let Visit { spot, log, stat, at } = visit;
        self.caught_up(id, stat, at);
        if let (Spot::Path(..), Some(tracked)) = (spot, self.table.get_mut(id)) {
            tracked.changes = 0;
        }
        let (now, once) = (self.clock.now(), self.once);
        let Some(tracked) = self.table.get_mut(id) else {
            return Ok(Went::Over(Turn::Done));
        };
        let may_settle = tracked.may_settle(now) || (once && tracked.has_untried_tail());
        let end = tracked.limit.map_or(stat.size, |limit| limit.min(stat.size));
        if !may_settle || end <= tracked.cursor.offset {
            tell_caught_up(tracked, sink);
            return Ok(Went::Over(Turn::Done));
        }
        tracked.cursor.mtime = stat.mtime.timestamp();
        let verdict = tracked.cursor.settle(log, end, sink)?;
        if let SettleVerdict::Taken(_) | SettleVerdict::Known | SettleVerdict::Waits = verdict {
            tracked.settle_tried = tracked.seen.into();
            tell_caught_up(tracked, sink);
        }
        Ok(match verdict {
            SettleVerdict::Taken(_) | SettleVerdict::Known | SettleVerdict::Waits => Went::Over(Turn::Done),
            SettleVerdict::Changed => Went::Changed,
            SettleVerdict::Refused => Went::Over(Turn::Refused),
            SettleVerdict::NoRoom => {
                let length = end - tracked.cursor.offset;
                Went::Over(self.no_room(id, length))
            }
        })
    }

    fn known_at(&self, spot: &Spot) -> Known {
        match spot {
            Spot::Path(key, _) => self.known(key),
            Spot::File(id) => {
                let position = self.table.get(*id).map(|tracked| tracked.cursor.position());
                position.map_or(Known::Nothing, Known::Followed)
            }
        }
    }

    /// The file that is followed at a spot.
    fn file_of(&self, spot: &Spot) -> Option<Ulid> {
        match spot {
            Spot::Path(key, _) => self.table.here(key.bytes()),
            Spot::File(id) => Some(*id),
        }
    }

    fn not_known_at(&mut self, spot: &Spot, cause: &str) -> Turn {
        match (spot, self.path_of(spot)) {
            (_, Some(key)) => self.not_known(&key, Why::Failed, cause),
            (Spot::File(id), None) => self.former_not_known(*id, cause),
            (Spot::Path(..), None) => Turn::Unknown,
        }
    }

    fn look_failed_at(&mut self, spot: &Spot, error: &io::Error) -> Turn {
        match (spot, self.path_of(spot)) {
            (_, Some(key)) => self.look_failed(&key, error),
            (Spot::File(id), None) => self.former_not_known(*id, &error.to_string()),
            (Spot::Path(..), None) => Turn::Unknown,
        }
    }

    /// The path that a visit is about; None for a former file.
    fn path_of(&self, spot: &Spot) -> Option<Key> {
        match spot {
            Spot::Path(key, _) => Some(key.clone()),
            Spot::File(id) => {
                let followed = self.table.get(*id).filter(|_| !self.formers.contains(id));
                followed.map(Tracked::key)
            }
        }
    }

    /// Whether `--once` would come to no end with a file.
    fn changes_too_fast(&self, spot: &Spot) -> bool {
        let tracked = self.file_of(spot).and_then(|id| self.table.get(id));
        self.once && tracked.is_some_and(|tracked| tracked.changes > CHANGES_MAX)
    }

    /// Remembers what was seen, whether the file is hot, and whether it must be checked once more.
    fn caught_up(&mut self, id: Ulid, stat: &Stat, looked_at: Timestamp) {
        let now = self.clock.now();
        let Some(tracked) = self.table.get_mut(id) else { return };
        let seen = Seen::from(stat);
        let moved = tracked.seen != Some(seen);
        let is_news = moved && tracked.seen.is_some();
        let age = looked_at.duration_since(stat.mtime.timestamp()).unsigned_abs();
        let since_change = looked_at.duration_since(stat.ctime.timestamp()).unsigned_abs();
        (tracked.cursor.size_seen, tracked.size) = (stat.size, stat.size);
        tracked.seen = Some(seen);
        tracked.racy_until = (since_change < RACY).then(|| now + RACY);
        if moved {
            tracked.quiet_since = now;
        }
        let is_former = self.formers.contains(&id);
        if is_news || age < HOT_WINDOW {
            tracked.hot_until = Some(now + HOT_WINDOW);
        }
        let is_hot = tracked.hot_until.is_some() || tracked.racy_until.is_some() || tracked.has_untried_tail();
        let path = Arc::clone(&tracked.cursor.file.path);
        // What is at the path of a former file, and may be unknown, is another's.
        if !is_former {
            self.unknown.remove(&*path);
            if is_hot {
                self.hot.insert(id);
            }
        }
    }
}

/// Tells the sink what a file shows that is where it was, and of which everything was taken.
fn tell_caught_up(tracked: &Tracked, sink: &mut dyn EventSink) {
    if let Some(sighting) = tracked.proven() {
        sink.caught_up(&tracked.cursor.file, tracked.cursor.offset, sighting);
    }
}
