//! The sources that still stand: each run that is in a chain is hashed anew.

use std::io;
use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::limits::{CHANGES_MAX, VERIFY_READ_BYTES};
use crate::pure::account::{Account, Accounts, Stretch};
use crate::show::Shown;
use crate::source::standing::{Finder, Standing, window_stands};
use crate::source::tree::{Log, read_full};

use super::finding::{Finding, Kind, Report};

/// A run that differs while the evidence holds.
pub(super) struct Suspect {
    id: Ulid,
    path: PathBuf,
    run: Stretch,
}

/// Looks at sources, and hashes them.
pub(super) struct Sources<'a> {
    finder: Finder<'a>,
    read: ReadAhead,
}

impl<'a> Sources<'a> {
    pub(super) fn new(finder: Finder<'a>) -> Self {
        Self {
            finder,
            read: ReadAhead::default(),
        }
    }

    /// Checks every file that has runs, directory by directory.
    pub(super) fn check(&mut self, accounts: &Accounts, report: &mut Report) -> Vec<Suspect> {
        let with_runs = accounts.files().iter().filter(|(_, account)| !account.runs.is_empty());
        let mut files: Vec<_> = with_runs.collect();
        files.sort_by_key(|(_, account)| account.path.as_deref().map(|path| (path.parent(), path.file_name())));
        let mut suspects = Vec::new();
        for (id, account) in files {
            let standing = match &account.path {
                None => Standing::Unknown("the ledger does not tell its path".into()),
                // An inode number that was given away again is not this file.
                Some(_) if !accounts.owns_its_inode(*id, account) => Standing::Gone,
                Some(path) => self.finder.find(path, &account.identity),
            };
            self.file(*id, account, standing, report, &mut suspects);
        }
        suspects
    }

    fn file(
        &mut self,
        id: Ulid,
        account: &Account,
        standing: Standing,
        report: &mut Report,
        suspects: &mut Vec<Suspect>,
    ) {
        let runs = account.runs.len() as u64;
        let unknown = |cause: String, report: &mut Report| {
            report.files.unchecked += 1;
            report.runs.unchecked += runs;
            report.add(Finding::new(Kind::Unchecked, cause).of(id, Some(account)));
        };
        match standing {
            Standing::Gone => {
                report.files.gone += 1;
                report.runs.gone += runs;
            }
            Standing::Unknown(cause) => unknown(cause, report),
            Standing::At(log, path) => match self.hash(&*log, account) {
                Err(cause) => unknown(format!("it cannot be read: {cause}"), report),
                Ok(hashed) => {
                    let moved = Some(&path) != account.path.as_ref();
                    *(if moved {
                        &mut report.files.moved
                    } else {
                        &mut report.files.standing
                    }) += 1;
                    log::info!("{}: {runs} runs", Shown::path(&path));
                    let differing = hashed.differing.len() as u64;
                    report.runs.verified += runs - differing;
                    report.runs.verified_bytes += hashed.equal_bytes;
                    if let Some(why) = hashed.changed {
                        report.runs.changed += differing;
                        changed(id, &path, &hashed.differing, &why, report);
                    } else {
                        let suspect = |run| Suspect {
                            id,
                            path: path.clone(),
                            run,
                        };
                        suspects.extend(hashed.differing.into_iter().map(suspect));
                    }
                }
            },
        }
    }

    /// Hashes the runs of a file. What differs is looked at again, since the file may have changed meanwhile.
    fn hash(&mut self, log: &dyn Log, account: &Account) -> io::Result<Hashed> {
        let mut hashed = Hashed::default();
        self.read.forget();
        for run in &account.runs {
            if self.read.holds(log, run)? {
                hashed.equal_bytes += run.to - run.from;
            } else {
                hashed.differing.push(*run);
            }
        }
        if hashed.differing.is_empty() {
            return Ok(hashed);
        }
        // Until a reading and the look after it are of one state of the file.
        for _ in 0..CHANGES_MAX {
            let before = log.stat()?;
            self.hash_again(log, &mut hashed)?;
            hashed.changed = change(log, account)?;
            if hashed.changed.is_some() || hashed.differing.is_empty() || log.stat()? == before {
                return Ok(hashed);
            }
        }
        hashed.changed = Some("it changes while it is read; it has changed".into());
        Ok(hashed)
    }

