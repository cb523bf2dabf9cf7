//! The lines of a pending file, one after the other, where they were read into memory.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use memchr::memchr;

use super::Refusal;
use crate::disk::Disk;
use crate::limits::{ENVELOPE_IN_MEMORY_BYTES, FETCH_BYTES, PENDING_FIRST_BYTES};

/// Reads a file line by line, a long line not at all.
pub(super) struct Lines {
    file: Box<dyn Read + Send>,
    /// The place in the file of the next line.
    pub(super) at: u64,
    buffer: Vec<u8>,
    /// What was read and belongs to the lines from there on.
    held: Range<usize>,
    /// The line that was found last.
    line: Range<usize>,
}

impl Lines {
    pub(super) fn open(disk: &dyn Disk, path: &Path, start: u64) -> io::Result<Self> {
        Ok(Self::of(disk.read_from(path, start)?, start))
    }

    fn of(file: Box<dyn Read + Send>, start: u64) -> Self {
        Self {
            file,
            at: start,
            buffer: Vec::new(),
            held: 0..0,
            line: 0..0,
        }
    }

    /// The line that was found last, without its newline; empty when it is a long one.
    pub(super) fn line(&mut self) -> &mut [u8] {
        &mut self.buffer[self.line.clone()]
    }

    /// The place of the next line and its length without its newline. `whole` takes the whole file for one line.
    pub(super) fn next(&mut self, whole: bool) -> Result<Option<(u64, u64)>, Refusal> {
        self.line = 0..0;
        let start = self.at;
        if whole {
            return Ok(self.rest()?.map(|length| (start, length)));
        }
        let mut searched = 0;
        while searched <= ENVELOPE_IN_MEMORY_BYTES {
            let found = memchr(b'\n', &self.buffer[self.held.start + searched..self.held.end]);
            if let Some(length) = found.map(|at| searched + at) {
                if length <= ENVELOPE_IN_MEMORY_BYTES {
                    self.line = self.held.start..self.held.start + length;
                }
                self.pass(length + 1);
                return Ok(Some((start, length as u64)));
            }
            searched = self.held.len();
            if self.read_on(ENVELOPE_IN_MEMORY_BYTES + FETCH_BYTES)? == 0 {
                return if searched == 0 { Ok(None) } else { Err(no_newline()) };
            }
        }
        loop {
            let held = &self.buffer[self.held.clone()];
            match memchr(b'\n', held) {
                Some(at) => {
                    self.pass(at + 1);
                    return Ok(Some((start, self.at - start - 1)));
                }
                None => self.pass(held.len()),
            }
            if self.read_on(0)? == 0 {
                return Err(no_newline());
            }
        }
    }

    /// The length of all that is left, without the newlines at its end.
    fn rest(&mut self) -> io::Result<Option<u64>> {
        let (start, mut end, mut read) = (self.at, self.at, self.held.len());
        loop {
            let new = &self.buffer[self.held.end - read..self.held.end];
            if let Some(last) = new.iter().rposition(|byte| *byte != b'\n') {
                end = self.at + last as u64 + 1;
            }
            self.at += read as u64;
            if self.held.len() > ENVELOPE_IN_MEMORY_BYTES {
                // It is not needed any more, or a newline.
                self.held.end = self.held.start + ENVELOPE_IN_MEMORY_BYTES;
            }
            read = self.read_on(ENVELOPE_IN_MEMORY_BYTES + FETCH_BYTES)?;
            if read == 0 {
                break;
            }
        }
        if end - start <= ENVELOPE_IN_MEMORY_BYTES as u64 {
            let length = usize::try_from(end - start).unwrap_or_default();
            self.line = self.held.start..self.held.start + length;
        }
        self.held.start = self.held.end;
        Ok((self.at > start).then_some(end - start))
    }

    /// Finds a line of this length, which is then held however long it is, and steps over the newline behind it.
    pub(super) fn take(&mut self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        while self.held.len() <= length && self.read_on(length + FETCH_BYTES)? > 0 {}
        if self.held.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.line = self.held.start..self.held.start + length;
        self.pass(length);
        if self.buffer[self.held.clone()].first() == Some(&b'\n') {
            self.pass(1);
        }
        Ok(())
    }

    fn pass(&mut self, bytes: usize) {
        self.held.start += bytes;
        self.at += bytes as u64;
    }

