//! What waits in the queue, against the commits that put it there.

use std::collections::BTreeMap;
use std::ffi::OsString;

use memchr::memmem;
use serde::Deserialize;
use ulid::Ulid;

use crate::disk::Disk;
use crate::error::Error;
use crate::home::pending;
use crate::pure::commit::Commit;
use crate::pure::entry::{Captured, Entry, Settled};
use crate::pure::name::Name;
use crate::queue::depth::list;
use crate::waiting::{Trouble, Waiting, bad};

use super::finding::{Finding, Kind, Report};

/// The queue as it was listed before the ledger was read.
pub(super) struct Batches<'a> {
    disk: &'a dyn Disk,
    /// By name; what a commit names is taken out.
    waiting: BTreeMap<OsString, Name>,
}

impl<'a> Batches<'a> {
    /// Lists it.
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
            let checked = Reader::open(self.disk, &pending(&name)).and_then(|mut reader| expected.check(&mut reader));
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

/// What is compared of a record's source.
#[derive(Deserialize)]
struct Source {
    file_id: Ulid,
    epoch: u64,
    offset: u64,
    length: u64,
    terminated: bool,
}

type Reader<'a> = Waiting<'a, Source>;
/// A record that says where it came from.
struct Record {
    ulid: Ulid,
    source: Source,
    bytes: Option<Vec<u8>>,
}

/// The next record, which must say where it came from.
fn next(reader: &mut Reader<'_>) -> Result<Option<Record>, Trouble> {
    let Some(record) = reader.read()? else {
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
    fn check(&self, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
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
        if next(reader)?.is_some() || found != records {
            return Err(bad(format!("the ledger tells of {found} records in it")));
        }
        Ok(records)
    }

    /// One record in a file, which is any one of the commit.
    fn check_single(&self, reader: &mut Reader<'_>) -> Result<u64, Trouble> {
        let record = next(reader)?.ok_or_else(|| bad("it is empty"))?;
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
    let length = record.bytes.as_ref().map_or(source.length, |bytes| bytes.len() as u64);
    same_file
        && length == source.length
        && source.terminated
        && source.offset >= run.from
        && end.is_some_and(|end| end < run.to)
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
