//! What must, may and must not be delivered, by the text of each line: each line that is written has a text of its own.

use std::collections::{BTreeMap, BTreeSet};

/// What is asked of a line.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// It stood whole in a log while everything was looked at and committed.
    must: bool,
    /// How often it may be captured: once, and once more for each time that its file was changed otherwise than by
    /// appending while it stood there.
    max: u32,
    /// It was written in place of another one, where no look sees it: neither at the start of its file nor at the end of
    /// what is captured (docs/sources.md).
    hidden: bool,
}

/// A record as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) line: Vec<u8>,
    pub(crate) file: String,
    pub(crate) epoch: u64,
    pub(crate) offset: u64,
    pub(crate) terminated: bool,
}

#[derive(Default)]
pub(crate) struct Account {
    lines: BTreeMap<Vec<u8>, Asked>,
    /// Last lines without a newline, as logs ended with them at some time.
    tails: BTreeSet<Vec<u8>>,
    /// By ULID.
    delivered: BTreeMap<String, Record>,
}

/// The lines of a content that end with a newline and are not blank, and what follows the last newline.
fn parts(content: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let mut lines: Vec<_> = content.split(|byte| *byte == b'\n').collect();
    let tail = lines.pop().unwrap_or_default();
    lines.retain(|line| !line.is_empty());
    (lines, tail)
}

impl Account {
    /// A log has this content now. `more`: how often more each of its lines may be captured for what was done to it.
    pub(crate) fn written(&mut self, content: &[u8], more: u32) {
        let (lines, tail) = parts(content);
        for line in lines {
            let asked = self.lines.entry(line.to_vec()).or_insert(Asked {
                must: false,
                max: 1,
                hidden: false,
            });
            asked.max += more;
        }
        if let Some(asked) = self.lines.get_mut(tail) {
            // Cut just before its newline, it is a last line.
            asked.max += more;
        }
        if !tail.is_empty() {
            self.tails.insert(tail.to_vec());
        }
    }

    /// A line that was written may be where no look sees it.
    pub(crate) fn hidden(&mut self, line: &[u8]) {
        if let Some(asked) = self.lines.get_mut(line) {
            asked.hidden = true;
        }
    }

    /// A log with this content was looked at, and what was found is committed.
    pub(crate) fn looked_at(&mut self, content: &[u8]) {
        for line in parts(content).0 {
            if let Some(asked) = self.lines.get_mut(line) {
                asked.must |= !asked.hidden;
            }
        }
    }

    /// A record was handed out. One that comes again must be the same.
    pub(crate) fn delivered(&mut self, ulid: String, record: Record) -> Result<(), String> {
        if let Some(before) = self.delivered.get(&ulid).filter(|before| **before != record) {
            return Err(format!("{ulid} was {before:?} and is {record:?}"));
        }
        self.delivered.insert(ulid, record);
        Ok(())
    }

    pub(crate) fn records(&self) -> u64 {
        self.delivered.len() as u64
    }

    /// Everything was handed out.
    pub(crate) fn balance(&self) -> Result<(), String> {
        let mut counts = BTreeMap::<&[u8], u32>::new();
        let mut reached = BTreeMap::new();
        for (ulid, record) in &self.delivered {
            let is_tail = !record.terminated && self.tails.contains(&record.line);
            if !self.lines.contains_key(&record.line) && !is_tail {
                return Err(format!("nobody wrote {ulid} {record:?}"));
            }
            *counts.entry(&record.line).or_default() += 1;
            let place = (&record.file, record.epoch);
            let before = reached.insert(place, record.offset);
            if before.is_some_and(|before| before > record.offset) {
                return Err(format!("{ulid} {record:?} comes after offset {before:?}"));
            }
        }
        for (line, asked) in &self.lines {
            let count = counts.get(line.as_slice()).copied().unwrap_or(0);
            if count > asked.max || (count == 0 && asked.must) {
                let line = String::from_utf8_lossy(line);
                return Err(format!("delivered {count} times, {asked:?}: {line}"));
            }
        }
        Ok(())
    }
}
