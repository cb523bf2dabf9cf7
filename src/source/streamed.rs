//! A line that does not fit one read, handed out piece by piece.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::sync::Arc;

use jiff::Timestamp;

use super::tail::{Cursor, window_holds};
use super::tree::{Log, read_full};
use super::{Changed, LongLine};
use crate::limits::WINDOW_BYTES_MAX;
use crate::pure::identity::{Evidence, Window, window_bytes};
use crate::pure::record::{LogFile, SettledTail};

/// A line that is read in pieces.
pub(super) struct Streamed<'a> {
    log: &'a dyn Log,
    cursor: &'a Cursor,
    /// Offset of the byte after its last one, the newline not counted.
    end: u64,
    terminated: bool,
    /// Its first bytes.
    opening: Window,
    /// Its last bytes, as the first whole reading gave them out: those are captured.
    closing: RefCell<Vec<u8>>,
    /// Why a reading came to no end.
    failure: Cell<Option<io::Error>>,
}

impl<'a> Streamed<'a> {
    /// The line at the cursor, whose last byte is before `end`, with a newline there or not, and which begins
    /// with `opening`.
    pub(super) fn new(log: &'a dyn Log, cursor: &'a Cursor, end: u64, terminated: bool, opening: Window) -> Self {
        Self {
            log,
            cursor,
            end,
            terminated,
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
        self.end - self.cursor.offset
    }

    fn mtime(&self) -> Timestamp {
        self.cursor.mtime
    }

    fn opening(&self) -> Window {
        self.opening
    }

    fn number(&self) -> Option<u64> {
        self.cursor.line.map(|line| line + 1)
    }

    fn terminated(&self) -> bool {
        self.terminated
    }

    fn settled(&self) -> Option<SettledTail> {
        self.cursor.settled_here()
    }

    fn read(&self) -> Box<dyn Read + '_> {
        Box::new(Pieces {
            log: self.log,
            at: self.cursor.offset,
            end: self.end,
            last: Vec::new(),
            closing: &self.closing,
            failure: &self.failure,
        })
    }

    fn check(&self) -> Result<Option<Evidence>, Changed> {
        let opening = self.opening_stands().ok_or(Changed)?;
        if !self.terminated {
            return Ok(None);
        }
        self.evidence_behind(&opening).map(Some).ok_or(Changed)
    }
}

impl Streamed<'_> {
    /// The file from the guard to the end of the opening, if it is long enough and holds both.
    fn opening_stands(&self) -> Option<Vec<u8>> {
        let before = self.cursor.evidence.as_ref();
        let lead = before.map_or(0, |evidence| evidence.guard.bytes());
        let start = self.cursor.offset - lead as u64;
        if self.log.stat().ok()?.size < self.end + u64::from(self.terminated) {
            return None;
        }
        let mut bytes = vec![0; lead + self.opening.bytes()];
        let read = read_full(self.log, &mut bytes, start).ok()?;
        let (guard, opening) = bytes[..read].split_at_checked(lead)?;
        let stands = self.opening.holds(opening) && before.is_none_or(|before| before.guard.holds(guard));
        stands.then_some(bytes)
    }

    /// The evidence behind the newline of a line that is longer than both windows.
    fn evidence_behind(&self, opening: &[u8]) -> Option<Evidence> {
        let head = match &self.cursor.evidence {
            Some(before) if window_bytes(self.cursor.offset) == WINDOW_BYTES_MAX => {
                let holds = window_holds(self.log, &before.head, 0).ok()?;
                holds.then_some(before.head)?
            }
            // Then the guard begins at the start of the file.
            _ => Window::over(opening.get(..WINDOW_BYTES_MAX)?),
        };
        // The new guard is made of what was read, so that a change that comes only now is seen by the next look.
        let mut closing = self.closing.borrow().clone();
        closing.push(b'\n');
        let guard = Window::over(&closing);
        let holds = window_holds(self.log, &guard, self.end + 1 - closing.len() as u64).ok()?;
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
