//! What is in force.

use std::path::PathBuf;
use std::time::Duration;

use super::layer::{Given, Layer, Origin};
use super::value::Begin;
use crate::capture::CommitPace;
use crate::error::Error;
use crate::home::{default_home, env_home};
use crate::limits::{INTERVAL, SWEEP_INTERVAL};
use crate::queue::depth::OnFull;
use crate::queue::outgoing::Layout;
use crate::source::kind::SourceKind;
use crate::source::roots::RootSpec;

/// Every setting that is in force, and where it came from.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where tailspool keeps its queue and its ledger; None when there is no place for it.
    pub home: Given<Option<PathBuf>>,
    /// What is watched: the roots of the command line, or else those of the file.
    pub roots: Vec<Given<RootSpec>>,
    /// Whether the directories of the known agents are watched: if nobody says so, when there are no roots.
    pub agents: Given<bool>,
    /// Where roots may lie, beside `$HOME`: those of the file and those of the command line.
    pub scope: Vec<Given<PathBuf>>,
    /// What is never opened: the patterns of the file and those of the command line.
    pub exclude: Vec<Given<String>>,
    /// Which files are logs, in roots that do not say so themselves.
    pub glob: Given<Vec<String>>,
    /// Where files of a new root begin.
    pub from: Given<Begin>,
    /// How many files of a root are watched at most; None: all.
    pub max_files: Given<Option<u64>>,
    /// What finds the changes.
    pub source: Given<SourceKind>,
    /// Time between two walks.
    pub interval: Given<Duration>,
    /// Time between two walks over everything where changes are told.
    pub sweep_interval: Given<Duration>,
    /// Least time between two commits.
    pub commit_interval: Given<CommitPace>,
    /// How many records may wait; None: as many as the disk takes.
    pub max_pending_records: Given<Option<u64>>,
    /// How many bytes may wait; None: as many as the disk takes.
    pub max_pending_bytes: Given<Option<u64>>,
    /// What happens when the queue is full.
    pub on_full: Given<OnFull>,
    /// How records lie in the queue.
    pub layout: Given<Layout>,
    /// Whether a home on a network filesystem is taken.
    pub allow_network_home: Given<bool>,
}

impl Settings {
    /// The command line over the file over the defaults; scopes and excludes add up.
    pub fn merged(file: Layer, command_line: Layer) -> Self {
        let (low, high) = (file, command_line);
        let is_named = !low.roots.is_empty() || !high.roots.is_empty();
        // What the file says of agents beside its roots is not meant for those of the command line.
        let low_agents = low.agents.filter(|_| high.roots.is_empty());
        Self {
            home: home_of(low.home, high.home),
            roots: if high.roots.is_empty() { low.roots } else { high.roots },
            agents: first(high.agents, low_agents, !is_named),
            scope: [low.scope, high.scope].concat(),
            exclude: [low.exclude, high.exclude].concat(),
            glob: first(high.glob, low.glob, vec!["*.jsonl".to_owned()]),
            from: first(high.from, low.from, Begin::default()),
            max_files: limit(high.max_files, low.max_files),
            source: first(high.source, low.source, SourceKind::default()),
            interval: first(high.interval, low.interval, INTERVAL),
            sweep_interval: first(high.sweep_interval, low.sweep_interval, SWEEP_INTERVAL),
            commit_interval: first(high.commit_interval, low.commit_interval, CommitPace::default()),
            max_pending_records: limit(high.max_pending_records, low.max_pending_records),
            max_pending_bytes: limit(high.max_pending_bytes, low.max_pending_bytes),
            on_full: first(high.on_full, low.on_full, OnFull::default()),
            layout: first(high.layout, low.layout, Layout::default()),
            allow_network_home: first(high.allow_network_home, low.allow_network_home, false),
        }
    }

    /// The home.
    ///
    /// Fails as [`crate::error::ErrorKind::Usage`] when there is no place for it.
    pub fn home(&self) -> Result<PathBuf, Error> {
        self.home.value.clone().map_or_else(default_home, Ok)
    }

    /// The scopes, without their origins.
    pub fn scopes(&self) -> Vec<PathBuf> {
        self.scope.iter().map(|given| given.value.clone()).collect()
    }

    /// The patterns of what is excluded, without their origins.
    pub fn excludes(&self) -> Vec<String> {
        self.exclude.iter().map(|given| given.value.clone()).collect()
    }
}

/// The home: of the command line, else of `$TAILSPOOL_HOME`, else of the file, else the platform's.
pub fn home_of(file: Option<Given<PathBuf>>, command_line: Option<Given<PathBuf>>) -> Given<Option<PathBuf>> {
    let env = || env_home().map(|home| Given::new(home, Origin::Env("TAILSPOOL_HOME")));
    match command_line.or_else(env).or(file) {
        Some(given) => given.map(Some),
        None => Given::default(default_home().ok()),
    }
}

fn first<T>(high: Option<Given<T>>, low: Option<Given<T>>, default: T) -> Given<T> {
    high.or(low).unwrap_or_else(|| Given::default(default))
}

fn limit(high: Option<Given<u64>>, low: Option<Given<u64>>) -> Given<Option<u64>> {
    high.or(low).map_or(Given::default(None), |given| given.map(Some))
}
