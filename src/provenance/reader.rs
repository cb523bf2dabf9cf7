//! Reading a spill file, line by line, and telling what is no pair from what is one.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::Pair;
use crate::disk::Disk;
use crate::limits::{PIECE_BYTES, PROVENANCE_BYTES_MAX, SPILL_LINE_BYTES_MAX};

/// A stretch of lines that are no pairs, from the first byte of the first to the one after the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bad {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What is wrong with the first of them, and its number.
    pub(super) why: String,
}

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) pairs: Vec<Pair>,
    /// How many lines they were, those included that are no pairs.
    pub(super) lines: u64,
    /// There are no more.
    pub(super) is_last: bool,
}

enum Line {
    Pair(Pair),
    /// No pair; noted.
    Bad,
    End,
}

/// A spill file that is being read. Memory is bounded by that of a chunk, whatever the file holds.
pub(super) struct SpillReader {
    input: BufReader<Box<dyn Read + Send>>,
    offset: u64,
    line: u64,
    bad: Vec<Bad>,
}

impl SpillReader {
    /// Opens a file and goes past its first lines.
    pub(super) fn open(disk: &dyn Disk, path: &Path, past: u64) -> io::Result<Self> {
        let mut this = Self {
            input: BufReader::with_capacity(PIECE_BYTES, disk.read_from(path, 0)?),
            offset: 0,
            line: 0,
            bad: Vec::new(),
        };
        let mut line = Vec::new();
        while this.line < past && !matches!(this.next_line(&mut line)?, Line::End) {}
        Ok(this)
    }

    /// What was no pair up to now.
    pub(super) fn bad(&self) -> &[Bad] {
        &self.bad
    }

    /// The next lines: at most this many pairs, and not more bytes than go into a call, but at least one.
    pub(super) fn chunk(&mut self, pairs_max: usize) -> io::Result<Chunk> {
        let before = self.line;
        let (mut chunk, mut bytes) = (Chunk::default(), 0);
        let mut line = Vec::new();
        while chunk.pairs.len() < pairs_max && bytes < PROVENANCE_BYTES_MAX && !chunk.is_last {
            match self.next_line(&mut line)? {
                Line::Pair(pair) => {
                    bytes += pair.bytes();
                    chunk.pairs.push(pair);
                }
                Line::Bad => {}
                Line::End => chunk.is_last = true,
            }
        }
        chunk.lines = self.line - before;
        Ok(chunk)
    }

    fn next_line(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let most = SPILL_LINE_BYTES_MAX as u64 + 1;
        let mut length = self.input.by_ref().take(most).read_until(b'\n', line)? as u64;
        if length == 0 {
            return Ok(Line::End);
        }
        let is_whole = line.pop_if(|last| *last == b'\n').is_some();
        let parsed = if length == most && !is_whole {
            length += self.rest_of_line()?;
            Err("it is too long".into())
        } else {
            Pair::parse(line)
        };
        let from = self.offset;
        self.line += 1;
        self.offset += length;
        Ok(match parsed {
            Ok(pair) => Line::Pair(pair),
            Err(why) => {
                self.note_bad(from, &why);
                Line::Bad
            }
        })
    }

    /// Goes to the end of a line that is too long, and says how many bytes that was.
    fn rest_of_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(skipped);
            }
            let end = memchr::memchr(b'\n', buffer);
            let used = end.map_or(buffer.len(), |at| at + 1);
            self.input.consume(used);
            skipped += used as u64;
            if end.is_some() {
                return Ok(skipped);
            }
        }
    }

    fn note_bad(&mut self, from: u64, why: &str) {
        let to = self.offset;
        match self.bad.last_mut() {
            Some(last) if last.to == from => last.to = to,
            _ => self.bad.push(Bad {
                from,
                to,
                why: format!("line {}: {why}", self.line),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn disk(content: &[u8]) -> SimDisk {
        let disk = SimDisk::new();
        disk.create(Path::new("f")).unwrap().write_at(content, 0).unwrap();
        disk
    }

    fn line(id: u32) -> String {
        format!("{{\"id\":\"{id}\",\"entry\":{{}}}}\n")
    }

    fn ids(chunk: &Chunk) -> Vec<&str> {
        chunk.pairs.iter().map(Pair::id).collect()
    }

    #[test]
    fn a_file_comes_in_chunks_and_can_be_entered_at_any_line() {
        let disk = disk((1..=5).map(line).collect::<String>().as_bytes());
        let mut reader = SpillReader::open(&disk, Path::new("f"), 1).unwrap();
        let chunk = reader.chunk(3).unwrap();
        assert_eq!((ids(&chunk), chunk.is_last), (vec!["2", "3", "4"], false));
        let chunk = reader.chunk(3).unwrap();
        assert_eq!((ids(&chunk), chunk.lines, chunk.is_last), (vec!["5"], 1, true));
        let mut reader = SpillReader::open(&disk, Path::new("f"), 9).unwrap();
        assert!(reader.chunk(3).unwrap().is_last);
    }

    #[test]
    fn bad_lines_are_told_by_their_bytes_and_the_good_ones_come() {
        let long = "x".repeat(SPILL_LINE_BYTES_MAX + 3 * PIECE_BYTES);
        let content = format!("{}nonsense\n\n{}{long}\n{}{{\"id\":\"9\"", line(1), line(2), line(3));
        let mut reader = SpillReader::open(&disk(content.as_bytes()), Path::new("f"), 0).unwrap();
        let chunk = reader.chunk(9).unwrap();
        assert_eq!(ids(&chunk), ["1", "2", "3"]);
        assert_eq!((chunk.lines, chunk.is_last), (7, true));
        let texts: Vec<_> = reader
            .bad()
            .iter()
            .map(|bad| &content[usize::try_from(bad.from).unwrap()..usize::try_from(bad.to).unwrap()])
            .collect();
        assert_eq!(texts, ["nonsense\n\n", &format!("{long}\n"), "{\"id\":\"9\""]);
        assert!(reader.bad()[1].why.starts_with("line 5: it is too long"));
    }

    #[test]
    fn a_last_line_without_a_newline_is_a_pair_if_it_is_whole() {
        let text = line(1);
        let mut reader = SpillReader::open(&disk(text.trim_end().as_bytes()), Path::new("f"), 0).unwrap();
        assert_eq!(ids(&reader.chunk(9).unwrap()), ["1"]);
    }
}
