//! A ledger with every kind of line, as a watcher wrote it, and what it adds up to.

use std::sync::LazyLock;

use tailspool::disk::SimDisk;
use tailspool::ledger::{scan, segment_path};
use tailspool::pure::fold::Fold;

use super::files::put;

pub(crate) const LEDGER: &[u8] = include_bytes!("seeds/ledger.jsonl");

/// How the line of a commit begins.
const COMMIT: &[u8] = br#"{"kind":"commit","#;

/// The commits: each with its lines.
pub(crate) static COMMITS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut commits = vec![Vec::new()];
    for line in LEDGER.split_inclusive(|byte| *byte == b'\n') {
        commits.last_mut().unwrap().extend_from_slice(line);
        if line.starts_with(COMMIT) {
            commits.push(Vec::new());
        }
    }
    assert_eq!(commits.pop().unwrap(), b"");
    commits
});

/// What the first 0, 1, 2… of them add up to.
pub(crate) static FOLDS: LazyLock<Vec<Fold>> = LazyLock::new(|| {
    let mut folds = vec![Fold::default()];
    let disk = with_ledger(LEDGER);
    let end = scan(&disk, 1, 0, |sealed| {
        let mut fold = folds.last().unwrap().clone();
        sealed.apply(&mut fold, 1)?;
        folds.push(fold);
        Ok(())
    });
    assert_eq!(end.unwrap(), LEDGER.len() as u64);
    assert_eq!(folds.len(), COMMITS.len() + 1);
    folds
});

/// A home with this ledger.
pub(crate) fn with_ledger(text: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    put(&disk, segment_path(1), text);
    disk
}

/// The ledger with each checksum made right, as someone makes it who wants to be believed.
pub(crate) fn resealed(text: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = br#","checksum":""#;
    let (mut out, mut group) = (Vec::new(), 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match memchr::memmem::rfind(line, KEY).filter(|_| line.starts_with(COMMIT)) {
            Some(key) => {
                out.extend_from_slice(&line[..key]);
                let checksum = blake3::hash(&out[group..]).to_hex();
                out.extend_from_slice(&[KEY, checksum.as_bytes(), b"\"}\n"].concat());
                group = out.len();
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}
