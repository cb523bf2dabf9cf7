//! The model: what is captured of one file, and what the next look must capture of it.

/// The evidence windows.
const WINDOW: usize = 1024;

/// What is captured of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Known {
    /// The captured bytes, from the start of the file.
    pub(crate) bytes: Vec<u8>,
    /// Where each run ends, one for what was new at a look.
    runs: Vec<usize>,
    /// The last line, captured without its newline.
    settled: Option<Vec<u8>>,
    pub(crate) epoch: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Record {
    pub(crate) epoch: u64,
    pub(crate) offset: usize,
    pub(crate) line: Vec<u8>,
    pub(crate) terminated: bool,
    pub(crate) replaces: bool,
}

/// What a look comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Went {
    pub(crate) known: Known,
    pub(crate) records: Vec<Record>,
    /// What still stood of a file that was cut or rewritten: up to where, and from where again.
    pub(crate) cut: Option<(usize, Option<usize>)>,
}

impl Known {
    /// These bytes were captured, however.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Nothing is looked at.
    pub(crate) fn unchanged(&self) -> Went {
        Went {
            known: self.clone(),
            records: Vec::new(),
            cut: None,
        }
    }

    /// Whether a content is long enough, and the windows at its start and before the end of what is captured hold.
    pub(crate) fn holds(&self, content: &[u8]) -> bool {
        let end = self.bytes.len();
        let window = end.min(WINDOW);
        content.len() >= end
            && content[..window] == self.bytes[..window]
            && content[end - window..end] == self.bytes[end - window..]
    }

    /// A look that reads everything which is complete.
    pub(crate) fn read(&self, content: &[u8]) -> Went {
        let whole = content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut went = self.unchanged();
        let Went { known, records, cut } = &mut went;
        let old_end = self.bytes.len();
        if self.holds(content) {
            append(records, self, content, old_end..whole);
            known.bytes.extend_from_slice(&content[old_end..whole]);
        } else {
            let (kept, from) = self.stands(content);
            *cut = Some((kept, from));
            (known.epoch, known.settled) = (self.epoch + 1, None);
            known
                .runs
                .retain(|end| *end <= kept || from.is_some_and(|from| *end > from));
            known.bytes = content[..whole].to_vec();
            let plain = Self {
                settled: None,
                ..known.clone()
            };
            append(records, &plain, content, kept..from.unwrap_or(whole));
            known.runs.extend(from);
            if from.is_some() {
                append(records, &plain, content, old_end..whole);
            }
        }
        known.runs.extend((whole > 0).then_some(whole));
        known.runs.sort_unstable();
        known.runs.dedup();
        if known.bytes.len() != old_end {
            known.settled = None;
        }
        went
    }

    /// What still stands of the runs: up to where, and from where again.
    fn stands(&self, content: &[u8]) -> (usize, Option<usize>) {
        let (ends, end) = (&self.runs, self.bytes.len());
        let start = |run: usize| if run == 0 { 0 } else { ends[run - 1] };
        let equal = |run: usize| content.get(start(run)..ends[run]) == Some(&self.bytes[start(run)..ends[run]]);
        let first = (0..ends.len()).take_while(|run| equal(*run)).count();
        let guard = end - end.min(WINDOW)..end;
        if content.get(guard.clone()) != Some(&self.bytes[guard]) {
            return (start(first), None);
        }
        let last = (first..ends.len()).rev().take_while(|run| equal(*run)).count();
        let aligned = |run: &usize| start(*run) > 0 && content[start(*run) - 1] == b'\n';
        let suffix = (ends.len() - last..ends.len()).find(aligned);
        (start(first), suffix.map(start))
    }
}

impl Went {
    /// The same when the last line, which has no newline, counts as whole too; None when it does not.
    pub(crate) fn settled(&self, content: &[u8]) -> Option<Self> {
        let tail = content.get(self.known.bytes.len()..)?;
        let object = serde_json::from_slice::<serde_json::Map<_, serde_json::Value>>(tail).is_ok();
        if !object || self.known.settled.as_deref() == Some(tail) {
            return None;
        }
        let mut went = self.clone();
        went.records.push(Record {
            epoch: went.known.epoch,
            offset: went.known.bytes.len(),
            line: tail.to_vec(),
            terminated: false,
            replaces: went.known.settled.is_some(),
        });
        went.known.settled = Some(tail.to_vec());
        Some(went)
    }

    /// The same when a last line that was captured and still stands is not forgotten at a cut: the design does not say.
    pub(crate) fn remembering(&self, before: &Known, content: &[u8]) -> Option<Self> {
        let settled = before.settled.clone().filter(|_| self.cut.is_some())?;
        let stands = self.known.bytes.len() == before.bytes.len() && content[before.bytes.len()..] == settled;
        let mut went = self.clone();
        went.known.settled = Some(settled);
        stands.then_some(went)
    }
}

/// The lines in a stretch of a content; the first one may be captured already.
fn append(records: &mut Vec<Record>, known: &Known, content: &[u8], stretch: std::ops::Range<usize>) {
    let mut offset = stretch.start;
    for line in content[stretch.clone()].split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap();
        let settled = known.settled.as_deref().filter(|_| offset == stretch.start);
        if !text.is_empty() && settled != Some(text) {
            records.push(Record {
                epoch: known.epoch,
                offset,
                line: text.to_vec(),
                terminated: true,
                replaces: settled.is_some(),
            });
        }
        offset += line.len();
    }
}
