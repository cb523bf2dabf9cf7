//! Of a damaged spill file each line that is a pair comes to the store, in order, and each other one is kept aside.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tailspool::disk::SimDisk;
use tailspool::home::{OVERFLOW, QUARANTINE};
use tailspool::provenance::{Options, Pair, ProvenanceStore, ProvenanceWriter, StoreError};

use super::data::Data;
use super::files::{content, names, put};

const NAME: &str = "01ARZ3NDEKTSV4RRFFQ69G5FAV-00000001-4.jsonl";

#[derive(Default)]
struct Store(Mutex<Vec<Pair>>);

impl ProvenanceStore for Store {
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError> {
        self.0.lock().unwrap().extend_from_slice(pairs);
        Ok(())
    }
}

/// A pair as its reader must see it.
#[derive(Deserialize)]
struct Read<'a> {
    id: String,
    #[serde(borrow)]
    entry: &'a RawValue,
}

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let call_pairs_max = 1 + data.below(5);
    let mut text = Vec::new();
    for number in 0..=data.below(6) {
        let (id, cue) = (
            String::from_utf8_lossy(data.text()),
            String::from_utf8_lossy(data.text()),
        );
        let line = serde_json::json!({"id": format!("{number}{id}"), "entry": {"cue": cue, "n": [number]}});
        text.extend_from_slice(format!("{line}\n").as_bytes());
    }
    data.damage(&mut text);
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match serde_json::from_slice::<Read<'_>>(line) {
            Ok(Read { id, entry }) if (1..=256).contains(&id.len()) && entry.get().starts_with('{') => {
                good.push((id, entry.get().replace('\r', " ")));
            }
            _ => bad.extend_from_slice(line),
        }
    }

    let (disk, store) = (SimDisk::new(), Arc::new(Store::default()));
    put(&disk, format!("{OVERFLOW}/{NAME}"), &text);
    let options = Options {
        call_pairs_max,
        coalesce: Duration::ZERO,
        ..Options::default()
    };
    let writer = ProvenanceWriter::spawn(Arc::new(disk.clone()), Arc::clone(&store) as _, options).unwrap();
    assert_eq!(writer.flush(Duration::MAX), 0);
    writer.stop(Duration::MAX);
    let came = store.0.lock().unwrap();
    let came: Vec<_> = came
        .iter()
        .map(|pair| (pair.id().to_owned(), pair.entry().to_owned()))
        .collect();
    assert_eq!(came, good);
    assert_eq!(
        content(&disk, format!("{QUARANTINE}/{NAME}.bad")).unwrap_or_default(),
        bad
    );
    assert!(names(&disk, OVERFLOW).is_empty(), "nothing is left to be read again");
}
