//! Crashes, failing writes and full disks at every single operation on the home, each followed by a start
//! and an exact comparison of what was captured with what was written.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipeline::{Pipeline, TestClock, drain_some};
use serde_json::Value;
use tailspool::capture::{Capture, CaptureOptions, Overlap};
use tailspool::clock::Clock;
use tailspool::disk::{Disk, EntryKind, Fault, Loss, SimDisk};
use tailspool::error::{Error, ErrorKind};
use tailspool::ledger::current_fold;
use tailspool::limits::{FULL_RETRY, READ_BYTES, TAIL_SETTLE};
use tailspool::queue::drain::Format;
use tailspool::queue::outgoing::Layout;
use tailspool::source::tree::OsTree;

/// What was captured or must be: path, epoch, offset, line.
type Line = (String, u64, u64, String);

/// What happens to the logs between two passes, and the lines that this completes.
type Phase = (fn(&Path), Vec<Line>);

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn line(path: &str, epoch: u64, offset: u64, text: &str) -> Line {
    (path.into(), epoch, offset, text.into())
}

/// Every transition of this version, with blank lines, an unfinished line, and files without lines.
fn ordinary_days() -> Vec<Phase> {
    vec![
        (
            |top| {
                append(&top.join("a.jsonl"), "{\"a\":1}\n\n{\"a\":2}\n{\"half");
                append(&top.join("b.jsonl"), "b1\nb2\n");
                append(&top.join("c.jsonl"), "");
                append(&top.join("d.jsonl"), "\n\n");
            },
            vec![
                line("a.jsonl", 0, 0, "{\"a\":1}"),
                line("a.jsonl", 0, 9, "{\"a\":2}"),
                line("b.jsonl", 0, 0, "b1"),
                line("b.jsonl", 0, 3, "b2"),
            ],
        ),
        (
            |top| {
                append(&top.join("a.jsonl"), "\":true}\nnext\n");
                append(&top.join("c.jsonl"), "c1\n");
            },
            vec![
                line("a.jsonl", 0, 17, "{\"half\":true}"),
                line("a.jsonl", 0, 31, "next"),
                line("c.jsonl", 0, 0, "c1"),
            ],
        ),
        (
            |top| {
                fs::write(top.join("a.jsonl"), "new\n").unwrap();
                fs::rename(top.join("b.jsonl"), top.join("b.jsonl.1")).unwrap();
                append(&top.join("b.jsonl"), "b3\n");
                fs::remove_file(top.join("c.jsonl")).unwrap();
                fs::write(top.join("d.jsonl"), "rewritten from the start\n").unwrap();
            },
            vec![
                line("a.jsonl", 1, 0, "new"),
                line("b.jsonl", 0, 0, "b3"),
                line("d.jsonl", 1, 0, "rewritten from the start"),
            ],
        ),
        (
            |top| {
                append(&top.join("a.jsonl"), "last\n");
                append(&top.join("b.jsonl"), "b4\n\u{e9}\n");
            },
            vec![
                line("a.jsonl", 1, 4, "last"),
                line("b.jsonl", 0, 3, "b4"),
                line("b.jsonl", 0, 6, "\u{e9}"),
            ],
        ),
    ]
}

