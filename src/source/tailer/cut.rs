//! Truncation: what still stands of a file that shrank or was rewritten, and reading on from there.

use std::io;
use std::sync::Arc;

use ulid::Ulid;

use super::Tailer;
use crate::error::Error;
use crate::limits::RECHECK_TURN_BYTES;
use crate::pure::chain::Kept;
use crate::pure::rare::Rare;
use crate::pure::record::LogFile;
use crate::pure::step::Reason;
use crate::source::recheck::{Finding, Recheck};
use crate::source::tail::Cursor;
use crate::source::tree::{Log, Stat};
use crate::source::{EventSink, Transition, Verdict};

/// What a truncation came to.
pub(super) enum Cut {
    /// It is done, or was none after all.
    Done,
    /// There is more to hash.
    More,
    Refused,
    Failed(io::Error),
}

impl Tailer {
    /// Hashes the run chain of a file anew, a turn at a time, and then tells what is to be read again.
    pub(super) fn cut(
        &mut self,
        id: Ulid,
        reason: Reason,
        log: &dyn Log,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Cut, Error> {
        let Some(tracked) = self.table.get_mut(id) else {
            return Ok(Cut::Done);
        };
        let begun = tracked.recheck.take();
        let begun = begun.filter(|begun| begun.is_about(&tracked.cursor, reason, stat.size));
        let mut recheck = if let Some(begun) = begun {
            begun
        } else {
            let Some(chain) = sink.chain(&tracked.cursor.file)? else {
                return Ok(Cut::Refused);
            };
            match Recheck::begin(log, &tracked.cursor, chain, reason, stat.size) {
                Ok(recheck) => Box::new(recheck),
                Err(cause) => return Ok(Cut::Failed(cause)),
            }
        };
        let finding = recheck.advance(log, self.fetched.scratch(), RECHECK_TURN_BYTES);
        match finding {
            Err(cause) => Ok(Cut::Failed(cause)),
            Ok(Finding::More) => {
                tracked.recheck = Some(recheck);
                Ok(Cut::More)
            }
            Ok(Finding::Whole(evidence)) => {
                tracked.cursor.evidence = evidence;
                Ok(Cut::Done)
            }
            Ok(Finding::Part(kept)) => self.truncate(id, reason, kept, sink),
        }
    }

    fn truncate(&mut self, id: Ulid, reason: Reason, kept: Kept, sink: &mut dyn EventSink) -> Result<Cut, Error> {
        let Some(tracked) = self.table.get_mut(id) else {
            return Ok(Cut::Done);
        };
        let before = &tracked.cursor;
        let file = Arc::new(LogFile {
            epoch: before.file.epoch + 1,
            ..(*before.file).clone()
        });
        let was = before.offset;
        if sink.transition(&file, &Transition::Truncate { reason, was, kept })? == Verdict::Refused {
            return Ok(Cut::Refused);
        }
        tracked.cursor = Cursor::restarted(file, &kept, tracked.cursor.settled.get());
        tracked.limit = None;
        tracked.changes += 1;
        (tracked.large_growth_told, tracked.settle_tried) = (false, Rare::default());
        Ok(Cut::Done)
    }
}
