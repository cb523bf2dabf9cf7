//! The cursor table: files by id, and what was seen last at each path and inode.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::tracked::Tracked;
use crate::pure::identity::Identity;
use crate::source::tail::Cursor;

/// A path, ordered by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(pub(super) Arc<Path>);

impl Key {
    pub(super) fn bytes(&self) -> &[u8] {
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

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        self.bytes()
    }
}

/// The bytes of a path.
pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

/// What was seen last at a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct At {
    /// The file that was followed there; it stands elsewhere by now if its path is another one.
    pub(super) file: Ulid,
    /// Below which root.
    pub(super) root: usize,
    /// The last walk that found anything there.
    pub(super) walk: u64,
}

/// Device, inode number and birth: a number is given away again.
type Inode = (u64, u64, Option<Timestamp>);

fn inode(identity: &Identity) -> Inode {
    (identity.device, identity.inode, identity.btime)
}

/// What was seen last at each path. Walks ask for every path, in no order, and a comparison of two paths is slow: they are
/// found by their hash, and are in order beside that where anybody asks for that.
#[derive(Default)]
pub(super) struct Paths {
    all: HashMap<Key, At>,
    /// None until it is asked for.
    order: Option<BTreeSet<Key>>,
}

impl Paths {
    pub(super) fn get(&self, path: &[u8]) -> Option<&At> {
        self.all.get(path)
    }

    pub(super) fn contains(&self, path: &[u8]) -> bool {
        self.all.contains_key(path)
    }

    /// In no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &At)> {
        self.all.iter()
    }

    /// Those below a directory, in order.
    pub(super) fn below(&mut self, directory: &[u8]) -> impl Iterator<Item = (&Key, &At)> {
        let mut start = directory.to_owned();
        if !start.ends_with(b"/") {
            start.push(b'/');
        }
        let from = (Bound::Included(start.as_slice()), Bound::Unbounded);
        let all = &self.all;
        let order = self.order.get_or_insert_with(|| all.keys().cloned().collect());
        let keys = order.range::<[u8], _>(from);
        let keys = keys.take_while(move |key| key.bytes().starts_with(&start));
        keys.filter_map(|key| Some((key, all.get(key)?)))
    }

    fn insert(&mut self, key: Key, at: At) {
        match &mut self.order {
            None => drop(self.all.insert(key, at)),
            Some(order) => {
                if self.all.insert(key.clone(), at).is_none() {
                    order.insert(key);
                }
            }
        }
    }

    pub(super) fn remove(&mut self, path: &Key) {
        self.all.remove(path);
        if let Some(order) = &mut self.order {
            order.remove(path);
        }
    }
}

/// How a file counts in the sums of the table.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// What it came to when it was counted.
    sums: Sums,
    /// It is to be counted anew.
    is_touched: bool,
}

/// Files by id; paths and inodes lead to them.
#[derive(Default)]
pub(super) struct Table {
    pub(super) files: HashMap<Ulid, Box<Tracked>>,
    pub(super) at: Paths,
    /// Following them has ended; kept, since they may come back.
    pub(super) gone: BTreeMap<Ulid, Cursor>,
    /// By the path that they had, the last one last.
    gone_at: BTreeMap<Key, Vec<Ulid>>,
    inodes: BTreeMap<Inode, Ulid>,
    /// What the files come to, but for those in `touched`.
    sums: Sums,
    /// Files that may come to something else by now.
    touched: Vec<Ulid>,
}

/// What files come to, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) size: u64,
    pub(super) backlog: u64,
}

impl Table {
    pub(super) fn get(&self, id: Ulid) -> Option<&Tracked> {
        self.files.get(&id).map(|tracked| &**tracked)
    }

    /// It counts anew from the next [`Self::sums`] on.
    pub(super) fn get_mut(&mut self, id: Ulid) -> Option<&mut Tracked> {
        let tracked = self.files.get_mut(&id)?;
        if !std::mem::replace(&mut tracked.counted.is_touched, true) {
            self.touched.push(id);
        }
        Some(tracked)
    }

    /// Makes room for so many files.
    pub(super) fn reserve(&mut self, files: usize) {
        self.files.reserve(files);
        self.at.all.reserve(files);
    }

    /// Counts what was touched.
    pub(super) fn count(&mut self) {
        for id in std::mem::take(&mut self.touched) {
            let Some(tracked) = self.files.get_mut(&id) else {
                continue;
            };
            let now = Sums {
                size: tracked.size,
                backlog: tracked.backlog_bytes(),
            };
            let before = std::mem::take(&mut tracked.counted).sums;
            tracked.counted.sums = now;
            self.sums.size = self.sums.size - before.size + now.size;
            self.sums.backlog = self.sums.backlog - before.backlog + now.backlog;
        }
    }

    /// What the files came to when they were counted.
    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    fn add(&mut self, mut tracked: Box<Tracked>) {
        let id = tracked.cursor.file.file_id;
        let sums = Sums {
            size: tracked.size,
            backlog: tracked.backlog_bytes(),
        };
        tracked.counted = Counted {
            sums,
            is_touched: false,
        };
        self.sums.size += sums.size;
        self.sums.backlog += sums.backlog;
        self.files.insert(id, tracked);
    }

    /// The cursor of a file, gone or not.
    pub(super) fn cursor(&self, id: Ulid) -> Option<&Cursor> {
        let followed = self.files.get(&id).map(|tracked| &tracked.cursor);
        followed.or_else(|| self.gone.get(&id))
    }

    /// The file that stands at a path, as far as we know.
    pub(super) fn here(&self, path: &[u8]) -> Option<Ulid> {
        let at = self.at.get(path)?;
        self.stands_at(at.file, path).then_some(at.file)
    }

