//! A pending file, read record by record by those who only look: no claim is taken.

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use ulid::Ulid;

use crate::disk::Disk;
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, PIECE_BYTES};
use crate::pure::name::Name;
use crate::pure::record::{SCHEMA_VERSION, SURFACE, ulid_of};
use crate::show::json_error;

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

/// Where a record of a watcher says that it was captured.
#[derive(Deserialize)]
pub(crate) struct Source {
    pub(crate) file_id: Ulid,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) terminated: bool,
}

/// Whether the first record of a file says where it was captured, as only a watcher's do.
pub(crate) fn says_captured(disk: &dyn Disk, path: &Path) -> bool {
    let first = Waiting::<Source>::open(disk, path).and_then(|mut reader| reader.read());
    first.is_ok_and(|record| record.is_some_and(|record| record.source.is_some()))
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
                damaged(json_error(&error))
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
pub(crate) fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
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

/// What stands behind the text of `surface`.
#[derive(Deserialize)]
struct Behind<S> {
    /// Not there a second time.
    ulid: Option<IgnoredAny>,
    schema_version: u64,
    record: BehindSurface<S>,
}

#[derive(Deserialize)]
struct BehindSurface<S> {
    /// An empty one is put here; a second one is an error.
    #[serde(rename = "surface")]
    _readable: IgnoredAny,
    source: Option<S>,
    #[serde(rename = "surface_base64")]
    exact: Option<IgnoredAny>,
}

/// An envelope as we write most of them, several times as fast as any other; None for one that is not such a one.
fn parse_ours<S: DeserializeOwned>(line: &[u8]) -> Option<Record<S>> {
    const TIME_BYTES: usize = "2026-01-01T00:00:00.000000+00:00".len();
    // In a JSON string they are all escaped. Without a way out in its middle, the loop is several times as fast.
    let text = line.strip_suffix(b"\n").unwrap_or(line);
    if text.iter().fold(0, |found, byte| found | u8::from(*byte < b' ')) > 0 {
        return None;
    }
    let ulid = ulid_of(line)?;
    let time = line
        .get(r#"{"ulid":""#.len() + 26..)?
        .strip_prefix(br#"","appended_at":""#)?;
    let (time, text) = time.split_at_checked(TIME_BYTES)?;
    if !time.iter().all(|byte| byte.is_ascii_digit() || b"-T:.+".contains(byte)) {
        return None;
    }
    let text = text.strip_prefix(SURFACE.as_bytes())?;
    let mut bytes = Vec::with_capacity(text.len());
    let rest = unescape_into(text, &mut bytes)?;
    let behind = [br#"{"record":{"surface":""#, rest].concat();
    let Behind {
        ulid: again,
        schema_version,
        record,
    } = serde_json::from_slice::<Behind<S>>(&behind).ok()?;
    (schema_version == SCHEMA_VERSION && again.is_none() && record.exact.is_none()).then_some(Record {
        ulid,
        source: record.source,
        bytes: Some(bytes),
    })
}

/// Writes what a JSON string says; returns its closing quote and what follows. None where it is not simple.
fn unescape_into<'a>(mut text: &'a [u8], out: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let plain = memchr::memchr2(b'"', b'\\', text)?;
        out.extend_from_slice(&text[..plain]);
        text = &text[plain..];
        if text[0] == b'"' {
            return Some(text);
        }
        let (byte, used) = match *text.get(1)? {
            byte @ (b'"' | b'\\' | b'/') => (byte, 2),
            b'n' => (b'\n', 2),
            b't' => (b'\t', 2),
            b'r' => (b'\r', 2),
            b'b' => (8, 2),
            b'f' => (12, 2),
            b'u' => {
                let hex = str::from_utf8(text.get(2..6)?).ok()?;
                (u8::from_str_radix(hex, 16).ok().filter(u8::is_ascii)?, 6)
            }
            _ => return None,
        };
        out.push(byte);
        text = &text[used..];
    }
}

fn parse<S: DeserializeOwned>(line: &[u8]) -> Result<Record<S>, Trouble> {
    // Strings that are of no interest are not looked at by the parser, but are by a drain.
    str::from_utf8(line).map_err(damaged)?;
    if let Some(record) = parse_ours(line) {
        return Ok(record);
    }
    let whole: Whole<'_, S> = serde_json::from_slice(line).map_err(|error| match version_of(line) {
        Some(version) if version != SCHEMA_VERSION => unknown_version(version),
        _ => damaged(json_error(&error)),
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
        (Some(base64), readable) => {
            let bytes = STANDARD.decode(base64.as_bytes()).map_err(damaged)?;
            let text = String::from_utf8_lossy(&bytes);
            if matches!(text, Cow::Borrowed(_)) || readable.is_some_and(|readable| readable != text) {
                return Err(bad(format!(
                    "`surface` and `surface_base64` of record {ulid} are not one line"
                )));
            }
            bytes
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pure::record::push_foreign;

    fn envelope(text: &str, more: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let text = serde_json::to_string(text).unwrap();
        let record = format!("{{\"surface\":{text}{more}}}");
        let at = "2026-01-01T00:00:00.000000+00:00";
        push_foreign(&mut out, Ulid::nil(), at, record.as_bytes());
        out
    }

    /// What the quick way makes of an envelope, and what the other one does.
    fn both(line: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let quick = parse_ours::<u64>(line).and_then(|record| record.bytes);
        let whole: Result<Whole<'_, u64>, _> = serde_json::from_slice(line);
        let slow = whole
            .ok()
            .and_then(|whole| Some(whole.record.readable?.into_owned().into_bytes()));
        (quick, slow)
    }

    #[test]
    fn what_is_not_simple_is_left_to_the_slow_way() {
        let good = envelope("a \" \\ \n \u{1} é", ",\"source\":7");
        assert!(both(&good).0.is_some());
        let text = String::from_utf8(good).unwrap();
        for (from, to) in [
            ("\"source\":7", "\"source\":7,\"surface_base64\":\"AA==\""),
            ("_version\":1", "_version\":2"),
            ("a ", "\\ud83d\\ude00"),
            ("a ", "\\u00e9"),
            ("a ", "\t"),
            ("\"source\"", "source"),
            (",\"appended_at", ", \"appended_at"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(
                parse_ours::<u64>(text.replacen(from, to, 1).as_bytes()).is_none(),
                "{to}"
            );
        }
    }

    proptest! {
        #[test]
        fn both_ways_read_the_same_text(text in any::<String>(), cut in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let line = envelope(&text, ",\"source\":7");
            let (quick, slow) = both(&line);
            prop_assert_eq!(slow.as_deref(), Some(text.as_bytes()));
            prop_assert_eq!(quick.as_deref(), Some(text.as_bytes()));
            // Whatever is changed, the quick way never reads what the other one would not.
            let mut changed = line;
            let at = cut.index(changed.len());
            changed[at] = byte;
            let (quick, slow) = both(&changed);
            if let (Some(quick), Ok(_)) = (quick, str::from_utf8(&changed)) {
                prop_assert_eq!(Some(quick), slow);
            }
        }
    }
}
