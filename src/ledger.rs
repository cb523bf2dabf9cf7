//! The ledger: the append-only history of what was captured from where, which is also the commit log.

mod commits;
mod history;
mod scan;
pub mod search;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskFile, is_full};
use crate::error::{Error, ErrorKind};
use crate::home::PROVENANCE;
use crate::limits::SEGMENT_BYTES;
use crate::pure::commit::Commit;
use crate::pure::entry::Entry;
use crate::pure::fold::{Fold, Mark};
use jiff::Timestamp;

pub use commits::{Commits, Found};
pub use history::history;
pub use scan::{Sealed, current_fold, scan};

/// The end of the ledger, open for the one writer.
pub struct Ledger {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    end: Mark,
    next_commit: u64,
    segment_bytes_max: u64,
    buffer: Vec<u8>,
}

/// Why an append did not happen.
#[derive(Debug)]
pub enum AppendError {
    /// There was no room. The ledger is as it was, durably.
    Full(io::Error),
    /// The state of the disk is not known; nothing may be written any more.
    Final(Error),
}

/// The path of a segment.
pub fn segment_path(segment: u32) -> PathBuf {
    Path::new(PROVENANCE).join(format!("provenance-{segment:06}.jsonl"))
}

/// The numbers of the segments that there are, which must be 1, 2, 3…
pub fn segments(disk: &dyn Disk) -> Result<u32, Error> {
    let numbers = segment_numbers(disk)?;
    let count = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
    match numbers.iter().zip(1..).find(|(found, wanted)| **found != *wanted) {
        None => Ok(count),
        Some((_, missing)) => Err(damaged(disk, missing, "the segment is missing")),
    }
}

/// The numbers of the segments that there are, whatever they are.
pub fn segment_numbers(disk: &dyn Disk) -> Result<BTreeSet<u32>, Error> {
    let directory = Path::new(PROVENANCE);
    let names = match disk.list(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        names => names.map_err(|cause| Error::io("cannot list the ledger", disk.show(directory), cause))?,
    };
    let number = |name: &std::ffi::OsString| -> Option<u32> {
        let number = name.to_str()?.strip_prefix("provenance-")?.strip_suffix(".jsonl")?;
        number.parse().ok()
    };
    Ok(names.iter().filter_map(number).collect())
}

/// An error for a ledger that must not be written to.
pub fn damaged(disk: &dyn Disk, segment: u32, what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Failed, "the ledger is damaged:")
        .at(disk.show(&segment_path(segment)))
        .because(what.into())
        .hint(
            "restore provenance/ from a backup. Or keep what is there by moving the whole home aside, drain its \
             pending/ from there, and begin anew: every line that still stands in a log is then captured again",
        )
}

impl Ledger {
    /// Opens the ledger for appending behind `fold`, whose end must be the end of the last segment.
    pub fn open(disk: Arc<dyn Disk>, fold: &Fold, segment: u32, length: u64) -> Result<Self, Error> {
        let path = segment_path(segment);
        let file = disk
            .open(&path, false)
            .map_err(|cause| Error::io("cannot open the ledger", disk.show(&path), cause))?;
        Ok(Self {
            disk,
            file,
            end: Mark {
                segment,
                offset: length,
            },
            next_commit: fold.commit.saturating_add(1),
            segment_bytes_max: SEGMENT_BYTES,
            buffer: Vec::new(),
        })
    }

    /// For tests: segments of another size.
    pub fn segment_bytes_max(&mut self, bytes: u64) {
        self.segment_bytes_max = bytes;
    }

    /// Appends one commit and syncs it: when this returns, it has happened.
    pub fn append(
        &mut self,
        entries: &[Entry],
        batches: Vec<String>,
        at: Timestamp,
    ) -> Result<(Commit, Mark), AppendError> {
        self.next_segment()?;
        let commit = Commit {
            commit: self.next_commit,
            lines: entries.len() as u64,
            batches,
            at,
        };
        self.render(entries, &commit).map_err(|cause| {
            AppendError::Final(Error::new(ErrorKind::Latched, "cannot write a ledger line").because(cause))
        })?;
        if let Err(cause) = self.file.write_at(&self.buffer, self.end.offset) {
            return Err(self.roll_back(cause));
        }
        self.file.sync().map_err(|cause| self.finally("cannot sync", cause))?;
        self.end.offset += self.buffer.len() as u64;
        self.next_commit = self.next_commit.saturating_add(1);
        Ok((commit, self.end))
    }