/// Files that move, are saved by rename, are rewritten in part, end without a newline, come back, or have two names.
fn hard_days() -> Vec<Phase> {
    fn filled(text: &str) -> String {
        format!("{text}{}", ".".repeat(599 - text.len()))
    }
    fn rewrite(path: &Path, offset: u64, bytes: &str) {
        use std::os::unix::fs::FileExt;
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes.as_bytes(), offset).unwrap();
    }
    vec![
        (
            |top| {
                append(&top.join("moved.jsonl"), "m1\n");
                append(&top.join("saved.jsonl"), "s1\n");
                append(&top.join("slot.jsonl"), &format!("{}\n", filled("title one")));
                append(&top.join("cut.jsonl"), "c1\nc2\n");
                append(&top.join("tail.jsonl"), "{\"t\":1}");
                append(&top.join("wrong.jsonl"), "{\"w\":1}");
                append(&top.join("x.jsonl"), "x1\n");
                append(&top.join("y.jsonl"), "y1\n");
                append(&top.join("z.jsonl"), "z1\n");
                fs::hard_link(top.join("z.jsonl"), top.join("zz.jsonl")).unwrap();
            },
            vec![
                line("moved.jsonl", 0, 0, "m1"),
                line("saved.jsonl", 0, 0, "s1"),
                line("slot.jsonl", 0, 0, &filled("title one")),
                line("cut.jsonl", 0, 0, "c1"),
                line("cut.jsonl", 0, 3, "c2"),
                line("tail.jsonl", 0, 0, "{\"t\":1}"),
                line("wrong.jsonl", 0, 0, "{\"w\":1}"),
                line("x.jsonl", 0, 0, "x1"),
                line("y.jsonl", 0, 0, "y1"),
                line("z.jsonl", 0, 0, "z1"),
            ],
        ),
        (
            |top| {
                fs::rename(top.join("moved.jsonl"), top.join("there.jsonl")).unwrap();
                append(&top.join("there.jsonl"), "m2\n");
                fs::write(top.join("saved.tmp"), "s1\ns2\n").unwrap();
                fs::rename(top.join("saved.tmp"), top.join("saved.jsonl")).unwrap();
                append(&top.join("slot.jsonl"), &format!("{0}\n{0}\n", filled("body")));
                append(&top.join("cut.jsonl"), "c3\nc4\n");
                append(&top.join("tail.jsonl"), "\nt2\n");
                append(&top.join("wrong.jsonl"), "{\"w\":2}\n");
                fs::rename(top.join("x.jsonl"), top.join("x.tmp")).unwrap();
                fs::rename(top.join("y.jsonl"), top.join("x.jsonl")).unwrap();
                fs::rename(top.join("x.tmp"), top.join("y.jsonl")).unwrap();
                append(&top.join("x.jsonl"), "y2\n");
                fs::remove_file(top.join("z.jsonl")).unwrap();
                append(&top.join("zz.jsonl"), "z2\n");
            },
            vec![
                line("there.jsonl", 0, 3, "m2"),
                line("saved.jsonl", 0, 3, "s2"),
                line("slot.jsonl", 0, 600, &filled("body")),
                line("slot.jsonl", 0, 1200, &filled("body")),
                line("cut.jsonl", 0, 6, "c3"),
                line("cut.jsonl", 0, 9, "c4"),
                line("tail.jsonl", 0, 8, "t2"),
                line("wrong.jsonl", 0, 0, "{\"w\":1}{\"w\":2}"),
                line("x.jsonl", 0, 3, "y2"),
                line("zz.jsonl", 0, 3, "z2"),
            ],
        ),
        (
            |top| {
                fs::remove_file(top.join("there.jsonl")).unwrap();
                fs::write(top.join("saved.tmp"), "other\n").unwrap();
                fs::rename(top.join("saved.tmp"), top.join("saved.jsonl")).unwrap();
                rewrite(&top.join("slot.jsonl"), 6, "two");
                let cut = OpenOptions::new().write(true).open(top.join("cut.jsonl")).unwrap();
                cut.set_len(9).unwrap();
            },
            vec![
                line("saved.jsonl", 0, 0, "other"),
                line("slot.jsonl", 1, 0, &filled("title two")),
                line("cut.jsonl", 1, 6, "c3"),
            ],
        ),
        (
            |top| {
                append(&top.join("there.jsonl"), "m1\nm2\nm3\n");
                append(&top.join("slot.jsonl"), "after\n");
                append(&top.join("cut.jsonl"), "c5\n");
            },
            vec![
                line("there.jsonl", 0, 6, "m3"),
                line("slot.jsonl", 1, 1800, "after"),
                line("cut.jsonl", 1, 9, "c5"),
            ],
        ),
    ]
}

