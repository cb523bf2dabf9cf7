//! What one source of settings says, each value with its origin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::value::Begin;
use crate::capture::CommitPace;
use crate::queue::depth::OnFull;
use crate::queue::outgoing::Layout;
use crate::show::Shown;
use crate::source::kind::SourceKind;
use crate::source::roots::RootSpec;

/// Who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody.
    Default,
    /// A variable of the environment.
    Env(&'static str),
    /// The config file.
    File {
        /// Which one.
        path: Arc<Path>,
        /// Where in it, from 1.
        line: usize,
    },
    /// The command line.
    CommandLine,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Env(name) => write!(f, "environment: {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", Shown::path(path)),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

/// A value, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// What was said.
    pub value: T,
    /// Who said it.
    pub origin: Origin,
}

impl<T> Given<T> {
    /// A value of this origin.
    pub fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    /// What is in force when nobody says otherwise.
    pub fn default(value: T) -> Self {
        Self::new(value, Origin::Default)
    }

    /// A value of the command line.
    pub fn asked(value: T) -> Self {
        Self::new(value, Origin::CommandLine)
    }

    /// The same origin with what becomes of the value.
    pub fn shown<U>(&self, show: impl FnOnce(&T) -> U) -> Given<U> {
        Given::new(show(&self.value), self.origin.clone())
    }

    /// The same origin with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Given<U> {
        Given::new(change(self.value), self.origin)
    }
}

/// What the file or the command line says; what it does not speak of is None, or empty.
#[derive(Debug, Clone, Default)]
pub struct Layer {
    /// Where tailspool keeps its queue and its ledger.
    pub home: Option<Given<PathBuf>>,
    /// What is watched.
    pub roots: Vec<Given<RootSpec>>,
    /// Where roots may lie, beside `$HOME`.
    pub scope: Vec<Given<PathBuf>>,
    /// What is never opened.
    pub exclude: Vec<Given<String>>,
    /// Which files are logs, in roots that do not say so themselves.
    pub glob: Option<Given<Vec<String>>>,
    /// Where files of a new root begin.
    pub from: Option<Given<Begin>>,
    /// How many files of a root are watched at most.
    pub max_files: Option<Given<u64>>,
    /// What finds the changes.
    pub source: Option<Given<SourceKind>>,
    /// Time between two walks.
    pub interval: Option<Given<Duration>>,
    /// Time between two walks over everything where changes are told.
    pub sweep_interval: Option<Given<Duration>>,
    /// Least time between two commits.
    pub commit_interval: Option<Given<CommitPace>>,
    /// How many records may wait.
    pub max_pending_records: Option<Given<u64>>,
    /// How many bytes may wait.
    pub max_pending_bytes: Option<Given<u64>>,
    /// What happens then.
    pub on_full: Option<Given<OnFull>>,
    /// How records lie in the queue.
    pub layout: Option<Given<Layout>>,
    /// Whether a home on a network filesystem is taken.
    pub allow_network_home: Option<Given<bool>>,
    /// Whether the directories of the known agents are watched.
    pub agents: Option<Given<bool>>,
}
