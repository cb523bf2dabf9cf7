//! A line that does not fit one read, handed out piece by piece.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;

use super::LongLine;
use super::tail::{Cursor, window_holds};
use super::tree::{Log, read_full};
use crate::limits::WINDOW_BYTES_MAX;
use crate::pure::identity::{Evidence, Window};
use crate::pure::record::LogFile;

/// A line that is read in pieces.
pub(super) struct Streamed<'a> {
    log: &'a dyn Log,
    cursor: &'a Cursor,
    /// Offset of the byte after its newline.
    end: u64,
    /// Its first bytes.
    opening: Window,
    /// Its last bytes, as the first whole reading gave them out: those are captured.
    closing: RefCell<Vec<u8>>,
    /// Why a reading came to no end.
    failure: Cell<Option<io::Error>>,
}

impl<'a> Streamed<'a> {
    /// The line at the cursor, which ends before `end` and begins with `opening`.
    pub(super) fn new(log: &'a dyn Log, cursor: &'a Cursor, end: u64, opening: Window) -> Self {
        Self {
            log,
            cursor,
            end,
            opening,
            closing: RefCell::default(),
            failure: Cell::default(),
        }
    }

    /// Why a reading came to no end, if one did not.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failure.take()
    }
}

impl LongLine for Streamed<'_> {
    fn file(&self) -> &Arc<LogFile> {
        &self.cursor.file
    }

    fn offset(&self) -> u64 {
        self.cursor.offset
    }

    fn length(&self) -> u64 {
        self.end - self.cursor.offset - 1
    }

    fn opening(&self) -> Window {
        self.opening
    }

    fn number(&self) -> u64 {
        self.cursor.line + 1
    }

    fn read(&self) -> Box<dyn Read + '_> {
        Box::new(Pieces {
            log: self.log,
            at: self.cursor.offset,
            end: self.end - 1,
            last: Vec::new(),
            closing: &self.closing,
            failure: &self.failure,
        })
    }

    fn check(&self) -> Option<Evidence> {
        let before = self.cursor.evidence.as_ref();
        let lead = before.map_or(0, |evidence| evidence.guard.bytes());
        let start = self.cursor.offset - lead as u64;
        if self.log.stat().ok()?.size < self.end {
            return None;
        }
        let mut bytes = [0; 2 * WINDOW_BYTES_MAX];
        let bytes = &mut bytes[..lead + WINDOW_BYTES_MAX];
        let read = read_full(self.log, bytes, start).ok()?;
        let (guard, opening) = bytes[..read].split_at_checked(lead)?;
        if !self.opening.holds(opening) || before.is_some_and(|before| !before.guard.holds(guard)) {
            return None;
        }
        let head = match before {
            Some(before) if before.head.bytes() == WINDOW_BYTES_MAX => {
                let holds = window_holds(self.log, &before.head, 0).ok()?;
                holds.then_some(before.head)?
            }
            // Then the guard begins at the start of the file.
            _ => Window::over(&bytes[..WINDOW_BYTES_MAX]),
        };
        // The new guard is made of what was read, so that a change that comes only now is seen by the next look.
        let mut closing = self.closing.borrow().clone();
        closing.push(b'\n');
        let guard = Window::over(&closing);
        let holds = window_holds(self.log, &guard, self.end - closing.len() as u64).ok()?;
        (holds && closing.len() == WINDOW_BYTES_MAX).then_some(Evidence { head, guard })
    }
}

/// Reads a stretch of a file in which there must be no newline.
struct Pieces<'a> {
    log: &'a dyn Log,
    at: u64,
    end: u64,
    last: Vec<u8>,
    closing: &'a RefCell<Vec<u8>>,
    failure: &'a Cell<Option<io::Error>>,
}

impl Pieces<'_> {
    /// Keeps the last bytes: one less than a window, since the newline follows.
    fn keep(&mut self, bytes: &[u8]) {
        const KEPT: usize = WINDOW_BYTES_MAX - 1;
        let fresh = &bytes[bytes.len().saturating_sub(KEPT)..];
        let spare = (self.last.len() + fresh.len()).saturating_sub(KEPT);
        self.last.drain(..spare);
        self.last.extend_from_slice(fresh);
        if self.at == self.end && self.closing.borrow().is_empty() {
            self.closing.replace(self.last.clone());
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = bytes.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = match self.log.read_at(&mut bytes[..wanted], self.at) {
            Ok(read) => read,
            Err(cause) => {
                let kind = cause.kind();
                self.failure.set(Some(cause));
                return Err(kind.into());
            }
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if memchr::memchr(b'\n', &bytes[..read]).is_some() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the line ends before its end",
            ));
        }
        self.at += read as u64;
        self.keep(&bytes[..read]);
        Ok(read)
    }
}
