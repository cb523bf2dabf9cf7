//! The start: what the holder of the home does before it looks at a source.
//!
//! Each step may be cut off by a crash and is then done again by the next start; `docs/durability.md`
//! has the table.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use ulid::Ulid;

use crate::cursors;
use crate::disk::{Disk, EntryKind, Loaded, Meta};
use crate::error::{Error, ErrorKind};
use crate::home::{CURSORS, CURSORS_TMP, HomeLock, PENDING, PROVENANCE, QUARANTINE, STATUS_TMP, pending};
use crate::ledger::{self, Ledger, damaged, segment_path, segments};
use crate::limits::{PIECE_BYTES, UNFINISHED_AGE};
use crate::pure::commit::COMMIT_PREFIX;
use crate::pure::fold::{Fold, Mark};
use crate::pure::name::{Batch, Name, single};
use crate::queue::claim;
use crate::queue::merge;
use crate::show::Shown;
use crate::waiting::says_captured;

/// A home that is ours and repaired.
pub struct Started {
    /// Keeps the home ours.
    pub lock: HomeLock,
    /// Everything that was committed.
    pub fold: Fold,
    /// Open behind the last commit.
    pub ledger: Ledger,
    /// Bytes of the ledger that the snapshot did not cover.
    pub behind_bytes: u64,
}

/// Takes the home and brings it into the state that the last commit left.
pub fn start(disk: &Arc<dyn Disk>, now: Timestamp) -> Result<Started, Error> {
    let lock = HomeLock::take(&**disk)?;
    let at = |path: &str| disk.show(Path::new(path));
    make_directories(&**disk).map_err(|cause| Error::io("cannot prepare the home", at(""), cause))?;
    for leftover in [CURSORS_TMP, STATUS_TMP] {
        cursors::remove(&**disk, Path::new(leftover))
            .map_err(|cause| Error::io("cannot remove the leftover", at(leftover), cause))?;
    }
    let snapshot = snapshot(&**disk, now)?;
    let covered = snapshot.mark;
    let Folded {
        fold,
        segment,
        length,
        behind_bytes,
    } = fold_ledger(&**disk, snapshot)?;
    let end = Mark {
        segment,
        offset: length,
    };
    if fold.commit > 0 && covered == end && size_of(&**disk, segment)? == length {
        keep_segment(&**disk, segment)?;
    } else {
        rewrite_segment(&**disk, segment, length)?;
    }
    roll_forward(&**disk)?;
    remove_unfinished(&**disk, now)?;
    finish_compaction(&**disk, &fold)?;
    claim::remove_orphans(&**disk)?;
    let ledger = Ledger::open(Arc::clone(disk), &fold, segment, length)?;
    Ok(Started {
        lock,
        fold,
        ledger,
        behind_bytes,
    })
}

fn make_directories(disk: &dyn Disk) -> io::Result<()> {
    for directory in [PENDING, QUARANTINE, PROVENANCE] {
        disk.create_dir(Path::new(directory))?;
    }
    disk.sync_dir(Path::new(""))
}

/// The snapshot, if there is a good one; a damaged one is moved aside.
fn snapshot(disk: &dyn Disk, now: Timestamp) -> Result<Fold, Error> {
    match cursors::load_or_move_aside(disk, now)? {
        Loaded::Sound(fold) => Ok(fold),
        Loaded::Missing => {
            if segments(disk)? > 0 && size_of(disk, 1)? > 0 {
                log::warn!(code = "cursors.rebuilt"; "there is no snapshot; the cursors are made anew from the ledger");
            }
            Ok(Fold::default())
        }
        Loaded::Damaged(_) => Ok(Fold::default()),
    }
}

struct Folded {
    fold: Fold,
    /// The last segment, and how many of its bytes are sealed.
    segment: u32,
    length: u64,
    behind_bytes: u64,
}

/// Leaves the last segment as it is: a snapshot is written only of commits whose sync went well. A copy of the home that
/// was never synced is synced by this.
fn keep_segment(disk: &dyn Disk, segment: u32) -> Result<(), Error> {
    let path = segment_path(segment);
    cursors::remove(disk, &path.with_extension("jsonl.tmp"))
        .and_then(|()| disk.open(&path, false)?.sync())
        .and_then(|()| disk.sync_dir(Path::new(PROVENANCE)))
        .map_err(|cause| Error::io("cannot sync the ledger", disk.show(&path), cause))
}

