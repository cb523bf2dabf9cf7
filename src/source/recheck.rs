//! Hashing the run chain of a file anew, to find out what still stands of it.

use std::io;

use super::tail::{Cursor, window_holds};
use super::tree::{Log, read_full};
use crate::limits::WINDOW_BYTES_MAX;
use crate::pure::chain::{Chain, Kept, Run, Suffix};
use crate::pure::identity::{Evidence, Window, window_bytes};
use crate::pure::step::Reason;

/// What was found out.
#[derive(Debug, PartialEq)]
pub(super) enum Finding {
    /// There is more to hash.
    More,
    /// Everything stands; this is the evidence beside the offset.
    Whole(Option<Evidence>),
    /// This stands.
    Part(Kept),
}

/// A chain that is hashed anew, in turns.
///
/// First from its start to the first run that differs, then, where the end of the chain may stand, from its end to
/// the last one that differs.
#[derive(Debug)]
pub(super) struct Recheck {
    reason: Reason,
    /// The size of the file when this was begun.
    size: u64,
    chain: Chain,
    epoch: u64,
    offset: u64,
    kept_suffix: Option<Suffix>,
    end: u64,
    end_guard: Option<Window>,
    counted: bool,
    /// How many runs of the equal prefix are known, and where it ends.
    prefix: usize,
    reached: u64,
    /// The first run that is asked from the end: behind one that was found to differ, whatever it holds by then.
    floor: usize,
    evidence: Option<Evidence>,
    /// The first run of the equal suffix, and where it begins.
    suffix: usize,
    low: u64,
    backward: bool,
    suffix_may_stand: bool,
    hashing: Hashing,
}

/// A run that is being hashed.
#[derive(Debug, Default)]
struct Hashing {
    /// Bytes of it that were hashed.
    done: u64,
    hasher: blake3::Hasher,
    /// The first and the last ≤ 1 KiB of the file up to where the hashing is.
    head: Vec<u8>,
    last: Vec<u8>,
}

impl Recheck {
    /// Begins with the chain of the file that a cursor follows, or would follow if it repeated the chain.
    pub(super) fn begin(log: &dyn Log, cursor: &Cursor, chain: Chain, reason: Reason, size: u64) -> io::Result<Self> {
        let (end, end_guard) = (cursor.end(), cursor.end_guard());
        let guard_holds = match end_guard {
            Some(guard) if size >= end => window_holds(log, &guard, end - u64::from(guard.length))?,
            _ => false,
        };
        let start = start_of(log, cursor, &chain)?;
        let mut hashing = Hashing::default();
        hashing.seek(log, start)?;
        Ok(Self {
            reason,
            size,
            epoch: cursor.file.epoch,
            offset: cursor.offset,
            kept_suffix: cursor.suffix.get(),
            end,
            end_guard,
            counted: cursor.line.is_some(),
            prefix: 0,
            reached: start,
            floor: 0,
            evidence: hashing.evidence(start),
            suffix: chain.runs.len(),
            low: end,
            backward: false,
            suffix_may_stand: guard_holds && reason == Reason::Rewritten,
            chain,
            hashing,
        })
    }

    /// Whether this is still the question: the cursor did not move, and the file did not shrink.
    pub(super) fn is_about(&self, cursor: &Cursor, reason: Reason, size: u64) -> bool {
        let same =
            (self.epoch, self.offset, self.kept_suffix) == (cursor.file.epoch, cursor.offset, cursor.suffix.get());
        same && self.reason == reason && self.size <= size
    }

    /// Hashes on, at most `bytes_max` bytes and at least a little.
    pub(super) fn advance(&mut self, log: &dyn Log, buffer: &mut [u8], bytes_max: u64) -> io::Result<Finding> {
        let mut left = bytes_max;
        while let Some(run) = self.next_run() {
            let Some(equal) = self.hashing.run(log, &run, buffer, &mut left)? else {
                return Ok(Finding::More);
            };
            self.hashed(&run, equal);
        }
        self.align_suffix(log)?;
        if self.is_whole() {
            return Ok(Finding::Whole(self.evidence));
        }
        Ok(Finding::Part(self.kept()))
    }

    /// The run to hash next; None when both ends are known.
    fn next_run(&mut self) -> Option<Run> {
        if !self.backward {
            let run = self.chain.runs.get(self.prefix).copied();
            if let Some(run) = run.filter(|run| run.from == self.reached && run.to <= self.size) {
                return Some(run);
            }
            self.backward = true;
            self.hashing.done = 0;
        }
        let before = self.suffix.checked_sub(1).filter(|before| *before >= self.floor)?;
        let run = self.chain.runs[before];
        (self.suffix_may_stand && run.to == self.low).then_some(run)
    }