    /// Hashes the runs that differed once more.
    fn hash_again(&mut self, log: &dyn Log, hashed: &mut Hashed) -> io::Result<()> {
        self.read.forget();
        for run in std::mem::take(&mut hashed.differing) {
            if self.read.holds(log, &run)? {
                hashed.equal_bytes += run.to - run.from;
            } else {
                hashed.differing.push(run);
            }
        }
        Ok(())
    }
}

/// What was learnt of a file.
#[derive(Default)]
struct Hashed {
    equal_bytes: u64,
    differing: Vec<Stretch>,
    /// What the next look will see, if anything.
    changed: Option<String>,
}

/// Why the next look of a watcher will note a change; None when its evidence holds.
fn change(log: &dyn Log, account: &Account) -> io::Result<Option<String>> {
    let size = log.stat()?.size;
    if size < account.end() {
        return Ok(Some(format!("it shrank from {} to {size} bytes", account.end())));
    }
    let before = |end: u64, length: u32| end.saturating_sub(length.into());
    let guard = account
        .guard
        .map(|guard| (guard, before(account.reached, guard.length)));
    let head = account.head.map(|head| (head, 0));
    let kept = account
        .kept_end
        .and_then(|kept| kept.guard.map(|guard| (guard, before(kept.to, guard.length))));
    for (window, start) in [head, guard, kept].into_iter().flatten() {
        if !window_stands(log, &window, start)? {
            return Ok(Some("it was rewritten".into()));
        }
    }
    Ok(None)
}

/// Tells of runs that differ, neighbours together.
fn changed(id: Ulid, path: &Path, runs: &[Stretch], why: &str, report: &mut Report) {
    for together in runs.chunk_by(|one, next| one.to == next.from) {
        if let [first, .., last] | [first @ last] = together {
            let what = format!("{why} since the last look; the next watch will note it");
            let finding = Finding::new(Kind::Changed, what).of(id, None).at(path);
            report.add(finding.bytes(first.from, last.to));
        }
    }
}

/// Tells of the suspects that still stand, now that the newest commits are known.
pub(super) fn judge(suspects: Vec<Suspect>, accounts: &Accounts, report: &mut Report) {
    for Suspect { id, path, run } in suspects {
        if !accounts.files().get(&id).is_some_and(|account| account.holds(&run)) {
            // A `truncate` that came meanwhile; it is counted as superseded.
            continue;
        }
        report.runs.unexplained += 1;
        let what = "the bytes differ from what was captured, and size, head and end are as they were";
        let finding = Finding::new(Kind::Unexplained, what).of(id, None).at(&path);
        report.add(finding.bytes(run.from, run.to));
    }
}

/// Reads a file forwards in pieces, so that many small runs take few calls.
#[derive(Default)]
struct ReadAhead {
    bytes: Vec<u8>,
    start: u64,
    filled: usize,
}

impl ReadAhead {
    /// What was read before is of another file or time.
    fn forget(&mut self) {
        self.bytes.resize(VERIFY_READ_BYTES, 0);
        self.filled = 0;
    }

    /// Whether a run's bytes are what was captured.
    fn holds(&mut self, log: &dyn Log, run: &Stretch) -> io::Result<bool> {
        let mut hasher = blake3::Hasher::new();
        let mut at = run.from;
        while at < run.to {
            let bytes = self.at(log, at)?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let wanted = usize::try_from(run.to - at).map_or(bytes.len(), |wanted| wanted.min(bytes.len()));
            hasher.update(&bytes[..wanted]);
            at += wanted as u64;
        }
        Ok(hasher.finalize() == run.hash)
    }

    /// Some bytes from this offset; none at the end.
    fn at(&mut self, log: &dyn Log, offset: u64) -> io::Result<&[u8]> {
        let end = self.start + self.filled as u64;
        if offset < self.start || offset >= end {
            self.start = offset;
            self.filled = 0;
            self.filled = read_full(log, &mut self.bytes, offset)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(0);
        Ok(&self.bytes[from..self.filled])
    }
}