    /// Whether a file is followed at this very path.
    fn stands_at(&self, id: Ulid, path: &[u8]) -> bool {
        let tracked = self.files.get(&id);
        tracked.is_some_and(|tracked| tracked.cursor.file.path.as_os_str().as_bytes() == path)
    }

    /// A walk found a file of this size at a path. Returns the one that stands there, as far as we know, to be marked as
    /// seen; what changes its sums is not to be changed.
    pub(super) fn saw(&mut self, path: &[u8], size: u64, walk: u64) -> Option<&mut Tracked> {
        let at = self.at.all.get_mut(path)?;
        at.walk = walk;
        let tracked = self.files.get_mut(&at.file)?;
        if tracked.cursor.file.path.as_os_str().as_bytes() != path {
            return None;
        }
        if tracked.size != size && !std::mem::replace(&mut tracked.counted.is_touched, true) {
            self.touched.push(at.file);
        }
        tracked.size = size;
        Some(tracked)
    }

    /// The file that has this inode, gone or not; of several, since not every birth is known, one that is followed.
    pub(super) fn by_inode(&self, identity: &Identity) -> Option<Ulid> {
        let all = self.same_inode(identity);
        let mut known = all.filter(|id| self.cursor(*id).is_some());
        let first = known.next()?;
        let followed = |id: &Ulid| self.files.contains_key(id);
        std::iter::once(first).chain(known).find(followed).or(Some(first))
    }

    /// The files that may have this inode.
    fn same_inode(&self, identity: &Identity) -> impl Iterator<Item = Ulid> {
        let (device, number) = (identity.device, identity.inode);
        let range = (device, number, None)..=(device, number, Some(Timestamp::MAX));
        let birth = identity.btime;
        let same = move |known: &Inode| birth.is_none() || known.2.is_none() || known.2 == birth;
        let all = self.inodes.range(range);
        all.filter(move |(known, _)| same(known)).map(|(_, id)| *id)
    }

    /// The files that were followed last at a path and are gone, the last one first.
    pub(super) fn gone_at(&self, path: &[u8]) -> impl Iterator<Item = Ulid> {
        self.gone_at.get(path).into_iter().flatten().rev().copied()
    }

    /// A file stands at its path from now on. Returns the one that had its inode before, if that was another.
    pub(super) fn place(&mut self, tracked: Tracked, walk: u64) -> Option<Ulid> {
        let (id, root, key) = (tracked.cursor.file.file_id, tracked.root, tracked.key());
        let before = self.index(&tracked.cursor);
        self.at.insert(key, At { file: id, root, walk });
        self.add(Box::new(tracked));
        before
    }

    /// A file that no path shows is followed by its handle.
    pub(super) fn follow_on(&mut self, tracked: Tracked) {
        self.index(&tracked.cursor);
        self.add(Box::new(tracked));
    }

    /// The inode is this file's, and nobody else's. Returns who followed it before.
    fn index(&mut self, cursor: &Cursor) -> Option<Ulid> {
        let identity = cursor.file.identity;
        let id = cursor.file.file_id;
        let others: Vec<_> = self.same_inode(&identity).filter(|other| *other != id).collect();
        for other in &others {
            if let Some(place) = self.cursor(*other).map(|other| inode(&other.file.identity)) {
                self.inodes.remove(&place);
            }
        }
        self.inodes.insert(inode(&identity), id);
        others.into_iter().find(|other| self.files.contains_key(other))
    }

    /// Takes a file out, to be placed again.
    pub(super) fn take(&mut self, id: Ulid) -> Option<Tracked> {
        let tracked = self.files.remove(&id)?;
        self.sums.size -= tracked.counted.sums.size;
        self.sums.backlog -= tracked.counted.sums.backlog;
        self.forget_inode(&tracked.cursor);
        Some(*tracked)
    }

    /// Takes the cursor of a gone file out, to be placed again.
    pub(super) fn take_gone(&mut self, id: Ulid) -> Option<Cursor> {
        let cursor = self.gone.remove(&id)?;
        self.forget_inode(&cursor);
        let path = cursor.file.path.as_os_str().as_bytes();
        if let Some(there) = self.gone_at.get_mut(path) {
            there.retain(|other| *other != id);
            if there.is_empty() {
                self.gone_at.remove(path);
            }
        }
        Some(cursor)
    }

    /// Following a file has ended.
    pub(super) fn bury(&mut self, cursor: Cursor) {
        let id = cursor.file.file_id;
        let holder = self.inodes.entry(inode(&cursor.file.identity)).or_insert(id);
        // Nobody who lives gives way to the dead; of the dead, the last one counts.
        if !self.files.contains_key(holder) {
            *holder = id;
        }
        let key = Key(Arc::clone(&cursor.file.path));
        self.gone_at.entry(key).or_default().push(id);
        self.gone.insert(id, cursor);
    }

    /// Whether the inode of a file has not become another file's.
    pub(super) fn has_its_inode(&self, id: Ulid) -> bool {
        let cursor = self.cursor(id);
        cursor.is_some_and(|cursor| self.inodes.get(&inode(&cursor.file.identity)) == Some(&id))
    }

    fn forget_inode(&mut self, cursor: &Cursor) {
        let place = inode(&cursor.file.identity);
        if self.inodes.get(&place) == Some(&cursor.file.file_id) {
            self.inodes.remove(&place);
        }
    }

    /// The filesystem of a file came back under another device number.
    pub(super) fn move_to_device(&mut self, id: Ulid, device: u64) {
        if let Some(mut tracked) = self.take(id) {
            tracked.cursor.move_to_device(device);
            self.follow_on(tracked);
        }
    }
}
