//! A disk in memory that keeps *written* and *synced* apart, and fails or crashes at the n-th operation.

mod content;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use content::Content;
use fastrand::Rng;
use rustix::io::Errno;

use super::{Disk, DiskFile, EntryKind, Meta, Space};

/// What happens at the planned operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Everything stops before the operation does anything.
    CrashBefore,
    /// Everything stops when the operation is done, and nobody hears of it.
    CrashAfter,
    /// A write does half of its work and then everything stops; other operations as [`Fault::CrashBefore`].
    CrashInside,
    /// The operation fails with EIO and does nothing, once.
    Eio,
    /// From here on there is no room: a write does half of its work and fails with ENOSPC, a create fails.
    Full,
    /// A write does half of its work and says so, once; other operations as [`Fault::Eio`].
    Short,
    /// The operation is interrupted before it did anything, once.
    Interrupted,
    /// A sync of a file fails with EIO, once, and what it should have made durable never is, though every later sync
    /// says so: the kernel has dropped the pages (fsync(2)). Other operations as [`Fault::Eio`].
    SyncLies,
}

/// What a crash leaves of that which was written and not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process died: all of it is there.
    Nothing,
    /// Power was lost: none of it is there, neither bytes nor names.
    Everything,
    /// Power was lost: names are there, bytes are not.
    Bytes,
    /// Power was lost: bytes are there, names are not.
    Names,
    /// Power was lost: names are there, and the first half of the bytes that were not synced.
    Half,
    /// Power was lost: of all that no sync forbids to be lost, what the dice say. Each change of a name that was not
    /// synced was done or not, whatever other names changed before it; of each file each sector that was not synced is old or new, and
    /// its length is one that it had, or one between.
    Drawn(u64),
}

impl Loss {
    /// All of them but the drawn ones.
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Everything, Self::Bytes, Self::Names, Self::Half];
}

/// The simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug, Clone, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    /// Names as a process sees them, and as they are after a loss of power.
    names: BTreeMap<PathBuf, u64>,
    names_synced: BTreeMap<PathBuf, u64>,
    /// What was done to names and not synced, in order.
    renames: Vec<NameChange>,
    directories: BTreeSet<PathBuf>,
    locks: BTreeMap<u64, u64>,
    next_inode: u64,
    next_handle: u64,
    operations: u64,
    plan: Option<(u64, Fault)>,
    crashed: bool,
    full: bool,
    /// What takes room is refused, whatever is said to be free.
    over_quota: bool,
    /// Bytes that it says it has room for, used ones included; None for plenty.
    room: Option<u64>,
}

/// Names that change at once: each shows this file from now on, or nothing.
type NameChange = Vec<(PathBuf, Option<u64>)>;

impl State {
    /// Bytes of all files that have a name.
    fn used(&self) -> u64 {
        let named = self.names.values().filter_map(|inode| self.files.get(inode));
        named.map(|content| content.written.len() as u64).sum()
    }
}

/// How far an operation may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Go {
    Whole,
    WholeThenCrash,
    HalfThenCrash,
    HalfThenFull,
    HalfThenShort,
}