/// Adds to the snapshot what was committed after it. The last segment is checked from its start, since it
/// is about to be written anew.
fn fold_ledger(disk: &dyn Disk, snapshot: Fold) -> Result<Folded, Error> {
    let last = segments(disk)?;
    let Mark { segment, offset } = snapshot.mark;
    let covered = snapshot.commit;
    if segment > last && covered > 0 {
        return Err(damaged(
            disk,
            segment,
            format!("it is missing, and {CURSORS} covers commit {covered} in it"),
        ));
    }
    let mut fold = snapshot;
    let (mut length, mut behind_bytes) = (0, 0);
    for number in segment..=last {
        let is_last = number == last;
        let start = if number == segment && !is_last { offset } else { 0 };
        let mut snapshot_found = number != segment || offset == start;
        length = ledger::scan(disk, number, start, |sealed| {
            if sealed.commit.commit <= covered {
                snapshot_found |= sealed.commit.commit == covered && sealed.end == offset;
                return Ok(());
            }
            if !sealed.commit.follows(fold.commit) {
                return Err(format!(
                    "commit {} follows commit {}",
                    sealed.commit.commit, fold.commit
                ));
            }
            behind_bytes += sealed.lines.len() as u64;
            sealed.apply(&mut fold, number)
        })?;
        let size = size_of(disk, number)?;
        if !snapshot_found {
            let what = format!("{CURSORS} covers commit {covered} up to byte {offset}, and no commit ends there");
            return Err(damaged(disk, number, what));
        }
        if !is_last && length != size {
            return Err(damaged(disk, number, "it does not end with a whole commit"));
        }
        if length < size {
            check_tail(disk, number, length, fold.ulid_high_water)?;
            let bytes = size - length;
            log::warn!(code = "ledger.torn_tail", bytes = bytes;
                "an unfinished commit of {bytes} bytes is cut off the ledger; its lines are read again");
        }
    }
    Ok(Folded {
        fold,
        segment: last.max(1),
        length,
        behind_bytes,
    })
}

fn size_of(disk: &dyn Disk, segment: u32) -> Result<u64, Error> {
    let path = segment_path(segment);
    let meta = disk.meta(&path);
    Ok(meta
        .map_err(|cause| Error::io("cannot look at the ledger", disk.show(&path), cause))?
        .size)
}

/// A batch is made visible only after its commit was synced. So a tail that names a visible batch was a
/// commit, and is damage.
fn check_tail(disk: &dyn Disk, segment: u32, from: u64, high_water: Ulid) -> Result<(), Error> {
    let path = segment_path(segment);
    let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
    let mut tail = Vec::new();
    let reader = disk.read_from(&path, from).map_err(failed)?;
    reader.take(64 * 1024 * 1024).read_to_end(&mut tail).map_err(failed)?;
    let visible = names(disk)?;
    let is_visible = |name: &&str| {
        let kind = visible.get(Path::new(name).as_os_str());
        kind.is_some_and(|kind| kind.readable_records().is_some())
    };
    // The `commit` line itself may be torn before it names anything.
    let is_ours = |name: &&OsString| says_captured(disk, &pending(name));
    let untold = visible
        .iter()
        .filter(|(_, kind)| matches!(kind, Name::Batch(batch) if batch.first > high_water));
    if let Some(name) = untold.map(|(name, _)| name).find(is_ours) {
        let what = format!(
            "what follows byte {from} is not whole, and {} says that it was captured, but no commit names it",
            Shown::name(name)
        );
        return Err(damaged(disk, segment, what));
    }
    match quoted_names(&tail).find(is_visible) {
        None => Ok(()),
        Some(name) => {
            let what = format!("what follows byte {from} is not whole, but {name} was committed there and is visible");
            Err(damaged(disk, segment, what))
        }
    }
}

/// What looks like a name of the queue in `commit` lines. What was dropped is named in other ones.
fn quoted_names(lines: &[u8]) -> impl Iterator<Item = &str> {
    let commits = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(COMMIT_PREFIX));
    commits.flat_map(names_in)
}

fn names_in(lines: &[u8]) -> impl Iterator<Item = &str> {
    memchr::memmem::find_iter(lines, b"\"pending-").filter_map(|at| {
        let rest = &lines[at + 1..];
        str::from_utf8(&rest[..memchr::memchr(b'"', rest)?]).ok()
    })
}

fn names(disk: &dyn Disk) -> Result<BTreeMap<OsString, Name>, Error> {
    let names = disk
        .list(Path::new(PENDING))
        .map_err(|cause| Error::io("cannot list the queue", disk.show(Path::new(PENDING)), cause))?;
    Ok(names
        .into_iter()
        .map(|name| {
            let kind = Name::parse(&name);
            (name, kind)
        })
        .collect())
}

/// Puts a durable copy of the sealed part of the last segment in its place: a line that was only in the
/// page cache, or whose sync failed, must not be acted on before it is durable.
fn rewrite_segment(disk: &dyn Disk, segment: u32, length: u64) -> Result<(), Error> {
    let path = segment_path(segment);
    let temporary = path.with_extension("jsonl.tmp");
    copy_prefix(disk, &path, &temporary, length).map_err(|cause| {
        // What was copied so far would only take room; the next start makes it anew.
        let _ = cursors::remove(disk, &temporary);
        let error = Error::io("cannot rewrite the last segment of the ledger", disk.show(&path), cause);
        error.hint("it needs room for one copy of that file, at most 64 MiB; drain the queue or make room")
    })
}

