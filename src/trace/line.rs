//! Which line of its file a record is.

use std::io;

use serde::{Deserialize, Serialize};

use super::since::FileNow;
use crate::ledger::search::Hit;
use crate::limits::READ_BYTES;
use crate::pure::entry::{Captured, Entry};
use crate::pure::record::path_from_text;
use crate::source::standing::{Finder, Standing};
use crate::source::tree::{Log, read_full};

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Offset of its first byte.
    pub offset: u64,
    /// Bytes, without its newline.
    pub length: u64,
    /// Its number in its epoch; null where lines were never counted.
    pub number: Option<u64>,
    /// Who tells: the `envelope` in the queue, the `ledger`, or the `file`, whose bytes are still what was captured.
    pub told_by: ToldBy,
}

/// Who tells which line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ToldBy {
    /// The envelope in the queue.
    Envelope,
    /// The ledger.
    Ledger,
    /// The file, whose bytes are still what was captured.
    File,
}

/// The line where the ledger alone tells it: a settled line, or a run of one line.
pub(super) fn told(hit: &Hit) -> Option<Line> {
    let (offset, length, number) = match &hit.entry {
        Entry::Settled(settled) => (settled.offset, settled.length, settled.line),
        Entry::Captured(run) if run.lines == 1 && run.blank == 0 && run.settled.is_none() => {
            (run.from, run.to - run.from - 1, run.line)
        }
        _ => return None,
    };
    let told_by = ToldBy::Ledger;
    Some(Line {
        offset,
        length,
        number,
        told_by,
    })
}

/// The line as the file shows it, if the run's bytes still stand in it. A look that fails tells nothing.
pub(super) fn in_file(hit: &Hit, file: &FileNow, finder: &mut Finder<'_>) -> Option<Line> {
    let Entry::Captured(run) = &hit.entry else { return None };
    let path = path_from_text(&file.path, file.path_base64.as_deref())?;
    let Standing::At(log, _) = finder.find(&path, &file.identity) else {
        return None;
    };
    // A settled line before them has a record of its own.
    let index = hit.index() + u64::from(run.settled.is_some());
    count(&*log, run, index).ok()?
}

/// The line with this index among those of a run that are not blank, if all bytes of the run stand.
fn count(log: &dyn Log, run: &Captured, index: u64) -> io::Result<Option<Line>> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; READ_BYTES];
    let (mut at, mut line_start) = (run.from, run.from);
    let (mut physical, mut filled, mut found) = (0, 0, None);
    while at < run.to {
        let wanted = usize::try_from(run.to - at).map_or(READ_BYTES, |left| left.min(READ_BYTES));
        let read = read_full(log, &mut buffer[..wanted], at)?;
        if read < wanted {
            return Ok(None);
        }
        hasher.update(&buffer[..read]);
        for newline in memchr::memchr_iter(b'\n', &buffer[..read]) {
            let end = at + newline as u64;
            if end > line_start {
                if filled == index {
                    found = Some(Line {
                        offset: line_start,
                        length: end - line_start,
                        number: run.line.map(|line| line + physical),
                        told_by: ToldBy::File,
                    });
                }
                filled += 1;
            }
            physical += 1;
            line_start = end + 1;
        }
        at += read as u64;
    }
    let stands = hasher.finalize().to_hex().as_str() == run.blake3;
    Ok(found.filter(|_| stands))
}