/// A line too long for memory between two short ones.
fn a_long_line() -> Vec<Phase> {
    fn text() -> String {
        "long \"line\" \u{e9} ".repeat(READ_BYTES / 10)
    }
    let second = 6 + text().len() as u64 + 1;
    vec![(
        |top| append(&top.join("l.jsonl"), &format!("first\n{}\nsecond\n", text())),
        vec![
            line("l.jsonl", 0, 0, "first"),
            line("l.jsonl", 0, 6, &text()),
            line("l.jsonl", 0, second, "second"),
        ],
    )]
}

/// What was handed out, by ULID.
#[derive(Default)]
struct Delivered(BTreeMap<String, (Line, String)>);

impl Delivered {
    /// A record that is handed out again must be the same record.
    fn take(&mut self, disk: &SimDisk, top: &Path, records_max: u64, may_fail: bool) {
        let (text, report) = drain_some(disk, Format::Envelope, records_max, false);
        assert!(
            may_fail || disk.crashed() || report.failures.is_empty(),
            "{:?}",
            report.failures
        );
        for text in text.split(|byte| *byte == b'\n').filter(|text| !text.is_empty()) {
            let envelope: Value = serde_json::from_slice(text).unwrap();
            let (record, source) = (&envelope["record"], &envelope["record"]["source"]);
            let path = Path::new(source["path"].as_str().unwrap()).strip_prefix(top).unwrap();
            let line = (
                path.to_str().unwrap().to_owned(),
                source["epoch"].as_u64().unwrap(),
                source["offset"].as_u64().unwrap(),
                record["surface"].as_str().unwrap().to_owned(),
            );
            let file_id = source["file_id"].as_str().unwrap().to_owned();
            let ulid = envelope["ulid"].as_str().unwrap().to_owned();
            let value = (line, file_id);
            let before = self.0.insert(ulid.clone(), value.clone());
            assert!(before.is_none_or(|before| before == value), "{ulid} was two records");
        }
    }

    fn check(&self, expected: &[Line], what: &str) {
        let mut captured: Vec<_> = self.0.values().map(|(line, _)| line.clone()).collect();
        let mut expected = expected.to_vec();
        captured.sort();
        expected.sort();
        let show = |lines: &[Line]| -> Vec<String> {
            lines
                .iter()
                .map(|(path, epoch, offset, text)| format!("{path}:{epoch}:{offset} {text:.20}"))
                .collect()
        };
        assert!(
            captured == expected,
            "{what}: {:#?} is not {:#?}",
            show(&captured),
            show(&expected)
        );
        // The map is in the order of the ULIDs; so are the offsets of each file and epoch. A line that replaces a
        // settled one has its offset.
        let mut last = BTreeMap::new();
        for ((path, epoch, offset, _), file_id) in self.0.values() {
            let before = last.insert((file_id, epoch), *offset);
            assert!(
                before.is_none_or(|before| before <= *offset),
                "{what}: {path} is out of order"
            );
        }
    }
}

/// How it is captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Batches,
    /// Each record in a file of its own.
    Singles,
    /// Batches of one record, each committed when the next one is full.
    Late,
}

/// What is planned for one run.
#[derive(Debug, Clone, Copy)]
struct Plan {
    at: u64,
    fault: Fault,
    loss: Loss,
    /// A second crash, this many operations after the start that follows the first one.
    again: Option<u64>,
}

/// A machine on which something is planned to go wrong.
struct Machine {
    disk: SimDisk,
    plan: Option<Plan>,
    again: Option<u64>,
    way: Way,
}

impl Machine {
    fn new(plan: Option<Plan>, way: Way) -> Self {
        let disk = SimDisk::new();
        if let Some(plan) = plan {
            disk.plan(plan.at, plan.fault);
        }
        Self {
            disk,
            plan,
            again: plan.and_then(|plan| plan.again),
            way,
        }
    }