fn copy_prefix(disk: &dyn Disk, path: &Path, temporary: &Path, length: u64) -> io::Result<()> {
    cursors::remove(disk, temporary)?;
    let mut copy = disk.create(temporary)?;
    if length > 0 {
        let mut reader = disk.read_from(path, 0)?.take(length);
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < length {
            let read = reader.read(&mut piece)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            copy.write_at(&piece[..read], at)?;
            at += read as u64;
        }
    }
    copy.sync()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(Path::new(PROVENANCE))
}

/// Makes every committed batch visible and removes every temporary file that was not committed.
fn roll_forward(disk: &dyn Disk) -> Result<(), Error> {
    let names = names(disk)?;
    let leftover: Vec<Batch> = names
        .values()
        .filter_map(|kind| match kind {
            Name::Temporary(batch) if is_file(disk, &batch.temporary()) => Some(*batch),
            _ => None,
        })
        .collect();
    if leftover.is_empty() {
        return Ok(());
    }
    let committed = named_in_ledger(disk, &leftover.iter().copied().flat_map(visible_names).collect())?;
    for batch in leftover {
        let from = pending(batch.temporary());
        match visible_names(batch).find(|name| committed.contains(name)) {
            Some(name) => publish(disk, &from, &name, names.contains_key(Path::new(&name).as_os_str()))
                .map_err(|cause| Error::io("cannot make visible the committed", disk.show(&pending(&name)), cause))?,
            None => discard(disk, &from)
                .map_err(|cause| Error::io("cannot remove the leftover", disk.show(&from), cause))?,
        }
    }
    disk.sync_dir(Path::new(PENDING)).map_err(|cause| {
        Error::io("cannot sync the queue", disk.show(Path::new(PENDING)), cause).kind_set(ErrorKind::Latched)
    })
}

/// Removes what a program left behind that died while it appended a record, when it is more than a day old.
fn remove_unfinished(disk: &dyn Disk, now: Timestamp) -> Result<(), Error> {
    let old = SystemTime::from(now).checked_sub(UNFINISHED_AGE);
    for (name, kind) in names(disk)? {
        let path = pending(&name);
        let is_old = |meta: Meta| meta.kind == EntryKind::File && old.is_some_and(|old| meta.modified < old);
        if kind == Name::Unfinished && disk.meta(&path).is_ok_and(is_old) {
            cursors::remove(disk, &path)
                .map_err(|cause| Error::io("cannot remove the leftover", disk.show(&path), cause))?;
        }
    }
    Ok(())
}

/// Removes what went into a batch that is committed, and still stands.
fn finish_compaction(disk: &dyn Disk, fold: &Fold) -> Result<(), Error> {
    let Some(compacted) = &fold.compacted else {
        return Ok(());
    };
    let is_done = merge::finish(disk, compacted).map_err(|cause| {
        let path = disk.show(&pending(&compacted.target));
        Error::io("cannot remove what was merged into", path, cause)
    })?;
    if !is_done {
        log::info!("a drain holds what was merged into {}", compacted.target);
    }
    Ok(())
}

/// The names that a commit may give it: a single record is a batch of one, or a file as older programs know it.
fn visible_names(batch: Batch) -> impl Iterator<Item = String> {
    let alone = (batch.records == 1).then(|| single(batch.first));
    std::iter::once(batch.name()).chain(alone)
}

/// Whether it is a file; something else with such a name is not ours.
fn is_file(disk: &dyn Disk, name: &str) -> bool {
    let regular = disk.meta(&pending(name)).is_ok_and(|meta| meta.kind == EntryKind::File);
    if !regular {
        log::warn!(code = "queue.not_ours", name = name; "{name} in the queue is no regular file; it is left alone");
    }
    regular
}

/// Which of `wanted` a `commit` line names; the whole ledger is asked.
fn named_in_ledger(disk: &dyn Disk, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>, Error> {
    let mut named = BTreeSet::new();
    for segment in 1..=segments(disk)? {
        ledger::scan(disk, segment, 0, |sealed| {
            named.extend(sealed.commit.batches.into_iter().filter(|name| wanted.contains(name)));
            Ok(())
        })?;
    }
    Ok(named)
}

fn publish(disk: &dyn Disk, temporary: &Path, name: &str, both_are_there: bool) -> io::Result<()> {
    if both_are_there {
        disk.unlink(temporary)
    } else {
        disk.rename(temporary, &pending(name))
    }
}

fn discard(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.open(path, false)?.try_lock()? {
        disk.unlink(path)
    } else {
        log::warn!(
            "{} is locked by another process and stays",
            Shown::path(&disk.show(path))
        );
        Ok(())
    }
}
