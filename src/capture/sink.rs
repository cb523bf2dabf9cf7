//! The capture as a sink: lines, transitions and facts become envelopes and ledger lines of the open batch.

use std::io::Read;
use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use super::Capture;
use super::entries::{of_fact, of_skipped, of_transition};
use super::long::Long;
use super::open::Stamp;
use crate::error::Error;
use crate::event::Event;
use crate::ledger::history;
use crate::limits::{CWD_LINES_MAX, READ_BYTES};
use crate::pure::chain::Chain;
use crate::pure::fold::Noted;
use crate::pure::lines::{Line, lines};
use crate::pure::record::{Ending, LogFile};
use crate::pure::sighting::Sighting;
use crate::show::Shown;
use crate::source::object::{is_long_object, is_object};
use crate::source::{
    Block, Changed, EventSink, Fact, First, LongLine, LongVerdict, SettleVerdict, Transition, Verdict,
};

impl EventSink for Capture {
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error> {
        if !self.make_way()? {
            return Ok(Verdict::Refused);
        }
        let entry = of_transition(file, transition);
        log::info!("{}: {}", entry.kind(), Shown::path(&file.path));
        self.open.close_run();
        self.open.entries.push(entry);
        let mut before = file;
        match transition {
            Transition::Rotate { old, .. } => before = old,
            Transition::New { skipped, .. } => self
                .open
                .entries
                .extend(skipped.map(|skipped| of_skipped(file, &skipped))),
            Transition::Truncate { .. } | Transition::Delete { .. } => {}
        }
        self.oversized.remove(&before.file_id);
        if self.observer.is_some() {
            let event = Event::of_transition(file, transition, self.clock.utc());
            self.open.events.push(event);
        }
        Ok(Verdict::Taken)
    }

    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error> {
        let stamp = Stamp::now(&*self.clock);
        let mut first = block.first;
        let (mut taken, mut noted) = (0, 0);
        let mut rest = lines(&block.bytes[block.lead..], block.offset, block.number);
        while let Some(line) = rest.clone().next() {
            if self.batch_is_full() || !self.open.continues(block.file, line.offset) || first != First::Fresh {
                self.open.extend_run(block, noted, taken);
                noted = taken;
                if !self.make_way()? {
                    return Ok(taken);
                }
                self.begin_run(block.file, &line);
            }
            if first == First::Fresh && self.may_stretch(rest.bytes.len()) {
                let records_max = self.batch_records - self.open.records;
                let (open, ulids) = (&mut self.open, &mut self.ulids);
                taken += open.push_stretch(&mut rest, &stamp, records_max, ulids, &mut self.encoder);
                continue;
            }
            rest.next();
            match std::mem::replace(&mut first, First::Fresh) {
                First::Settled(known) => self.open.push_known(&line, known),
                First::Fresh => self.push(block.file, &line, &stamp, None),
                First::Replaces(replaced) => self.push(block.file, &line, &stamp, Some(replaced)),
            }
            taken += line.bytes.len() + 1;
        }
        self.open.extend_run(block, noted, taken);
        Ok(taken)
    }

    fn long_line(&mut self, line: &dyn LongLine) -> Result<LongVerdict, Error> {
        if !self.has_room()? {
            return Ok(LongVerdict::Refused);
        }
        match self.take_known(line) {
            Ok(None) => {}
            Ok(Some(evidence)) => return Ok(LongVerdict::Taken(evidence)),
            Err(Changed) => return Ok(LongVerdict::Changed),
        }
        if let Some(verdict) = self.take_whole(line)? {
            return Ok(verdict);
        }
        if !self.is_clear()? {
            return Ok(LongVerdict::Refused);
        }
        Ok(match self.capture_long(line)? {
            Long::Taken(Some(evidence), _) => LongVerdict::Taken(evidence),
            Long::NoRoom => LongVerdict::NoRoom,
            Long::Taken(None, _) | Long::Changed => LongVerdict::Changed,
        })
    }

    fn settle(&mut self, tail: &dyn LongLine) -> Result<SettleVerdict, Error> {
        if !self.make_way()? {
            return Ok(SettleVerdict::Refused);
        }
        if tail.length() <= READ_BYTES as u64 {
            return Ok(self.settle_short(tail).unwrap_or(SettleVerdict::Changed));
        }
        if let Some(before) = tail.settled().filter(|before| before.length == tail.length()) {
            let mut hasher = blake3::Hasher::new();
            match hasher.update_reader(tail.read()) {
                Ok(hasher) if hasher.finalize() == before.hash => return Ok(SettleVerdict::Known),
                Ok(_) => {}
                Err(_) => return Ok(SettleVerdict::Changed),
            }
        }
        match is_long_object(tail) {
            Ok(true) => {}
            Ok(false) => return Ok(SettleVerdict::Waits),
            Err(Changed) => return Ok(SettleVerdict::Changed),
        }
        if !self.is_clear()? {
            return Ok(SettleVerdict::Refused);
        }
        Ok(match self.capture_long(tail)? {
            Long::Taken(_, settled) => SettleVerdict::Taken(settled),
            Long::NoRoom => SettleVerdict::NoRoom,
            Long::Changed => SettleVerdict::Changed,
        })
    }

