//! The handles that are kept open, so that what a file still holds can be read when its path shows another.

use std::collections::BTreeMap;

use super::table::Key;
use crate::limits::HANDLES_MAX;
use crate::source::tree::Log;

/// At most one handle for each path, of the file that is followed there. Beyond the bound, the one that was kept
/// first is closed.
pub(super) struct Handles {
    kept: BTreeMap<Key, Kept>,
    by_age: BTreeMap<u64, Key>,
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

    /// The paths that a handle is kept for.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.kept.keys()
    }

    pub(super) fn keep(&mut self, key: &Key, log: Box<dyn Log>) {
        self.take(key);
        let age = self.next_age;
        self.next_age += 1;
        self.kept.insert(key.clone(), Kept { log, age });
        self.by_age.insert(age, key.clone());
        if self.kept.len() > self.max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.kept.remove(&oldest);
        }
    }

    /// Gives up the handle of a path, to its caller or, when that drops it, for good.
    pub(super) fn take(&mut self, key: &Key) -> Option<Box<dyn Log>> {
        let kept = self.kept.remove(key)?;
        self.by_age.remove(&kept.age);
        Some(kept.log)
    }
}

/// How many handles may stay open: the bound, and well under what the process may have.
pub(super) fn handles_max() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half = limit.map_or(HANDLES_MAX as u64, |limit| limit / 2);
    HANDLES_MAX.min(usize::try_from(half).unwrap_or(HANDLES_MAX))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;

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

    fn key(name: &str) -> Key {
        Key(Path::new(name).into())
    }

    fn number(log: Option<Box<dyn Log>>) -> Option<usize> {
        log.map(|log| log.read_at(&mut [], 0).unwrap())
    }

    #[test]
    fn the_one_that_was_kept_first_goes_first() {
        let mut handles = Handles::up_to(2);
        handles.keep(&key("a"), Box::new(Numbered(1)));
        handles.keep(&key("b"), Box::new(Numbered(2)));
        // What was taken and kept again is the youngest, and a second one of a path takes the place of the first.
        let a = handles.take(&key("a")).unwrap();
        handles.keep(&key("a"), a);
        handles.keep(&key("a"), Box::new(Numbered(3)));
        handles.keep(&key("c"), Box::new(Numbered(4)));
        assert_eq!(number(handles.take(&key("b"))), None);
        assert_eq!(number(handles.take(&key("a"))), Some(3));
        assert_eq!(number(handles.take(&key("c"))), Some(4));
        assert!(handles.by_age.is_empty());
    }
}
