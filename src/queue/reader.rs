//! Who gets the records of a batch: a stream of bytes, or a function called with each.

use std::io::{self, Write};
use std::ops::Range;

use super::envelopes::{Checked, Format, WriteError};
use crate::pure::record::Envelope;

/// Where records go as bytes.
///
/// A batch, or the part of one that is handed out at a time, is `begin`, any number of writes, and then `settle`
/// or, if anything failed, `broke_off`.
pub trait Output {
    /// A batch begins.
    fn begin(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Takes bytes.
    fn writer(&mut self) -> &mut dyn Write;

    /// Makes sure that what was taken is with the reader, as far as that can be known. After this, and after `secure`
    /// where that is needed, it counts as delivered.
    fn settle(&mut self) -> io::Result<()>;

    /// Whether what was settled must be made durable before it counts as delivered: some batches together, since that
    /// takes about as long for many as for one.
    fn needs_securing(&self) -> bool {
        false
    }

    /// Makes durable what was settled.
    fn secure(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The same as `secure`, to be called by another thread while more is written: it makes durable what was settled before it
    /// is called. None where only `secure` does that.
    fn securing(&self) -> Option<Securing> {
        None
    }

    /// What could not be done when one of these fails, for the error.
    fn operation(&self) -> &'static str {
        "cannot write out the batch"
    }

    /// What was taken since `begin` does not count. Whether another batch can be taken.
    fn broke_off(&mut self) -> bool {
        false
    }
}

/// Makes durable what an output has taken.
pub type Securing = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// What a function that handles records may say went wrong.
pub type HandlerError = Box<dyn std::error::Error + Send + Sync>;

/// Why a reader did not get the rest of a batch.
pub(super) enum Broken {
    /// The reader went away, which is no failure; nothing more can be handed out.
    Gone,
    /// The reader failed.
    Reader(HandlerError),
    /// The file could not be read any more.
    Source(io::Error),
}

/// Who gets records.
pub(super) trait Reader {
    /// In which form they are checked before.
    fn format(&self) -> Format;

    /// Hands over the records of `range`, in order. `upto` hears of each place before which all were taken.
    fn take(&mut self, checked: &Checked<'_>, range: Range<usize>, upto: &mut dyn FnMut(usize)) -> Result<(), Broken>;

    /// As [`Output::needs_securing`].
    fn needs_securing(&self) -> bool {
        false
    }

    /// As [`Output::secure`].
    fn secure(&mut self) -> Result<(), Broken> {
        Ok(())
    }

    /// As [`Output::securing`].
    fn securing(&self) -> Option<Securing> {
        None
    }

    /// What could not be done when it fails.
    fn operation(&self) -> &'static str;

    /// After a failure: whether another batch can be handed over.
    fn goes_on(&mut self) -> bool;
}

/// A stream; a batch is taken as a whole.
pub(super) struct Stream<'a> {
    pub(super) output: &'a mut dyn Output,
    pub(super) format: Format,
}

impl Reader for Stream<'_> {
    fn format(&self) -> Format {
        self.format
    }

    fn take(&mut self, checked: &Checked<'_>, range: Range<usize>, upto: &mut dyn FnMut(usize)) -> Result<(), Broken> {
        let end = range.end;
        self.output.begin().map_err(|error| Broken::Reader(error.into()))?;
        checked
            .write(range, self.format, self.output.writer())
            .and_then(|()| self.output.settle().map_err(WriteError::Output))?;
        upto(end);
        Ok(())
    }

    fn needs_securing(&self) -> bool {
        self.output.needs_securing()
    }

    fn secure(&mut self) -> Result<(), Broken> {
        Ok(self.output.secure().map_err(WriteError::Output)?)
    }

    fn securing(&self) -> Option<Securing> {
        self.output.securing()
    }

    fn operation(&self) -> &'static str {
        self.output.operation()
    }

    fn goes_on(&mut self) -> bool {
        self.output.broke_off()
    }
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Self::Gone,
            WriteError::Output(error) => Self::Reader(error.into()),
            WriteError::Source(error) => Self::Source(error),
        }
    }
}

/// A function; each record is taken by itself.
pub(super) struct Handler<'a>(pub(super) &'a mut dyn FnMut(&Envelope<'_>) -> Result<(), HandlerError>);

impl Reader for Handler<'_> {
    fn format(&self) -> Format {
        Format::Envelope
    }

    fn take(&mut self, checked: &Checked<'_>, range: Range<usize>, upto: &mut dyn FnMut(usize)) -> Result<(), Broken> {
        let mut at = range.start;
        checked.each(range, &mut |json| {
            let envelope = Envelope::parse(json).map_err(|error| Broken::Source(error.into()))?;
            (self.0)(&envelope).map_err(Broken::Reader)?;
            at += 1;
            upto(at);
            Ok(())
        })
    }

    fn operation(&self) -> &'static str {
        "the handler did not take a record of the batch"
    }

    fn goes_on(&mut self) -> bool {
        true
    }
}
