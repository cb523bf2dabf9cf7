//! An envelope gives back what was put into it, and one that is damaged is no envelope or says only what stands in it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::Value;
use tailspool::pure::identity::Identity;
use tailspool::pure::lines::Line;
use tailspool::pure::record::{Ending, Envelope, Envelopes, LogFile, path_from_text, ulid_of};
use tailspool::queue::unescaped;
use ulid::Ulid;

use super::data::Data;

const AT: &str = "2026-01-02T03:04:05.000006+00:00";

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let piece_bytes = 1 + data.below(64);
    let file = file(&mut data);
    let ulid = Ulid::from_parts(data.number() >> 16, data.number().into());
    let replaces = (data.byte() % 2 == 1).then_some(Ulid(7));
    let line = data.line();
    let line = Line {
        offset: data.number(),
        number: (data.byte() % 2 == 1).then_some(3),
        bytes: &line,
    };
    let terminated = data.byte() % 2 == 1;

    let mut written = Vec::new();
    Envelopes::of(&file).push(&mut written, ulid, AT, &line, Ending { terminated, replaces });
    assert_eq!(written.iter().position(|byte| *byte == b'\n'), Some(written.len() - 1));
    written.pop();
    says(&written, &file, ulid, &line, (terminated, replaces));
    streams(&written, line.bytes, piece_bytes);

    let cut = data.below(written.len());
    assert!(Envelope::parse(&written[..cut]).is_err(), "cut to {cut} bytes");
    data.damage(&mut written);
    if let Ok(envelope) = Envelope::parse(&written) {
        serde_json::from_slice::<IgnoredAny>(&written).unwrap();
        let record = envelope.record.get();
        assert!(record.starts_with('{') && memchr::memmem::find(&written, record.as_bytes()).is_some());
        if let (Ok(line), Ok(value)) = (envelope.line(), serde_json::from_str::<Value>(record)) {
            let text = value.get("surface").or(value.get("text")).and_then(Value::as_str);
            assert!(
                value.get("surface_base64").is_some_and(|exact| !exact.is_null())
                    || text.map(str::as_bytes) == Some(&line)
            );
        }
    }
}

fn file(data: &mut Data<'_>) -> LogFile {
    let agent = data.text();
    LogFile {
        file_id: Ulid::from_parts(1, data.number().into()),
        epoch: data.number(),
        path: Path::new(OsStr::from_bytes(data.text())).into(),
        identity: Identity {
            device: data.number(),
            inode: data.number(),
            btime: None,
        },
        agent: (!agent.is_empty()).then(|| String::from_utf8_lossy(agent).into()),
    }
}

/// The envelope says all that was put into it.
fn says(json: &[u8], file: &LogFile, ulid: Ulid, line: &Line<'_>, (terminated, replaces): (bool, Option<Ulid>)) {
    let envelope = Envelope::parse(json).unwrap();
    assert_eq!(envelope.line().unwrap(), line.bytes);
    assert_eq!(
        (envelope.ulid.as_ref(), envelope.appended_at.as_ref()),
        (ulid.to_string().as_str(), AT)
    );
    assert_eq!(ulid_of(json), Some(ulid));
    let value: Value = serde_json::from_slice(json).unwrap();
    let source = &value["record"]["source"];
    let told = ["epoch", "offset", "length", "device", "inode"].map(|key| source[key].as_u64().unwrap());
    let length = line.bytes.len() as u64;
    assert_eq!(
        told,
        [
            file.epoch,
            line.offset,
            length,
            file.identity.device,
            file.identity.inode
        ]
    );
    assert_eq!(source["file_id"], file.file_id.to_string());
    assert_eq!(source["line"].as_u64(), line.number);
    assert_eq!(source["agent"].as_str(), file.agent.as_deref());
    assert_eq!(source["terminated"], terminated);
    assert_eq!(
        source.get("replaces").map(|ulid| ulid.as_str().unwrap().to_owned()),
        replaces.map(|ulid| ulid.to_string())
    );
    let path = path_from_text(source["path"].as_str().unwrap(), source["path_base64"].as_str());
    assert_eq!(path.as_deref(), Some(&*file.path));
    // A tree of values has bounds of its own, so what is JSON need not become one.
    let is_json = source["json"].as_bool().unwrap();
    assert!(is_json || serde_json::from_slice::<Value>(line.bytes).is_err());
    assert!(!is_json || str::from_utf8(line.bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok()));
}

/// A long line is not parsed but streamed, and says the same.
fn streams(json: &[u8], line: &[u8], piece_bytes: usize) {
    if str::from_utf8(line).is_ok() {
        let start = memchr::memmem::find(json, br#""surface":""#).unwrap() + br#""surface":""#.len();
        assert_eq!(unescaped(&json[start..], piece_bytes).unwrap(), line);
    }
}
