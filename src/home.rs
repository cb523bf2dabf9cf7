//! The names in the home, and the lock that makes one watcher its owner.

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk::{Disk, DiskFile, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::limits::LOCK_PATIENCE;
use crate::show::Shown;

/// Held by `flock` while a watcher runs.
pub const LOCK: &str = "lock";
/// The snapshot of the fold.
pub const CURSORS: &str = "cursors.json";
/// The next snapshot.
pub const CURSORS_TMP: &str = "cursors.json.tmp";
/// What a running watcher says of itself.
pub const STATUS: &str = "status.json";
/// The next one of it.
pub const STATUS_TMP: &str = "status.json.tmp";
/// The queue.
pub const PENDING: &str = "pending";
/// Batches whose content is damaged.
pub const QUARANTINE: &str = "quarantine";
/// The ledger.
pub const PROVENANCE: &str = "provenance";
/// Who got what was drained.
pub const DELIVERIES: &str = "provenance/deliveries.jsonl";
/// What a provenance store was too slow for; only there after a spill.
pub const OVERFLOW: &str = ".provenance-overflow";

/// Where the home is when nobody says: `$TAILSPOOL_HOME`, else the platform's state directory.
pub fn default_home() -> Result<PathBuf, Error> {
    if let Some(home) = env_home() {
        return Ok(home);
    }
    // HOME is read as it is: an empty one is none, whatever the user database says.
    let known = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let state = dirs::state_dir().or_else(dirs::data_local_dir);
    match state.filter(|_| known("HOME") || known("XDG_STATE_HOME")) {
        Some(state) => Ok(state.join("tailspool")),
        None => Err(Error::new(
            ErrorKind::Usage,
            "no place for the queue: neither TAILSPOOL_HOME nor HOME is set",
        )
        .hint("name a directory with --home DIR")),
    }
}

/// What `$TAILSPOOL_HOME` says; an empty one says nothing.
pub fn env_home() -> Option<PathBuf> {
    let home = std::env::var_os("TAILSPOOL_HOME").filter(|home| !home.is_empty());
    home.map(PathBuf::from)
}

/// What `$HOME` says. It is read as it is: an empty one is none, whatever the user database says.
pub fn user_home() -> Option<OsString> {
    std::env::var_os("HOME").filter(|home| !home.is_empty())
}

/// A path in the queue's directory.
pub fn pending(name: impl AsRef<Path>) -> PathBuf {
    Path::new(PENDING).join(name)
}

/// The lock of the home; dropping it gives the home up.
pub struct HomeLock {
    file: Box<dyn DiskFile>,
    mark: LockMark,
}

/// Which file was locked.
#[derive(Debug, Clone, Copy)]
pub struct LockMark {
    inode: u64,
}

impl HomeLock {
    /// Takes the home, trying for 200 ms, and writes our pid into the lock file.
    ///
    /// Fails as [`ErrorKind::HomeInUse`] when another watcher has it.
    pub fn take(disk: &dyn Disk) -> Result<Self, Error> {
        let path = Path::new(LOCK);
        let failed = |cause| {
            Error::io("cannot lock the home", disk.show(path), cause)
                .hint("it must be writable; choose another one with --home DIR or TAILSPOOL_HOME")
        };
        let give_up = Instant::now() + LOCK_PATIENCE;
        let mut file = disk.open(path, true).map_err(failed)?;
        while !file.try_lock().map_err(failed)? {
            if Instant::now() >= give_up {
                return Err(in_use(disk));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = format!("{}\n", std::process::id());
        file.truncate(0).map_err(failed)?;
        file.write_at(pid.as_bytes(), 0).map_err(failed)?;
        let inode = file.meta().map_err(failed)?.inode;
        let mark = LockMark { inode };
        Ok(Self { file, mark })
    }

    /// For those who have to know whether it still holds.
    pub fn mark(&self) -> LockMark {
        self.mark
    }

    /// Empties the lock file, so that a later look finds no pid of ours; best effort.
    pub fn clear(&mut self) {
        if let Err(error) = self.file.truncate(0) {
            log::debug!("the lock file keeps our pid: {error}");
        }
    }
}

impl LockMark {
    /// Whether the path still shows the file that we locked. If not, somebody else may hold the home too.
    pub fn check(&self, disk: &dyn Disk) -> Result<(), Error> {
        let path = Path::new(LOCK);
        let cause = match disk.meta(path) {
            Ok(meta) if meta.inode == self.inode => return Ok(()),
            Ok(_) => "it is another file now".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(Error::new(ErrorKind::Latched, "lost the lock of the home")
            .at(disk.show(path))
            .because(cause)
            .hint("the lock file must stay while a watcher runs; start again"))
    }
}

fn in_use(disk: &dyn Disk) -> Error {
    let holder = match holder(disk) {
        Some(pid) => format!("the home is in use by another watcher (pid {pid}):"),
        None => "the home is in use by another watcher:".into(),
    };
    Error::new(ErrorKind::HomeInUse, holder)
        .at(disk.show(Path::new("")))
        .hint("that watcher captures already; stop it first, or give this one a home of its own with --home DIR")
}

/// The pid that the lock file names.
pub fn holder(disk: &dyn Disk) -> Option<u32> {
    let mut text = String::new();
    let reader = disk.read_from(Path::new(LOCK), 0).ok()?;
    reader.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Fails where locks and renames are not to be relied on.
pub fn refuse_network(disk: &OsDisk) -> Result<(), Error> {
    let path = disk.show(Path::new(""));
    let kind = disk
        .network_filesystem()
        .map_err(|cause| Error::io("cannot look at the filesystem of", &path, cause))?;
    match kind {
        None => Ok(()),
        Some(kind) => Err(Error::new(ErrorKind::Failed, "the home is on a network filesystem:")
            .at(path)
            .because(format!("{kind} gives no lock and no rename that can be relied on"))
            .hint("choose a home on a local disk, or insist with --allow-network-home; in a program, with `allow_network_home`")),
    }
}

/// Says so when others may write in the home: they can remove what is in it, or put something in its place.
pub fn tell_of_others(disk: &OsDisk) {
    if disk.is_writable_by_others() {
        let shown = Shown::path(&disk.show(Path::new(""))).to_string();
        log::warn!(code = "home.open_to_others", path = shown.as_str();
            "others may write in {shown}: they can remove what is in it and change what is captured; close it with chmod go-w");
    }
}

/// Whether a watcher holds the home now.
pub fn is_held(disk: &dyn Disk) -> bool {
    let Ok(mut file) = disk.open(Path::new(LOCK), false) else {
        return false;
    };
    matches!(file.is_locked(), Ok(true))
}
