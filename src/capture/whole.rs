//! Lines of a backlog that do not fit one read and are not very long: taken into memory whole, and into the open batch, so
//! that what is under way need not end first.

use std::io::Read;

use super::Capture;
use super::open::Stamp;
use crate::error::Error;
use crate::event::Event;
use crate::limits::{BATCH_BYTES, WHOLE_LINE_BYTES_MAX};
use crate::pure::lines::Line;
use crate::pure::record::Ending;
use crate::source::{LongLine, LongVerdict};

impl Capture {
    /// Takes a line whole while a commit is under way. None when it is to be streamed: it is too long, or its envelope may
    /// be many times as long as the line.
    pub(super) fn take_whole(&mut self, line: &dyn LongLine) -> Result<Option<LongVerdict>, Error> {
        let is_wanted = self.background.is_at_work() && self.may_overlap();
        if !is_wanted || !line.terminated() || line.length() > WHOLE_LINE_BYTES_MAX {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(usize::try_from(line.length()).unwrap_or_default());
        let is_read = line.read().read_to_end(&mut bytes).is_ok() && bytes.len() as u64 == line.length();
        let evidence = match line.check() {
            Ok(Some(evidence)) if is_read => evidence,
            _ => return Ok(Some(LongVerdict::Changed)),
        };
        // Escaped, any other text is twice as long at most.
        let has_control = bytes.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ';
        if has_control || simdutf8::basic::from_utf8(&bytes).is_err() {
            return Ok(None);
        }
        if self.batch_is_full() || self.open.text.bytes() + bytes.len() > BATCH_BYTES {
            self.pass_on()?;
            if !self.has_room()? {
                return Ok(Some(LongVerdict::Refused));
            }
        }
        let (file, stamp) = (line.file(), Stamp::now(&*self.clock));
        let whole = Line {
            offset: line.offset(),
            number: line.number(),
            bytes: &bytes,
        };
        if !self.open.continues(file, whole.offset) {
            self.begin_run(file, &whole);
        }
        let ending = Ending {
            terminated: true,
            replaces: line.settled().map(|settled| settled.ulid),
        };
        self.open.push(&whole, &stamp, ending.replaces, &mut self.ulids);
        self.open.extend_run_by(&bytes, evidence, line.mtime());
        if self.observer.is_some() {
            let event = Event::of_line(file, whole.offset, line.length(), None, ending, stamp.at);
            self.open.events.push(event);
        }
        self.oversized.remove(&file.file_id);
        Ok(Some(LongVerdict::Taken(evidence)))
    }
}
