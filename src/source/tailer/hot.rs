//! The look at hot files: those that changed lately, and those whose handle is kept.

use std::io;
use std::path::Path;
use std::time::Instant;

use ulid::Ulid;

use super::Tailer;
use super::paths::LastParent;
use super::tracked::Tracked;
use super::turn::is_gone;
use super::walk::Found;
use crate::limits::DRAIN_QUIET;
use crate::source::tree::Stat;

/// What a hot file needs.
struct Needs {
    turn: bool,
    /// It is hot no longer.
    is_cold: bool,
    /// Nothing can be left in it: its handle may be closed.
    is_quiet: bool,
}

impl Tailer {
    /// Whether a file changed lately that is where it was.
    pub fn is_hot(&self) -> bool {
        !self.hot.is_empty()
    }

    /// Looks at the files that changed lately or whose handle is kept, as far as their paths are wanted, and queues a turn
    /// for each that moved.
    pub fn look_at_hot(&mut self, wanted: &dyn Fn(&Path) -> bool) {
        let now = self.clock.now();
        let mut moved = Vec::new();
        let only_kept = self.handles.ids().filter(|id| !self.hot.contains(id));
        let all = self.hot.iter().copied().chain(only_kept);
        let is_wanted = |id: &Ulid| {
            self.table
                .get(*id)
                .is_none_or(|tracked| wanted(&tracked.cursor.file.path))
        };
        let all: Vec<_> = all.filter(is_wanted).collect();
        let mut last_parent = LastParent::default();
        for id in all {
            if self.formers.contains(&id) {
                self.look_at_former(id, now);
                continue;
            }
            let Some(tracked) = self.table.get(id) else {
                self.hot.remove(&id);
                self.handles.take(id);
                continue;
            };
            let (key, root, size) = (tracked.key(), tracked.root, tracked.size);
            let needs = self.needs(tracked, self.stat_near(&key, root, &mut last_parent), now);
            if needs.turn && !self.is_over(&key, root) {
                moved.push(Found {
                    key,
                    root,
                    size,
                    identity: None,
                    is_told_only: false,
                });
            }
            if needs.is_cold {
                self.hot.remove(&id);
                if let Some(tracked) = self.table.get_mut(id) {
                    tracked.hot_until = None;
                }
            }
            if needs.is_quiet {
                self.handles.take(id);
            }
        }
        self.queue(moved, Vec::new(), false);
    }

    fn needs(&self, tracked: &Tracked, found: io::Result<Stat>, now: Instant) -> Needs {
        let waits = tracked.racy_until.is_some() || tracked.has_untried_tail();
        let is_cold = tracked.hot_until.is_none_or(|until| now >= until) && !waits;
        let last = is_cold && tracked.hot_until.is_some();
        let unknown = self.unknown.get(&*tracked.cursor.file.path);
        let tried = unknown.is_some_and(|unknown| unknown.tried == self.walk);
        let (turn, is_quiet) = match found {
            Ok(stat) if tracked.is_unmoved(&stat, now) => (tracked.may_settle(now), is_cold),
            // What is unknown is tried once a sweep, also below a root that is not there, where no sweep finds it.
            // What cannot be found has a last look.
            Err(error) if tried => (last && is_gone(&error), false),
            Ok(_) if tried && tracked.seen.is_none() => (false, false),
            Ok(_) | Err(_) => (true, false),
        };
        Needs {
            turn,
            is_cold,
            is_quiet,
        }
    }

    /// A former file is looked at by its handle alone.
    pub(super) fn look_at_former(&mut self, id: Ulid, now: Instant) {
        self.hot.remove(&id);
        let (Some(tracked), Some(log)) = (self.table.get(id), self.handles.get(id)) else {
            return;
        };
        let wanted = match log.stat() {
            Ok(stat) => {
                let is_over = stat.links > 0 && now >= tracked.quiet_since + DRAIN_QUIET;
                !tracked.is_unmoved(&stat, now) || tracked.may_settle(now) || is_over
            }
            Err(_) => true,
        };
        if wanted {
            self.queue_former(id);
        }
    }
}
