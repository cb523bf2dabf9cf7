//! The subtrees of which nothing is told: why, and what is done instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::notifier::Notifier;
use crate::limits::UNKNOWN_SHOWN_MAX;
use crate::show::Shown;
use crate::source::tailer::{Change, Entered, Hints};
use crate::source::{PolledPath, WatchedPath};

/// Why nothing is told of a subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Why {
    /// The system does not know of all changes there.
    Blind(String),
    /// No more directories can be watched.
    Exhausted,
    /// Another error.
    Failed(String),
}

impl Why {
    fn text(&self) -> String {
        match self {
            Self::Blind(why) | Self::Failed(why) => why.clone(),
            Self::Exhausted => "no more directories can be watched".into(),
        }
    }
}

/// The subtrees of which nothing is told.
#[derive(Default)]
pub(super) struct Unwatched {
    /// They are left to the sweeps, since polling was not asked for.
    is_left_to_sweeps: bool,
    /// The top of each, its root, and why.
    places: BTreeMap<PathBuf, (usize, Why)>,
    /// Why nothing is told of a device, as far as it was asked since the last sweep began.
    devices: HashMap<u64, Option<String>>,
    /// Those that were told of.
    told: BTreeSet<PathBuf>,
    exhaustion_told: bool,
}

impl Unwatched {
    pub(super) fn new(is_left_to_sweeps: bool) -> Self {
        Self {
            is_left_to_sweeps,
            ..Self::default()
        }
    }

    /// Whether something must be polled.
    pub(super) fn is_polled(&self) -> bool {
        !self.is_left_to_sweeps && !self.places.is_empty()
    }

    /// Whether a path is in one that is polled.
    pub(super) fn is_polled_at(&self, path: &Path) -> bool {
        !self.is_left_to_sweeps && self.covers(path)
    }

    /// Whether a path is in one of them.
    pub(super) fn covers(&self, path: &Path) -> bool {
        !self.places.is_empty() && path.ancestors().any(|above| self.places.contains_key(above))
    }

    /// Where to look when they are polled.
    pub(super) fn places(&self, hints: &mut Hints) {
        for (path, (root, _)) in &self.places {
            hints.add(*root, path.clone(), Change::Entry);
        }
    }

    /// All of them are tried again.
    pub(super) fn begin_sweep(&mut self) {
        self.places.clear();
        self.devices.clear();
    }

    pub(super) fn end_sweep(&mut self) {
        let places = &self.places;
        self.told.retain(|path| places.contains_key(path));
        let is_exhausted = |(_, why): &(usize, Why)| *why == Why::Exhausted;
        self.exhaustion_told &= places.values().any(is_exhausted);
    }

    /// Why nothing is told of a directory, as far as its filesystem says.
    pub(super) fn blindness(&mut self, entered: &Entered<'_>, notifier: &dyn Notifier) -> Option<String> {
        let known = self.devices.entry(entered.identity.device);
        known.or_insert_with(|| notifier.blindness(entered.directory)).clone()
    }

    pub(super) fn add_blind(&mut self, entered: &Entered<'_>, why: String) {
        self.add(entered, Why::Blind(why));
    }

    pub(super) fn add_failed(&mut self, entered: &Entered<'_>, error: &io::Error) {
        let is_exhausted = error.raw_os_error() == Some(Errno::NOSPC.raw_os_error());
        self.add(
            entered,
            if is_exhausted {
                Why::Exhausted
            } else {
                Why::Failed(error.to_string())
            },
        );
    }

    fn add(&mut self, entered: &Entered<'_>, why: Why) {
        self.tell(entered.path, &why);
        self.places.insert(entered.path.to_owned(), (entered.root, why));
    }

    /// Says it once, with what to do.
    fn tell(&mut self, path: &Path, why: &Why) {
        let instead = if self.is_left_to_sweeps {
            "it is looked at by the slow sweeps alone; without `--source notify` it is polled"
        } else {
            "it is polled instead"
        };
        let shown = Shown::path(path).to_string();
        if *why == Why::Exhausted {
            if !std::mem::replace(&mut self.exhaustion_told, true) {
                log::warn!(code = "watcher.watches_exhausted", path = shown.as_str();
                    "no more directories can be watched from {shown} on: {instead}, like others that come later; raise fs.inotify.max_user_watches with sysctl, or watch less");
            }
        } else if self.told.insert(path.to_owned()) {
            log::warn!(code = "watcher.not_notified", path = shown.as_str();
                "changes in {shown} come untold ({}): {instead}; lines come later there, nothing is lost", why.text());
        }
    }

    /// Adds them to the roots that they are in.
    pub(super) fn show(&self, roots: &mut [WatchedPath]) {
        for root in roots {
            let polled = self.places.iter().filter(|(path, _)| path.starts_with(&root.path));
            root.polled_first = polled
                .clone()
                .take(UNKNOWN_SHOWN_MAX)
                .map(|(path, (_, why))| PolledPath {
                    path: path.clone(),
                    why: why.text()
                        + if self.is_left_to_sweeps {
                            "; left to the sweeps"
                        } else {
                            ""
                        },
                })
                .collect();
            root.polled = polled.count() as u64;
        }
    }
}
