//! The lines of the ledger. Path and identity are spelt out in each kind: serde's `flatten` would copy every
//! line into a tree of values before reading it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::pure::identity::Window;
use crate::pure::name::{Batch, Name};
use crate::pure::step::Reason;

/// One fact.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A file is followed: a new one from offset 0, a known one from where it was.
    New(New),
    /// A run was captured.
    Captured(Captured),
    /// Content below the offset is gone or differs.
    Truncate(Truncate),
    /// Another inode stands at the path.
    Rotate(Rotate),
    /// The file is gone.
    Delete(Delete),
    /// A last line without a newline was captured.
    Settled(Settled),
    /// Following a file has ended.
    Closed(Closed),
    /// Another path shows a file that is followed.
    Linked(Linked),
    /// What a file held when its root was first seen is left out.
    Skipped(Skipped),
    /// The first pass over a root is done.
    Root(Root),
    /// Files of the queue were dropped to make room.
    Dropped(Dropped),
    /// Batches of the queue were merged into one.
    Compacted(Compacted),
}

/// See [`Entry::New`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct New {
    /// Given to the file here, unless it is known.
    pub file_id: Ulid,
    /// 0 for a new file.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the identity.
    pub device: u64,
    /// Inode, of the identity.
    pub inode: u64,
    /// Birth, of the identity.
    pub btime: Option<Timestamp>,
    /// The file's modification time at the look.
    pub mtime: Timestamp,
    /// The offset from which a known file goes on here; None for a new one.
    pub continues: Option<u64>,
    /// The root's agent name, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// See [`Entry::Captured`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Captured {
    /// Of which file.
    pub file_id: Ulid,
    /// In which epoch.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the identity.
    pub device: u64,
    /// Inode, of the identity.
    pub inode: u64,
    /// Birth, of the identity.
    pub btime: Option<Timestamp>,
    /// ULID in the name of the batch; None for a run without records.
    pub batch: Option<Ulid>,
    /// ULID of the first record.
    pub first: Option<Ulid>,
    /// ULID of the last record.
    pub last: Option<Ulid>,
    /// Offset of the run's first byte.
    pub from: u64,
    /// Offset of the byte after its last newline.
    pub to: u64,
    /// Physical number of its first line; None where lines were never counted.
    pub line: Option<u64>,
    /// Records.
    pub lines: u64,
    /// Blank lines.
    pub blank: u64,
    /// The record that holds its first line, captured before it had a newline; not among `lines`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled: Option<Ulid>,
    /// BLAKE3 of the run's bytes, in hex.
    pub blake3: String,
    /// The first ≤ 1 KiB below `to`.
    pub head: Window,
    /// The ≤ 1 KiB just before `to`.
    pub guard: Window,
    /// The file's modification time at the look; None in a ledger of before it was written.
    #[serde(default)]
    pub mtime: Option<Timestamp>,
    /// The working directory that one of its lines names, where none before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
}

/// See [`Entry::Truncate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truncate {
    /// Of which file.
    pub file_id: Ulid,
    /// The epoch that begins here.
    pub epoch: u64,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Shrank or rewritten.
    pub reason: Reason,
    /// The offset before.
    pub was: u64,
    /// End of the prefix that still stands, from which reading goes on.
    pub kept: u64,
    /// Start of the suffix that still stands, which ends at `was` or where an earlier one ended.
    pub kept_from: Option<u64>,
    /// Physical lines before `kept`; None where they were never counted.
    #[serde(default)]
    pub kept_lines: Option<u64>,
    /// Physical lines from `kept_from`.
    #[serde(default)]
    pub kept_from_lines: Option<u64>,
    /// The first ≤ 1 KiB below `kept`.
    #[serde(default)]
    pub head: Option<Window>,
    /// The ≤ 1 KiB just before `kept`.
    #[serde(default)]
    pub guard: Option<Window>,
}

/// See [`Entry::Rotate`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rotate {
    /// Of the file that stands at the path now.
    pub file_id: Ulid,
    /// 0 for a new file.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the new identity.
    pub device: u64,
    /// Inode, of the new identity.
    pub inode: u64,
    /// Birth, of the new identity.
    pub btime: Option<Timestamp>,
    /// The new file's modification time at the look.
    pub mtime: Timestamp,
    /// Of the file that stood there before.
    pub old_file_id: Ulid,
    /// Its inode.
    pub old_inode: u64,
    /// The offset from which a known file goes on here, the old one or another; None for a new one.
    pub continues: Option<u64>,
    /// The root's agent name, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
}

/// See [`Entry::Delete`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delete {
    /// Of which file.
    pub file_id: Ulid,
    /// Its epoch.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// The last device seen.
    pub device: u64,
    /// The last inode seen.
    pub inode: u64,
    /// How many bytes of it were captured.
    pub offset: u64,
}

