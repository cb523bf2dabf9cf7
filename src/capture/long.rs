//! A line that does not fit in memory: streamed from its file into a batch of its own.

use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::entries::{At, settled_entry};
use super::open::Run;
use super::{Capture, Oversized, measure};
use crate::disk::{Disk, Space, is_full};
use crate::error::Error;
use crate::event::Event;
use crate::limits::{LONG_LINE_RETRY, PIECE_BYTES, READ_BYTES};
use crate::pure::identity::Evidence;
use crate::pure::name::Batch;
use crate::pure::record::{Ending, Envelopes, SettledTail, Traits, appended_at, push_escaped};
use crate::pure::role::{RoleScanner, is_json_stream};
use crate::queue::depth::disk_is_full;
use crate::queue::outgoing::{Layout, Outgoing};
use crate::source::{Changed, LongLine};

/// Why streaming stopped.
enum Stopped {
    /// The batch could not be written.
    Disk(io::Error),
    /// It would take from what is kept free.
    NoRoom,
    /// The source could not be read, or was not the same in two readings.
    Source,
}

/// A batch that stops growing where the reserve of the disk begins.
struct Guarded<'a> {
    disk: &'a dyn Disk,
    file: Outgoing,
    unchecked_bytes: usize,
}

impl Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Stopped> {
        self.unchecked_bytes += bytes.len();
        if self.unchecked_bytes > READ_BYTES {
            self.unchecked_bytes = 0;
            if !leaves_reserve(self.disk, 0) {
                return Err(Stopped::NoRoom);
            }
        }
        Ok(self.file.write(bytes)?)
    }
}

