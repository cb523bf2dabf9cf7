//! Compares what was captured with the manifest: each record's file, place, bytes and order.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::manifest::Manifest;

/// Findings that are told one by one.
const TOLD_MAX: usize = 10;

/// What came out of a comparison.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) records: u64,
    /// Lines that were not captured.
    pub(crate) missing: u64,
    /// Records of no line of the corpus, and of lines that were captured before.
    pub(crate) extra: u64,
    pub(crate) doubled: u64,
    /// Other bytes, another length or another number of the line than the manifest says.
    pub(crate) changed: u64,
    /// JSON that was called none, or the other way.
    pub(crate) misjudged: u64,
    /// Records that came before an earlier one of the same file.
    pub(crate) disordered: u64,
    /// The first findings, in words.
    pub(crate) told: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        [
            self.missing,
            self.extra,
            self.doubled,
            self.changed,
            self.misjudged,
            self.disordered,
        ] == [0; 6]
    }

    fn tell(&mut self, text: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(text);
        }
    }
}

#[derive(Deserialize)]
struct Envelope {
    record: Record,
}

#[derive(Deserialize)]
struct Record {
    surface: String,
    surface_base64: Option<String>,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    path: String,
    offset: u64,
    length: u64,
    line: Option<u64>,
    terminated: bool,
    json: bool,
}

/// One file while it is compared.
struct Log {
    /// Its place in the manifest.
    entry: usize,
    /// Offsets of its lines, and which of them were seen.
    offsets: Vec<u64>,
    is_seen: Vec<bool>,
    last: Option<usize>,
}

/// A comparison under way.
pub(crate) struct Check<'a> {
    manifest: &'a Manifest,
    root: PathBuf,
    logs: Vec<Log>,
    by_path: HashMap<&'a str, usize>,
    verdict: Verdict,
}

impl<'a> Check<'a> {
    /// With a corpus that stands at `root`.
    pub(crate) fn new(manifest: &'a Manifest, root: PathBuf) -> Self {
        let mut check = Self {
            manifest,
            root,
            logs: Vec::new(),
            by_path: HashMap::new(),
            verdict: Verdict::default(),
        };
        for (place, entry) in manifest.entries.iter().enumerate() {
            if entry.captured && entry.same_as.is_none() {
                check.by_path.insert(&entry.path, check.logs.len());
                let mut end = 0;
                let marks = marks(manifest, place);
                let offsets: Vec<u64> = marks.iter().map(|mark| (end, end += mark.length() + 1).0).collect();
                let is_seen = vec![false; offsets.len()];
                check.logs.push(Log {
                    entry: place,
                    offsets,
                    is_seen,
                    last: None,
                });
            }
        }
        for entry in &manifest.entries {
            if let Some(&log) = entry.same_as.as_deref().and_then(|path| check.by_path.get(path)) {
                check.by_path.insert(&entry.path, log);
            }
        }
        check
    }

    /// All batches that wait in a home, the oldest first.
    pub(crate) fn home(&mut self, home: &Path) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(home.join("pending"))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_whole = path
                .extension()
                .is_some_and(|ending| ending == "jsonl" || ending == "json");
            if name.starts_with("pending-") && is_whole {
                names.push(path);
            }
        }
        names.sort();
        names
            .iter()
            .try_for_each(|path| self.envelopes(&mut BufReader::with_capacity(1 << 20, File::open(path)?)))
    }

    /// Envelopes, one a line.
    pub(crate) fn envelopes(&mut self, input: &mut dyn BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        while input.read_until(b'\n', &mut line)? > 0 {
            self.envelope(&line)?;
            line.clear();
        }
        Ok(())
    }

    fn envelope(&mut self, json: &[u8]) -> io::Result<()> {
        let Record {
            surface,
            surface_base64,
            source,
        } = serde_json::from_slice::<Envelope>(json)?.record;
        let bytes = match surface_base64 {
            Some(text) => STANDARD.decode(text).map_err(io::Error::other)?,
            None => surface.into_bytes(),
        };
        self.verdict.records += 1;
        self.record(&source, &bytes);
        Ok(())
    }

    fn record(&mut self, source: &Source, bytes: &[u8]) {
        let place = format!("{} at {}", source.path, source.offset);
        let path = Path::new(&source.path)
            .strip_prefix(&self.root)
            .ok()
            .and_then(Path::to_str);
        let log = path.and_then(|path| self.by_path.get(path)).copied();
        let at = log.and_then(|log| Some((log, self.logs[log].offsets.binary_search(&source.offset).ok()?)));
        let Some((log, at)) = at else {
            self.verdict.extra += 1;
            return self.verdict.tell(format!("no such line: {place}"));
        };
        let log = &mut self.logs[log];
        let mark = marks(self.manifest, log.entry)[at];
        if !mark.is_captured() {
            self.verdict.extra += 1;
            return self.verdict.tell(format!("no line to be captured: {place}"));
        }
        if log.is_seen[at] {
            self.verdict.doubled += 1;
            return self.verdict.tell(format!("captured before: {place}"));
        }
        log.is_seen[at] = true;
        if log.last.is_some_and(|last| last > at) {
            self.verdict.disordered += 1;
            self.verdict.tell(format!("after a later line: {place}"));
        }
        log.last = Some(at);
        let is_line = mark.is_of(bytes) && source.length == mark.length() && source.terminated == mark.is_ended();
        if !is_line || source.line.is_some_and(|line| line != at as u64 + 1) {
            self.verdict.changed += 1;
            self.verdict.tell(format!("not the line that it was: {place}"));
        }
        if source.json != mark.is_json() {
            self.verdict.misjudged += 1;
            self.verdict.tell(format!("json is {}: {place}", source.json));
        }
    }

    /// What is there to say, once everything was seen.
    pub(crate) fn finish(mut self) -> Verdict {
        for log in &self.logs {
            let marks = marks(self.manifest, log.entry);
            for (at, mark) in marks.iter().enumerate() {
                if mark.is_captured() && !log.is_seen[at] {
                    self.verdict.missing += 1;
                    let path = &self.manifest.entries[log.entry].path;
                    self.verdict.tell(format!("missing: {path} at {}", log.offsets[at]));
                }
            }
        }
        self.verdict
    }
}

/// The marks of one file.
fn marks(manifest: &Manifest, entry: usize) -> &[super::manifest::Mark] {
    let entry = &manifest.entries[entry];
    let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    manifest
        .marks
        .get(place(entry.mark)..place(entry.mark + entry.marks))
        .unwrap_or_default()
}
