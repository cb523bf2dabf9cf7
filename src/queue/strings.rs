//! JSON strings that are too long to be held, as streams.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::envelopes::WriteError;
use crate::limits::PIECE_BYTES;

/// Copies to the end.
pub(super) fn copy(reader: &mut dyn BufRead, out: &mut dyn Write) -> Result<(), WriteError> {
    loop {
        let bytes = reader.fill_buf().map_err(WriteError::Source)?;
        if bytes.is_empty() {
            return Ok(());
        }
        out.write_all(bytes).map_err(WriteError::Output)?;
        let used = bytes.len();
        reader.consume(used);
    }
}

/// Steps over the inside of a JSON string and its closing quote; returns the length of the inside.
pub(super) fn skip_string(reader: &mut impl BufRead) -> io::Result<u64> {
    let (mut length, mut escaped) = (0, false);
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut end = None;
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let used = end.map_or(bytes.len(), |at| at + 1);
        reader.consume(used);
        length += used as u64;
        if end.is_some() {
            return Ok(length - 1);
        }
    }
}

/// Writes what the inside of a JSON string says.
pub(super) fn unescape(reader: &mut impl BufRead, out: &mut dyn Write) -> Result<(), WriteError> {
    loop {
        let bytes = reader.fill_buf().map_err(WriteError::Source)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let plain = memchr::memchr(b'\\', bytes).unwrap_or(bytes.len());
        out.write_all(&bytes[..plain]).map_err(WriteError::Output)?;
        reader.consume(plain);
        if reader.fill_buf().map_err(WriteError::Source)?.first() == Some(&b'\\') {
            let text = escaped(reader).map_err(WriteError::Source)?;
            out.write_all(text.as_bytes()).map_err(WriteError::Output)?;
        }
    }
}

/// Reads one escape; a character beyond the first plane is two of them.
fn escaped(reader: &mut impl BufRead) -> io::Result<String> {
    let mut text = b"\"".to_vec();
    loop {
        let start = text.len();
        text.resize(start + 2, 0);
        reader.read_exact(&mut text[start..])?;
        if text.last() == Some(&b'u') {
            text.resize(start + 6, 0);
            reader.read_exact(&mut text[start + 2..])?;
        }
        text.push(b'"');
        match serde_json::from_slice(&text) {
            Ok(character) => return Ok(character),
            Err(error) if start > 1 => return Err(error.into()),
            Err(_) => text.pop(),
        };
    }
}

/// Whether everything that is left is UTF-8.
pub(super) fn is_utf8(reader: &mut impl Read) -> io::Result<bool> {
    let mut piece = vec![0; PIECE_BYTES];
    let mut kept = 0;
    loop {
        let read = reader.read(&mut piece[kept..])?;
        let filled = kept + read;
        let valid = match str::from_utf8(&piece[..filled]) {
            Ok(_) => filled,
            // A character that goes on in the next piece.
            Err(error) if error.error_len().is_none() && read > 0 => error.valid_up_to(),
            Err(_) => return Ok(false),
        };
        if read == 0 {
            return Ok(true);
        }
        piece.copy_within(valid..filled, 0);
        kept = filled - valid;
    }
}

/// What the inside of a JSON string says, up to its closing quote, read in pieces of that many bytes: for those who
/// hold it against a parser.
#[doc(hidden)]
pub fn unescaped(text: &[u8], piece_bytes: usize) -> io::Result<Vec<u8>> {
    let length = skip_string(&mut BufReader::with_capacity(piece_bytes, text))?;
    let mut out = Vec::new();
    match unescape(&mut BufReader::with_capacity(piece_bytes, text.take(length)), &mut out) {
        Ok(()) => Ok(out),
        Err(WriteError::Source(error) | WriteError::Output(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_utf8_wherever_its_pieces_end() {
        let text = "é→😀x".repeat(PIECE_BYTES / 5);
        for skipped in 0..4 {
            let padded = ["x".repeat(skipped).as_bytes(), text.as_bytes()].concat();
            assert!(is_utf8(&mut &padded[..]).unwrap());
            assert!(
                !is_utf8(&mut &padded[..padded.len() - 2]).unwrap(),
                "it ends in a character"
            );
            for at in [0, PIECE_BYTES - 1, PIECE_BYTES, padded.len() - 1] {
                let mut damaged = padded.clone();
                damaged[at] = 0xff;
                assert!(!is_utf8(&mut &damaged[..]).unwrap(), "{at}");
            }
        }
    }
}
