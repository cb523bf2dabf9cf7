//! What the queue holds, and whether that is what the events say.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use ulid::Ulid;

use super::diff::diff;
use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::event::{Detail, Event};
use crate::pure::record::Envelope;
use crate::queue::drain::{DrainOptions, Format, Output, drain};

/// A record in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    /// Which file it is from.
    pub file_id: Ulid,
    /// Epoch of the file.
    pub epoch: u64,
    /// Offset of the line's first byte.
    pub offset: u64,
    /// Length of the line without its newline, as the record says it.
    pub length: u64,
    /// Whether the line ended with a newline.
    pub terminated: bool,
    /// The line.
    pub bytes: Vec<u8>,
}

/// What `record` tells of the line beside its bytes.
#[derive(Deserialize)]
struct Record {
    source: Position,
}

#[derive(Deserialize)]
struct Position {
    file_id: Ulid,
    epoch: u64,
    offset: u64,
    length: u64,
    terminated: bool,
}

impl Queued {
    fn parse(envelope: &[u8]) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let envelope = Envelope::parse(envelope)?;
        let Record { source } = serde_json::from_str(envelope.record.get())?;
        Ok(Self {
            file_id: source.file_id,
            epoch: source.epoch,
            offset: source.offset,
            length: source.length,
            terminated: source.terminated,
            bytes: envelope.line()?.into_owned(),
        })
    }
}

/// What is drained, in memory.
#[derive(Default)]
struct Collected(Vec<u8>);

impl Output for Collected {
    fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything that is pending, in order; it stays there.
pub(super) fn of(disk: &dyn Disk) -> Result<Vec<Queued>, Error> {
    let mut out = Collected::default();
    let options = DrainOptions {
        format: Format::Envelope,
        records_max: u64::MAX,
        peek: true,
    };
    let mut report = drain(disk, options, &mut out, &mut ())?;
    if let Some(failure) = report.failures.pop() {
        return Err(failure);
    }
    let lines = out.0.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let parsed = lines.map(|line| {
        Queued::parse(line).map_err(|cause| Error::new(ErrorKind::Failed, "cannot read the queue:").because(cause))
    });
    parsed.collect()
}

/// Where the queue holds something else than the `append` events, in their order; None when it does not.
///
/// The event of a line that was never in memory has no text; the line is taken for right when its length is.
pub(super) fn differs(events: &[Event], queue: &[Queued]) -> Option<String> {
    let said: Vec<_> = events.iter().filter_map(said).collect();
    let with_text = |index: usize| said.get(index).is_none_or(|(_, with_text)| *with_text);
    let held: Vec<_> = queue
        .iter()
        .enumerate()
        .map(|(index, queued)| shown(queued, with_text(index)))
        .collect();
    let said: Vec<_> = said
        .iter()
        .map(|(queued, with_text)| shown(queued, *with_text))
        .collect();
    let found = diff(&said, &held);
    (!found.is_empty()).then(|| format!("in the queue, beside what the events say:\n{found}"))
}

/// What an `append` says is in the queue, and whether it has the text of the line.
fn said(event: &Event) -> Option<(Queued, bool)> {
    let Detail::Append {
        offset,
        length,
        line,
        line_base64,
        terminated,
        ..
    } = &event.detail
    else {
        return None;
    };
    let exact = line_base64.as_ref().and_then(|base64| STANDARD.decode(base64).ok());
    let bytes = line.as_ref().map(|line| line.clone().into_bytes()).or(exact);
    let with_text = bytes.is_some();
    let queued = Queued {
        file_id: event.file_id,
        epoch: event.epoch,
        offset: *offset,
        length: *length,
        terminated: *terminated,
        bytes: bytes.unwrap_or_default(),
    };
    Some((queued, with_text))
}

/// A record as a line of a diff.
fn shown(queued: &Queued, with_text: bool) -> String {
    let mut shown = json!({
        "file_id": queued.file_id,
        "epoch": queued.epoch,
        "offset": queued.offset,
        "length": queued.length,
        "terminated": queued.terminated,
    });
    if with_text {
        match str::from_utf8(&queued.bytes) {
            Ok(text) => shown["line"] = text.into(),
            Err(_) => shown["line_base64"] = STANDARD.encode(&queued.bytes).into(),
        }
    } else if !queued.bytes.is_empty() {
        shown["length"] = queued.bytes.len().into();
    }
    shown.to_string()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::pure::identity::Identity;
    use crate::pure::record::{Ending, LogFile};

    fn append(offset: u64, length: u64, bytes: Option<&[u8]>) -> Event {
        let file = Arc::new(LogFile {
            file_id: Ulid::from_parts(1, 2),
            epoch: 3,
            path: Path::new("/t/s.jsonl").into(),
            identity: Identity {
                device: 1,
                inode: 2,
                btime: None,
            },
            agent: None,
        });
        Event::of_line(&file, offset, length, bytes, Ending::NEWLINE, Timestamp::UNIX_EPOCH)
    }

    fn queued(offset: u64, bytes: &[u8]) -> Queued {
        Queued {
            file_id: Ulid::from_parts(1, 2),
            epoch: 3,
            offset,
            length: bytes.len() as u64,
            terminated: true,
            bytes: bytes.to_owned(),
        }
    }

    #[test]
    fn a_record_too_few_too_many_or_other_is_a_difference() {
        let events = [
            append(0, 1, Some(b"a")),
            append(2, 2, Some(b"\xffb")),
            append(5, 3, None),
        ];
        let queue = [queued(0, b"a"), queued(2, b"\xffb"), queued(5, b"xyz")];
        assert_eq!(differs(&events, &queue), None);
        assert!(differs(&events[1..], &queue).is_some());
        assert!(differs(&events, &queue[..2]).is_some());
        for other in [queued(5, b"xy"), queued(6, b"xyz")] {
            assert!(differs(&events[2..], &[other]).is_some());
        }
        for other in [queued(2, b"\xfeb"), queued(1, b"\xffb")] {
            let shown = differs(&events[1..2], &[other]).unwrap();
            assert!(shown.contains("\n-{") && shown.contains("\n+{"), "{shown}");
        }
    }
}