/// Whether the disk is not full after this many bytes more. One that does not tell is not.
fn leaves_reserve(disk: &dyn Disk, bytes: u64) -> bool {
    disk.space().map_or(true, |space| {
        !disk_is_full(Space {
            free: space.free.saturating_sub(bytes),
            ..space
        })
    })
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// What was learnt of a line by reading it once.
struct Reading {
    hash: blake3::Hasher,
    length: u64,
    utf8: bool,
    role: RoleScanner,
}

/// What became of a long line.
pub(super) enum Long {
    /// It is committed. The evidence behind it, unless it has no newline.
    Taken(Option<Evidence>, SettledTail),
    NoRoom,
    Changed,
}

impl Capture {
    /// Captures a long line as a commit of its own. Nothing else is open.
    pub(super) fn capture_long(&mut self, line: &dyn LongLine) -> Result<Long, Error> {
        let tried = self.oversized.get(&line.file().file_id);
        let tried = tried.filter(|tried| {
            (tried.offset, tried.length, tried.opening) == (line.offset(), line.length(), line.opening())
        });
        // In its envelope it is longer than in its log.
        let needed_bytes = tried.map_or(0, |tried| tried.needed_bytes).max(line.length());
        let too_soon = tried.is_some_and(|tried| self.clock.now() < tried.retry_at);
        if too_soon || !leaves_reserve(&*self.disk, needed_bytes) {
            return Ok(Long::NoRoom);
        }
        if !leaves_reserve(&*self.disk, measure::worst(line.length())) {
            // Rather one reading more than a disk that is filled in vain.
            let reserve_stays = |bytes| leaves_reserve(&*self.disk, bytes);
            match measure::too_many(line, reserve_stays) {
                Ok(None) => {}
                Ok(Some(bytes)) => return Ok(self.oversized(line, bytes)),
                Err(_) => return Ok(Long::Changed),
            }
        }
        let at = self.clock.utc();
        let ulid = self.ulids.fresh(self.clock.unix_ms());
        let batch = Batch {
            first: ulid,
            records: 1,
        };
        let file = match Outgoing::begin(&*self.disk, batch, self.options.layout) {
            Ok(file) => file,
            Err(cause) if is_full(&cause) => return Ok(self.oversized(line, 0)),
            Err(cause) => return Err(self.latch("cannot make the batch", Some(&batch.temporary()), cause)),
        };
        let mut out = Guarded {
            disk: &*self.disk,
            file,
            unchecked_bytes: 0,
        };
        let ending = Ending {
            terminated: line.terminated(),
            replaces: line.settled().map(|settled| settled.ulid),
        };
        let streamed = stream(line, &mut out, ulid, &appended_at(at), ending);
        let mut file = out.file;
        let streamed = streamed.and_then(|hash| Ok(file.end_line().map(|()| hash)?));
        let written_bytes = file.bytes();
        let (hasher, evidence) = match (streamed, line.check()) {
            (Ok(hasher), Ok(evidence)) => (hasher, evidence),
            (streamed, _) => {
                if let Err(cause) = file.discard(&*self.disk) {
                    return Err(self.latch("cannot remove the batch", Some(&batch.temporary()), cause));
                }
                return match streamed {
                    Ok(_) | Err(Stopped::Source) => Ok(Long::Changed),
                    Err(Stopped::Disk(cause)) if !is_full(&cause) => {
                        Err(self.latch("cannot write the batch", Some(&batch.temporary()), cause))
                    }
                    Err(Stopped::NoRoom | Stopped::Disk(_)) => Ok(self.oversized(line, written_bytes)),
                };
            }
        };
        let tail = SettledTail {
            ulid,
            length: line.length(),
            hash: hasher.finalize(),
        };
        let of_batch = Some(ulid).filter(|_| self.options.layout == Layout::Batch);
        if line.terminated() {
            let mut run = run_of(line, hasher, evidence);
            (run.lines, run.first, run.last) = (1, Some(ulid), Some(ulid));
            self.open.entries.extend(run.entry(of_batch));
        } else {
            let entry = settled_entry(line.file(), &tail, &At::of(line), of_batch, ending.replaces);
            self.open.entries.push(entry);
        }
        if self.observer.is_some() {
            let event = Event::of_line(line.file(), line.offset(), line.length(), None, ending, at);
            self.open.events.push(event);
        }
        if self.commit_with(file)? {
            self.oversized.remove(&line.file().file_id);
            return Ok(Long::Taken(evidence, tail));
        }
        self.open.clear();
        Ok(self.oversized(line, written_bytes))
    }

    /// Takes a long line that was captured before it had its newline, if it is still that line: no record, only
    /// its run.
    pub(super) fn take_known(&mut self, line: &dyn LongLine) -> Result<Option<Evidence>, Changed> {
        let Some(settled) = line.settled().filter(|settled| settled.length == line.length()) else {
            return Ok(None);
        };
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(line.read()).map_err(|_| Changed)?;
        let evidence = line.check()?;
        if hasher.finalize() != settled.hash {
            return Ok(None);
        }
        self.open.close_run();
        let mut run = run_of(line, hasher, evidence);
        run.settled = Some(settled.ulid);
        self.open.entries.extend(run.entry(None));
        Ok(evidence)
    }

    /// Remembers that a line did not fit, so that it is not written again before there is more room, nor before a
    /// minute has passed: what a disk says to be free counts neither quotas nor what it takes beside the bytes.
    fn oversized(&mut self, line: &dyn LongLine, needed_bytes: u64) -> Long {
        let oversized = Oversized {
            offset: line.offset(),
            length: line.length(),
            opening: line.opening(),
            needed_bytes,
            retry_at: self.clock.now() + LONG_LINE_RETRY,
        };
        self.oversized.insert(line.file().file_id, oversized);
        Long::NoRoom
    }
}

/// The run that is one line with its newline, of which `hasher` has seen all but that.
fn run_of(line: &dyn LongLine, mut hasher: blake3::Hasher, evidence: Option<Evidence>) -> Run {
    hasher.update(b"\n");
    let mut run = Run::begin(line.file(), line.offset(), line.number());
    run.mtime = line.mtime();
    run.to = line.offset() + line.length() + 1;
    (run.hasher, run.evidence) = (hasher, evidence);
    run
}

/// Writes the envelope of `line`; returns the hash of the line.
fn stream(
    line: &dyn LongLine,
    out: &mut Guarded<'_>,
    ulid: ulid::Ulid,
    stamp: &str,
    ending: Ending,
) -> Result<blake3::Hasher, Stopped> {
    let mut scratch = Vec::with_capacity(2 * PIECE_BYTES);
    Envelopes::open(&mut scratch, ulid, stamp);
    let reading = escape_into(line, out, &mut scratch)?;
    if reading.length != line.length() {
        return Err(Stopped::Source);
    }
    let traits = if reading.utf8 {
        let json = is_json_again(line, &reading.hash)?;
        let role = if json { reading.role.finish() } else { None };
        scratch.push(b'"');
        Traits { json, role }
    } else {
        Envelopes::between_forms(&mut scratch);
        base64_into(line, out, &mut scratch, &reading.hash)?;
        scratch.push(b'"');
        Traits {
            json: false,
            role: None,
        }
    };
    let envelopes = Envelopes::of(line.file());
    let (offset, length, number) = (line.offset(), line.length(), line.number());
    envelopes.close(&mut scratch, offset, length, number, traits, ending);
    out.write(&scratch)?;
    Ok(reading.hash)
}

/// Whether the line is JSON, by a second reading, which must give the bytes of the first one.
fn is_json_again(line: &dyn LongLine, expected: &blake3::Hasher) -> Result<bool, Stopped> {
    let mut hashed = Hashed {
        source: line.read(),
        hash: blake3::Hasher::new(),
    };
    let text = io::BufReader::with_capacity(PIECE_BYTES, &mut hashed);
    let json = is_json_stream(text).map_err(|_| Stopped::Source)?;
    // What is no JSON is not read to its end.
    let mut piece = vec![0; PIECE_BYTES];
    while fill(&mut hashed, &mut piece).map_err(|_| Stopped::Source)? == piece.len() {}
    if hashed.hash.finalize() == expected.finalize() {
        Ok(json)
    } else {
        Err(Stopped::Source)
    }
}

struct Hashed<R> {
    source: R,
    hash: blake3::Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(bytes)?;
        self.hash.update(&bytes[..read]);
        Ok(read)
    }
}

