//! Whether a new inode repeats what was captured of another one: an atomic save, a log that was compressed away and
//! is back, a tool that syncs.

use std::io;

use ulid::Ulid;

use super::Tailer;
use super::table::Key;
use crate::error::Error;
use crate::limits::RECHECK_TURN_BYTES;
use crate::pure::identity::Identity;
use crate::pure::step::{Content, Reason};
use crate::source::EventSink;
use crate::source::recheck::{Finding, Recheck};
use crate::source::tree::{Log, Stat};

/// The question, and how far the answer is.
pub(super) struct Repeats {
    /// Which new inode.
    identity: Identity,
    state: State,
}

enum State {
    Hashing(Box<Recheck>),
    /// For this offset of the file.
    Known(bool, u64),
}

/// The answer, or why there is none yet.
pub(super) enum Answer {
    Yes,
    No,
    /// There is more to hash.
    More,
    Refused,
    Failed(io::Error),
}

impl Tailer {
    /// Whether the file at `key` repeats the whole run chain of the file `of`. The windows are compared first, so
    /// that a file which has nothing to do with it costs two reads.
    pub(super) fn repeats(
        &mut self,
        key: &Key,
        of: Ulid,
        log: &dyn Log,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Answer, Error> {
        let Some(cursor) = self.table.cursor(of) else {
            return Ok(Answer::No);
        };
        // With nothing captured there is nothing to repeat, and a stretch that is read again is no whole chain.
        if cursor.offset == 0 || cursor.suffix.is_some() || stat.size < cursor.offset {
            return Ok(Answer::No);
        }
        let asked = self.repeats.remove(&(key.clone(), of));
        let asked = asked.filter(|asked| asked.identity.same(&stat.identity));
        let mut recheck = match asked.map(|asked| asked.state) {
            Some(State::Known(known, offset)) if offset == cursor.offset => {
                return Ok(self.know(key, of, stat, known));
            }
            Some(State::Hashing(recheck)) if recheck.is_about(cursor, Reason::Shrank, stat.size) => recheck,
            _ => {
                match cursor.compare(log, &mut self.fetched) {
                    Ok(Content::Holds) => {}
                    Ok(Content::Differs | Content::NotCompared) => return Ok(self.know(key, of, stat, false)),
                    Err(cause) => return Ok(Answer::Failed(cause)),
                }
                let Some(chain) = sink.chain(&cursor.file)? else {
                    return Ok(Answer::Refused);
                };
                match Recheck::begin(log, cursor, chain, Reason::Shrank, stat.size) {
                    Ok(recheck) => Box::new(recheck),
                    Err(cause) => return Ok(Answer::Failed(cause)),
                }
            }
        };
        match recheck.advance(log, self.fetched.scratch(), RECHECK_TURN_BYTES) {
            Err(cause) => Ok(Answer::Failed(cause)),
            Ok(Finding::Whole(_)) => Ok(self.know(key, of, stat, true)),
            Ok(Finding::Part(_)) => Ok(self.know(key, of, stat, false)),
            Ok(Finding::More) => {
                self.remember(key, of, stat, State::Hashing(recheck));
                Ok(Answer::More)
            }
        }
    }

    fn know(&mut self, key: &Key, of: Ulid, stat: &Stat, known: bool) -> Answer {
        let offset = self.table.cursor(of).map_or(0, |cursor| cursor.offset);
        self.remember(key, of, stat, State::Known(known, offset));
        if known { Answer::Yes } else { Answer::No }
    }

    fn remember(&mut self, key: &Key, of: Ulid, stat: &Stat, state: State) {
        let identity = stat.identity;
        self.repeats.insert((key.clone(), of), Repeats { identity, state });
    }
}
