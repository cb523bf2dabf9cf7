//! How a snapshot writes a file: one array, its places without names, since there is one for each of very many files.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{FileState, Mark, Presence, Told};
use crate::pure::chain::Suffix;
use crate::pure::identity::Window;
use crate::pure::rare::Rare;
use crate::pure::record::SettledTail;
use crate::pure::sighting::{CaughtUp, Sighting, Stamp};

/// Adds the row of a file.
pub fn push(out: &mut Vec<u8>, file: &FileState) -> Result<(), serde_json::Error> {
    serde_json::to_writer(out, &Row::of(file))
}

/// Reads the row of a file.
pub fn read(row: &[u8]) -> Result<Box<FileState>, String> {
    let row: Row<'_> = serde_json::from_slice(row).map_err(|error| error.to_string())?;
    row.file().map(Box::new).ok_or_else(|| "a time in it is none".into())
}

/// In this order.
#[derive(Serialize, Deserialize)]
struct Row<'a>(
    Ulid,
    /// Its path.
    #[serde(borrow)]
    Cow<'a, str>,
    /// Device, inode and birth.
    (u64, u64, Option<Moment>),
    /// Epoch, line and offset.
    (u64, Option<u64>, u64),
    /// The head.
    Option<Hashed>,
    /// The guard, unless it is the head.
    Option<Hashed>,
    /// Segment and offset where the ledger begins to tell of it, and where it ends to.
    Option<(u32, u64, u32, u64)>,
    /// Placed.
    u64,
    /// Captured lines and bytes.
    (u64, u64),
    /// Its modification time.
    Moment,
    /// The commits with its first line and its last one.
    Option<(Moment, Moment)>,
    Presence,
    /// Size, modification and change when it was caught up with.
    Option<(u64, Stamp, Stamp)>,
    /// Agent.
    #[serde(borrow)]
    Option<Cow<'a, str>>,
    /// Where its session works.
    #[serde(borrow)]
    Option<Cow<'a, str>>,
    /// What few have.
    Option<Box<Few>>,
);

#[derive(Default, Serialize, Deserialize)]
struct Few {
    /// It has a head and no guard.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_headed: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    #[serde(default, skip_serializing_if = "Rare::is_none")]
    suffix: Rare<Suffix>,
    #[serde(default, skip_serializing_if = "Rare::is_none")]
    settled: Rare<SettledTail>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    links: Vec<String>,
}

/// Seconds and nanoseconds.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Moment(i64, i32);

impl Moment {
    fn of(time: Timestamp) -> Self {
        Self(time.as_second(), time.subsec_nanosecond())
    }

    fn time(self) -> Option<Timestamp> {
        Timestamp::new(self.0, self.1).ok()
    }
}

/// Length and hash.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Hashed(u32, #[serde(with = "crate::pure::identity::hex")] blake3::Hash);

impl Hashed {
    fn of(window: Window) -> Self {
        Self(window.length, window.hash)
    }

    fn window(self) -> Window {
        Window {
            length: self.0,
            hash: self.1,
        }
    }
}

fn mark(segment: u32, offset: u64) -> Mark {
    Mark { segment, offset }
}

impl<'a> Row<'a> {
    fn of(file: &'a FileState) -> Self {
        let is_headed = file.head.is_some() && file.guard.is_none();
        let is_rare = is_headed
            || file.path_base64.is_some()
            || file.suffix.is_some()
            || file.settled.is_some()
            || !file.links.is_empty();
        let few = is_rare.then(|| {
            Box::new(Few {
                is_headed,
                path_base64: file.path_base64.clone(),
                suffix: file.suffix.clone(),
                settled: file.settled.clone(),
                links: file.links.clone(),
            })
        });
        let seen = file.seen.0;
        let told = |told: Told| (told.from.segment, told.from.offset, told.to.segment, told.to.offset);
        Self(
            file.file_id,
            Cow::Borrowed(&file.path),
            (file.device, file.inode, file.btime.map(Moment::of)),
            (file.epoch, file.line, file.offset),
            file.head.map(Hashed::of),
            file.guard.filter(|_| file.guard != file.head).map(Hashed::of),
            file.told.map(told),
            file.placed,
            (file.captured_lines, file.captured_bytes),
            Moment::of(file.mtime),
            file.lines_at.map(|(first, last)| (Moment::of(first), Moment::of(last))),
            file.state,
            seen.map(|seen| (seen.size, seen.mtime, seen.ctime)),
            file.agent.as_deref().map(Cow::Borrowed),
            file.cwd.as_deref().map(Cow::Borrowed),
            few,
        )
    }

    /// None when a time in it is none.
    fn file(self) -> Option<FileState> {
        let Self(file_id, path, (device, inode, btime), (epoch, line, offset), head, guard, told, placed, ..) = self;
        let Self(.., (captured_lines, captured_bytes), mtime, lines_at, state, seen, agent, cwd, few) = self;
        let Few {
            is_headed,
            path_base64,
            suffix,
            settled,
            links,
        } = few.map(|few| *few).unwrap_or_default();
        let head = head.map(Hashed::window);
        let lines_at = match lines_at {
            None => None,
            Some((first, last)) => Some((first.time()?, last.time()?)),
        };
        Some(FileState {
            file_id,
            path: path.into_owned(),
            path_base64,
            device,
            inode,
            btime: match btime {
                None => None,
                Some(btime) => Some(btime.time()?),
            },
            epoch,
            line,
            offset,
            head,
            guard: guard.map(Hashed::window).or(head.filter(|_| !is_headed)),
            suffix,
            settled,
            links,
            told: told.map(|(from, from_offset, to, to_offset)| Told {
                from: mark(from, from_offset),
                to: mark(to, to_offset),
            }),
            placed,
            agent: agent.map(Cow::into_owned),
            cwd: cwd.map(Cow::into_owned),
            captured_lines,
            captured_bytes,
            mtime: mtime.time()?,
            lines_at,
            state,
            seen: CaughtUp(seen.map(|(size, mtime, ctime)| Sighting { size, mtime, ctime })),
        })
    }
}
