//! What could not be looked at: counted, told once, and tried again. Nothing changes for it.

use std::path::Path;
use std::sync::Arc;

use ulid::Ulid;

use super::table::Key;
use super::{FirstPass, LOOK_FAILED, Tailer, Turn, Unknown};
use crate::pure::step::Why;
use crate::show::Shown;

/// The code of a root that is not there.
const ROOT_MISSING: &str = "watcher.root_missing";

/// The code of a line that does not fit.
const NO_ROOM: &str = "queue.line_does_not_fit";

impl Tailer {
    /// A look at a path failed.
    pub(super) fn look_failed(&mut self, key: &Key, error: &std::io::Error) -> Turn {
        if error.kind() == std::io::ErrorKind::NotFound {
            // The next sweep says whether it is gone. Of one that was read to its end, nothing is unknown.
            if self.tracked_at(key).is_none_or(|tracked| tracked.seen.is_none()) {
                self.count_unknown(&key.0, "it was gone when it was to be read");
            }
            return Turn::Unknown;
        }
        self.not_known(key, Why::Failed, &error.to_string())
    }

    /// Nothing changes; it is looked at again by the next sweep.
    pub(super) fn not_known(&mut self, key: &Key, why: Why, cause: &str) -> Turn {
        if let Some(tracked) = self.tracked_at_mut(key) {
            tracked.seen = None;
        }
        self.note_unknown(&key.0.clone(), why, cause);
        Turn::Unknown
    }

    /// Whether a path, or a directory above it, could not be looked at.
    pub fn is_unknown_at(&self, path: &Path) -> bool {
        !self.unknown.is_empty() && path.ancestors().any(|above| self.unknown.contains_key(above))
    }

    fn count_unknown(&mut self, path: &Path, why: &str) {
        let unknown = Unknown {
            tried: self.walk,
            why: why.to_owned(),
        };
        self.unknown.insert(path.to_owned(), unknown);
    }

    /// Counts a path as unknown. Whether this is still to be told.
    fn is_news(&mut self, path: &Path, code: &'static str, why: &str) -> bool {
        self.count_unknown(path, why);
        self.told.insert((path.to_owned(), code))
    }

    /// A former file could not be read. Its path is another's by now, or nobody's, and is left alone.
    pub(super) fn former_not_known(&mut self, id: Ulid, cause: &str) -> Turn {
        if self.fails_for_the_first_time(id) {
            let Some(tracked) = self.table.get(id) else {
                return Turn::Done;
            };
            let shown = Shown::path(&tracked.cursor.file.path).to_string();
            log::warn!(code = LOOK_FAILED, path = shown.as_str();
                "cannot read on in the file that stood at {shown}: {cause}; it is tried again");
        }
        Turn::Unknown
    }

    fn fails_for_the_first_time(&mut self, id: Ulid) -> bool {
        let now = self.clock.now();
        let Some(tracked) = self.table.get_mut(id) else {
            return false;
        };
        tracked.seen = None;
        let first = tracked.fails_since.is_none();
        tracked.fails_since.get_or_insert(now);
        first
    }

    /// There is no room for the next line of a file: it waits, and the others go on.
    pub(super) fn no_room(&mut self, id: Ulid, length: u64) -> Turn {
        let Some(tracked) = self.table.get_mut(id) else {
            return Turn::Done;
        };
        tracked.seen = None;
        let path = Arc::clone(&tracked.cursor.file.path);
        let is_news = if self.formers.contains(&id) {
            self.fails_for_the_first_time(id)
        } else {
            self.is_news(&path, NO_ROOM, "a line of it does not fit the disk")
        };
        if is_news {
            let shown = Shown::path(&path).to_string();
            log::warn!(code = NO_ROOM, path = shown.as_str(), length = length;
                "a line of {length} bytes in {shown} does not fit the disk: the file waits, others go on; make room");
        }
        Turn::NoRoom
    }

    /// A root that nobody named is not there, and was there when this home was filled: nothing is concluded, and it is
    /// told once.
    pub(super) fn tell_missing(&mut self, root: usize) {
        let watched = &self.roots[root];
        let told = (watched.root.resolved.clone(), ROOT_MISSING);
        if watched.first_pass == FirstPass::Done && watched.refused.is_none() && !self.told.contains(&told) {
            let shown = Shown::path(&told.0).to_string();
            log::warn!(code = ROOT_MISSING, path = shown.as_str();
                "{shown} was watched before and is not there; what was captured of it stays, and it is waited for");
            self.told.insert(told);
        }
    }

    /// Counts a path that cannot be looked at, and says so once.
    pub(super) fn note_unknown(&mut self, path: &Path, why: Why, cause: &str) {
        let code = match why {
            Why::Failed | Why::Vanished => LOOK_FAILED,
            Why::RootMissing => ROOT_MISSING,
            Why::OtherDevice => "watcher.other_device",
        };
        let shown_why = match why {
            Why::Failed | Why::Vanished => cause,
            Why::RootMissing => "it is not there",
            Why::OtherDevice => "it is on another device than before",
        };
        if !self.is_news(path, code, shown_why) {
            return;
        }
        let shown = Shown::path(path).to_string();
        match why {
            Why::Failed | Why::Vanished => log::warn!(code = code, path = shown.as_str();
                "cannot look at {shown}: {cause}; nothing changes for it, and it is tried again"),
            Why::RootMissing => {
                let waits = if self.once { "" } else { "; it is waited for" };
                log::warn!(code = code, path = shown.as_str(); "{shown} is not there{waits}");
            }
            Why::OtherDevice => log::warn!(code = code, path = shown.as_str();
                "{shown} is on another device than before, with other content; nothing changes for it"),
        }
    }
}
