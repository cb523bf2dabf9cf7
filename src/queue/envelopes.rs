//! The envelopes of one pending file, checked as a whole and then read one by one.
//!
//! An envelope longer than 8 MiB is never held: it is a line of a batch that has the layout we write, and
//! is streamed.

mod lines;
mod long;
mod quick;
mod raw;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::Builder;

use serde::Deserialize;

use crate::cores;
use crate::disk::Disk;
use crate::home::pending;
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, HALVES_FROM_BYTES, RAW_HELD_BYTES_MAX, VERSION_SHOWN_BYTES_MAX};
use crate::pure::name::Name;
use crate::pure::record::{Envelope, SCHEMA_VERSION};
use crate::show::json_error;

use super::reader::Broken;
use lines::Lines;
use long::LongEnvelope;
use raw::Raw;
pub(super) use raw::RawRooms;

/// In which form a record is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// The envelope as it is stored.
    Envelope,
    /// The `record` object.
    Record,
    /// The exact bytes of the line.
    Raw,
}

/// Why a file was not handed out.
#[derive(Debug)]
pub enum Refusal {
    /// Its content is damaged.
    Damaged(String),
    /// It has a schema version that we do not know; it is not ours to judge.
    Version(String),
    /// It is well, but a record has no line that could be handed out raw.
    NotRaw(String),
    /// It could not be read.
    Unreadable(io::Error),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(what) => write!(f, "its content is damaged: {what}"),
            Self::Version(version) => {
                write!(
                    f,
                    "its schema_version is {version}, and this program knows {SCHEMA_VERSION}"
                )
            }
            Self::NotRaw(what) => write!(f, "it has a record that is not a line: {what}"),
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

/// One envelope of a file.
struct Found {
    /// Its ULID as it is written.
    ulid: String,
    start: u64,
    length: u64,
    /// Where its line ends in [`Part::raw`].
    raw_end: usize,
}

/// A pending file whose envelopes were all found well.
pub(super) struct Checked<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    found: Vec<Found>,
    /// The raw lines, where they are wanted and not too many to be held: those of the first records, and those of the
    /// others.
    raw: Option<(usize, [Raw; 2])>,
}

impl<'a> Checked<'a> {
    /// Reads the file once and checks every envelope, their order and their number.
    pub(super) fn read(disk: &'a dyn Disk, name: &Path, format: Format) -> Result<Self, Refusal> {
        Self::read_into(&RawRooms::default(), disk, name, format)
    }

    /// The same; raw lines are held in these rooms.
    pub(super) fn read_into(
        rooms: &RawRooms,
        disk: &'a dyn Disk,
        name: &Path,
        format: Format,
    ) -> Result<Self, Refusal> {
        let path = pending(name);
        let kind = Name::parse(name.as_os_str());
        let (found, raw) = Part::halves(rooms, disk, &path, format, kind)?;
        if let Some(number) = found.windows(2).position(|pair| pair[0].ulid >= pair[1].ulid) {
            let number = number + 2;
            return Err(Refusal::Damaged(format!("the ULIDs do not rise at record {number}")));
        }
        let well = match kind {
            Name::Batch(batch) => {
                let first = found.first().map(|first| first.ulid.as_str());
                found.len() as u64 == batch.records && first == Some(&batch.first.to_string())
            }
            _ => found.len() == 1,
        };
        if !well {
            return Err(Refusal::Damaged(format!(
                "it holds {} records, other than its name says",
                found.len()
            )));
        }
        Ok(Self { disk, path, found, raw })
    }

    /// The ULID of the `index`-th record.
    pub(super) fn ulid(&self, index: usize) -> Option<&str> {
        self.found.get(index).map(|found| found.ulid.as_str())
    }

    /// The place of a record; the first one for a ULID that is not here.
    pub(super) fn position(&self, ulid: &str) -> usize {
        self.found.iter().position(|found| found.ulid == ulid).unwrap_or(0)
    }

    /// The place of the first record that is younger.
    pub(super) fn position_after(&self, ulid: &str) -> usize {
        self.found.partition_point(|found| found.ulid.as_str() <= ulid)
    }

