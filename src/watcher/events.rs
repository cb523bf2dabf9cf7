//! Events out of what a source hands over, and the channel that they are told on.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_channel::Sender;
use jiff::Timestamp;
use ulid::Ulid;

use crate::event::Event;
use crate::limits::READ_BYTES;
use crate::pure::lines::{Line, lines};
use crate::pure::record::Ending;
use crate::source::{Block, First, LongLine};

/// Lines that make a record, each with the record that it replaces: neither blank nor taken before.
pub(super) fn fresh_lines<'a>(block: &Block<'a>) -> impl Iterator<Item = (Line<'a>, Option<Ulid>)> + use<'a> {
    let mut first = block.first;
    let lines = lines(&block.bytes[block.lead..], block.offset, block.number);
    lines.filter_map(move |line| {
        let replaces = match std::mem::replace(&mut first, First::Fresh) {
            First::Settled(_) => return None,
            First::Replaces(replaced) => Some(replaced),
            First::Fresh => None,
        };
        (!line.bytes.is_empty()).then_some((line, replaces))
    })
}

/// The event of a line of a block.
pub(super) fn of_line(block: &Block<'_>, line: &Line<'_>, replaces: Option<Ulid>, at: Timestamp) -> Event {
    let ending = Ending {
        terminated: true,
        replaces,
    };
    let length = line.bytes.len() as u64;
    Event::of_line(block.file, line.offset, length, Some(line.bytes), ending, at)
}

/// The event of a line that is read in pieces; `bytes` where it was in memory.
pub(super) fn of_long(line: &dyn LongLine, bytes: Option<&[u8]>, at: Timestamp) -> Event {
    let ending = Ending {
        terminated: line.terminated(),
        replaces: line.settled().map(|settled| settled.ulid),
    };
    Event::of_line(line.file(), line.offset(), line.length(), bytes, ending, at)
}

/// The bytes of a line that is read in pieces, where it fits in memory and still has this hash.
pub(super) fn bytes_with(line: &dyn LongLine, hash: blake3::Hash) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let fits = line.length() <= READ_BYTES as u64;
    let read = fits.then(|| line.read().read_to_end(&mut bytes))?;
    (read.is_ok() && blake3::hash(&bytes) == hash).then_some(bytes)
}

/// Tells events to a receiver that is never waited for.
pub(super) struct Teller {
    pub(super) channel: Sender<Event>,
    /// How many it had no room for.
    pub(super) missed: Arc<AtomicU64>,
}

impl Teller {
    /// Tells an event if there is room.
    pub(super) fn tell(&self, event: &Event) {
        // We alone send; a copy is made only where there is room for it.
        if self.channel.is_full() || self.channel.try_send(event.clone()).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}
