//! Records on their way into the queue: temporary files that only a commit makes visible.

use std::io;
use std::path::Path;

use crate::disk::{Disk, DiskFile};
use crate::home::{PENDING, pending};
use crate::pure::name::{Batch, single};
use crate::pure::record::ulid_of;

/// How records lie in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Layout {
    /// All records of a commit in one file, a line each.
    #[default]
    Batch,
    /// Each record in a file of its own, as programs read it that know no batches.
    Record,
}

/// The files of one commit.
pub struct Outgoing {
    layout: Layout,
    parts: Vec<Part>,
    /// The file that is being written. It is locked, so that no start of another process removes it.
    open: Option<Box<dyn DiskFile>>,
}

/// One file.
#[derive(Debug, Clone, Copy)]
struct Part {
    batch: Batch,
    bytes: u64,
}

impl Outgoing {
    /// Makes the temporary file of one batch, for writing into it.
    pub fn begin(disk: &dyn Disk, batch: Batch, layout: Layout) -> io::Result<Self> {
        let mut this = Self::none(layout);
        this.add(disk, batch)?;
        Ok(this)
    }

    /// Writes whole envelopes, a line each, into the files that the layout wants. Their first 64 bytes are in one piece; else
    /// a piece may end anywhere. After an error nothing is left, as far as the disk still obeys.
    pub fn write_all(disk: &dyn Disk, batch: Batch, pieces: &[&[u8]], layout: Layout) -> io::Result<Self> {
        let mut this = Self::none(layout);
        let written = match layout {
            Layout::Batch => this.add(disk, batch).and_then(|()| this.write_pieces(pieces)),
            Layout::Record => this.write_singles(disk, pieces),
        };
        match written {
            Ok(()) => Ok(this),
            Err(cause) => {
                this.discard(disk)?;
                Err(cause)
            }
        }
    }

    fn none(layout: Layout) -> Self {
        Self {
            layout,
            parts: Vec::new(),
            open: None,
        }
    }

    fn write_singles(&mut self, disk: &dyn Disk, pieces: &[&[u8]]) -> io::Result<()> {
        let mut is_within = false;
        for part in pieces
            .iter()
            .flat_map(|piece| piece.split_inclusive(|byte| *byte == b'\n'))
        {
            if !is_within {
                let first = ulid_of(part).ok_or_else(|| io::Error::other("an envelope of ours has no ULID"))?;
                self.add(disk, Batch { first, records: 1 })?;
            }
            let end = part.strip_suffix(b"\n");
            self.write(end.unwrap_or(part))?;
            is_within = end.is_none();
        }
        // Only the home's lock keeps others away from these: so many files are not held open.
        self.open = None;
        Ok(())
    }

    fn add(&mut self, disk: &dyn Disk, batch: Batch) -> io::Result<()> {
        let mut file = disk.create(&pending(batch.temporary()))?;
        self.parts.push(Part { batch, bytes: 0 });
        if !file.try_lock()? {
            return Err(io::Error::other("a file that was made just now is locked"));
        }
        self.open = Some(file);
        Ok(())
    }

    /// Appends to the last file.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let (Some(file), Some(part)) = (&mut self.open, self.parts.last_mut()) {
            file.write_at(bytes, part.bytes)?;
            part.bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Appends to the last file, at once.
    fn write_pieces(&mut self, pieces: &[&[u8]]) -> io::Result<()> {
        if let (Some(file), Some(part)) = (&mut self.open, self.parts.last_mut()) {
            file.write_pieces_at(pieces, part.bytes)?;
            part.bytes += pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        }
        Ok(())
    }

    /// The envelope that was streamed is whole: in a file of its own it has no newline.
    pub fn end_line(&mut self) -> io::Result<()> {
        if let (Layout::Record, Some(file), Some(part)) = (self.layout, &mut self.open, self.parts.last_mut()) {
            part.bytes -= 1;
            file.truncate(part.bytes)?;
        }
        Ok(())
    }

    /// How much was written.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    /// The names that readers will see.
    pub fn names(&self) -> Vec<String> {
        self.parts.iter().map(|part| self.name(*part)).collect()
    }

    /// Records and bytes of each file.
    pub fn sizes(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.parts.iter().map(|part| (part.batch.records, part.bytes))
    }

    fn name(&self, part: Part) -> String {
        match self.layout {
            Layout::Batch => part.batch.name(),
            Layout::Record => single(part.batch.first),
        }
    }

    /// Makes bytes and names durable. A failure is final.
    pub fn sync(&mut self, disk: &dyn Disk) -> io::Result<()> {
        match &mut self.open {
            Some(file) => file.sync()?,
            // A failed writing back is told to the first handle that asks, also to one that was opened since.
            None => {
                for part in &self.parts {
                    disk.open(&pending(part.batch.temporary()), false)?.sync()?;
                }
            }
        }
        disk.sync_dir(Path::new(PENDING))
    }

    /// After the commit: makes the files visible, oldest first. Tried twice; that one is visible already is success.
    pub fn publish(mut self, disk: &dyn Disk) -> io::Result<()> {
        // Not locked any more when a reader sees it. Since it is in the ledger, a start would not remove it.
        self.open = None;
        for part in &self.parts {
            let (from, to) = (pending(part.batch.temporary()), pending(self.name(*part)));
            let rename = || match disk.rename(&from, &to) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && disk.meta(&to).is_ok() => Ok(()),
                other => other,
            };
            rename().or_else(|_| rename())?;
        }
        Ok(())
    }

    /// Without a commit: removes the files.
    pub fn discard(self, disk: &dyn Disk) -> io::Result<()> {
        let unlink = |part: &Part| disk.unlink(&pending(part.batch.temporary()));
        self.parts.iter().try_for_each(unlink)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::disk::SimDisk;
    use crate::pure::record::push_foreign;

    #[test]
    fn each_record_has_its_file_wherever_pieces_end() {
        let ulids: Vec<_> = (1..=3).map(|number| ulid::Ulid::from_parts(number, 7)).collect();
        let mut all = Vec::new();
        let mut begins = vec![0];
        for ulid in &ulids {
            push_foreign(&mut all, *ulid, "T", format!("{{\"of\":\"{ulid}\"}}").as_bytes());
            begins.push(all.len());
        }
        for cut in (64..all.len()).filter(|cut| begins.iter().all(|begin| !(*begin..begin + 64).contains(cut))) {
            let disk = SimDisk::new();
            disk.create_dir(Path::new(PENDING)).unwrap();
            let batch = Batch {
                first: ulids[0],
                records: 3,
            };
            let pieces = [&all[..cut], &all[cut..]];
            let files = Outgoing::write_all(&disk, batch, &pieces, Layout::Record).unwrap();
            files.publish(&disk).unwrap();
            for (ulid, begin) in ulids.iter().zip(begins.windows(2)) {
                let mut found = Vec::new();
                let mut reader = disk.read_from(&pending(single(*ulid)), 0).unwrap();
                reader.read_to_end(&mut found).unwrap();
                assert_eq!(found, all[begin[0]..begin[1] - 1], "cut at {cut}");
            }
        }
    }
}
