//! A sink out of a closure that takes events one by one.

use std::io::Read;
use std::sync::Arc;

use ulid::Ulid;

use super::events::{fresh_lines, of_line, of_long};
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::event::Event;
use crate::limits::READ_BYTES;
use crate::pure::chain::Chain;
use crate::pure::identity::Evidence;
use crate::pure::record::{LogFile, SettledTail};
use crate::pure::ulids::{Ulids, system_random};
use crate::source::object::{is_long_object, is_object};
use crate::source::{Block, Changed, EventSink, Fact, LongLine, LongVerdict, SettleVerdict, Transition, Verdict};

/// A sink that hands each event to `take`, in order: transitions and lines, as `docs/formats.md` has them.
///
/// What `take` refuses is offered to it again later, as a new event; nothing behind it in the same file is offered
/// before. It may block, and then everything waits for it, also whoever stops the watcher. Its error ends the watcher.
///
/// Blank lines are passed over. A line longer than 1 MiB comes without its text, since it is never in memory as a
/// whole: whoever wants it reads `length` bytes at `offset` of its file, or implements [`EventSink::long_line`].
/// A last line without a newline is taken as a queue takes it: when it is one complete JSON object and has been quiet
/// for 10 s, with `terminated` false. When its newline comes it is not told again; when other bytes come, the whole
/// line is, with `replaces`, and stands for the one that was told with the same `file_id` and `offset`.
pub fn each_event(
    take: impl FnMut(Event) -> Result<Verdict, Error> + Send + 'static,
) -> impl EventSink + Send + 'static {
    EachEvent {
        take,
        clock: SystemClock,
        ulids: Ulids::above(Ulid::nil(), system_random()),
    }
}

/// See [`each_event`].
struct EachEvent<F> {
    take: F,
    clock: SystemClock,
    /// Names for last lines without a newline.
    ulids: Ulids,
}

impl<F: FnMut(Event) -> Result<Verdict, Error>> EventSink for EachEvent<F> {
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error> {
        (self.take)(Event::of_transition(file, transition, self.clock.utc()))
    }

    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error> {
        let at = self.clock.utc();
        for (line, replaces) in fresh_lines(block) {
            if (self.take)(of_line(block, &line, replaces, at))? == Verdict::Refused {
                return Ok(usize::try_from(line.offset - block.offset).unwrap_or_default());
            }
        }
        Ok(block.bytes.len() - block.lead)
    }

    fn long_line(&mut self, line: &dyn LongLine) -> Result<LongVerdict, Error> {
        let Ok((hash, Some(evidence))) = read(line) else {
            return Ok(LongVerdict::Changed);
        };
        if line.settled().is_some_and(|settled| settled.hash == hash) {
            return Ok(LongVerdict::Taken(evidence));
        }
        Ok(match (self.take)(of_long(line, None, self.clock.utc()))? {
            Verdict::Taken => LongVerdict::Taken(evidence),
            Verdict::Refused => LongVerdict::Refused,
        })
    }

    fn settle(&mut self, tail: &dyn LongLine) -> Result<SettleVerdict, Error> {
        let Ok(seen) = Seen::of(tail) else {
            return Ok(SettleVerdict::Changed);
        };
        if tail.settled().is_some_and(|settled| settled.hash == seen.hash) {
            return Ok(SettleVerdict::Known);
        }
        if !seen.is_object {
            return Ok(SettleVerdict::Waits);
        }
        let event = of_long(tail, seen.bytes.as_deref(), self.clock.utc());
        Ok(match (self.take)(event)? {
            Verdict::Refused => SettleVerdict::Refused,
            Verdict::Taken => SettleVerdict::Taken(SettledTail {
                ulid: self.ulids.fresh(self.clock.unix_ms()),
                length: tail.length(),
                hash: seen.hash,
            }),
        })
    }

    fn fact(&mut self, _: &Fact<'_>) -> Result<Verdict, Error> {
        Ok(Verdict::Taken)
    }

    /// None; a watcher remembers what its sink took.
    fn chain(&mut self, _: &LogFile) -> Result<Option<Chain>, Error> {
        Ok(Some(Chain::default()))
    }
}

/// Reads a line to its end: its hash, and the evidence behind it.
fn read(line: &dyn LongLine) -> Result<(blake3::Hash, Option<Evidence>), Changed> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(line.read()).map_err(|_| Changed)?;
    Ok((hasher.finalize(), line.check()?))
}

/// A last line without a newline.
struct Seen {
    hash: blake3::Hash,
    is_object: bool,
    /// None when it does not fit in memory.
    bytes: Option<Vec<u8>>,
}

impl Seen {
    fn of(tail: &dyn LongLine) -> Result<Self, Changed> {
        if tail.length() > READ_BYTES as u64 {
            let is_object = is_long_object(tail)?;
            let (hash, _) = read(tail)?;
            return Ok(Self {
                hash,
                is_object,
                bytes: None,
            });
        }
        let mut bytes = Vec::new();
        tail.read().read_to_end(&mut bytes).map_err(|_| Changed)?;
        tail.check()?;
        Ok(Self {
            hash: blake3::hash(&bytes),
            is_object: is_object(&bytes),
            bytes: Some(bytes),
        })
    }
}
