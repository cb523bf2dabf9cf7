//! The ledger line that tells of a record, found by halving.

use std::io::Read;

use memchr::memmem::Finder;
use serde::Deserialize;
use ulid::Ulid;

use super::{Commits, Found, damaged, segment_numbers, segment_path};
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::limits::{READ_BYTES, SEARCH_STEP_BYTES};
use crate::pure::commit::Commit;
use crate::pure::entry::Entry;
use crate::pure::fold::Mark;
use crate::pure::lines::whole;
use crate::pure::name::Name;

/// What stands around the ULIDs of a run.
const FIRST: &[u8] = br#""first":""#;
const LAST: &[u8] = br#"","last":""#;

/// The ledger line of a record, in a commit whose checksum holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Which record.
    pub ulid: Ulid,
    /// Its run, or its settled line.
    pub entry: Entry,
    /// The line that seals it.
    pub commit: Commit,
    /// Where the line ends.
    pub end: Mark,
}

impl Hit {
    /// Which record of its run it is, from 0.
    pub fn index(&self) -> u64 {
        let first = match &self.entry {
            Entry::Captured(run) => run.first,
            _ => None,
        };
        first.map_or(0, |first| u64::try_from(self.ulid.0 - first.0).unwrap_or(0))
    }

    /// The name in the queue that the commit gave it.
    pub fn batch_name(&self) -> Option<String> {
        let first = match &self.entry {
            Entry::Captured(run) => run.batch,
            Entry::Settled(settled) => settled.batch,
            _ => None,
        };
        let own = format!("pending-{}.json", self.ulid);
        let holds = |name: &&String| match Name::parse(name.as_str().as_ref()) {
            Name::Batch(batch) => Some(batch.first) == first,
            _ => **name == own,
        };
        self.commit.batches.iter().find(holds).cloned()
    }
}

/// The ULIDs that a line gives out.
#[derive(Deserialize)]
struct Given {
    #[serde(default)]
    first: Option<Ulid>,
    #[serde(default)]
    last: Option<Ulid>,
    #[serde(default)]
    ulid: Option<Ulid>,
}

impl Given {
    fn of(line: &[u8]) -> Option<(Ulid, Ulid)> {
        let given: Self = serde_json::from_slice(line).ok()?;
        match given {
            Self { ulid: Some(one), .. } => Some((one, one)),
            Self {
                first: Some(first),
                last: Some(last),
                ..
            } => Some((first, last)),
            _ => None,
        }
    }
}

/// What a commit says of a ULID.
enum Answer {
    /// It gives out none.
    Silent,
    /// All that it gives out is higher.
    Higher,
    /// It gives out lower ones, or higher and lower ones but not this.
    Lower,
    /// Here: the line, and where it ends in the lines of the commit.
    Here(Box<Entry>, usize),
}

fn ask(lines: &[u8], ulid: Ulid) -> Result<Answer, serde_json::Error> {
    let (mut at, mut answer) = (0, Answer::Silent);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        at += line.len();
        match Given::of(line) {
            Some((first, last)) if first <= ulid && ulid <= last => {
                return Entry::parse(line).map(|entry| Answer::Here(Box::new(entry), at));
            }
            Some((first, _)) if first < ulid => answer = Answer::Lower,
            Some(_) if matches!(answer, Answer::Silent) => answer = Answer::Higher,
            _ => {}
        }
    }
    Ok(answer)
}

/// Finds the line of a record, in the order that the ledger has; None where that order does not lead to it.
pub fn find(disk: &dyn Disk, ulid: Ulid) -> Result<Option<Hit>, Error> {
    match place(disk, ulid)? {
        Some(begin) => scan(disk, begin.segment, begin.offset, ulid, true),
        None => Ok(None),
    }
}

