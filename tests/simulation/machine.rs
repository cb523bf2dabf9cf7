//! A machine with a disk, a watcher and readers, on which everything goes wrong that may.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tailspool::capture::{CaptureOptions, Overlap};
use tailspool::disk::{Disk, Loss, SimDisk};
use tailspool::limits::{FULL_RETRY, TAIL_SETTLE};
use tailspool::pure::merge::MergeBounds;
use tailspool::pure::record::Envelope;
use tailspool::source::Budget;
use tailspool::source::exclude::Exclude;
use tailspool::source::kind::SourceKind;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::OsTree;
use tailspool::verify::{Finding, Kind as Finds, Verdict, verify};
use tempfile::TempDir;

use super::account::{Account, Record};
use super::dice::Dice;
use super::pipeline::{Pipeline, TestClock};
use super::readers::{Taken, drained};
use super::steps::{FAULTS, Kind, Step};
use super::writers::Writers;

/// How a whole list of steps is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    source: SourceKind,
    /// Writers do more than append, move and remove.
    harsh: bool,
    /// Segments of the ledger are small.
    small_segments: bool,
    /// Batches hold so many records, and a full one is committed late.
    small_batches: Option<u32>,
    /// A few batches that wait are merged.
    merges: bool,
}

/// What is merged where a few batches are too many.
const MERGES: MergeBounds = MergeBounds {
    from_batches: 2,
    batches_max: 3,
    bytes_max: 1 << 20,
    growth: 2,
};

impl Manner {
    pub(crate) fn drawn(dice: &mut Dice) -> Self {
        Self {
            source: dice.pick(&[SourceKind::Poll, SourceKind::Poll, SourceKind::Notify]),
            harsh: dice.once_in(2),
            small_segments: dice.once_in(2),
            small_batches: dice.pick(&[None, Some(1), Some(3)]),
            merges: dice.once_in(2),
        }
    }
}

pub(crate) struct Machine {
    manner: Manner,
    _temp: TempDir,
    top: std::path::PathBuf,
    disk: SimDisk,
    clock: Arc<TestClock>,
    watcher: Option<Pipeline>,
    writers: Writers,
    account: Account,
    pub(crate) crashes: u64,
    pub(crate) faults: u64,
    story: String,
}

