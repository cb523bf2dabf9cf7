//! Bytes by chance, read as numbers, texts and damage.

/// Bytes that are used up from their front; behind their end everything is 0.
pub(crate) struct Data<'a>(&'a [u8]);

impl<'a> Data<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `bound`; 0 when there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((usize::from(self.byte()) << 8) | usize::from(self.byte())) % bound.max(1)
    }

    /// Any number, with those at the borders among them.
    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            byte @ 0..200 => u64::from(byte),
            200..210 => u64::MAX,
            210..220 => u64::MAX / 2,
            byte => u64::from(byte) << (self.byte() % 56),
        }
    }

    /// Some bytes, fewer than 256.
    pub(crate) fn text(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        text
    }

    /// The same without newlines; half of them are ASCII, since few bytes by chance are UTF-8.
    pub(crate) fn line(&mut self) -> Vec<u8> {
        let mask = if self.byte().is_multiple_of(2) { 0x7f } else { 0xff };
        let bytes = self.text().iter().map(|byte| byte & mask);
        bytes.filter(|byte| *byte != b'\n').collect()
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// Changes `bytes`, up to 8 times, as what is left says. Copies of copies are bounded.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.byte() % 8 {
            if self.0.is_empty() || bytes.is_empty() || bytes.len() > 64 * 1024 {
                return;
            }
            match self.byte() % 10 {
                0 => {
                    let at = self.below(bytes.len());
                    bytes[at] ^= 1 << (self.byte() % 8);
                }
                1 => {
                    let at = self.below(bytes.len());
                    bytes[at] = self.byte();
                }
                2 => bytes.truncate(self.below(bytes.len())),
                3 => drop(bytes.drain(self.stretch(bytes.len()))),
                4 => {
                    let copy = bytes[self.stretch(bytes.len())].to_vec();
                    insert(bytes, self.below(bytes.len()), &copy);
                }
                5 => insert(bytes, self.below(bytes.len()), self.text()),
                6 => drop(bytes.drain(self.place_of_line(bytes))),
                7 => {
                    let copy = bytes[self.place_of_line(bytes)].to_vec();
                    insert(bytes, self.place_of_line(bytes).start, &copy);
                }
                8 => {
                    let line = self.place_of_line(bytes);
                    let moved: Vec<_> = bytes.drain(line).collect();
                    let at = if bytes.is_empty() {
                        0
                    } else {
                        self.place_of_line(bytes).start
                    };
                    insert(bytes, at, &moved);
                }
                _ => {
                    let number = self.number().to_string();
                    let from = self.below(bytes.len());
                    if let Some(digits) = digits(bytes, from) {
                        bytes.splice(digits, number.into_bytes());
                    }
                }
            }
        }
    }

    /// A part of that many bytes.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length);
        start..(start + usize::from(self.byte())).min(length)
    }

    /// The place of a line, with its newline.
    fn place_of_line(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let number = self.below(lines.len());
        let start = lines[..number].iter().map(|line| line.len()).sum();
        start..start + lines[number].len()
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}

/// The first number that stands at or behind `from`.
fn digits(bytes: &[u8], from: usize) -> Option<std::ops::Range<usize>> {
    let start = from + bytes[from..].iter().position(u8::is_ascii_digit)?;
    let length = bytes[start..].iter().position(|byte| !byte.is_ascii_digit());
    Some(start..length.map_or(bytes.len(), |length| start + length))
}
