//! Large writes past the page cache: what a backlog writes is read later, if at all, and copying it into fresh pages that
//! the kernel then writes back costs more than everything else about it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::cores;
use crate::limits::{DIRECT_BLOCK_BYTES, DIRECT_FROM_BYTES, DIRECT_PIECE_BYTES};

/// One is filled while the other one is written.
const ROOMS: usize = 2;

/// Room for two pieces, which is kept for the next write: fresh memory would cost as much as the copy into it.
#[derive(Debug, Default)]
pub(super) struct PieceRoom(Mutex<Vec<u8>>);

impl PieceRoom {
    fn take(&self) -> Vec<u8> {
        let mut room = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        room.resize(ROOMS * DIRECT_PIECE_BYTES + DIRECT_BLOCK_BYTES, 0);
        room
    }

    fn give(&self, room: Vec<u8>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }

    /// Gives it back to the system.
    pub(super) fn rest(&self) {
        self.give(Vec::new());
    }
}

/// Writes whole blocks from the start of `pieces`, one behind the other; returns how many bytes that are. Fewer than all, and
/// none at all, is no error: the rest is for the page cache.
pub(super) fn write_blocks(file: &File, pieces: &[&[u8]], offset: u64, room: &PieceRoom) -> io::Result<usize> {
    let bytes = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    if bytes < DIRECT_FROM_BYTES || !offset.is_multiple_of(DIRECT_BLOCK_BYTES as u64) {
        return Ok(0);
    }
    let flags = fcntl_getfl(file)?;
    // EINVAL: this filesystem has no such writes.
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let mut piece = room.take();
    let written = write_gathered(file, pieces, bytes - bytes % DIRECT_BLOCK_BYTES, offset, &mut piece);
    room.give(piece);
    fcntl_setfl(file, flags)?;
    written
}

/// Writes the first `whole` bytes of `pieces`.
fn write_gathered(file: &File, pieces: &[&[u8]], whole: usize, offset: u64, room: &mut [u8]) -> io::Result<usize> {
    // Such a write is from an aligned address, which no Vec promises.
    let start = room.as_ptr().align_offset(DIRECT_BLOCK_BYTES);
    let Some(aligned) = room.get_mut(start..start + ROOMS * DIRECT_PIECE_BYTES) else {
        return Ok(0);
    };
    let (room, other) = aligned.split_at_mut(DIRECT_PIECE_BYTES);
    let mut writing = Writing {
        file,
        whole,
        offset,
        written: 0,
    };
    let rest = Gathering::of(pieces);
    if whole >= 2 * DIRECT_PIECE_BYTES && cores::has_second() {
        writing.beside(rest, [room, other])?;
    } else {
        writing.in_turns(rest, room)?;
    }
    Ok(writing.written)
}

/// How far a write has come.
struct Writing<'f> {
    file: &'f File,
    whole: usize,
    offset: u64,
    written: usize,
}

