//! A long line that is hashed while somebody else reads it.

use std::cell::RefCell;
use std::io::{self, Read};
use std::sync::Arc;

use jiff::Timestamp;

use crate::pure::identity::{Evidence, Window};
use crate::pure::record::{LogFile, SettledTail};
use crate::source::{Changed, LongLine};

/// The same line, and the hash of what the first whole reading gave out.
pub(super) struct Hashed<'a> {
    line: &'a dyn LongLine,
    hasher: RefCell<Option<blake3::Hasher>>,
}

impl<'a> Hashed<'a> {
    pub(super) fn of(line: &'a dyn LongLine) -> Self {
        Self {
            line,
            hasher: RefCell::default(),
        }
    }

    /// None when nobody read it to its end.
    pub(super) fn hasher(self) -> Option<blake3::Hasher> {
        self.hasher.into_inner()
    }
}

impl LongLine for Hashed<'_> {
    fn file(&self) -> &Arc<LogFile> {
        self.line.file()
    }

    fn offset(&self) -> u64 {
        self.line.offset()
    }

    fn length(&self) -> u64 {
        self.line.length()
    }

    fn mtime(&self) -> Timestamp {
        self.line.mtime()
    }

    fn number(&self) -> Option<u64> {
        self.line.number()
    }

    fn terminated(&self) -> bool {
        self.line.terminated()
    }

    fn settled(&self) -> Option<SettledTail> {
        self.line.settled()
    }

    fn opening(&self) -> Window {
        self.line.opening()
    }

    fn read(&self) -> Box<dyn Read + '_> {
        Box::new(Reading {
            reader: self.line.read(),
            left: self.line.length(),
            hasher: blake3::Hasher::new(),
            done: &self.hasher,
        })
    }

    fn check(&self) -> Result<Option<Evidence>, Changed> {
        self.line.check()
    }
}

struct Reading<'a> {
    reader: Box<dyn Read + 'a>,
    left: u64,
    hasher: blake3::Hasher,
    done: &'a RefCell<Option<blake3::Hasher>>,
}

impl Read for Reading<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(bytes)?;
        self.hasher.update(&bytes[..read]);
        self.left = self.left.saturating_sub(read as u64);
        if self.left == 0 && self.done.borrow().is_none() {
            self.done.replace(Some(self.hasher.clone()));
        }
        Ok(read)
    }
}