impl Machine {
    pub(crate) fn new(manner: Manner) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        Self {
            manner,
            writers: Writers::new(top.clone()),
            _temp: temp,
            top,
            disk: SimDisk::new(),
            clock: TestClock::new(),
            watcher: None,
            account: Account::default(),
            crashes: 0,
            faults: 0,
            story: String::new(),
        }
    }

    pub(crate) fn records(&self) -> u64 {
        self.account.records()
    }

    /// What happened.
    pub(crate) fn story(&self) -> &str {
        &self.story
    }

    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        let mut dice = Dice::new(step.seed);
        if let Kind::Deed(deed) = step.kind
            && deed.is_harsh()
            && !self.manner.harsh
        {
            return Ok(());
        }
        writeln!(self.story, "{:?}", step.kind).unwrap();
        match step.kind {
            Kind::Deed(deed) => self.writers.do_it(deed, &mut dice, &mut self.account),
            Kind::Look => self.look(),
            Kind::Part => self.part(&mut dice),
            Kind::FaultyLook => {
                self.plan(&mut dice, 14);
                self.look();
            }
            Kind::Crash => self.crash(&mut dice),
            Kind::Restart => {
                if let Some(watcher) = self.watcher.take()
                    && watcher.capture.stop().is_err()
                {
                    self.come_back(&mut dice);
                }
            }
            Kind::Pass => {
                let time = dice.pick(&[
                    Duration::from_millis(10),
                    Duration::from_secs(1),
                    TAIL_SETTLE,
                    Duration::from_secs(40),
                ]);
                self.clock.pass(time);
            }
            Kind::Drain => {
                let records_max = dice.pick(&[1, 2, 5, u64::MAX]);
                return self.drain(records_max, &mut Taken::default());
            }
            Kind::BrokenDrain => {
                let mut taken = Taken {
                    breaks_after: Some(dice.below(3_000)),
                    ..Taken::default()
                };
                return self.drain(u64::MAX, &mut taken);
            }
            Kind::DrainBeside => {
                let mut taken = Taken {
                    beside: Some(self.disk.clone()),
                    ..Taken::default()
                };
                self.drain(u64::MAX, &mut taken)?;
                return self.take(&taken.besides);
            }
            Kind::FaultyDrain => {
                self.plan(&mut dice, 8);
                let drained = self.drain(u64::MAX, &mut Taken::default());
                self.settle(&mut dice);
                return drained;
            }
        }
        self.settle(&mut dice);
        Ok(())
    }

    /// Nothing fails any more; everything is captured and handed out, and the account is balanced.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        let mut dice = Dice::new(0);
        self.settle(&mut dice);
        self.disk.unplan();
        for time in [Duration::ZERO, FULL_RETRY, TAIL_SETTLE, Duration::from_secs(40)] {
            self.clock.pass(time);
            self.look();
        }
        if self.watcher.is_none() {
            return Err("no watcher runs at the end".into());
        }
        self.drain(u64::MAX, &mut Taken::default())?;
        self.account.balance()?;
        self.verify()?;
        // A start removes the lock files that dead readers left.
        self.watcher = None;
        self.look();
        let left = self.disk.list(std::path::Path::new("pending")).unwrap();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("left in the queue: {left:?}"))
        }
    }

    /// What happened is well for `verify`, but for bytes that changed between head and guard, which no look sees.
    fn verify(&self) -> Result<(), String> {
        let scope = Scope::new(None, std::slice::from_ref(&self.top)).unwrap();
        let report = verify(&self.disk, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
        let is_wrong = |finding: &&Finding| {
            finding.kind.verdict() == Verdict::Failed && !(self.manner.harsh && finding.kind == Finds::Unexplained)
        };
        match report.findings.iter().find(is_wrong) {
            None => Ok(()),
            Some(_) => Err(format!("verify: {:?}", report.findings)),
        }
    }

    fn plan(&mut self, dice: &mut Dice, within: usize) {
        let fault = dice.pick(&FAULTS);
        let at = dice.below(within) as u64;
        writeln!(self.story, "  {fault:?} at {at}").unwrap();
        self.disk.plan(at, fault);
    }

    /// Starts a watcher if none runs.
    fn watch(&mut self) -> bool {
        if self.watcher.is_some() {
            return true;
        }
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let options = CaptureOptions {
            overlap: Overlap::Late,
            ..CaptureOptions::default()
        };
        let started = Pipeline::start_all(
            self.manner.source,
            &disk,
            &self.top,
            &["."],
            &self.clock,
            Box::<OsTree>::default(),
            options,
            &|_| {},
        );
        match started {
            Ok(mut watcher) => {
                if let Some(records) = self.manner.small_batches {
                    watcher.capture.batch_records_max(records);
                }
                watcher.capture.stretch_bytes_min(1);
                if self.manner.small_segments {
                    watcher.capture.segment_bytes_max(1500);
                }
                self.watcher = Some(watcher);
                true
            }
            Err(error) => {
                writeln!(self.story, "  no start: {error}").unwrap();
                false
            }
        }
    }

    fn look(&mut self) {
        if !self.watch() {
            return;
        }
        let Some(watcher) = &mut self.watcher else { return };
        // The first one may be for what an earlier poll has left.
        let merges = self.manner.merges;
        let merge = |watcher: &mut Pipeline| {
            // Some of it: learning what the ledger names, choosing, and merging are one step each.
            (0..4).try_for_each(|_| {
                watcher.capture.merge_bounds(MERGES);
                watcher.capture.tick(false)
            })
        };
        let looked = watcher.look().and_then(|()| watcher.look());
        match looked.and_then(|()| if merges { merge(watcher) } else { Ok(()) }) {
            Ok(()) if watcher.capture.queue_full().is_none() => {
                for content in self.writers.contents() {
                    self.account.looked_at(content);
                }
            }
            Ok(()) => writeln!(self.story, "  full").unwrap(),
            Err(error) => {
                writeln!(self.story, "  watcher ends: {error}").unwrap();
                self.watcher = None;
            }
        }
    }

    fn part(&mut self, dice: &mut Dice) {
        if !self.watch() {
            return;
        }
        let (commits, jobs) = (dice.once_in(2), 1 + dice.below(3));
        let Some(watcher) = &mut self.watcher else { return };
        watcher.source.look_now();
        for _ in 0..jobs {
            let polled = watcher.source.poll(Budget { bytes: 1 }, &mut watcher.capture);
            let ended = polled.and_then(|_| if commits { watcher.capture.commit() } else { Ok(()) });
            if let Err(error) = ended {
                writeln!(self.story, "  watcher ends: {error}").unwrap();
                self.watcher = None;
                return;
            }
        }
    }

    fn crash(&mut self, dice: &mut Dice) {
        let loss = if dice.once_in(3) {
            Loss::Nothing
        } else {
            Loss::Drawn(dice.next())
        };
        writeln!(self.story, "  {loss:?}").unwrap();
        self.watcher = None;
        self.crashes += 1;
        self.disk = self.disk.after_crash(loss);
    }

    /// After a fault: the machine comes back if it crashed, and a full disk gets room.
    fn settle(&mut self, dice: &mut Dice) {
        if self.disk.crashed() {
            self.crash(dice);
        } else if self.disk.is_faulty() {
            self.faults += 1;
        }
        self.disk.unplan();
        if self.disk.space().is_ok_and(|space| space.free == 0) {
            self.disk.make_room();
            self.clock.pass(FULL_RETRY);
        }
    }

    fn come_back(&mut self, dice: &mut Dice) {
        self.watcher = None;
        self.settle(dice);
    }

    fn drain(&mut self, records_max: u64, taken: &mut Taken) -> Result<(), String> {
        let report = drained(&self.disk, records_max, taken);
        for failure in report.iter().flat_map(|report| &report.failures) {
            writeln!(self.story, "  drain: {failure}").unwrap();
        }
        self.take(&taken.bytes)
    }

    /// Puts whole envelopes into the account; what broke off comes again.
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        for text in bytes
            .split_inclusive(|byte| *byte == b'\n')
            .filter(|text| text.ends_with(b"\n"))
        {
            let envelope =
                Envelope::parse(text).map_err(|error| format!("{error}: {}", String::from_utf8_lossy(text)))?;
            let line = envelope.line().map_err(|error| error.to_string())?.into_owned();
            let value: Value = serde_json::from_str(envelope.record.get()).unwrap();
            let source = &value["source"];
            let record = Record {
                line,
                file: source["file_id"].as_str().unwrap().to_owned(),
                epoch: source["epoch"].as_u64().unwrap(),
                offset: source["offset"].as_u64().unwrap(),
                terminated: source["terminated"].as_bool().unwrap(),
            };
            self.account.delivered(envelope.ulid.into_owned(), record)?;
        }
        Ok(())
    }
}
