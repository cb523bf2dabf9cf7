//! The script that is written, as it comes.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::TEMPORARY;
use super::files::Tracked;
use super::plan::Step;
use super::shadow::{Change, Shadow};
use crate::error::{Error, ErrorKind};
use crate::limits::RECORD_PIECE_BYTES;
use crate::pure::scrub::{Scrubber, Secret};
use crate::replay::{EXPECT, Head, Operation, SCRIPT};

/// What a symlink points to that leads out of the tree: nothing.
const OUTSIDE: &str = "outside-of-the-recorded-tree";

/// A script that grows.
pub(super) struct ScriptFile {
    path: PathBuf,
    out: BufWriter<File>,
    secret: Option<Secret>,
    /// Lines but the head and the looks.
    pub(super) operations: u64,
    /// Looks.
    pub(super) looks: u64,
}

impl ScriptFile {
    /// Makes the fixture, which only this user can read, with a script that holds no more than its head.
    pub(super) fn create(fixture: &Path, head: &Head, secret: Option<Secret>) -> Result<Self, Error> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(fixture);
        made.map_err(|cause| Error::io("cannot make", fixture, cause))?;
        let mut entries = std::fs::read_dir(fixture).map_err(|cause| Error::io("cannot list", fixture, cause))?;
        if entries.next().is_some() {
            return Err(Error::new(
                ErrorKind::Usage,
                "the directory of a recording must be empty or missing:",
            )
            .at(fixture)
            .because("there is something in it")
            .hint("name another one with --out DIR"));
        }
        private(&fixture.join(EXPECT))?;
        let path = fixture.join(SCRIPT);
        let mut this = Self {
            out: BufWriter::new(private(&path)?),
            path,
            secret,
            operations: 0,
            looks: 0,
        };
        this.line(head)?;
        Ok(this)
    }

    fn line(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let written = serde_json::to_writer(&mut self.out, line).map_err(io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        written.map_err(|cause| Error::io("cannot write", &self.path, cause))
    }

    /// Writes an operation.
    pub(super) fn operation(&mut self, operation: &Operation) -> Result<(), Error> {
        match operation {
            Operation::Look => self.looks += 1,
            _ => self.operations += 1,
        }
        self.line(operation)
    }

    /// Makes sure that everything up to now is in the file.
    pub(super) fn flush(&mut self) -> Result<(), Error> {
        let flushed = self.out.flush();
        flushed.map_err(|cause| Error::io("cannot write", &self.path, cause))
    }

    /// The path as the script says it.
    pub(super) fn path(&self, path: &str) -> String {
        let Some(secret) = &self.secret else {
            return path.to_owned();
        };
        let scrubbed = path.split('/').map(|name| match name {
            "." | ".." | "" => name.to_owned(),
            name if name.starts_with(TEMPORARY) => name.to_owned(),
            name => secret.name(name),
        });
        scrubbed.collect::<Vec<_>>().join("/")
    }

    /// Writes a step of names. A file that is made comes with its content.
    pub(super) fn step(&mut self, step: &Step, tracked: Option<&mut Tracked>) -> Result<(), Error> {
        let operation = match step {
            Step::Create { at, .. } => {
                return match tracked {
                    Some(tracked) => self.content(at, tracked, Change::Rewrite),
                    None => Ok(()),
                };
            }
            Step::Mkdir(path) => Operation::Mkdir { path: self.path(path) },
            Step::Remove(path) => Operation::Remove { path: self.path(path) },
            Step::Rename { from, to } => Operation::Rename {
                from: self.path(from),
                to: self.path(to),
            },
            Step::Hardlink { from, to } => Operation::Hardlink {
                from: self.path(from),
                to: self.path(to),
            },
            Step::Symlink { path, target } => self.symlink(path, target),
        };
        self.operation(&operation)
    }

    /// One that leads out of the tree leads nowhere in the script.
    fn symlink(&self, path: &str, target: &str) -> Operation {
        let points_to = |target: String| Operation::Symlink {
            path: self.path(path),
            target,
        };
        let operation = points_to(self.path(target));
        match operation.check() {
            Ok(()) => operation,
            Err(_) => points_to(OUTSIDE.into()),
        }
    }

    /// Writes what changed in a file that has this path.
    pub(super) fn change(&mut self, path: &str, tracked: &mut Tracked) -> Result<(), Error> {
        let change = std::mem::replace(&mut tracked.change, Change::None);
        self.content(path, tracked, change)
    }

    fn content(&mut self, path: &str, tracked: &mut Tracked, change: Change) -> Result<(), Error> {
        tracked.change = Change::None;
        let path = self.path(path);
        match change {
            Change::None => Ok(()),
            Change::Append(from) => self.bytes(&path, tracked, from),
            Change::Truncate(size) => {
                if let Some(secret) = &self.secret {
                    tracked.scrubber = Some(scrubber_at(&tracked.shadow, size, secret)?);
                }
                self.operation(&Operation::Truncate { path, size })
            }
            Change::Rewrite => {
                tracked.scrubber = self.secret.as_ref().map(Scrubber::new);
                self.bytes(&path, tracked, 0)
            }
        }
    }

    /// Writes the content from an offset on, in pieces; the first piece from 0 on replaces what is there.
    fn bytes(&mut self, path: &str, tracked: &mut Tracked, from: u64) -> Result<(), Error> {
        let mut bytes = vec![0; RECORD_PIECE_BYTES];
        let mut at = from;
        loop {
            let read = tracked.shadow.read(&mut bytes, at)?;
            let is_last = at + read as u64 >= tracked.shadow.size();
            let piece = &mut bytes[..read];
            let piece = if is_last { piece } else { whole_characters(piece) };
            let next = at + piece.len() as u64;
            if let Some(scrubber) = &mut tracked.scrubber {
                scrubber.scrub(piece);
            }
            let operation = match at {
                0 => Operation::write(path, piece),
                _ => Operation::append(path, piece),
            };
            self.operation(&operation)?;
            if is_last {
                return Ok(());
            }
            at = next;
        }
    }
}

