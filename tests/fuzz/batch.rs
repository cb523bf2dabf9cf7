//! Of a damaged batch all records are handed out or none: as they stand in it, if they can be what was committed, and
//! else the damage is told and its bytes are kept. The next batch comes in any case.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tailspool::disk::SimDisk;
use tailspool::home::{PENDING, QUARANTINE, pending};
use tailspool::pure::identity::Identity;
use tailspool::pure::lines::Line;
use tailspool::pure::name::Batch;
use tailspool::pure::record::{Ending, Envelopes, LogFile, push_foreign};
use tailspool::queue::drain::{DrainOptions, Format, Output, drain};
use ulid::Ulid;

use super::data::Data;
use super::files::{content, names, put};

const AT: &str = "2026-01-02T03:04:05.000006+00:00";

#[derive(Default)]
struct Taken(Vec<u8>);

impl Output for Taken {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn broke_off(&mut self) -> bool {
        true
    }
}

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let format = [Format::Envelope, Format::Record, Format::Raw][data.below(3)];
    let (name, whole) = batch(&mut data, 1);
    let (younger_name, younger) = batch(&mut Data::new(b"\0\0\0\x05hello"), 100);
    let mut text = whole.clone();
    data.damage(&mut text);
    let disk = SimDisk::new();
    put(&disk, pending(&name), &text);
    put(&disk, pending(&younger_name), &younger);

    let mut taken = Taken::default();
    let options = DrainOptions {
        format,
        records_max: u64::MAX,
        peek: false,
    };
    let report = drain(&disk, options, &mut taken, &mut ()).unwrap();
    let behind = handed(&younger, format).unwrap();
    let Some(before) = taken.0.strip_suffix(&behind[..]) else {
        panic!("the younger batch did not come: {report:?}");
    };
    assert_eq!(content(&disk, pending(&younger_name)), None);

    let waits = content(&disk, pending(&name));
    let aside = content(&disk, format!("{QUARANTINE}/{name}"));
    if waits.is_none() && aside.is_none() {
        assert!(report.failures.is_empty());
        assert_eq!(report.records, 1 + text.split(|byte| *byte == b'\n').count() as u64 - 1);
        assert!(can_be(&text, &name), "it is handed out and is not what its name says");
        if let Some(expected) = handed(&text, format) {
            assert_eq!(before, expected);
        }
        return;
    }
    assert_ne!(text, whole, "nothing was wrong with it");
    assert_eq!((before, report.records, report.failures.len()), (&b""[..], 1, 1));
    assert_eq!(waits.as_ref().or(aside.as_ref()), Some(&text), "its bytes are kept");
    if waits.is_some() {
        assert!(aside.is_none() && !names(&disk, QUARANTINE).contains(&name));
        let is_other = text.split_inclusive(|byte| *byte == b'\n').any(has_other_version);
        assert!(
            format == Format::Raw || is_other,
            "only what may be well stays: {report:?}"
        );
    }
    assert!(
        names(&disk, PENDING).is_empty() != waits.is_some(),
        "no lock file is left"
    );
}

/// A batch of one to four records, and its name.
fn batch(data: &mut Data<'_>, first: u64) -> (String, Vec<u8>) {
    let envelopes = Envelopes::of(&LogFile {
        file_id: Ulid(5),
        epoch: 0,
        path: std::path::Path::new("/logs/a.jsonl").into(),
        identity: Identity {
            device: 1,
            inode: 2,
            btime: None,
        },
        agent: None,
    });
    let records = 1 + u64::from(data.byte() % 4);
    let mut out = Vec::new();
    for number in 0..records {
        let ulid = Ulid::from_parts(first + number, 0);
        let is_foreign = data.byte() % 8 == 7;
        let line = data.line();
        if is_foreign {
            let record = serde_json::json!({"surface": String::from_utf8_lossy(&line)});
            push_foreign(&mut out, ulid, AT, record.to_string().as_bytes());
        } else {
            let (offset, number) = (number, Some(number + 1));
            let bytes = &line;
            envelopes.push(&mut out, ulid, AT, &Line { offset, number, bytes }, Ending::NEWLINE);
        }
    }
    let first = Ulid::from_parts(first, 0);
    (Batch { first, records }.name(), out)
}

/// The lines as JSON; None for one that is none, or that a tree of values does not take.
fn lines(text: &[u8]) -> impl Iterator<Item = Option<Value>> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| serde_json::from_slice(line).ok())
}

/// Whether its name can be that of this text: as many lines, all ended, the first ULID, and rising ones.
fn can_be(text: &[u8], name: &str) -> bool {
    let ulids: Vec<_> = lines(text)
        .map(|line| line.map(|line| line["ulid"].as_str().unwrap().to_owned()))
        .collect();
    let first = ulids[0].clone().unwrap_or_default();
    let versions = lines(text)
        .flatten()
        .all(|line| line["schema_version"] == 1 && line["record"].is_object());
    let known: Vec<_> = ulids.iter().flatten().collect();
    text.ends_with(b"\n")
        && name == format!("pending-{first}-{}.jsonl", ulids.len())
        && known.is_sorted_by(|one, next| one < next)
        && versions
}

/// What a reader gets of this text; None where a tree of values cannot say it.
fn handed(text: &[u8], format: Format) -> Option<Vec<u8>> {
    match format {
        Format::Envelope => Some(
            text.iter()
                .map(|byte| if *byte == b'\r' { b' ' } else { *byte })
                .collect(),
        ),
        Format::Record => text
            .split_inclusive(|byte| *byte == b'\n')
            .map(record)
            .collect::<Option<Vec<_>>>()
            .map(|records| records.concat()),
        Format::Raw => lines(text)
            .map(|line| exact(&line?))
            .collect::<Option<Vec<_>>>()
            .map(|lines| lines.concat()),
    }
}

/// Bytes elsewhere that are no UTF-8 do not hide it.
fn has_other_version(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Read {
        schema_version: Value,
    }
    serde_json::from_slice(line).is_ok_and(|Read { schema_version }| schema_version != 1)
}

fn record(line: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Read<'a> {
        #[serde(borrow)]
        record: &'a RawValue,
    }
    let Read { record } = serde_json::from_slice(line).ok()?;
    Some(format!("{}\n", record.get().replace('\r', " ")).into_bytes())
}

fn exact(line: &Value) -> Option<Vec<u8>> {
    let record = &line["record"];
    let has_bytes = record.get("surface_base64").is_some_and(|exact| !exact.is_null());
    let text = record.get("surface").filter(|_| !has_bytes)?;
    Some([text.as_str()?.as_bytes(), b"\n"].concat())
}
