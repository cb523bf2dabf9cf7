//! Envelopes as we write them, read at speed: their long text is looked at sixteen bytes at a time, and only what stands around
//! it is left to the parser.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use super::raw::Raw;
use super::{Format, check_parsed};
use crate::pure::record::SURFACE;
use crate::pure::special::{AT_ONCE, before_special, next_special};

/// The longest `appended_at` that is looked for.
const APPENDED_AT_BYTES_MAX: usize = 64;

/// Checks an envelope and returns its ULID; for [`Format::Raw`] its line is added to `raw`. None, with `raw` as it was, for
/// any envelope that is not well, or has another layout, or a text that is for the parser to judge. `scratch` is room.
pub(super) fn check(line: &[u8], format: Format, scratch: &mut Vec<u8>, raw: &mut Raw) -> Option<String> {
    let start = text_start(line)?;
    if simdutf8::basic::from_utf8(line).is_err() {
        return None;
    }
    let before = raw.len();
    let end = match format {
        Format::Raw => unescape(&line[start..], raw),
        Format::Envelope | Format::Record => skip(&line[start..]),
    };
    let ulid = end.and_then(|end| check_around(line, start, start + end, scratch));
    if ulid.is_none() {
        raw.truncate(before);
    }
    ulid
}

/// Checks the envelope with an empty text in the place of its own.
fn check_around(line: &[u8], start: usize, end: usize, scratch: &mut Vec<u8>) -> Option<String> {
    let after = &line[end..];
    // Another form of the line, or the same one again.
    if memchr(b'\\', after).is_some() || OTHERS.iter().any(|key| key.find(after).is_some()) {
        return None;
    }
    scratch.clear();
    scratch.extend_from_slice(&line[..start]);
    scratch.extend_from_slice(after);
    check_parsed(scratch).ok()
}

/// Keys that name a line.
static OTHERS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| ["\"surface", "\"text\""].map(Finder::new));

/// Where the text of `surface` begins, behind its quote.
fn text_start(line: &[u8]) -> Option<usize> {
    const BEFORE_TIME: usize = r#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","appended_at":""#.len();
    let (before, rest) = line.split_at_checked(BEFORE_TIME)?;
    let is_ours = before.starts_with(br#"{"ulid":""#) && before.ends_with(br#"","appended_at":""#);
    let time = memchr(b'"', &rest[..rest.len().min(APPENDED_AT_BYTES_MAX)])?;
    (is_ours && rest[time..].starts_with(SURFACE.as_bytes())).then_some(BEFORE_TIME + time + SURFACE.len())
}

/// What an escape of two bytes stands for, by its second one; 0 when it is none. A table: which escape comes next, no
/// processor can foretell.
static SHORT: [u8; 256] = {
    let mut short = [0; 256];
    (short[b'"' as usize], short[b'\\' as usize], short[b'/' as usize]) = (b'"', b'\\', b'/');
    (short[b'n' as usize], short[b't' as usize], short[b'r' as usize]) = (b'\n', b'\t', b'\r');
    (short[b'b' as usize], short[b'f' as usize]) = (8, 12);
    short
};

/// What the escape says at the start of `text`, and its length; None for one that is for the parser.
#[inline]
fn escape(text: &[u8]) -> Option<(u8, usize)> {
    match SHORT[usize::from(*text.get(1)?)] {
        0 => long_escape(text),
        byte => Some((byte, 2)),
    }
}

/// The same for an escape of six bytes.
fn long_escape(text: &[u8]) -> Option<(u8, usize)> {
    let digits = str::from_utf8(text.get(2..6).filter(|_| text[1] == b'u')?).ok()?;
    let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let code = u8::from_str_radix(digits, 16).ok().filter(u8::is_ascii)?;
    is_hex.then_some((code, 6))
}

/// The length of the inside of a JSON string up to its closing quote; None where a control character stands in it, which should
/// have been escaped.
fn skip(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at = next_special(text, at)?;
        match text[at] {
            b'"' => return Some(at),
            b'\\' => at += escape(&text[at..])?.1,
            _ => return None,
        }
    }
}

