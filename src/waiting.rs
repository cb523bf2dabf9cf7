//! A pending file, read record by record by those who only look: no claim is taken.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ulid::Ulid;

use crate::disk::Disk;
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, PIECE_BYTES};
use crate::pure::name::Name;
use crate::pure::record::SCHEMA_VERSION;

/// Why a file is not well.
#[derive(Debug)]
pub enum Trouble {
    /// It is damaged, or other than it should be.
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

/// It is not well.
pub fn bad(what: impl Into<String>) -> Trouble {
    Trouble::Bad(what.into())
}

/// A record, with what is wanted of its `source`.
#[derive(Debug)]
pub struct Record<S> {
    /// Its ULID.
    pub ulid: Ulid,
    /// Where it came from; None when it does not say so.
    pub source: Option<S>,
    /// The bytes of the line; None when they are too many to be held.
    pub bytes: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Sourced<S> {
    source: Option<S>,
}

/// Reads the envelopes of a file. One of more than 8 MiB is not held.
pub struct Waiting<'a, S> {
    disk: &'a dyn Disk,
    path: PathBuf,
    reader: BufReader<Box<dyn Read + Send>>,
    at: u64,
    line: Vec<u8>,
    /// It is one envelope, over any number of lines.
    whole: bool,
    wanted: PhantomData<S>,
}

impl<'a, S: DeserializeOwned> Waiting<'a, S> {
    /// Opens a file, by its path in the home.
    pub fn open(disk: &'a dyn Disk, path: &Path) -> Result<Self, Trouble> {
        Ok(Self {
            disk,
            reader: BufReader::with_capacity(4 * PIECE_BYTES, disk.read_from(path, 0)?),
            path: path.to_owned(),
            at: 0,
            line: Vec::new(),
            whole: path.file_name().is_some_and(|name| Name::parse(name) == Name::Single),
            wanted: PhantomData,
        })
    }

    /// The next record; None at the end.
    pub fn read(&mut self) -> Result<Option<Record<S>>, Trouble> {
        let (start, limit) = (self.at, ENVELOPE_IN_MEMORY_BYTES as u64);
        self.line.clear();
        let mut some = self.reader.by_ref().take(limit);
        let read = if self.whole {
            some.read_to_end(&mut self.line)?
        } else {
            some.read_until(b'\n', &mut self.line)?
        };
        self.at += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if read as u64 == limit && self.line.last() != Some(&b'\n') {
            while {
                let skipped = skip_line(&mut self.reader)?;
                self.at += skipped;
                self.whole && skipped > 0
            } {}
            return self.long(start).map(Some);
        }
        parse(&self.line).map(Some)
    }

    /// An envelope that is not held: everything but its text is read.
    fn long(&self, start: u64) -> Result<Record<S>, Trouble> {
        #[derive(Deserialize)]
        struct Long<S> {
            ulid: Ulid,
            schema_version: u64,
            record: Sourced<S>,
        }
        let reader = self.disk.read_from(&self.path, start)?.take(self.at - start);
        let reader = BufReader::with_capacity(PIECE_BYTES, reader);
        let long: Long<S> = serde_json::from_reader(reader).map_err(|error| {
            if error.is_io() {
                Trouble::Unclear(format!("it cannot be read: {error}"))
            } else {
                damaged(error)
            }
        })?;
        if long.schema_version != SCHEMA_VERSION {
            return Err(unknown_version(long.schema_version));
        }
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

/// An envelope in one pass: unescaping a line is most of the work, so it is done once.
#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>"))]
struct Whole<'a, S> {
    #[serde(borrow)]
    ulid: Cow<'a, str>,
    schema_version: u64,
    #[serde(borrow)]
    record: Forms<'a, S>,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "S: Deserialize<'de>"))]
struct Forms<'a, S> {
    source: Option<S>,
    #[serde(borrow, default, rename = "surface")]
    readable: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "surface_base64")]
    exact: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "text")]
    foreign: Option<Cow<'a, str>>,
}

fn parse<S: DeserializeOwned>(line: &[u8]) -> Result<Record<S>, Trouble> {
    let whole: Whole<'_, S> = serde_json::from_slice(line).map_err(|error| match version_of(line) {
        Some(version) if version != SCHEMA_VERSION => unknown_version(version),
        _ => damaged(error),
    })?;
    if whole.schema_version != SCHEMA_VERSION {
        return Err(unknown_version(whole.schema_version));
    }
    let ulid = whole.ulid.parse().map_err(damaged)?;
    let Forms {
        source,
        readable,
        exact,
        foreign,
    } = whole.record;
    let bytes = match (exact, readable.or(foreign)) {
        (Some(base64), _) => STANDARD.decode(base64.as_bytes()).map_err(damaged)?,
        (None, Some(text)) => text.into_owned().into_bytes(),
        (None, None) => return Err(bad(format!("record {ulid} has neither `surface` nor `text`"))),
    };
    let bytes = Some(bytes);
    Ok(Record { ulid, source, bytes })
}

/// The version of an envelope that may be anything else but ours.
fn version_of(line: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u64,
    }
    serde_json::from_slice(line)
        .ok()
        .map(|Version { schema_version }| schema_version)
}

fn damaged(error: impl std::fmt::Display) -> Trouble {
    bad(format!("an envelope is damaged: {error}"))
}

fn unknown_version(version: u64) -> Trouble {
    Trouble::Unclear(format!(
        "its schema_version is {version}, and this program knows {SCHEMA_VERSION}"
    ))
}
