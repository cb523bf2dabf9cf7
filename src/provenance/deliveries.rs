//! `provenance/deliveries.jsonl`: who got what was drained.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Options, Pair, ProvenanceStore, ProvenanceWriter, Refused, Stopped, StoreError};
use crate::disk::{Disk, append_lines};
use crate::error::Error;
use crate::home::{DELIVERIES, PROVENANCE};

/// Some records that one reader got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// ULID of the first record.
    pub first: String,
    /// ULID of the last record.
    pub last: String,
    /// How many they were.
    pub records: u64,
    /// Who got them: `stdout`, or `exec: ` and the command.
    pub reader: String,
    /// When.
    pub at: Timestamp,
}

/// Appends entries as lines to `provenance/deliveries.jsonl` of a home; ids are not written.
///
/// Several processes may do so at a time. A call blocks while another process appends, and until its lines are
/// durable; after a failure none of them is there. See [`append_lines`].
pub struct DeliveryStore {
    disk: Arc<dyn Disk>,
}

impl DeliveryStore {
    /// The deliveries of a home.
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

impl ProvenanceStore for DeliveryStore {
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        let lines: String = pairs.iter().flat_map(|pair| [pair.entry(), "\n"]).collect();
        let append = || append_lines(&*self.disk, Path::new(DELIVERIES), lines.as_bytes());
        let appended = match append() {
            // A home where nothing was ever watched.
            Err(error) if error.kind() == io::ErrorKind::NotFound => self
                .disk
                .create_dir(Path::new(PROVENANCE))
                .and_then(|()| self.disk.sync_dir(Path::new("")))
                .and_then(|()| append()),
            outcome => outcome,
        };
        Ok(appended.map(drop)?)
    }
}

/// Writes down deliveries, off the path of those who deliver.
pub struct Deliveries(ProvenanceWriter);

impl Deliveries {
    /// Begins to write down deliveries from this home. Fails only if the system has no thread for it.
    pub fn open(disk: Arc<dyn Disk>) -> io::Result<Self> {
        let store = Arc::new(DeliveryStore::new(Arc::clone(&disk)));
        ProvenanceWriter::spawn(disk, store, Options::default()).map(Self)
    }

    /// Notes a delivery; returns at once. A failure is logged, and is no failure of the delivery.
    pub fn note(&self, delivery: &Delivery) {
        let noted = Pair::of(delivery.first.as_str(), delivery).map(|pair| self.0.enqueue(vec![pair]));
        match noted {
            // A refusal is logged already.
            Ok(Ok(()) | Err(Refused { .. })) => {}
            Err(bad) => log::warn!(code = "provenance.refused"; "a delivery is not written down: {bad}"),
        }
    }

    /// Waits until what was noted is written down, at most this long; returns how many deliveries are not.
    pub fn flush(&self, timeout: Duration) -> u64 {
        self.0.flush(timeout)
    }

    /// Ends it, see [`ProvenanceWriter::stop`]; dropping it does the same.
    pub fn stop(&self, timeout: Duration) -> Stopped {
        self.0.stop(timeout)
    }
}

/// What was read back.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// In the order in which they were written down. Equal ones are one delivery that was written down twice.
    pub deliveries: Vec<Delivery>,
    /// Lines that are no deliveries.
    pub skipped: u64,
}

/// Reads the deliveries of a home. A line that is none is counted; a home without deliveries has none.
pub fn read(disk: &dyn Disk) -> Result<ReadBack, Error> {
    let mut back = ReadBack::default();
    each_line(disk, |line| match serde_json::from_slice(line) {
        Ok(delivery) => back.deliveries.push(delivery),
        Err(_) => back.skipped += 1,
    })
    .map_err(|cause| Error::io("cannot read the deliveries", disk.show(Path::new(DELIVERIES)), cause))?;
    Ok(back)
}

fn each_line(disk: &dyn Disk, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut input = match disk.read_from(Path::new(DELIVERIES), 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => BufReader::new(opened?),
    };
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        take(&line);
        line.clear();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SimDisk;

    fn delivery(first: u32) -> Delivery {
        Delivery {
            first: format!("{first:026}"),
            last: format!("{:026}", first + 9),
            records: 10,
            reader: "exec: cat > \"x\"".into(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[test]
    fn what_was_noted_is_read_back_in_order() {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        assert_eq!(read(&*disk).unwrap(), ReadBack::default());
        let expected: Vec<_> = (0..3).map(delivery).collect();
        let deliveries = Deliveries::open(Arc::clone(&disk)).unwrap();
        for delivery in &expected {
            deliveries.note(delivery);
        }
        assert_eq!(deliveries.flush(Duration::MAX), 0);
        let back = read(&*disk).unwrap();
        assert_eq!((back.deliveries, back.skipped), (expected, 0));
    }

    #[test]
    fn a_line_has_the_keys_that_the_formats_name() {
        let line = serde_json::to_string(&delivery(1)).unwrap();
        let expected = r#"{"first":"00000000000000000000000001","last":"00000000000000000000000010","records":10,"reader":"exec: cat > \"x\"","at":"2026-01-02T03:04:05Z"}"#;
        assert_eq!(line, expected);
    }

    #[test]
    fn lines_that_are_no_deliveries_are_skipped_and_counted() {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(PROVENANCE)).unwrap();
        let good = serde_json::to_string(&delivery(1)).unwrap();
        let text = format!("{good}\nnonsense\n\n{{\"first\":1}}\n{good}\n\u{fffd}{{\"torn");
        let mut file = disk.create(Path::new(DELIVERIES)).unwrap();
        file.write_at(text.as_bytes(), 0).unwrap();
        let back = read(&disk).unwrap();
        assert_eq!((back.deliveries.len(), back.skipped), (2, 4));
    }

    #[test]
    fn a_failed_append_is_tried_again_and_no_line_is_there_twice() {
        let disk = SimDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.plan(3, crate::disk::Fault::Eio);
        let deliveries = Deliveries::open(Arc::clone(&shared)).unwrap();
        deliveries.note(&delivery(1));
        assert_eq!(deliveries.flush(Duration::MAX), 0);
        drop(deliveries);
        assert_eq!(read(&*shared).unwrap().deliveries, [delivery(1)]);
    }
}
