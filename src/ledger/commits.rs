//! Reading the ledger commit by commit, on past damage: for those who tell of it rather than refuse.

use std::io::{BufRead, BufReader, Read};

use super::segment_path;
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::{COMMIT_LINES_MAX, LEDGER_LINE_BYTES_MAX, PIECE_BYTES};
use crate::pure::commit::{COMMIT_PREFIX, Commit};

/// What stands next in a segment.
#[derive(Debug, PartialEq)]
pub enum Found<'a> {
    /// A commit whose checksum holds.
    Sealed {
        /// Its last line.
        commit: Commit,
        /// The lines that it seals, each with its newline.
        lines: &'a [u8],
        /// Bytes just before these lines that belong to no commit: damage, when there are any.
        stray_bytes: u64,
        /// Offset of its first line.
        from: u64,
        /// Offset of the byte after it.
        end: u64,
    },
    /// Bytes that belong to no commit, and a `commit` line that does not hold, or too many lines without one.
    Damaged {
        /// Offset of the first of them.
        from: u64,
        /// Offset of the byte after them.
        end: u64,
    },
    /// The end, where no commit holds: a torn tail if nothing may follow it.
    Unsealed {
        /// Offset of its first byte.
        from: u64,
        /// What was read of it.
        lines: &'a [u8],
    },
}

/// A segment, read from where a commit begins.
pub struct Commits<'a> {
    disk: &'a dyn Disk,
    segment: u32,
    reader: BufReader<Box<dyn Read + Send>>,
    at: u64,
    group: Vec<u8>,
    group_lines: usize,
    ended: bool,
}

/// How a group of lines ends.
enum End {
    Commit(Vec<u8>),
    TooLong,
    Eof,
}

impl<'a> Commits<'a> {
    /// Begins at byte `start`.
    pub fn open(disk: &'a dyn Disk, segment: u32, start: u64) -> Result<Self, Error> {
        let path = segment_path(segment);
        let reader = disk
            .read_from(&path, start)
            .map_err(|cause| Error::io("cannot read the ledger", disk.show(&path), cause))?;
        Ok(Self {
            disk,
            segment,
            reader: BufReader::with_capacity(PIECE_BYTES, reader),
            at: start,
            group: Vec::new(),
            group_lines: 0,
            ended: false,
        })
    }

    /// What stands next; None at the end.
    pub fn read(&mut self) -> Result<Option<Found<'_>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let from = self.at;
        let end = self.read_group().map_err(|cause| {
            let path = self.disk.show(&segment_path(self.segment));
            Error::io("cannot read the ledger", path, cause)
        })?;
        Ok(match end {
            End::Commit(line) => Some(self.judge(&line, from)?),
            End::TooLong => Some(Found::Damaged { from, end: self.at }),
            End::Eof => {
                self.ended = true;
                let lines = &self.group;
                (!lines.is_empty()).then_some(Found::Unsealed { from, lines })
            }
        })
    }

    fn judge(&mut self, line: &[u8], from: u64) -> Result<Found<'_>, Error> {
        if let Some((commit, sealed)) = Commit::parse(line, &self.group) {
            let stray = self.group.len() - sealed;
            return Ok(Found::Sealed {
                commit,
                lines: &self.group[stray..],
                stray_bytes: stray as u64,
                from: from + stray as u64,
                end: self.at,
            });
        }
        let rest = self.reader.fill_buf().map_err(|cause| {
            let path = self.disk.show(&segment_path(self.segment));
            Error::io("cannot read the ledger", path, cause)
        })?;
        if !rest.is_empty() {
            return Ok(Found::Damaged { from, end: self.at });
        }
        self.ended = true;
        self.group.extend_from_slice(line);
        Ok(Found::Unsealed {
            from,
            lines: &self.group,
        })
    }

    /// Reads up to and with the next `commit` line, which is not in the group.
    fn read_group(&mut self) -> std::io::Result<End> {
        self.group.clear();
        self.group_lines = 0;
        loop {
            let start = self.group.len();
            let limit = LEDGER_LINE_BYTES_MAX as u64;
            let length = self.reader.by_ref().take(limit).read_until(b'\n', &mut self.group)?;
            self.at += length as u64;
            let line = &self.group[start..];
            // A line that is not whole is the end: its writer may be at it this moment.
            if length == 0 || (line.last() != Some(&b'\n') && length < LEDGER_LINE_BYTES_MAX) {
                return Ok(End::Eof);
            }
            if line.starts_with(COMMIT_PREFIX) {
                return Ok(End::Commit(self.group.split_off(start)));
            }
            self.group_lines += 1;
            if self.group_lines >= 2 * COMMIT_LINES_MAX {
                return Ok(End::TooLong);
            }
        }
    }
}
