//! What a commit says that a file of the queue holds, and whether it does.

use std::ffi::OsString;
use std::path::Path;

use ulid::Ulid;

use crate::disk::Disk;
use crate::limits::PIECE_BYTES;
use crate::pure::entry::{Captured, Entry, Settled};
use crate::pure::name::Name;
use crate::waiting::{Source, Trouble, Waiting, bad};

/// A file of the queue, being read.
pub(super) struct Reader<'a> {
    waiting: Waiting<'a, Source>,
    /// Read, and not taken yet.
    peeked: Option<Record>,
}

impl<'a> Reader<'a> {
    pub(super) fn open(disk: &'a dyn Disk, path: &Path) -> Result<Self, Trouble> {
        let waiting = Waiting::open(disk, path)?;
        Ok(Self { waiting, peeked: None })
    }

    /// The ULID of the next record; None at the end.
    pub(super) fn peek(&mut self) -> Result<Option<Ulid>, Trouble> {
        if self.peeked.is_none() {
            self.peeked = next(self)?;
        }
        Ok(self.peeked.as_ref().map(|record| record.ulid))
    }
}

/// A record that says where it came from.
struct Record {
    ulid: Ulid,
    source: Source,
    bytes: Option<Vec<u8>>,
}

/// The next record, which must say where it came from.
fn next(reader: &mut Reader<'_>) -> Result<Option<Record>, Trouble> {
    if let Some(record) = reader.peeked.take() {
        return Ok(Some(record));
    }
    let Some(record) = reader.waiting.read()? else {
        return Ok(None);
    };
    let ulid = record.ulid;
    let source = record
        .source
        .ok_or_else(|| bad(format!("record {ulid} has no source")))?;
    let bytes = record.bytes;
    Ok(Some(Record { ulid, source, bytes }))
}

/// What the ledger says that a batch holds.
pub(super) struct Expected<'a> {
    parts: Vec<Part<'a>>,
    records: Option<u64>,
    /// The ULID in the name of a single record.
    named: Option<Ulid>,
}

/// Consecutive records of one ledger line.
enum Part<'a> {
    Run(&'a Captured, Ulid),
    Settled(&'a Settled),
}

impl Part<'_> {
    fn first(&self) -> Ulid {
        match self {
            Self::Run(_, first) => *first,
            Self::Settled(settled) => settled.ulid,
        }
    }

    fn records(&self) -> u64 {
        match self {
            Self::Run(run, _) => run.lines,
            Self::Settled(_) => 1,
        }
    }
}

impl<'a> Expected<'a> {
    /// A batch holds the records that name it. Anything else named by a commit holds records of the commit.
    pub(super) fn of(name: &OsString, kind: Name, entries: &'a [Entry]) -> Self {
        let batch = match kind {
            Name::Batch(batch) => Some(batch.first),
            _ => name.to_str().and_then(|name| {
                let name = name.strip_prefix("pending-")?.strip_suffix(".json")?;
                crate::pure::name::parse_ulid(name)
            }),
        };
        let single = kind == Name::Single;
        let ours = |named: Option<Ulid>| single || named == batch;
        let mut parts: Vec<_> = entries
            .iter()
            .filter_map(|entry| match entry {
                Entry::Captured(run) if ours(run.batch) => Some(Part::Run(run, run.first?)),
                Entry::Settled(settled) if ours(settled.batch) => Some(Part::Settled(settled)),
                _ => None,
            })
            .collect();
        parts.sort_by_key(Part::first);
        Self {
            parts,
            records: kind.readable_records().filter(|_| !single),
            named: batch.filter(|_| single),
        }
    }

    /// Compares, and returns how many records there are.
    pub(super) fn check(&self, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
        let Some(records) = self.records else {
            return self.check_single(reader);
        };
        let found = self.check_part(reader)?;
        if next(reader)?.is_some() || found != records {
            return Err(bad(format!("the ledger tells of {found} records in it")));
        }
        Ok(records)
    }

    /// Compares with what comes next, which may go on behind it, and returns how many records there are.
    pub(super) fn check_part(&self, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
        let mut found = 0;
        for part in &self.parts {
            match part {
                Part::Run(run, first) => check_run(run, *first, reader)?,
                Part::Settled(settled) => check_settled(settled, reader)?,
            }
            found += part.records();
        }
        Ok(found)
    }

    /// One record in a file, which is any one of the commit.
    fn check_single(&self, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
        let record = next(reader)?.ok_or_else(|| bad("it is empty"))?;
        let ulid = record.ulid;
        let part = self.parts.iter().rfind(|part| part.first() <= ulid);
        let named = self.named.is_none_or(|named| named == ulid);
        let stands = named
            && part.is_some_and(|part| {
                let index = ulid.0 - part.first().0;
                index < part.records().into()
                    && match part {
                        Part::Run(run, _) => in_run(run, &record) && (run.lines > 1 || is_all_of(run, &record)),
                        Part::Settled(settled) => is_settled(settled, &record),
                    }
            });
        if stands {
            Ok(1)
        } else {
            Err(bad(format!(
                "its record {ulid} is not the one that the ledger tells of"
            )))
        }
    }
}