    /// Starts processes until one of them comes to its end.
    fn run(&mut self, top: &Path, clock: &Arc<TestClock>, phase: usize) {
        for _ in 0..5 {
            let ended = attempt(&self.disk, top, clock, phase, self.way);
            if let Err(error) = &ended {
                let full = self.disk.space().unwrap().free == 0;
                let fault = self.plan.map(|plan| plan.fault);
                let known = self.disk.crashed() || full || fault == Some(Fault::Eio);
                assert!(known, "{:?}: {error:?}", self.plan);
            }
            self.disk.make_room();
            if ended.is_ok() && !self.disk.crashed() {
                return;
            }
            self.come_back();
        }
        panic!("{:?}: no start comes to its end", self.plan);
    }

    fn come_back(&mut self) {
        self.disk = self.disk.after_crash(self.plan.map_or(Loss::Nothing, |plan| plan.loss));
        if let Some(operations) = self.again.take() {
            self.disk.plan(operations, Fault::CrashBefore);
        }
    }

    fn drain(&mut self, top: &Path, records_max: u64, delivered: &mut Delivered) {
        let may_fail = self.plan.is_some_and(|plan| plan.fault == Fault::Eio);
        delivered.take(&self.disk, top, records_max, may_fail);
        self.disk.make_room();
        if self.disk.crashed() {
            self.come_back();
        }
    }
}

/// Plays the phases on a machine that goes wrong as planned. Returns the operations that were done.
fn play(phases: &[Phase], plan: Option<Plan>) -> u64 {
    play_in(Way::Batches, phases, plan)
}

/// The same, captured in this way.
fn play_in(way: Way, phases: &[Phase], plan: Option<Plan>) -> u64 {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().canonicalize().unwrap();
    let what = format!("{plan:?}");
    let clock = TestClock::new();
    let mut machine = Machine::new(plan, way);
    let mut expected: Vec<Line> = Vec::new();
    let mut delivered = Delivered::default();
    for (phase, (change, lines)) in phases.iter().enumerate() {
        change(&top);
        expected.extend_from_slice(lines);
        machine.run(&top, &clock, phase);
        // A reader between the passes; it stops inside a batch.
        machine.drain(&top, 2, &mut delivered);
    }
    let mut operations = 0;
    // The plan may come in the first three, and it and its second crash may bring back what a drain has removed.
    for round in 0..5 {
        machine.run(&top, &clock, phases.len());
        machine.drain(&top, u64::MAX, &mut delivered);
        if round < 3 {
            operations = operations.max(machine.disk.operations());
        }
    }
    delivered.check(&expected, &what);
    let fold = current_fold(&machine.disk).unwrap();
    assert_eq!(fold.captured_lines, expected.len() as u64, "{what}");
    let left = machine.disk.list(Path::new("pending")).unwrap();
    assert!(left.is_empty(), "{what}: {left:?}");
    operations
}

/// One process: starts, looks until everything is captured, and stops, now and then without stopping well.
fn attempt(disk: &SimDisk, top: &Path, clock: &Arc<TestClock>, phase: usize, way: Way) -> Result<(), Error> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let options = CaptureOptions {
        layout: if way == Way::Singles {
            Layout::Record
        } else {
            Layout::Batch
        },
        overlap: if way == Way::Late {
            Overlap::Late
        } else {
            Overlap::Never
        },
        ..CaptureOptions::default()
    };
    let mut pipeline = Pipeline::start_with(&shared, top, &["."], clock, Box::<OsTree>::default(), options)?;
    if way == Way::Late {
        pipeline.capture.batch_records_max(1);
        pipeline.capture.stretch_bytes_min(1);
    }
    pipeline.capture.segment_bytes_max(1500);
    // What ends without a newline is taken by a second look, when it has been quiet.
    for quiet in [Duration::from_secs(1), TAIL_SETTLE] {
        clock.pass(quiet);
        loop {
            if way == Way::Late {
                pipeline.look()?;
            } else {
                pipeline.look_step_by_step()?;
            }
            if pipeline.capture.queue_full().is_none() {
                break;
            }
            disk.make_room();
            clock.pass(FULL_RETRY);
            pipeline.capture.tick(false)?;
        }
    }
    if phase.is_multiple_of(2) {
        pipeline.capture.stop()?;
    }
    Ok(())
}