    fn hashed(&mut self, run: &Run, equal: bool) {
        match (self.backward, equal) {
            (false, true) => {
                self.prefix += 1;
                self.floor = self.prefix;
                self.reached = run.to;
                self.evidence = self.hashing.evidence(run.to);
            }
            (false, false) => (self.backward, self.floor) = (true, self.prefix + 1),
            (true, true) => (self.suffix, self.low) = (self.suffix - 1, run.from),
            (true, false) => self.suffix_may_stand = false,
        }
    }

    fn is_whole(&self) -> bool {
        let suffix = self.kept_suffix.map(|suffix| suffix.from);
        let reached = self.offset > 0 && self.reached == self.offset && self.reached <= self.size;
        reached && suffix.is_none_or(|from| self.low == from)
    }

    /// A kept suffix must begin where a line does.
    fn align_suffix(&mut self, log: &dyn Log) -> io::Result<()> {
        while let Some(run) = self.chain.runs.get(self.suffix) {
            if begins_a_line(log, run.from)? {
                break;
            }
            self.suffix += 1;
            self.low = self.chain.runs.get(self.suffix).map_or(self.end, |run| run.from);
        }
        Ok(())
    }

    fn kept(&self) -> Kept {
        let runs = &self.chain.runs;
        let lines = |runs: &[Run]| runs.iter().map(|run| run.lines).sum();
        let suffix = runs.get(self.suffix).and_then(|run| {
            Some(Suffix {
                from: run.from,
                to: self.end,
                lines: lines(&runs[self.suffix..]),
                guard: self.end_guard?,
            })
        });
        if self.prefix == 0 {
            // Also where a file was begun at its end: what stood before is not known.
            return Kept {
                suffix,
                ..Kept::NOTHING
            };
        }
        Kept {
            to: self.reached,
            lines: self.counted.then(|| lines(&runs[..self.prefix])),
            evidence: self.evidence,
            suffix,
        }
    }
}

/// Where the chain below the offset begins: at 0, or where a file was begun at its end, if a line begins there still.
fn start_of(log: &dyn Log, cursor: &Cursor, chain: &Chain) -> io::Result<u64> {
    // Runs that begin behind the offset are the suffix of an earlier rewrite.
    let first = chain.runs.first().filter(|run| run.from < cursor.offset);
    let start = match first {
        Some(run) => run.from,
        None if cursor.line.is_none() => cursor.offset,
        None => 0,
    };
    Ok(if begins_a_line(log, start)? { start } else { 0 })
}

/// Whether a line begins at an offset, as the byte before it says.
fn begins_a_line(log: &dyn Log, offset: u64) -> io::Result<bool> {
    let mut before = [0];
    Ok(offset == 0 || (read_full(log, &mut before, offset - 1)? == 1 && before == *b"\n"))
}

impl Hashing {
    /// Takes up the windows before an offset from the file.
    fn seek(&mut self, log: &dyn Log, offset: u64) -> io::Result<()> {
        let length = window_bytes(offset);
        let window = |start| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; length];
            let read = read_full(log, &mut bytes, start)?;
            bytes.truncate(read);
            Ok(bytes)
        };
        self.head = window(0)?;
        self.last = window(offset - length as u64)?;
        self.done = 0;
        Ok(())
    }

    /// Hashes a run, as far as `left` bytes go: whether it is what was captured, or None when there is more of it.
    fn run(&mut self, log: &dyn Log, run: &Run, buffer: &mut [u8], left: &mut u64) -> io::Result<Option<bool>> {
        if self.done == 0 {
            self.hasher.reset();
        }
        while run.from + self.done < run.to {
            if *left == 0 {
                return Ok(None);
            }
            let at = run.from + self.done;
            let wanted = usize::try_from(run.to - at).map_or(buffer.len(), |room| room.min(buffer.len()));
            let read = read_full(log, &mut buffer[..wanted], at)?;
            if read == 0 {
                self.done = 0;
                return Ok(Some(false));
            }
            self.hasher.update(&buffer[..read]);
            self.pass(&buffer[..read]);
            self.done += read as u64;
            *left = left.saturating_sub(read as u64);
        }
        self.done = 0;
        Ok(Some(self.hasher.finalize() == run.hash))
    }

    fn pass(&mut self, bytes: &[u8]) {
        let missing = WINDOW_BYTES_MAX.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..missing]);
        let fresh = &bytes[bytes.len().saturating_sub(WINDOW_BYTES_MAX)..];
        let spare = (self.last.len() + fresh.len()).saturating_sub(WINDOW_BYTES_MAX);
        self.last.drain(..spare);
        self.last.extend_from_slice(fresh);
    }

    /// The evidence beside an offset up to which everything was passed; None at 0.
    fn evidence(&self, offset: u64) -> Option<Evidence> {
        let length = window_bytes(offset);
        if length == 0 || self.last.len() < length {
            return None;
        }
        Some(Evidence {
            head: Window::over(self.head.get(..length)?),
            guard: Window::over(&self.last[self.last.len() - length..]),
        })
    }
}
