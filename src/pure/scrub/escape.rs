//! The four digits of `\uXXXX` in a string value.

/// What comes out: `\u00YY`, a lower-case letter; a half of a surrogate pair stays such a half.
#[derive(Default)]
pub(super) struct Escape {
    /// How many digits there were.
    digits: usize,
    value: u16,
    /// The third digit that came out.
    third: u8,
    /// Letters that it may spell, which then stay, and must not become if it does not.
    expected: &'static [u8],
}

/// The value of a hexadecimal digit.
fn value_of(digit: u8) -> u8 {
    let letter = digit.is_ascii_alphabetic();
    if letter {
        (digit | 0x20) - b'a' + 10
    } else {
        digit.wrapping_sub(b'0')
    }
}

fn digit_of(value: u8) -> u8 {
    b"0123456789abcdef".get(usize::from(value)).copied().unwrap_or(b'0')
}

/// One of a range, and never the one that was there when there are others.
fn other(range: std::ops::RangeInclusive<u8>, value: u8, draw: u64) -> u8 {
    digit_of(super::letters::shifted(value, range, &[], draw))
}

impl Escape {
    /// At its first digit.
    pub(super) fn begin(expected: &'static [u8]) -> Self {
        Self {
            expected,
            ..Self::default()
        }
    }

    /// The character that it stands for, once all digits were given.
    pub(super) fn is_over(&self) -> Option<u16> {
        (self.digits == 4).then_some(self.value)
    }

    /// Takes a digit that stays.
    pub(super) fn keep(&mut self, digit: u8) {
        self.value = self.value << 4 | u16::from(value_of(digit));
        self.digits += 1;
    }

    /// The digit that comes out in place of this one.
    pub(super) fn replace(&mut self, digit: u8, draw: u64) -> u8 {
        let at = self.digits;
        self.keep(digit);
        let value = value_of(digit);
        // From `\ud800` on to `\udfff` there are halves of pairs; what is below them is not told apart in time.
        let first = self.value >> (4 * at);
        match at {
            0 if first == 0xd => digit,
            1 if first == 0xd => match value {
                0x0..=0x7 => other(0..=7, value, draw),
                0x8..=0xb => other(8..=0xb, value, draw),
                _ => other(0xc..=0xf, value, draw),
            },
            _ if first == 0xd => other(0..=0xf, value, draw),
            0 | 1 => b'0',
            2 => {
                self.third = self.third_of_a_letter(draw);
                self.third
            }
            _ if self.expected.iter().any(|letter| u16::from(*letter) == self.value) => digit,
            _ => self.last_of_a_letter(draw),
        }
    }

    /// 6 or 7: the one that was there, as long as it spells what it may.
    fn third_of_a_letter(&self, draw: u64) -> u8 {
        let spells = |letter: &&u8| u16::from(**letter >> 4) == self.value;
        match self.expected.iter().find(spells) {
            Some(letter) => digit_of(letter >> 4),
            None if draw & 1 == 0 => b'6',
            None => b'7',
        }
    }

    /// The last digit of some letter that begins with the third digit, and is none of those that it may spell.
    fn last_of_a_letter(&self, draw: u64) -> u8 {
        let third = value_of(self.third) << 4;
        let letters = (b'a'..=b'z').filter(|letter| letter & 0xf0 == third && !self.expected.contains(letter));
        let count = letters.clone().count().max(1) as u64;
        let at = usize::try_from(draw % count).unwrap_or(0);
        digit_of(letters.into_iter().nth(at).unwrap_or(third | 2) & 0x0f)
    }
}
