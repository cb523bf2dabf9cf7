//! What a corpus holds, line by line: a table of files, and beside it a file of marks, 16 bytes a line.
//!
//! `OUT.manifest.jsonl` has a line about the corpus and then one a file, by path. `OUT.manifest.marks` has a mark for
//! each physical line, blank and unfinished ones included, file after file: length (u32, little-endian), flags (bit 0:
//! ends with LF, bit 1: valid JSON), and the first 11 bytes of the BLAKE3 of the line without its LF. Offsets are the
//! sums of the lengths. BLAKE3 and not SHA-256, since it is several times as fast.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

pub(crate) const MARK_BYTES: usize = 16;
const LF: u8 = 1;
const JSON: u8 = 2;

/// One physical line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark([u8; MARK_BYTES]);

impl Mark {
    fn of(line: &[u8], is_ended: bool) -> io::Result<Self> {
        let length = u32::try_from(line.len()).map_err(io::Error::other)?;
        let mut mark = [0; MARK_BYTES];
        mark[..4].copy_from_slice(&length.to_le_bytes());
        mark[4] = if is_ended { LF } else { 0 } | if is_json(line) { JSON } else { 0 };
        mark[5..].copy_from_slice(&blake3::hash(line).as_bytes()[..11]);
        Ok(Self(mark))
    }

    pub(crate) fn length(self) -> u64 {
        let [a, b, c, d, ..] = self.0;
        u32::from_le_bytes([a, b, c, d]).into()
    }

    pub(crate) fn is_ended(self) -> bool {
        self.0[4] & LF != 0
    }

    /// Whether there is a record of it: it is not empty, and it has its LF or is a whole object without.
    pub(crate) fn is_captured(self) -> bool {
        self.length() > 0 && (self.is_ended() || self.is_json())
    }

    pub(crate) fn is_json(self) -> bool {
        self.0[4] & JSON != 0
    }

    pub(crate) fn is_of(self, line: &[u8]) -> bool {
        self.length() == line.len() as u64 && self.0[5..] == blake3::hash(line).as_bytes()[..11]
    }
}

fn is_json(line: &[u8]) -> bool {
    str::from_utf8(line).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The marks of all lines of a file.
pub(crate) fn marks(bytes: &[u8]) -> io::Result<Vec<Mark>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| {
            line.strip_suffix(b"\n")
                .map_or_else(|| Mark::of(line, false), |text| Mark::of(text, true))
        })
        .collect()
}

/// One file of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Relative to the corpus.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Whether its lines are to be captured.
    pub(crate) captured: bool,
    /// Physical lines that end with LF, and how many of them are empty.
    pub(crate) lines: u64,
    pub(crate) blank: u64,
    /// Lines to be captured: those that are not blank, and a last one without LF that is a whole object.
    pub(crate) records: u64,
    /// Its first mark; 0 where nothing is captured.
    pub(crate) mark: u64,
    pub(crate) marks: u64,
    /// Of all bytes.
    pub(crate) blake3: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dirt: Option<String>,
    /// The file that this is another name of: its lines are captured once, from either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) same_as: Option<String>,
}

/// All of a corpus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) mebibytes: u64,
    pub(crate) seed: u64,
    pub(crate) files: u64,
    /// Bytes and lines of the files that are captured, and how many records there will be.
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) records: u64,
    /// Bytes of these records, each with a newline.
    pub(crate) raw_bytes: u64,
    /// Bytes of what stands beside the logs.
    pub(crate) beside_bytes: u64,
    /// Symlinks to directories of the corpus, which are not followed.
    pub(crate) symlinks: u64,
    /// Of the paths and hashes of all files.
    pub(crate) root: String,
}

pub(crate) struct Manifest {
    pub(crate) about: About,
    pub(crate) entries: Vec<Entry>,
    pub(crate) marks: Vec<Mark>,
}

impl Manifest {
    /// Of files by path, each with its marks.
    pub(crate) fn new(mebibytes: u64, seed: u64, symlinks: u64, files: Vec<(Entry, Vec<Mark>)>) -> Self {
        let mut root = blake3::Hasher::new();
        let (mut entries, mut all): (Vec<Entry>, Vec<Mark>) = (Vec::new(), Vec::new());
        for (mut entry, marks) in files {
            root.update(format!("{} {}\n", entry.blake3, entry.path).as_bytes());
            if !marks.is_empty() {
                entry.mark = all.len() as u64;
            }
            all.extend(marks);
            entries.push(entry);
        }
        let once = || entries.iter().filter(|entry| entry.captured && entry.same_as.is_none());
        let about = About {
            mebibytes,
            seed,
            files: once().count() as u64,
            bytes: once().map(|entry| entry.bytes).sum(),
            lines: once().map(|entry| entry.lines).sum(),
            records: once().map(|entry| entry.records).sum(),
            raw_bytes: raw(&all),
            beside_bytes: entries
                .iter()
                .filter(|entry| !entry.captured)
                .map(|entry| entry.bytes)
                .sum(),
            symlinks,
            root: root.finalize().to_hex().to_string(),
        };
        Self {
            about,
            entries,
            marks: all,
        }
    }

    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let mut table = BufWriter::new(File::create(path)?);
        writeln!(table, "{}", serde_json::to_string(&self.about)?)?;
        for entry in &self.entries {
            writeln!(table, "{}", serde_json::to_string(entry)?)?;
        }
        table.flush()?;
        let mut marks = BufWriter::new(File::create(marks_path(path))?);
        for mark in &self.marks {
            marks.write_all(&mark.0)?;
        }
        marks.flush()
    }

    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut lines = BufReader::new(File::open(path)?).lines();
        let about = lines.next().ok_or_else(|| io::Error::other("an empty manifest"))??;
        let about = serde_json::from_str(&about)?;
        let entries = lines
            .map(|line| Ok(serde_json::from_str(&line?)?))
            .collect::<io::Result<_>>()?;
        let bytes = std::fs::read(marks_path(path))?;
        let marks = bytes.as_chunks().0.iter().map(|mark| Mark(*mark)).collect();
        Ok(Self { about, entries, marks })
    }
}

/// Bytes of the records of these lines, each with a newline.
fn raw(marks: &[Mark]) -> u64 {
    let records = marks.iter().filter(|mark| mark.is_captured());
    records.map(|mark| mark.length() + 1).sum()
}

fn marks_path(manifest: &Path) -> PathBuf {
    manifest.with_extension("marks")
}
