//! Of a damaged ledger only commits that were made are read, from the first on and without a gap; the rest is told.

use std::ffi::OsStr;
use std::sync::Arc;

use jiff::Timestamp;
use tailspool::disk::{Disk, SimDisk};
use tailspool::ledger::{Commits, Found, current_fold, scan, segment_path};
use tailspool::pure::fold::{Fold, Mark};
use tailspool::source::exclude::Exclude;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::OsTree;
use tailspool::start::start;
use tailspool::verify::{Verdict, verify};

use super::data::Data;
use super::files::content;
use super::seeds::{COMMITS, FOLDS, LEDGER, resealed, with_ledger};

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let is_forged = data.byte() % 2 == 1;
    let mut text = LEDGER.to_vec();
    data.damage(&mut text);
    if is_forged {
        return forged(&resealed(&text));
    }
    let (disk, whole) = (with_ledger(&text), whole(&text));
    let scanned = scanned(&disk, &text);
    reads_on(&disk, &text);
    let verdict = verdict(&disk);
    if is_torn(&text) {
        assert_eq!(
            scanned.as_ref().map(Vec::len),
            Some(whole),
            "a torn tail takes no whole commit along"
        );
        assert_ne!(verdict, Verdict::Failed, "a torn tail is no damage");
    }
    let in_order = scanned
        .as_ref()
        .is_some_and(|found| found.iter().copied().eq(0..found.len()));
    assert!(
        in_order || verdict == Verdict::Failed,
        "what a scan stumbles over is told: {scanned:?}"
    );
    if let Ok(fold) = current_fold(&disk) {
        assert_eq!(anywhere(&fold), anywhere(&FOLDS[index(fold.commit)]));
    }
    starts(&disk, &text, scanned.filter(|_| in_order));
}

/// How many of the commits stand whole at the beginning.
fn whole(text: &[u8]) -> usize {
    let mut rest = text;
    let stands = |commit: &&Vec<u8>| rest.strip_prefix(&commit[..]).inspect(|behind| rest = behind).is_some();
    COMMITS.iter().take_while(stands).count()
}

/// Whether it is the beginning of what was written.
fn is_torn(text: &[u8]) -> bool {
    LEDGER.starts_with(text)
}

/// Which commits a scan hands out; None when it finds damage.
fn scanned(disk: &SimDisk, text: &[u8]) -> Option<Vec<usize>> {
    let (mut found, mut at) = (Vec::new(), 0);
    let end = scan(disk, 1, 0, |sealed| {
        let end = index(sealed.end);
        assert!(text[at..end].starts_with(sealed.lines), "it seals all of its group");
        let made = COMMITS.iter().position(|commit| *commit == text[at..end]);
        found.push(made.expect("a commit that was never made"));
        at = end;
        Ok(())
    });
    let end = index(end.ok()?);
    assert_eq!(end, at);
    for commit in COMMITS.iter() {
        let stands = |at| at == 0 || text[end + at - 1] == b'\n';
        let hidden = memchr::memmem::find_iter(&text[end..], commit).any(stands);
        assert!(!hidden, "a torn tail holds a commit");
    }
    Some(found)
}

/// Whoever reads on past damage is told of each byte once, and of no commit that was not made.
fn reads_on(disk: &SimDisk, text: &[u8]) {
    let mut commits = Commits::open(disk, 1, 0).unwrap();
    let mut at = 0;
    while let Some(found) = commits.read().unwrap() {
        let (from, to) = match found {
            Found::Sealed {
                lines,
                stray_bytes,
                from,
                end,
                ..
            } => {
                assert!(text[index(from)..index(end)].starts_with(lines));
                assert!(COMMITS.iter().any(|commit| *commit == text[index(from)..index(end)]));
                (from - stray_bytes, end)
            }
            Found::Damaged { from, end } => (from, end),
            Found::Unsealed { from, lines } => (from, from + lines.len() as u64),
        };
        assert_eq!(from, at);
        at = to;
    }
    assert_eq!(at, text.len() as u64);
}

/// A start goes on behind the last commit, or refuses and changes nothing.
fn starts(disk: &SimDisk, text: &[u8], in_order: Option<Vec<usize>>) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let started = start(&shared, Timestamp::UNIX_EPOCH);
    let left = content(disk, segment_path(1)).unwrap();
    assert_eq!(started.is_ok(), in_order.is_some());
    match started {
        Ok(started) => {
            let count = in_order.unwrap().len();
            assert_eq!(started.fold, FOLDS[count]);
            assert_eq!(left, COMMITS[..count].concat());
        }
        Err(_) => assert_eq!(left, text),
    }
}

/// What is forged may be believed, but whoever reads it stays well.
fn forged(text: &[u8]) {
    let disk = with_ledger(text);
    let fold = current_fold(&disk);
    verdict(&disk);
    let shared: Arc<dyn Disk> = Arc::new(disk);
    if let (Ok(fold), Ok(started)) = (fold, start(&shared, Timestamp::UNIX_EPOCH)) {
        assert_eq!(fold, started.fold);
    }
}

/// Judged with a scope that holds none of the logs.
fn verdict(disk: &SimDisk) -> Verdict {
    let scope = Scope::new(Some(OsStr::new("/usr")), &[]).unwrap();
    let report = verify(disk, Finder::new(&OsTree::default(), &scope, &Exclude::default()));
    report.unwrap().verdict
}

/// What it says of files, wherever in the ledger it says so.
fn anywhere(fold: &Fold) -> Fold {
    let mut fold = fold.clone();
    fold.mark = Mark { segment: 1, offset: 0 };
    fold.files.values_mut().for_each(|file| file.told = None);
    fold
}

fn index(offset: u64) -> usize {
    offset.try_into().unwrap()
}
