//! A disk in memory that keeps *written* and *synced* apart, and fails or crashes at the n-th operation.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

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
}

impl Loss {
    /// All of them.
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

#[derive(Debug, Clone, Default)]
struct Content {
    written: Vec<u8>,
    synced: Vec<u8>,
}

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
        if matches!(loss, Loss::Everything | Loss::Names) {
            state.names = state.names_synced.clone();
        }
        for content in state.files.values_mut() {
            match loss {
                Loss::Nothing | Loss::Names => {}
                Loss::Everything | Loss::Bytes => content.written = content.synced.clone(),
                Loss::Half => content.written = half_synced(content),
            }
            content.synced = content.written.clone();
        }
        state.names_synced = state.names.clone();
        Self(Arc::new(Mutex::new(state)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The synced bytes, and half of those that were written since.
fn half_synced(content: &Content) -> Vec<u8> {
    let same = content.synced.len().min(content.written.len());
    let end = same + (content.written.len() - same) / 2;
    content.written[..end].to_vec()
}

impl State {
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
            Some(Fault::Eio) => return Err(Errno::IO.into()),
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
        }
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
                state.names.insert(path.to_owned(), inode);
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
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        state.end(go)
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.inode(path)?;
        let go = state.begin(false, false)?;
        state.names.remove(path);
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
            Go::HalfThenCrash | Go::HalfThenFull => bytes.len() / 2,
        };
        let written = &mut state.content(self.inode).written;
        let start = usize::try_from(offset).map_err(io::Error::other)?;
        let end = start + length;
        if written.len() < end {
            written.resize(end, 0);
        }
        written[start..end].copy_from_slice(&bytes[..length]);
        state.end(go)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.state();
        let go = state.begin(false, false)?;
        let content = state.content(self.inode);
        content.synced = content.written.clone();
        state.end(go)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let go = state.begin(false, false)?;
        let length = usize::try_from(length).map_err(io::Error::other)?;
        state.content(self.inode).written.resize(length, 0);
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
}
