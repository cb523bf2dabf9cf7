//! What shows that a file is still the file we knew: its inode, and hashes of what we read of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::WINDOW_BYTES_MAX;

/// Device, inode and, where the filesystem has one, the time of birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Time of birth; null where the filesystem has none.
    pub btime: Option<Timestamp>,
}

impl Identity {
    /// Whether both are one inode: equal device and inode, and equal birth where both are known.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        let birth_fits = match (self.btime, other.btime) {
            (Some(ours), Some(theirs)) => ours == theirs,
            (None, _) | (_, None) => true,
        };
        self.device == other.device && self.inode == other.inode && birth_fits
    }
}

/// Length and hash of a stretch of at most 1 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Bytes.
    pub length: u32,
    /// BLAKE3 of them.
    #[serde(with = "hex")]
    pub hash: blake3::Hash,
}

impl Window {
    /// The window over all of `bytes`.
    ///
    /// `bytes` is at most 1 KiB; of more, the length would not say what was hashed.
    #[must_use]
    pub fn over(bytes: &[u8]) -> Self {
        debug_assert!(bytes.len() <= WINDOW_BYTES_MAX);
        Self {
            length: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            hash: blake3::hash(bytes),
        }
    }

    /// Whether `bytes` are what was hashed.
    #[must_use]
    pub fn holds(&self, bytes: &[u8]) -> bool {
        self.bytes() == bytes.len() && self.hash == blake3::hash(bytes)
    }

    /// Its length as a size in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.length as usize
    }
}

/// The content evidence beside an offset above 0: both windows cover only bytes below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The first ≤ 1 KiB of the file.
    pub head: Window,
    /// The ≤ 1 KiB just before the offset.
    pub guard: Window,
}

/// How many bytes a window beside this offset covers.
#[must_use]
pub fn window_bytes(offset: u64) -> usize {
    usize::try_from(offset).map_or(WINDOW_BYTES_MAX, |offset| offset.min(WINDOW_BYTES_MAX))
}

impl Evidence {
    /// The evidence at the end of `bytes`, which stand at `start` and reach back from their end by at
    /// least [`window_bytes`]; `before` is what held at an earlier offset, and spares the head of a long file.
    ///
    /// None when the head is neither in `bytes` nor known before, which the caller prevents by reading
    /// from the start of the earlier guard.
    #[must_use]
    pub fn at_end_of(bytes: &[u8], start: u64, before: Option<&Self>) -> Option<Self> {
        let end = start + bytes.len() as u64;
        let length = window_bytes(end);
        let guard = Window::over(&bytes[bytes.len().checked_sub(length)?..]);
        let head = match (start, before) {
            (0, _) => Window::over(&bytes[..length]),
            (_, Some(before)) => before.head,
            (_, None) => return None,
        };
        Some(Self { head, guard })
    }
}

/// A hash as 64 hex digits.
pub(crate) mod hex {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(hash: &blake3::Hash, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hash.to_hex())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<blake3::Hash, D::Error> {
        from.deserialize_str(Digits)
    }

    /// The digits are looked at where they stand: there are many, and a copy of each would cost more than they do.
    struct Digits;

    impl Visitor<'_> for Digits {
        type Value = blake3::Hash;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("64 hex digits")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
            blake3::Hash::from_hex(text.as_bytes()).map_err(E::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_made_in_steps_equals_evidence_made_at_once() {
        let bytes: Vec<u8> = (0..5000_u32).map(|i| (i % 251) as u8).collect();
        let mut step: Option<Evidence> = None;
        let mut offset = 0;
        for end in [1, 500, 1023, 1024, 1025, 3000, 5000] {
            let start = offset - window_bytes(offset as u64);
            step = Evidence::at_end_of(&bytes[start..end], start as u64, step.as_ref());
            assert_eq!(step, Evidence::at_end_of(&bytes[..end], 0, None), "at {end}");
            offset = end;
        }
    }

    #[test]
    fn an_unknown_birth_time_does_not_tell_inodes_apart() {
        let known = Identity {
            device: 1,
            inode: 2,
            btime: Some(Timestamp::UNIX_EPOCH),
        };
        let unknown = Identity { btime: None, ..known };
        assert!(known.same(&unknown));
        assert!(!known.same(&Identity { inode: 3, ..known }));
        assert!(!known.same(&Identity {
            btime: Some(Timestamp::MAX),
            ..known
        }));
    }
}
