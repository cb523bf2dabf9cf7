//! One byte for another of its kind.

use std::ops::RangeInclusive;

/// A keyed hash of the line so far.
///
/// What was read is kept until it fills half a block of the hash, so that each draw is one block.
pub(super) struct Keystream {
    key: [u8; 32],
    chain: [u8; 32],
    pending: [u8; 32],
    filled: usize,
}

impl Keystream {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self {
            key,
            chain: [0; 32],
            pending: [0; 32],
            filled: 0,
        }
    }

    /// A line begins.
    pub(super) fn begin(&mut self) {
        (self.chain, self.filled) = ([0; 32], 0);
    }

    /// Takes the next byte of the line.
    pub(super) fn absorb(&mut self, byte: u8) {
        self.pending[self.filled] = byte;
        self.filled += 1;
        if self.filled == self.pending.len() {
            // One byte longer than any draw hashes, so that nothing that is drawn is ever a chain.
            self.chain = *self.hash().as_bytes();
            self.filled = 0;
        }
    }

    /// The number that belongs to the line so far.
    pub(super) fn draw(&self) -> u64 {
        let hash = self.hash();
        let bytes = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    }

    fn hash(&self) -> blake3::Hash {
        let mut input = [0; 64];
        input[..32].copy_from_slice(&self.chain);
        input[32..32 + self.filled].copy_from_slice(&self.pending[..self.filled]);
        blake3::keyed_hash(&self.key, &input[..32 + self.filled])
    }
}

/// Where in a character of several bytes we are: how many follow, and in which range the next one is replaced.
#[derive(Default)]
pub(super) struct Utf8 {
    left: u8,
    low: u8,
    high: u8,
}

impl Utf8 {
    fn begin(&mut self, left: u8, low: u8, high: u8) {
        (self.left, self.low, self.high) = (left, low, high);
    }
}

/// Another letter, digit or byte of a character in place of `byte`; anything else as it is. It is none of
/// `but`, unless `byte` is.
pub(super) fn replace(byte: u8, utf8: &mut Utf8, stream: &Keystream, but: &[u8]) -> u8 {
    let class = match byte {
        b'a'..=b'z' => b'a'..=b'z',
        b'A'..=b'Z' => b'A'..=b'Z',
        b'0'..=b'9' => b'0'..=b'9',
        0x80.. => return replace_part(byte, utf8, stream),
        _ => {
            utf8.left = 0;
            return byte;
        }
    };
    utf8.left = 0;
    shifted(byte, class, but, stream.draw())
}

/// A byte of a character that is not ASCII. What can follow the first byte differs, so a first byte is
/// replaced only by one that the same can follow; what is not valid here is not valid afterwards.
fn replace_part(byte: u8, utf8: &mut Utf8, stream: &Keystream) -> u8 {
    if utf8.left > 0 && byte < 0xc0 {
        let (class, left) = (utf8.low..=utf8.high, utf8.left - 1);
        let left = if class.contains(&byte) { left } else { 0 };
        utf8.begin(left, 0x80, 0xbf);
        return shifted(byte, class, &[], stream.draw());
    }
    let mut first = |left, low, high, class: RangeInclusive<u8>, but: &[u8]| {
        utf8.begin(left, low, high);
        shifted(byte, class, but, stream.draw())
    };
    match byte {
        // Below U+00A0 there are control characters, which stay.
        0xc2 => first(1, 0xa0, 0xbf, 0xc2..=0xc2, &[]),
        0xc3..=0xdf => first(1, 0x80, 0xbf, 0xc3..=0xdf, &[]),
        0xe0 => first(2, 0xa0, 0xbf, 0xe0..=0xe0, &[]),
        0xed => first(2, 0x80, 0x9f, 0xed..=0xed, &[]),
        0xe1..=0xef => first(2, 0x80, 0xbf, 0xe1..=0xef, &[0xed]),
        0xf0 => first(3, 0x90, 0xbf, 0xf0..=0xf0, &[]),
        0xf1..=0xf3 => first(3, 0x80, 0xbf, 0xf1..=0xf3, &[]),
        0xf4 => first(3, 0x80, 0x8f, 0xf4..=0xf4, &[]),
        // No character has these, or none begins so.
        _ => first(0, 0, 0, 0x80..=0xbf, &[]),
    }
}

/// Another member of a class: `draw` says how far to go round. What is no member, or alone, stays.
pub(super) fn shifted(byte: u8, class: RangeInclusive<u8>, but: &[u8], draw: u64) -> u8 {
    let members = class.filter(|member| !but.contains(member));
    let count = members.clone().count() as u64;
    let Some(at) = members.clone().position(|member| member == byte) else {
        return byte;
    };
    if count < 2 {
        return byte;
    }
    let to = (at as u64 + 1 + draw % (count - 1)) % count;
    members
        .into_iter()
        .nth(usize::try_from(to).unwrap_or(at))
        .unwrap_or(byte)
}
