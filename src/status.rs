//! What a home holds and what its watcher does, from the files alone.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::disk::{Disk, Meta};
use crate::error::Error;
use crate::home::{QUARANTINE, STATUS, holder, is_held};
use crate::ledger::current_fold;
use crate::pure::name::{Name, parse_ulid};
use crate::queue::depth::disk_is_full;
use crate::queue::merge::list_settled;
use crate::source;

/// A root in a status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootStatus {
    /// Where it is.
    pub path: String,
    /// The root's agent name.
    pub agent: Option<String>,
    /// `poll` or `notify`.
    pub source: String,
    /// Subtrees that are polled since nothing is told of them; not written when there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub polled: u64,
    /// The first few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub polled_first: Vec<PolledPath>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A subtree that is polled below a root where the rest is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolledPath {
    /// Its top, as text.
    pub path: String,
    /// Why.
    pub why: String,
}

impl From<&source::WatchedPath> for RootStatus {
    fn from(root: &source::WatchedPath) -> Self {
        let polled = root.polled_first.iter().map(|polled| PolledPath {
            path: polled.path.to_string_lossy().into_owned(),
            why: polled.why.clone(),
        });
        Self {
            path: root.path.to_string_lossy().into_owned(),
            agent: root.agent.as_deref().map(str::to_owned),
            source: match root.noticing {
                source::Noticing::Poll => "poll",
                source::Noticing::Notify => "notify",
            }
            .into(),
            polled: root.polled,
            polled_first: polled.collect(),
        }
    }
}

/// A path that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownPath {
    /// As text.
    pub path: String,
    /// What the last try said.
    pub why: String,
}

impl From<&source::UnknownPath> for UnknownPath {
    fn from(unknown: &source::UnknownPath) -> Self {
        Self {
            path: unknown.path.to_string_lossy().into_owned(),
            why: unknown.why.clone(),
        }
    }
}

/// `status.json`: what a watcher says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatcherStatus {
    /// The watcher.
    pub pid: u32,
    /// What it watches.
    pub roots: Vec<RootStatus>,
    /// Bytes seen and not captured.
    pub backlog_bytes: u64,
    /// The source is not reading.
    pub queue_full: bool,
    /// Why.
    #[serde(default)]
    pub queue_full_why: Option<String>,
    /// It is reading; else all of the backlog is lines without their newline.
    #[serde(default)]
    pub at_work: bool,
    /// Paths that could not be looked at.
    pub unknown: u64,
    /// The first few of them.
    #[serde(default)]
    pub unknown_first: Vec<UnknownPath>,
    /// Symlinks left alone.
    pub symlinks: u64,
    /// It came to its end; false while it runs, and when it was killed.
    pub stopped: bool,
}

/// `tailspool status --json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// A watcher holds the home now.
    pub watching: bool,
    /// Which one.
    pub pid: Option<u32>,
    /// What it, or the last one, watches.
    pub roots: Vec<RootStatus>,
    /// Files followed.
    pub files: u64,
    /// Files deleted, rotated away or replaced.
    pub files_gone: u64,
    /// Records since the home was made.
    pub captured_lines: u64,
    /// Bytes since the home was made.
    pub captured_bytes: u64,
    /// Files in the queue.
    pub pending_batches: u64,
    /// Records in the queue.
    pub pending_records: u64,
    /// Bytes of them.
    pub pending_bytes: u64,
    /// Age of the oldest.
    pub oldest_pending_seconds: Option<f64>,
    /// Nothing more is taken.
    pub queue_full: bool,
    /// Bytes seen at the last look and not captured.
    pub backlog_bytes: u64,
    /// Damaged batches set aside.
    pub quarantined: u64,
    /// The last commit.
    pub last_commit: Option<LastCommit>,
    /// What the watcher, or the last one, said of itself; only in words, the JSON is fixed.
    #[serde(skip)]
    pub told: Option<WatcherStatus>,
}

/// The last commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastCommit {
    /// Its number.
    pub number: u64,
    /// When it was made.
    pub at: Timestamp,
}

/// Reads the status of a home. Writes nothing, and waits for nobody.
pub fn read(disk: &dyn Disk, now: SystemTime) -> Result<Status, Error> {
    let watching = is_held(disk);
    let pid = if watching { holder(disk) } else { None };
    // What an earlier watcher said is not true of this one.
    let board = board(disk).filter(|board| pid.is_none_or(|pid| pid == board.pid));
    let fold = current_fold(disk)?;
    let mut listing = list_settled(disk)?;
    if let Some(compacted) = &fold.compacted {
        listing.leave_out_merged(compacted);
    }
    let depth = listing.depth();
    let oldest = listing
        .files
        .first_key_value()
        .map(|(name, (kind, meta))| age(name, *kind, *meta, now));
    let full_now = disk.space().is_ok_and(disk_is_full);
    Ok(Status {
        watching,
        pid,
        queue_full: board
            .as_ref()
            .filter(|_| watching)
            .map_or(full_now, |board| board.queue_full),
        roots: board.as_ref().map(|board| board.roots.clone()).unwrap_or_default(),
        files: fold.followed() as u64,
        files_gone: fold.gone() as u64,
        captured_lines: fold.captured_lines,
        captured_bytes: fold.captured_bytes,
        pending_batches: depth.batches,
        pending_records: depth.records,
        pending_bytes: depth.bytes,
        oldest_pending_seconds: oldest.map(|age| age.as_secs_f64()),
        backlog_bytes: board.as_ref().map_or(0, |board| board.backlog_bytes),
        quarantined: quarantined(disk),
        last_commit: fold.at.map(|at| LastCommit {
            number: fold.commit,
            at,
        }),
        told: board,
    })
}

fn board(disk: &dyn Disk) -> Option<WatcherStatus> {
    let mut text = Vec::new();
    disk.read_from(Path::new(STATUS), 0).ok()?.read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// How long a batch has waited: by the ULID in its name, else by its mtime.
fn age(name: &OsStr, kind: Name, meta: Meta, now: SystemTime) -> Duration {
    let ulid = match kind {
        Name::Batch(batch) => Some(batch.first),
        _ => name
            .to_str()
            .and_then(|name| parse_ulid(name.strip_prefix("pending-")?.strip_suffix(".json")?)),
    };
    let since = ulid.map_or(meta.modified, |ulid| {
        SystemTime::UNIX_EPOCH + Duration::from_millis(ulid.timestamp_ms())
    });
    now.duration_since(since).unwrap_or_default()
}

fn quarantined(disk: &dyn Disk) -> u64 {
    let names = disk.list(Path::new(QUARANTINE)).unwrap_or_default();
    let batches = names
        .iter()
        .filter(|name| Name::parse(name).readable_records().is_some());
    batches.count() as u64
}