/// Whether a record stands within a run.
fn in_run(run: &Captured, record: &Record) -> bool {
    let source = &record.source;
    let same_file = (source.file_id, source.epoch) == (run.file_id, run.epoch);
    let end = source.offset.checked_add(source.length);
    let length = record.bytes.as_ref().map_or(source.length, |bytes| bytes.len() as u64);
    same_file
        && length == source.length
        && source.terminated
        && source.offset >= run.from
        && end.is_some_and(|end| end < run.to)
}

/// Whether a record is the only line of its run.
fn is_all_of(run: &Captured, record: &Record) -> bool {
    let bytes = record
        .bytes
        .as_ref()
        .filter(|_| run.blank == 0 && run.settled.is_none());
    let hash = |bytes: &Vec<u8>| blake3::Hasher::new().update(bytes).update(b"\n").finalize();
    bytes.is_none_or(|bytes| hash(bytes).to_hex().as_str() == run.blake3)
}

fn is_settled(settled: &Settled, record: &Record) -> bool {
    let source = &record.source;
    let ours = (settled.file_id, settled.epoch, settled.offset, settled.length);
    let same = (source.file_id, source.epoch, source.offset, source.length) == ours && !source.terminated;
    let bytes = record.bytes.as_ref();
    same && bytes.is_none_or(|bytes| blake3::hash(bytes).to_hex().as_str() == settled.blake3)
}

fn check_settled(settled: &Settled, reader: &mut Reader<'_>) -> Result<(), Trouble> {
    match next(reader)? {
        Some(record) if record.ulid == settled.ulid && is_settled(settled, &record) => Ok(()),
        _ => Err(bad(format!(
            "record {} is not the settled line that the ledger tells of",
            settled.ulid
        ))),
    }
}

/// The records of a run follow one another, and with their newlines and the blank lines they are its bytes.
fn check_run(run: &Captured, first: Ulid, reader: &mut Reader<'_>) -> Result<(), Trouble> {
    let mut bytes = RunBytes {
        run,
        at: run.from,
        blank: 0,
        // A settled line has its record elsewhere, and so has a line that is too long to be held here.
        hasher: run.settled.is_none().then(blake3::Hasher::new),
        unhashed: Vec::new(),
    };
    for index in 0..run.lines {
        let ulid = Ulid(first.0.saturating_add(index.into()));
        let misfit = || bad(format!("record {ulid} is not the line that the ledger tells of"));
        let record = next(reader)?.ok_or_else(misfit)?;
        if record.ulid != ulid || !in_run(run, &record) || record.source.offset < bytes.at {
            return Err(misfit());
        }
        bytes.line(&record);
    }
    bytes.end()
}

/// The bytes of a run, put together from its records.
struct RunBytes<'a> {
    run: &'a Captured,
    at: u64,
    blank: u64,
    hasher: Option<blake3::Hasher>,
    /// Hashed together, since that is several times faster than line by line.
    unhashed: Vec<u8>,
}

impl RunBytes<'_> {
    fn line(&mut self, record: &Record) {
        self.blank_up_to(record.source.offset);
        match &record.bytes {
            Some(bytes) if self.hasher.is_some() => {
                self.unhashed.extend_from_slice(bytes);
                self.unhashed.push(b'\n');
                self.hash_beyond(PIECE_BYTES);
            }
            _ => self.hasher = None,
        }
        self.at = record.source.offset + record.source.length + 1;
    }

    /// What no record covers is newlines of blank lines.
    fn blank_up_to(&mut self, offset: u64) {
        let mut left = offset - self.at;
        self.blank += left;
        if self.blank > self.run.blank {
            return;
        }
        while self.hasher.is_some() && left > 0 {
            let some = left.min(PIECE_BYTES as u64);
            let length = usize::try_from(some).unwrap_or(PIECE_BYTES);
            self.unhashed.resize(self.unhashed.len() + length, b'\n');
            self.hash_beyond(PIECE_BYTES);
            left -= some;
        }
    }

    /// Hashes what was collected, if it is more than this.
    fn hash_beyond(&mut self, bytes: usize) {
        if let Some(hasher) = self.hasher.as_mut().filter(|_| self.unhashed.len() > bytes) {
            hasher.update(&self.unhashed);
            self.unhashed.clear();
        }
    }

    fn end(mut self) -> Result<(), Trouble> {
        self.blank_up_to(self.run.to.max(self.at));
        self.hash_beyond(0);
        let run = self.run;
        let place = || format!("the run from {} of file {}", run.from, run.file_id);
        if run.settled.is_none() && self.blank != run.blank {
            return Err(bad(format!("its records do not fill {}", place())));
        }
        match self.hasher {
            Some(hasher) if hasher.finalize().to_hex().as_str() != run.blake3 => {
                Err(bad(format!("its bytes are not those of {}", place())))
            }
            _ => Ok(()),
        }
    }
}
