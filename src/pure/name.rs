//! The names in the queue's directory.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use ulid::Ulid;

const PREFIX: &str = "pending-";

/// What a name in `pending/` says of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// `pending-<ulid>-<records>.jsonl`
    Batch(Batch),
    /// `pending-<ulid>-<records>.jsonl.tmp`
    Temporary(Batch),
    /// `pending-<anything>.json`: one envelope.
    Single,
    /// `pending-<anything>.lock`
    Lock,
    /// `pending-<anything>.json.tmp`: a single record that some program is writing.
    Unfinished,
    /// None of these.
    Other,
}

/// First ULID and number of records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// ULID of its first record.
    pub first: Ulid,
    /// How many records it holds; at least 1.
    pub records: u64,
}

impl Batch {
    /// Its file name.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{PREFIX}{}-{}.jsonl", self.first, self.records)
    }

    /// Its file name while it is not committed.
    #[must_use]
    pub fn temporary(&self) -> String {
        self.name() + ".tmp"
    }

    fn parse(middle: &str) -> Option<Self> {
        let (first, records) = middle.split_once('-')?;
        let first = parse_ulid(first)?;
        let count: u64 = records.parse().ok()?;
        // One spelling a batch: no sign, no leading zero.
        (count > 0 && count.to_string() == records).then_some(Self { first, records: count })
    }
}

/// What a readable name has in the place of the ULID of its first record.
#[must_use]
pub fn named_by(name: &OsStr) -> Option<String> {
    match Name::parse(name) {
        Name::Batch(batch) => Some(batch.first.to_string()),
        Name::Single => Some(name.to_str()?.strip_prefix(PREFIX)?.strip_suffix(".json")?.to_owned()),
        _ => None,
    }
}

/// The name of a record in a file of its own.
#[must_use]
pub fn single(ulid: Ulid) -> String {
    format!("{PREFIX}{ulid}.json")
}

/// A ULID in its one canonical spelling.
#[must_use]
pub fn parse_ulid(text: &str) -> Option<Ulid> {
    let ulid = Ulid::from_string(text).ok()?;
    (ulid.to_string() == text).then_some(ulid)
}

impl Name {
    /// Reads a file name.
    #[must_use]
    pub fn parse(name: &OsStr) -> Self {
        let Some(rest) = name.as_bytes().strip_prefix(PREFIX.as_bytes()) else {
            return Self::Other;
        };
        if rest.ends_with(b".json") {
            return Self::Single;
        }
        if rest.ends_with(b".lock") {
            return Self::Lock;
        }
        if rest.ends_with(b".json.tmp") {
            return Self::Unfinished;
        }
        let Ok(rest) = str::from_utf8(rest) else {
            return Self::Other;
        };
        if let Some(batch) = rest.strip_suffix(".jsonl").and_then(Batch::parse) {
            return Self::Batch(batch);
        }
        match rest.strip_suffix(".jsonl.tmp").and_then(Batch::parse) {
            Some(batch) => Self::Temporary(batch),
            None => Self::Other,
        }
    }

    /// How many records the file holds, when a reader may have it.
    #[must_use]
    pub fn readable_records(self) -> Option<u64> {
        match self {
            Self::Batch(batch) => Some(batch.records),
            Self::Single => Some(1),
            Self::Temporary(_) | Self::Lock | Self::Unfinished | Self::Other => None,
        }
    }
}

/// The name of the lock file that claims `name`, a batch or a single record.
#[must_use]
pub fn lock_of(name: &OsStr) -> OsString {
    let stem = match Name::parse(name) {
        Name::Batch(batch) => return format!("{PREFIX}{}.lock", batch.first).into(),
        _ => name.as_bytes().strip_suffix(b".json").unwrap_or(name.as_bytes()),
    };
    OsStr::from_bytes(&[stem, b".lock"].concat()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ULID: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV";

    #[test]
    fn each_kind_of_name_is_told_apart() {
        let batch = Batch {
            first: ULID.parse().unwrap(),
            records: 12,
        };
        assert_eq!(Name::parse(batch.name().as_ref()), Name::Batch(batch));
        assert_eq!(Name::parse(batch.temporary().as_ref()), Name::Temporary(batch));
        let rows = [
            (format!("pending-{ULID}.json"), Name::Single),
            ("pending-.json".into(), Name::Single),
            (format!("pending-{ULID}.lock"), Name::Lock),
            (format!("pending-{ULID}.json.tmp"), Name::Unfinished),
            (format!("pending-{ULID}-0.jsonl"), Name::Other),
            (format!("pending-{ULID}-01.jsonl"), Name::Other),
            (format!("pending-{ULID}-+1.jsonl"), Name::Other),
            (format!("pending-{}-1.jsonl", ULID.to_lowercase()), Name::Other),
            (format!("pending-{ULID}.jsonl"), Name::Other),
            (".overflow-audit.log".into(), Name::Other),
        ];
        for (name, expected) in rows {
            assert_eq!(Name::parse(name.as_ref()), expected, "{name}");
        }
    }

    #[test]
    fn a_lock_is_named_for_what_it_claims() {
        let of = |name: &str| lock_of(name.as_ref()).into_string().unwrap();
        assert_eq!(of(&format!("pending-{ULID}-12.jsonl")), format!("pending-{ULID}.lock"));
        assert_eq!(of(&format!("pending-{ULID}.json")), format!("pending-{ULID}.lock"));
        assert_eq!(of("pending-x.json"), "pending-x.lock");
    }
}
