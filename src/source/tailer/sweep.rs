//! Finding what moved: the sweep over all roots, and who has its turn then.

use std::path::Path;

use ulid::Ulid;

use super::table::{Key, bytes};
use super::tracked::Tracked;
use super::walk::{Entering, Found, Walk};
use super::{FirstPass, Job, Queued, Tailer};
use crate::pure::step::Why;
use crate::show::Shown;

impl Tailer {
    /// Walks all roots, and queues a turn for each file that moved since it was last caught up with, and a
    /// second look at those that were not found. Reads no file.
    pub fn sweep(&mut self, entering: &mut dyn Entering) {
        self.sweep += 1;
        self.walk += 1;
        self.symlinks.clear();
        self.elsewhere.clear();
        let mut walk = Walk::default();
        for root in 0..self.roots.len() {
            if let Err((why, cause)) = self.open_root(root) {
                let watched = &mut self.roots[root];
                watched.directory = None;
                let path = watched.root.resolved.clone();
                if watched.told().is_some() || why == Why::Failed {
                    self.note_unknown(&path, why, &cause.to_string());
                } else {
                    self.tell_missing(root);
                }
                walk.incomplete.insert(path);
                continue;
            }
            if self.roots[root].first_pass == FirstPass::ToCome {
                self.roots[root].first_pass = FirstPass::Now(self.sweep);
            }
            self.walk(root, &mut walk, entering);
            self.keep_first(root, &mut walk);
        }
        self.match_inodes(&mut walk.found);
        let missing = self.missing_keys(&walk);
        let (sweep, moved) = (self.sweep, walk.found.len());
        log::debug!("sweep {sweep}: {moved} files moved, {} are missing", missing.len());
        self.queue(std::mem::take(&mut walk.found), missing, true);
        self.queue_formers();
        self.forget_known(&walk, |_| true);
        let (stamp, unknown, symlinks) = (self.walk, &self.unknown, &self.symlinks);
        self.told
            .retain(|(path, _)| unknown.contains_key(path) || symlinks.contains(path));
        self.links.retain(|key, (_, seen)| *seen == stamp || walk.hides(&key.0));
    }

    /// What was not known before is known by now, if this walk came there and it is not hidden and does not wait for its
    /// turn or a second look.
    pub(super) fn forget_known(&mut self, walk: &Walk, came_to: impl Fn(&Path) -> bool) {
        let (stamp, queued, missing) = (self.walk, &self.queued, &self.missing);
        let waits = |path: &Path| queued.contains_key(bytes(path)) || missing.contains(bytes(path));
        self.unknown
            .retain(|path, unknown| unknown.tried == stamp || !came_to(path) || waits(path) || walk.hides(path));
        self.repeats.retain(|(key, _), _| queued.contains_key(key));
    }

    /// Inodes come before paths: what is followed and was found at another path, but not at its own, is moving. What
    /// its own path shows too is only another name for it.
    pub(super) fn match_inodes(&mut self, found: &mut Vec<Found>) {
        let mut moving = Vec::new();
        found.retain(|found| {
            let identity = found.identity.as_ref();
            let Some(id) = identity.and_then(|identity| self.table.by_inode(identity)) else {
                return true;
            };
            let place = (found.key.clone(), found.root);
            let Some(tracked) = self.table.get(id) else {
                moving.push((id, place));
                return true;
            };
            if *tracked.cursor.file.path == *found.key.0 {
                return true;
            }
            if !self.is_at_its_path(tracked) {
                // Below a root that is not there nothing was looked at.
                if self.roots[tracked.root].directory.is_some() {
                    moving.push((id, place));
                }
                return true;
            }
            let stamp = self.walk;
            let noted = self.links.get_mut(&found.key);
            match noted.filter(|(known, _)| identity.is_some_and(|identity| known.same(identity))) {
                None => true,
                Some((_, seen)) => {
                    *seen = stamp;
                    false
                }
            }
        });
        self.elsewhere.extend(moving);
    }

