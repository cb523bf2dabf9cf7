//! Scrubbing: letters and digits of lines become others, so that a recording can be shown around.
//!
//! In a line of JSON every letter, digit and non-ASCII character inside the string values is replaced; keys,
//! structure, numbers, literals and escapes stay. From the first byte that JSON does not allow, everything of
//! the line is replaced, in strings or not. Each byte becomes one byte, newlines stay newlines, UTF-8 stays
//! UTF-8, and a line is JSON afterwards if and only if it was before. ASCII letters stay letters of their case,
//! digits stay digits, and no character stays what it was.
//!
//! Which character comes out is a shift that a keyed hash of the line up to there gives. So equal beginnings
//! of lines are scrubbed equally, wherever they stand, and two characters that differ behind equal beginnings
//! differ afterwards too: a rewrite stays visible, and a copy stays a copy. The key is random and is thrown
//! away with the recording.
//!
//! **What can still be seen**: keys, numbers, `true`, `false`, `null`, punctuation and blanks; the length of
//! every word, the case of its letters, the number of bytes of each character; which lines begin equally, and
//! how far; the first letters of a value of `role` or `type` as long as they spell `user`, `assistant`,
//! `system` or `tool`, so that roles stay known; of text that is no JSON, what could have been the beginning
//! of a number or a literal, and what stands in strings used as keys before it stops being JSON. Of an
//! escaped character `\uXXXX` only that it was one of a surrogate pair, or `\ud000` to `\ud7ff`.

mod escape;
mod grammar;
mod letters;

use grammar::{Grammar, Treatment};
use letters::{Keystream, Utf8, replace};

/// The key of a recording.
#[derive(Clone)]
pub struct Secret {
    lines: [u8; 32],
    names: [u8; 32],
}

impl Secret {
    /// Made of random bytes that nobody else knows.
    #[must_use]
    pub fn new(random: &[u8; 32]) -> Self {
        Self {
            lines: *blake3::keyed_hash(random, b"lines").as_bytes(),
            names: *blake3::keyed_hash(random, b"names").as_bytes(),
        }
    }

