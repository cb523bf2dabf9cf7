//! What a sink without a ledger took: the run chains, in memory.

use std::collections::BTreeMap;

use ulid::Ulid;

use crate::limits::{HISTORY_RUN_BYTES, HISTORY_RUNS_MAX};
use crate::pure::chain::{Chain, Run};
use crate::pure::record::LogFile;
use crate::source::Transition;

/// The run chains of all files since the start.
///
/// A file with more than 16,384 runs is known by the first of them only: what comes behind is told again after a
/// rewrite.
#[derive(Default)]
pub(super) struct History {
    chains: BTreeMap<Ulid, Chain>,
    open: Option<OpenRun>,
}

/// The run that grows now.
struct OpenRun {
    file_id: Ulid,
    from: u64,
    to: u64,
    lines: u64,
    hasher: blake3::Hasher,
}

impl History {
    /// Lines of a file that begin at `from` were taken, with their newlines.
    pub(super) fn took(&mut self, file: &LogFile, from: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let goes_on =
            |run: &OpenRun| (run.file_id, run.to) == (file.file_id, from) && run.to - run.from < HISTORY_RUN_BYTES;
        if !self.open.as_ref().is_some_and(goes_on) {
            self.close();
        }
        let run = self.open.get_or_insert_with(|| OpenRun {
            file_id: file.file_id,
            from,
            to: from,
            lines: 0,
            hasher: blake3::Hasher::new(),
        });
        run.to += bytes.len() as u64;
        run.lines += memchr::memchr_iter(b'\n', bytes).count() as u64;
        run.hasher.update(bytes);
    }

    /// One line with its newline was taken, which `hasher` has seen.
    pub(super) fn took_long(&mut self, file: &LogFile, (from, to): (u64, u64), hasher: blake3::Hasher) {
        self.close();
        self.open = Some(OpenRun {
            file_id: file.file_id,
            from,
            to,
            lines: 1,
            hasher,
        });
    }

    /// A transition was taken.
    pub(super) fn turned(&mut self, file: &LogFile, transition: &Transition) {
        self.close();
        match transition {
            Transition::New { continues: None, .. } => {
                self.chains.remove(&file.file_id);
            }
            Transition::Truncate { kept, .. } => {
                if let Some(chain) = self.chains.get_mut(&file.file_id) {
                    chain.cut(kept.to, kept.suffix.map(|suffix| suffix.from));
                }
            }
            Transition::New { .. } | Transition::Rotate { .. } | Transition::Delete { .. } => {}
        }
    }

    /// What stands of a file.
    pub(super) fn chain(&mut self, file: &LogFile) -> Chain {
        self.close();
        self.chains.get(&file.file_id).cloned().unwrap_or_default()
    }

    fn close(&mut self) {
        let Some(run) = self.open.take() else { return };
        let chain = self.chains.entry(run.file_id).or_default();
        if chain.runs.len() < HISTORY_RUNS_MAX {
            chain.insert(Run {
                from: run.from,
                to: run.to,
                lines: run.lines,
                hash: run.hasher.finalize(),
            });
        }
    }
}
