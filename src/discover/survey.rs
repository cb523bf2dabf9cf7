//! What lies below a directory of logs: counted, not opened.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::disk::HomePlace;
use crate::error::Error;
use crate::source::exclude::Exclude;
use crate::source::globs;
use crate::source::roots::Root;
use crate::source::tree::{Kind, Tree};

/// The logs below a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// How many.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The modification time of the one that was left alone for longest.
    pub oldest: Option<Timestamp>,
    /// The modification time of the last one that changed.
    pub newest: Option<Timestamp>,
    /// Directories and files that could not be looked at.
    pub unknown: u64,
}

/// Counts the logs below a root, as a watcher would find them: without following symlinks, without what is excluded,
/// and without the home.
///
/// Fails when a pattern of the root is none, or the root itself cannot be opened.
pub fn survey(tree: &dyn Tree, root: &Root, exclude: &Exclude, home: Option<&HomePlace>) -> Result<Survey, Error> {
    let patterns = root.spec.globs.clone().unwrap_or_else(|| vec!["*.jsonl".into()]);
    let globs = globs::compile(&patterns)?;
    let failed = |cause| Error::io("cannot open", &root.resolved, cause);
    let top = tree.open_root(&root.resolved).map_err(failed)?;
    let mut survey = Survey::default();
    let mut waiting = vec![PathBuf::new()];
    while let Some(directory) = waiting.pop() {
        if exclude.covers(root, &directory) {
            continue;
        }
        let mut found = |path: PathBuf, kind| {
            let is_log = kind == Kind::File && globs.is_match(&path) && !exclude.covers_itself(root, &path);
            if kind == Kind::Directory {
                waiting.push(path);
            }
            is_log
        };
        if list(tree, &top, &directory, home, &mut found, &mut survey).is_err() {
            survey.unknown += 1;
        }
    }
    Ok(survey)
}

/// Goes through one directory. `found` says of an entry whether it is a log.
fn list(
    tree: &dyn Tree,
    top: &OwnedFd,
    directory: &Path,
    home: Option<&HomePlace>,
    found: &mut dyn FnMut(PathBuf, Kind) -> bool,
    survey: &mut Survey,
) -> io::Result<()> {
    let opened = tree.open_dir(top.as_fd(), directory)?;
    let here = tree.stat(opened.as_fd(), Path::new(""))?.identity;
    if home.is_some_and(|home| home.identity == (here.device, here.inode)) {
        return Ok(());
    }
    let mut entries = Vec::new();
    tree.list(opened.as_fd(), &mut |name, kind| entries.push((name.to_owned(), kind)))?;
    for (name, kind) in entries {
        if !matches!(kind, None | Some(Kind::File | Kind::Directory)) {
            continue;
        }
        let (name, path) = (Path::new(&name), directory.join(&name));
        if kind == Some(Kind::Directory) {
            found(path, Kind::Directory);
            continue;
        }
        match tree.stat(opened.as_fd(), name) {
            Ok(stat) => {
                if found(path, stat.kind) {
                    survey.add(stat.size, stat.mtime.timestamp());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => survey.unknown += 1,
        }
    }
    Ok(())
}

impl Survey {
    fn add(&mut self, bytes: u64, mtime: Timestamp) {
        self.files += 1;
        self.bytes += bytes;
        self.oldest = Some(self.oldest.map_or(mtime, |oldest| oldest.min(mtime)));
        self.newest = Some(self.newest.map_or(mtime, |newest| newest.max(mtime)));
    }
}
