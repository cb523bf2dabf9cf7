//! A program that knows the older layout only: one record a file, `pending-<ulid>.json`.
//!
//! Written from the rules of that layout, with nothing of tailspool in it.

#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "test code")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names of the queue are"
)]

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use serde_json::{Value, json};

/// Appends one record under this ULID, and makes it visible with a rename.
pub(crate) fn append(pending: &Path, ulid: &str, record: &Value) {
    let text = json!({
        "ulid": ulid,
        "appended_at": "2026-01-02T03:04:05+00:00",
        "record": record,
        "schema_version": 1,
    });
    let (committed, temporary) = (
        pending.join(format!("pending-{ulid}.json")),
        pending.join(format!("pending-{ulid}.json.tmp")),
    );
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .unwrap();
    file.write_all(text.to_string().as_bytes()).unwrap();
    file.sync_all().unwrap();
    drop(file);
    fs::rename(temporary, committed).unwrap();
}

/// What it takes for pending, oldest first.
pub(crate) fn pending(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("pending-") && name.ends_with(".json") && path.is_file()
        })
        .collect();
    found.sort();
    found
}

/// Handles each record that is pending and not locked, once over the directory. Returns the envelopes.
pub(crate) fn drain(directory: &Path, mut handle: impl FnMut(&Value)) -> usize {
    let mut handled = 0;
    for path in pending(directory) {
        let lock_path = path.with_extension("lock");
        let Ok(lock) = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
        else {
            continue;
        };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            continue;
        }
        if let Ok(text) = fs::read_to_string(&path) {
            let envelope: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(envelope["schema_version"], 1);
            handle(&envelope);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
                _ => handled += 1,
            }
        }
        unlock(&lock);
        drop(lock);
        if !path.exists() {
            let _ = fs::remove_file(lock_path);
        }
    }
    handled
}

fn unlock(lock: &File) {
    rustix::fs::flock(lock, FlockOperation::Unlock).unwrap();
}
