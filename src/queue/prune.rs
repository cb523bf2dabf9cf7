//! Dropping the oldest records to make room: whole files, each record noted before its file goes.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;

use super::audit::{Audit, Dropped};
use super::claim::Claim;
use super::depth::{Depth, Listing, list};
use crate::disk::Disk;
use crate::error::Error;
use crate::home::{PENDING, pending};
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, PIECE_BYTES, PRUNE_STEP_FILES, PRUNE_STEP_RECORDS};
use crate::pure::entry;
use crate::pure::name::{Name, named_by, parse_ulid};
use crate::show::Shown;

/// What was dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The files, oldest first, and how many records each held by its name.
    pub files: Vec<(OsString, u64)>,
    /// Records that had not been delivered.
    pub records: u64,
    /// What is pending now.
    pub depth: Depth,
    /// What of it is the newest file, which is never dropped.
    pub newest: Depth,
}

impl Pruned {
    /// The ledger line of it; None when nothing was dropped.
    pub fn entry(&self) -> Option<entry::Dropped> {
        let name = |file: &(OsString, u64)| file.0.to_string_lossy().into_owned();
        Some(entry::Dropped {
            first: name(self.files.first()?),
            last: name(self.files.last()?),
            files: self.files.len() as u64,
            records: self.files.iter().map(|(_, records)| records).sum(),
        })
    }
}

/// A file that is ours and about to go.
struct Victim<'a> {
    name: OsString,
    records: u64,
    bytes: u64,
    claim: Claim<'a>,
}

/// Drops the oldest files, whole ones, as long as `excess` says how many records are too many, about 100 at a time.
///
/// The newest file stays, whatever the limit, and so does `keep`, one that a reader holds, one that cannot be read,
/// and everything that could not be noted in the audit log, durably, first. Fails only when the queue cannot be
/// listed.
pub fn prune(
    disk: &dyn Disk,
    audit: &mut Audit,
    now: Timestamp,
    keep: Option<&OsStr>,
    excess: &dyn Fn(Depth) -> u64,
) -> Result<Pruned, Error> {
    let listing = list(disk)?;
    let mut pruned = Pruned {
        depth: listing.depth(),
        newest: newest(&listing),
        ..Pruned::default()
    };
    let mut wanted = excess(pruned.depth);
    if wanted == 0 {
        return Ok(pruned);
    }
    let oldest = listing.files.keys().find_map(|name| ulid_in(name));
    if let Err(error) = audit.refresh(disk, oldest.as_deref()) {
        return Ok(not_noted(audit, pruned, &error));
    }
    let before_prune = pruned.depth.records;
    let mut candidates = droppable(&listing, keep).peekable();
    // Where there is nothing to be noted, noting does not fail.
    audit.fails &= candidates.peek().is_some();
    while candidates.peek().is_some() && wanted > 0 {
        let before = pruned.depth.records;
        let victims = claim_step(disk, wanted.min(PRUNE_STEP_RECORDS), &mut candidates);
        if let Err(error) = drop_step(disk, audit, (now, before_prune), victims, &mut pruned) {
            sync(disk);
            return Ok(not_noted(audit, pruned, &error));
        }
        audit.fails = false;
        wanted = wanted.saturating_sub(before - pruned.depth.records);
        if wanted == 0 {
            wanted = excess(pruned.depth);
        }
    }
    sync(disk);
    Ok(pruned)
}

/// Best effort: what comes back after a loss of power is dropped again, and not noted twice.
fn sync(disk: &dyn Disk) {
    if let Err(error) = disk.sync_dir(Path::new(PENDING)) {
        log::info!("the queue's directory is not synced: {error}");
    }
}

fn newest(listing: &Listing) -> Depth {
    let mut depth = Depth::default();
    if let Some((kind, meta)) = listing.files.values().next_back() {
        depth.add(kind.readable_records().unwrap_or(0), meta.size);
    }
    depth
}

/// Told once, until it works again.
fn not_noted(audit: &mut Audit, pruned: Pruned, error: &io::Error) -> Pruned {
    let level = if audit.fails {
        log::Level::Debug
    } else {
        log::Level::Warn
    };
    audit.fails = true;
    log::log!(level, code = "queue.audit_failed";
        "what makes room in the queue cannot be noted in its audit log, so nothing is dropped: {error}");
    pruned
}

/// The ULID that a name begins with.
fn ulid_in(name: &OsStr) -> Option<String> {
    let text = named_by(name)?;
    parse_ulid(&text).map(|_| text)
}

/// Names and what they claim to hold, oldest first.
fn droppable<'a>(listing: &'a Listing, keep: Option<&'a OsStr>) -> impl Iterator<Item = (&'a OsStr, u64, u64)> + 'a {
    let newest = listing.files.keys().next_back();
    let stays = move |name: &OsString| Some(name) == newest || Some(name.as_os_str()) == keep;
    let files = listing.files.iter().filter(move |(name, _)| !stays(name));
    files.map(|(name, (kind, meta))| (name.as_os_str(), kind.readable_records().unwrap_or(0), meta.size))
}

