//! Whether a last line without a newline is whole: one complete JSON object.

use std::io::{BufRead, BufReader};

use super::{Changed, LongLine};
use crate::limits::PIECE_BYTES;
use crate::pure::record::Traits;
use crate::pure::role::is_json_stream;

/// Whether a line that is in memory is one complete JSON object.
pub fn is_object(line: &[u8]) -> bool {
    let is_object = |text: &str| text.trim_ascii_start().starts_with('{') && Traits::of(text).json;
    simdutf8::basic::from_utf8(line).is_ok_and(is_object)
}

/// The same for a line of any length, by a reading of its own.
pub fn is_long_object(line: &dyn LongLine) -> Result<bool, Changed> {
    let mut text = BufReader::with_capacity(PIECE_BYTES, line.read());
    let first = loop {
        let piece = text.fill_buf().map_err(|_| Changed)?;
        let Some(byte) = piece.first().copied() else {
            return Ok(false);
        };
        if !byte.is_ascii_whitespace() {
            break byte;
        }
        text.consume(1);
    };
    Ok(first == b'{' && is_json_stream(text).map_err(|_| Changed)?)
}
