//! Names as they may be printed: control characters escaped, so that no name can drive a terminal.

use std::ffi::OsStr;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Displays bytes that others chose, with control characters and invalid UTF-8 escaped.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(&'a [u8]);

impl<'a> Shown<'a> {
    /// A path.
    #[must_use]
    pub fn path(path: &'a Path) -> Self {
        Self(path.as_os_str().as_bytes())
    }

    /// A text, which stays on one line.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self(text.as_bytes())
    }

    /// A file name.
    #[must_use]
    pub fn name(name: &'a OsStr) -> Self {
        Self(name.as_bytes())
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if is_unsafe(character) {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    f.write_char(character)?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Whether it could drive a terminal, or changes the direction of what is printed behind it.
#[must_use]
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{feff}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON with the characters escaped that JSON allows and a terminal obeys; it says the same. They can only stand in
/// its strings.
#[must_use]
pub fn json(text: String) -> String {
    let is_odd = |character: char| character != '\n' && is_unsafe(character);
    if !text.chars().any(is_odd) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_odd(character) {
            // All of them take one unit.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

/// Why JSON is not what it should be, without a word of what it says: it may hold a line.
#[must_use]
pub fn json_error(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let is_ours = ["missing field `", "duplicate field `", "`record` is not"]
        .iter()
        .any(|ours| text.starts_with(ours));
    if error.is_data() && !is_ours {
        let (line, column) = (error.line(), error.column());
        return format!("a value is not what belongs there, at line {line} column {column}");
    }
    text
}

/// A number of bytes in the largest unit that fits, with one decimal.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut whole = count;
    let mut tenths = 0;
    while whole >= 1024 && unit + 1 < UNITS.len() {
        tenths = (whole % 1024) * 10 / 1024;
        whole /= 1024;
        unit += 1;
    }
    if unit == 0 {
        format!("{whole} B")
    } else {
        format!("{whole}.{tenths} {}", UNITS[unit])
    }
}

/// A number and what it counts.
#[must_use]
pub fn count(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_and_invalid_bytes_are_escaped() {
        let name = OsStr::from_bytes(b"a\x1b[31m\n\xffz\xc3\xa9");
        assert_eq!(Shown::name(name).to_string(), "a\\u{1b}[31m\\n\\xffz\u{e9}");
    }

    #[test]
    fn json_says_the_same_without_what_drives_a_terminal() {
        let odd = "a\u{7f}\u{9b}31m\u{202e}\u{2068}\u{feff}\u{1b} \u{e9}\u{1f600}";
        let text = json(serde_json::to_string(odd).unwrap());
        assert!(!text.chars().any(is_unsafe), "{text}");
        assert!(text.contains("\u{e9}\u{1f600}"));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), odd);
    }

    #[test]
    fn what_is_wrong_with_json_is_said_without_its_text() {
        #[derive(Debug, serde::Deserialize)]
        #[allow(dead_code, reason = "only read")]
        struct Known {
            number: u64,
        }
        let error = |text: &str| json_error(&serde_json::from_str::<Known>(text).unwrap_err());
        for text in [
            "\"secret\"",
            "{\"number\":\"secret\"}",
            "{\"number\":-7}",
            "[\"secret\"]",
        ] {
            let said = error(text);
            assert!(
                said.starts_with("a value is not what belongs there, at line 1 column "),
                "{said}"
            );
        }
        assert_eq!(error("{}"), "missing field `number` at line 1 column 2");
        assert!(error("{\"number\":1,\"number\":1}").starts_with("duplicate field `number`"));
        assert!(error("{\"secret").starts_with("EOF while parsing a string"));
    }

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(3 << 40), "3.0 TiB");
    }
}
