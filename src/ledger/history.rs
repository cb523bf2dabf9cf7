//! What the ledger tells of one file.

use std::io::Read;

use memchr::memmem::Finder;
use ulid::Ulid;

use super::{damaged, segment_path};
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::READ_BYTES;
use crate::pure::commit::COMMIT_PREFIX;
use crate::pure::entry::Entry;
use crate::pure::fold::Told;
use crate::pure::lines::whole;

/// Hands out each ledger line that names a file, in order, from where the file is told of; both ends are ends of
/// commits.
///
/// What stands there was sealed by the commits that this process made or checked at its start, so no checksum is
/// looked at again.
pub fn history(disk: &dyn Disk, file_id: Ulid, told: Told, mut each: impl FnMut(&Entry)) -> Result<(), Error> {
    let text = file_id.to_string();
    let finder = Finder::new(text.as_bytes());
    for segment in told.from.segment..=told.to.segment {
        let path = segment_path(segment);
        let failed = |cause| Error::io("cannot read the ledger", disk.show(&path), cause);
        let start = if segment == told.from.segment {
            told.from.offset
        } else {
            0
        };
        let end = if segment == told.to.segment {
            told.to.offset
        } else {
            u64::MAX
        };
        let mut reader = disk.read_from(&path, start).map_err(failed)?.take(end - start);
        let mut piece = Vec::new();
        loop {
            let read = reader
                .by_ref()
                .take(READ_BYTES as u64)
                .read_to_end(&mut piece)
                .map_err(failed)?;
            if read == 0 {
                break;
            }
            let whole = whole(&piece);
            for line in lines_with(&piece[..whole], &finder) {
                let entry = Entry::parse(line).map_err(|error| damaged(disk, segment, error.to_string()))?;
                // A line of another file may name it too, as the one that stood there before.
                if entry.files().contains(&Some(file_id)) {
                    each(&entry);
                }
            }
            piece.drain(..whole);
        }
    }
    Ok(())
}

/// The lines that hold what is looked for, but for `commit` lines.
fn lines_with<'a>(lines: &'a [u8], finder: &'a Finder<'_>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        loop {
            let at = finder.find(rest)?;
            let start = memchr::memrchr(b'\n', &rest[..at]).map_or(0, |newline| newline + 1);
            let end = memchr::memchr(b'\n', &rest[at..]).map_or(rest.len(), |newline| at + newline + 1);
            let line = &rest[start..end];
            rest = &rest[end..];
            if !line.starts_with(COMMIT_PREFIX) {
                return Some(line);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_hold_it_are_handed_out_and_each_once() {
        let lines = b"a ID\nb\nID c ID\n{\"kind\":\"commit\",\"commit\":1,\"ID\"}\n\nID\n";
        let finder = Finder::new(b"ID");
        let found: Vec<_> = lines_with(lines, &finder).collect();
        assert_eq!(found, [&b"a ID\n"[..], b"ID c ID\n", b"ID\n"]);
    }
}
