//! The cursor table: what every source shares below its hints.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ulid::Ulid;

use super::exclude::Exclude;
use super::fetched::Fetched;
use super::globs::{self, Globs};
use super::roots::Root;
use super::scope::Scope;
use super::tree::Tree;
use super::{Budget, EventSink, Overview, PollReport, UnknownPath};
use crate::clock::Clock;
use crate::disk::HomePlace;
use crate::error::Error;
use crate::limits::{HOT_INTERVAL, INTERVAL, SWEEP_INTERVAL, TURN_COST_BYTES, UNKNOWN_SHOWN_MAX};
use crate::pure::fold::{FileState, Fold};
use crate::pure::identity::Identity;
use crate::pure::ulids::{Ulids, system_random};

mod above;
mod absence;
mod begin;
mod cut;
mod former;
mod handles;
mod hints;
mod hot;
mod names;
mod paths;
mod repeats;
mod resume;
mod steps;
mod sweep;
mod table;
mod tracked;
mod turn;
mod unknown;
mod walk;
mod whereabouts;
mod whose;

use handles::Handles;
pub(crate) use handles::handles_max;
pub use hints::{Change, Hints};
use repeats::Repeats;
use table::{Key, Table};
use tracked::Tracked;
pub use walk::{Entered, Entering};
use whereabouts::Listing;

/// What a source watches, and how.
pub struct SourceOptions {
    /// Checked by [`super::roots::check`].
    pub roots: Vec<Root>,
    /// Which roots may appear later.
    pub scope: Scope,
    /// The home, which is never descended into.
    pub home: Option<HomePlace>,
    /// Which files are logs, in roots that do not say so themselves: patterns without `/` for the name, others for the
    /// path below the root.
    pub globs: Vec<String>,
    /// What is never opened.
    pub exclude: Exclude,
    /// Files that are found by the first pass over a root which the home never saw begin behind their last newline.
    pub from_end: bool,
    /// How many files of a root are watched at most: the first ones by their paths.
    pub files_max: Option<usize>,
    /// Time between two walks of the tree, or of what is polled of it.
    pub interval: Duration,
    /// Time between two walks of the tree where changes are told.
    pub sweep_interval: Duration,
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
            exclude: Exclude::default(),
            from_end: false,
            files_max: None,
            interval: INTERVAL,
            sweep_interval: SWEEP_INTERVAL,
            once: false,
        }
    }
}

/// The code of a look that failed.
const LOOK_FAILED: &str = "watcher.look_failed";