fn every_operation(phases: &[Phase], faults: &[Fault], losses: &[Loss]) {
    every_operation_in(Way::Batches, phases, faults, losses);
}

fn every_operation_in(way: Way, phases: &[Phase], faults: &[Fault], losses: &[Loss]) {
    let operations = play_in(way, phases, None);
    assert!(operations > 20, "there is something to attack: {operations}");
    for at in 0..operations {
        for fault in faults {
            for loss in losses {
                play_in(
                    way,
                    phases,
                    Some(Plan {
                        at,
                        fault: *fault,
                        loss: *loss,
                        again: None,
                    }),
                );
            }
        }
    }
}

const CRASHES: [Fault; 3] = [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter];

#[test]
fn a_crash_at_any_operation_loses_and_doubles_nothing() {
    every_operation(&ordinary_days(), &CRASHES, &Loss::ALL);
}

#[test]
fn a_failing_operation_loses_and_doubles_nothing_whatever_the_next_start_finds() {
    every_operation(&ordinary_days(), &[Fault::Eio], &Loss::ALL);
}

#[test]
fn a_full_disk_at_any_operation_loses_and_doubles_nothing_once_there_is_room() {
    every_operation(&ordinary_days(), &[Fault::Full], &[Loss::Nothing]);
}

#[test]
fn a_fault_at_any_operation_loses_and_doubles_nothing_when_each_record_has_a_file_of_its_own() {
    let faults = [CRASHES.as_slice(), &[Fault::Eio, Fault::Full]].concat();
    every_operation_in(Way::Singles, &ordinary_days(), &faults, &[Loss::Everything, Loss::Half]);
    every_operation_in(Way::Singles, &a_long_line(), &faults, &[Loss::Half]);
}

#[test]
fn a_fault_at_any_operation_loses_and_doubles_nothing_when_commits_are_under_way_while_more_is_taken() {
    every_operation_in(Way::Late, &ordinary_days(), &CRASHES, &Loss::ALL);
    let failures = [Fault::Eio, Fault::Full];
    every_operation_in(Way::Late, &ordinary_days(), &failures, &[Loss::Nothing]);
}

#[test]
fn a_crash_at_any_operation_loses_and_doubles_nothing_of_what_moves_or_is_rewritten() {
    every_operation(&hard_days(), &CRASHES, &[Loss::Everything, Loss::Half]);
}

#[test]
fn a_failing_operation_loses_and_doubles_nothing_of_what_moves_or_is_rewritten() {
    every_operation(&hard_days(), &[Fault::Eio, Fault::Full], &[Loss::Half]);
}

#[test]
fn a_long_line_survives_a_fault_at_any_operation() {
    every_operation(
        &a_long_line(),
        &[Fault::CrashInside, Fault::CrashAfter, Fault::Full],
        &[Loss::Half],
    );
}

#[test]
fn a_second_crash_while_the_first_one_is_repaired_loses_and_doubles_nothing() {
    let phases = ordinary_days();
    let operations = play(&phases, None);
    for at in (0..operations).step_by(5) {
        for again in 0..14 {
            for loss in [Loss::Everything, Loss::Half] {
                play(
                    &phases,
                    Some(Plan {
                        at,
                        fault: Fault::CrashAfter,
                        loss,
                        again: Some(again),
                    }),
                );
            }
        }
    }
}

#[test]
fn a_failed_sync_is_final_for_the_process() {
    let temp = tempfile::tempdir().unwrap();
    append(&temp.path().join("a.jsonl"), "one\n");
    let clock = TestClock::new();
    let mut latched = 0;
    for operation in 0..12 {
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut pipeline = Pipeline::start(&shared, temp.path(), &clock).unwrap();
        disk.plan(operation, Fault::Eio);
        let Err(error) = pipeline.look() else { continue };
        assert_eq!(error.kind(), ErrorKind::Latched, "operation {operation}");
        let before = disk.operations();
        let again = pipeline.look().unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Latched);
        assert_eq!(disk.operations(), before, "nothing more is written");
        latched += 1;
    }
    assert!(
        latched >= 5,
        "create, write, sync, sync of the directory, write and sync of the ledger: {latched}"
    );
}

