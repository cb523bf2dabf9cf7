//! Copies of what was seen, in files of our own, so that what changed can be told without holding it in
//! memory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::limits::RECORD_PIECE_BYTES;
use crate::source::tree::{Log, read_full};

/// How a file differs from its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It does not.
    None,
    /// It goes on behind this offset.
    Append(u64),
    /// It ends at this offset.
    Truncate(u64),
    /// Something in it is other than it was.
    Rewrite,
}

/// Why a copy was not brought up to date.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file could not be read; the copy is as it was.
    Log(io::Error),
    /// The copy could not be read or written.
    Copy(Error),
}

/// The copy of a file.
#[derive(Debug)]
pub(super) struct Shadow {
    path: PathBuf,
    size: u64,
}

impl Shadow {
    /// An empty one.
    pub(super) fn create(path: PathBuf) -> Result<Self, Error> {
        fresh(&path).map_err(|cause| failed(&path, cause))?;
        Ok(Self { path, size: 0 })
    }

    /// How much is copied.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Removes it.
    pub(super) fn discard(self) -> Result<(), Error> {
        std::fs::remove_file(&self.path).map_err(|cause| failed(&self.path, cause))
    }

    /// Reads of the copy until `bytes` is full or the copy ends.
    pub(super) fn read(&self, bytes: &mut [u8], offset: u64) -> Result<usize, Error> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = bytes.len().min(left);
        let file = File::open(&self.path).map_err(|cause| failed(&self.path, cause))?;
        file.read_exact_at(&mut bytes[..length], offset)
            .map_err(|cause| failed(&self.path, cause))?;
        Ok(length)
    }

    /// Makes it equal to the file, up to the size that the file has now, and says what was not.
    pub(super) fn update(&mut self, log: &dyn Log) -> Result<Change, Trouble> {
        let size = log.stat().map_err(Trouble::Log)?.size;
        let was = self.size;
        if self.equal_beginning(log, size)? < was.min(size) {
            self.copy_anew(log, size)?;
            return Ok(Change::Rewrite);
        }
        if size < was {
            self.cut(size)?;
            return Ok(Change::Truncate(size));
        }
        self.size = copy(&self.path, log, was, size)?;
        Ok(if self.size == was {
            Change::None
        } else {
            Change::Append(was)
        })
    }

    fn cut(&mut self, size: u64) -> Result<(), Trouble> {
        let file = OpenOptions::new().write(true).open(&self.path);
        file.and_then(|file| file.set_len(size))
            .map_err(|cause| Trouble::Copy(failed(&self.path, cause)))?;
        self.size = size;
        Ok(())
    }

    /// How far the file and its copy are equal, up to `size`.
    fn equal_beginning(&self, log: &dyn Log, size: u64) -> Result<u64, Trouble> {
        let end = self.size.min(size);
        let mut theirs = vec![0; RECORD_PIECE_BYTES];
        let mut ours = vec![0; RECORD_PIECE_BYTES];
        let mut at = 0;
        while at < end {
            let length = piece(end - at);
            let read = read_full(log, &mut theirs[..length], at).map_err(Trouble::Log)?;
            self.read(&mut ours[..length], at).map_err(Trouble::Copy)?;
            let equal = theirs[..read]
                .iter()
                .zip(&ours[..read])
                .take_while(|(one, other)| one == other);
            let equal = equal.count();
            at += equal as u64;
            if equal < length {
                break;
            }
        }
        Ok(at)
    }

    /// Copies the file as a whole, beside the copy that is there, and then in its place.
    fn copy_anew(&mut self, log: &dyn Log, size: u64) -> Result<(), Trouble> {
        let beside = self.path.with_extension("new");
        let trouble = |cause| Trouble::Copy(failed(&beside, cause));
        fresh(&beside).map_err(trouble)?;
        self.size = copy(&beside, log, 0, size)?;
        std::fs::rename(&beside, &self.path).map_err(trouble)
    }
}

/// Copies `from..to` of a file to where it was; returns where it ended.
fn copy(path: &Path, log: &dyn Log, from: u64, to: u64) -> Result<u64, Trouble> {
    if from >= to {
        return Ok(from);
    }
    let trouble = |cause| Trouble::Copy(failed(path, cause));
    let file = OpenOptions::new().write(true).open(path).map_err(trouble)?;
    let mut bytes = vec![0; RECORD_PIECE_BYTES];
    let mut at = from;
    while at < to {
        let length = piece(to - at);
        let read = read_full(log, &mut bytes[..length], at).map_err(Trouble::Log)?;
        file.write_all_at(&bytes[..read], at).map_err(trouble)?;
        at += read as u64;
        if read < length {
            break;
        }
    }
    Ok(at)
}

fn piece(left: u64) -> usize {
    usize::try_from(left).map_or(RECORD_PIECE_BYTES, |left| left.min(RECORD_PIECE_BYTES))
}

fn fresh(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(path)
}

fn failed(path: &Path, cause: io::Error) -> Error {
    Error::io("cannot keep a copy of what was seen in", path, cause)
        .hint("make room there, or name another directory for temporary files with TMPDIR")
}
