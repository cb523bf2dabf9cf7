//! The read buffer of a file: the bytes of its guard, and what follows them.

use std::io;

use super::tree::{Log, read_full};
use crate::limits::{FETCH_BYTES, READ_BYTES, WINDOW_BYTES_MAX};
use crate::pure::identity::window_bytes;
use crate::pure::lines::whole;

/// The read buffer: first the bytes of the guard, then new ones.
pub(super) struct Fetched {
    pub(super) bytes: Vec<u8>,
    start: u64,
    pub(super) lead: usize,
    filled: usize,
    wanted: usize,
}

impl Fetched {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; READ_BYTES],
            start: 0,
            lead: 0,
            filled: 0,
            wanted: READ_BYTES,
        }
    }

    /// Reads from the start of the guard beside `offset`.
    pub(super) fn fill(&mut self, log: &dyn Log, offset: u64) -> io::Result<()> {
        self.lead = window_bytes(offset);
        self.start = offset - self.lead as u64;
        self.filled = 0;
        self.read_up_to(log, FETCH_BYTES)?;
        // A longer line.
        if self.is_full() && whole(self.fresh()) == 0 {
            self.read_up_to(log, READ_BYTES)?;
        }
        Ok(())
    }

    fn read_up_to(&mut self, log: &dyn Log, wanted: usize) -> io::Result<()> {
        let begun = self.filled;
        let more = read_full(log, &mut self.bytes[begun..wanted], self.start + begun as u64)?;
        (self.filled, self.wanted) = (begun + more, wanted);
        Ok(())
    }

    /// The buffer, for reading of another kind; what was fetched is not there any more.
    pub(super) fn scratch(&mut self) -> &mut [u8] {
        self.filled = 0;
        &mut self.bytes
    }

    pub(super) fn lead_found(&self) -> usize {
        self.lead.min(self.filled)
    }

    pub(super) fn fresh(&self) -> &[u8] {
        &self.bytes[self.lead_found()..self.filled]
    }

    pub(super) fn is_full(&self) -> bool {
        self.filled == self.wanted
    }

    /// The check after the read: the file is still long enough, and what stands before the lines (at the
    /// start of a file: their first bytes) is still what was read.
    pub(super) fn still_stands(&self, log: &dyn Log, length: usize) -> bool {
        let end = self.start + (self.lead + length) as u64;
        let checked = self.lead.max(WINDOW_BYTES_MAX.min(self.lead + length));
        let mut again = [0; WINDOW_BYTES_MAX];
        log.stat().is_ok_and(|stat| stat.size >= end)
            && read_full(log, &mut again[..checked], self.start).is_ok_and(|read| read == checked)
            && again[..checked] == self.bytes[..checked]
    }
}
