//! Readers of the queue that break off, and come while another one is at work.

use std::io::{self, Write};

use tailspool::disk::SimDisk;
use tailspool::queue::drain::{DrainOptions, DrainReport, Format, Output, drain};

pub(crate) fn drained(disk: &SimDisk, records_max: u64, taken: &mut Taken) -> Option<DrainReport> {
    let options = DrainOptions {
        format: Format::Envelope,
        records_max,
        peek: false,
    };
    drain(disk, options, taken, &mut ()).ok()
}

/// What a reader took.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) bytes: Vec<u8>,
    /// Its output fails after so many bytes.
    pub(crate) breaks_after: Option<usize>,
    /// Another reader comes once this one has its first bytes.
    pub(crate) beside: Option<SimDisk>,
    pub(crate) besides: Vec<u8>,
}

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self
            .breaks_after
            .map_or(usize::MAX, |after| after.saturating_sub(self.bytes.len()));
        if room == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let taken = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        if let Some(disk) = self.beside.take() {
            let mut other = Self::default();
            drained(&disk, u64::MAX, &mut other);
            self.besides = other.bytes;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output for Taken {
    fn writer(&mut self) -> &mut dyn Write {
        self
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}
