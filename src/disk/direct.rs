//! Large writes past the page cache: what a backlog writes is read later, if at all, and copying it into fresh pages that
//! the kernel then writes back costs more than everything else about it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::limits::{DIRECT_BLOCK_BYTES, DIRECT_FROM_BYTES, DIRECT_PIECE_BYTES};

/// Writes whole blocks from the start of `bytes`; returns how many bytes that are. Fewer than all, and none at all, is no
/// error: the rest is for the page cache.
pub(super) fn write_blocks(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    if bytes.len() < DIRECT_FROM_BYTES || !offset.is_multiple_of(DIRECT_BLOCK_BYTES as u64) {
        return Ok(0);
    }
    let flags = fcntl_getfl(file)?;
    // EINVAL: this filesystem has no such writes.
    if fcntl_setfl(file, flags | OFlags::DIRECT).is_err() {
        return Ok(0);
    }
    let written = write_pieces(file, bytes, offset);
    fcntl_setfl(file, flags)?;
    written
}

fn write_pieces(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
    // Such a write is from an aligned address, which no Vec promises.
    let mut room = vec![0; DIRECT_PIECE_BYTES + DIRECT_BLOCK_BYTES];
    let start = room.as_ptr().align_offset(DIRECT_BLOCK_BYTES);
    let Some(aligned) = room.get_mut(start..start + DIRECT_PIECE_BYTES) else {
        return Ok(0);
    };
    let whole = bytes.len() - bytes.len() % DIRECT_BLOCK_BYTES;
    let mut written = 0;
    while written < whole {
        let piece = &bytes[written..whole.min(written + DIRECT_PIECE_BYTES)];
        let aligned = &mut aligned[..piece.len()];
        aligned.copy_from_slice(piece);
        match file.write_at(aligned, offset + written as u64) {
            Ok(0) => break,
            Ok(length) => written += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Its blocks are larger than ours.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => break,
            Err(error) => return Err(error),
        }
        if !written.is_multiple_of(DIRECT_BLOCK_BYTES) {
            break;
        }
    }
    Ok(written)
}
