//! Reading one file from its cursor: the checks before and after each read, and lines of any length.

use std::io;
use std::sync::Arc;

use jiff::Timestamp;

use super::fetched::Fetched;
use super::streamed::Streamed;
use super::tree::{Log, read_full};
use super::{Block, EventSink, First, LongVerdict, SettleVerdict};
use crate::error::Error;
use crate::limits::{TURN_BYTES, WINDOW_BYTES_MAX};
use crate::pure::chain::{Kept, Suffix};
use crate::pure::fold::FileState;
use crate::pure::identity::{Evidence, Window, window_bytes};
use crate::pure::lines::whole;
use crate::pure::rare::Rare;
use crate::pure::record::{LogFile, SettledTail};
use crate::pure::step::{Content, Position};

/// Where we are in a file, and how we know that it is still that file.
#[derive(Debug, Clone)]
pub(super) struct Cursor {
    pub(super) file: Arc<LogFile>,
    /// The byte after the last line that the sink took.
    pub(super) offset: u64,
    /// Physical lines before the offset; None where they were never counted.
    pub(super) line: Option<u64>,
    /// None at offset 0.
    pub(super) evidence: Option<Evidence>,
    /// What still stands behind a stretch that is being read again.
    pub(super) suffix: Rare<Suffix>,
    /// The last line, taken before it had a newline.
    pub(super) settled: Rare<SettledTail>,
    /// The size at the last look.
    pub(super) size_seen: u64,
    /// The modification time at the last look.
    pub(super) mtime: Timestamp,
    /// How far a long unfinished tail is known to hold no newline.
    pub(super) tail: Rare<Tail>,
}

/// The known part of an unfinished tail that is longer than one read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// Offset up to which there is no newline.
    scanned: u64,
    /// The bytes just before that.
    guard: Window,
}

/// What one read came to.
#[derive(Debug)]
pub(super) enum Progress {
    /// Everything that is complete was taken.
    CaughtUp,
    /// This many bytes were worked through, and there may be more.
    Worked(u64),
    /// The sink refused.
    Refused,
    /// The sink has no room for a line of this many bytes.
    NoRoom(u64),
    /// The file changed under the reading; look again.
    Changed,
    /// What is read again does not end where the rest that was kept begins.
    Misfit,
    /// It could not be read.
    Failed(io::Error),
}

impl Cursor {
    pub(super) fn at_start(file: Arc<LogFile>) -> Self {
        Self {
            file,
            offset: 0,
            line: Some(0),
            evidence: None,
            suffix: Rare::default(),
            settled: Rare::default(),
            size_seen: 0,
            mtime: Timestamp::UNIX_EPOCH,
            tail: Rare::default(),
        }
    }

    /// Where a file was when it was committed last.
    pub(super) fn resumed(file: Arc<LogFile>, state: &FileState) -> Self {
        Self {
            offset: state.offset,
            line: state.line,
            evidence: state.evidence(),
            suffix: state.suffix.clone(),
            settled: state.settled.clone(),
            size_seen: state.offset,
            ..Self::at_start(file)
        }
    }

    /// Where a file is read from after a rewrite or a shrink. A `settled` last line stands if what is before it does.
    pub(super) fn restarted(file: Arc<LogFile>, kept: &Kept, settled: Option<SettledTail>) -> Self {
        Self {
            offset: kept.to,
            line: kept.lines,
            evidence: kept.evidence,
            suffix: kept.suffix.into(),
            settled: settled.filter(|_| kept.suffix.is_some()).into(),
            size_seen: kept.to,
            ..Self::at_start(file)
        }
    }

    pub(super) fn position(&self) -> Position {
        Position {
            offset: self.offset,
            end: self.end(),
            size_seen: self.size_seen,
        }
    }

    /// The end of everything that is captured.
    pub(super) fn end(&self) -> u64 {
        self.suffix.get().map_or(self.offset, |suffix| suffix.to)
    }

    /// Bytes that a rewrite touched and that are not read again yet.
    pub(super) fn read_again_bytes(&self) -> u64 {
        self.suffix.get().map_or(0, |suffix| suffix.from - self.offset)
    }

    /// The guard beside [`Self::end`].
    pub(super) fn end_guard(&self) -> Option<Window> {
        let guard = self.evidence.map(|evidence| evidence.guard);
        self.suffix.get().map(|suffix| suffix.guard).or(guard)
    }

    /// The filesystem came back under another device number.
    pub(super) fn move_to_device(&mut self, device: u64) {
        let mut file = (*self.file).clone();
        file.identity.device = device;
        self.file = Arc::new(file);
    }