/// What waits to be done, in order.
enum Job {
    /// A turn for the file at a path.
    File(Key, usize),
    /// A second look at a path that a sweep did not find.
    Missing(Key),
    /// A turn for a file that its path does not show any more.
    Former(Ulid),
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
    exclude: Exclude,
    once: bool,
    from_end: bool,
    files_max: Option<usize>,
    roots: Vec<WatchedRoot>,
    table: Table,
    /// Committed cursors whose root is not there yet.
    unresumed: Vec<FileState>,
    hot: BTreeSet<Ulid>,
    /// The files that their paths do not show any more and that are followed on.
    formers: BTreeSet<Ulid>,
    /// By the path that they had, the last one last.
    former_at: BTreeMap<Key, Vec<Ulid>>,
    handles: Handles,
    /// Where the inodes of files were found that are gone, or whose own paths do not show them, until they are put there.
    elsewhere: BTreeMap<Ulid, (Key, usize)>,
    /// Other names of files that are followed, what they showed, and the last walk that found them.
    links: BTreeMap<Key, (Identity, u64)>,
    /// New inodes at a path that may repeat what was captured of a file.
    repeats: BTreeMap<(Key, Ulid), Repeats>,
    /// The directory that was listed last, while work is done.
    listing: Option<Listing>,
    work: VecDeque<Job>,
    /// The files that wait for a turn.
    queued: BTreeMap<Key, Queued>,
    /// The paths that wait for a second look.
    missing: BTreeSet<Key>,
    /// The former files that wait for a turn.
    queued_formers: BTreeSet<Ulid>,
    /// How many walks over all roots were begun.
    sweep: u64,
    /// The same with walks over parts of them.
    walk: u64,
    ids: Ulids,
    fetched: Fetched,
    /// Paths that could not be looked at.
    unknown: BTreeMap<PathBuf, Unknown>,
    /// What was said of a path, by its code.
    told: BTreeSet<(PathBuf, &'static str)>,
    symlinks: BTreeSet<PathBuf>,
    /// Devices that came back under another number, by root.
    adopted: BTreeMap<(usize, u64), u64>,
    worked_bytes: u64,
}

struct WatchedRoot {
    root: Root,
    /// Which files are logs in it.
    globs: Globs,
    /// The directory of the root, as the last sweep opened it.
    directory: Option<std::os::fd::OwnedFd>,
    /// Why it may not be watched as it appeared, once that was told.
    refused: Option<String>,
    /// That will not change before the next start: it is not that somebody may not look at it now.
    refused_for_good: bool,
    /// Whether a pass over it was made.
    first_pass: FirstPass,
    /// The last path that is watched, when there are more than may be.
    last: Option<Key>,
    /// That there are more was said.
    overflow_told: bool,
}

/// Whether everything below a root was looked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstPass {
    /// By an earlier run, or by this one.
    Done,
    /// This home never saw the root.
    ToCome,
    /// This sweep has made it, and its files wait for their turns.
    Now(u64),
}

/// A path that could not be looked at.
struct Unknown {
    /// The walk of the last try.
    tried: u64,
    why: String,
}

/// A file that waits for its turn.
struct Queued {
    /// Its size when it was found.
    size: u64,
    /// It was found by the first pass over its root.
    first_pass: bool,
    /// Something was told of it, and it was not looked at since.
    is_told_only: bool,
}

impl Tailer {
    /// Goes on from what was committed.
    ///
    /// Fails as [`crate::error::ErrorKind::Usage`] when a pattern is none.
    pub fn new(options: SourceOptions, tree: Box<dyn Tree>, clock: Arc<dyn Clock>, fold: &Fold) -> Result<Self, Error> {
        let globs = |root: &Root| globs::compile(root.spec.globs.as_ref().unwrap_or(&options.globs));
        let roots = options.roots.into_iter();
        let roots = roots.map(|root| Ok(WatchedRoot::new(globs(&root)?, root, fold)));
        let roots = roots.collect::<Result<_, Error>>()?;
        let mut tailer = Self {
            tree,
            clock,
            scope: options.scope,
            home: options.home,
            exclude: options.exclude,
            once: options.once,
            from_end: options.from_end,
            files_max: options.files_max,
            roots,
            table: Table::default(),
            unresumed: Vec::new(),
            hot: BTreeSet::new(),
            formers: BTreeSet::new(),
            former_at: BTreeMap::new(),
            handles: Handles::up_to(handles_max()),
            elsewhere: BTreeMap::new(),
            links: BTreeMap::new(),
            repeats: BTreeMap::new(),
            listing: None,
            work: VecDeque::new(),
            queued: BTreeMap::new(),
            missing: BTreeSet::new(),
            queued_formers: BTreeSet::new(),
            sweep: 0,
            walk: 0,
            ids: Ulids::above(Ulid::nil(), system_random()),
            fetched: Fetched::new(),
            unknown: BTreeMap::new(),
            told: BTreeSet::new(),
            symlinks: BTreeSet::new(),
            adopted: BTreeMap::new(),
            worked_bytes: 0,
        };
        tailer.table.reserve(fold.files.len());
        tailer.resume(fold.files.values().map(|state| &**state).collect());
        Ok(tailer)
    }

