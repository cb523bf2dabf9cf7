//! What the kernel tells of directories (inotify), where there is such a thing.
//!
//! What it tells is a hint and never more: events are lost when too many come at once, and it knows nothing of what
//! other machines do on a network filesystem.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod kernel;

use std::ffi::OsStr;
use std::ops::BitOr;

#[cfg(not(target_os = "linux"))]
pub use absent::Inotify;
#[cfg(target_os = "linux")]
pub use kernel::Inotify;

/// A directory that is watched. One inode has one watch, by whatever path it was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Watch(i32);

/// What is told, or what is asked to be; the bits of inotify(7).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    /// An entry was written to.
    pub const MODIFY: Self = Self(0x2);
    /// Mode, owner, times or link count of an entry or of the directory changed.
    pub const ATTRIB: Self = Self(0x4);
    /// An entry that was open for writing was closed.
    pub const CLOSE_WRITE: Self = Self(0x8);
    /// An entry was renamed, and this was its name.
    pub const MOVED_FROM: Self = Self(0x40);
    /// An entry was renamed, and this is its name.
    pub const MOVED_TO: Self = Self(0x80);
    /// An entry was made, or linked.
    pub const CREATE: Self = Self(0x100);
    /// An entry was removed.
    pub const DELETE: Self = Self(0x200);
    /// The directory itself was removed, and nobody has it open any more.
    pub const DELETE_SELF: Self = Self(0x400);
    /// The directory itself was renamed; not told when one above it was.
    pub const MOVE_SELF: Self = Self(0x800);
    /// Told only: its filesystem was unmounted.
    pub const UNMOUNT: Self = Self(0x2000);
    /// Told only: events were lost, of any watch.
    pub const OVERFLOW: Self = Self(0x4000);
    /// Told only: the watch has ended, since it was removed, or its directory or filesystem was.
    pub const IGNORED: Self = Self(0x8000);
    /// Told only: the entry is a directory.
    pub const ISDIR: Self = Self(0x4000_0000);

    /// Whether it has one of these.
    pub const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }
}

impl BitOr for Mask {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One thing that was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// By which watch; that of [`Mask::OVERFLOW`] is none that was ever added.
    pub watch: Watch,
    /// What.
    pub what: Mask,
    /// Equal in the two halves of a rename, else 0.
    pub cookie: u32,
    /// Of which entry of the directory; None when it is about the directory itself, or about no directory.
    pub name: Option<&'a OsStr>,
}
