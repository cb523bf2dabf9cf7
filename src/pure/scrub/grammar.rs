//! Where in a line of JSON a byte stands, and what is done with it there.

use super::escape::Escape;

/// What is done with a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It stays.
    Keep,
    /// If it is a letter, a digit or not ASCII, it becomes another one, but none of these.
    Replace(&'static [u8]),
    /// It is a digit of an escape in a value: [`Grammar::digit`] says what it becomes.
    Digit,
}

use Treatment::{Keep, Replace};

/// The words that a value of `role` or `type` keeps. No two begin with the same letter.
const WORDS: [&[u8]; 4] = [b"user", b"assistant", b"system", b"tool"];

/// What is left of such a word.
#[derive(Default, Clone, Copy)]
enum Word {
    /// It is none, or none any more.
    #[default]
    No,
    /// Any of them may begin.
    Any,
    /// This must follow.
    Rest(&'static [u8]),
}

impl Word {
    /// The letters that go on with it.
    fn expected(self) -> &'static [u8] {
        match self {
            Self::No => b"",
            Self::Any => b"uast",
            Self::Rest(rest) => rest.get(..1).unwrap_or_default(),
        }
    }

    /// After this character.
    fn after(self, character: u16) -> Self {
        let goes_on = |word: &&'static [u8]| word.first().map(|first| u16::from(*first)) == Some(character);
        let word = match self {
            Self::No => None,
            Self::Any => WORDS.iter().copied().find(goes_on),
            Self::Rest(rest) => Some(rest).filter(goes_on),
        };
        word.map_or(Self::No, |word| Self::Rest(&word[1..]))
    }
}

/// A number, by what came last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    Minus,
    Zero,
    Whole,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value must come.
    #[default]
    Value,
    /// A value or the end of the array.
    FirstItem,
    /// A key or the end of the object.
    FirstKey,
    /// A key must come.
    NextKey,
    Colon,
    /// A value is over.
    After,
    /// This must follow.
    Literal(&'static [u8]),
    Number(Number),
    Text,
    Backslash,
    Escape,
    /// It is no JSON, whatever follows.
    Broken,
}

/// A parser of one line that knows no more than where it is.
#[derive(Default)]
pub(super) struct Grammar {
    state: State,
    open: Containers,
    /// Whether the string that we are in is a key.
    in_key: bool,
    key: Key,
    word: Word,
    escape: Escape,
}

impl Grammar {
    /// Takes the next byte.
    pub(super) fn step(&mut self, byte: u8) -> Treatment {
        match self.state {
            State::Value | State::FirstItem => self.value(byte),
            State::FirstKey | State::NextKey => self.before_key(byte),
            State::Colon => match byte {
                b' ' | b'\t' | b'\r' => Keep,
                b':' => self.to(State::Value),
                _ => self.broken(b""),
            },
            State::After => self.after(byte),
            State::Literal(rest) => match rest.split_first() {
                Some((next, [])) if *next == byte => self.to(State::After),
                Some((next, rest)) if *next == byte => self.to(State::Literal(rest)),
                _ => self.broken(rest.get(..1).unwrap_or_default()),
            },
            State::Number(number) => self.number(number, byte),
            State::Text => self.text(byte),
            State::Backslash => self.backslash(byte),
            State::Escape => self.escape(byte),
            State::Broken => Replace(b""),
        }
    }

    /// What a digit of an escape becomes, of which [`Self::step`] said [`Treatment::Digit`].
    pub(super) fn digit(&mut self, byte: u8, draw: u64) -> u8 {
        let digit = self.escape.replace(byte, draw);
        if let Some(character) = self.escape.is_over() {
            self.word = self.word.after(character);
            self.state = State::Text;
        }
        digit
    }

    fn to(&mut self, state: State) -> Treatment {
        self.state = state;
        Keep
    }

    /// This byte makes it no JSON; one of `but` in its place could make it JSON again.
    fn broken(&mut self, but: &'static [u8]) -> Treatment {
        *self = Self {
            state: State::Broken,
            ..Self::default()
        };
        Replace(but)
    }

    fn value(&mut self, byte: u8) -> Treatment {
        if !matches!(byte, b' ' | b'\t' | b'\r') && byte != b'"' {
            self.word = Word::No;
        }
        match byte {
            b' ' | b'\t' | b'\r' => Keep,
            b'"' => {
                self.in_key = false;
                self.to(State::Text)
            }
            b'{' => self.push(true, State::FirstKey),
            b'[' => self.push(false, State::FirstItem),
            b']' if self.state == State::FirstItem => self.pop(),
            b'-' => self.to(State::Number(Number::Minus)),
            b'0' => self.to(State::Number(Number::Zero)),
            b'1'..=b'9' => self.to(State::Number(Number::Whole)),
            b't' => self.to(State::Literal(b"rue")),
            b'f' => self.to(State::Literal(b"alse")),
            b'n' => self.to(State::Literal(b"ull")),
            _ => self.broken(b"tfn"),
        }
    }

