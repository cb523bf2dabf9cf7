//! What waits in the queue, against the commits that put it there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};

use memchr::memmem;
use serde::Deserialize;
use serde::de::IgnoredAny;
use ulid::Ulid;

use crate::disk::Disk;
use crate::error::Error;
use crate::home::pending;
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, PIECE_BYTES};
use crate::pure::commit::Commit;
use crate::pure::entry::{Captured, Entry, Settled};
use crate::pure::name::Name;
use crate::pure::record::{Envelope, SCHEMA_VERSION};
use crate::queue::depth::list;

use super::finding::{Finding, Kind, Report};

/// The queue as it was listed before the ledger was read.
pub(super) struct Batches<'a> {
    disk: &'a dyn Disk,
    /// By name; what a commit names is taken out.
    waiting: BTreeMap<OsString, Name>,
}

/// Why a batch is not well.
enum Trouble {
    /// It is damaged, or other than the ledger says.
    Bad(String),
    /// It cannot be judged.
    Unclear(String),
    /// It was drained.
    Gone,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Unclear(format!("it cannot be read: {error}")),
        }
    }
}

fn bad(what: impl Into<String>) -> Trouble {
    Trouble::Bad(what.into())
}

impl<'a> Batches<'a> {
    pub(super) fn list(disk: &'a dyn Disk) -> Result<Self, Error> {
        let waiting = list(disk)?.files.into_iter().map(|(name, (kind, _))| (name, kind));
        Ok(Self {
            disk,
            waiting: waiting.collect(),
        })
    }

    /// A visible batch that is named in lines which no commit seals.
    pub(super) fn named_in(&self, lines: &[u8]) -> Option<String> {
        let batches = self.waiting.iter().filter(|(_, kind)| matches!(kind, Name::Batch(_)));
        let mut named = batches.filter(|(name, _)| memmem::find(lines, name.as_encoded_bytes()).is_some());
        named.next().map(|(name, _)| name.to_string_lossy().into_owned())
    }

    /// Checks the batches that a commit names, as far as they still wait.
    pub(super) fn check(&mut self, commit: &Commit, entries: &[Entry], report: &mut Report) {
        for name in &commit.batches {
            let Some((name, kind)) = self.waiting.remove_entry(name.as_str().as_ref() as &std::ffi::OsStr) else {
                continue;
            };
            let expected = Expected::of(&name, kind, entries);
            let checked = BatchReader::open(self.disk, &name).and_then(|mut reader| expected.check(&mut reader));
            let (kind, what) = match checked {
                Ok(records) => {
                    report.batches.verified += 1;
                    report.batches.records += records;
                    continue;
                }
                Err(Trouble::Gone) => {
                    report.batches.drained += 1;
                    continue;
                }
                Err(Trouble::Bad(what)) => {
                    report.batches.failed += 1;
                    (Kind::Batch, what)
                }
                Err(Trouble::Unclear(what)) => {
                    report.batches.unchecked += 1;
                    (Kind::Unchecked, what)
                }
            };
            report.add(Finding::new(kind, what).at(&pending(&name)).commit(commit.commit));
        }
    }

    /// What is left is of other programs.
    pub(super) fn count(&self, report: &mut Report) {
        report.batches.others = self.waiting.len() as u64;
    }
}

