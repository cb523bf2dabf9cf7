//! The run chain of a file: what stands captured of it, stretch by stretch, as the ledger tells it.

use serde::{Deserialize, Serialize};

use crate::pure::entry::Entry;
use crate::pure::identity::{Evidence, Window};

/// Captured bytes that were hashed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Offset of its first byte, where a line begins.
    pub from: u64,
    /// Offset of the byte after its last newline.
    pub to: u64,
    /// Physical lines in it.
    pub lines: u64,
    /// BLAKE3 of its bytes.
    pub hash: blake3::Hash,
}

/// The end of a chain that still stands behind a stretch which is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suffix {
    /// Offset of its first byte, where a line begins.
    pub from: u64,
    /// Offset of the byte after its last newline: the end of everything captured.
    pub to: u64,
    /// Physical lines in it.
    pub lines: u64,
    /// The guard beside `to`.
    pub guard: Window,
}

/// What still stands of a chain after a rewrite or a shrink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// End of the equal prefix: reading goes on from here.
    pub to: u64,
    /// Physical lines before it; None where they were never counted.
    pub lines: Option<u64>,
    /// The evidence beside it; None at 0.
    pub evidence: Option<Evidence>,
    /// The equal suffix.
    pub suffix: Option<Suffix>,
}

impl Kept {
    /// Nothing: everything is read again.
    pub const NOTHING: Self = Self {
        to: 0,
        lines: Some(0),
        evidence: None,
        suffix: None,
    };
}

/// The runs of one file that stand captured, in the order of their offsets.
///
/// They follow one another without overlap. A gap is what a rewrite touched and what is not read again yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The runs.
    pub runs: Vec<Run>,
}

impl Chain {
    /// Adds a ledger line of the file. One that cannot be read is left out, so that its bytes count as changed.
    pub fn apply(&mut self, entry: &Entry) {
        match entry {
            Entry::New(new) if new.continues.is_none() => self.runs.clear(),
            Entry::Captured(run) => {
                let Ok(hash) = blake3::Hash::from_hex(&run.blake3) else {
                    return;
                };
                let lines = run.physical_lines();
                let (from, to) = (run.from, run.to);
                self.insert(Run { from, to, lines, hash });
            }
            Entry::Truncate(cut) => self.cut(cut.kept, cut.kept_from),
            _ => {}
        }
    }

    /// Adds a run at its place.
    pub fn insert(&mut self, run: Run) {
        let at = self.runs.partition_point(|known| known.from < run.from);
        self.runs.insert(at, run);
    }

    /// Only what ends up to `kept`, and what begins from `kept_from` on, still stands.
    pub fn cut(&mut self, kept: u64, kept_from: Option<u64>) {
        self.runs
            .retain(|run| run.to <= kept || kept_from.is_some_and(|from| run.from >= from));
    }

    /// Physical lines of the runs below `to`.
    #[must_use]
    pub fn lines_below(&self, to: u64) -> u64 {
        let below = self.runs.iter().filter(|run| run.to <= to);
        below.fold(0, |lines, run| lines.saturating_add(run.lines))
    }
}

#[cfg(test)]
mod tests {
    use ulid::Ulid;

    use super::*;
    use crate::pure::entry::{Captured, Truncate};
    use crate::pure::step::Reason;

    fn captured(from: u64, to: u64) -> Entry {
        let window = Window::over(b"");
        Entry::Captured(Captured {
            file_id: Ulid::nil(),
            epoch: 0,
            session_id: String::new(),
            path: String::new(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: None,
            batch: None,
            first: None,
            last: None,
            from,
            to,
            line: Some(1),
            lines: 2,
            blank: 1,
            settled: None,
            blake3: blake3::hash(&to.to_le_bytes()).to_hex().to_string(),
            head: window,
            guard: window,
            mtime: None,
            cwd: None,
        })
    }

    fn cut(was: u64, kept: u64, kept_from: Option<u64>) -> Entry {
        Entry::Truncate(Truncate {
            file_id: Ulid::nil(),
            epoch: 1,
            path: String::new(),
            path_base64: None,
            reason: Reason::Rewritten,
            was,
            kept,
            kept_from,
            kept_lines: Some(0),
            kept_from_lines: None,
            head: None,
            guard: None,
        })
    }

    fn stretches(entries: &[Entry]) -> Vec<(u64, u64)> {
        let mut chain = Chain::default();
        for entry in entries {
            chain.apply(entry);
        }
        chain.runs.iter().map(|run| (run.from, run.to)).collect()
    }

    #[test]
    fn what_a_rewrite_did_not_touch_stays_in_the_chain() {
        let three = [captured(0, 10), captured(10, 20), captured(20, 30)];
        let rewritten = [&three[..], &[cut(30, 10, Some(20))]].concat();
        assert_eq!(stretches(&rewritten), [(0, 10), (20, 30)]);
        let again = [&rewritten[..], &[captured(10, 14), captured(14, 20)]].concat();
        assert_eq!(stretches(&again), [(0, 10), (10, 14), (14, 20), (20, 30)]);
        let shrunk = [&again[..], &[cut(30, 14, None)]].concat();
        assert_eq!(stretches(&shrunk), [(0, 10), (10, 14)]);
    }
}