    /// Whether a path below a root, in a directory that is not excluded, is the path of a log.
    fn matches(&self, root: usize, relative: &Path) -> bool {
        let watched = &self.roots[root];
        watched.globs.is_match(relative) && !self.exclude.covers_itself(&watched.root, relative)
    }

    /// Works through what waits, until nothing is left, the budget is used up, or the sink refuses.
    pub fn work(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error> {
        self.worked_bytes = 0;
        // What was listed before is no evidence by now.
        self.listing = None;
        let mut refused = false;
        while self.worked_bytes < budget.bytes && !refused {
            let Some(job) = self.work.pop_front() else { break };
            self.worked_bytes += TURN_COST_BYTES;
            refused = match job {
                Job::File(key, root) => self.file_job(key, root, sink)?,
                Job::Missing(key) => self.missing_job(key, sink)?,
                Job::Former(id) => self.former_job(id, sink)?,
            };
            self.end_surplus();
        }
        self.table.count();
        if self.work.is_empty() && !self.tell_first_passes(sink)? {
            refused = true;
        }
        Ok(PollReport {
            more: refused || !self.work.is_empty(),
            refused,
            looks: self.walk,
            passes: if self.work.is_empty() && !refused {
                self.sweep
            } else {
                0
            },
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

    fn former_job(&mut self, id: Ulid, sink: &mut dyn EventSink) -> Result<bool, Error> {
        let turn = self.former_turn(id, sink);
        if turn.as_ref().is_ok_and(|turn| turn.is_over()) {
            self.queued_formers.remove(&id);
        }
        self.settle(Job::Former(id), turn)
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

    /// The file that is followed at a path.
    fn tracked_at(&self, key: &Key) -> Option<&Tracked> {
        self.table.get(self.table.here(key.bytes())?)
    }

    fn tracked_at_mut(&mut self, key: &Key) -> Option<&mut Tracked> {
        self.table.get_mut(self.table.here(key.bytes())?)
    }

    /// What is known at this moment.
    pub fn overview(&self) -> Overview {
        let mut overview = Overview {
            roots: self.roots.iter().filter_map(WatchedRoot::told).collect(),
            files: (self.table.files.len() - self.formers.len()) as u64,
            unknown: self.unknown.len() as u64 + self.failing_formers(),
            unknown_first: self.unknown_first(),
            symlinks: self.symlinks.len() as u64,
            at_work: !self.work.is_empty(),
            ..Overview::default()
        };
        let sums = self.table.sums();
        (overview.bytes, overview.backlog_bytes) = (sums.size, sums.backlog);
        // Found and not begun yet.
        for (_, queued) in self
            .queued
            .iter()
            .filter(|(key, _)| !self.table.at.contains(key.bytes()))
        {
            overview.files += 1;
            overview.bytes += queued.size;
            overview.backlog_bytes += queued.size;
        }
        overview
    }

    fn unknown_first(&self) -> Vec<UnknownPath> {
        let unknown = self.unknown.iter().take(UNKNOWN_SHOWN_MAX);
        let shown = unknown.map(|(path, unknown)| UnknownPath {
            path: path.clone(),
            why: unknown.why.clone(),
        });
        shown.collect()
    }

    /// How many former files cannot be read, beside the paths that cannot be looked at.
    fn failing_formers(&self) -> u64 {
        let formers = self.formers.iter().filter_map(|id| self.table.get(*id));
        let failing = formers.filter(|tracked| tracked.fails_since.is_some());
        failing
            .filter(|tracked| !self.unknown.contains_key(&*tracked.cursor.file.path))
            .count() as u64
    }

    /// Whether [`Self::look_at_hot`] has anything to look at.
    pub fn has_hot(&self) -> bool {
        !self.hot.is_empty() || !self.handles.is_empty()
    }
}

/// Time between two looks at hot files, given how long the last one took: they cost 5 % of the time at most.
pub fn hot_interval(last: Duration) -> Duration {
    HOT_INTERVAL.max(last * 20)
}