impl Writing<'_> {
    fn in_turns(&mut self, mut rest: Gathering<'_>, room: &mut [u8]) -> io::Result<()> {
        while self.written < self.whole {
            let filled = rest.fill(room, self.whole - self.written);
            if !self.write(filled)? {
                break;
            }
        }
        Ok(())
    }

    /// The same, while another thread fills the next room.
    fn beside(&mut self, rest: Gathering<'_>, rooms: [&mut [u8]; ROOMS]) -> io::Result<()> {
        let (give, empty) = sync_channel(ROOMS);
        let (filled_by, filled) = sync_channel(ROOMS);
        let rest = &Mutex::new(rest);
        let left = self.whole;
        // Both ends of what is given are dropped before the other thread is waited for, also after an error.
        std::thread::scope(move |scope| {
            let fill = move || {
                let mut left = left;
                let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                while left > 0
                    && let Ok(room) = empty.recv()
                {
                    let room: &mut [u8] = room;
                    let bytes = rest.fill(room, left).len();
                    left -= bytes;
                    if filled_by.send((room, bytes)).is_err() {
                        return;
                    }
                }
            };
            let thread = Builder::new().name("gather".into()).spawn_scoped(scope, fill);
            if thread.is_err() {
                let mut rest = rest.lock().unwrap_or_else(PoisonError::into_inner);
                let [room, _] = rooms;
                return self.in_turns(std::mem::take(&mut rest), room);
            }
            for room in rooms {
                let _ = give.send(room);
            }
            for (room, bytes) in filled {
                if !self.write(&room[..bytes])? {
                    break;
                }
                // It may have filled the last one.
                let _ = give.send(room);
            }
            Ok(())
        })
    }

    /// Writes a piece behind those before it. False when not all of it was written: the page cache tells why.
    fn write(&mut self, piece: &[u8]) -> io::Result<bool> {
        let length = loop {
            match self.file.write_at(piece, self.offset + self.written as u64) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Its blocks are larger than ours.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break 0,
                Err(error) => return Err(error),
            }
        };
        self.written += length;
        Ok(length == piece.len())
    }
}

/// What is left of pieces that are copied one behind the other.
#[derive(Default)]
struct Gathering<'a> {
    piece: &'a [u8],
    others: std::slice::Iter<'a, &'a [u8]>,
}

impl<'a> Gathering<'a> {
    fn of(pieces: &'a [&'a [u8]]) -> Self {
        Self {
            piece: &[],
            others: pieces.iter(),
        }
    }

    /// Fills `room`, with at most so many bytes, of which there must be enough. Returns what it filled.
    fn fill<'r>(&mut self, room: &'r mut [u8], bytes_max: usize) -> &'r [u8] {
        let bytes = room.len().min(bytes_max);
        let room = &mut room[..bytes];
        let mut filled = 0;
        while filled < bytes {
            if self.piece.is_empty() {
                let Some(next) = self.others.next() else { break };
                self.piece = next;
                continue;
            }
            let (copied, rest) = self.piece.split_at(self.piece.len().min(bytes - filled));
            room[filled..filled + copied.len()].copy_from_slice(copied);
            (filled, self.piece) = (filled + copied.len(), rest);
        }
        &room[..filled]
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn gathered(file: &File, pieces: &[&[u8]], whole: usize) -> io::Result<usize> {
        let mut room = PieceRoom::default().take();
        write_gathered(file, pieces, whole, 0, &mut room)
    }

    #[test]
    fn pieces_of_any_length_are_written_one_behind_the_other() {
        let bytes: Vec<u8> = (0..=250).cycle().take(4 * DIRECT_PIECE_BYTES).collect();
        for (piece, whole) in [
            (700_001, bytes.len()),
            (DIRECT_PIECE_BYTES, 3 * DIRECT_PIECE_BYTES + DIRECT_BLOCK_BYTES),
            (bytes.len(), 2 * DIRECT_PIECE_BYTES),
            (4097, DIRECT_PIECE_BYTES + DIRECT_BLOCK_BYTES),
            (3_000_000, DIRECT_BLOCK_BYTES),
        ] {
            let mut file = tempfile::tempfile().unwrap();
            let pieces: Vec<&[u8]> = bytes.chunks(piece).collect();
            assert_eq!(gathered(&file, &pieces, whole).unwrap(), whole);
            let mut found = Vec::new();
            file.read_to_end(&mut found).unwrap();
            assert!(found == bytes[..whole], "{whole} bytes in pieces of {piece}");
        }
    }

    #[test]
    fn a_write_that_fails_ends_with_its_error_while_the_next_piece_is_gathered() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let read_only = File::open(temp.path()).unwrap();
        let bytes = vec![7; 6 * DIRECT_PIECE_BYTES];
        for whole in [DIRECT_PIECE_BYTES, bytes.len()] {
            let error = gathered(&read_only, &[&bytes], whole).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::BADF.raw_os_error()));
        }
    }
}
