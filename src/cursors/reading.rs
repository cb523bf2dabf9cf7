//! Reading a snapshot piece by piece: its first line says everything but the files, each other line is one of them.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread::ScopedJoinHandle;

use serde::Deserialize;

use super::{CHECKSUM_KEY, FILES, TAIL_BYTES, VERSION};
use crate::limits::SNAPSHOT_PIECE_BYTES;
use crate::pure::fold::{FileState, Fold, row};

#[derive(Deserialize)]
struct Version {
    version: u64,
}

/// Lines of files, by their place among the pieces.
type Piece = (usize, Vec<u8>);
type Files = Vec<Box<FileState>>;
type Parsed = Vec<(usize, Result<Files, String>)>;

/// What a snapshot holds; None when it is one of an earlier version.
///
/// The error inside says why it is damaged.
pub(super) fn read(from: &mut dyn Read) -> io::Result<Result<Option<Fold>, String>> {
    let mut body = Body::of(from);
    body.fill()?;
    let head = Head::of(&mut body)?;
    let (ours, theirs) = match &head {
        Ok(Head::Fold(_)) if body.is_read => (vec![(0, parse(&body.lines()))], Vec::new()),
        Ok(Head::Fold(_)) => all_files(&mut body)?,
        Ok(Head::Earlier) | Err(_) => {
            body.skip()?;
            (Vec::new(), Vec::new())
        }
    };
    let whole = body.check();
    Ok(whole.and_then(|()| match head? {
        Head::Earlier => Ok(None),
        Head::Fold(fold) => with_files(*fold, ours, theirs).map(Some),
    }))
}

/// What its beginning says.
enum Head {
    Earlier,
    Fold(Box<Fold>),
}

impl Head {
    fn of(body: &mut Body<'_>) -> io::Result<Result<Self, String>> {
        if let Some(version) = version(&body.bytes)
            && (1..VERSION).contains(&version)
        {
            return Ok(Ok(Self::Earlier));
        }
        let Some(line) = body.first_line()? else {
            return Ok(Err("its first line has no end".into()));
        };
        Ok(Self::parse(line))
    }

    fn parse(mut line: Vec<u8>) -> Result<Self, String> {
        let head = line.strip_suffix(FILES).map(<[u8]>::len);
        line.truncate(head.ok_or("its first line does not end where the files begin")?);
        line.push(b'}');
        let failed = |error: serde_json::Error| error.to_string();
        let Version { version } = serde_json::from_slice(&line).map_err(failed)?;
        if version != VERSION {
            return Err(format!("its version is {version}, and {VERSION} is known"));
        }
        serde_json::from_slice(&line).map(Self::Fold).map_err(failed)
    }
}

/// The version, if that comes first.
fn version(bytes: &[u8]) -> Option<u64> {
    let digits = bytes.strip_prefix(br#"{"version":"#)?;
    let end = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    str::from_utf8(&digits[..end]).ok()?.parse().ok()
}

/// Reads to the end. A second thread parses what this one does not come to.
fn all_files(body: &mut Body<'_>) -> io::Result<(Parsed, Parsed)> {
    std::thread::scope(|scope| {
        let (pieces, to_parse) = sync_channel::<Piece>(2);
        let work = move || parse_all(&to_parse);
        let worker = std::thread::Builder::new()
            .name("snapshot".into())
            .spawn_scoped(scope, work);
        let mut ours = Vec::new();
        for place in 0.. {
            let piece = (place, body.lines());
            match pieces.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full((place, lines)) | TrySendError::Disconnected((place, lines))) => {
                    ours.push((place, parse(&lines)));
                }
            }
            if body.is_read {
                break;
            }
            body.fill()?;
        }
        drop(pieces);
        // Without a second thread all of it is ours.
        let theirs = worker.map_or_else(|_| Ok(Vec::new()), ScopedJoinHandle::join);
        let theirs = theirs.map_err(|_| io::Error::other("the thread that parsed it has ended"))?;
        Ok((ours, theirs))
    })
}

