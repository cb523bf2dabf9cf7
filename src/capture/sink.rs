//! The capture as a sink: lines and transitions become envelopes and ledger lines of the open batch.

use std::sync::Arc;

use super::Capture;
use crate::error::Error;
use crate::event::Event;
use crate::pure::entry::{Delete, Entry, New, Rotate, Truncate};
use crate::pure::lines::lines;
use crate::pure::record::{LogFile, appended_at, path_to_text};
use crate::show::Shown;
use crate::source::{Block, EventSink, LongLine, LongVerdict, Transition, Verdict};

impl EventSink for Capture {
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error> {
        if !self.make_way()? {
            return Ok(Verdict::Refused);
        }
        let entry = entry_of(file, transition);
        log::info!("{}: {}", entry.kind(), Shown::path(&file.path));
        self.open.close_run();
        self.open.entries.push(entry);
        let before = match transition {
            Transition::Rotate { old, .. } => old,
            _ => file,
        };
        self.oversized.remove(&before.file_id);
        if self.observer.is_some() {
            let event = Event::of_transition(file, transition, self.clock.utc());
            self.open.events.push(event);
        }
        Ok(Verdict::Taken)
    }

    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error> {
        let accepted_at = self.clock.utc();
        let (stamp, unix_ms) = (appended_at(accepted_at), self.clock.unix_ms());
        let (mut taken, mut noted) = (0, 0);
        for line in lines(&block.bytes[block.lead..], block.offset, block.number) {
            if self.batch_is_full() || !self.open.continues(block.file, line.offset) {
                self.open.extend_run(block, noted, taken);
                noted = taken;
                if !self.make_way()? {
                    return Ok(taken);
                }
                self.open.begin_run(block.file, line.offset, line.number);
            }
            self.open.push(&line, &stamp, unix_ms, &mut self.ulids);
            if self.observer.is_some() && !line.bytes.is_empty() {
                let length = line.bytes.len() as u64;
                let event = Event::of_line(block.file, line.offset, length, Some(line.bytes), accepted_at);
                self.open.events.push(event);
            }
            taken += line.bytes.len() + 1;
        }
        self.open.extend_run(block, noted, taken);
        Ok(taken)
    }

    fn long_line(&mut self, line: &mut dyn LongLine) -> Result<LongVerdict, Error> {
        if self.has_room()? {
            self.commit()?;
        }
        if !self.has_room()? {
            return Ok(LongVerdict::Refused);
        }
        self.capture_long(line)
    }
}

fn entry_of(file: &LogFile, transition: &Transition) -> Entry {
    let (path, path_base64) = path_to_text(&file.path);
    let session_id = file.session_id().into_owned();
    let (file_id, epoch, identity) = (file.file_id, file.epoch, file.identity);
    match transition {
        Transition::New { mtime } => Entry::New(New {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            continues: None,
        }),
        Transition::Rotate { old, mtime } => Entry::Rotate(Rotate {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            old_file_id: old.file_id,
            old_inode: old.identity.inode,
            continues: None,
        }),
        Transition::Truncate { reason, was } => Entry::Truncate(Truncate {
            file_id,
            epoch,
            path,
            path_base64,
            reason: *reason,
            was: *was,
            kept: 0,
            kept_from: None,
        }),
        Transition::Delete { offset } => Entry::Delete(Delete {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            offset: *offset,
        }),
    }
}
