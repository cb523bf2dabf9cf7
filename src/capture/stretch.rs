//! Stretches of lines: their envelopes are written together, by this thread or another one.

use std::sync::Arc;

use ulid::Ulid;

use crate::pure::lines::lines;
use crate::pure::record::{Ending, Envelopes};

/// Whole lines of one run.
pub(super) struct Stretch<B> {
    pub(super) bytes: B,
    /// Offset of the first line.
    pub(super) offset: u64,
    /// Number of the first line.
    pub(super) number: Option<u64>,
    /// Of the first line that is not blank; the others follow one by one.
    pub(super) first: Ulid,
    /// Lines that are not blank.
    pub(super) records: u32,
    pub(super) envelopes: Arc<Envelopes>,
    pub(super) appended_at: Arc<str>,
}

impl<B: AsRef<[u8]>> Stretch<B> {
    /// Writes its envelopes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut ulid = self.first;
        for line in lines(self.bytes.as_ref(), self.offset, self.number) {
            if !line.bytes.is_empty() {
                self.envelopes
                    .push(out, ulid, &self.appended_at, &line, Ending::NEWLINE);
                ulid = Ulid(ulid.0.saturating_add(1));
            }
        }
    }

    /// About as many bytes as they will have: escaping makes text that is mostly JSON a tenth longer.
    pub(super) fn expected_bytes(&self) -> usize {
        let bytes = self.bytes.as_ref().len();
        bytes + bytes / 8 + self.records as usize * self.envelopes.bytes_beside_line()
    }

    /// With the lines copied into `room`.
    pub(super) fn copied(&self, mut room: Vec<u8>) -> Stretch<Vec<u8>> {
        room.clear();
        room.extend_from_slice(self.bytes.as_ref());
        Stretch {
            bytes: room,
            offset: self.offset,
            number: self.number,
            first: self.first,
            records: self.records,
            envelopes: Arc::clone(&self.envelopes),
            appended_at: Arc::clone(&self.appended_at),
        }
    }
}
