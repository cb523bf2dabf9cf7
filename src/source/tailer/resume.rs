//! Where the last run stopped: its cursors, and the roots that it has seen.

use std::borrow::Borrow;
use std::path::Path;
use std::sync::Arc;

use super::table::Key;
use super::tracked::Tracked;
use super::{FirstPass, Tailer, WatchedRoot};
use crate::error::{Error, ErrorKind};
use crate::limits::HOT_WINDOW;
use crate::pure::fold::{FileState, Fold, Presence};
use crate::pure::record::{LogFile, path_to_text};
use crate::pure::sighting::Sighting;
use crate::show::Shown;
use crate::source::globs::Globs;
use crate::source::roots::Root;
use crate::source::scope;
use crate::source::tail::Cursor;
use crate::source::{EventSink, Fact, Noticing, Verdict, WatchedPath};

impl Tailer {
    /// Takes up the cursors of the files below the roots that are there. Those of the others wait, and those of what is
    /// not watched this time are kept as those of gone files are: a file that stands in a root by now goes on there.
    pub(super) fn resume<S: Borrow<FileState>>(&mut self, mut states: Vec<S>) {
        // Where there are two at a path, the one that comes last counts. Of gone files it is the one that was told of
        // last. Of followed ones it is the one that came there last: the other went where it could not be looked at, or
        // a crash came between the moves of a chain of renames.
        states.sort_by_key(|state| {
            let state = state.borrow();
            let placed = (state.state == Presence::Followed).then_some(state.placed);
            (placed, state.told.map(|told| told.to), state.file_id)
        });
        for state in states {
            let state = state.borrow();
            let Some(path) = state.path() else { continue };
            match (0..self.roots.len()).find(|root| self.is_log(*root, &path)) {
                Some(root) if self.is_as_resumed(state, &path) => self.take_up(state, path.into(), root),
                Some(_) => {}
                None => {
                    self.set_aside(state, path.into());
                    self.unresumed.push(state.clone());
                }
            }
        }
        if self.roots.iter().all(|watched| watched.root.place.is_some()) {
            // No root is to come that they could be below.
            self.unresumed = Vec::new();
        }
        self.table.count();
    }

    /// The same for the cursors that waited for a root.
    pub(super) fn resume_rest(&mut self) {
        let states = std::mem::take(&mut self.unresumed);
        self.resume(states);
    }

    /// Keeps the cursor of a file whose path is below no root that is there, or is left alone there.
    fn set_aside(&mut self, state: &FileState, path: Arc<Path>) {
        if self.table.cursor(state.file_id).is_none() {
            self.table.bury(resumed(state, path, None));
        }
    }

    /// Whether a file that was set aside did not turn up elsewhere meanwhile. Its cursor is set aside no more then.
    fn is_as_resumed(&mut self, state: &FileState, path: &Path) -> bool {
        match self.table.cursor(state.file_id) {
            None => true,
            Some(cursor) => {
                let stood = (&*cursor.file.path, cursor.file.epoch, cursor.offset);
                stood == (path, state.epoch, state.offset) && self.table.take_gone(state.file_id).is_some()
            }
        }
    }

    pub(super) fn take_up(&mut self, state: &FileState, path: Arc<Path>, root: usize) {
        let agent = self.roots[root].root.agent_at(&path);
        let cursor = resumed(state, path, agent);
        if state.state == Presence::Gone {
            return self.table.bury(cursor);
        }
        for link in &state.links {
            let link = Key(Path::new(link).into());
            self.links.insert(link, (state.identity(), self.walk));
        }
        let mut tracked = Tracked::new(cursor, root, self.clock.now());
        if state.state == Presence::Followed {
            if let Some(sighting) = state.seen.0.filter(|seen| !self.is_lively_file(seen)) {
                tracked.believe(sighting);
            }
            let before = self.table.here(tracked.key().bytes());
            self.table.place(tracked, 0);
            if let Some(before) = before {
                self.add_former(before);
            }
        } else {
            self.table.follow_on(tracked);
            self.add_former(state.file_id);
        }
    }

    /// Whether a file changed so lately that its handle is to be kept.
    fn is_lively_file(&self, seen: &Sighting) -> bool {
        self.clock.utc().duration_since(seen.mtime.timestamp()).unsigned_abs() < HOT_WINDOW
    }

    /// Whether a path is one of the files that are watched below a root that is there.
    pub(super) fn is_log(&self, root: usize, path: &Path) -> bool {
        let watched = &self.roots[root].root;
        let Some(place) = &watched.place else {
            return false;
        };
        let alone = || place.only.is_some() && !self.exclude.covers(watched, Path::new(""));
        let below = || {
            path.strip_prefix(&place.directory)
                .is_ok_and(|relative| self.matches(root, relative) && !self.exclude.covers(watched, relative))
        };
        if place.only.is_some() {
            place.holds(path) && (alone() || below())
        } else {
            below()
        }
    }

    /// Says which roots were looked at for the first time. False when that was refused.
    pub(super) fn tell_first_passes(&mut self, sink: &mut dyn EventSink) -> Result<bool, Error> {
        for watched in &mut self.roots {
            if let FirstPass::Now(_) = watched.first_pass {
                let root = &watched.root.resolved;
                if sink.fact(&Fact::FirstPass { root })? == Verdict::Refused {
                    return Ok(false);
                }
                watched.first_pass = FirstPass::Done;
            }
        }
        Ok(true)
    }
}

fn resumed(state: &FileState, path: Arc<Path>, agent: Option<Arc<str>>) -> Cursor {
    let file = LogFile {
        file_id: state.file_id,
        epoch: state.epoch,
        path,
        identity: state.identity(),
        agent,
    };
    Cursor::resumed(Arc::new(file), state)
}

impl WatchedRoot {
    pub(super) fn new(globs: Globs, root: Root, fold: &Fold) -> Self {
        let seen = fold.roots.contains(&path_to_text(&root.resolved).0);
        Self {
            first_pass: if seen { FirstPass::Done } else { FirstPass::ToCome },
            root,
            globs,
            directory: None,
            last: None,
            overflow_told: false,
            refused: None,
            refused_for_good: false,
        }
    }

    /// Says once why what appeared is not watched. Of what nobody misses, and of what leads out of the scope, nobody
    /// else tells.
    pub(super) fn tell_refused(&mut self, error: &Error) {
        self.refused_for_good = error.io_cause().is_none();
        let text = error.to_string();
        if self.refused.as_ref() == Some(&text) {
            return;
        }
        if error.kind() == ErrorKind::Scope {
            log::error!(code = scope::VIOLATION; "{error}: nothing in it is opened");
        } else if self.root.spec.optional && error.io_cause().is_none() {
            let shown = Shown::path(&self.root.spec.path).to_string();
            log::warn!(code = "watcher.root_left_out", path = shown.as_str();
                "{shown} is left out until the next start: {error}");
        }
        self.refused = Some(text);
    }

    /// As it is told to people: not while nobody misses it.
    pub(super) fn told(&self) -> Option<WatchedPath> {
        let Root { spec, resolved, place } = &self.root;
        (place.is_some() || !spec.optional).then(|| WatchedPath {
            path: resolved.clone(),
            agent: spec.agent.clone(),
            noticing: Noticing::Poll,
            polled: 0,
            polled_first: Vec::new(),
        })
    }
}
