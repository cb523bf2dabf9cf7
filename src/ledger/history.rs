//! What the ledger tells of one file.

use std::io::{BufRead, BufReader, Read};

use memchr::memmem::Finder;
use ulid::Ulid;

use super::{damaged, segment_path};
use crate::disk::Disk;
use crate::error::Error;
use crate::limits::PIECE_BYTES;
use crate::pure::commit::COMMIT_PREFIX;
use crate::pure::entry::Entry;
use crate::pure::fold::Told;

/// Hands out each ledger line that names a file, in order, from where the file is told of; both ends are ends of
/// commits.
///
/// What stands there was sealed by the commits that this process made or checked at its start, so no checksum is
/// looked at again.
pub fn history(disk: &dyn Disk, file_id: Ulid, told: Told, mut each: impl FnMut(&Entry)) -> Result<(), Error> {
    let text = file_id.to_string();
    let finder = Finder::new(text.as_bytes());
    let mut line = Vec::new();
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
        let reader = disk.read_from(&path, start).map_err(failed)?.take(end - start);
        let mut reader = BufReader::with_capacity(PIECE_BYTES, reader);
        loop {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            if finder.find(&line).is_none() || line.starts_with(COMMIT_PREFIX) {
                continue;
            }
            let entry = Entry::parse(&line).map_err(|error| damaged(disk, segment, error.to_string()))?;
            // A line of another file may name it too, as the one that stood there before.
            if entry.files().contains(&Some(file_id)) {
                each(&entry);
            }
        }
    }
    Ok(())
}
