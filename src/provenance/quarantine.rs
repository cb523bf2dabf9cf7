//! Where the lines of a spill file go that are no pairs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::names::in_overflow;
use super::reader::Bad;
use crate::disk::Disk;
use crate::home::QUARANTINE;
use crate::limits::PIECE_BYTES;

/// Copies these stretches of a spill file to `quarantine/<name>.bad`, with the reasons in `….bad.reason`, durably.
///
/// Nothing reads that directory by itself. A name is one spill file's for ever, so doing it once more after a crash
/// writes the same into the same place, and no name grows.
pub(super) fn keep(disk: &dyn Disk, name: &str, bad: &[Bad]) -> io::Result<PathBuf> {
    let directory = Path::new(QUARANTINE);
    disk.create_dir(directory)?;
    disk.sync_dir(Path::new(""))?;
    let kept = directory.join(format!("{name}.bad"));
    let reasons: String = bad.iter().flat_map(|bad| [&bad.why, "\n"]).collect();
    write(
        disk,
        &directory.join(format!("{name}.bad.reason")),
        &mut reasons.as_bytes(),
    )?;
    let source = in_overflow(name);
    let mut stretches = Stretches {
        disk,
        source: &source,
        bad: bad.iter(),
        open: None,
    };
    write(disk, &kept, &mut stretches)?;
    disk.sync_dir(directory)?;
    Ok(disk.show(&kept))
}

fn write(disk: &dyn Disk, path: &Path, content: &mut dyn Read) -> io::Result<()> {
    let mut file = disk.open(path, true)?;
    file.truncate(0)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut offset = 0;
    loop {
        match content.read(&mut piece)? {
            0 => return file.sync(),
            length => file.write_at(&piece[..length], offset)?,
        }
        offset = file.meta()?.size;
    }
}

/// The stretches, one after the other.
struct Stretches<'a> {
    disk: &'a dyn Disk,
    source: &'a Path,
    bad: std::slice::Iter<'a, Bad>,
    open: Option<Box<dyn Read + 'a>>,
}

impl Read for Stretches<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(open) = &mut self.open {
                match open.read(buffer)? {
                    0 => self.open = None,
                    length => return Ok(length),
                }
            }
            let Some(bad) = self.bad.next() else { return Ok(0) };
            let reader = self.disk.read_from(self.source, bad.from)?;
            self.open = Some(Box::new(reader.take(bad.to - bad.from)));
        }
    }
}
