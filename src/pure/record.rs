//! The envelope of a record, written and read.

use std::borrow::Cow;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use json_escape_simd::escape_into;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use simdutf8::basic::from_utf8;
use ulid::Ulid;

use crate::pure::identity::Identity;
use crate::pure::lines::Line;
use crate::pure::role::{Role, judge};
use crate::show::json_error;

/// Bytes of text that are escaped by one call.
const ESCAPED_BYTES_AT_ONCE: usize = 16 * 1024;

/// The schema version that we write, and the only one that we read.
pub const SCHEMA_VERSION: u64 = 1;

/// A log file as its records name it; a new one is made for each epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Given when the file was first seen.
    pub file_id: Ulid,
    /// Counts from 0.
    pub epoch: u64,
    /// Absolute and resolved.
    pub path: Arc<Path>,
    /// Device, inode, birth.
    pub identity: Identity,
    /// The root's agent name.
    pub agent: Option<Arc<str>>,
}

impl LogFile {
    /// The file's stem, with U+FFFD where it is not UTF-8.
    #[must_use]
    pub fn session_id(&self) -> Cow<'_, str> {
        self.path.file_stem().unwrap_or_default().to_string_lossy()
    }
}

/// A path as JSON holds it: text, and the exact bytes where text cannot say them.
#[must_use]
pub fn path_to_text(path: &Path) -> (String, Option<String>) {
    match path.to_str() {
        Some(text) => (text.to_owned(), None),
        None => (
            path.to_string_lossy().into_owned(),
            Some(STANDARD.encode(path.as_os_str().as_bytes())),
        ),
    }
}

/// The path that [`path_to_text`] wrote; None when the base64 is none.
#[must_use]
pub fn path_from_text(text: &str, base64: Option<&str>) -> Option<PathBuf> {
    match base64 {
        None => Some(text.into()),
        Some(base64) => Some(std::ffi::OsString::from_vec(STANDARD.decode(base64).ok()?).into()),
    }
}

/// `appended_at`: microseconds and `+00:00`, as the systems before this one wrote it.
#[must_use]
pub fn appended_at(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string()
}

/// Where an envelope is written: a piece of memory, or several.
pub trait Pieces {
    /// The piece to go on in: another one, when it is asked for again and the last one is full.
    fn piece(&mut self) -> &mut Vec<u8>;
}

/// One, which grows.
impl Pieces for Vec<u8> {
    fn piece(&mut self) -> &mut Vec<u8> {
        self
    }
}

/// Text as the inside of a JSON string.
pub fn push_escaped(out: &mut impl Pieces, mut text: &str) {
    // The library asks for room as if every byte became six, which for a long text is far more than is ever filled.
    while text.len() > ESCAPED_BYTES_AT_ONCE {
        let boundary = (0..=ESCAPED_BYTES_AT_ONCE).rev().find(|at| text.is_char_boundary(*at));
        let (some, rest) = text.split_at(boundary.unwrap_or(0));
        push_escaped_at_once(out.piece(), some);
        text = rest;
    }
    push_escaped_at_once(out.piece(), text);
}

fn push_escaped_at_once(out: &mut Vec<u8>, text: &str) {
    // The quote that the serializer writes first goes over a byte that is set aside and put back.
    let before = out.pop();
    let start = out.len();
    escape_into(text, out);
    out.pop();
    match before {
        Some(byte) => out[start] = byte,
        None => drop(out.remove(start)),
    }
}

/// Anything that serializes without fail, as JSON.
fn push_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing to a Vec cannot fail, and the types used here (text and integers) have no error of their own.
    let _ = serde_json::to_writer(out, value);
}

/// A last line that was captured without its newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledTail {
    /// Its record.
    pub ulid: Ulid,
    /// Bytes.
    pub length: u64,
    /// BLAKE3 of them.
    #[serde(with = "crate::pure::identity::hex")]
    pub hash: blake3::Hash,
}

/// How a line came to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// It ended with a newline.
    pub terminated: bool,
    /// The record that it replaces.
    pub replaces: Option<Ulid>,
}

impl Ending {
    /// That of nearly every line.
    pub const NEWLINE: Self = Self {
        terminated: true,
        replaces: None,
    };
}

