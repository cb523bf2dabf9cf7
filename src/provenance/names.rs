//! The names in the directory of the spill.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::home::OVERFLOW;
use crate::pure::name::parse_ulid;

/// `<owner>-<number>-<lines>.jsonl`: which writer wrote it, how many it wrote before, and how many lines it has.
///
/// An owner is a ULID that one writer draws for itself, and it uses each number once, so names never meet, and they
/// sort by age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SpillName {
    pub(super) owner: Ulid,
    pub(super) number: u32,
    pub(super) lines: u64,
}

impl SpillName {
    /// Its file name.
    pub(super) fn name(&self) -> String {
        format!("{}-{:08}-{}.jsonl", self.owner, self.number, self.lines)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".jsonl")?.split('-');
        let this = Self {
            owner: parse_ulid(parts.next()?)?,
            number: parts.next()?.parse().ok()?,
            lines: parts.next()?.parse().ok()?,
        };
        // One spelling each.
        (this.name() == name).then_some(this)
    }
}

/// What a name in the directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A spill file.
    Spill(SpillName),
    /// One that was not finished.
    Temporary(SpillName),
    /// What a writer holds by `flock` as long as it lives.
    Lock(Ulid),
    /// None of ours.
    Other,
}

impl Found {
    pub(super) fn parse(name: &OsStr) -> Self {
        let Some(name) = name.to_str() else {
            return Self::Other;
        };
        if let Some(owner) = name.strip_suffix(".lock").and_then(parse_ulid) {
            return Self::Lock(owner);
        }
        if let Some(spill) = name.strip_suffix(".tmp").and_then(SpillName::parse) {
            return Self::Temporary(spill);
        }
        SpillName::parse(name).map_or(Self::Other, Self::Spill)
    }

    /// Whose it is.
    pub(super) fn owner(self) -> Option<Ulid> {
        match self {
            Self::Spill(name) | Self::Temporary(name) => Some(name.owner),
            Self::Lock(owner) => Some(owner),
            Self::Other => None,
        }
    }
}

/// A path in the directory of the spill.
pub(super) fn in_overflow(name: impl AsRef<Path>) -> PathBuf {
    Path::new(OVERFLOW).join(name)
}

/// The lock file of an owner.
pub(super) fn lock_of(owner: Ulid) -> PathBuf {
    in_overflow(format!("{owner}.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_name_is_told_apart() {
        let owner = parse_ulid("01ARZ3NDEKTSV4RRFFQ69G5FAV").unwrap();
        let spill = SpillName {
            owner,
            number: 7,
            lines: 12,
        };
        let name = spill.name();
        assert_eq!(name, "01ARZ3NDEKTSV4RRFFQ69G5FAV-00000007-12.jsonl");
        let rows = [
            (name.clone(), Found::Spill(spill)),
            (format!("{name}.tmp"), Found::Temporary(spill)),
            (format!("{owner}.lock"), Found::Lock(owner)),
            (format!("{owner}-7-12.jsonl"), Found::Other),
            (format!("{owner}-00000007-12-1.jsonl"), Found::Other),
            (format!("{name}.bad"), Found::Other),
            ("1700000000000-3-beef.jsonl".into(), Found::Other),
        ];
        for (name, expected) in rows {
            assert_eq!(Found::parse(name.as_ref()), expected, "{name}");
        }
    }
}
