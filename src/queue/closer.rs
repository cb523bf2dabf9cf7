//! Closing files that have no name any more beside other work: that is when the filesystem frees their blocks, and one that
//! tells its disk of each of them (`discard`) waits for that.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::disk::DiskFile;
use crate::limits::CLOSE_ELSEWHERE_BYTES;

/// A thread that closes files, once there is one to close. Dropping it waits until all are closed.
pub(super) struct Closer {
    files_max: usize,
    thread: Option<(SyncSender<Nameless>, JoinHandle<()>)>,
}

type Nameless = Box<dyn DiskFile>;

impl Closer {
    /// So many files may wait.
    pub(super) fn new(files_max: usize) -> Self {
        Self {
            files_max,
            thread: None,
        }
    }

    /// Closes a file of so many bytes: a small one here.
    pub(super) fn close(&mut self, file: Option<Nameless>, bytes: u64) {
        let Some(file) = file.filter(|_| bytes >= CLOSE_ELSEWHERE_BYTES) else {
            return;
        };
        if self.thread.is_none() {
            let (files, received) = sync_channel(self.files_max);
            let close = move || received.into_iter().for_each(drop);
            // Without a thread it is closed here.
            let thread = std::thread::Builder::new().name("close".into()).spawn(close);
            self.thread = thread.ok().map(|thread| (files, thread));
        }
        if let Some((files, _)) = &self.thread {
            let _ = files.send(file);
        }
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        if let Some((files, thread)) = self.thread.take() {
            drop(files);
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