    /// Scrubs one component of a path, the same one always to the same. What follows the last dot stays when
    /// it is at most eight ASCII letters and digits.
    #[must_use]
    pub fn name(&self, name: &str) -> String {
        let is_extension = |rest: &str| rest.len() <= 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let stem = match name.rsplit_once('.') {
            Some((stem, extension)) if is_extension(extension) => stem.len(),
            _ => name.len(),
        };
        let mut bytes = name.as_bytes().to_owned();
        let (mut stream, mut utf8) = (Keystream::new(self.names), Utf8::default());
        for byte in &mut bytes[..stem] {
            let original = *byte;
            *byte = replace(original, &mut utf8, &stream, &[]);
            stream.absorb(original);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// Scrubs the bytes of a file, in order, in pieces that may end anywhere.
pub struct Scrubber {
    grammar: Grammar,
    utf8: Utf8,
    stream: Keystream,
}

impl Scrubber {
    /// At the beginning of a line.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self {
            grammar: Grammar::default(),
            utf8: Utf8::default(),
            stream: Keystream::new(secret.lines),
        }
    }

    /// Scrubs the next piece in its place.
    pub fn scrub(&mut self, piece: &mut [u8]) {
        for byte in piece {
            if *byte == b'\n' {
                self.grammar = Grammar::default();
                self.utf8 = Utf8::default();
                self.stream.begin();
                continue;
            }
            let original = *byte;
            *byte = self.one(original);
            self.stream.absorb(original);
        }
    }

    fn one(&mut self, byte: u8) -> u8 {
        match self.grammar.step(byte) {
            Treatment::Replace(but) => replace(byte, &mut self.utf8, &self.stream, but),
            Treatment::Keep => {
                self.utf8 = Utf8::default();
                byte
            }
            Treatment::Digit => self.grammar.digit(byte, self.stream.draw()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::pure::record::Traits;

    fn secret() -> Secret {
        Secret::new(&[7; 32])
    }

    fn scrubbed(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_owned();
        Scrubber::new(&secret()).scrub(&mut bytes);
        bytes
    }

    fn text(line: &str) -> String {
        String::from_utf8(scrubbed(line.as_bytes())).unwrap()
    }

    /// Whether every letter and digit of every string value is another one, and all else is equal.
    fn fits(before: &Value, after: &Value, key: &str) -> bool {
        match (before, after) {
            (Value::String(_), Value::String(_)) if key == "role" || key == "type" => true,
            (Value::String(before), Value::String(after)) => {
                let pairs = before.chars().zip(after.chars());
                let differ = |(before, after): (char, char)| before != after || !before.is_ascii_alphanumeric();
                before.chars().count() == after.chars().count() && pairs.into_iter().all(differ)
            }
            (Value::Array(before), Value::Array(after)) => {
                before.len() == after.len() && before.iter().zip(after).all(|(one, other)| fits(one, other, ""))
            }
            (Value::Object(before), Value::Object(after)) => {
                before.keys().eq(after.keys()) && before.iter().all(|(key, value)| fits(value, &after[key], key))
            }
            _ => before == after,
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("user".to_owned()),
            Just("assistant".to_owned()),
            Just("use".to_owned()),
            Just("tool_use".to_owned()),
            "[a-zA-Z0-9 \\\\\"/é日😀\u{80}\u{7ff}\u{ffff}\n\t-]{0,12}",
            any::<String>(),
        ];
        let key = prop_oneof![
            Just("role".to_owned()),
            Just("type".to_owned()),
            Just("message".to_owned()),
            "[a-zé]{0,4}"
        ];
        let leaf = prop_oneof![
            word.prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
            Just(Value::Null),
        ];
        leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((key.clone(), inner), 0..5)
                    .prop_map(|pairs| Value::from(pairs.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    /// JSON as bytes, now and then with escapes where none are needed.
    fn line() -> impl Strategy<Value = Vec<u8>> {
        (json(), any::<bool>()).prop_map(|(value, escaped)| {
            let text = value.to_string();
            let escape = |c: char| match c {
                c if c.is_ascii() => c.to_string(),
                c => c
                    .encode_utf16(&mut [0; 2])
                    .iter()
                    .fold(String::new(), |text, unit| format!("{text}\\u{unit:04x}")),
            };
            if escaped {
                text.chars().map(escape).collect::<String>()
            } else {
                text
            }
            .into_bytes()
        })
    }

    /// The same, with some bytes replaced, and plain bytes of the kind that grammars trip over.
    fn dirt() -> impl Strategy<Value = Vec<u8>> {
        let bytes =
            prop::sample::select(b"{}[]\",:\\utfnre0123456789-+.Ee \t\r\xc3\xa9\xed\xa0\x80\xf0\x9f\xff\0ax".to_vec());
        let damaged = (
            line(),
            prop::collection::vec((any::<prop::sample::Index>(), bytes.clone()), 1..4),
        );
        let damaged = damaged.prop_map(|(mut line, changes)| {
            for (at, byte) in changes {
                let length = line.len();
                if let Some(changed) = line.get_mut(at.index(length.max(1))) {
                    *changed = byte;
                }
            }
            line
        });
        prop_oneof![
            damaged,
            prop::collection::vec(bytes, 0..12),
            prop::collection::vec(any::<u8>(), 0..30)
        ]
    }

    fn traits(line: &[u8]) -> Option<Traits> {
        str::from_utf8(line).ok().map(Traits::of)
    }

    fn parsed(line: &[u8]) -> Option<Value> {
        serde_json::from_slice(line).ok()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn json_keeps_its_structure_and_no_letter_of_a_value(line in line()) {
            let after = scrubbed(&line);
            let (before, after) = (parsed(&line).unwrap(), parsed(&after).unwrap());
            // An escaped character becomes an ASCII letter, which two halves of a pair make two of.
            if !line.windows(2).any(|pair| pair == b"\\u") {
                prop_assert!(fits(&before, &after, ""), "{before} became {after}");
            }
        }

        #[test]
        fn whether_a_line_is_json_utf8_and_whose_role_it_has_stays(line in prop_oneof![line(), dirt()]) {
            for (part, after) in line.split(|byte| *byte == b'\n').zip(scrubbed(&line).split(|byte| *byte == b'\n')) {
                prop_assert_eq!(part.len(), after.len());
                prop_assert_eq!(traits(part), traits(after));
                prop_assert_eq!(parsed(part).is_some(), parsed(after).is_some());
            }
        }

        #[test]
        fn pieces_come_to_the_same_as_the_whole(lines in prop::collection::vec(prop_oneof![line(), dirt()], 1..4), cut in any::<prop::sample::Index>()) {
            let whole = lines.join(&b'\n');
            let mut pieces = whole.clone();
            let (one, other) = pieces.split_at_mut(cut.index(whole.len() + 1));
            let mut scrubber = Scrubber::new(&secret());
            scrubber.scrub(one);
            scrubber.scrub(other);
            prop_assert_eq!(&pieces, &scrubbed(&whole));
            let alone: Vec<_> = lines.iter().map(|line| scrubbed(line)).collect();
            prop_assert_eq!(pieces, alone.join(&b'\n'));
        }

        #[test]
        fn behind_equal_beginnings_other_letters_become_others(before in "[a-z]{0,70}", one in "[a-z]", other in "[a-z]") {
            let last = |letter: &str| scrubbed(format!("{{\"a\":\"{before}{letter}").as_bytes()).pop();
            prop_assert_eq!(one == other, last(&one) == last(&other));
        }

        #[test]
        fn names_keep_their_length_and_extension(stem in "[a-zA-Z0-9é日_-]{1,9}", extension in "(\\.[a-z]{0,8})?") {
            let name = format!("{stem}{extension}");
            let after = secret().name(&name);
            prop_assert_eq!(after.len(), name.len());
            prop_assert!(after.ends_with(&extension));
            let letters = stem.chars().any(char::is_alphanumeric);
            prop_assert_eq!(after != name, letters);
        }
    }

    /// All texts of at most this many of these bytes.
    fn texts(bytes: &[u8], length: usize) -> Vec<Vec<u8>> {
        let mut all = vec![Vec::new()];
        let mut begin = 0;
        for _ in 0..length {
            let longest: Vec<_> = all.drain(begin..).collect();
            begin += longest.len();
            let longer = longest
                .iter()
                .flat_map(|text| bytes.iter().map(|byte| [text, &[*byte][..]].concat()));
            let longer: Vec<_> = longer.collect();
            all.extend(longest);
            all.extend(longer);
        }
        all
    }

    #[test]
    fn no_short_text_becomes_json_or_gets_another_role() {
        let secrets = [1, 2, 3, 4, 5].map(|byte| Secret::new(&[byte; 32]));
        let check = |before: &str, text: &[u8], after: &str| {
            let line = [before.as_bytes(), text, after.as_bytes()].concat();
            for secret in &secrets {
                let mut scrubbed = line.clone();
                Scrubber::new(secret).scrub(&mut scrubbed);
                let shown = || String::from_utf8_lossy(&line).into_owned();
                assert_eq!(traits(&line), traits(&scrubbed), "{}", shown());
                assert_eq!(parsed(&line).is_some(), parsed(&scrubbed).is_some(), "{}", shown());
            }
        };
        for text in texts(b"{}[]\",:\\utfne01-.Ex", 3) {
            for (before, after) in [
                ("", ""),
                ("[1", "2]"),
                ("\"\\", "n\""),
                ("\"\\u0", "0\""),
                ("[tru", "]"),
                ("[fals", "]"),
                ("[nul", "]"),
                ("{\"a\"", "1}"),
            ] {
                check(before, &text, after);
            }
        }
        for text in texts(b"usertol", 4) {
            check("{\"role\":\"", &text, "\"}");
            check("{\"type\":\"\\u0075", &text, "\"}");
        }
    }

    #[test]
    fn roles_survive_and_what_only_begins_like_one_does_not_become_one() {
        for kept in [
            r#"{"role":"user"}"#,
            r#"{"type":"tool","n":-1.5e3}"#,
            r#"{"r\u006fle":"\u0075ser"}"#,
            "[true,false,null]",
        ] {
            assert_eq!(text(kept), kept);
        }
        let after = text(r#"{"type":"tool_use"}"#);
        assert!(
            after.starts_with(r#"{"type":"tool_"#) && after != r#"{"type":"tool_use"}"#,
            "{after}"
        );
        assert_ne!(text(r#"{"kind":"user"}"#), r#"{"kind":"user"}"#);
    }

    #[test]
    fn an_escaped_character_becomes_a_letter_and_a_pair_stays_a_pair() {
        let after = text(r#"{"a":"\u00e9\n"}"#);
        assert!(
            after.starts_with(r#"{"a":"\u00"#) && after.ends_with(r#"\n"}"#),
            "{after}"
        );
        let letter = parsed(after.as_bytes()).unwrap()["a"]
            .as_str()
            .unwrap()
            .chars()
            .next()
            .unwrap();
        assert!(letter.is_ascii_lowercase(), "{after}");
        for (line, valid) in [
            (r#""\ud83d\ude00""#, true),
            (r#""\ud83d""#, false),
            (r#""\udbff\ud7ff""#, false),
        ] {
            assert_eq!(parsed(line.as_bytes()).is_some(), valid);
            assert_eq!(parsed(text(line).as_bytes()).is_some(), valid, "{line}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_replaced_from_where_it_is_none() {
        let after = text("2026 Hello, wörld 7");
        assert!(after.starts_with("2026 ") && after.is_char_boundary(13), "{after}");
        let pairs = after.chars().zip("2026 Hello, wörld 7".chars()).skip(5);
        assert!(
            pairs
                .clone()
                .all(|(after, before)| (after == before) != before.is_alphanumeric()),
            "{after}"
        );
    }
}