/// See [`Entry::Settled`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settled {
    /// Of which file.
    pub file_id: Ulid,
    /// In which epoch.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the identity.
    pub device: u64,
    /// Inode, of the identity.
    pub inode: u64,
    /// Birth, of the identity.
    pub btime: Option<Timestamp>,
    /// ULID in the name of the batch.
    pub batch: Option<Ulid>,
    /// ULID of the record.
    pub ulid: Ulid,
    /// Offset of its first byte, where the cursor stays.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Physical number of the line; None where lines were never counted.
    pub line: Option<u64>,
    /// BLAKE3 of the bytes, in hex.
    pub blake3: String,
    /// The record of other bytes at the same place that this one replaces.
    pub replaces: Option<Ulid>,
    /// The file's modification time at the look; None in a ledger of before it was written.
    #[serde(default)]
    pub mtime: Option<Timestamp>,
}

/// See [`Entry::Closed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Of which file.
    pub file_id: Ulid,
    /// Its epoch.
    pub epoch: u64,
    /// The file's stem.
    pub session_id: String,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// The last device seen.
    pub device: u64,
    /// The last inode seen.
    pub inode: u64,
    /// How many bytes of it were captured.
    pub offset: u64,
    /// The unfinished line at the offset, at most 1 MiB of it, with U+FFFD where it is not UTF-8; None when
    /// there is none, or it could not be read.
    pub fragment: Option<String>,
    /// The exact bytes of it when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragment_base64: Option<String>,
    /// All of its bytes.
    pub fragment_length: u64,
    /// Bytes behind the offset that were seen by size and never read; None when nobody knows.
    pub unread: Option<u64>,
}

/// See [`Entry::Linked`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Linked {
    /// Of which file.
    pub file_id: Ulid,
    /// The other path, absolute, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Device, of the identity.
    pub device: u64,
    /// Inode, of the identity.
    pub inode: u64,
}

/// See [`Entry::Skipped`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// Of which file.
    pub file_id: Ulid,
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// The byte after the last newline that there was: the cursor stands here.
    pub offset: u64,
    /// The first ≤ 1 KiB below `offset`.
    pub head: Window,
    /// The ≤ 1 KiB just before `offset`.
    pub guard: Window,
}

/// See [`Entry::Root`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// Absolute path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
}

/// See [`Entry::Dropped`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// The name in `pending/` of the oldest of them.
    pub first: String,
    /// The name of the youngest.
    pub last: String,
    /// How many files.
    pub files: u64,
    /// How many records they held by their names; which ones no reader had had is in the audit log.
    pub records: u64,
}

/// See [`Entry::Compacted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compacted {
    /// The name in `pending/` of the batch that holds the records from here on.
    pub target: String,
    /// The names of the batches that held them, oldest first.
    pub sources: Vec<String>,
    /// How many records they are.
    pub records: u64,
}

impl Compacted {
    /// Merges these batches, oldest first, into one.
    pub fn of(sources: &[Batch]) -> Option<Self> {
        let records = sources.iter().map(|source| source.records).sum();
        let first = sources.first()?.first;
        Some(Self {
            target: Batch { first, records }.name(),
            sources: sources.iter().map(Batch::name).collect(),
            records,
        })
    }

    /// The batch that holds the records.
    pub fn target(&self) -> Option<Batch> {
        batch(&self.target)
    }

    /// The batches that held them, if the names are those of batches that rise and make up the target.
    pub fn sources(&self) -> Option<Vec<Batch>> {
        let sources: Vec<_> = self.sources.iter().map(|name| batch(name)).collect::<Option<_>>()?;
        let rises = sources.windows(2).all(|pair| pair[0].first < pair[1].first);
        let sum = sources.iter().try_fold(0_u64, |sum, one| sum.checked_add(one.records));
        let target = Batch {
            first: sources.first()?.first,
            records: self.records,
        };
        (sources.len() > 1 && rises && sum == Some(self.records) && self.target() == Some(target)).then_some(sources)
    }
}

fn batch(name: &str) -> Option<Batch> {
    match Name::parse(name.as_ref()) {
        Name::Batch(batch) => Some(batch),
        _ => None,
    }
}

impl Captured {
    /// Its lines in the log, those without a record of this run included.
    pub(crate) fn physical_lines(&self) -> u64 {
        let settled = u64::from(self.settled.is_some());
        self.lines.saturating_add(self.blank).saturating_add(settled)
    }
}