    /// Whether the path of a file shows it, as this walk has seen or as a look of its own says.
    fn is_at_its_path(&self, tracked: &Tracked) -> bool {
        let identity = &tracked.cursor.file.identity;
        tracked.shown == self.walk || self.shows(&tracked.key(), tracked.root, identity)
    }

    /// Former files are looked at too; those without a handle are looked for, or given up.
    fn queue_formers(&mut self) {
        let now = self.clock.now();
        let formers: Vec<_> = self.formers.iter().copied().collect();
        for id in formers {
            if self.handles.holds(id) {
                self.look_at_former(id, now);
            } else {
                self.queue_former(id);
            }
        }
    }

    pub(super) fn queue_former(&mut self, id: Ulid) {
        if self.queued_formers.insert(id) {
            self.work.push_back(Job::Former(id));
        }
    }

    /// Of more files than may be watched, only the first ones are.
    fn keep_first(&mut self, root: usize, walk: &mut Walk) {
        let Some(files_max) = self.files_max else { return };
        let mut paths = std::mem::take(&mut walk.paths);
        paths.sort();
        self.roots[root].last = None;
        let Some(over) = paths.len().checked_sub(files_max).filter(|over| *over > 0) else {
            return;
        };
        self.roots[root].last = paths.get(files_max.saturating_sub(1)).cloned();
        walk.found
            .retain(|found| found.root != root || !self.is_over(&found.key, root));
        let watched = &mut self.roots[root];
        if !std::mem::replace(&mut watched.overflow_told, true) {
            let shown = Shown::path(&watched.root.resolved).to_string();
            log::warn!(code = "watcher.bounded_walk_overflow", root = shown.as_str(), max_files = files_max, overflow_count = over;
                "{shown} holds {over} files more than the {files_max} that are watched: the last ones by path are left alone");
        }
    }

    /// Whether a path is beyond the files of its root that are watched.
    pub(super) fn is_over(&self, key: &Key, root: usize) -> bool {
        self.roots[root].last.as_ref().is_some_and(|last| key > last)
    }

    /// New jobs go before what is left of earlier ones, so that a backlog never stands in their way.
    /// `missing` comes in the order in which it is put there, last first.
    /// `first_passes`: this is a sweep, and may be the first pass over a root.
    pub(super) fn queue(&mut self, mut found: Vec<Found>, missing: Vec<Key>, first_passes: bool) {
        found.sort_by(|one, two| one.key.cmp(&two.key));
        found.retain(|found| {
            // Its second look becomes a turn if anything is there.
            if self.missing.contains(&found.key) {
                return false;
            }
            let first_pass = first_passes && self.roots[found.root].first_pass == FirstPass::Now(self.sweep);
            let before = self.queued.get(&found.key);
            let queued = Queued {
                size: found.size,
                first_pass: first_pass || before.is_some_and(|queued| queued.first_pass),
                is_told_only: found.is_told_only && before.is_none_or(|queued| queued.is_told_only),
            };
            self.queued.insert(found.key.clone(), queued).is_none()
        });
        for key in missing {
            if self.missing.insert(key.clone()) {
                self.work.push_front(Job::Missing(key));
            }
        }
        for Found { key, root, .. } in found.into_iter().rev() {
            self.work.push_front(Job::File(key, root));
        }
    }

    /// The paths that this sweep did not find and that it would have found if they were there, last first.
    fn missing_keys(&self, walk: &Walk) -> Vec<Key> {
        let missing = self.table.at.iter().filter(|(_, at)| at.walk != self.walk);
        let missing = missing.filter(|(key, _)| !walk.hides(&key.0));
        let mut missing: Vec<_> = missing.map(|(key, _)| key.clone()).collect();
        missing.sort_unstable_by(|one, two| two.cmp(one));
        missing
    }
}