/// Where a commit begins that is not behind the one of a record, and near it where the ledger has its order; None where
/// all of the ledger is behind it.
pub fn place(disk: &dyn Disk, ulid: Ulid) -> Result<Option<Mark>, Error> {
    let numbers: Vec<u32> = segment_numbers(disk)?.into_iter().collect();
    let (mut low, mut high) = (0, numbers.len());
    // The last segment that does not begin above it.
    while low < high {
        let middle = usize::midpoint(low, high);
        if begins_above(disk, &numbers[middle..], ulid)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    match numbers.get(..low).and_then(<[u32]>::last) {
        Some(segment) => place_in(disk, *segment, ulid).map(Some),
        None => Ok(None),
    }
}

/// Whether the first ULID in these segments is higher; none is as good as a higher one.
fn begins_above(disk: &dyn Disk, segments: &[u32], ulid: Ulid) -> Result<bool, Error> {
    for segment in segments {
        match first_answer(disk, *segment, 0, ulid)? {
            Some((Answer::Higher, _)) => return Ok(true),
            Some(_) => return Ok(false),
            None => {}
        }
    }
    Ok(true)
}

/// What the first commit behind a place says that says anything, and where it begins.
fn first_answer(disk: &dyn Disk, segment: u32, start: u64, ulid: Ulid) -> Result<Option<(Answer, u64)>, Error> {
    let mut commits = Commits::open(disk, segment, start)?;
    while let Some(found) = commits.read()? {
        // What is cut off by beginning in the middle of a commit is passed over.
        let Found::Sealed { lines, from, .. } = found else {
            continue;
        };
        match ask(lines, ulid).map_err(|error| damaged(disk, segment, error.to_string()))? {
            Answer::Silent => {}
            answer => return Ok(Some((answer, from))),
        }
    }
    Ok(None)
}

fn place_in(disk: &dyn Disk, segment: u32, ulid: Ulid) -> Result<Mark, Error> {
    let path = segment_path(segment);
    let meta = disk.meta(&path);
    let size = meta
        .map_err(|cause| Error::io("cannot look at the ledger", disk.show(&path), cause))?
        .size;
    let (mut low, mut high) = (0, size);
    while high - low > SEARCH_STEP_BYTES {
        let middle = u64::midpoint(low, high);
        match first_answer(disk, segment, middle, ulid)? {
            Some((Answer::Lower | Answer::Here(..), from)) => low = from,
            _ => high = middle,
        }
    }
    Ok(Mark { segment, offset: low })
}

/// Reads every commit of the ledger, for a record that the order does not lead to.
pub fn find_linear(disk: &dyn Disk, ulid: Ulid) -> Result<Option<Hit>, Error> {
    for segment in segment_numbers(disk)? {
        if mentions(disk, segment, &ulid.to_string())?
            && let Some(hit) = scan(disk, segment, 0, ulid, false)?
        {
            return Ok(Some(hit));
        }
    }
    Ok(None)
}

/// Whether a segment may give out a ULID: as texts of equal length ULIDs have the order of their numbers, so no line
/// is parsed for it.
fn mentions(disk: &dyn Disk, segment: u32, ulid: &str) -> Result<bool, Error> {
    let path = segment_path(segment);
    let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
    let (run, settled) = (Finder::new(FIRST), format!("\"ulid\":\"{ulid}\""));
    let settled = Finder::new(settled.as_bytes());
    let mut reader = disk.read_from(&path, 0).map_err(failed)?;
    let mut piece = Vec::new();
    loop {
        let mut some = reader.by_ref().take(READ_BYTES as u64);
        if some.read_to_end(&mut piece).map_err(failed)? == 0 {
            return Ok(false);
        }
        let whole = whole(&piece);
        let lines = &piece[..whole];
        let in_run = run
            .find_iter(lines)
            .any(|at| holds(&lines[at + FIRST.len()..], ulid.as_bytes()));
        if in_run || settled.find(lines).is_some() {
            return Ok(true);
        }
        piece.drain(..whole);
    }
}

/// Whether a ULID lies between the two that stand here as `<first>","last":"<last>`.
fn holds(text: &[u8], ulid: &[u8]) -> bool {
    let last = ulid.len() + LAST.len();
    let first = text.get(..ulid.len());
    let last = text.get(last..last + ulid.len());
    first.is_some_and(|first| first <= ulid) && last.is_some_and(|last| ulid <= last)
}

/// Reads from where a commit begins, `ordered` only as far as the order lets hope.
fn scan(disk: &dyn Disk, segment: u32, start: u64, ulid: Ulid, ordered: bool) -> Result<Option<Hit>, Error> {
    let mut commits = Commits::open(disk, segment, start)?;
    while let Some(found) = commits.read()? {
        let Found::Sealed {
            commit, lines, from, ..
        } = found
        else {
            continue;
        };
        match ask(lines, ulid).map_err(|error| damaged(disk, segment, error.to_string()))? {
            Answer::Here(entry, at) => {
                let end = Mark {
                    segment,
                    offset: from + at as u64,
                };
                return Ok(Some(Hit {
                    ulid,
                    entry: *entry,
                    commit,
                    end,
                }));
            }
            Answer::Higher if ordered => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

/// A line that gives out a ULID is a run or a settled line.
pub(crate) fn no_record() -> Error {
    Error::new(
        ErrorKind::Failed,
        "the ledger is damaged: a line that is no record gives out a ULID",
    )
}
