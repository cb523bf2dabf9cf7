//! The cursor table: what every source shares below its hints.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::roots::Root;
use super::scope::Scope;
use super::tail::{Cursor, Fetched, Progress};
use super::tree::{Kind, Log, Stamp, Stat, Tree};
use super::{Budget, EventSink, Overview, PollReport, Transition, Verdict};
use crate::clock::Clock;
use crate::disk::HomePlace;
use crate::error::{Error, ErrorKind};
use crate::limits::{
    CHANGES_MAX, HANDLES_MAX, HOT_INTERVAL, HOT_WINDOW, INTERVAL, LARGE_GROWTH_BYTES, TURN_BYTES, TURN_COST_BYTES,
};
use crate::pure::fold::{FileState, Fold, Presence};
use crate::pure::identity::Identity;
use crate::pure::record::LogFile;
use crate::pure::step::{Content, Known, Look, Step, Why, step};
use crate::pure::ulids::{Ulids, system_random};
use crate::show::Shown;

mod sweep;

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

/// A path, ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key(Arc<Path>);

impl Key {
    fn bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes().cmp(other.bytes())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

/// A file that we follow.
struct Tracked {
    cursor: Cursor,
    root: usize,
    /// Kept while the file is hot, so that what it still holds can be read when its path shows another file.
    handle: Option<Box<dyn Log>>,
    /// What `stat` said when everything up to then was taken.
    seen: Option<Seen>,
    /// Its size at the last look of any kind.
    size: u64,
    hot_until: Option<Instant>,
    /// Up to where it is read, for `once`.
    limit: Option<u64>,
    large_growth_told: bool,
    /// The last sweep that found it.
    sweep: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    identity: Identity,
    size: u64,
    mtime: Stamp,
    ctime: Stamp,
}

impl From<&Stat> for Seen {
    fn from(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            size: stat.size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }
}

/// What waits to be done, in order.
enum Job {
    /// A turn for a file.
    File(Key, usize),
    /// Files that the last sweep did not find.
    Missing(Vec<Key>),
}

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Everything that is there was taken.
    Done,
    /// It could not be looked at; the next sweep tries again.
    Unknown,
    More,
    Refused,
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
    handles: VecDeque<Key>,
    handles_max: usize,
    work: VecDeque<Job>,
    queued: BTreeSet<Key>,
    sweep: u64,
    ids: Ulids,
    fetched: Fetched,
    unknown: BTreeMap<PathBuf, Why>,
    told: BTreeSet<PathBuf>,
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
            handles: VecDeque::new(),
            handles_max: handles_max(),
            work: VecDeque::new(),
            queued: BTreeSet::new(),
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
            refused = match job {
                Job::File(key, root) => self.file_job(key, root, sink)?,
                Job::Missing(keys) => self.missing_job(keys, sink)?,
            };
        }
        Ok(PollReport {
            more: !self.work.is_empty(),
            refused,
            passes: if self.work.is_empty() { self.sweep } else { 0 },
        })
    }

    fn file_job(&mut self, key: Key, root: usize, sink: &mut dyn EventSink) -> Result<bool, Error> {
        self.queued.remove(&key);
        self.worked_bytes += TURN_COST_BYTES;
        let turn = self.turn(&key, root, sink);
        match turn {
            Ok(Turn::Done | Turn::Unknown) => return Ok(false),
            // The others first; a refused one stays at the front.
            Ok(Turn::More) => self.work.push_back(Job::File(key.clone(), root)),
            Ok(Turn::Refused) | Err(_) => self.work.push_front(Job::File(key.clone(), root)),
        }
        self.queued.insert(key);
        turn.map(|turn| turn == Turn::Refused)
    }

    fn missing_job(&mut self, mut keys: Vec<Key>, sink: &mut dyn EventSink) -> Result<bool, Error> {
        while let Some(key) = keys.pop() {
            match self.missing(&key, sink) {
                Ok(Turn::Done | Turn::Unknown) => {}
                other => {
                    keys.push(key);
                    self.work.push_front(Job::Missing(keys));
                    return other.map(|turn| turn == Turn::Refused);
                }
            }
        }
        Ok(false)
    }

    /// A turn for the file at a path.
    fn turn(&mut self, key: &Key, root: usize, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let found = match self.stat_path(key, root) {
            Ok(found) if found.kind == Kind::File => found,
            Ok(_) => return Ok(self.not_known(key, Why::Failed, "it is not a regular file")),
            Err(error) => return Ok(self.look_failed(key, &error)),
        };
        let kept = self.files.get_mut(key).and_then(|tracked| {
            let same = tracked.cursor.file.identity.same(&found.identity);
            tracked.handle.take().map(|handle| (handle, same))
        });
        let log = match kept {
            Some((handle, true)) => handle,
            Some((old, false)) => {
                // The path shows another file. What the old one still holds comes first.
                let turn = self.visit(key, root, &*old, sink)?;
                if turn != Turn::Done {
                    self.keep_handle(key, old);
                    return Ok(turn);
                }
                match self.open(key, root) {
                    Ok(log) => log,
                    Err(error) => return Ok(self.look_failed(key, &error)),
                }
            }
            None => match self.open(key, root) {
                Ok(log) => log,
                Err(error) => return Ok(self.look_failed(key, &error)),
            },
        };
        let turn = self.visit(key, root, &*log, sink);
        // What is not read to its end may be renamed or removed before its next turn.
        if self.hot.contains(key) || !matches!(turn, Ok(Turn::Done)) {
            self.keep_handle(key, log);
        }
        turn
    }

    /// Follows the transition table for one open file until there is nothing to do or its turn is over.
    fn visit(&mut self, key: &Key, root: usize, log: &dyn Log, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let (mut worked, mut changes) = (0, 0);
        loop {
            if worked >= TURN_BYTES {
                return Ok(Turn::More);
            }
            if changes > CHANGES_MAX {
                return Ok(self.not_known(key, Why::Failed, "it changes faster than it can be read"));
            }
            let stat = match log.stat() {
                Ok(stat) if stat.kind == Kind::File => stat,
                Ok(_) => return Ok(self.not_known(key, Why::Failed, "it is not a regular file")),
                Err(error) => return Ok(self.look_failed(key, &error)),
            };
            let limit = self.limit(key, &stat);
            let look = match self.look(key, root, log, &stat) {
                Ok(look) => look,
                Err(error) => return Ok(self.look_failed(key, &error)),
            };
            let known = self
                .files
                .get(key)
                .map_or(Known::Nothing, |tracked| Known::Followed(tracked.cursor.position()));
            match step(known, look) {
                Step::Wait => match look {
                    Look::Unknown(why) => return Ok(self.not_known(key, why, "it is on another device than before")),
                    // It shrank between `fstat` and the read.
                    Look::Present(_) | Look::Absent => changes += 1,
                },
                Step::Stay | Step::Delete => {
                    self.caught_up(key, &stat);
                    return Ok(Turn::Done);
                }
                Step::New => {
                    if self.begin(key, root, &stat, None, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Rotate => {
                    let old = self.files.get(key).map(|tracked| Arc::clone(&tracked.cursor.file));
                    if self.begin(key, root, &stat, old, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Truncate(reason) => {
                    if self.truncate(key, reason, sink)? == Verdict::Refused {
                        return Ok(Turn::Refused);
                    }
                }
                Step::Withdraw => {
                    if let Some(tracked) = self.files.get_mut(key) {
                        tracked.cursor.tail = None;
                        tracked.cursor.size_seen = stat.size;
                    }
                }
                Step::Append => {
                    let Some(tracked) = self.files.get_mut(key) else {
                        return Ok(Turn::Done);
                    };
                    tracked.tell_large_growth(&stat);
                    let before = tracked.cursor.offset;
                    let progress = tracked.cursor.take(log, limit, &mut self.fetched, sink)?;
                    let taken = tracked.cursor.offset.saturating_sub(before);
                    // The search for the end of a long line takes nothing and is work all the same.
                    self.worked_bytes += if let Progress::Worked(bytes) = progress {
                        bytes
                    } else {
                        taken
                    };
                    match progress {
                        Progress::CaughtUp => {
                            self.caught_up(key, &stat);
                            return Ok(Turn::Done);
                        }
                        Progress::Worked(bytes) => worked += bytes,
                        Progress::Refused => return Ok(Turn::Refused),
                        Progress::Changed => changes += 1,
                        Progress::Failed(cause) => return Ok(self.look_failed(key, &cause)),
                    }
                }
            }
        }
    }

    /// Looks at an open file, with the cursor of its path if there is one.
    fn look(&mut self, key: &Key, root: usize, log: &dyn Log, stat: &Stat) -> std::io::Result<Look> {
        if let Some(tracked) = self.files.get_mut(key) {
            let ours = tracked.cursor.file.identity.device;
            let theirs = stat.identity.device;
            if ours != theirs {
                let known = self.adopted.get(&(root, ours)) == Some(&theirs);
                // Before the first line there is nothing that could be captured twice.
                let free = tracked.cursor.offset == 0;
                if !known && !free {
                    let fits = stat.size >= tracked.cursor.offset;
                    if !fits || tracked.cursor.compare(log, &mut self.fetched)? != Content::Holds {
                        return Ok(Look::Unknown(Why::OtherDevice));
                    }
                    self.adopted.insert((root, ours), theirs);
                }
                tracked.cursor.move_to_device(theirs);
            }
            return tracked.cursor.look(log, stat, &mut self.fetched);
        }
        Ok(Look::Present(crate::pure::step::Sight {
            identity: stat.identity,
            size: stat.size,
            content: Content::NotCompared,
        }))
    }

    /// Up to which size the file is read: all of it, or with `once` what its first look showed.
    fn limit(&mut self, key: &Key, stat: &Stat) -> u64 {
        match self.files.get_mut(key) {
            Some(tracked) if self.once => *tracked.limit.get_or_insert(stat.size),
            _ => u64::MAX,
        }
        .min(stat.size)
    }

    /// Follows a file from its start: a new one, or one that stands where `old` stood.
    fn begin(
        &mut self,
        key: &Key,
        root: usize,
        stat: &Stat,
        old: Option<Arc<LogFile>>,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let file = Arc::new(LogFile {
            file_id: self.ids.fresh(self.clock.unix_ms()),
            epoch: 0,
            path: Arc::clone(&key.0),
            identity: stat.identity,
            agent: self.roots[root].root.spec.agent.clone(),
        });
        let mtime = stat.mtime.timestamp();
        let transition = match old {
            None => Transition::New { mtime },
            Some(old) => Transition::Rotate { old, mtime },
        };
        if sink.transition(&file, &transition)? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        let mut tracked = Tracked::new(Cursor::at_start(file), root);
        (tracked.sweep, tracked.size) = (self.sweep, stat.size);
        self.files.insert(key.clone(), tracked);
        Ok(Verdict::Taken)
    }

    fn truncate(
        &mut self,
        key: &Key,
        reason: crate::pure::step::Reason,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let Some(tracked) = self.files.get_mut(key) else {
            return Ok(Verdict::Taken);
        };
        let before = &tracked.cursor;
        let file = Arc::new(LogFile {
            epoch: before.file.epoch + 1,
            ..(*before.file).clone()
        });
        let was = before.offset;
        if sink.transition(&file, &Transition::Truncate { reason, was })? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        tracked.cursor = Cursor::at_start(file);
        tracked.limit = None;
        tracked.large_growth_told = false;
        Ok(Verdict::Taken)
    }

    /// Remembers what was seen, and whether the file is hot.
    fn caught_up(&mut self, key: &Key, stat: &Stat) {
        self.unknown.remove(&*key.0);
        let now = self.clock.now();
        let age = self.clock.utc().duration_since(stat.mtime.timestamp());
        let Some(tracked) = self.files.get_mut(key) else { return };
        let seen = Seen::from(stat);
        let moved = tracked.seen.is_some_and(|before| before != seen);
        let recent = age.unsigned_abs() < HOT_WINDOW;
        (tracked.cursor.size_seen, tracked.size) = (stat.size, stat.size);
        tracked.seen = Some(seen);
        if moved || recent {
            tracked.hot_until = Some(now + HOT_WINDOW);
            self.hot.insert(key.clone());
        }
    }

    fn keep_handle(&mut self, key: &Key, log: Box<dyn Log>) {
        let Some(tracked) = self.files.get_mut(key) else { return };
        tracked.handle = Some(log);
        self.handles.retain(|other| other != key);
        self.handles.push_back(key.clone());
        while self.handles.len() > self.handles_max {
            let Some(oldest) = self.handles.pop_front() else { break };
            if let Some(tracked) = self.files.get_mut(&oldest) {
                tracked.handle = None;
            }
        }
    }

    fn look_failed(&mut self, key: &Key, error: &std::io::Error) -> Turn {
        if error.kind() == std::io::ErrorKind::NotFound {
            // The next sweep says whether it is gone.
            self.unknown.insert(key.0.to_path_buf(), Why::Vanished);
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

    /// Counts a path that cannot be looked at, and says so once.
    fn note_unknown(&mut self, path: &Path, why: Why, cause: &str) {
        self.unknown.insert(path.to_owned(), why);
        if !self.told.insert(path.to_owned()) {
            return;
        }
        let shown = Shown::path(path).to_string();
        match why {
            Why::Failed | Why::Vanished => log::warn!(code = "watcher.look_failed", path = shown.as_str();
                "cannot look at {shown}: {cause}; nothing changes for it, and it is tried again"),
            Why::RootMissing => log::warn!(code = "watcher.root_missing", path = shown.as_str();
                "{shown} is not there ({cause}); it is waited for"),
            Why::OtherDevice => log::warn!(code = "watcher.other_device", path = shown.as_str();
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
        overview
    }

    /// Whether any file is hot.
    pub fn has_hot(&self) -> bool {
        !self.hot.is_empty()
    }
}

impl Tracked {
    fn new(cursor: Cursor, root: usize) -> Self {
        let cursor_size = cursor.size_seen;
        Self {
            cursor,
            root,
            handle: None,
            seen: None,
            size: cursor_size,
            hot_until: None,
            limit: None,
            large_growth_told: false,
            sweep: 0,
        }
    }

    fn tell_large_growth(&mut self, stat: &Stat) {
        let growth = stat.size - self.cursor.offset;
        if growth > LARGE_GROWTH_BYTES && !self.large_growth_told {
            self.large_growth_told = true;
            let shown = Shown::path(&self.cursor.file.path).to_string();
            log::warn!(code = "watcher.large_file_growth", path = shown.as_str(), growth = growth, threshold = LARGE_GROWTH_BYTES;
                "{shown} has {growth} bytes to read; all of them are read");
        }
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

/// How many handles may stay open: the bound, and well under what the process may have.
fn handles_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.map_or(HANDLES_MAX as u64, |limit| limit / 2);
    HANDLES_MAX.min(usize::try_from(half).unwrap_or(HANDLES_MAX))
}

/// Time between two looks at hot files, given how long the last one took: they cost 5 % of the time at most.
pub fn hot_interval(last: Duration) -> Duration {
    HOT_INTERVAL.max(last * 20)
}
