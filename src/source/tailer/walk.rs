//! The walk below a root: directories are listed, files are looked at, nothing is read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Tailer;
use super::table::{Key, Table, bytes};
use crate::pure::identity::Identity;
use crate::pure::step::Why;
use crate::show::Shown;
use crate::source::roots::Root;
use crate::source::tree::{Kind, Stat};

/// Hears of each directory of a walk, after it was opened and before it is listed: whoever begins there to be told of
/// changes misses nothing between the listing and the first that is told.
pub trait Entering {
    /// A directory is about to be listed.
    fn enter(&mut self, directory: &Entered<'_>);

    /// Whether a directory need not be listed, since everything that came into it since its listing was told.
    fn knows(&self, path: &Path, identity: &Identity) -> bool;

    /// A directory above a root, and the name in it that leads to the root. Whether it will be told what becomes of it.
    fn above(&mut self, path: &Path, directory: BorrowedFd<'_>, name: &OsStr) -> bool;
}

/// Who asks everywhere need not be told.
impl Entering for () {
    fn enter(&mut self, _: &Entered<'_>) {}

    fn knows(&self, _: &Path, _: &Identity) -> bool {
        false
    }

    fn above(&mut self, _: &Path, _: BorrowedFd<'_>, _: &OsStr) -> bool {
        false
    }
}

/// A directory that is about to be listed.
pub struct Entered<'a> {
    /// Below which root, by its number.
    pub root: usize,
    /// It is the directory of the root itself.
    pub is_top: bool,
    /// Absolute.
    pub path: &'a Path,
    /// Open for reading.
    pub directory: BorrowedFd<'a>,
    /// Which one it is.
    pub identity: Identity,
}

/// A file that moved since it was last caught up with.
pub(super) struct Found {
    pub(super) key: Key,
    pub(super) root: usize,
    pub(super) size: u64,
    /// What its path shows.
    pub(super) identity: Option<Identity>,
    /// It was not looked at: it may not have moved.
    pub(super) is_told_only: bool,
}

/// What one walk found out.
#[derive(Default)]
pub(super) struct Walk {
    pub(super) found: Vec<Found>,
    /// Directories that were not listed completely; nothing below them is evidence of absence.
    pub(super) incomplete: BTreeSet<PathBuf>,
    /// Every path below the root that is walked, when only so many may be watched.
    pub(super) paths: Vec<Key>,
}

impl Walk {
    /// Whether a file could be there and was not seen.
    pub(super) fn hides(&self, path: &Path) -> bool {
        !self.incomplete.is_empty() && path.ancestors().any(|above| self.incomplete.contains(above))
    }
}

/// The names in a directory, in one piece: there are many more files than directories.
#[derive(Default)]
struct Names {
    text: Vec<u8>,
    /// Where each begins, and what it names if the directory tells.
    all: Vec<(usize, Option<Kind>)>,
}

impl Names {
    fn add(&mut self, name: &OsStr, kind: Option<Kind>) {
        if kind != Some(Kind::Other) {
            self.all.push((self.text.len(), kind));
            self.text.extend_from_slice(name.as_bytes());
        }
    }

    fn clear(&mut self) {
        self.text.clear();
        self.all.clear();
    }

    fn iter(&self) -> impl Iterator<Item = (&OsStr, Option<Kind>)> {
        let ends = self.all.iter().skip(1).map(|next| next.0).chain([self.text.len()]);
        let ranges = self.all.iter().zip(ends);
        ranges.map(|((start, kind), end)| (OsStr::from_bytes(&self.text[*start..end]), *kind))
    }
}

/// A path that grows and shrinks by a name.
struct Growing {
    text: Vec<u8>,
    directory: usize,
}

impl Growing {
    /// In this directory; the empty path is none.
    fn within(directory: &Path) -> Self {
        let mut text = bytes(directory).to_owned();
        if !text.is_empty() && !text.ends_with(b"/") {
            text.push(b'/');
        }
        let directory = text.len();
        Self { text, directory }
    }

    fn join(&mut self, name: &OsStr) -> &Path {
        self.text.truncate(self.directory);
        self.text.extend_from_slice(name.as_bytes());
        Path::new(OsStr::from_bytes(&self.text))
    }
}

/// A look at files below a root.
struct Seeing {
    root: usize,
    /// When it began, or before.
    now: Instant,
    /// The number of the walk.
    number: u64,
    wants_paths: bool,
}

impl Seeing {
    /// A file was found. It gets a turn if anything about it moved.
    fn saw(&self, table: &mut Table, path: &Path, stat: &Stat, walk: &mut Walk) {
        if stat.kind != Kind::File {
            return;
        }
        if self.wants_paths {
            walk.paths.push(Key(path.into()));
        }
        if let Some(tracked) = table.saw(bytes(path), stat.size, self.number) {
            if tracked.cursor.file.identity.same(&stat.identity) {
                tracked.shown = self.number;
            }
            if tracked.is_unmoved(stat, self.now) && !tracked.may_settle(self.now) {
                return;
            }
        }
        walk.found.push(Found {
            key: Key(path.into()),
            root: self.root,
            size: stat.size,
            identity: Some(stat.identity),
            is_told_only: false,
        });
    }
}

impl Tailer {
    pub(super) fn open_root(&mut self, root: usize) -> Result<(), (Why, io::Error)> {
        let others = self.roots.iter().enumerate().filter(|(other, _)| *other != root);
        let others: Vec<Root> = others.map(|(_, watched)| watched.root.clone()).collect();
        let home = self.home.as_ref().map(|home| home.path.as_path());
        let watched = &mut self.roots[root];
        let was_there = watched.root.place.is_some();
        if let Err(error) = watched.root.appear(&self.scope, &others, home) {
            let why = if watched.root.spec.optional && error.io_cause().is_none() {
                Why::RootMissing
            } else {
                Why::Failed
            };
            watched.tell_refused(&error);
            let cause = error.io_cause().map_or_else(|| error.to_string(), ToString::to_string);
            return Err((why, io::Error::other(cause)));
        }
        (watched.refused, watched.refused_for_good) = (None, false);
        if !was_there && watched.root.place.is_some() {
            self.resume_rest();
        }
        let watched = &mut self.roots[root];
        let Some(place) = &watched.root.place else {
            return Err((Why::RootMissing, io::ErrorKind::NotFound.into()));
        };
        match self.tree.open_root(&place.directory) {
            Ok(directory) => {
                watched.directory = Some(directory);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err((Why::RootMissing, error)),
            Err(error) => Err((Why::Failed, error)),
        }
    }

    /// Walks a root that is open.
    pub(super) fn walk(&mut self, root: usize, walk: &mut Walk, entering: &mut dyn Entering) {
        let Some(place) = self.roots[root].root.place.clone() else {
            return;
        };
        if self.exclude.covers(&self.roots[root].root, Path::new("")) {
            return;
        }
        let Some(name) = &place.only else {
            return self.walk_below(root, PathBuf::new(), walk, entering);
        };
        let path = place.directory.join(name);
        if let Err(error) = self.enter_alone(root, &place.directory, entering) {
            return self.incomplete(path, &error, walk);
        }
        match self.stat_in_root(root, Path::new(name)) {
            Ok(stat) => self.saw(root, &path, &stat, walk),
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.table.at.contains(bytes(&path)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.note_unknown(&path, Why::RootMissing, &error.to_string());
            }
            Err(error) => self.incomplete(path, &error, walk),
        }
    }

    /// Walks a directory below a root that is open, and everything below it.
    pub(super) fn walk_below(&mut self, root: usize, relative: PathBuf, walk: &mut Walk, entering: &mut dyn Entering) {
        let mut waiting = vec![relative];
        let mut names = Names::default();
        while let Some(relative) = waiting.pop() {
            if let Err(error) = self.walk_directory(root, &relative, (&mut names, &mut waiting), walk, entering)
                && let Some(place) = &self.roots[root].root.place
            {
                self.incomplete(place.directory.join(relative), &error, walk);
            }
        }
    }

    pub(super) fn incomplete(&mut self, path: PathBuf, error: &io::Error, walk: &mut Walk) {
        let why = match error.kind() {
            io::ErrorKind::NotFound => Why::Vanished,
            _ => Why::Failed,
        };
        if why == Why::Failed {
            self.note_unknown(&path, why, &error.to_string());
        }
        walk.incomplete.insert(path);
    }

    /// The directory of a root that is a file.
    fn enter_alone(&self, root: usize, path: &Path, entering: &mut dyn Entering) -> io::Result<()> {
        let Some(directory) = &self.roots[root].directory else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = directory.as_fd();
        let identity = self.tree.stat(directory, Path::new(""))?.identity;
        entering.enter(&Entered {
            root,
            is_top: true,
            path,
            directory,
            identity,
        });
        Ok(())
    }

    /// Opens a directory to be listed, once whoever wants to was told of it; None for the home.
    fn enter(
        &self,
        root: usize,
        path: &Path,
        relative: &Path,
        entering: &mut dyn Entering,
    ) -> io::Result<Option<OwnedFd>> {
        let Some(top) = &self.roots[root].directory else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let directory = self.tree.open_dir(top.as_fd(), relative)?;
        let identity = self.tree.stat(directory.as_fd(), Path::new(""))?.identity;
        let numbers = (identity.device, identity.inode);
        if self.home.as_ref().is_some_and(|home| home.identity == numbers) {
            return Ok(None);
        }
        entering.enter(&Entered {
            root,
            is_top: relative.as_os_str().is_empty(),
            path,
            directory: directory.as_fd(),
            identity,
        });
        Ok(Some(directory))
    }

    /// Lists one directory: files are looked at, directories added to `waiting`. `names` is room that is used again.
    fn walk_directory(
        &mut self,
        root: usize,
        relative: &Path,
        (names, waiting): (&mut Names, &mut Vec<PathBuf>),
        walk: &mut Walk,
        entering: &mut dyn Entering,
    ) -> io::Result<()> {
        let Some(place) = &self.roots[root].root.place else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let mut path = place.directory.clone();
        if !relative.as_os_str().is_empty() {
            path.push(relative);
        }
        let Some(directory) = self.enter(root, &path, relative, entering)? else {
            return Ok(());
        };
        let directory = directory.as_fd();
        names.clear();
        self.tree.list(directory, &mut |name, kind| names.add(name, kind))?;
        let (mut path, mut relative) = (Growing::within(&path), Growing::within(relative));
        let mut files = Vec::new();
        for (name, told) in names.iter() {
            let found = told.map_or_else(|| self.tree.stat(directory, Path::new(name)).map(|stat| stat.kind), Ok);
            let below = relative.join(name);
            match found {
                Ok(Kind::File) if self.matches(root, below) => files.push(name),
                Ok(Kind::Directory) if !self.exclude.covers_itself(&self.roots[root].root, below) => {
                    waiting.push(below.to_owned());
                }
                Ok(Kind::Symlink) => self.note_symlink(path.join(name).to_owned()),
                Ok(Kind::File | Kind::Directory | Kind::Other) => {}
                Err(error) => self.incomplete(path.join(name).to_owned(), &error, walk),
            }
        }
        let seeing = self.seeing(root);
        let mut failed = Vec::new();
        let (tree, table) = (&self.tree, &mut self.table);
        tree.stats(directory, &files, &mut |place, found| match found {
            Ok(stat) => seeing.saw(table, path.join(files[place]), &stat, walk),
            Err(error) => failed.push((place, error)),
        });
        for (place, error) in failed {
            self.incomplete(path.join(files[place]).to_owned(), &error, walk);
        }
        Ok(())
    }

    /// What is looked at from now on.
    fn seeing(&self, root: usize) -> Seeing {
        Seeing {
            root,
            now: self.clock.now(),
            number: self.walk,
            wants_paths: self.files_max.is_some(),
        }
    }

    /// A file was found just now. It gets a turn if anything about it moved.
    pub(super) fn saw(&mut self, root: usize, path: &Path, stat: &Stat, walk: &mut Walk) {
        self.seeing(root).saw(&mut self.table, path, stat, walk);
    }

    pub(super) fn note_symlink(&mut self, path: PathBuf) {
        let code = "watcher.symlink_skipped";
        if self.told.insert((path.clone(), code)) {
            let shown = Shown::path(&path).to_string();
            log::info!(code = code, path = shown.as_str(); "{shown} is a symlink and is left alone");
        }
        self.symlinks.insert(path);
    }
}
