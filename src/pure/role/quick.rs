//! Validity and role of a text that is in memory, in one pass that jumps over strings sixteen bytes at a time.

use super::{Found, Key, Role, Speaker};
use crate::pure::special::next_special;

/// Deepest nesting that is judged here: one bit of a `u128` a level.
const DEPTH_MAX: u32 = u128::BITS;

/// What a text that is exactly one JSON value of RFC 8259 says of its role. None when it is none, and when others must
/// judge: it is nested deeply, or a name that may matter is written with escapes.
pub(super) fn find(text: &str) -> Option<Found> {
    let mut reader = Reader {
        text: text.as_bytes(),
        at: 0,
        depth: 0,
        objects: 0,
        keys: [Key::Other; 2],
        found: Found::default(),
    };
    reader.whitespace();
    loop {
        let mut is_open = reader.value()?;
        // Behind a value, or at the beginning of the inside of one.
        while !is_open {
            reader.whitespace();
            if reader.depth == 0 {
                let is_all = reader.at == reader.text.len();
                return is_all.then_some(reader.found);
            }
            is_open = reader.behind_value()?;
        }
    }
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    /// How many arrays and objects are open.
    depth: u32,
    /// Which of them are objects: the lowest bit is the innermost one.
    objects: u128,
    /// The last key of the outermost value, if that is an object, and of an object in it.
    keys: [Key; 2],
    found: Found,
}

impl Reader<'_> {
    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.byte() {
            self.at += 1;
        }
    }

    /// Passes a value, or the beginning of one that holds others: then another value follows, which is true.
    fn value(&mut self) -> Option<bool> {
        match self.byte()? {
            b'"' => {
                let string = self.string()?;
                self.word(string)?;
            }
            b'{' => return self.open(true),
            b'[' => return self.open(false),
            b't' => self.literal(b"true")?,
            b'f' => self.literal(b"false")?,
            b'n' => self.literal(b"null")?,
            _ => self.number()?,
        }
        Some(false)
    }

    /// Passes the beginning of an object or array, and the first key.
    fn open(&mut self, is_object: bool) -> Option<bool> {
        if self.depth == DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        self.at += 1;
        self.whitespace();
        if let Some(b'}' | b']') = self.byte() {
            return self.close().map(|()| false);
        }
        if is_object {
            self.key()?;
        }
        Some(true)
    }

    /// Passes the end of the innermost value.
    fn close(&mut self) -> Option<()> {
        let end = if self.is_object() { b'}' } else { b']' };
        if self.byte()? != end {
            return None;
        }
        self.at += 1;
        self.depth -= 1;
        self.objects >>= 1;
        Some(())
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Passes what follows a value: whether that is another one.
    fn behind_value(&mut self) -> Option<bool> {
        if self.byte()? != b',' {
            return self.close().map(|()| false);
        }
        self.at += 1;
        self.whitespace();
        if self.is_object() {
            self.key()?;
        }
        Some(true)
    }

    /// Passes a key, and what is between it and its value.
    fn key(&mut self) -> Option<()> {
        if self.byte()? != b'"' {
            return None;
        }
        let string = self.string()?;
        if let (level @ (1 | 2), true) = (self.depth, self.is_watched()) {
            self.keys[level as usize - 1] = Key::named(plain(string)?);
        }
        self.whitespace();
        if self.byte()? != b':' {
            return None;
        }
        self.at += 1;
        self.whitespace();
        Some(())
    }

    /// Whether a key of the innermost object can matter.
    fn is_watched(&self) -> bool {
        match self.depth {
            1 => true,
            2 => self.objects == 0b11 && matches!(self.keys[0], Key::Message | Key::Payload),
            _ => false,
        }
    }

    /// Takes down a string that is a value.
    fn word(&mut self, string: &[u8]) -> Option<()> {
        let place = match (self.depth, self.objects, self.keys) {
            (1, 0b1, [Key::Role, _]) => &mut self.found.role,
            (1, 0b1, [Key::Type, _]) => &mut self.found.kind,
            (2, 0b11, [Key::Message, Key::Role]) => &mut self.found.message,
            (2, 0b11, [Key::Payload, Key::Role]) => &mut self.found.payload,
            _ => return Some(()),
        };
        if place.is_none() {
            *place = Some(Speaker(Role::named(plain(string)?)));
        }
        Some(())
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.byte()? == b'-' {
            self.at += 1;
        }
        if self.byte()? == b'0' {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let begun = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > begun).then_some(())
    }
}

impl<'t> Reader<'t> {
    /// Passes a string; returns what stands between its quotes.
    fn string(&mut self) -> Option<&'t [u8]> {
        let text = self.text;
        let begun = self.at + 1;
        let mut at = begun;
        loop {
            at = next_special(text, at)?;
            match text[at] {
                b'"' => break,
                b'\\' => at += escape_bytes(&text[at..])?,
                // It should have been escaped.
                _ => return None,
            }
        }
        self.at = at + 1;
        Some(&text[begun..at])
    }
}

/// The length of the escape at the start of `text`.
fn escape_bytes(text: &[u8]) -> Option<usize> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => text.get(2..6)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
    }
}

/// The text of a string that has no escape.
fn plain(string: &[u8]) -> Option<&[u8]> {
    memchr::memchr(b'\\', string).is_none().then_some(string)
}
