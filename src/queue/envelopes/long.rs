//! An envelope that is too long to be held: read as often as need be, and streamed.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use base64::read::DecoderReader;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Format, Refusal, WriteError, known_version};
use crate::disk::Disk;
use crate::limits::PIECE_BYTES;
use crate::pure::record::{END, SURFACE, SURFACE_BASE64};
use crate::queue::strings::{copy, is_utf8, skip_string, unescape};
use crate::show::json_error;

/// Where a long envelope is.
pub(super) struct LongEnvelope<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    start: u64,
    end: u64,
}

impl<'a> LongEnvelope<'a> {
    pub(super) fn at(disk: &'a dyn Disk, path: &'a Path, start: u64, length: u64) -> Self {
        Self {
            disk,
            path,
            start,
            end: start + length,
        }
    }

    /// Checks it and returns its ULID.
    pub(super) fn check(&self, format: Format) -> Result<String, Refusal> {
        #[derive(Deserialize)]
        struct Long {
            ulid: String,
            schema_version: u64,
            #[serde(rename = "record")]
            _record: IgnoredAny,
        }
        let mut end = Vec::new();
        self.stretch(self.end - END.len() as u64, self.end)?
            .read_to_end(&mut end)?;
        if self.record_start().is_err() || end != END.as_bytes() {
            let what = "an envelope of more than 8 MiB that was not written by tailspool";
            return Err(Refusal::Unreadable(io::Error::new(io::ErrorKind::Unsupported, what)));
        }
        if !is_utf8(&mut self.stretch(self.start, self.end)?)? {
            return Err(Refusal::Damaged("it is not UTF-8".into()));
        }
        let whole = self.stretch(self.start, self.end)?;
        let long: Long = serde_json::from_reader(whole).map_err(|error| {
            if error.is_io() {
                Refusal::Unreadable(error.into())
            } else {
                Refusal::Damaged(json_error(&error))
            }
        })?;
        known_version(long.schema_version)?;
        if format == Format::Raw {
            // What would break off in its middle is not begun.
            match self.write(format, &mut io::sink()) {
                Err(WriteError::Source(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(Refusal::NotRaw(error.to_string()));
                }
                Err(WriteError::Source(error) | WriteError::Output(error)) => return Err(error.into()),
                Ok(()) => {}
            }
        }
        Ok(long.ulid)
    }

    /// Streams it, with a newline. It has our layout.
    pub(super) fn write(&self, format: Format, out: &mut dyn Write) -> Result<(), WriteError> {
        match format {
            Format::Envelope => copy(&mut self.stretch(self.start, self.end)?, out)?,
            Format::Record => {
                let end = self.end - (END.len() as u64 - 1);
                copy(&mut self.stretch(self.record_start()?, end)?, out)?;
            }
            Format::Raw => self.write_raw(out)?,
        }
        out.write_all(b"\n").map_err(WriteError::Output)
    }

    fn write_raw(&self, out: &mut dyn Write) -> Result<(), WriteError> {
        let surface = self.record_start()? + SURFACE.len() as u64 - r#"","record":"#.len() as u64;
        let mut reader = self.stretch(surface, self.end)?;
        let length = skip_string(&mut reader)?;
        let mut next = vec![0; SURFACE_BASE64.len() - 1];
        reader.read_exact(&mut next)?;
        if next != SURFACE_BASE64.as_bytes()[1..] {
            return unescape(&mut self.stretch(surface, surface + length)?, out);
        }
        let start = surface + length + SURFACE_BASE64.len() as u64;
        let length = skip_string(&mut self.stretch(start, self.end)?)?;
        let text = self.stretch(start, start + length)?;
        let bytes = DecoderReader::new(text, &base64::engine::general_purpose::STANDARD);
        copy(&mut BufReader::with_capacity(PIECE_BYTES, bytes), out)
    }

    /// Offset of the `record` object.
    fn record_start(&self) -> io::Result<u64> {
        let mut head = Vec::new();
        self.stretch(self.start, self.end)?.take(256).read_to_end(&mut head)?;
        let at = memchr::memmem::find(&head, SURFACE.as_bytes());
        let at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it has not our layout"))?;
        Ok(self.start + (at + r#"","record":"#.len()) as u64)
    }

    /// The bytes from `start` to `end`. That there are fewer is an error.
    fn stretch(&self, start: u64, end: u64) -> io::Result<BufReader<Stretch>> {
        let stretch = Stretch {
            reader: self.disk.read_from(self.path, start)?,
            left: end - start,
        };
        Ok(BufReader::with_capacity(PIECE_BYTES, stretch))
    }
}

struct Stretch {
    reader: Box<dyn Read + Send>,
    left: u64,
}

impl Read for Stretch {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.by_ref().take(self.left).read(bytes)?;
        if read == 0 && self.left > 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}
