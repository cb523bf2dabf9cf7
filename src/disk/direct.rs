//! Large writes past the page cache: what a backlog writes is read later, if at all, and copying it into fresh pages that
//! the kernel then writes back costs more than everything else about it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::limits::{DIRECT_BLOCK_BYTES, DIRECT_FROM_BYTES, DIRECT_PIECE_BYTES};

/// Room for one piece, which is kept for the next write: fresh memory would cost as much as the copy into it.
#[derive(Debug, Default)]
pub(super) struct PieceRoom(Mutex<Vec<u8>>);

impl PieceRoom {
    fn take(&self) -> Vec<u8> {
        let mut room = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        room.resize(DIRECT_PIECE_BYTES + DIRECT_BLOCK_BYTES, 0);
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
    let Some(aligned) = room.get_mut(start..start + DIRECT_PIECE_BYTES) else {
        return Ok(0);
    };
    let mut rest = Gathering::of(pieces);
    let mut written = 0;
    while written < whole {
        let wanted = DIRECT_PIECE_BYTES.min(whole - written);
        let aligned = &mut aligned[..wanted];
        rest.fill(aligned);
        let length = loop {
            match file.write_at(aligned, offset + written as u64) {
                Ok(length) => break length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Its blocks are larger than ours.
                Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break 0,
                Err(error) => return Err(error),
            }
        };
        written += length;
        // The page cache tells why.
        if length < wanted {
            break;
        }
    }
    Ok(written)
}

/// What is left of pieces that are copied one behind the other.
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

    /// Fills `room`, for which there must be enough.
    fn fill(&mut self, mut room: &mut [u8]) {
        while !room.is_empty() {
            if self.piece.is_empty() {
                let Some(next) = self.others.next() else { return };
                self.piece = next;
                continue;
            }
            let length = room.len().min(self.piece.len());
            let (filled, left) = room.split_at_mut(length);
            let (copied, rest) = self.piece.split_at(length);
            filled.copy_from_slice(copied);
            (room, self.piece) = (left, rest);
        }
    }
}
