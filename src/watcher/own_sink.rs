//! A sink of the caller's own as a consumer: nothing is committed, and what it took is remembered in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::consumer::Consumer;
use super::events::{Teller, bytes_with, fresh_lines, of_line, of_long};
use super::hashed::Hashed;
use super::history::History;
use crate::capture::Tally;
use crate::clock::Clock;
use crate::error::Error;
use crate::event::Event;
use crate::limits::{HOT_INTERVAL, LONG_LINE_RETRY};
use crate::pure::chain::Chain;
use crate::pure::record::LogFile;
use crate::source::tailer::hot_interval;
use crate::source::{Block, EventSink, Fact, LongLine, LongVerdict, SettleVerdict, Transition, Verdict};

/// Drives the caller's sink.
pub(super) struct OwnSink {
    sink: Box<dyn EventSink + Send>,
    clock: Arc<dyn Clock>,
    /// Hears of what the sink took.
    teller: Option<Teller>,
    history: History,
    tally: Tally,
    /// After a refusal: when the sink is asked again.
    retry_at: Option<Instant>,
}

impl OwnSink {
    pub(super) fn new(sink: Box<dyn EventSink + Send>, clock: Arc<dyn Clock>, teller: Option<Teller>) -> Self {
        Self {
            sink,
            clock,
            teller,
            history: History::default(),
            tally: Tally::default(),
            retry_at: None,
        }
    }

    /// Asks the sink, unless it refused just now; None then. `refused` says whether an answer is a refusal.
    fn ask<T>(
        &mut self,
        ask: impl FnOnce(&mut dyn EventSink) -> Result<T, Error>,
        refused: impl FnOnce(&T) -> bool,
    ) -> Result<Option<T>, Error> {
        self.end_pause();
        if self.retry_at.is_some() {
            return Ok(None);
        }
        let answer = ask(&mut *self.sink)?;
        if refused(&answer) {
            self.pause(HOT_INTERVAL);
        }
        Ok(Some(answer))
    }

    fn pause(&mut self, pause: Duration) {
        self.retry_at = Some(self.clock.now() + pause);
    }

    fn end_pause(&mut self) {
        self.retry_at = self.retry_at.filter(|retry_at| self.clock.now() < *retry_at);
    }

    /// The sink may have read all of this line to refuse it. At a nanosecond a byte, that takes 5 % of the time.
    fn pause_for(&mut self, line: &dyn LongLine) {
        let reading = hot_interval(Duration::from_nanos(line.length()));
        self.pause(reading.min(LONG_LINE_RETRY));
    }

    fn tell(&self, event: impl FnOnce(&dyn Clock) -> Event) {
        if let Some(teller) = &self.teller {
            teller.tell(&event(&*self.clock));
        }
    }

    fn count(&mut self, file: &LogFile, lines: u64, bytes: u64) {
        self.tally.bytes += bytes;
        if lines > 0 {
            self.tally.lines += lines;
            self.tally.files.insert(file.file_id);
        }
    }
}

impl EventSink for OwnSink {
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error> {
        let ask = |sink: &mut dyn EventSink| sink.transition(file, transition);
        let verdict = self.ask(ask, |verdict| *verdict == Verdict::Refused)?;
        if verdict == Some(Verdict::Taken) {
            self.history.turned(file, transition);
            self.tell(|clock| Event::of_transition(file, transition, clock.utc()));
        }
        Ok(verdict.unwrap_or(Verdict::Refused))
    }

    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error> {
        let most = block.bytes.len() - block.lead;
        let taken = self.ask(|sink| sink.lines(block), |taken| *taken < most)?;
        let taken = taken.unwrap_or(0).min(most);
        let block = Block {
            bytes: &block.bytes[..block.lead + taken],
            ..*block
        };
        self.history.took(block.file, block.offset, &block.bytes[block.lead..]);
        let mut lines = 0;
        for (line, replaces) in fresh_lines(&block) {
            lines += 1;
            self.tell(|clock| of_line(&block, &line, replaces, clock.utc()));
        }
        self.count(block.file, lines, taken as u64);
        Ok(taken)
    }

    fn long_line(&mut self, line: &dyn LongLine) -> Result<LongVerdict, Error> {
        let hashed = Hashed::of(line);
        let ask = |sink: &mut dyn EventSink| sink.long_line(&hashed);
        let Some(verdict) = self.ask(ask, |_| false)? else {
            return Ok(LongVerdict::Refused);
        };
        if verdict == LongVerdict::Refused {
            self.pause_for(line);
        }
        let LongVerdict::Taken(_) = verdict else {
            return Ok(verdict);
        };
        // A sink that did not read it has no hash of it: then it comes again after a rewrite.
        let mut known = false;
        if let Some(mut hasher) = hashed.hasher() {
            let hash = hasher.finalize();
            known = line.settled().is_some_and(|settled| settled.hash == hash);
            hasher.update(b"\n");
            let end = line.offset() + line.length() + 1;
            self.history.took_long(line.file(), (line.offset(), end), hasher);
        }
        self.count(line.file(), u64::from(!known), line.length() + 1);
        if !known {
            self.tell(|clock| of_long(line, None, clock.utc()));
        }
        Ok(verdict)
    }

    fn settle(&mut self, tail: &dyn LongLine) -> Result<SettleVerdict, Error> {
        let ask = |sink: &mut dyn EventSink| sink.settle(tail);
        let Some(verdict) = self.ask(ask, |_| false)? else {
            return Ok(SettleVerdict::Refused);
        };
        match verdict {
            SettleVerdict::Refused => self.pause_for(tail),
            SettleVerdict::Taken(settled) => {
                self.count(tail.file(), 1, 0);
                self.tell(|clock| of_long(tail, bytes_with(tail, settled.hash).as_deref(), clock.utc()));
            }
            _ => {}
        }
        Ok(verdict)
    }

    fn fact(&mut self, fact: &Fact<'_>) -> Result<Verdict, Error> {
        let verdict = self.ask(|sink| sink.fact(fact), |verdict| *verdict == Verdict::Refused)?;
        Ok(verdict.unwrap_or(Verdict::Refused))
    }

    fn chain(&mut self, file: &LogFile) -> Result<Option<Chain>, Error> {
        Ok(Some(self.history.chain(file)))
    }
}

impl Consumer for OwnSink {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn tick(&mut self, _more: bool) -> Result<(), Error> {
        self.end_pause();
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    fn queue_full(&self) -> Option<&str> {
        self.retry_at.map(|_| "the sink takes nothing now")
    }

    fn refusal_ends(&self) -> bool {
        false
    }

    fn uncommitted_bytes(&self) -> u64 {
        0
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn commit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn stop(self) -> Result<Tally, Error> {
        Ok(self.tally)
    }
}
