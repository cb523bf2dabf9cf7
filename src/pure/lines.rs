//! Whole lines in a stretch of bytes: a line ends at `\n` and at nothing else.

use memchr::{memchr, memrchr};

/// One whole line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Offset in the file of its first byte.
    pub offset: u64,
    /// Physical line number in its epoch, from 1; None where lines were never counted.
    pub number: Option<u64>,
    /// Its bytes without the `\n`; a `\r` before that is part of the line.
    pub bytes: &'a [u8],
}

impl Line<'_> {
    /// Offset of the byte after its `\n`.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64 + 1
    }
}

/// How many bytes of `bytes` are whole lines.
#[must_use]
pub fn whole(bytes: &[u8]) -> usize {
    memrchr(b'\n', bytes).map_or(0, |at| at + 1)
}

/// The lines of `bytes`, all of them whole, the first one at `offset` and with number `number`.
#[must_use]
pub fn lines(bytes: &[u8], offset: u64, number: Option<u64>) -> Lines<'_> {
    Lines { bytes, offset, number }
}

/// Iterator of [`lines`]. An unfinished rest is not a line and is not given out.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    /// What was not given out.
    pub bytes: &'a [u8],
    /// Offset in the file of its first byte.
    pub offset: u64,
    /// Number of its first line.
    pub number: Option<u64>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let end = memchr(b'\n', self.bytes)?;
        let line = Line {
            offset: self.offset,
            number: self.number,
            bytes: &self.bytes[..end],
        };
        self.bytes = &self.bytes[end + 1..];
        self.offset = line.end();
        self.number = self.number.map(|number| number + 1);
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_newline_ends_a_line() {
        let bytes = b"a\r\n\n\0b\xff\xe2\x80\xa8c\nrest";
        assert_eq!(whole(bytes), bytes.len() - 4);
        let found: Vec<_> = lines(bytes, 100, Some(7))
            .map(|line| (line.offset, line.number, line.bytes))
            .collect();
        assert_eq!(
            found,
            [
                (100, Some(7), &b"a\r"[..]),
                (103, Some(8), &b""[..]),
                (104, Some(9), &b"\0b\xff\xe2\x80\xa8c"[..]),
            ]
        );
    }

    #[test]
    fn a_rest_without_newline_holds_no_whole_line() {
        assert_eq!(whole(b"half"), 0);
        assert_eq!(lines(b"half", 0, None).count(), 0);
    }
}
