//! A file comes to stand at a path: a new one, or one that is known.

use std::io;
use std::sync::Arc;

use ulid::Ulid;

use super::Tailer;
use super::table::Key;
use super::tracked::Tracked;
use crate::error::Error;
use crate::limits::READ_BYTES;
use crate::pure::identity::{Evidence, Window, window_bytes};
use crate::pure::record::LogFile;
use crate::source::tail::Cursor;
use crate::source::tree::{Log, Stat, read_full};
use crate::source::{EventSink, Skipped, Transition, Verdict};

impl Tailer {
    /// Follows a file from its start: event `new`, or `rotate` where another one stood.
    pub(super) fn begin(
        &mut self,
        key: &Key,
        root: usize,
        log: &dyn Log,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let file = Arc::new(LogFile {
            file_id: self.ids.fresh(self.clock.unix_ms()),
            epoch: 0,
            path: Arc::clone(&key.0),
            identity: stat.identity,
            agent: self.roots[root].root.agent_at(&key.0),
        });
        let old = self.stood_at(key);
        let is_first = old.is_none() && self.queued.get(key).is_some_and(|queued| queued.first_pass);
        let mut transition = here(old, stat, None);
        let mut cursor = Cursor::at_start(Arc::clone(&file));
        if self.from_end && is_first {
            // What cannot be read now is not left out.
            let found = behind_last_newline(log, stat.size).ok().flatten();
            if let (Some(found), Transition::New { skipped, .. }) = (found, &mut transition) {
                *skipped = Some(found);
                (cursor.offset, cursor.line) = (found.offset, None);
                (cursor.evidence, cursor.size_seen) = (Some(found.evidence), found.offset);
            }
        }
        if sink.transition(&file, &transition)? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        let mut tracked = Tracked::new(cursor, root, self.clock.now());
        (tracked.shown, tracked.size) = (self.walk, stat.size);
        tracked.changes = self.tracked_at(key).map_or(0, |old| old.changes + 1);
        self.put(key, tracked);
        Ok(Verdict::Taken)
    }

    /// A known file stands at a path from now on: event `new`, or `rotate` where another one stood, with `continues`.
    pub(super) fn resume_at(
        &mut self,
        key: &Key,
        root: usize,
        id: Ulid,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let Some(cursor) = self.table.cursor(id) else {
            return Ok(Verdict::Taken);
        };
        let file = Arc::new(LogFile {
            path: Arc::clone(&key.0),
            identity: stat.identity,
            agent: self.roots[root].root.agent_at(&key.0),
            ..(*cursor.file).clone()
        });
        let old = self.tracked_at(key).map(|old| Arc::clone(&old.cursor.file));
        let old = old.filter(|_| !self.is_leaving(key));
        if sink.transition(&file, &here(old, stat, Some(cursor.offset)))? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        let now = self.clock.now();
        self.no_former(id);
        let gone = self.table.take_gone(id).map(|cursor| Tracked::new(cursor, root, now));
        let Some(mut tracked) = gone.or_else(|| self.table.take(id)) else {
            return Ok(Verdict::Taken);
        };
        if !tracked.cursor.file.identity.same(&stat.identity) {
            // Its old inode is gone for good.
            self.handles.take(id);
        }
        (tracked.cursor.file, tracked.root) = (file, root);
        (tracked.seen, tracked.recheck, tracked.ends) = (None, None, false);
        tracked.shown = self.walk;
        self.elsewhere.remove(&id);
        self.put(key, tracked);
        Ok(Verdict::Taken)
    }

    /// The file at a path goes on with a new inode, which repeats what was captured: event `rotate` with `continues`.
    pub(super) fn succeed(
        &mut self,
        key: &Key,
        id: Ulid,
        stat: &Stat,
        sink: &mut dyn EventSink,
    ) -> Result<Verdict, Error> {
        let Some(tracked) = self.table.get(id) else {
            return Ok(Verdict::Taken);
        };
        let (old, continues) = (Arc::clone(&tracked.cursor.file), tracked.cursor.offset);
        let file = Arc::new(LogFile {
            identity: stat.identity,
            ..(*old).clone()
        });
        if sink.transition(&file, &here(Some(old), stat, Some(continues)))? == Verdict::Refused {
            return Ok(Verdict::Refused);
        }
        let Some(mut tracked) = self.table.take(id) else {
            return Ok(Verdict::Taken);
        };
        tracked.cursor.file = file;
        (tracked.seen, tracked.recheck, tracked.limit) = (None, None, None);
        (tracked.shown, tracked.changes) = (self.walk, tracked.changes + 1);
        self.handles.take(id);
        self.put(key, tracked);
        Ok(Verdict::Taken)
    }

    /// Puts a file at a path. What stood there is followed on; what had its inode has it no more.
    fn put(&mut self, key: &Key, tracked: Tracked) {
        let before = self.table.here(key.bytes());
        let id = tracked.cursor.file.file_id;
        if let Some(robbed) = self.table.place(tracked, self.walk) {
            self.handles.take(robbed);
        }
        self.links.remove(key);
        self.repeats.retain(|(asked, _), _| asked != key);
        if let Some(before) = before.filter(|before| *before != id) {
            self.leave(before);
        }
    }

    /// The file that stood at a path when it was looked at last, as it was there.
    pub(super) fn stood_at(&self, key: &Key) -> Option<Arc<LogFile>> {
        let at = self.table.at.get(key.bytes())?;
        let file = &self.table.cursor(at.file)?.file;
        Some(Arc::new(LogFile {
            path: Arc::clone(&key.0),
            ..(**file).clone()
        }))
    }
}

/// The transition of a file that stands at a path now.
fn here(old: Option<Arc<LogFile>>, stat: &Stat, continues: Option<u64>) -> Transition {
    let mtime = stat.mtime.timestamp();
    match old {
        None => Transition::New {
            mtime,
            continues,
            skipped: None,
        },
        Some(old) => Transition::Rotate { old, mtime, continues },
    }
}

/// The byte after the last newline of a file, and the evidence beside it; None when it has none.
fn behind_last_newline(log: &dyn Log, size: u64) -> io::Result<Option<Skipped>> {
    let mut piece = vec![0; usize::try_from(size).map_or(READ_BYTES, |size| size.min(READ_BYTES))];
    let mut end = size;
    while end > 0 {
        let start = end.saturating_sub(piece.len() as u64);
        let length = usize::try_from(end - start).unwrap_or(piece.len());
        let read = read_full(log, &mut piece[..length], start)?;
        let Some(at) = memchr::memrchr(b'\n', &piece[..read]) else {
            end = start;
            continue;
        };
        let offset = start + at as u64 + 1;
        let window = |start: u64| -> io::Result<Window> {
            let mut bytes = vec![0; window_bytes(offset)];
            let read = read_full(log, &mut bytes, start)?;
            Ok(Window::over(&bytes[..read]))
        };
        let guard = window(offset - window_bytes(offset) as u64)?;
        let evidence = Evidence {
            head: window(0)?,
            guard,
        };
        return Ok(Some(Skipped { offset, evidence }));
    }
    Ok(None)
}