    /// Compares head and guard with the file, whichever inode it is, and fetches new bytes with the same read.
    pub(super) fn compare(&self, log: &dyn Log, fetched: &mut Fetched) -> io::Result<Content> {
        fetched.fill(log, self.offset)?;
        let Some(evidence) = &self.evidence else {
            return Ok(Content::Holds);
        };
        if fetched.lead_found() < fetched.lead {
            return Ok(Content::NotCompared);
        }
        let holds = evidence.guard.holds(&fetched.bytes[..fetched.lead]) && head_holds(log, evidence, self.offset)?;
        Ok(if holds { Content::Holds } else { Content::Differs })
    }

    /// Hands what was fetched to the sink: whole lines, or the search for the end of a long one.
    /// `limit` is the size up to which the file is read.
    pub(super) fn take(
        &mut self,
        log: &dyn Log,
        limit: u64,
        fetched: &mut Fetched,
        sink: &mut dyn EventSink,
    ) -> Result<Progress, Error> {
        let end = self.suffix.get().map_or(limit, |suffix| limit.min(suffix.from));
        let room = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let fresh = fetched.fresh();
        let fresh = &fresh[..fresh.len().min(room)];
        let length = whole(fresh);
        if length == 0 {
            let at_end = self.offset + fresh.len() as u64 >= end || !fetched.is_full();
            return if at_end {
                Ok(self.caught_up())
            } else {
                self.long(log, end, fetched, sink)
            };
        }
        let (rest, was_full) = (fresh.len() - length, fetched.is_full());
        if !fetched.still_stands(log, length) {
            return Ok(Progress::Changed);
        }
        let block = Block {
            file: &self.file,
            bytes: &fetched.bytes[..fetched.lead + length],
            lead: fetched.lead,
            offset: self.offset,
            number: self.line.map(|line| line + 1),
            evidence: self.evidence.as_ref(),
            first: self.first(&fetched.fresh()[..length]),
            head: self.head_behind(self.offset + length as u64, fetched),
            mtime: self.mtime,
        };
        let taken = sink.lines(&block)?;
        if taken > 0 {
            let evidence = block.evidence_after(taken);
            let lines = &block.bytes[block.lead..block.lead + taken];
            let lines = memchr::memchr_iter(b'\n', lines).count() as u64;
            self.advance(self.offset + taken as u64, lines, evidence);
        }
        if taken < length {
            return Ok(Progress::Refused);
        }
        let more = was_full || (self.offset + rest as u64) < limit;
        Ok(if more {
            Progress::Worked(taken as u64)
        } else {
            self.caught_up()
        })
    }

    /// The cursor stands behind lines that were taken, or behind what was kept, if that follows them.
    fn advance(&mut self, offset: u64, lines: u64, evidence: Option<Evidence>) {
        self.offset = offset;
        self.line = self.line.map(|line| line + lines);
        self.evidence = evidence;
        self.tail = Rare::default();
        // It stands behind what was kept.
        if self.suffix.is_none() {
            self.settled = Rare::default();
        }
        if let Some(suffix) = self.suffix.get().filter(|suffix| suffix.from == offset) {
            self.suffix = Rare::default();
            self.offset = suffix.to;
            self.line = self.line.map(|line| line + suffix.lines);
            if let Some(evidence) = &mut self.evidence {
                evidence.guard = suffix.guard;
            }
        }
    }

    /// The head where lines end at `end`, and what was kept begins within the longest head there is.
    fn head_behind(&self, end: u64, fetched: &Fetched) -> Option<Window> {
        let suffix = self.suffix.get().filter(|suffix| suffix.from == end)?;
        let length = window_bytes(suffix.to);
        let is_longer = window_bytes(end) < length;
        is_longer.then(|| fetched.bytes.get(..length).map(Window::over))?
    }

    /// There is no whole line more.
    fn caught_up(&self) -> Progress {
        if self.suffix.is_none() {
            Progress::CaughtUp
        } else {
            Progress::Misfit
        }
    }

    /// The last line that was taken without its newline, when reading stands at it.
    pub(super) fn settled_here(&self) -> Option<SettledTail> {
        self.settled.get().filter(|_| self.suffix.is_none())
    }

    /// What is known of the first of these lines.
    fn first(&self, lines: &[u8]) -> First {
        let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
        match self.settled_here() {
            Some(settled) if settled.length == end as u64 && settled.hash == blake3::hash(&lines[..end]) => {
                First::Settled(settled.ulid)
            }
            Some(settled) if end > 0 => First::Replaces(settled.ulid),
            _ => First::Fresh,
        }
    }