/// The same; adds what it says to `out`, of which something may be left there when it is none.
fn unescape(text: &[u8], out: &mut Raw) -> Option<usize> {
    // It says no more bytes than it has; sixteen are written at a time.
    let room = out.room(text.len() + AT_ONCE);
    let (mut at, mut said) = (0, 0);
    let end = loop {
        while let Some(bytes) = text[at..].first_chunk() {
            room[said..said + AT_ONCE].copy_from_slice(bytes);
            let plain = before_special(bytes);
            let passed = plain.unwrap_or(AT_ONCE);
            (at, said) = (at + passed, said + passed);
            if plain.is_some() {
                break;
            }
        }
        match text.get(at) {
            Some(b'"') => break Some(at),
            Some(b'\\') => {
                let Some((byte, length)) = escape(&text[at..]) else {
                    break None;
                };
                room[said] = byte;
                (at, said) = (at + length, said + 1);
            }
            None | Some(..b' ') => break None,
            Some(byte) => {
                room[said] = *byte;
                (at, said) = (at + 1, said + 1);
            }
        }
    };
    out.fill(said);
    end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    fn unescaped(text: &[u8]) -> Option<(Vec<u8>, usize)> {
        let mut out = Raw::default();
        out.push(b"before");
        let end = unescape(text, &mut out)?;
        assert_eq!(skip(text), Some(end), "both find the same quote");
        Some((out.bytes()[6..].to_vec(), end))
    }

    proptest! {
        #[test]
        fn what_is_escaped_comes_back(text in "[a-c\"\\\\\n\t\u{8}\u{0}\u{1f}é😀/]{0,120}", rest in "[\"\\\\x]{0,12}") {
            let mut json = serde_json::to_string(&text).unwrap().split_off(1).into_bytes();
            let inside = json.len() - 1;
            json.extend_from_slice(rest.as_bytes());
            prop_assert_eq!(unescaped(&json), Some((text.into_bytes(), inside)));
        }

        #[test]
        fn what_it_takes_the_parser_takes_for_the_same(text in "[a\"\\\\nu0-9A-Fd+\t\u{0}\u{1f} ]{0,24}") {
            if let Some((found, end)) = unescaped(text.as_bytes()) {
                let json = format!("\"{}\"", &text[..end]);
                let parsed: String = serde_json::from_str(&json).unwrap();
                prop_assert_eq!(found, parsed.into_bytes());
                prop_assert!(serde_json::from_str::<&RawValue>(&json).is_ok());
            } else {
                prop_assert!(skip(text.as_bytes()).is_none());
            }
        }
    }

    proptest! {
        #[test]
        fn an_envelope_that_it_takes_is_the_same_to_the_parser(
            lines in prop::collection::vec("[a-c\"\\\\{}:,\n\u{0}é]{0,40}", 1..3),
            damage in prop::collection::vec((any::<prop::sample::Index>(), "[\"\\\\u0-9a-f{},: \n]{0,3}", 0_usize..3), 0..3),
        ) {
            let mut line = br#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","appended_at":"2026-01-02T03:04:05.6+00:00","record":{"surface":"#.to_vec();
            line.extend_from_slice(serde_json::to_string(&lines[0]).unwrap().as_bytes());
            if let Some(other) = lines.get(1) {
                line.extend_from_slice(format!(",\"cue\":{}", serde_json::to_string(other).unwrap()).as_bytes());
            }
            line.extend_from_slice(br#","line":7},"schema_version":1}"#);
            for (at, inserted, removed) in damage {
                let at = at.index(line.len());
                let end = (at + removed).min(line.len());
                line.splice(at..end, inserted.bytes());
            }
            for format in [Format::Raw, Format::Record] {
                let (mut quick, mut slow) = (Raw::default(), Raw::default());
                if let Some(ulid) = check(&line, format, &mut Vec::new(), &mut quick) {
                    let parsed = super::super::check(&line, format, &mut slow);
                    prop_assert_eq!(parsed.ok(), Some(ulid));
                    prop_assert_eq!(quick.bytes(), slow.bytes());
                } else {
                    prop_assert!(quick.bytes().is_empty());
                }
            }
        }
    }

    #[test]
    fn what_we_write_needs_no_other_check() {
        let line = br#"{"ulid":"01ARZ3NDEKTSV4RRFFQ69G5FAV","appended_at":"2026-01-02T03:04:05.6+00:00","record":{"surface":"a\"\u0000b","cue":""},"schema_version":1}"#;
        let (mut scratch, mut raw) = (Vec::new(), Raw::default());
        let ulid = check(line, Format::Raw, &mut scratch, &mut raw);
        assert_eq!(ulid.as_deref(), Some("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
        assert_eq!(raw.bytes(), b"a\"\0b");
    }

    #[test]
    fn escapes_beyond_ascii_are_left_to_the_parser() {
        for text in [
            r#"\u00e9""#,
            r#"\ud83d\ude00""#,
            r#"\ud800""#,
            r#"\u+041""#,
            r#"\x""#,
            r"\",
            r"\u00",
            "no end",
        ] {
            assert_eq!(unescaped(text.as_bytes()), None, "{text}");
        }
        assert_eq!(unescaped(br#"\u0041\u001F""#), Some((b"A\x1f".to_vec(), 12)));
    }
}