    /// Bytes of the file, if it is a batch.
    pub(super) fn bytes(&self) -> u64 {
        self.found.last().map_or(0, |found| found.start + found.length + 1)
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    /// Calls `each` with the JSON of each envelope of `range`, held whole, until it fails.
    pub(super) fn each(
        &self,
        range: std::ops::Range<usize>,
        each: &mut dyn FnMut(&[u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let Some(first) = self.found.get(range.start) else {
            return Ok(());
        };
        let mut reader = Lines::open(self.disk, &self.path, first.start).map_err(Broken::Source)?;
        for found in &self.found[range] {
            reader.take(found.length).map_err(Broken::Source)?;
            each(reader.line())?;
        }
        Ok(())
    }

    /// Writes the records of `range`, each with a newline.
    pub(super) fn write(
        &self,
        range: std::ops::Range<usize>,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<(), WriteError> {
        let Some(first) = self.found.get(range.start) else {
            return Ok(());
        };
        if let (Format::Raw, Some((split, [before, after]))) = (format, &self.raw) {
            let first = self.raw_of(range.start..range.end.min(*split), 0, before.bytes());
            let second = self.raw_of(range.start.max(*split)..range.end, *split, after.bytes());
            out.write_all(first).map_err(WriteError::Output)?;
            return out.write_all(second).map_err(WriteError::Output);
        }
        let mut reader = Lines::open(self.disk, &self.path, first.start)?;
        for found in &self.found[range] {
            if found.length > ENVELOPE_IN_MEMORY_BYTES as u64 {
                LongEnvelope::at(self.disk, &self.path, found.start, found.length).write(format, out)?;
                reader = Lines::open(self.disk, &self.path, found.start + found.length + 1)?;
            } else {
                reader.take(found.length)?;
                write_one(reader.line(), format, out)?;
            }
        }
        Ok(())
    }
}

impl Checked<'_> {
    /// The raw lines of `range`, of a half that begins with record `begin`.
    fn raw_of<'r>(&self, range: std::ops::Range<usize>, begin: usize, half: &'r [u8]) -> &'r [u8] {
        if range.is_empty() {
            return &[];
        }
        let from = if range.start == begin {
            0
        } else {
            self.found[range.start - 1].raw_end
        };
        &half[from..self.found[range.end - 1].raw_end]
    }
}

/// Some of the envelopes of a file, all found well.
#[derive(Default)]
struct Part {
    found: Vec<Found>,
    /// Their lines, each with a newline, if they are wanted.
    raw: Raw,
    /// They are too many to be held.
    is_too_much: bool,
}

/// The envelopes of a file, and their raw lines as [`Checked::raw`] has them.
type Halves = (Vec<Found>, Option<(usize, [Raw; 2])>);

impl Part {
    /// Those of the whole file. Those of a large batch are checked by two threads, a half each.
    fn halves(rooms: &RawRooms, disk: &dyn Disk, path: &Path, format: Format, kind: Name) -> Result<Halves, Refusal> {
        let size = disk.meta(path)?.size;
        let single = kind == Name::Single;
        if !single && size >= HALVES_FROM_BYTES && cores::has_second() {
            let parts = std::thread::scope(|scope| {
                let read = || Self::read(rooms, disk, path, format, false, size / 2..u64::MAX, size - size / 2);
                let second = Builder::new().name("check".into()).spawn_scoped(scope, read).ok()?;
                let first = Self::read(rooms, disk, path, format, false, 0..size / 2, size / 2);
                Some((first.ok()?, second.join().ok()?.ok()?))
            });
            if let Some((mut first, mut second)) = parts {
                let split = first.found.len();
                first.found.append(&mut second.found);
                let is_held = format == Format::Raw && !first.is_too_much && !second.is_too_much;
                return Ok((first.found, is_held.then_some((split, [first.raw, second.raw]))));
            }
            // No thread, or something is wrong, which is told in the words for a whole file.
        }
        let part = Self::read(rooms, disk, path, format, single, 0..u64::MAX, size)?;
        let is_held = format == Format::Raw && !part.is_too_much;
        let split = part.found.len();
        Ok((part.found, is_held.then_some((split, [part.raw, Raw::default()]))))
    }