/// What is said of a line after its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traits {
    /// Valid UTF-8 and one JSON value.
    pub json: bool,
    /// Who speaks; None when `json` is false.
    pub role: Option<Role>,
}

impl Traits {
    /// Of a whole text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let (json, role) = judge(text);
        Self { json, role }
    }
}

/// Writes the envelopes of one file: what is equal in all of them is rendered once.
#[derive(Debug, Default)]
pub struct Envelopes {
    before_role: Vec<u8>,
    before_offset: Vec<u8>,
    after_line: Vec<u8>,
}

impl Envelopes {
    /// For this file.
    #[must_use]
    pub fn of(file: &LogFile) -> Self {
        let (path, path_base64) = path_to_text(&file.path);
        let mut this = Self::default();
        let out = &mut this.before_role;
        out.extend_from_slice(br#","cue":"","tier":"episodic","session_id":"#);
        push_json(out, &*file.session_id());
        out.extend_from_slice(br#","role":"#);
        let out = &mut this.before_offset;
        out.extend_from_slice(br#","source":{"file_id":""#);
        out.extend_from_slice(file.file_id.array_to_str(&mut [0; 26]).as_bytes());
        out.extend_from_slice(br#"","epoch":"#);
        push_json(out, &file.epoch);
        out.extend_from_slice(br#","offset":"#);
        let out = &mut this.after_line;
        out.extend_from_slice(br#","path":"#);
        push_json(out, &path);
        if let Some(base64) = path_base64 {
            out.extend_from_slice(br#","path_base64":"#);
            push_json(out, &base64);
        }
        out.extend_from_slice(br#","device":"#);
        push_json(out, &file.identity.device);
        out.extend_from_slice(br#","inode":"#);
        push_json(out, &file.identity.inode);
        out.extend_from_slice(br#","agent":"#);
        push_json(out, &file.agent);
        this
    }

    /// About how many bytes an envelope has beside its line.
    pub fn bytes_beside_line(&self) -> usize {
        const OTHERS_BYTES: usize = 192;
        self.before_role.len() + self.before_offset.len() + self.after_line.len() + OTHERS_BYTES
    }

    /// Writes the envelope of a line that is in memory.
    pub fn push(&self, out: &mut impl Pieces, ulid: Ulid, appended_at: &str, line: &Line<'_>, ending: Ending) {
        self.push_text(out, ulid, appended_at, line, from_utf8(line.bytes).ok(), ending);
    }

    /// The same, where it is known what the line is as text; None where it is not UTF-8.
    pub fn push_text(
        &self,
        out: &mut impl Pieces,
        ulid: Ulid,
        appended_at: &str,
        line: &Line<'_>,
        text: Option<&str>,
        ending: Ending,
    ) {
        Self::open(out.piece(), ulid, appended_at);
        let traits = if let Some(text) = text {
            push_escaped(out, text);
            Traits::of(text)
        } else {
            push_escaped(out, &String::from_utf8_lossy(line.bytes));
            let piece = out.piece();
            Self::between_forms(piece);
            STANDARD.encode_slice_to(line.bytes, piece);
            Traits {
                json: false,
                role: None,
            }
        };
        let (length, piece) = (line.bytes.len() as u64, out.piece());
        piece.push(b'"');
        self.close(piece, line.offset, length, line.number, traits, ending);
    }

    /// Writes an envelope up to and with the quote that opens `surface`.
    pub fn open(out: &mut Vec<u8>, ulid: Ulid, appended_at: &str) {
        out.extend_from_slice(br#"{"ulid":""#);
        out.extend_from_slice(ulid.array_to_str(&mut [0; 26]).as_bytes());
        out.extend_from_slice(br#"","appended_at":""#);
        out.extend_from_slice(appended_at.as_bytes());
        out.extend_from_slice(SURFACE.as_bytes());
    }

    /// Writes what stands between `surface` and the base64 of the same line: quote, key, quote.
    pub fn between_forms(out: &mut Vec<u8>) {
        out.extend_from_slice(SURFACE_BASE64.as_bytes());
    }

    /// Writes the rest of an envelope, from behind the quote that closes `surface`.
    pub fn close(
        &self,
        out: &mut Vec<u8>,
        offset: u64,
        length: u64,
        number: Option<u64>,
        traits: Traits,
        ending: Ending,
    ) {
        out.extend_from_slice(&self.before_role);
        out.extend_from_slice(Role::json(traits.role).as_bytes());
        out.extend_from_slice(&self.before_offset);
        push_json(out, &offset);
        out.extend_from_slice(br#","length":"#);
        push_json(out, &length);
        out.extend_from_slice(br#","line":"#);
        push_json(out, &number);
        out.extend_from_slice(&self.after_line);
        out.extend_from_slice(br#","terminated":"#);
        push_json(out, &ending.terminated);
        out.extend_from_slice(br#","json":"#);
        push_json(out, &traits.json);
        if let Some(replaced) = ending.replaces {
            out.extend_from_slice(br#","replaces":"#);
            push_json(out, &replaced);
        }
        out.extend_from_slice(b"}");
        out.extend_from_slice(END.as_bytes());
        out.push(b'\n');
    }
}

/// Writes the envelope of a record that is no line of a log, with a newline. `record` is a JSON object.
pub fn push_foreign(out: &mut Vec<u8>, ulid: Ulid, appended_at: &str, record: &[u8]) {
    out.extend_from_slice(br#"{"ulid":""#);
    out.extend_from_slice(ulid.array_to_str(&mut [0; 26]).as_bytes());
    out.extend_from_slice(br#"","appended_at":""#);
    out.extend_from_slice(appended_at.as_bytes());
    out.extend_from_slice(br#"","record":"#);
    // In JSON a line break can only stand between tokens, so a space says the same.
    out.extend(
        record
            .iter()
            .map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }),
    );
    out.extend_from_slice(br#","schema_version":1}"#);
    out.push(b'\n');
}

/// The ULID of an envelope that we wrote.
#[must_use]
pub fn ulid_of(envelope: &[u8]) -> Option<Ulid> {
    let text = envelope.strip_prefix(br#"{"ulid":""#)?.get(..26)?;
    Ulid::from_string(str::from_utf8(text).ok()?).ok()
}

/// What stands between `appended_at` and the text of `surface` in the envelopes that we write.
pub const SURFACE: &str = r#"","record":{"surface":""#;

/// What stands between the text of `surface` and that of `surface_base64`.
pub const SURFACE_BASE64: &str = r#"","surface_base64":""#;

/// The end of the envelopes that we write, newline apart.
pub const END: &str = r#"},"schema_version":1}"#;

trait EncodeTo {
    fn encode_slice_to(&self, bytes: &[u8], out: &mut Vec<u8>);
}

impl EncodeTo for base64::engine::GeneralPurpose {
    /// Base64 straight into the batch, without a string in between.
    fn encode_slice_to(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        // The room is exactly what standard base64 with padding takes.
        let written = self.encode_slice(bytes, &mut out[start..]).unwrap_or_default();
        out.truncate(start + written);
    }
}

/// An envelope as a reader sees it; keys that it does not need are ignored.
#[derive(Debug, Deserialize)]
pub struct Envelope<'a> {
    /// The record's ULID, in whatever spelling its writer chose.
    #[serde(borrow)]
    pub ulid: Cow<'a, str>,
    /// When it was appended, as its writer spelt it; empty when it does not say.
    #[serde(borrow, default)]
    pub appended_at: Cow<'a, str>,
    /// 1, or the reader must not touch it.
    pub schema_version: u64,
    /// The record, as it stands in the file.
    #[serde(borrow)]
    pub record: &'a RawValue,
}

#[derive(Deserialize)]
struct LineForms<'a> {
    #[serde(borrow, default, rename = "surface")]
    readable: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "surface_base64")]
    exact: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "text")]
    foreign: Option<Cow<'a, str>>,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope from the JSON it is.
    pub fn parse(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        // The parser does not look at bytes of what it skips.
        let text = str::from_utf8(json).map_err(serde::de::Error::custom)?;
        let envelope: Self = serde_json::from_str(text)?;
        if envelope.record.get().starts_with('{') {
            Ok(envelope)
        } else {
            Err(serde::de::Error::custom("`record` is not an object"))
        }
    }

    /// The exact bytes of the line: `surface_base64`, else `surface`, else `text`.
    pub fn line(&self) -> Result<Cow<'a, [u8]>, Box<dyn std::error::Error + Send + Sync>> {
        let record: LineForms<'a> = serde_json::from_str(self.record.get()).map_err(|error| json_error(&error))?;
        if let Some(base64) = record.exact {
            return Ok(STANDARD.decode(base64.as_bytes())?.into());
        }
        match record.readable.or(record.foreign) {
            Some(Cow::Borrowed(text)) => Ok(text.as_bytes().into()),
            Some(Cow::Owned(text)) => Ok(text.into_bytes().into()),
            None => Err("the record has neither `surface` nor `text`".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use proptest::prelude::*;

    use super::*;

    fn file(path: &[u8]) -> LogFile {
        LogFile {
            file_id: Ulid::from_parts(1, 2),
            epoch: 3,
            path: Path::new(OsStr::from_bytes(path)).into(),
            identity: Identity {
                device: 66305,
                inode: 123,
                btime: None,
            },
            agent: None,
        }
    }

    fn envelope(path: &[u8], bytes: &[u8]) -> Vec<u8> {
        let line = Line {
            offset: 1024,
            number: Some(7),
            bytes,
        };
        let mut out = Vec::new();
        Envelopes::of(&file(path)).push(&mut out, Ulid::from_parts(4, 5), "T", &line, Ending::NEWLINE);
        assert_eq!(out.pop(), Some(b'\n'));
        out
    }

    #[test]
    fn an_envelope_has_the_keys_in_the_order_of_the_format() {
        let text = String::from_utf8(envelope(b"/h/s.jsonl", br#"{"type":"user"}"#)).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"ulid":"00000000040000000000000005","appended_at":"T","record":{"#,
                r#""surface":"{\"type\":\"user\"}","cue":"","tier":"episodic","session_id":"s","role":"user","#,
                r#""source":{"file_id":"00000000010000000000000002","epoch":3,"offset":1024,"length":15,"line":7,"#,
                r#""path":"/h/s.jsonl","device":66305,"inode":123,"agent":null,"terminated":true,"json":true}},"#,
                r#""schema_version":1}"#
            )
        );
    }

    #[test]
    fn a_path_that_is_not_utf8_keeps_its_bytes() {
        let bytes = envelope(b"/h/\xff.jsonl", b"x");
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let source = &value["record"]["source"];
        assert_eq!(source["path"], "/h/\u{fffd}.jsonl");
        let path = path_from_text("", source["path_base64"].as_str()).unwrap();
        assert_eq!(path.as_os_str().as_bytes(), b"/h/\xff.jsonl");
        assert_eq!(value["record"]["session_id"], "\u{fffd}");
    }

    #[test]
    fn appended_at_has_microseconds_and_an_offset() {
        let at: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        assert_eq!(appended_at(at), "2026-01-02T03:04:05.600000+00:00");
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_they_were(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let json = envelope(b"/h/s.jsonl", &bytes);
            prop_assert!(!json.contains(&b'\n'));
            prop_assert_eq!(&*Envelope::parse(&json).unwrap().line().unwrap(), &bytes[..]);
        }

        #[test]
        fn any_text_comes_back_as_it_was(text in "\\PC{0,200}") {
            let json = envelope(b"/h/s.jsonl", text.as_bytes());
            let envelope = Envelope::parse(&json).unwrap();
            prop_assert!(!envelope.record.get().contains("surface_base64\":\""));
            prop_assert_eq!(&*envelope.line().unwrap(), text.as_bytes());
        }

        #[test]
        fn escaping_in_pieces_equals_escaping_at_once(a in "[\\x00-\\x7f\u{e9}]{0,50}", b in "[\\x00-\\x7f\u{e9}]{0,50}") {
            let (mut pieces, mut whole) = (Vec::new(), Vec::new());
            push_escaped(&mut pieces, &a);
            push_escaped(&mut pieces, &b);
            push_escaped(&mut whole, &(a + &b));
            prop_assert_eq!(pieces, whole);
        }
    }
}