fn crash_error() -> io::Error {
    io::Error::other("the simulated machine has crashed")
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk that does as it is told.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// Plans a fault at the `operation`-th operation from now, from 0. Reading is no operation.
    pub fn plan(&self, operation: u64, fault: Fault) {
        let mut state = self.state();
        state.plan = Some((state.operations + operation, fault));
    }

    /// Takes back a plan that did not come yet.
    pub fn unplan(&self) {
        self.state().plan = None;
    }

    /// Whether a planned fault has come.
    #[must_use]
    pub fn is_faulty(&self) -> bool {
        let state = self.state();
        state.plan.is_some_and(|(at, _)| at < state.operations)
    }

    /// How many operations were done or tried.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Whether a planned crash has come.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Sets how many bytes it says are free now. It only says so: writing is not refused.
    pub fn set_free(&self, bytes: u64) {
        let mut state = self.state();
        state.room = Some(bytes + state.used());
    }

    /// Makes room after [`Fault::Full`].
    pub fn make_room(&self) {
        self.state().full = false;
    }

    /// Sets whether what takes room is refused with ENOSPC although there is room, as by a quota.
    pub fn set_over_quota(&self, over_quota: bool) {
        self.state().over_quota = over_quota;
    }

    /// The disk as the next process finds it. Handles of before are dead.
    #[must_use]
    pub fn after_crash(&self, loss: Loss) -> Self {
        let mut state = self.state().clone();
        state.locks.clear();
        (state.plan, state.crashed, state.full) = (None, false, false);
        if loss == Loss::Nothing {
            // What was not synced is not synced by it.
            return Self(Arc::new(Mutex::new(state)));
        }
        let mut dice = Rng::with_seed(if let Loss::Drawn(seed) = loss { seed } else { 0 });
        match loss {
            Loss::Everything | Loss::Names => state.names = state.names_synced.clone(),
            Loss::Drawn(_) => state.names = state.drawn_names(&mut dice),
            Loss::Nothing | Loss::Bytes | Loss::Half => {}
        }
        for content in state.files.values_mut() {
            match loss {
                Loss::Nothing => {}
                // A sync that lied is found out.
                Loss::Names => content.written = content.durable(),
                Loss::Everything | Loss::Bytes => content.written = content.synced.clone(),
                Loss::Half => content.written = content.half_synced(),
                Loss::Drawn(_) => content.written = content.drawn(&mut dice),
            }
            content.synced = content.written.clone();
            content.dropped.clear();
        }
        state.renames.clear();
        state.names_synced = state.names.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    /// A disk of its own with the same on it, all of it durable.
    #[must_use]
    pub fn all_synced(&self) -> Self {
        let mut state = self.after_crash(Loss::Nothing).state().clone();
        for content in state.files.values_mut() {
            content.synced = content.written.clone();
            content.dropped.clear();
        }
        state.names_synced = state.names.clone();
        state.renames.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The names as the dice say: each change that was not synced was done or not. What a name shows is something that it
    /// showed at some time: where one change of it was not done, no later one was.
    fn drawn_names(&self, dice: &mut Rng) -> BTreeMap<PathBuf, u64> {
        let mut names = self.names_synced.clone();
        let (manner, kept) = (dice.usize(0..4), dice.usize(0..=self.renames.len()));
        let mut undone = BTreeSet::new();
        for (at, change) in self.renames.iter().enumerate() {
            let is_done = match manner {
                0 => true,
                // As a journal does it: nothing without what came before.
                1 => at < kept,
                _ => dice.bool(),
            };
            if !is_done || change.iter().any(|(name, _)| undone.contains(name)) {
                undone.extend(change.iter().map(|(name, _)| name));
                continue;
            }
            for (name, shown) in change {
                match shown {
                    Some(inode) => names.insert(name.clone(), *inode),
                    None => names.remove(name),
                };
            }
        }
        names
    }

    /// Changes names at once. Across directories each one is synced with its own.
    fn change_names(&mut self, change: NameChange) {
        for (name, shown) in &change {
            match shown {
                Some(inode) => self.names.insert(name.clone(), *inode),
                None => self.names.remove(name),
            };
        }
        self.renames.push(change);
    }

    fn begin(&mut self, is_write: bool, needs_room: bool) -> io::Result<Go> {
        if self.crashed {
            return Err(crash_error());
        }
        let planned = self
            .plan
            .filter(|(at, _)| *at == self.operations)
            .map(|(_, fault)| fault);
        self.operations += 1;
        match planned {
            Some(Fault::CrashInside) if is_write => return Ok(Go::HalfThenCrash),
            Some(Fault::CrashBefore | Fault::CrashInside) => {
                self.crashed = true;
                return Err(crash_error());
            }
            Some(Fault::CrashAfter) => return Ok(Go::WholeThenCrash),
            Some(Fault::Short) if is_write => return Ok(Go::HalfThenShort),
            Some(Fault::Eio | Fault::Short | Fault::SyncLies) => return Err(Errno::IO.into()),
            Some(Fault::Interrupted) => return Err(Errno::INTR.into()),
            Some(Fault::Full) => self.full = true,
            None => {}
        }
        match ((self.full || self.over_quota) && needs_room, is_write) {
            (true, true) => Ok(Go::HalfThenFull),
            (true, false) => Err(Errno::NOSPC.into()),
            (false, _) => Ok(Go::Whole),
        }
    }

    fn end(&mut self, go: Go) -> io::Result<()> {
        match go {
            Go::Whole => Ok(()),
            Go::WholeThenCrash | Go::HalfThenCrash => {
                self.crashed = true;
                Err(crash_error())
            }
            Go::HalfThenFull => Err(Errno::NOSPC.into()),
            Go::HalfThenShort => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    /// Whether the next operation is a sync that will lie from then on.
    fn lies_next(&self) -> bool {
        self.plan == Some((self.operations, Fault::SyncLies))
    }

    /// For what only reads.
    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(crash_error()) } else { Ok(()) }
    }

    fn inode(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| Errno::NOENT.into())
    }

    fn meta(&self, inode: u64) -> Meta {
        Meta {
            kind: EntryKind::File,
            inode,
            size: self.files.get(&inode).map_or(0, |content| content.written.len() as u64),
            modified: SystemTime::UNIX_EPOCH,
        }
    }

    fn content(&mut self, inode: u64) -> &mut Content {
        self.files.entry(inode).or_default()
    }
}

impl Disk for SimDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let go = state.begin(false, true)?;
        // Directories are durable at once: what a lost directory means is what a lost home means.
        state.directories.insert(path.to_owned());
        state.end(go)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.state().names.contains_key(path) {
            return Err(Errno::EXIST.into());
        }
        self.open(path, true)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        state.alive()?;
        let inode = match state.names.get(path) {
            Some(inode) => *inode,
            None if create => {
                let go = state.begin(false, true)?;
                state.next_inode += 1;
                let inode = state.next_inode;
                state.files.insert(inode, Content::default());
                state.change_names(vec![(path.to_owned(), Some(inode))]);
                state.end(go)?;
                inode
            }
            None => return Err(Errno::NOENT.into()),
        };
        state.next_handle += 1;
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            handle: state.next_handle,
        }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        let mut state = self.state();
        state.alive()?;
        let inode = state.inode(path)?;
        let bytes = state.content(inode).written.clone();
        let mut reader = io::Cursor::new(bytes);
        reader.set_position(offset);
        Ok(Box::new(reader))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let inode = state.inode(from)?;
        let go = state.begin(false, false)?;
        state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(inode))]);
        state.end(go)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        {
            let state = self.state();
            state.inode(from)?;
            if state.names.contains_key(to) {
                return Err(Errno::EXIST.into());
            }
        }
        self.rename(from, to)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        let go = state.begin(false, false)?;
        state.change_names(vec![(path.to_owned(), None)]);
        state.end(go)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let go = state.begin(false, false)?;
        let here = |name: &Path| name.parent() == Some(path);
        state.names_synced.retain(|name, _| !here(name));
        let synced: Vec<_> = state
            .names
            .iter()
            .filter(|(name, _)| here(name))
            .map(|(name, inode)| (name.clone(), *inode))
            .collect();
        state.names_synced.extend(synced);
        for change in &mut state.renames {
            change.retain(|(name, _)| !here(name));
        }
        state.renames.retain(|change| !change.is_empty());
        state.end(go)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        state.alive()?;
        if !path.as_os_str().is_empty() && !state.directories.contains(path) {
            return Err(Errno::NOENT.into());
        }
        let names = state.names.keys().chain(&state.directories);
        let here = names.filter(|name| name.parent() == Some(path));
        Ok(here
            .filter_map(|name| name.file_name())
            .map(ToOwned::to_owned)
            .collect())
    }

    fn meta(&self, path: &Path) -> io::Result<Meta> {
        let state = self.state();
        state.alive()?;
        if state.directories.contains(path) {
            return Ok(Meta {
                kind: EntryKind::Other,
                ..state.meta(0)
            });
        }
        Ok(state.meta(state.inode(path)?))
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state();
        let free = state.room.map_or(1 << 40, |room| room.saturating_sub(state.used()));
        let free = if state.full { 0 } else { free };
        Ok(Space { free, total: 1 << 41 })
    }

    fn show(&self, path: &Path) -> PathBuf {
        Path::new("<simulated>").join(path)
    }
}

