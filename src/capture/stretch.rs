//! Stretches of lines: their envelopes are written together, by this thread or another one.

use std::sync::Arc;

use simdutf8::basic::from_utf8;
use ulid::Ulid;

use super::written::Written;
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
    pub(super) fn encode(&self, out: &mut Written) {
        let bytes = self.bytes.as_ref();
        // Asked of all lines at once: a newline ends whatever stands before it.
        let text = from_utf8(bytes).ok();
        let mut ulid = self.first;
        for line in lines(bytes, self.offset, self.number) {
            if line.bytes.is_empty() {
                continue;
            }
            let begin = usize::try_from(line.offset - self.offset).unwrap_or(usize::MAX);
            let text = match text {
                Some(text) => text.get(begin..begin.saturating_add(line.bytes.len())),
                None => from_utf8(line.bytes).ok(),
            };
            self.envelopes
                .push_text(out, ulid, &self.appended_at, &line, text, Ending::NEWLINE);
            ulid = Ulid(ulid.0.saturating_add(1));
        }
    }

    /// About as many bytes as they will have: escaping makes text that is mostly JSON a tenth longer.
    pub(super) fn expected_bytes(&self) -> usize {
        let bytes = self.bytes.as_ref().len();
        bytes + bytes / 8 + self.records as usize * self.envelopes.bytes_beside_line()
    }

    /// With the lines copied into `room`.
    pub(super) fn copied(&self, mut room: Vec<u8>) -> Stretch<Vec<u8>> {
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
