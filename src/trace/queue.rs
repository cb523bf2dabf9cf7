//! Where a record is in the queue, or how it left it.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::line::{Line, ToldBy};
use crate::disk::Disk;
use crate::error::Error;
use crate::home::{DELIVERIES, PENDING, QUARANTINE, pending};
use crate::limits::{PIECE_BYTES, RELIST_MAX, TRACED_BATCHES_MAX, TRACED_MAX};
use crate::provenance::Delivery;
use crate::pure::name::{Batch, Name, lock_of, parse_ulid};
use crate::pure::record::ulid_of;
use crate::queue::audit::AUDIT;
use crate::queue::claim::{is_held, progress};
use crate::waiting::{Trouble, Waiting};

/// Where a record is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Now {
    /// It waits in the queue.
    Pending {
        /// The name of the file in `pending/`.
        file: String,
        /// Whether a drain holds it at this moment; null when that cannot be asked.
        claimed: Option<bool>,
        /// A drain stopped in the middle of the file, behind this record.
        handed_out: bool,
    },
    /// It is committed, and its file is about to be made visible.
    Committed {
        /// The name of the file in `pending/`.
        file: String,
    },
    /// Its file was set aside because of its content.
    Quarantined {
        /// The name of the file in `quarantine/`.
        file: String,
        /// Why.
        reason: Option<String>,
    },
    /// It was dropped to make room.
    Dropped {
        /// When.
        at: Option<String>,
        /// Why.
        reason: Option<String>,
    },
    /// A reader got it, as was written down.
    Delivered,
    /// It is not in the queue any more.
    Drained,
}

/// Where a record was found.
pub struct Place {
    /// Where.
    pub now: Now,
    /// The line, if its envelope tells it.
    pub line: Option<Line>,
    /// What its envelope says.
    pub foreign: Option<Foreign>,
}

/// A record whose envelope alone tells of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreign {
    /// Its `source`, whatever it says.
    pub source: Option<serde_json::Value>,
}

/// What was written down of deliveries.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    pub(super) found: Vec<Delivery>,
    pub(super) unreadable: u64,
}

/// Looks for a record in the queue and in the quarantine. `batch` is the file that a commit put it in.
pub(super) fn find(disk: &dyn Disk, ulid: Ulid, batch: Option<&str>) -> Result<Option<Place>, Error> {
    for _ in 0..RELIST_MAX {
        match pending_place(disk, ulid, batch)? {
            Search::Found(place) => return Ok(Some(place)),
            // It got its name just now, or went into another file.
            Search::Renamed => {}
            Search::Nothing => break,
        }
    }
    quarantined(disk, ulid, batch)
}

/// What a look into `pending/` came to.
enum Search {
    Found(Place),
    /// A file was there, and was gone when it was read.
    Renamed,
    Nothing,
}

fn pending_place(disk: &dyn Disk, ulid: Ulid, batch: Option<&str>) -> Result<Search, Error> {
    let names = names(disk, PENDING)?;
    let mut is_gone = false;
    for name in candidates(disk, &names, ulid, batch) {
        let path = pending(&name);
        if let Some(found) = read(disk, &path, ulid) {
            let file = name.to_string_lossy().into_owned();
            let now = Now::Pending {
                claimed: claimed(disk, &name),
                handed_out: handed_out(disk, &name, ulid),
                file,
            };
            return Ok(Search::Found(found.at(now)));
        }
        is_gone |= disk.meta(&path).is_err();
    }
    let temporary = |batch: &str| match Name::parse(batch.as_ref()) {
        Name::Batch(batch) => batch.temporary(),
        _ => Batch {
            first: ulid,
            records: 1,
        }
        .temporary(),
    };
    let own = batch
        .map(temporary)
        .filter(|file| names.contains(&OsString::from(file)));
    if let Some(file) = own.or_else(|| merged_before(&names, ulid)) {
        let found = read(disk, &pending(&file), ulid);
        is_gone |= disk.meta(&pending(&file)).is_err();
        if let Some(found) = found {
            return Ok(Search::Found(found.at(Now::Committed { file })));
        }
    }
    Ok(if is_gone { Search::Renamed } else { Search::Nothing })
}