/// A disk on which all phases were captured, in several segments of the ledger.
fn captured(phases: &[Phase]) -> SimDisk {
    let temp = tempfile::tempdir().unwrap();
    let (clock, mut machine) = (TestClock::new(), Machine::new(None, Way::Batches));
    for (phase, (change, _)) in phases.iter().enumerate() {
        change(temp.path());
        machine.run(&temp.path().canonicalize().unwrap(), &clock, phase);
    }
    machine.disk
}

/// Takes the home, and gives it up again well.
fn start_and_stop(disk: &SimDisk) -> Result<(), Error> {
    let clock: Arc<dyn Clock> = TestClock::new();
    let options = CaptureOptions::default();
    let capture = Capture::open(Arc::new(disk.clone()), clock, pipeline::counted(), options)?;
    capture.stop().map(drop)
}

fn everything_in(disk: &SimDisk, directory: &str) -> BTreeMap<String, Vec<u8>> {
    let names = disk.list(Path::new(directory)).unwrap().into_iter();
    let files = names.filter(|name| disk.meta(&Path::new(directory).join(name)).unwrap().kind == EntryKind::File);
    files
        .map(|name| {
            let mut bytes = Vec::new();
            let mut file = disk.read_from(&Path::new(directory).join(&name), 0).unwrap();
            file.read_to_end(&mut bytes).unwrap();
            (name.into_string().unwrap(), bytes)
        })
        .collect()
}

#[test]
fn cursors_are_made_anew_from_the_ledger_alone_and_a_crash_meanwhile_changes_nothing() {
    let whole = captured(&hard_days());
    assert!(everything_in(&whole, "provenance").len() > 3, "several segments");
    let expected = current_fold(&whole).unwrap();
    for damage in [None, Some("{\"version\":1,\"half"), Some("")] {
        let begin = whole.after_crash(Loss::Nothing);
        begin.unlink(Path::new("cursors.json")).unwrap();
        if let Some(text) = damage {
            let mut file = begin.create(Path::new("cursors.json")).unwrap();
            file.write_at(text.as_bytes(), 0).unwrap();
        }
        let begin = begin.all_synced();
        let undisturbed = begin.after_crash(Loss::Nothing);
        start_and_stop(&undisturbed).unwrap();
        let operations = undisturbed.operations() - begin.operations();
        assert!(operations > 8, "there is something to attack: {operations}");
        for at in 0..=operations {
            for (fault, loss) in [
                (Fault::CrashInside, Loss::Half),
                (Fault::CrashAfter, Loss::Everything),
                (Fault::Eio, Loss::Bytes),
            ] {
                let disk = begin.after_crash(Loss::Nothing);
                disk.plan(at, fault);
                let _ = start_and_stop(&disk);
                let disk = disk.after_crash(loss);
                start_and_stop(&disk).unwrap();
                let what = format!("{damage:?}, {fault:?} at {at}");
                assert_eq!(current_fold(&disk).unwrap(), expected, "{what}");
                assert_eq!(
                    everything_in(&disk, "provenance"),
                    everything_in(&begin, "provenance"),
                    "{what}"
                );
                assert_eq!(
                    everything_in(&disk, "pending"),
                    everything_in(&begin, "pending"),
                    "{what}"
                );
                let top = everything_in(&disk, "");
                let kept = top.iter().filter(|(name, _)| name.starts_with("cursors.json.bak-"));
                let kept: Vec<_> = kept
                    .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
                    .collect();
                let damaged: Vec<_> = damage.into_iter().map(str::to_owned).collect();
                assert_eq!(kept, damaged, "{what}: what was damaged is kept");
                assert!(top.contains_key("cursors.json"), "{what}: {:?}", top.keys());
            }
        }
    }
}
