//! What a watcher is asked to do.

use std::path::PathBuf;
use std::time::Duration;

use super::Watcher;
use super::prepare::prepare;
use crate::capture::CaptureOptions;
use crate::error::Error;
use crate::limits::{INTERVAL, SWEEP_INTERVAL};
use crate::source::EventSink;
use crate::source::kind::SourceKind;
use crate::source::roots::RootSpec;

/// Collects what [`Watcher::builder`] is told, and starts the watcher.
///
/// At least one root is needed, or the [known agents](Self::known_agents), and somebody who takes the lines: a [home](Self::home), a [sink](Self::sink) of the
/// caller's own, or, with neither, the [channel of events](Self::events).
#[must_use = "nothing is watched before `spawn`"]
#[allow(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct WatcherBuilder {
    pub(super) roots: Vec<RootSpec>,
    pub(super) agents: bool,
    pub(super) scopes: Vec<PathBuf>,
    pub(super) globs: Vec<String>,
    pub(super) exclude: Vec<String>,
    pub(super) interval: Duration,
    pub(super) sweep_interval: Duration,
    pub(super) from_end: bool,
    pub(super) files_max: Option<usize>,
    pub(super) once: bool,
    pub(super) source: SourceKind,
    pub(super) home: Option<PathBuf>,
    pub(super) network_home: bool,
    pub(super) capture: Option<CaptureOptions>,
    pub(super) sink: Option<Box<dyn EventSink + Send>>,
    pub(super) events: Option<usize>,
}

impl WatcherBuilder {
    pub(super) fn new() -> Self {
        Self {
            roots: Vec::new(),
            agents: false,
            scopes: Vec::new(),
            globs: Vec::new(),
            exclude: Vec::new(),
            interval: INTERVAL,
            sweep_interval: SWEEP_INTERVAL,
            from_end: false,
            files_max: None,
            once: false,
            source: SourceKind::Auto,
            home: None,
            network_home: false,
            capture: None,
            sink: None,
            events: None,
        }
    }

    /// Watches a directory tree, or one log file. One that is not there yet is waited for.
    pub fn root(self, path: impl Into<PathBuf>) -> Self {
        self.roots([RootSpec::new(path)])
    }

    /// Watches these roots too, which may have an agent and patterns of their own.
    pub fn roots(mut self, roots: impl IntoIterator<Item = RootSpec>) -> Self {
        self.roots.extend(roots);
        self
    }

    /// Watches the directories of the known agents too, as [`crate::discover`] finds them by the environment of this
    /// process: those that are there, and those that come. What of them is outside the scopes is left out, and logged.
    pub fn known_agents(mut self) -> Self {
        self.agents = true;
        self
    }

    /// Lets roots lie in this directory. `$HOME`, as the environment has it, is always a scope, unless it is empty
    /// or `/`; nothing outside of all scopes is ever opened.
    pub fn scope(mut self, directory: impl Into<PathBuf>) -> Self {
        self.scopes.push(directory.into());
        self
    }

    /// Files that match this pattern are logs, in roots without patterns of their own: one without `/` goes by the
    /// name, another one by the path below the root. Without any it is `*.jsonl`.
    pub fn glob(mut self, pattern: impl Into<String>) -> Self {
        self.globs.push(pattern.into());
        self
    }

    /// Leaves files and directories alone that match this pattern, as [`crate::source::exclude::Exclude`] has it.
    pub fn exclude(mut self, pattern: impl Into<String>) -> Self {
        self.exclude.push(pattern.into());
        self
    }

    /// Time between two walks where walks find the changes, 2 s unless it is said; above 0 and at most 24 h. With `once`
    /// that is while there is something to capture; then a walk is repeated after 100 ms, and only for what could not be
    /// looked at.
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Time between two walks where the system tells of changes, which look for what it did not tell: 300 s unless it is
    /// said; above 0 and at most 24 h.
    pub fn sweep_interval(mut self, interval: Duration) -> Self {
        self.sweep_interval = interval;
        self
    }

    /// Files that are found by the first look at a root begin behind their last newline. With a home: at a root that
    /// it never saw; without one: at every start.
    pub fn from_end(mut self, from_end: bool) -> Self {
        self.from_end = from_end;
        self
    }

    /// Watches at most so many files of each root, the first ones by path.
    pub fn max_files(mut self, files_max: usize) -> Self {
        self.files_max = Some(files_max);
        self
    }

    /// Captures what is there now, up to the size that each file has at its first look, and ends; see
    /// [`Watcher::wait`]. A full queue ends it too; a sink or channel that refuses is waited for.
    pub fn once(mut self, once: bool) -> Self {
        self.once = once;
        self
    }

    /// How changes are found.
    pub fn source(mut self, source: SourceKind) -> Self {
        self.source = source;
        self
    }

    /// Captures into this home, which is made if it is not there: every line once, durable, across restarts. One
    /// watcher a home.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.home = Some(path.into());
        self
    }

    /// Takes a home on a network filesystem, where locks and renames are not to be relied on.
    pub fn allow_network_home(mut self, allowed: bool) -> Self {
        self.network_home = allowed;
        self
    }

    /// How the capture into the home behaves: commits, bounds, layout.
    pub fn capture(mut self, options: CaptureOptions) -> Self {
        self.capture = Some(options);
        self
    }

    /// Hands everything to this sink, on the watcher's thread, in place of a home.
    ///
    /// **Nothing is durable then**: the cursors are in memory only, and a new start reads everything again, or, with
    /// [`from_end`](Self::from_end), begins behind what is there by then. While it runs, each line at each position is
    /// taken once, as with a home: a sink that refuses is asked again after 100 ms (after 20 times as long as its
    /// reading takes for a long line, at most 60 s), its error ends the watcher, and so does its panic.
    /// The watcher remembers what was taken, in about 64 bytes a MiB or a change, so that after a rewrite only what
    /// differs comes again; [`EventSink::chain`] is not called.
    ///
    /// [`super::each_event`] makes a sink of a closure.
    pub fn sink(mut self, sink: impl EventSink + Send + 'static) -> Self {
        self.sink = Some(Box::new(sink));
        self
    }

    /// Tells events on a channel with room for `capacity` of them, each with its line of up to 1 MiB; see
    /// [`Watcher::events`] for what comes.
    ///
    /// With a home or a sink, an event is told after it was committed, or taken. It waits for nobody: a receiver that
    /// does not keep up **misses events**, and [`super::LiveStatus::events_missed`] counts them. The queue has
    /// everything.
    ///
    /// With neither, the channel is the sink. When it is full, the source is refused and its cursor stays: **nothing
    /// is missed**, and the logs are read as fast as events are received. What [`sink`](Self::sink) says of cursors in
    /// memory holds.
    pub fn events(mut self, capacity: usize) -> Self {
        self.events = Some(capacity);
        self
    }

    /// Starts the watcher on a thread of its own.
    ///
    /// Everything that can be wrong before the first look is an error here: of kind
    /// [`Usage`](crate::error::ErrorKind::Usage) what contradicts itself,
    /// [`Scope`](crate::error::ErrorKind::Scope) a root outside the scope,
    /// [`HomeInUse`](crate::error::ErrorKind::HomeInUse) a home that another watcher has,
    /// [`Failed`](crate::error::ErrorKind::Failed) a home that is damaged, or on a network filesystem.
    pub fn spawn(self) -> Result<Watcher, Error> {
        Watcher::start(prepare(self)?)
    }
}
