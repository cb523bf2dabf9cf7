//! A pair: whose provenance it is, and what is to be remembered of it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::limits::{PAIR_COST_BYTES, PAIR_ENTRY_BYTES_MAX, PAIR_ID_BYTES_MAX};

/// An id and an entry, which is a JSON object. Clones share their text.
///
/// The text of the entry is kept as it is, but for newlines between its tokens, which become spaces.
#[derive(Clone)]
pub struct Pair(Arc<Text>);

struct Text {
    id: Box<str>,
    entry: Box<RawValue>,
}

/// Why a pair cannot be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPair {
    /// The id is empty or longer than 256 bytes.
    Id,
    /// The entry is no JSON object.
    Entry,
    /// The entry is longer than 1 MiB.
    TooLong,
}

impl fmt::Display for BadPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "its id is empty or too long",
            Self::Entry => "its entry is no JSON object",
            Self::TooLong => "its entry is too long",
        })
    }
}

impl std::error::Error for BadPair {}

/// A line of a spill file.
#[derive(Serialize)]
struct Written<'a> {
    id: &'a str,
    entry: &'a RawValue,
}

#[derive(Deserialize)]
struct Read {
    id: Box<str>,
    entry: Box<RawValue>,
}

impl Pair {
    /// Makes one of an id and the text of an entry.
    pub fn new(id: impl Into<Box<str>>, entry: Box<RawValue>) -> Result<Self, BadPair> {
        let id = id.into();
        if id.is_empty() || id.len() > PAIR_ID_BYTES_MAX {
            return Err(BadPair::Id);
        }
        if !entry.get().starts_with('{') {
            return Err(BadPair::Entry);
        }
        if entry.get().len() > PAIR_ENTRY_BYTES_MAX {
            return Err(BadPair::TooLong);
        }
        let entry = one_line(entry)?;
        Ok(Self(Arc::new(Text { id, entry })))
    }

    /// Makes one of an id and what serialises to an object.
    pub fn of(id: impl Into<Box<str>>, entry: &impl Serialize) -> Result<Self, BadPair> {
        let entry = serde_json::value::to_raw_value(entry).map_err(|_| BadPair::Entry)?;
        Self::new(id, entry)
    }

    /// Whose provenance it is.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The text of the entry: a JSON object without a newline.
    #[must_use]
    pub fn entry(&self) -> &str {
        self.0.entry.get()
    }

    /// What it counts in memory.
    pub(super) fn bytes(&self) -> usize {
        self.id().len() + self.entry().len() + PAIR_COST_BYTES
    }

    /// Appends it as a line.
    pub(super) fn write_line(&self, out: &mut Vec<u8>) -> std::io::Result<()> {
        let written = Written {
            id: self.id(),
            entry: &self.0.entry,
        };
        serde_json::to_writer(&mut *out, &written)?;
        out.push(b'\n');
        Ok(())
    }

    /// Reads a line, without its newline.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        let Read { id, entry } = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        Self::new(id, entry).map_err(|bad| bad.to_string())
    }
}

/// In JSON a newline can only stand between tokens.
fn one_line(entry: Box<RawValue>) -> Result<Box<RawValue>, BadPair> {
    if !entry.get().contains(['\n', '\r']) {
        return Ok(entry);
    }
    RawValue::from_string(entry.get().replace(['\n', '\r'], " ")).map_err(|_| BadPair::Entry)
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        (self.id(), self.entry()) == (other.id(), other.entry())
    }
}

impl Eq for Pair {}

/// The entry is somebody's text and is not shown.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("id", &self.id()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    #[test]
    fn a_pair_comes_back_from_its_line_with_the_same_text() {
        let texts = [
            "{}",
            r#"{"cue" : "a\nb", "n": 1.0e400, "n":2}"#,
            r#"{"c":"\ud83d я 😀"}"#,
        ];
        for text in texts {
            let pair = Pair::new("id \"1\"\n", raw(text)).unwrap();
            let mut line = Vec::new();
            pair.write_line(&mut line).unwrap();
            assert_eq!(line.pop(), Some(b'\n'));
            assert!(!line.contains(&b'\n'));
            assert_eq!(Pair::parse(&line).unwrap(), pair);
            assert_eq!(pair.entry(), text);
        }
    }

    #[test]
    fn newlines_between_tokens_become_spaces() {
        let pair = Pair::new("1", raw("{\n\"a\":\r\n1}")).unwrap();
        assert_eq!(pair.entry(), "{ \"a\":  1}");
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        assert_eq!(Pair::new("", raw("{}")), Err(BadPair::Id));
        assert_eq!(Pair::new("x".repeat(257), raw("{}")), Err(BadPair::Id));
        assert_eq!(Pair::new("1", raw("[1]")), Err(BadPair::Entry));
        assert_eq!(Pair::of("1", &3), Err(BadPair::Entry));
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(PAIR_ENTRY_BYTES_MAX));
        assert_eq!(Pair::new("1", raw(&long)), Err(BadPair::TooLong));
        for line in [
            "",
            "{",
            "[]",
            r#"{"id":"1"}"#,
            r#"{"id":1,"entry":{}}"#,
            r#"{"id":"1","entry":3}"#,
        ] {
            assert!(Pair::parse(line.as_bytes()).is_err(), "{line}");
        }
    }
}