/// The temporary file of a batch that may take a record in.
fn merged_before(names: &[OsString], ulid: Ulid) -> Option<String> {
    let batches = names.iter().filter_map(|name| match Name::parse(name) {
        Name::Temporary(batch) if batch.first <= ulid => Some(batch),
        _ => None,
    });
    batches.max_by_key(|batch| batch.first).map(|batch| batch.temporary())
}

fn names(disk: &dyn Disk, directory: &str) -> Result<Vec<OsString>, Error> {
    match disk.list(Path::new(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names.map_err(|cause| Error::io("cannot list", disk.show(Path::new(directory)), cause)),
    }
}

/// The files that may hold a record: the one that was named, the one of its own, those whose names say nothing, the
/// batches that begin before it and end behind it: batches are merged, and what went into one may stand beside it.
fn candidates(disk: &dyn Disk, names: &[OsString], ulid: Ulid, batch: Option<&str>) -> Vec<OsString> {
    let single = OsString::from(format!("pending-{ulid}.json"));
    let batches = names.iter().filter_map(|name| match Name::parse(name) {
        Name::Batch(batch) if batch.first <= ulid => Some((batch.first, name)),
        _ => None,
    });
    let mut nearest: Vec<_> = batches.collect();
    nearest.sort_unstable();
    let nearest = nearest.into_iter().rev().map(|(_, name)| name);
    let nearest = nearest
        .take(TRACED_BATCHES_MAX)
        .filter(|name| reaches(disk, name, ulid));
    let mut found: Vec<_> = batch.map(OsString::from).into_iter().chain([single]).collect();
    found.retain(|name| names.contains(name));
    if batch.is_none() {
        found.extend(names.iter().filter(|name| says_nothing(name)).cloned());
    }
    found.extend(nearest.cloned());
    found.dedup();
    found
}

/// Whether a batch does not end before a record.
fn reaches(disk: &dyn Disk, name: &OsStr, ulid: Ulid) -> bool {
    let path = pending(name);
    let end = || -> io::Result<Vec<u8>> {
        let start = disk.meta(&path)?.size.saturating_sub(PIECE_BYTES as u64);
        let mut end = Vec::new();
        disk.read_from(&path, start)?
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut end)?;
        Ok(end)
    };
    let Ok(end) = end() else { return true };
    let body = end.strip_suffix(b"\n").unwrap_or(&end);
    let last = memchr::memrchr(b'\n', body).map_or(body, |newline| &body[newline + 1..]);
    // A long one, of which this is not the beginning, may be any.
    ulid_of(last).is_none_or(|last| ulid <= last)
}

/// Whether a file of one record is not named for its ULID.
fn says_nothing(name: &OsStr) -> bool {
    let middle = name
        .to_str()
        .and_then(|name| name.strip_prefix("pending-")?.strip_suffix(".json"));
    Name::parse(name) == Name::Single && middle.and_then(parse_ulid).is_none()
}

/// An envelope that was found.
struct Envelope {
    source: Option<serde_json::Value>,
}

impl Envelope {
    fn at(self, now: Now) -> Place {
        let number = |key: &str| self.source.as_ref()?.get(key)?.as_u64();
        let line = number("offset").zip(number("length")).map(|(offset, length)| Line {
            offset,
            length,
            number: number("line"),
            told_by: ToldBy::Envelope,
        });
        Place {
            now,
            line,
            foreign: Some(Foreign { source: self.source }),
        }
    }
}