    /// Those that begin in `range`, a range of bytes of the file, about so many bytes.
    fn read(
        rooms: &RawRooms,
        disk: &dyn Disk,
        path: &Path,
        format: Format,
        single: bool,
        range: std::ops::Range<u64>,
        bytes: u64,
    ) -> Result<Self, Refusal> {
        let mut reader = Lines::open(disk, path, range.start.saturating_sub(1))?;
        if range.start > 0 {
            // The end of the one before.
            reader.next(false)?;
        }
        let (mut part, mut scratch) = (Self::default(), Vec::new());
        if format == Format::Raw {
            // Escaped, lines are never shorter.
            let bytes_max = bytes.min(RAW_HELD_BYTES_MAX as u64);
            part.raw = Raw::new(rooms.clone());
            part.raw.expect(usize::try_from(bytes_max).unwrap_or_default());
        }
        while reader.at < range.end
            && let Some((start, length)) = reader.next(single)?
        {
            let ulid = if length > ENVELOPE_IN_MEMORY_BYTES as u64 {
                part.is_too_much = true;
                LongEnvelope::at(disk, path, start, length).check(format)?
            } else {
                part.check(reader.line(), format, &mut scratch)?
            };
            let raw_end = part.raw.len();
            part.found.push(Found {
                ulid,
                start,
                length,
                raw_end,
            });
        }
        Ok(part)
    }

    fn check(&mut self, line: &[u8], format: Format, scratch: &mut Vec<u8>) -> Result<String, Refusal> {
        if self.raw.len() > RAW_HELD_BYTES_MAX {
            (self.is_too_much, self.raw) = (true, Raw::default());
        }
        let ulid = match quick::check(line, format, scratch, &mut self.raw) {
            Some(ulid) => ulid,
            None => check(line, format, &mut self.raw)?,
        };
        if format == Format::Raw {
            self.raw.push(b"\n");
        }
        Ok(ulid)
    }
}

/// Why records could not be handed out.
#[derive(Debug)]
pub(super) enum WriteError {
    /// The reader took no more.
    Output(io::Error),
    /// The file could not be read any more.
    Source(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Source(error)
    }
}

/// Checks one envelope and returns its ULID; for [`Format::Raw`] its line is added to `raw`.
fn check(line: &[u8], format: Format, raw: &mut Raw) -> Result<String, Refusal> {
    version_of(line)?;
    let ulid = check_parsed(line)?;
    if format == Format::Raw {
        let envelope = Envelope::parse(line).map_err(|error| Refusal::Damaged(json_error(&error)))?;
        let bytes = envelope.line().map_err(|error| Refusal::NotRaw(error.to_string()))?;
        raw.push(&bytes);
    }
    Ok(ulid)
}

/// Checks one envelope by the parser alone.
fn check_parsed(line: &[u8]) -> Result<String, Refusal> {
    let envelope = Envelope::parse(line).map_err(|error| Refusal::Damaged(json_error(&error)))?;
    known_version(envelope.schema_version)?;
    Ok(envelope.ulid.into_owned())
}

fn known_version(version: u64) -> Result<(), Refusal> {
    if version == SCHEMA_VERSION {
        Ok(())
    } else {
        Err(Refusal::Version(version.to_string()))
    }
}

/// An unknown version is told before anything else of the envelope is judged.
fn version_of(line: &[u8]) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: Option<serde_json::Value>,
    }
    match serde_json::from_slice(line) {
        Ok(Version {
            schema_version: Some(version),
        }) if version != SCHEMA_VERSION => Err(Refusal::Version(shown_version(&version))),
        _ => Ok(()),
    }
}

/// A version that looks like one; of anything else, which may be a piece of a line, not a word.
fn shown_version(version: &serde_json::Value) -> String {
    let text = version.to_string();
    if text.len() <= VERSION_SHOWN_BYTES_MAX && !text.contains(char::is_alphabetic) {
        text
    } else {
        "no number".into()
    }
}

fn write_one(line: &mut [u8], format: Format, out: &mut dyn Write) -> Result<(), WriteError> {
    let source = |error: Box<dyn std::error::Error + Send + Sync>| WriteError::Source(io::Error::other(error));
    if format == Format::Raw {
        let (mut scratch, mut raw) = (Vec::new(), Raw::default());
        if quick::check(line, format, &mut scratch, &mut raw).is_none() {
            let envelope = Envelope::parse(line).map_err(|error| source(error.into()))?;
            raw.push(&envelope.line().map_err(source)?);
        }
        out.write_all(raw.bytes()).map_err(WriteError::Output)?;
        return out.write_all(b"\n").map_err(WriteError::Output);
    }
    // In JSON a line break can only stand between tokens, so a space says the same.
    for byte in line.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    let text = match format {
        Format::Record => {
            let envelope = Envelope::parse(line).map_err(|error| source(error.into()))?;
            envelope.record.get().as_bytes()
        }
        Format::Envelope | Format::Raw => line,
    };
    out.write_all(text).map_err(WriteError::Output)?;
    out.write_all(b"\n").map_err(WriteError::Output)
}
