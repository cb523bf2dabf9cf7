//! Reading the ledger, commit by commit.

use std::io::{BufRead, BufReader, Read};

use super::{damaged, segment_path, segments};
use crate::cursors;
use crate::disk::{Disk, Loaded};
use crate::error::Error;
use crate::limits::{COMMIT_LINES_MAX, LEDGER_LINE_BYTES_MAX, PIECE_BYTES};
use crate::pure::commit::{COMMIT_PREFIX, Commit};
use crate::pure::entry::Entry;
use crate::pure::fold::{Fold, Mark};

/// One sealed commit.
pub struct Sealed<'a> {
    /// Its last line.
    pub commit: Commit,
    /// The lines that it seals, each with its newline.
    pub lines: &'a [u8],
    /// Offset of the byte after it.
    pub end: u64,
}

impl Sealed<'_> {
    /// Adds the commit to the fold, into which all before it was added.
    pub fn apply(&self, fold: &mut Fold, segment: u32) -> Result<(), String> {
        for line in self.lines.split_inclusive(|byte| *byte == b'\n') {
            let entry = Entry::parse(line).map_err(|error| error.to_string())?;
            fold.apply(&entry)?;
        }
        let mark = Mark {
            segment,
            offset: self.end,
        };
        fold.seal(&self.commit, mark);
        Ok(())
    }
}

/// Reads a segment from byte `start`, which is where a commit begins, and hands out each sealed commit.
///
/// Returns where the last one ends. What follows is a torn tail: no commit in it holds. Lines that do not
/// fit and are *followed* by a commit that holds are damage, and so is anything behind a `commit` line that
/// does not hold, since nothing is appended before a commit is synced. An error of `each` is damage too.
pub fn scan(
    disk: &dyn Disk,
    segment: u32,
    start: u64,
    mut each: impl FnMut(Sealed<'_>) -> Result<(), String>,
) -> Result<u64, Error> {
    let path = segment_path(segment);
    let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
    let reader = disk.read_from(&path, start).map_err(failed)?;
    let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
    let mut group = Group::default();
    let (mut at, mut end) = (start, start);
    let (mut misfit, mut unsealed) = (None, None);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = LEDGER_LINE_BYTES_MAX as u64;
        let length = reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        // A line that is not whole is the end: its writer may be at it this moment.
        if length == 0 || (line.last() != Some(&b'\n') && length < LEDGER_LINE_BYTES_MAX) {
            return Ok(end);
        }
        if let Some(from) = unsealed {
            let what = format!("the commit that ends at byte {at} does not hold, and more follows it");
            return Err(damaged(disk, segment, format!("from byte {from}: {what}")));
        }
        at += length as u64;
        if !line.starts_with(COMMIT_PREFIX) {
            if group.push(&line) {
                misfit.get_or_insert(end);
            }
            continue;
        }
        match Commit::parse(&line, &group.bytes) {
            Some((commit, sealed)) if misfit.is_none() && sealed == group.bytes.len() => {
                each(Sealed {
                    commit,
                    lines: &group.bytes,
                    end: at,
                })
                .map_err(|what| damaged(disk, segment, format!("before byte {at}: {what}")))?;
                end = at;
            }
            Some(_) => {
                let from = misfit.unwrap_or(end);
                let what = format!("lines from byte {from} do not fit the commit that ends at byte {at}");
                return Err(damaged(disk, segment, what));
            }
            None => unsealed = Some(end),
        }
        group.bytes.clear();
        group.lines = 0;
    }
}

/// Everything that was committed up to now, for those who only read: the snapshot and what follows it.
pub fn current_fold(disk: &dyn Disk) -> Result<Fold, Error> {
    let mut fold = match cursors::load(disk)? {
        Loaded::Sound(fold) => fold,
        Loaded::Missing | Loaded::Damaged(_) => Fold::default(),
    };
    let begin = fold.mark;
    for segment in begin.segment..=segments(disk)? {
        let start = if segment == begin.segment { begin.offset } else { 0 };
        scan(disk, segment, start, |sealed| {
            if sealed.commit.follows(fold.commit) {
                sealed.apply(&mut fold, segment)?;
            }
            Ok(())
        })?;
    }
    Ok(fold)
}

/// The lines since the last `commit` line.
#[derive(Default)]
struct Group {
    bytes: Vec<u8>,
    lines: usize,
}

impl Group {
    /// Adds a line; true when lines had to be thrown away, because no commit is that long.
    fn push(&mut self, line: &[u8]) -> bool {
        let too_many = self.lines >= 2 * COMMIT_LINES_MAX;
        if too_many {
            let mut newlines = memchr::memchr_iter(b'\n', &self.bytes);
            let cut = newlines.nth(COMMIT_LINES_MAX).map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..cut);
            self.lines = memchr::memchr_iter(b'\n', &self.bytes).count();
        }
        self.bytes.extend_from_slice(line);
        self.lines += 1;
        too_many
    }
}