    fn fact(&mut self, fact: &Fact<'_>) -> Result<Verdict, Error> {
        if self.batch_is_full() {
            self.commit()?;
        }
        // It adds no record, so only the disk must have room for it.
        if !self.is_full_of_records() && !self.has_room()? {
            return Ok(Verdict::Refused);
        }
        let entry = of_fact(fact);
        log::info!("{}", entry.kind());
        self.open.close_run();
        self.open.entries.push(entry);
        if let Fact::FirstPass { .. } = fact {
            self.commit()?;
        }
        Ok(Verdict::Taken)
    }

    fn chain(&mut self, file: &LogFile) -> Result<Option<Chain>, Error> {
        self.finish()?;
        if !self.has_room()? || (self.open.is_about(file.file_id) && !self.is_clear()?) {
            return Ok(None);
        }
        let mut chain = Chain::default();
        let told = self.fold.files.get(&file.file_id).and_then(|state| state.told);
        if let Some(told) = told {
            history(&*self.disk, file.file_id, told, |entry| chain.apply(entry))?;
        }
        Ok(Some(chain))
    }

    fn caught_up(&mut self, file: &LogFile, offset: u64, sighting: Sighting) {
        let noted = Noted {
            file_id: file.file_id,
            epoch: file.epoch,
            offset,
            sighting,
        };
        // Only what is durable by then may be noted of it.
        if self.open.is_empty() && !self.background.is_at_work() {
            self.snapshot.is_behind |= self.fold.note(&noted);
        } else {
            self.open.noted.push(noted);
        }
    }
}

impl Capture {
    /// Commits what is open. Whether nothing is any more.
    fn is_clear(&mut self) -> Result<bool, Error> {
        if self.full.is_none() {
            self.commit()?;
        }
        Ok(self.open.is_empty())
    }

    pub(super) fn begin_run(&mut self, file: &Arc<LogFile>, line: &Line<'_>) {
        let known = self.fold.files.get(&file.file_id);
        let asks_cwd = known.is_none_or(|file| file.cwd.is_none() && file.captured_lines < CWD_LINES_MAX);
        // What is under way is not known yet.
        let is_early = !self.background.is_at_work() || line.number.is_none_or(|number| number <= CWD_LINES_MAX);
        self.open
            .begin_run(file, line.offset, line.number, asks_cwd && is_early);
    }

    /// Whether lines with this many bytes are taken together, and their envelopes perhaps written elsewhere.
    fn may_stretch(&self, bytes: usize) -> bool {
        bytes >= self.stretch_bytes_min && self.may_overlap() && self.observer.is_none()
    }

    fn push(&mut self, file: &Arc<LogFile>, line: &Line<'_>, stamp: &Stamp, replaces: Option<Ulid>) {
        self.open.push(line, stamp, replaces, &mut self.ulids);
        if !line.bytes.is_empty() {
            let ending = Ending {
                terminated: true,
                replaces,
            };
            self.observe_line(file, line, ending, stamp.at);
        }
    }

    fn observe_line(&mut self, file: &Arc<LogFile>, line: &Line<'_>, ending: Ending, at: Timestamp) {
        if self.observer.is_some() {
            let length = line.bytes.len() as u64;
            let event = Event::of_line(file, line.offset, length, Some(line.bytes), ending, at);
            self.open.events.push(event);
        }
    }

    /// Takes a last line that fits in memory.
    fn settle_short(&mut self, tail: &dyn LongLine) -> Result<SettleVerdict, Changed> {
        let mut bytes = Vec::new();
        tail.read().read_to_end(&mut bytes).map_err(|_| Changed)?;
        tail.check()?;
        let before = tail.settled();
        if before.is_some_and(|before| before.hash == blake3::hash(&bytes)) {
            return Ok(SettleVerdict::Known);
        }
        if !is_object(&bytes) {
            return Ok(SettleVerdict::Waits);
        }
        let line = Line {
            offset: tail.offset(),
            number: tail.number(),
            bytes: &bytes,
        };
        let (stamp, replaces) = (Stamp::now(&*self.clock), before.map(|before| before.ulid));
        let settled = self.open.push_settled(tail, &line, &stamp, replaces, &mut self.ulids);
        let ending = Ending {
            terminated: false,
            replaces,
        };
        self.observe_line(tail.file(), &line, ending, stamp.at);
        Ok(SettleVerdict::Taken(settled))
    }
}
