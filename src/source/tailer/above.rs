//! The directories above the roots, where a root comes and goes.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::walk::Entering;
use super::{Tailer, WatchedRoot};

impl Tailer {
    /// Shows the directories above the roots, as far as they are in the scope, each with the name in it that leads to a
    /// root; those above come first, so that none is missed that comes meanwhile. False when there is a root whose coming
    /// and going nobody will tell.
    pub fn look_above(&self, entering: &mut dyn Entering) -> bool {
        let mut all_told = true;
        for watched in self.roots.iter().filter(|watched| !watched.refused_for_good) {
            all_told &= self.look_above_one(watched, entering);
        }
        all_told
    }

    /// Whether the innermost directory above a root that is there is told of.
    fn look_above_one(&self, watched: &WatchedRoot, entering: &mut dyn Entering) -> bool {
        let place = watched.root.place.as_ref();
        let path = place.map_or(&watched.root.resolved, |place| &place.directory);
        let mut steps = self.steps_to(path);
        steps.reverse();
        let mut told = false;
        for (parent, name) in steps {
            told = match self.tree.open_root(parent) {
                Ok(directory) => entering.above(parent, directory.as_fd(), name),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return told,
                Err(_) => return false,
            };
        }
        told
    }

    /// The directories above a path that are in the scope, and the names in them that lead to it, innermost first.
    fn steps_to<'a>(&self, path: &'a Path) -> Vec<(&'a Path, &'a OsStr)> {
        let Some(top) = self.scope.holding(path) else {
            return Vec::new();
        };
        let steps = path
            .ancestors()
            .filter_map(|path| Some((path.parent()?, path.file_name()?)));
        steps.take_while(|(parent, _)| parent.starts_with(top)).collect()
    }
}