/// Claims files that hold so many records together; those of others are left out.
fn claim_step<'a, 'd>(
    disk: &'d dyn Disk,
    wanted: u64,
    candidates: &mut impl Iterator<Item = (&'a OsStr, u64, u64)>,
) -> Vec<Victim<'d>> {
    let mut victims: Vec<Victim<'d>> = Vec::new();
    let mut records = 0;
    while records < wanted && victims.len() < PRUNE_STEP_FILES {
        let Some((name, count, bytes)) = candidates.next() else {
            break;
        };
        match Claim::take(disk, name) {
            Ok(Some(claim)) => {
                records += count.max(1);
                let name = name.to_owned();
                victims.push(Victim {
                    name,
                    records: count,
                    bytes,
                    claim,
                });
            }
            Ok(None) => {}
            Err(error) => log::info!("{} is not dropped: {error}", Shown::path(&disk.show(&pending(name)))),
        }
    }
    victims
}

/// Notes the records of claimed files and removes the files. An error means that they could not be noted.
fn drop_step(
    disk: &dyn Disk,
    audit: &mut Audit,
    (now, before_prune): (Timestamp, u64),
    victims: Vec<Victim<'_>>,
    pruned: &mut Pruned,
) -> io::Result<()> {
    let (mut dropped, mut readable) = (Vec::new(), Vec::new());
    for victim in victims {
        match undelivered(disk, &victim, before_prune, now) {
            Ok(records) => {
                dropped.extend(records);
                readable.push(victim);
            }
            Err(error) => log::info!(
                "{} is not dropped: {error}",
                Shown::path(&disk.show(&pending(&victim.name)))
            ),
        }
    }
    let records = dropped.len() as u64;
    // Nobody else notes these any more: they are claimed.
    audit.refresh(disk, None)?;
    audit.retain_new(disk, &mut dropped)?;
    if !dropped.is_empty() {
        audit.note(disk, &dropped)?;
    }
    pruned.records += records;
    for victim in readable {
        let (name, records, bytes) = (victim.name, victim.records, victim.bytes);
        if let Err(error) = victim.claim.acknowledge() {
            log::info!(
                "{} is noted as dropped and stays: {error}",
                Shown::path(&disk.show(&pending(&name)))
            );
            continue;
        }
        pruned.depth.remove(records, bytes);
        pruned.files.push((name, records));
    }
    Ok(())
}

#[derive(Deserialize)]
struct Stamped {
    ulid: String,
    #[serde(default)]
    appended_at: String,
}

/// The lines for the records of a file that no reader had. A record that cannot be read is noted by the name.
fn undelivered(disk: &dyn Disk, victim: &Victim<'_>, pending_records: u64, now: Timestamp) -> io::Result<Vec<Dropped>> {
    let by_name = || Stamped {
        ulid: named_by(&victim.name).unwrap_or_default(),
        appended_at: String::new(),
    };
    let mut stamped: Vec<Stamped> = Vec::new();
    let whole = Name::parse(&victim.name) == Name::Single;
    let mut is_damaged = false;
    each_line(disk, &pending(&victim.name), whole, &mut |line| match stamp(line) {
        Some(record) => stamped.push(record),
        None => is_damaged = true,
    })?;
    // However many lines of it are damaged, they have one name.
    if stamped.is_empty() || (is_damaged && stamped.iter().all(|one| one.ulid != by_name().ulid)) {
        stamped.push(by_name());
    }
    let next = victim.claim.progress().map(|progress| progress.next);
    let delivered = stamped
        .iter()
        .position(|one| Some(&one.ulid) == next.as_ref())
        .unwrap_or(0);
    let line = |one: &Stamped| Dropped::for_room(&one.ulid, &one.appended_at, pending_records, now);
    Ok(stamped[delivered..].iter().map(line).collect())
}

/// ULID and time of an envelope, of which the beginning is enough where it has our layout.
fn stamp(line: &[u8]) -> Option<Stamped> {
    if let Ok(stamped) = serde_json::from_slice(line) {
        return Some(stamped);
    }
    let end = memchr::memmem::find(line, br#","record":"#)?;
    serde_json::from_slice(&[&line[..end], b"}"].concat()).ok()
}

/// Calls `each` with each line, or with the whole file; of a long one with its beginning.
fn each_line(disk: &dyn Disk, path: &Path, whole: bool, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(PIECE_BYTES, disk.read_from(path, 0)?);
    let mut line = Vec::new();
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            if !line.is_empty() {
                each(&line);
            }
            return Ok(());
        }
        let newline = if whole { None } else { memchr::memchr(b'\n', buffer) };
        let used = newline.map_or(buffer.len(), |at| at + 1);
        let room = ENVELOPE_IN_MEMORY_BYTES.saturating_sub(line.len());
        line.extend_from_slice(&buffer[..used.min(room)]);
        reader.consume(used);
        if newline.is_some() {
            each(&line);
            line.clear();
        }
    }
}