    /// Bytes that the last append wrote.
    pub fn last_append_bytes(&self) -> u64 {
        self.buffer.len() as u64
    }

    fn render(&mut self, entries: &[Entry], commit: &Commit) -> Result<(), serde_json::Error> {
        self.buffer.clear();
        for (n, entry) in entries.iter().enumerate() {
            entry.push(&mut self.buffer, commit.commit, n)?;
        }
        let sealed = 0..self.buffer.len();
        commit.push(&mut self.buffer, sealed)
    }

    /// Begins a new segment when the last one is long enough, so that a segment ends with a whole commit.
    fn next_segment(&mut self) -> Result<(), AppendError> {
        if self.end.offset < self.segment_bytes_max {
            return Ok(());
        }
        let segment = self.end.segment + 1;
        // A segment that an earlier try has made and not used is empty, and is used.
        let file = match self.disk.open(&segment_path(segment), true) {
            Ok(file) => file,
            Err(cause) if is_full(&cause) => return Err(AppendError::Full(cause)),
            Err(cause) => return Err(self.finally("cannot make the next segment after", cause)),
        };
        self.disk
            .sync_dir(Path::new(PROVENANCE))
            .map_err(|cause| self.finally("cannot sync the directory of", cause))?;
        self.file = file;
        self.end = Mark { segment, offset: 0 };
        Ok(())
    }

    /// Takes back what a failed write left behind.
    fn roll_back(&mut self, cause: io::Error) -> AppendError {
        let undone = self.file.truncate(self.end.offset).and_then(|()| self.file.sync());
        match undone {
            Ok(()) if is_full(&cause) => AppendError::Full(cause),
            Ok(()) => self.finally("cannot write", cause),
            Err(worse) => self.finally("cannot take back an unfinished commit in", worse),
        }
    }

    fn finally(&self, what: &str, cause: io::Error) -> AppendError {
        let path = self.disk.show(&segment_path(self.end.segment));
        let error = Error::io(format!("{what} the ledger"), path, cause);
        AppendError::Final(error.kind_set(ErrorKind::Latched))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::disk::SimDisk;
    use crate::limits::{COMMIT_LINES_MAX, LEDGER_LINE_BYTES_MAX};
    use crate::pure::entry::Delete;

    /// A ledger of three commits, and where each of them ends.
    fn three_commits() -> (SimDisk, Vec<u64>) {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(PROVENANCE)).unwrap();
        disk.create(&segment_path(1)).unwrap();
        let mut ledger = Ledger::open(Arc::new(disk.clone()), &Fold::default(), 1, 0).unwrap();
        let mut ends = Vec::new();
        for number in 1..=3_u64 {
            let entry = Entry::Delete(Delete {
                file_id: ulid::Ulid(number.into()),
                epoch: 0,
                session_id: "s".into(),
                path: "/s.jsonl".into(),
                path_base64: None,
                device: 1,
                inode: number,
                offset: 7,
            });
            let entries = vec![entry; usize::try_from(number).unwrap()];
            let (_, mark) = ledger.append(&entries, Vec::new(), Timestamp::UNIX_EPOCH).unwrap();
            ends.push(mark.offset);
        }
        (disk, ends)
    }

    fn bytes_of(disk: &SimDisk) -> Vec<u8> {
        let mut bytes = Vec::new();
        disk.read_from(&segment_path(1), 0)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        bytes
    }

    /// The numbers of the commits that a scan of `bytes` finds, and where they end.
    fn scanned(bytes: &[u8]) -> Result<(Vec<u64>, u64), Error> {
        let disk = SimDisk::new();
        disk.create(&segment_path(1)).unwrap().write_at(bytes, 0).unwrap();
        let mut found = Vec::new();
        let end = scan(&disk, 1, 0, |sealed| {
            found.push(sealed.commit.commit);
            Ok(())
        })?;
        Ok((found, end))
    }

