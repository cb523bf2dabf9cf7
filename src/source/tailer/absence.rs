//! What a path means that a sweep did not find.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use super::table::Key;
use super::whereabouts::is_no_entry;
use super::{Tailer, Turn};
use crate::error::Error;
use crate::pure::record::LogFile;
use crate::pure::step::{Look, Step, Why, step};
use crate::source::{EventSink, Transition, Verdict};

impl Tailer {
    /// A second look at a path that was not found: `delete` only if it is absent beyond doubt, a turn if anything
    /// is there.
    pub(super) fn second_look(&mut self, key: &Key, sink: &mut dyn EventSink) -> Result<Turn, Error> {
        let Some(at) = self.table.at.get(key.bytes()).copied() else {
            return Ok(Turn::Done);
        };
        match self.stat_path(key, at.root) {
            Err(error) if is_no_entry(&error) => {}
            Ok(_) | Err(_) => return self.turn(key, at.root, sink),
        }
        // Whatever its absence means.
        let turn = self.rest(key, None, sink)?;
        if !turn.is_over() {
            return Ok(turn);
        }
        let look = self.absence(key, at.root);
        if step(self.known(key), look) != Step::Delete {
            self.close_cold(key);
            return Ok(Turn::Unknown);
        }
        Ok(match self.delete(key, sink)? {
            Verdict::Taken => Turn::Done,
            Verdict::Refused => Turn::Refused,
        })
    }

    /// What stood at a path is not there any more.
    pub(super) fn delete(&mut self, key: &Key, sink: &mut dyn EventSink) -> Result<Verdict, Error> {
        let Some(at) = self.table.at.get(key.bytes()).copied() else {
            return Ok(Verdict::Taken);
        };
        if let Some(cursor) = self.table.cursor(at.file) {
            let offset = cursor.offset;
            // It may stand elsewhere by now.
            let file = Arc::new(LogFile {
                path: Arc::clone(&key.0),
                ..(*cursor.file).clone()
            });
            if sink.transition(&file, &Transition::Delete { offset })? == Verdict::Refused {
                return Ok(Verdict::Refused);
            }
        }
        let stood_here = self.table.here(key.bytes()).is_some();
        self.table.at.remove(key);
        self.unknown.remove(&*key.0);
        if stood_here {
            self.leave(at.file);
        }
        Ok(Verdict::Taken)
    }

    /// After ENOENT or ENOTDIR: absent, if the nearest directory that is there is on the device that we know.
    pub(super) fn absence(&mut self, key: &Key, root: usize) -> Look {
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
        let file = self.table.at.get(key.bytes()).map(|at| at.file);
        let cursor = file.and_then(|file| self.table.cursor(file));
        // Of what is forgotten, nothing hangs on it.
        cursor.is_none_or(|cursor| {
            let known = cursor.file.identity.device;
            known == device || self.adopted.get(&(root, known)) == Some(&device)
        })
    }

    /// The device of the nearest directory above a path that is there.
    fn nearest_device(&self, key: &Key, root: usize) -> io::Result<u64> {
        let (directory, relative) = self.below_root(key, root)?;
        let mut above = relative.parent();
        while let Some(path) = above {
            match self.tree.open_dir(directory.as_fd(), path) {
                Ok(found) => return Ok(self.tree.stat(found.as_fd(), Path::new(""))?.identity.device),
                Err(error) if is_no_entry(&error) => above = path.parent(),
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}