/// Writes the text of `surface`, with U+FFFD for what is not UTF-8.
fn escape_into(line: &dyn LongLine, out: &mut Guarded<'_>, scratch: &mut Vec<u8>) -> Result<Reading, Stopped> {
    let mut source = line.read();
    let mut reading = Reading {
        hash: blake3::Hasher::new(),
        length: 0,
        utf8: true,
        role: RoleScanner::default(),
    };
    let mut piece = vec![0; PIECE_BYTES];
    let mut kept = 0;
    loop {
        let read = source.read(&mut piece[kept..]).map_err(|_| Stopped::Source)?;
        let fresh = &piece[kept..kept + read];
        reading.hash.update(fresh);
        reading.length += read as u64;
        reading.role.feed(fresh);
        let filled = kept + read;
        // A character may be cut off by the end of the piece; its bytes go to the front of the next one.
        let ready = if read == 0 {
            filled
        } else {
            filled - cut_off(&piece[..filled])
        };
        for chunk in piece[..ready].utf8_chunks() {
            push_escaped(scratch, chunk.valid());
            if !chunk.invalid().is_empty() {
                scratch.extend_from_slice("\u{fffd}".as_bytes());
                reading.utf8 = false;
            }
        }
        out.write(scratch)?;
        scratch.clear();
        if read == 0 {
            return Ok(reading);
        }
        piece.copy_within(ready..filled, 0);
        kept = filled - ready;
    }
}

/// How many bytes at the end may be the beginning of a character.
fn cut_off(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let invalid = last.map_or(&[][..], |chunk| chunk.invalid());
    match str::from_utf8(invalid) {
        Err(error) if error.error_len().is_none() => invalid.len(),
        _ => 0,
    }
}

fn base64_into(
    line: &dyn LongLine,
    out: &mut Guarded<'_>,
    scratch: &mut Vec<u8>,
    expected: &blake3::Hasher,
) -> Result<(), Stopped> {
    let mut source = line.read();
    let mut hash = blake3::Hasher::new();
    // A whole number of triples, so that pieces can be encoded one by one.
    let mut piece = vec![0; PIECE_BYTES / 3 * 3];
    loop {
        let filled = fill(&mut source, &mut piece).map_err(|_| Stopped::Source)?;
        hash.update(&piece[..filled]);
        scratch.extend_from_slice(STANDARD.encode(&piece[..filled]).as_bytes());
        out.write(scratch)?;
        scratch.clear();
        if filled < piece.len() {
            break;
        }
    }
    if hash.finalize() == expected.finalize() {
        Ok(())
    } else {
        Err(Stopped::Source)
    }
}

/// Reads until the piece is full or the source ends.
fn fill(source: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match source.read(&mut piece[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_beginning_of_a_character_is_cut_off() {
        for (bytes, expected) in [
            (&b"abc"[..], 0),
            (b"ab\xe2\x80", 2),
            (b"ab\xff", 0),
            (b"ab\xf0\x9f\x98", 3),
            (b"ab\xe2\x28", 0),
            (b"", 0),
        ] {
            assert_eq!(cut_off(bytes), expected, "{bytes:?}");
        }
    }
}
