//! What every log is written with: bytes so far, chance, text and a clock of its own.

use std::fmt::Write as _;

use fastrand::Rng;
use jiff::Timestamp;

use super::text::{Kind, Recent, Text};

/// The corpus ends at this moment, in milliseconds; it does not depend on the day on which it is made.
pub(crate) const END_MS: i64 = 1_788_220_800_000;
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// One log being written.
pub(crate) struct Pen<'a> {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rng: Rng,
    pub(crate) text: &'a Text,
    size: usize,
    recent: Recent,
    clock_ms: i64,
}

impl<'a> Pen<'a> {
    /// A log of about `size` bytes whose first line is `age_s` seconds older than the end of the corpus.
    pub(crate) fn new(text: &'a Text, seed: u64, size: usize, age_s: u64) -> Self {
        Self {
            bytes: Vec::with_capacity(size + size / 8 + 4096),
            rng: Rng::with_seed(seed),
            text,
            size,
            recent: Recent::default(),
            clock_ms: END_MS - 1000 * age_s.cast_signed(),
        }
    }

    /// Bytes until the log has its size.
    pub(crate) fn left(&self) -> usize {
        self.size.saturating_sub(self.bytes.len())
    }

    pub(crate) fn put(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// One line: `head`, what `body` writes into the room that is left of `size`, and `tail`.
    pub(crate) fn line(&mut self, size: usize, head: &str, tail: &str, body: impl FnOnce(&mut Self, usize)) {
        let room = size.saturating_sub(head.len() + tail.len() + 1).max(8);
        self.put(head);
        body(self, room);
        self.put(tail);
        self.bytes.push(b'\n');
    }

    pub(crate) fn passage(&mut self, kind: Kind, size: usize) {
        let Self {
            rng,
            recent,
            bytes,
            text,
            ..
        } = self;
        text.passage(rng, recent, bytes, kind, size);
    }

    /// A passage of any kind, more often code and logs than prose.
    pub(crate) fn output(&mut self, size: usize) {
        let kind = match self.rng.u32(0..10) {
            0..5 => Kind::Code,
            5..8 => Kind::Log,
            8 => Kind::Listing,
            _ => Kind::Prose,
        };
        self.passage(kind, size);
    }

    /// Exactly `size` characters that do not pack.
    pub(crate) fn base64(&mut self, size: usize) {
        let mut left = size;
        while left > 0 {
            let mut bits = self.rng.u64(..);
            for _ in 0..left.min(10) {
                self.bytes.push(BASE64[usize::from(bits.to_le_bytes()[0] & 63)]);
                bits >>= 6;
            }
            left -= left.min(10);
        }
    }

    pub(crate) fn word(&mut self) -> &'a str {
        self.text.word(&mut self.rng)
    }

    pub(crate) fn hex(&mut self, digits: usize) -> String {
        hex(&mut self.rng, digits)
    }

    pub(crate) fn uuid(&mut self) -> String {
        uuid(&mut self.rng)
    }

    /// The time of the next record; three in a hundred go backwards.
    pub(crate) fn now(&mut self) -> String {
        let step = self.rng.i64(5..20_000);
        self.clock_ms += if self.rng.u32(0..100) < 3 { -step / 4 } else { step };
        time(self.clock_ms)
    }
}

/// RFC 3339 in UTC, with milliseconds.
pub(crate) fn time(ms: i64) -> String {
    let mut text = String::new();
    if let Ok(at) = Timestamp::from_millisecond(ms) {
        // A String takes whatever is written.
        let _ = write!(text, "{at:.3}");
    }
    text
}

pub(crate) fn hex(rng: &mut Rng, digits: usize) -> String {
    (0..digits)
        .map(|_| char::from(b"0123456789abcdef"[rng.usize(0..16)]))
        .collect()
}

pub(crate) fn uuid(rng: &mut Rng) -> String {
    let raw = format!("{:032x}", rng.u128(..));
    format!(
        "{}-{}-{}-{}-{}",
        &raw[..8],
        &raw[8..12],
        &raw[12..16],
        &raw[16..20],
        &raw[20..]
    )
}