/// Looks for a record in a file. One that cannot be read holds nothing.
fn read(disk: &dyn Disk, path: &Path, ulid: Ulid) -> Option<Envelope> {
    let mut file = Waiting::<serde_json::Value>::open(disk, path).ok()?;
    loop {
        match file.read() {
            Ok(Some(record)) if record.ulid == ulid => return Some(Envelope { source: record.source }),
            Ok(Some(_)) | Err(Trouble::Bad(_)) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Whether somebody holds the lock of a file; None when that cannot be asked.
fn claimed(disk: &dyn Disk, name: &OsStr) -> Option<bool> {
    is_held(disk, name).ok()
}

fn handed_out(disk: &dyn Disk, name: &OsStr, ulid: Ulid) -> bool {
    let progress = progress(disk, &pending(lock_of(name)));
    let next = progress.and_then(|progress| progress.next.parse::<Ulid>().ok());
    next.is_some_and(|next| ulid < next)
}

/// A file in quarantine keeps its name, with a number behind it when that was taken.
fn quarantined(disk: &dyn Disk, ulid: Ulid, batch: Option<&str>) -> Result<Option<Place>, Error> {
    let single = format!("pending-{ulid}.json");
    let is_named = |name: &OsString| {
        let name = name.to_string_lossy();
        !name.ends_with(".reason")
            && batch
                .into_iter()
                .chain([single.as_str()])
                .any(|known| name.starts_with(known))
    };
    let directory = Path::new(QUARANTINE);
    let names = names(disk, QUARANTINE)?;
    // Its content is damaged, so the record may not be found in the file that it was put in.
    let sure = names.iter().find(|name| is_named(name));
    let begins_before =
        |name: &&OsString| matches!(Name::parse(name), Name::Batch(Batch { first, .. }) if first <= ulid);
    let found = sure.cloned().or_else(|| {
        let before = names.iter().filter(begins_before);
        before
            .max()
            .filter(|name| read(disk, &directory.join(name), ulid).is_some())
            .cloned()
    });
    Ok(found.map(|name| {
        let envelope = read(disk, &directory.join(&name), ulid);
        let file = name.to_string_lossy().into_owned();
        let reason = reason(disk, &directory.join(format!("{file}.reason")));
        envelope
            .unwrap_or(Envelope { source: None })
            .at(Now::Quarantined { file, reason })
    }))
}

fn reason(disk: &dyn Disk, path: &Path) -> Option<String> {
    let mut text = Vec::new();
    disk.read_from(path, 0)
        .ok()?
        .take(PIECE_BYTES as u64)
        .read_to_end(&mut text)
        .ok()?;
    Some(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// What the audit of the queue says of a record.
pub(super) fn dropped(disk: &dyn Disk, ulid: Ulid) -> Result<Option<Now>, Error> {
    #[derive(Deserialize)]
    struct Audit {
        dropped_ulid: String,
        ts: Option<String>,
        reason: Option<String>,
    }
    let mut found = None;
    let text = ulid.to_string();
    each_line(disk, &pending(AUDIT), &mut |line| {
        if memchr::memmem::find(line, text.as_bytes()).is_none() {
            return;
        }
        if let Ok(audit) = serde_json::from_slice::<Audit>(line)
            && audit.dropped_ulid == text
        {
            found = Some(Now::Dropped {
                at: audit.ts,
                reason: audit.reason,
            });
        }
    })?;
    Ok(found)
}

/// Who got a record, as far as that was written down. Between first and last of a delivery there may be ULIDs of
/// other records, so one that the ledger does not tell of must be one of them for sure.
pub(super) fn deliveries(disk: &dyn Disk, ulid: Ulid, is_known: bool) -> Result<Deliveries, Error> {
    let mut deliveries = Deliveries::default();
    // As text they stand in the same order.
    let text = ulid.to_string();
    each_line(
        disk,
        Path::new(DELIVERIES),
        &mut |line| match serde_json::from_slice::<Delivery>(line) {
            Ok(delivery)
                if (is_known || is_sure(&delivery, ulid))
                    && delivery.first <= text
                    && text <= delivery.last
                    && deliveries.found.len() < TRACED_MAX =>
            {
                deliveries.found.push(delivery);
            }
            Ok(_) => {}
            Err(_) => deliveries.unreadable += 1,
        },
    )?;
    Ok(deliveries)
}

/// Whether a record was handed out, if it lies in a delivery: as its first or last one, or since there are no others.
fn is_sure(delivery: &Delivery, ulid: Ulid) -> bool {
    let (Some(first), Some(last)) = (parse_ulid(&delivery.first), parse_ulid(&delivery.last)) else {
        return false;
    };
    let span = last.0.saturating_sub(first.0);
    first == ulid || last == ulid || u128::from(delivery.records) == span + 1
}

/// Calls `each` with every line of a file, which may not be there; a last one without a newline is being written.
fn each_line(disk: &dyn Disk, path: &Path, each: &mut dyn FnMut(&[u8])) -> Result<(), Error> {
    let failed = |cause| Error::io("cannot read", disk.show(path), cause);
    let reader = match disk.read_from(path, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        reader => reader.map_err(failed)?,
    };
    let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = PIECE_BYTES as u64;
        let read = reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        if line.last() == Some(&b'\n') || read as u64 == limit {
            each(&line);
        }
    }
}
