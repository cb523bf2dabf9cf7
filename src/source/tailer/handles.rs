//! The handles that are kept open, so that what a file still holds can be read when its path shows another.

use std::collections::BTreeMap;

use ulid::Ulid;

use crate::limits::{HANDLES_MAX, HANDLES_SPARED};
use crate::source::tree::Log;

/// At most one handle for each file. The one that was kept first is the one of the file that has been quiet longest,
/// since a handle is taken and kept again whenever its file is visited.
pub(super) struct Handles {
    kept: BTreeMap<Ulid, Kept>,
    by_age: BTreeMap<u64, Ulid>,
    next_age: u64,
    max: usize,
}

struct Kept {
    log: Box<dyn Log>,
    age: u64,
}

impl Handles {
    pub(super) fn up_to(max: usize) -> Self {
        Self {
            kept: BTreeMap::new(),
            by_age: BTreeMap::new(),
            next_age: 0,
            max,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The files that a handle is kept for.
    pub(super) fn ids(&self) -> impl Iterator<Item = Ulid> {
        self.kept.keys().copied()
    }

    pub(super) fn holds(&self, id: Ulid) -> bool {
        self.kept.contains_key(&id)
    }

    /// The handle of a file, to look at it.
    pub(super) fn get(&self, id: Ulid) -> Option<&dyn Log> {
        self.kept.get(&id).map(|kept| &*kept.log)
    }

    pub(super) fn keep(&mut self, id: Ulid, log: Box<dyn Log>) {
        self.take(id);
        let age = self.next_age;
        self.next_age += 1;
        self.kept.insert(id, Kept { log, age });
        self.by_age.insert(age, id);
    }

    /// The files whose handles are too many, the quietest first.
    pub(super) fn surplus(&self) -> Vec<Ulid> {
        let surplus = self.kept.len().saturating_sub(self.max);
        self.by_age.values().take(surplus).copied().collect()
    }

    /// Gives up the handle of a file, to its caller or, when that drops it, for good.
    pub(super) fn take(&mut self, id: Ulid) -> Option<Box<dyn Log>> {
        let kept = self.kept.remove(&id)?;
        self.by_age.remove(&kept.age);
        Some(kept.log)
    }
}

/// How many handles may stay open: the bound, and well under what the process may have.
pub(crate) fn handles_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
        return HANDLES_MAX;
    };
    HANDLES_MAX.min(limit / 2).min(limit.saturating_sub(HANDLES_SPARED))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::source::tree::Stat;

    struct Numbered(u64);

    impl Log for Numbered {
        fn stat(&self) -> io::Result<Stat> {
            Err(io::ErrorKind::Unsupported.into())
        }

        fn read_at(&self, _: &mut [u8], _: u64) -> io::Result<usize> {
            usize::try_from(self.0).map_err(io::Error::other)
        }
    }

    fn number(log: Option<Box<dyn Log>>) -> Option<usize> {
        log.map(|log| log.read_at(&mut [], 0).unwrap())
    }

    #[test]
    fn the_one_that_was_kept_first_goes_first() {
        let [a, b, c] = [1, 2, 3].map(Ulid);
        let mut handles = Handles::up_to(2);
        handles.keep(a, Box::new(Numbered(1)));
        handles.keep(b, Box::new(Numbered(2)));
        assert_eq!(handles.surplus(), []);
        // What was taken and kept again is the youngest, and a second one of a file takes the place of the first.
        let again = handles.take(a).unwrap();
        handles.keep(a, again);
        handles.keep(a, Box::new(Numbered(3)));
        handles.keep(c, Box::new(Numbered(4)));
        assert_eq!(handles.surplus(), [b]);
        assert_eq!(number(handles.take(b)), Some(2));
        assert_eq!(number(handles.take(a)), Some(3));
        assert_eq!(number(handles.take(c)), Some(4));
        assert!(handles.by_age.is_empty());
    }
}
