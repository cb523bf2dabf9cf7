//! `cursors.json`: a snapshot of the fold, so that a start need not read the whole ledger.

mod reading;

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::Serialize;

use crate::disk::{self, Disk, DiskFile, Loaded};
use crate::error::Error;
use crate::home::{CURSORS, CURSORS_TMP};
use crate::limits::PIECE_BYTES;
use crate::pure::fold::{Fold, row};

const VERSION: u64 = 4;
const CHECKSUM_KEY: &[u8] = br#","checksum":""#;
const TAIL_BYTES: usize = CHECKSUM_KEY.len() + 64 + b"\"}\n".len();

/// What stands between the rest and the files.
const FILES: &[u8] = br#","files":["#;

#[derive(Serialize)]
struct Head<'a> {
    version: u64,
    #[serde(flatten)]
    fold: &'a Fold,
}

/// Reads the snapshot, and leaves it alone whatever it is.
pub fn load(disk: &dyn Disk) -> Result<Loaded<Fold>, Error> {
    disk::load(disk, Path::new(CURSORS), reading::read).map(without_older)
}

/// Reads the snapshot for a watcher, and moves it aside when it is damaged.
pub fn load_or_move_aside(disk: &dyn Disk, now: Timestamp) -> Result<Loaded<Fold>, Error> {
    disk::load_or_move_aside(disk, Path::new(CURSORS), now, "cursors.rebuilt", reading::read).map(without_older)
}

/// A snapshot of an earlier version holds too little. The ledger has it all: it counts as none.
fn without_older(loaded: Loaded<Option<Fold>>) -> Loaded<Fold> {
    match loaded {
        Loaded::Sound(Some(fold)) => Loaded::Sound(fold),
        Loaded::Sound(None) | Loaded::Missing => Loaded::Missing,
        Loaded::Damaged(why) => Loaded::Damaged(why),
    }
}

/// Puts a new snapshot in place, durably, and returns its size in bytes.
///
/// After an error the old snapshot stands; the ledger has everything in any case.
pub fn save(disk: &dyn Disk, fold: &Fold) -> io::Result<u64> {
    let (path, temporary) = (Path::new(CURSORS), Path::new(CURSORS_TMP));
    remove(disk, temporary)?;
    let file = disk.create(temporary)?;
    let mut out = Out {
        file,
        offset: 0,
        hasher: blake3::Hasher::new(),
        buffer: Vec::with_capacity(PIECE_BYTES),
    };
    serde_json::to_writer(&mut out.buffer, &Head { version: VERSION, fold })?;
    out.buffer.pop();
    out.buffer.extend_from_slice(FILES);
    for (place, file) in fold.files.values().enumerate() {
        out.buffer.extend_from_slice(if place == 0 { b"\n" } else { b",\n" });
        row::push(&mut out.buffer, file)?;
        out.flush_if_full()?;
    }
    out.buffer.extend_from_slice(b"\n]}");
    let bytes = out.finish()?;
    disk.rename(temporary, path)?;
    disk.sync_dir(Path::new(""))?;
    Ok(bytes)
}

/// Removes a file that may be there.
pub fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.unlink(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes in pieces and hashes; the last byte is held back, since the checksum goes before it.
struct Out {
    file: Box<dyn DiskFile>,
    offset: u64,
    hasher: blake3::Hasher,
    buffer: Vec<u8>,
}

impl Out {
    fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() < PIECE_BYTES {
            return Ok(());
        }
        self.flush_all_but_one()
    }

    fn flush_all_but_one(&mut self) -> io::Result<()> {
        let ready = self.buffer.len().saturating_sub(1);
        self.hasher.update(&self.buffer[..ready]);
        self.file.write_at(&self.buffer[..ready], self.offset)?;
        self.offset += ready as u64;
        self.buffer.drain(..ready);
        Ok(())
    }

    fn finish(mut self) -> io::Result<u64> {
        self.flush_all_but_one()?;
        let checksum = self.hasher.finalize().to_hex();
        let tail = [CHECKSUM_KEY, checksum.as_bytes(), b"\"}\n"].concat();
        self.file.write_at(&tail, self.offset)?;
        self.file.sync()?;
        Ok(self.offset + tail.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::disk::SimDisk;

    #[test]
    fn a_snapshot_comes_back_as_it_was_and_any_flipped_bit_is_seen() {
        let disk = SimDisk::new();
        assert!(matches!(load(&disk).unwrap(), Loaded::Missing));
        let mut fold = Fold::default();
        (fold.commit, fold.captured_lines) = (7, 3);
        save(&disk, &fold).unwrap();
        let Loaded::Sound(loaded) = load(&disk).unwrap() else {
            panic!("no snapshot");
        };
        assert_eq!(loaded, fold);
        let mut bytes = Vec::new();
        disk.read_from(Path::new(CURSORS), 0)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(reading::read(&mut &flipped[..]).unwrap().is_err(), "byte {at}");
        }
    }
}
