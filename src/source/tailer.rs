//! The cursor table: what every source shares below its hints.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::roots::Root;
use super::scope::Scope;
use super::tail::{Cursor, Fetched};
use super::tree::Tree;
use super::{Budget, EventSink, Overview, PollReport};
use crate::clock::Clock;
use crate::disk::HomePlace;
use crate::error::{Error, ErrorKind};
use crate::limits::{HOT_INTERVAL, INTERVAL, TURN_COST_BYTES};
use crate::pure::fold::{FileState, Fold, Presence};
use crate::pure::record::LogFile;
use crate::pure::step::Why;
use crate::pure::ulids::{Ulids, system_random};
use crate::show::Shown;

mod absence;
mod handles;
mod paths;
mod sweep;
mod table;
mod turn;

use handles::{Handles, handles_max};
use table::{Key, Tracked};

/// What a source watches, and how.
pub struct SourceOptions {
    /// Checked by [`super::roots::check`].
    pub roots: Vec<Root>,
    /// Which roots may appear later.
    pub scope: Scope,
    /// The home, which is never descended into.
    pub home: Option<HomePlace>,
    /// Which files are logs: patterns without `/` for the name, others for the path below the root.
    pub globs: Vec<String>,
    /// Time between two walks of the tree.
    pub interval: Duration,
    /// Read each file only up to the size that it has at its first look.
    pub once: bool,
}

impl SourceOptions {
    /// The defaults for these roots.
    pub fn new(roots: Vec<Root>, scope: Scope) -> Self {
        Self {
            roots,
            scope,
            home: None,
            globs: vec!["*.jsonl".into()],
            interval: INTERVAL,
            once: false,
        }
    }
}

/// The code of a look that failed.
const LOOK_FAILED: &str = "watcher.look_failed";

/// What waits to be done, in order.
enum Job {
    /// A turn for a file.
    File(Key, usize),
    /// A second look at a file that a sweep did not find.
    Missing(Key),
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Everything that is there was taken.
    Done,
    /// It could not be looked at; the next sweep tries again.
    Unknown,
    /// A line of it does not fit the disk; the next sweep tries again.
    NoRoom,
    More,
    Refused,
}

impl Turn {
    /// Whether there is nothing more to do until the next sweep.
    fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Unknown | Self::NoRoom)
    }
}

/// The cursor table and everything that moves a cursor.
///
/// It knows no hint: somebody tells it to sweep or to look at hot files, and it believes only what it sees.
pub struct Tailer {
    tree: Box<dyn Tree>,
    clock: Arc<dyn Clock>,
    scope: Scope,
    home: Option<HomePlace>,
    globs: GlobSet,
    once: bool,
    roots: Vec<WatchedRoot>,
    files: BTreeMap<Key, Tracked>,
    /// Committed cursors whose root is not there yet.
    unresumed: Vec<FileState>,
    hot: BTreeSet<Key>,
    handles: Handles,
    work: VecDeque<Job>,
    /// The files that wait for a turn, with their size when they were found.
    queued: BTreeMap<Key, u64>,
    /// The files that wait for a second look.
    missing: BTreeSet<Key>,
    sweep: u64,
    ids: Ulids,
    fetched: Fetched,
    /// Paths that could not be looked at, and the sweep of the last try.
    unknown: BTreeMap<PathBuf, u64>,
    /// What was said of a path, by its code.
    told: BTreeSet<(PathBuf, &'static str)>,
    symlinks: BTreeSet<PathBuf>,
    /// Devices that came back under another number, by root.
    adopted: BTreeMap<(usize, u64), u64>,
    worked_bytes: u64,
}

struct WatchedRoot {
    root: Root,
    /// The directory of the root, as the last sweep opened it.
    directory: Option<std::os::fd::OwnedFd>,
}

impl Tailer {
    /// Goes on from what was committed.
    ///
    /// Fails as [`ErrorKind::Usage`] when a pattern is none.
    pub fn new(options: SourceOptions, tree: Box<dyn Tree>, clock: Arc<dyn Clock>, fold: &Fold) -> Result<Self, Error> {
        let globs = compile(&options.globs)?;
        let roots = options.roots.into_iter();
        let mut tailer = Self {
            tree,
            clock,
            scope: options.scope,
            home: options.home,
            globs,
            once: options.once,
            roots: roots.map(|root| WatchedRoot { root, directory: None }).collect(),
            files: BTreeMap::new(),
            unresumed: Vec::new(),
            hot: BTreeSet::new(),
            handles: Handles::up_to(handles_max()),
            work: VecDeque::new(),
            queued: BTreeMap::new(),
            missing: BTreeSet::new(),
            sweep: 0,
            ids: Ulids::above(ulid::Ulid::nil(), system_random()),
            fetched: Fetched::new(),
            unknown: BTreeMap::new(),
            told: BTreeSet::new(),
            symlinks: BTreeSet::new(),
            adopted: BTreeMap::new(),
            worked_bytes: 0,
        };
        let followed = fold.files.values().filter(|state| state.state == Presence::Followed);
        tailer.unresumed = followed.cloned().collect();
        tailer.resume();
        Ok(tailer)
    }