impl Entry {
    /// Its `kind`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::New(_) => "new",
            Self::Captured(_) => "captured",
            Self::Truncate(_) => "truncate",
            Self::Rotate(_) => "rotate",
            Self::Delete(_) => "delete",
            Self::Settled(_) => "settled",
            Self::Closed(_) => "closed",
            Self::Linked(_) => "linked",
            Self::Skipped(_) => "skipped",
            Self::Root(_) => "root",
            Self::Dropped(_) => "dropped",
            Self::Compacted(_) => "compacted",
        }
    }

    /// The files that it is about.
    pub(crate) fn files(&self) -> [Option<Ulid>; 2] {
        match self {
            Self::New(entry) => [Some(entry.file_id), None],
            Self::Captured(entry) => [Some(entry.file_id), None],
            Self::Truncate(entry) => [Some(entry.file_id), None],
            Self::Rotate(entry) => [Some(entry.file_id), Some(entry.old_file_id)],
            Self::Delete(entry) => [Some(entry.file_id), None],
            Self::Settled(entry) => [Some(entry.file_id), None],
            Self::Closed(entry) => [Some(entry.file_id), None],
            Self::Linked(entry) => [Some(entry.file_id), None],
            Self::Skipped(entry) => [Some(entry.file_id), None],
            Self::Root(_) | Self::Dropped(_) | Self::Compacted(_) => [None, None],
        }
    }

    /// Writes the line, newline included.
    pub fn push(&self, out: &mut Vec<u8>, commit: u64, n: usize) -> Result<(), serde_json::Error> {
        let kind = self.kind();
        out.extend_from_slice(format!(r#"{{"kind":"{kind}","commit":{commit},"n":{n},"#).as_bytes());
        let body = match self {
            Self::New(entry) => serde_json::to_vec(entry),
            Self::Captured(entry) => serde_json::to_vec(entry),
            Self::Truncate(entry) => serde_json::to_vec(entry),
            Self::Rotate(entry) => serde_json::to_vec(entry),
            Self::Delete(entry) => serde_json::to_vec(entry),
            Self::Settled(entry) => serde_json::to_vec(entry),
            Self::Closed(entry) => serde_json::to_vec(entry),
            Self::Linked(entry) => serde_json::to_vec(entry),
            Self::Skipped(entry) => serde_json::to_vec(entry),
            Self::Root(entry) => serde_json::to_vec(entry),
            Self::Dropped(entry) => serde_json::to_vec(entry),
            Self::Compacted(entry) => serde_json::to_vec(entry),
        }?;
        out.extend_from_slice(&body[1..]);
        out.push(b'\n');
        Ok(())
    }

    /// Reads a line, newline or not.
    pub fn parse(line: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            kind: String,
        }
        let Kind { kind } = serde_json::from_slice(line)?;
        match kind.as_str() {
            "new" => serde_json::from_slice(line).map(Self::New),
            "captured" => serde_json::from_slice(line).map(Self::Captured),
            "truncate" => serde_json::from_slice(line).map(Self::Truncate),
            "rotate" => serde_json::from_slice(line).map(Self::Rotate),
            "delete" => serde_json::from_slice(line).map(Self::Delete),
            "settled" => serde_json::from_slice(line).map(Self::Settled),
            "closed" => serde_json::from_slice(line).map(Self::Closed),
            "linked" => serde_json::from_slice(line).map(Self::Linked),
            "skipped" => serde_json::from_slice(line).map(Self::Skipped),
            "root" => serde_json::from_slice(line).map(Self::Root),
            "dropped" => serde_json::from_slice(line).map(Self::Dropped),
            "compacted" => serde_json::from_slice(line).map(Self::Compacted),
            other => Err(serde::de::Error::custom(format!("unknown kind `{other}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u64) -> Entry {
        Entry::Delete(Delete {
            file_id: Ulid(n.into()),
            epoch: 0,
            session_id: "s".into(),
            path: "/p\n\"".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            offset: n,
        })
    }

    #[test]
    fn a_line_comes_back_as_it_was() {
        let mut line = Vec::new();
        entry(5).push(&mut line, 17, 3).unwrap();
        assert!(line.starts_with(br#"{"kind":"delete","commit":17,"n":3,"file_id":""#));
        assert_eq!(Entry::parse(&line).unwrap(), entry(5));
    }

    #[test]
    fn a_kind_that_is_not_known_is_an_error_that_names_it() {
        let error = Entry::parse(br#"{"kind":"melted"}"#).unwrap_err();
        assert!(error.to_string().contains("melted"));
    }

    #[test]
    fn a_compaction_names_batches_that_rise_and_make_up_its_target() {
        let batch = |first: u128, records| Batch {
            first: Ulid(first),
            records,
        };
        let good = Compacted::of(&[batch(1, 2), batch(3, 1), batch(9, 4)]).unwrap();
        assert_eq!(good.target(), Some(batch(1, 7)));
        assert_eq!(good.sources().unwrap().len(), 3);
        let mut line = Vec::new();
        let entry = Entry::Compacted(good.clone());
        entry.push(&mut line, 17, 0).unwrap();
        assert_eq!(Entry::parse(&line).unwrap(), entry);
        let changed = |change: &dyn Fn(&mut Compacted)| {
            let mut other = good.clone();
            change(&mut other);
            other.sources()
        };
        assert_eq!(changed(&|other| drop(other.sources.pop())), None, "a source is missing");
        assert_eq!(changed(&|other| other.sources.swap(0, 1)), None, "out of order");
        assert_eq!(changed(&|other| other.records += 1), None, "more records");
        assert_eq!(changed(&|other| other.target = batch(2, 7).name()), None);
        assert_eq!(changed(&|other| other.sources[1] = "pending-x.json".into()), None);
        assert_eq!(Compacted::of(&[batch(1, 2)]).unwrap().sources(), None, "only one");
    }
}