    #[test]
    fn a_ledger_that_ends_anywhere_is_good_up_to_its_last_whole_commit() {
        let (disk, ends) = three_commits();
        let bytes = bytes_of(&disk);
        for length in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= length as u64).count();
            let (found, end) = scanned(&bytes[..length]).unwrap();
            assert_eq!(found.len(), whole, "{length} bytes");
            assert_eq!(end, if whole == 0 { 0 } else { ends[whole - 1] }, "{length} bytes");
        }
    }

    #[test]
    fn a_flipped_bit_is_damage_unless_it_may_be_a_torn_tail() {
        let (disk, ends) = three_commits();
        let bytes = bytes_of(&disk);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 4;
            match scanned(&flipped) {
                Err(error) => assert!((at as u64) < ends[1], "byte {at}: {error}"),
                Ok((found, end)) => {
                    assert!(at as u64 >= ends[1], "byte {at} was not seen");
                    assert_eq!((found, end), (vec![1, 2], ends[1]), "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_missing_or_doubled_line_is_damage() {
        let (disk, _) = three_commits();
        let bytes = bytes_of(&disk);
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        // The first two commits have five lines.
        for at in 0..4 {
            let mut missing = lines.clone();
            missing.remove(at);
            let mut doubled = lines.clone();
            doubled.insert(at, lines[at]);
            for changed in [missing, doubled] {
                let found = scanned(&changed.concat());
                // Without its `commit` line the first commit reads as more lines of the second one.
                assert!(found.is_err(), "line {at}: {found:?}");
            }
        }
    }

    #[test]
    fn a_missing_segment_is_damage() {
        let disk = SimDisk::new();
        assert_eq!(segments(&disk).unwrap(), 0);
        disk.create_dir(Path::new(PROVENANCE)).unwrap();
        disk.create(&segment_path(1)).unwrap();
        disk.create(&segment_path(3)).unwrap();
        assert!(segments(&disk).is_err());
        disk.create(&segment_path(2)).unwrap();
        assert_eq!(segments(&disk).unwrap(), 3);
    }

    /// The parts of a segment as those see it who read on past damage: `s`ealed up to a byte, `d`amaged, `u`nsealed.
    fn told(bytes: &[u8]) -> Vec<(char, u64)> {
        let disk = SimDisk::new();
        disk.create(&segment_path(1)).unwrap().write_at(bytes, 0).unwrap();
        let mut commits = Commits::open(&disk, 1, 0).unwrap();
        let mut told = Vec::new();
        while let Some(found) = commits.read().unwrap() {
            told.push(match found {
                Found::Sealed { end, .. } => ('s', end),
                Found::Damaged { end, .. } => ('d', end),
                Found::Unsealed { from, .. } => ('u', from),
            });
        }
        told
    }

    #[test]
    fn more_lines_than_a_commit_may_have_are_a_torn_tail_at_the_end_and_damage_before_a_commit() {
        let (disk, ends) = three_commits();
        let bytes = bytes_of(&disk);
        let (two, third) = bytes.split_at(usize::try_from(ends[1]).unwrap());
        let stray = b"{}\n".repeat(5 * COMMIT_LINES_MAX);
        let sealed = [('s', ends[0]), ('s', ends[1])];
        // What is given up at once is twice what a commit may have.
        let given_up = [2, 4].map(|times| ('d', ends[1] + 3 * times * COMMIT_LINES_MAX as u64));

        let torn = [two, &stray].concat();
        assert_eq!(scanned(&torn).unwrap(), (vec![1, 2], ends[1]));
        let unsealed = ('u', given_up[1].1);
        assert_eq!(told(&torn), [&sealed[..], &given_up, &[unsealed]].concat());

        let damaged = [two, &stray, third].concat();
        let error = scanned(&damaged).unwrap_err();
        let error = std::error::Error::source(&error).unwrap().to_string();
        assert!(
            error.contains(&format!("lines from byte {} do not fit", ends[1])),
            "{error}"
        );
        let found_again = ('s', damaged.len() as u64);
        assert_eq!(told(&damaged), [&sealed[..], &given_up, &[found_again]].concat());
    }

    #[test]
    fn a_line_longer_than_a_ledger_line_is_a_torn_tail_at_the_end_and_damage_before_a_commit() {
        let (disk, ends) = three_commits();
        let bytes = bytes_of(&disk);
        let (two, third) = bytes.split_at(usize::try_from(ends[1]).unwrap());
        let long = [&b"x".repeat(2 * LEDGER_LINE_BYTES_MAX + 7)[..], b"\n"].concat();
        assert_eq!(scanned(&[two, &long].concat()).unwrap(), (vec![1, 2], ends[1]));
        let damaged = [two, &long, third].concat();
        assert!(scanned(&damaged).is_err());
        let end = damaged.len() as u64;
        assert_eq!(told(&damaged), [('s', ends[0]), ('s', ends[1]), ('s', end)]);
    }
}
