//! A snapshot is believed only as it was written; damaged it is moved aside whole.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use tailspool::cursors::{load, load_or_move_aside, save};
use tailspool::disk::{Disk, Loaded, SimDisk};
use tailspool::home::CURSORS;
use tailspool::ledger::current_fold;
use tailspool::pure::fold::Fold;
use tailspool::start::start;

use super::data::Data;
use super::files::{content, names, put};
use super::seeds::{FOLDS, LEDGER, with_ledger};

static SNAPSHOTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FOLDS.iter().map(saved).collect());

fn saved(fold: &Fold) -> Vec<u8> {
    let disk = SimDisk::new();
    save(&disk, fold).unwrap();
    content(&disk, CURSORS).unwrap()
}

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let is_forged = data.byte() % 2 == 1;
    let number = data.below(FOLDS.len());
    let mut text = SNAPSHOTS[number].clone();
    data.damage(&mut text);
    if is_forged {
        return forged(&resealed(&text));
    }
    let disk = SimDisk::new();
    put(&disk, CURSORS, &text);
    let loaded = load_or_move_aside(&disk, Timestamp::UNIX_EPOCH).unwrap();
    if text == SNAPSHOTS[number] {
        assert_eq!(loaded, Loaded::Sound(FOLDS[number].clone()));
    } else {
        assert!(matches!(loaded, Loaded::Damaged(_)), "{loaded:?}");
        let names = names(&disk, "");
        assert!(
            matches!(&names[..], [aside] if aside.starts_with("cursors.json.bak-")),
            "{names:?}"
        );
        assert_eq!(content(&disk, &names[0]), Some(text));
    }
}

/// The checksum made right, over whatever it is.
fn resealed(text: &[u8]) -> Vec<u8> {
    const KEY: &[u8] = br#","checksum":""#;
    let body = &text[..memchr::memmem::rfind(text, KEY).unwrap_or(text.len())];
    [body, KEY, blake3::hash(body).to_hex().as_bytes(), b"\"}\n"].concat()
}

/// What is forged may be believed; then it is a snapshot like any other, and whoever goes by it stays well.
fn forged(text: &[u8]) {
    let disk = with_ledger(LEDGER);
    put(&disk, CURSORS, text);
    if let Loaded::Sound(fold) = load(&disk).unwrap() {
        let again = SimDisk::new();
        put(&again, CURSORS, &saved(&fold));
        assert_eq!(load(&again).unwrap(), Loaded::Sound(fold));
    }
    let read = current_fold(&disk);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    if let (Ok(read), Ok(started)) = (read, start(&shared, Timestamp::UNIX_EPOCH)) {
        assert_eq!(read, started.fold);
    }
    assert!(disk.meta(Path::new(CURSORS)).is_ok() || names(&disk, "").iter().any(|name| name.contains(".bak-")));
}