    /// Offers the tail that ends at `end` as a line without a newline.
    pub(super) fn settle(&mut self, log: &dyn Log, end: u64, sink: &mut dyn EventSink) -> Result<SettleVerdict, Error> {
        let length = usize::try_from(end - self.offset).unwrap_or(usize::MAX);
        let mut opening = [0; WINDOW_BYTES_MAX];
        let opening = &mut opening[..length.min(WINDOW_BYTES_MAX)];
        match read_full(log, opening, self.offset) {
            Ok(read) if read == opening.len() => {}
            _ => return Ok(SettleVerdict::Changed),
        }
        let verdict = sink.settle(&Streamed::new(log, self, end, false, Window::over(opening)))?;
        if let SettleVerdict::Taken(settled) = verdict {
            self.settled = Some(settled).into();
        }
        Ok(verdict)
    }

    /// One read held no newline: searches on from there, or from where an earlier search ended.
    fn long(
        &mut self,
        log: &dyn Log,
        limit: u64,
        fetched: &mut Fetched,
        sink: &mut dyn EventSink,
    ) -> Result<Progress, Error> {
        let opening = Window::over(&fetched.fresh()[..WINDOW_BYTES_MAX]);
        let mut scanned = self.offset + fetched.fresh().len() as u64;
        if let Some(tail) = self.tail.get().filter(|tail| tail.scanned > scanned)
            && tail.holds(log)
        {
            scanned = tail.scanned;
        }
        let searched_from = scanned;
        loop {
            let room = usize::try_from(limit.saturating_sub(scanned)).unwrap_or(usize::MAX);
            let wanted = fetched.bytes.len().min(room);
            let read = match read_full(log, &mut fetched.bytes[..wanted], scanned) {
                Ok(read) => read,
                Err(cause) => return Ok(Progress::Failed(cause)),
            };
            if let Some(at) = memchr::memchr(b'\n', &fetched.bytes[..read]) {
                let end = scanned + at as u64 + 1;
                return self.hand_over(log, end, opening, sink);
            }
            scanned += read as u64;
            let Some(tail) = Tail::at(log, scanned) else {
                return Ok(Progress::Changed);
            };
            self.tail = Some(tail).into();
            if scanned >= limit || read < wanted {
                return Ok(self.caught_up());
            }
            // Searching is many times faster than capturing, so a turn of it may be longer.
            if scanned - searched_from >= 16 * TURN_BYTES {
                return Ok(Progress::Worked(TURN_BYTES));
            }
        }
    }

    fn hand_over(
        &mut self,
        log: &dyn Log,
        end: u64,
        opening: Window,
        sink: &mut dyn EventSink,
    ) -> Result<Progress, Error> {
        let line = Streamed::new(log, self, end - 1, true, opening);
        match sink.long_line(&line)? {
            LongVerdict::Taken(evidence) => {
                let length = end - self.offset;
                self.advance(end, 1, Some(evidence));
                Ok(Progress::Worked(length))
            }
            LongVerdict::Refused => Ok(Progress::Refused),
            LongVerdict::NoRoom => Ok(Progress::NoRoom(end - self.offset - 1)),
            LongVerdict::Changed => {
                let failure = line.failure();
                self.tail = Rare::default();
                Ok(failure.map_or(Progress::Changed, Progress::Failed))
            }
        }
    }
}

fn head_holds(log: &dyn Log, evidence: &Evidence, offset: u64) -> io::Result<bool> {
    if window_bytes(offset) < WINDOW_BYTES_MAX {
        // Head and guard are the same bytes.
        return Ok(true);
    }
    window_holds(log, &evidence.head, 0)
}

pub(super) fn window_holds(log: &dyn Log, window: &Window, start: u64) -> io::Result<bool> {
    let mut bytes = [0; WINDOW_BYTES_MAX];
    let wanted = &mut bytes[..window.bytes().min(WINDOW_BYTES_MAX)];
    let read = read_full(log, wanted, start)?;
    Ok(window.holds(&wanted[..read]))
}

impl Tail {
    fn at(log: &dyn Log, scanned: u64) -> Option<Self> {
        let mut bytes = [0; WINDOW_BYTES_MAX];
        let length = window_bytes(scanned);
        let read = read_full(log, &mut bytes[..length], scanned - length as u64).ok()?;
        (read == length).then(|| Self {
            scanned,
            guard: Window::over(&bytes[..length]),
        })
    }

    fn holds(&self, log: &dyn Log) -> bool {
        let start = self.scanned - u64::from(self.guard.length);
        window_holds(log, &self.guard, start).unwrap_or(false)
    }
}
