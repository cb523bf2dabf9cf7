//! What `verify` found.

use std::path::Path;

use serde::Serialize;
use ulid::Ulid;

use crate::limits::FINDINGS_MAX;
use crate::pure::account::{Account, Misfit};
use crate::show::Shown;

/// How it ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that could be checked is as it was captured, or what changed is explained.
    #[default]
    Good,
    /// The same, but something could not be checked.
    Unchecked,
    /// Something is wrong.
    Failed,
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The ledger is damaged, or contradicts itself.
    Ledger,
    /// The snapshot differs from the ledger.
    Snapshot,
    /// Bytes of a file that nothing tells of.
    Hole,
    /// Bytes of a file that were captured twice.
    Overlap,
    /// A run whose bytes differ, and nothing explains it.
    Unexplained,
    /// A pending batch that is damaged, or does not fit the ledger.
    Batch,
    /// Something that could not be looked at.
    Unchecked,
    /// Runs whose bytes differ because the file was changed, which the next look notes.
    Changed,
}

impl Kind {
    /// What it does to the verdict.
    pub fn verdict(self) -> Verdict {
        match self {
            Self::Ledger | Self::Snapshot | Self::Hole | Self::Overlap | Self::Unexplained | Self::Batch => {
                Verdict::Failed
            }
            Self::Unchecked => Verdict::Unchecked,
            Self::Changed => Verdict::Good,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Snapshot => "snapshot",
            Self::Hole => "hole",
            Self::Overlap => "overlap",
            Self::Unexplained => "unexplained",
            Self::Batch => "batch",
            Self::Unchecked => "unchecked",
            Self::Changed => "changed",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// The source, the segment or the batch, so that it can be printed.
    pub path: Option<String>,
    /// The file, if it is about one.
    pub file_id: Option<Ulid>,
    /// Offset of its first byte there.
    pub from: Option<u64>,
    /// Offset of the byte after it.
    pub to: Option<u64>,
    /// The commit that tells of it.
    pub commit: Option<u64>,
    /// In words.
    pub what: String,
}

impl Finding {
    /// Of this kind.
    pub(super) fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            path: None,
            file_id: None,
            from: None,
            to: None,
            commit: None,
            what: what.into(),
        }
    }

    pub(super) fn at(mut self, path: &Path) -> Self {
        self.path = Some(Shown::path(path).to_string());
        self
    }

    pub(super) fn of(mut self, id: Ulid, account: Option<&Account>) -> Self {
        self.file_id = Some(id);
        match account.and_then(|account| account.path.as_deref()) {
            Some(path) => self.at(path),
            None => self,
        }
    }

    pub(super) fn bytes(mut self, from: u64, to: u64) -> Self {
        (self.from, self.to) = (Some(from), Some(to));
        self
    }

    pub(super) fn commit(mut self, commit: u64) -> Self {
        self.commit = Some(commit);
        self
    }

    pub(super) fn misfit(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Hole { from, to } => Self::new(Kind::Hole, "nothing tells of these bytes").bytes(from, to),
            Misfit::Overlap { from, to } => Self::new(Kind::Overlap, "these bytes were captured twice").bytes(from, to),
            Misfit::Contradiction(what) => Self::new(Kind::Ledger, what),
        }
    }
}

/// `tailspool verify --json`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The worst of the findings.
    pub verdict: Verdict,
    /// What was read of the ledger.
    pub ledger: LedgerCount,
    /// The files that have runs.
    pub files: FileCount,
    /// Their runs.
    pub runs: RunCount,
    /// What waits in the queue.
    pub batches: BatchCount,
    /// What was found, at most 1000.
    pub findings: Vec<Finding>,
    /// Findings beyond that.
    pub findings_left_out: u64,
}

/// What was read of the ledger.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerCount {
    /// Segments.
    pub segments: u64,
    /// Commits whose checksum holds.
    pub commits: u64,
    /// Lines that they seal.
    pub lines: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes at its end that are not committed: of a commit that is being made, or was never finished.
    pub torn_bytes: u64,
    /// The snapshot beside it.
    pub snapshot: SnapshotState,
}

/// The snapshot beside the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapshotState {
    /// There is none; the next start makes one.
    #[default]
    Missing,
    /// It says what the ledger adds up to.
    Agrees,
    /// It does not, or its checksum does not hold.
    Differs,
    /// The ledger is damaged, so it was not compared.
    Unchecked,
}

/// The files that have runs.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileCount {
    /// Found at their path.
    pub standing: u64,
    /// Found under another name in its directory.
    pub moved: u64,
    /// Neither.
    pub gone: u64,
    /// Could not be looked at.
    pub unchecked: u64,
}

/// Runs, all that were ever captured.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunCount {
    /// Their bytes stand where they were.
    pub verified: u64,
    /// Bytes of these.
    pub verified_bytes: u64,
    /// A `truncate` of the ledger took them out of the chain.
    pub superseded: u64,
    /// The file changed, which no look has noted yet.
    pub changed: u64,
    /// They differ, and nothing explains it.
    pub unexplained: u64,
    /// Their file stands no more.
    pub gone: u64,
    /// Their file could not be looked at.
    pub unchecked: u64,
}

/// What waits in the queue.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct BatchCount {
    /// Checked against the ledger, and well.
    pub verified: u64,
    /// Records in them.
    pub records: u64,
    /// Drained while this was running.
    pub drained: u64,
    /// Put there by other programs: no commit names them.
    pub others: u64,
    /// Damaged, or other than the ledger says.
    pub failed: u64,
    /// Could not be read, or of an unknown version.
    pub unchecked: u64,
}

impl Report {
    /// Adds a finding, unless it is there: the end of the ledger is read twice.
    pub(super) fn add(&mut self, finding: Finding) {
        if self.findings.contains(&finding) {
            return;
        }
        self.verdict = self.verdict.max(finding.kind.verdict());
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        } else {
            self.findings_left_out += 1;
        }
    }

    /// The worst first, otherwise as they were found.
    pub(super) fn conclude(&mut self) {
        self.findings
            .sort_by_key(|finding| std::cmp::Reverse(finding.kind.verdict()));
    }
}