/// A piece without the beginning of a character at its end, so that it can be written as text.
fn whole_characters(piece: &mut [u8]) -> &mut [u8] {
    let length = match str::from_utf8(piece) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        _ => piece.len(),
    };
    &mut piece[..length]
}

/// Where scrubbing is at an offset.
fn scrubber_at(shadow: &Shadow, offset: u64, secret: &Secret) -> Result<Scrubber, Error> {
    let mut bytes = vec![0; RECORD_PIECE_BYTES];
    let mut begin = offset;
    while begin > 0 {
        let length = usize::try_from(begin).map_or(bytes.len(), |begin| begin.min(bytes.len()));
        begin -= length as u64;
        shadow.read(&mut bytes[..length], begin)?;
        if let Some(at) = memchr::memrchr(b'\n', &bytes[..length]) {
            begin += at as u64 + 1;
            break;
        }
    }
    let mut scrubber = Scrubber::new(secret);
    while begin < offset {
        let length = usize::try_from(offset - begin).map_or(bytes.len(), |left| left.min(bytes.len()));
        shadow.read(&mut bytes[..length], begin)?;
        scrubber.scrub(&mut bytes[..length]);
        begin += length as u64;
    }
    Ok(scrubber)
}

/// How many lines a file has.
pub(super) fn count_lines(path: &Path) -> Result<u64, Error> {
    let failed = |cause| Error::io("cannot read", path, cause);
    let mut file = File::open(path).map_err(failed)?;
    let mut bytes = vec![0; RECORD_PIECE_BYTES];
    let mut count = 0;
    loop {
        match file.read(&mut bytes).map_err(failed)? {
            0 => return Ok(count),
            read => count += memchr::memchr_iter(b'\n', &bytes[..read]).count() as u64,
        }
    }
}

/// A new file that only this user can read.
fn private(path: &Path) -> Result<File, Error> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|cause| Error::io("cannot make", path, cause))
}
