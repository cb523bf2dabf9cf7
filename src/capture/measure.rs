//! How much room a long line takes, before any of it is written.

use std::io::{self, Read};

use crate::limits::PIECE_BYTES;
use crate::source::LongLine;

/// Bytes that an envelope has at worst for each three of a line: six for a byte that is escaped, and base64 beside
/// that where it is not UTF-8.
const WORST_OF_THREE: u64 = 22;

/// The most that a line of this many bytes takes.
pub(super) fn worst(length: u64) -> u64 {
    (length / 3 + 1).saturating_mul(WORST_OF_THREE)
}

/// How many bytes of the envelope are too many, as far as the bytes of the line tell one by one; None when all fit.
pub(super) fn too_many(line: &dyn LongLine, fits: impl Fn(u64) -> bool) -> io::Result<Option<u64>> {
    // Without the last byte, since the first reading that comes to the end is taken for what is captured.
    let mut source = line.read().take(line.length().saturating_sub(1));
    let mut piece = vec![0; PIECE_BYTES];
    let mut taken = 0;
    loop {
        let read = source.read(&mut piece)?;
        if read == 0 {
            return Ok(None);
        }
        taken += piece[..read].iter().map(|byte| escaped(*byte)).sum::<u64>();
        if !fits(taken) {
            return Ok(Some(taken));
        }
    }
}

/// Bytes of one byte in a JSON string.
fn escaped(byte: u8) -> u64 {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pure::record::push_escaped;

    #[test]
    fn each_byte_counts_what_it_takes_in_an_envelope() {
        for byte in 0..0x80 {
            let mut out = Vec::new();
            push_escaped(&mut out, char::from(byte).encode_utf8(&mut [0; 4]));
            assert_eq!(escaped(byte), out.len() as u64, "{byte}");
            assert!(worst(1) >= out.len() as u64, "{byte}");
        }
    }
}