    /// Reads on behind what is held, into at most so much room, if what is held leaves any of it. 0 at the end of the file.
    fn read_on(&mut self, room_max: usize) -> io::Result<usize> {
        let room = self.buffer.len();
        if self.held.end == room {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
            if self.held.end == room || room < FETCH_BYTES {
                let most = room_max.max(room + FETCH_BYTES);
                self.buffer.resize((2 * room).clamp(PENDING_FIRST_BYTES, most), 0);
            }
        }
        let end = self.buffer.len().min(self.held.end + FETCH_BYTES);
        let room = &mut self.buffer[self.held.end..end];
        let read = loop {
            match self.file.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.held.end += read;
        Ok(read)
    }
}

fn no_newline() -> Refusal {
    Refusal::Damaged("its last line has no newline".into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives out what it holds in pieces of such sizes, in turn.
    struct Pieces(std::vec::IntoIter<u8>, std::iter::Cycle<std::vec::IntoIter<usize>>);

    impl Read for Pieces {
        fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
            let size = self.1.next().unwrap_or(usize::MAX).min(room.len());
            let mut read = 0;
            for (place, byte) in room[..size].iter_mut().zip(&mut self.0) {
                *place = byte;
                read += 1;
            }
            Ok(read)
        }
    }

    fn lines(text: impl Into<Vec<u8>>, pieces: impl Into<Vec<usize>>) -> Lines {
        let pieces = pieces.into().into_iter().cycle();
        Lines::of(Box::new(Pieces(text.into().into_iter(), pieces)), 7)
    }

    /// Lines of these lengths, one after the other; those that are held are looked at.
    fn are_found(lengths: &[usize], pieces: &[usize]) {
        let all: Vec<Vec<u8>> = lengths
            .iter()
            .zip(b'a'..)
            .map(|(length, byte)| vec![byte; *length])
            .collect();
        let text = [all.join(&b'\n'), b"\n".to_vec()].concat();
        let (mut found, mut taken, mut at) = (lines(&*text, pieces), lines(&*text, pieces), 7);
        for line in &all {
            let length = line.len() as u64;
            assert_eq!(found.next(false).unwrap(), Some((at, length)));
            let held: &[u8] = if line.len() <= ENVELOPE_IN_MEMORY_BYTES {
                line
            } else {
                &[]
            };
            assert!(found.line() == held);
            taken.take(length).unwrap();
            assert!(taken.line() == line);
            at += length + 1;
            assert_eq!((found.at, taken.at), (at, at));
        }
        assert_eq!(found.next(false).unwrap(), None);
        assert!(taken.take(1).is_err());
        // Without its newline the last one is not whole, and all are one.
        let text = text.strip_suffix(b"\n").unwrap_or_default();
        let mut cut = lines(text, pieces);
        for _ in 1..all.len() {
            cut.next(false).unwrap();
        }
        let last = cut.next(false);
        assert!(last.is_err() || all.last().is_none_or(Vec::is_empty));
        let end = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
        for newlines in [0, 1, ENVELOPE_IN_MEMORY_BYTES + 1] {
            let mut whole = lines([text, &vec![b'\n'; newlines]].concat(), pieces);
            let is_empty = text.is_empty() && newlines == 0;
            assert_eq!(whole.next(true).unwrap(), (!is_empty).then_some((7, end as u64)));
            let held = if end <= ENVELOPE_IN_MEMORY_BYTES {
                &text[..end]
            } else {
                &[]
            };
            assert!(whole.line() == held);
            assert_eq!(whole.next(true).unwrap(), None);
        }
    }

    #[test]
    fn lines_about_as_long_as_may_be_held_are_found() {
        let most = ENVELOPE_IN_MEMORY_BYTES;
        are_found(
            &[10, most - 1, most, 3, most + 1, 0, most + 2 * FETCH_BYTES, 5],
            &[usize::MAX],
        );
        are_found(&[most + 1], &[FETCH_BYTES - 1]);
        are_found(&[most], &[usize::MAX]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lines_of_any_length_are_found(
            lengths in prop::collection::vec(prop_oneof![8 => 0..60_usize, 1 => 0..600_000_usize], 1..20),
            pieces in prop::collection::vec(prop_oneof![1..100_usize, Just(FETCH_BYTES), Just(usize::MAX)], 1..5),
        ) {
            are_found(&lengths, &pieces);
        }
    }
}