/// What the ledger says that a batch holds.
struct Expected<'a> {
    parts: Vec<Part<'a>>,
    records: Option<u64>,
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
    fn of(name: &OsString, kind: Name, entries: &'a [Entry]) -> Self {
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
        }
    }

    /// Compares, and returns how many records there are.
    fn check(&self, reader: &mut BatchReader<'_>) -> Result<u64, Trouble> {
        let Some(records) = self.records else {
            return self.check_single(reader);
        };
        let mut found = 0;
        for part in &self.parts {
            match part {
                Part::Run(run, first) => check_run(run, *first, reader)?,
                Part::Settled(settled) => check_settled(settled, reader)?,
            }
            found += part.records();
        }
        if reader.next()?.is_some() || found != records {
            return Err(bad(format!("the ledger tells of {found} records in it")));
        }
        Ok(records)
    }

    /// One record in a file, which is any one of the commit.
    fn check_single(&self, reader: &mut BatchReader<'_>) -> Result<u64, Trouble> {
        let record = reader.next()?.ok_or_else(|| bad("it is empty"))?;
        let ulid = record.ulid;
        let part = self.parts.iter().rfind(|part| part.first() <= ulid);
        let stands = part.is_some_and(|part| {
            let index = ulid.0 - part.first().0;
            index < part.records().into()
                && match part {
                    Part::Run(run, _) => in_run(run, &record),
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
    same_file && source.terminated && source.offset >= run.from && end.is_some_and(|end| end < run.to)
}

fn is_settled(settled: &Settled, record: &Record) -> bool {
    let source = &record.source;
    let ours = (settled.file_id, settled.epoch, settled.offset, settled.length);
    let same = (source.file_id, source.epoch, source.offset, source.length) == ours && !source.terminated;
    let bytes = record.bytes.as_ref();
    same && bytes.is_none_or(|bytes| blake3::hash(bytes).to_hex().as_str() == settled.blake3)
}

fn check_settled(settled: &Settled, reader: &mut BatchReader<'_>) -> Result<(), Trouble> {
    match reader.next()? {
        Some(record) if record.ulid == settled.ulid && is_settled(settled, &record) => Ok(()),
        _ => Err(bad(format!(
            "record {} is not the settled line that the ledger tells of",
            settled.ulid
        ))),
    }
}

/// The records of a run follow one another, and with their newlines and the blank lines they are its bytes.
fn check_run(run: &Captured, first: Ulid, reader: &mut BatchReader<'_>) -> Result<(), Trouble> {
    let mut bytes = RunBytes {
        run,
        at: run.from,
        blank: 0,
        // A settled line has its record elsewhere, and so has a line that is too long to be held here.
        hasher: run.settled.is_none().then(blake3::Hasher::new),
    };
    for index in 0..run.lines {
        let ulid = Ulid(first.0.saturating_add(index.into()));
        let misfit = || bad(format!("record {ulid} is not the line that the ledger tells of"));
        let record = reader.next()?.ok_or_else(misfit)?;
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
}

impl RunBytes<'_> {
    fn line(&mut self, record: &Record) {
        self.blank_up_to(record.source.offset);
        match (&mut self.hasher, &record.bytes) {
            (Some(hasher), Some(bytes)) => drop(hasher.update(bytes).update(b"\n")),
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
        while let Some(hasher) = self.hasher.as_mut().filter(|_| left > 0) {
            let some = left.min(64);
            hasher.update(&[b'\n'; 64][..usize::try_from(some).unwrap_or(64)]);
            left -= some;
        }
    }

    fn end(mut self) -> Result<(), Trouble> {
        self.blank_up_to(self.run.to.max(self.at));
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

/// A record as the ledger can be held against it.
struct Record {
    ulid: Ulid,
    source: Source,
    /// None when they are too many to be held.
    bytes: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Source {
    file_id: Ulid,
    epoch: u64,
    offset: u64,
    length: u64,
    terminated: bool,
}

#[derive(Deserialize)]
struct Sourced {
    source: Source,
}

/// Reads the envelopes of a pending file.
struct BatchReader<'a> {
    disk: &'a dyn Disk,
    name: &'a OsString,
    reader: BufReader<Box<dyn Read + Send>>,
    at: u64,
    line: Vec<u8>,
}

impl<'a> BatchReader<'a> {
    fn open(disk: &'a dyn Disk, name: &'a OsString) -> Result<Self, Trouble> {
        Ok(Self {
            disk,
            name,
            reader: BufReader::with_capacity(4 * PIECE_BYTES, disk.read_from(&pending(name), 0)?),
            at: 0,
            line: Vec::new(),
        })
    }

    /// The next record; None at the end.
    fn next(&mut self) -> Result<Option<Record>, Trouble> {
        let (start, limit) = (self.at, ENVELOPE_IN_MEMORY_BYTES as u64);
        self.line.clear();
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.line)?;
        self.at += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == limit && self.line.last() != Some(&b'\n') {
            let more = skip_line(&mut self.reader)?;
            self.at += more;
            return self.long(start).map(Some);
        }
        parse(&self.line).map(Some)
    }

    /// An envelope that is not held: everything but its text is read.
    fn long(&self, start: u64) -> Result<Record, Trouble> {
        #[derive(Deserialize)]
        struct Long {
            ulid: Ulid,
            schema_version: u64,
            record: Sourced,
            #[serde(default, rename = "appended_at")]
            _appended_at: IgnoredAny,
        }
        let reader = self.disk.read_from(&pending(self.name), start)?.take(self.at - start);
        let long: Long = serde_json::from_reader(BufReader::with_capacity(PIECE_BYTES, reader)).map_err(|error| {
            if error.is_io() {
                Trouble::Unclear(format!("it cannot be read: {error}"))
            } else {
                bad(format!("an envelope is damaged: {error}"))
            }
        })?;
        known_version(long.schema_version)?;
        Ok(Record {
            ulid: long.ulid,
            source: long.record.source,
            bytes: None,
        })
    }
}

/// Steps over the rest of a line; returns its length, newline included.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let bytes = reader.fill_buf()?;
        let newline = memchr::memchr(b'\n', bytes);
        let used = newline.map_or(bytes.len(), |at| at + 1);
        reader.consume(used);
        skipped += used as u64;
        if newline.is_some() || used == 0 {
            return Ok(skipped);
        }
    }
}

fn parse(line: &[u8]) -> Result<Record, Trouble> {
    let damaged = |error: String| bad(format!("an envelope is damaged: {error}"));
    let envelope = Envelope::parse(line).map_err(|error| damaged(error.to_string()))?;
    known_version(envelope.schema_version)?;
    let ulid = envelope.ulid.parse().map_err(|_| damaged("its ULID is none".into()))?;
    let sourced: Sourced = serde_json::from_str(envelope.record.get()).map_err(|error| damaged(error.to_string()))?;
    let bytes = envelope
        .line()
        .map_err(|error| damaged(error.to_string()))?
        .into_owned();
    if bytes.len() as u64 != sourced.source.length {
        return Err(bad(format!("record {ulid} holds {} bytes", bytes.len())));
    }
    Ok(Record {
        ulid,
        source: sourced.source,
        bytes: Some(bytes),
    })
}

fn known_version(version: u64) -> Result<(), Trouble> {
    if version == SCHEMA_VERSION {
        return Ok(());
    }
    Err(Trouble::Unclear(format!(
        "its schema_version is {version}, and this program knows {SCHEMA_VERSION}"
    )))
}
