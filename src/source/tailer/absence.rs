//! What a path means that a sweep did not find.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::table::Key;
use super::{Tailer, Turn};
use crate::error::Error;
use crate::pure::step::{Known, Look, Step, Why, step};
use crate::source::{EventSink, Transition, Verdict};

impl Tailer {
    /// A second look at a file that was not found: `delete` only if it is absent beyond doubt, a turn if anything
    /// is at its path.
    pub(super) fn second_look(&mut self, key: &Key, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let Some(tracked) = self.files.get_mut(key) else {
            return Ok(Turn::Done);
        };
        let (root, known) = (tracked.root, Known::Followed(tracked.cursor.position()));
        match self.stat_path(key, root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(_) | Err(_) => return self.turn(key, root, sink),
        }
        // Whatever its absence means.
        let turn = self.read_rest(key, root, sink)?;
        if turn != Turn::Done {
            return Ok(turn);
        }
        let look = self.absence(key, root);
        if step(known, look) != Step::Delete {
            return Ok(Turn::Unknown);
        }
        let Some(tracked) = self.files.get(key) else {
            return Ok(Turn::Done);
        };
        let offset = tracked.cursor.offset;
        if sink.transition(&tracked.cursor.file, &Transition::Delete { offset })? == Verdict::Refused {
            return Ok(Turn::Refused);
        }
        self.files.remove(key);
        self.hot.remove(key);
        self.handles.take(key);
        self.unknown.remove(&*key.0);
        Ok(Turn::Done)
    }

    /// After ENOENT: absent, if the nearest directory that is there is on the device that we know.
    fn absence(&mut self, key: &Key, root: usize) -> Look {
        match self.nearest_device(key, root) {
            Ok(device) if self.is_device_of(key, root, device) => Look::Absent,
            Ok(_) => {
                self.not_known(key, Why::OtherDevice, "");
                Look::Unknown(Why::OtherDevice)
            }
            Err(error) => {
                self.look_failed(key, &error);
                Look::Unknown(Why::Failed)
            }
        }
    }

    fn is_device_of(&self, key: &Key, root: usize, device: u64) -> bool {
        let known = self.files.get(key).map(|tracked| tracked.cursor.file.identity.device);
        known.is_some_and(|known| known == device || self.adopted.get(&(root, known)) == Some(&device))
    }

    /// The device of the nearest directory above a path that is there.
    fn nearest_device(&self, key: &Key, root: usize) -> io::Result<u64> {
        let (directory, relative) = self.below_root(key, root)?;
        let mut above = relative.parent();
        while let Some(path) = above {
            match self.tree.open_dir(directory.as_fd(), path) {
                Ok(found) => return Ok(self.tree.stat(found.as_fd(), Path::new(""))?.identity.device),
                Err(error) if error.kind() == io::ErrorKind::NotFound => above = path.parent(),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}