struct SimFile {
    disk: SimDisk,
    inode: u64,
    handle: u64,
}

impl DiskFile for SimFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let go = state.begin(true, true)?;
        let length = match go {
            Go::Whole | Go::WholeThenCrash => bytes.len(),
            Go::HalfThenCrash | Go::HalfThenFull | Go::HalfThenShort => bytes.len() / 2,
        };
        let content = state.content(self.inode);
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + length;
        content.touch(start.min(content.written.len()), end);
        let written = &mut content.written;
        if written.len() < end {
            written.resize(end, 0);
        }
        written[start..end].copy_from_slice(&bytes[..length]);
        state.end(go)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.lies_next() {
            let content = state.content(self.inode);
            content.dropped = content.unsynced().chain(content.dropped.iter().copied()).collect();
        }
        let go = state.begin(false, false)?;
        let content = state.content(self.inode);
        content.synced = content.durable();
        state.end(go)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let go = state.begin(false, false)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let content = state.content(self.inode);
        content.touch(length.min(content.written.len()), usize::MAX);
        content.written.resize(length, 0);
        state.end(go)
    }

    fn try_lock(&mut self) -> io::Result<bool> {
        let mut state = self.disk.state();
        state.alive()?;
        Ok(*state.locks.entry(self.inode).or_insert(self.handle) == self.handle)
    }

    fn is_locked(&mut self) -> io::Result<bool> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state
            .locks
            .get(&self.inode)
            .is_some_and(|holder| *holder != self.handle))
    }

    fn meta(&self) -> io::Result<Meta> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.meta(self.inode))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        if state.locks.get(&self.inode) == Some(&self.handle) {
            state.locks.remove(&self.inode);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::content::{SECTOR_BYTES, sector_of};
    use super::*;

    fn content(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        disk.read_from(Path::new(path), 0).ok()?.read_to_end(&mut bytes).ok()?;
        Some(bytes)
    }

    #[test]
    fn the_simulated_disk_conforms() {
        super::super::conformance::holds(&SimDisk::new());
    }

    #[test]
    fn a_loss_of_power_keeps_what_was_synced_and_nothing_else() {
        let disk = SimDisk::new();
        let (a, b) = (Path::new("a"), Path::new("b"));
        let mut file = disk.create(a).unwrap();
        file.write_at(b"synced", 0).unwrap();
        file.sync().unwrap();
        assert_eq!(
            content(&disk.after_crash(Loss::Everything), "a"),
            None,
            "its name was not synced"
        );
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(b"1234", 6).unwrap();
        disk.rename(a, b).unwrap();
        let found = |loss| {
            let after = disk.after_crash(loss);
            (content(&after, "a"), content(&after, "b"))
        };
        assert_eq!(found(Loss::Nothing), (None, Some(b"synced1234".to_vec())));
        assert_eq!(found(Loss::Everything), (Some(b"synced".to_vec()), None));
        assert_eq!(found(Loss::Bytes), (None, Some(b"synced".to_vec())));
        assert_eq!(found(Loss::Names), (Some(b"synced1234".to_vec()), None));
        assert_eq!(found(Loss::Half), (None, Some(b"synced12".to_vec())));
    }

    #[test]
    fn a_planned_fault_comes_at_its_operation() {
        for (fault, left, again) in [
            (Fault::CrashBefore, &b""[..], false),
            (Fault::CrashInside, b"12", false),
            (Fault::CrashAfter, b"1234", false),
            (Fault::Eio, b"", true),
            (Fault::Full, b"12", false),
        ] {
            let disk = SimDisk::new();
            let mut file = disk.create(Path::new("a")).unwrap();
            disk.plan(0, fault);
            assert!(file.write_at(b"1234", 0).is_err(), "{fault:?}");
            assert_eq!(
                content(&disk.after_crash(Loss::Nothing), "a").unwrap(),
                left,
                "{fault:?}"
            );
            assert_eq!(file.write_at(b"1234", 0).is_ok(), again, "{fault:?}");
        }
    }

    #[test]
    fn a_drawn_loss_keeps_what_was_synced_and_all_that_may_be_left_of_the_rest_comes() {
        let disk = SimDisk::new();
        let [a, b] = ["a", "b"].map(Path::new);
        let mut file = disk.create(a).unwrap();
        file.write_at(&[1; 600], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(&[2; 1500], 600).unwrap();
        disk.rename(a, b).unwrap();
        drop(disk.create(a).unwrap());
        let mut seen = BTreeSet::new();
        for seed in 0..2000 {
            let after = disk.after_crash(Loss::Drawn(seed));
            let (at_a, at_b) = (content(&after, "a"), content(&after, "b"));
            let old = at_b.clone().or_else(|| at_a.clone()).unwrap();
            assert!(
                old.len() >= 600 && old[..600] == [1; 600],
                "{seed}: what was synced stands"
            );
            assert!(old[600..].iter().all(|byte| [0, 2].contains(byte)), "{seed}");
            let sectors: Vec<_> = (0..old.len().div_ceil(SECTOR_BYTES))
                .map(|sector| old[sector_of(sector, old.len())].ends_with(&[2]))
                .collect();
            seen.insert((
                at_a.is_some(),
                at_a.is_some_and(|new| new.is_empty()),
                at_b.is_some(),
                sectors,
            ));
        }
        let has = |names: (bool, bool, bool)| seen.iter().any(|(a, new, b, _)| (*a, *new, *b) == names);
        for names in [(true, false, false), (false, false, true), (true, true, true)] {
            assert!(has(names), "{names:?}");
        }
        // Torn: a later sector stands, an earlier one does not.
        assert!(seen.iter().any(|(.., sectors)| sectors.ends_with(&[false, true])));
        assert!(seen.iter().any(|(.., sectors)| sectors.ends_with(&[true, false])));
    }

    #[test]
    fn what_a_failed_sync_dropped_is_never_durable_though_later_syncs_say_so() {
        let disk = SimDisk::new();
        let mut file = disk.create(Path::new("a")).unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        disk.plan(0, Fault::SyncLies);
        assert!(file.sync().is_err());
        file.write_at(&[2; 512], 512).unwrap();
        file.sync().unwrap();
        let left = |disk: &SimDisk| content(&disk.after_crash(Loss::Everything), "a").unwrap();
        assert_eq!(
            left(&disk),
            [[0; 512], [2; 512]].concat(),
            "the second sync says that all is well"
        );
        let restarted = disk.after_crash(Loss::Nothing);
        assert_eq!(
            content(&restarted, "a").unwrap(),
            [[1; 512], [2; 512]].concat(),
            "pages are in memory still"
        );
        assert_eq!(left(&restarted), [[0; 512], [2; 512]].concat());
        file.write_at(&[3; 1], 0).unwrap();
        file.sync().unwrap();
        assert_eq!(left(&disk)[..2], [3, 1], "what is written again is synced again");
    }

    #[test]
    fn a_short_write_and_an_interruption_say_so() {
        let disk = SimDisk::new();
        let mut file = disk.create(Path::new("a")).unwrap();
        for (fault, kind, left) in [
            (Fault::Interrupted, io::ErrorKind::Interrupted, &b""[..]),
            (Fault::Short, io::ErrorKind::WriteZero, b"12"),
        ] {
            disk.plan(0, fault);
            assert_eq!(file.write_at(b"1234", 0).unwrap_err().kind(), kind);
            assert_eq!(content(&disk, "a").unwrap(), left);
        }
    }
}