    /// Takes up the cursors of the files below the roots that are there. Those of the others wait.
    fn resume(&mut self) {
        for state in std::mem::take(&mut self.unresumed) {
            let Some(path) = state.path() else { continue };
            let Some(root) = (0..self.roots.len()).find(|root| self.is_log(*root, &path)) else {
                self.unresumed.push(state);
                continue;
            };
            let path: Arc<Path> = path.into();
            let file = LogFile {
                file_id: state.file_id,
                epoch: state.epoch,
                path: Arc::clone(&path),
                identity: state.identity(),
                agent: self.roots[root].root.spec.agent.clone(),
            };
            let mut cursor = Cursor::at_start(Arc::new(file));
            (cursor.offset, cursor.line) = (state.offset, state.line);
            (cursor.evidence, cursor.size_seen) = (state.evidence(), state.offset);
            self.files.insert(Key(path), Tracked::new(cursor, root));
        }
        if self.roots.iter().all(|watched| watched.root.place.is_some()) {
            // They belong to roots that are not watched this time.
            self.unresumed = Vec::new();
        }
    }

    /// Whether a path is one of the files that are watched below a root that is there.
    fn is_log(&self, root: usize, path: &Path) -> bool {
        let Some(place) = &self.roots[root].root.place else {
            return false;
        };
        let below = || {
            path.strip_prefix(&place.directory)
                .is_ok_and(|relative| self.matches(relative))
        };
        place.holds(path) && (place.only.is_some() || below())
    }

    fn matches(&self, relative: &Path) -> bool {
        self.globs.is_match(relative)
    }

    /// Works through what waits, until nothing is left, the budget is used up, or the sink refuses.
    pub fn work(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        self.worked_bytes = 0;
        let mut refused = false;
        while self.worked_bytes < budget.bytes && !refused {
            let Some(job) = self.work.pop_front() else { break };
            self.worked_bytes += TURN_COST_BYTES;
            refused = match job {
                Job::File(key, root) => self.file_job(key, root, sink)?,
                Job::Missing(key) => self.missing_job(key, sink)?,
            };
        }
        Ok(PollReport {
            more: !self.work.is_empty(),
            refused,
            passes: if self.work.is_empty() { self.sweep } else { 0 },
        })
    }

    fn file_job(&mut self, key: Key, root: usize, sink: &mut dyn EventSink) -> Result<bool, Error> {
        let turn = self.turn(&key, root, sink);
        if turn.as_ref().is_ok_and(|turn| turn.is_over()) {
            self.queued.remove(&key);
        }
        self.settle(Job::File(key, root), turn)
    }

    fn missing_job(&mut self, key: Key, sink: &mut dyn EventSink) -> Result<bool, Error> {
        let turn = self.second_look(&key, sink);
        if turn.as_ref().is_ok_and(|turn| turn.is_over()) {
            self.missing.remove(&key);
        }
        self.settle(Job::Missing(key), turn)
    }

    /// Puts back what is not done. Says whether it was refused.
    fn settle(&mut self, job: Job, turn: Result<Turn, Error>) -> Result<bool, Error> {
        match turn {
            Ok(Turn::Done | Turn::Unknown | Turn::NoRoom) => {}
            // The others first; a refused one stays at the front.
            Ok(Turn::More) => self.work.push_back(job),
            Ok(Turn::Refused) | Err(_) => self.work.push_front(job),
        }
        turn.map(|turn| turn == Turn::Refused)
    }