    fn before_key(&mut self, byte: u8) -> Treatment {
        match byte {
            b' ' | b'\t' | b'\r' => Keep,
            b'"' => {
                (self.in_key, self.key, self.word) = (true, Key::default(), Word::No);
                self.to(State::Text)
            }
            b'}' if self.state == State::FirstKey => self.pop(),
            _ => self.broken(b""),
        }
    }

    fn after(&mut self, byte: u8) -> Treatment {
        match (byte, self.open.innermost()) {
            (b' ' | b'\t' | b'\r', _) => self.to(State::After),
            (b',', Some(true)) => self.to(State::NextKey),
            (b',', Some(false)) => self.to(State::Value),
            (b'}', Some(true)) | (b']', Some(false)) => self.pop(),
            _ => self.broken(b""),
        }
    }

    fn push(&mut self, is_object: bool, state: State) -> Treatment {
        self.open.push(is_object);
        self.to(state)
    }

    fn pop(&mut self) -> Treatment {
        self.open.pop();
        self.to(State::After)
    }

    fn number(&mut self, number: Number, byte: u8) -> Treatment {
        use Number::{Exponent, Fraction, Minus, Point, Power, Sign, Whole, Zero};
        let next = match (number, byte) {
            (Minus, b'0') => Zero,
            (Minus, b'1'..=b'9') | (Whole, b'0'..=b'9') => Whole,
            (Zero | Whole, b'.') => Point,
            (Point | Fraction, b'0'..=b'9') => Fraction,
            (Zero | Whole | Fraction, b'e' | b'E') => Exponent,
            (Exponent, b'+' | b'-') => Sign,
            (Exponent | Sign | Power, b'0'..=b'9') => Power,
            (Minus | Point | Exponent | Sign, _) => return self.broken(b""),
            (Zero | Whole | Fraction, _) if byte.is_ascii_alphabetic() => return self.broken(b"eE"),
            (Zero | Whole | Fraction | Power, _) => return self.after(byte),
        };
        self.to(State::Number(next))
    }

    fn text(&mut self, byte: u8) -> Treatment {
        match byte {
            b'"' if self.in_key => {
                self.word = if self.key.is_of_a_role() { Word::Any } else { Word::No };
                self.to(State::Colon)
            }
            b'"' => {
                self.word = Word::No;
                self.to(State::After)
            }
            b'\\' => self.to(State::Backslash),
            0..0x20 => self.broken(b""),
            _ if self.in_key => {
                self.key.push(byte);
                Keep
            }
            _ => {
                let expected = self.word.expected();
                self.word = self.word.after(byte.into());
                if expected.contains(&byte) {
                    Keep
                } else {
                    Replace(expected)
                }
            }
        }
    }

    fn backslash(&mut self, byte: u8) -> Treatment {
        match byte {
            b'u' => {
                self.escape = Escape::begin(self.word.expected());
                self.to(State::Escape)
            }
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                // None of them is a letter of a word.
                self.key.push(0);
                self.word = Word::No;
                self.to(State::Text)
            }
            _ => self.broken(b"bfnrtu"),
        }
    }

    fn escape(&mut self, byte: u8) -> Treatment {
        if !byte.is_ascii_hexdigit() {
            return self.broken(b"abcdefABCDEF");
        }
        if !self.in_key {
            return Treatment::Digit;
        }
        self.escape.keep(byte);
        if let Some(character) = self.escape.is_over() {
            self.key.push(u8::try_from(character).unwrap_or(0));
            self.state = State::Text;
        }
        Keep
    }
}

/// Which containers are open, one bit each.
#[derive(Default)]
struct Containers {
    objects: Vec<u64>,
    depth: usize,
}

impl Containers {
    fn push(&mut self, is_object: bool) {
        let (word, bit) = (self.depth / 64, self.depth % 64);
        if bit == 0 {
            self.objects.truncate(word);
            self.objects.push(0);
        }
        if let Some(bits) = self.objects.get_mut(word) {
            *bits = *bits & !(1 << bit) | u64::from(is_object) << bit;
        }
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether the innermost one is an object; None when none is open.
    fn innermost(&self) -> Option<bool> {
        let at = self.depth.checked_sub(1)?;
        Some(self.objects.get(at / 64)? >> (at % 64) & 1 == 1)
    }
}

/// The beginning of a key, as far as it can matter.
#[derive(Default)]
struct Key {
    text: [u8; 4],
    length: usize,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.text.get_mut(self.length) {
            *place = byte;
        }
        self.length = self.length.saturating_add(1);
    }

    fn is_of_a_role(&self) -> bool {
        self.length == 4 && (self.text == *b"role" || self.text == *b"type")
    }
}