fn parse_all(pieces: &Receiver<Piece>) -> Parsed {
    pieces.iter().map(|(place, lines)| (place, parse(&lines))).collect()
}

/// The files of some lines. The last line of all closes the array.
fn parse(lines: &[u8]) -> Result<Files, String> {
    let lines = lines.split(|byte| *byte == b'\n');
    let rows = lines.map(|line| line.strip_suffix(b",").unwrap_or(line));
    let rows = rows.filter(|row| !matches!(row, [] | [b']']));
    rows.map(row::read).collect()
}

fn with_files(mut fold: Fold, ours: Parsed, theirs: Parsed) -> Result<Fold, String> {
    let mut all = ours;
    all.extend(theirs);
    all.sort_unstable_by_key(|(place, _)| *place);
    let mut files = Vec::new();
    for (_, piece) in all {
        files.extend(piece?.into_iter().map(|file| (file.file_id, file)));
    }
    fold.files = files.into_iter().collect();
    Ok(fold)
}

/// What stands before the checksum, hashed as it is read.
struct Body<'a> {
    from: &'a mut dyn Read,
    hasher: blake3::Hasher,
    /// What was read and not taken yet; the end of it may be the checksum.
    bytes: Vec<u8>,
    /// How many of them are hashed.
    hashed: usize,
    is_read: bool,
}

impl<'a> Body<'a> {
    fn of(from: &'a mut dyn Read) -> Self {
        Self {
            from,
            hasher: blake3::Hasher::new(),
            bytes: Vec::new(),
            hashed: 0,
            is_read: false,
        }
    }

    /// Reads one piece more.
    fn fill(&mut self) -> io::Result<()> {
        let before = self.bytes.len();
        let limit = SNAPSHOT_PIECE_BYTES as u64;
        self.bytes.reserve(SNAPSHOT_PIECE_BYTES);
        (&mut *self.from).take(limit).read_to_end(&mut self.bytes)?;
        self.is_read = self.bytes.len() - before < SNAPSHOT_PIECE_BYTES;
        let ready = self.bytes.len().saturating_sub(TAIL_BYTES);
        if ready > self.hashed {
            self.hasher.update(&self.bytes[self.hashed..ready]);
            self.hashed = ready;
        }
        Ok(())
    }

    /// Takes the first line, its newline left out.
    fn first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.bytes[..self.hashed]) {
                let mut line = self.take(end + 1);
                line.pop();
                return Ok(Some(line));
            }
            if self.is_read {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    /// Takes the whole lines that are there, at the end everything before the checksum.
    fn lines(&mut self) -> Vec<u8> {
        let last = memchr::memrchr(b'\n', &self.bytes[..self.hashed]);
        let end = if self.is_read {
            self.hashed
        } else {
            last.map_or(0, |last| last + 1)
        };
        self.take(end)
    }

    fn take(&mut self, end: usize) -> Vec<u8> {
        let rest = self.bytes.split_off(end);
        self.hashed -= end;
        std::mem::replace(&mut self.bytes, rest)
    }

    /// Reads what is left only to hash it.
    fn skip(&mut self) -> io::Result<()> {
        while !self.is_read {
            self.bytes.drain(..std::mem::take(&mut self.hashed));
            self.fill()?;
        }
        Ok(())
    }

    /// Whether the checksum holds, once everything was read.
    fn check(&self) -> Result<(), String> {
        let tail = &self.bytes[self.hashed..];
        if tail.len() < TAIL_BYTES {
            return Err("it is too short".into());
        }
        let checksum = tail
            .strip_prefix(CHECKSUM_KEY)
            .and_then(|tail| tail.strip_suffix(b"\"}\n"));
        let checksum = checksum.ok_or("it does not end with its checksum")?;
        if self.hasher.finalize().to_hex().as_bytes() == checksum {
            Ok(())
        } else {
            Err("its checksum does not hold".into())
        }
    }
}