    fn look_failed(&mut self, key: &Key, error: &std::io::Error) -> Turn {
        if error.kind() == std::io::ErrorKind::NotFound {
            // The next sweep says whether it is gone. Of one that was read to its end, nothing is unknown.
            if self.files.get(key).is_none_or(|tracked| tracked.seen.is_none()) {
                self.unknown.insert(key.0.to_path_buf(), self.sweep);
            }
            return Turn::Unknown;
        }
        self.not_known(key, Why::Failed, &error.to_string())
    }

    /// Nothing changes; it is looked at again by the next sweep.
    fn not_known(&mut self, key: &Key, why: Why, cause: &str) -> Turn {
        if let Some(tracked) = self.files.get_mut(key) {
            tracked.seen = None;
        }
        self.note_unknown(&key.0.clone(), why, cause);
        Turn::Unknown
    }

    /// Counts a path as unknown. Whether this is still to be told.
    fn is_news(&mut self, path: &Path, code: &'static str) -> bool {
        self.unknown.insert(path.to_owned(), self.sweep);
        self.told.insert((path.to_owned(), code))
    }

    /// There is no room for the next line of a file: it waits, and the others go on.
    fn no_room(&mut self, key: &Key, length: u64) -> Turn {
        if let Some(tracked) = self.files.get_mut(key) {
            tracked.seen = None;
        }
        let code = "queue.line_does_not_fit";
        if self.is_news(&key.0, code) {
            let shown = Shown::path(&key.0).to_string();
            log::warn!(code = code, path = shown.as_str(), length = length;
                "a line of {length} bytes in {shown} does not fit the disk: the file waits, others go on; make room");
        }
        Turn::NoRoom
    }

    /// Counts a path that cannot be looked at, and says so once.
    fn note_unknown(&mut self, path: &Path, why: Why, cause: &str) {
        let code = match why {
            Why::Failed | Why::Vanished => LOOK_FAILED,
            Why::RootMissing => "watcher.root_missing",
            Why::OtherDevice => "watcher.other_device",
        };
        if !self.is_news(path, code) {
            return;
        }
        let shown = Shown::path(path).to_string();
        match why {
            Why::Failed | Why::Vanished => log::warn!(code = code, path = shown.as_str();
                "cannot look at {shown}: {cause}; nothing changes for it, and it is tried again"),
            Why::RootMissing => log::warn!(code = code, path = shown.as_str();
                "{shown} is not there; it is waited for"),
            Why::OtherDevice => log::warn!(code = code, path = shown.as_str();
                "{shown} is on another device than before, with other content; nothing changes for it"),
        }
    }

    /// What is known at this moment.
    pub fn overview(&self) -> Overview {
        let mut overview = Overview {
            roots: self.roots.iter().map(|watched| watched.root.resolved.clone()).collect(),
            files: self.files.len() as u64,
            unknown: self.unknown.len() as u64,
            symlinks: self.symlinks.len() as u64,
            ..Overview::default()
        };
        for tracked in self.files.values() {
            overview.bytes += tracked.size;
            overview.backlog_bytes += tracked.size.saturating_sub(tracked.cursor.offset);
        }
        // Found and not begun yet.
        for (_, size) in self.queued.iter().filter(|(key, _)| !self.files.contains_key(*key)) {
            overview.files += 1;
            overview.bytes += size;
            overview.backlog_bytes += size;
        }
        overview
    }

    /// Whether [`Self::look_at_hot`] has anything to look at.
    pub fn has_hot(&self) -> bool {
        !self.hot.is_empty() || !self.handles.is_empty()
    }
}

/// The patterns; one without `/` is matched against the name alone.
fn compile(patterns: &[String]) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    let bad = |pattern: &str, error: globset::Error| {
        Error::new(ErrorKind::Usage, format!("`{pattern}` is no pattern:")).because(error)
    };
    for pattern in patterns {
        let anywhere = if pattern.contains('/') {
            pattern.clone()
        } else {
            format!("**/{pattern}")
        };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|error| bad(pattern, error))?);
    }
    set.build().map_err(|error| bad(&patterns.join(" "), error))
}

/// Time between two looks at hot files, given how long the last one took: they cost 5 % of the time at most.
pub fn hot_interval(last: Duration) -> Duration {
    HOT_INTERVAL.max(last * 20)
}
