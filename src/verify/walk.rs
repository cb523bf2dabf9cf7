//! The ledger from its first commit: checksums, numbers, what the lines add up to.

use std::path::Path;

use crate::cursors;
use crate::disk::{Disk, Loaded};
use crate::error::Error;
use crate::home::CURSORS;
use crate::ledger::{Commits, Found, segment_numbers, segment_path};
use crate::pure::account::Accounts;
use crate::pure::commit::Commit;
use crate::pure::entry::Entry;
use crate::pure::fold::{Fold, Mark};

use super::batches::Batches;
use super::finding::{Finding, Kind, Report, SnapshotState};

/// Reads the ledger, and goes on where it stopped when it is asked again.
pub(super) struct Walk<'a> {
    disk: &'a dyn Disk,
    accounts: Accounts,
    /// Up to where everything was read.
    mark: Mark,
    next_commit: u64,
    /// Lines were lost just before the next commit.
    lost: bool,
    /// None after the first contradiction.
    fold: Option<Fold>,
    snapshot: Option<Fold>,
}

/// A commit with its lines, and where it is.
struct Read<'a> {
    commit: Commit,
    lines: &'a [u8],
    mark: Mark,
}

impl Read<'_> {
    fn finding(&self, what: String) -> Finding {
        let path = segment_path(self.mark.segment);
        Finding::new(Kind::Ledger, what).at(&path).commit(self.commit.commit)
    }
}

impl<'a> Walk<'a> {
    /// Takes the snapshot.
    pub(super) fn begin(disk: &'a dyn Disk, report: &mut Report) -> Result<Self, Error> {
        let snapshot = match cursors::load(disk)? {
            Loaded::Sound(fold) => Some(fold),
            Loaded::Missing => None,
            Loaded::Damaged(why) => {
                report.ledger.snapshot = SnapshotState::Differs;
                report.add(Finding::new(Kind::Snapshot, why).at(Path::new(CURSORS)));
                None
            }
        };
        Ok(Self {
            disk,
            accounts: Accounts::default(),
            mark: Mark { segment: 1, offset: 0 },
            next_commit: 1,
            lost: false,
            fold: Some(Fold::default()),
            snapshot,
        })
    }

    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Reads what there is, from where the last reading stopped.
    pub(super) fn read(&mut self, batches: &mut Batches<'_>, report: &mut Report) -> Result<(), Error> {
        let numbers = segment_numbers(self.disk)?;
        let last = numbers.last().copied().unwrap_or(0);
        report.ledger.segments = numbers.len() as u64;
        for segment in self.mark.segment..=last {
            if segment > self.mark.segment {
                self.mark = Mark { segment, offset: 0 };
            }
            if numbers.contains(&segment) {
                self.segment(segment == last, batches, report)?;
            } else {
                report.add(Finding::new(Kind::Ledger, "the segment is missing").at(&segment_path(segment)));
                self.lose();
            }
        }
        Ok(())
    }

    fn segment(&mut self, is_last: bool, batches: &mut Batches<'_>, report: &mut Report) -> Result<(), Error> {
        let Mark { segment, offset } = self.mark;
        let path = segment_path(segment);
        let mut commits = Commits::open(self.disk, segment, offset)?;
        report.ledger.torn_bytes = 0;
        while let Some(found) = commits.read()? {
            match found {
                Found::Sealed {
                    commit,
                    lines,
                    stray_bytes,
                    from,
                    end,
                } => {
                    if stray_bytes > 0 {
                        self.damaged(&path, from - stray_bytes, from, report);
                    }
                    let mark = Mark { segment, offset: end };
                    report.ledger.bytes += end - from;
                    self.commit(&Read { commit, lines, mark }, batches, report);
                    self.mark = mark;
                }
                Found::Damaged { from, end } => {
                    self.damaged(&path, from, end, report);
                    self.mark = Mark { segment, offset: end };
                }
                Found::Unsealed { from, lines } => {
                    let named = batches.named_in(lines);
                    if let Some(name) = named.filter(|_| is_last) {
                        let what = format!("what is not whole names {name}, which is visible, so it was committed");
                        report.add(
                            Finding::new(Kind::Ledger, what)
                                .at(&path)
                                .bytes(from, from + lines.len() as u64),
                        );
                    } else if is_last {
                        report.ledger.torn_bytes = lines.len() as u64;
                    } else {
                        self.damaged(&path, from, from + lines.len() as u64, report);
                    }
                }
            }
        }
        Ok(())
    }

    fn damaged(&mut self, path: &Path, from: u64, to: u64, report: &mut Report) {
        let what = "these bytes belong to no commit whose checksum holds";
        report.add(Finding::new(Kind::Ledger, what).at(path).bytes(from, to));
        self.lose();
    }

    /// Lines were lost, and with them the number of the next commit.
    fn lose(&mut self) {
        self.lost = true;
        self.doubt();
    }

    /// What follows cannot be held against what was before.
    fn doubt(&mut self) {
        self.fold = None;
        self.accounts.doubt();
    }

    fn commit(&mut self, read: &Read<'_>, batches: &mut Batches<'_>, report: &mut Report) {
        self.number(read, report);
        let mut entries = Vec::new();
        for (n, line) in read.lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
            match Entry::parse(line) {
                Ok(entry) => entries.push(entry),
                Err(error) => {
                    let what = format!("line {n} of the commit is none: {error}");
                    report.add(read.finding(what));
                    self.doubt();
                }
            }
        }
        report.ledger.commits += 1;
        report.ledger.lines += entries.len() as u64;
        for entry in &entries {
            let (id, misfits) = self.accounts.apply(entry);
            for misfit in misfits {
                let finding = Finding::misfit(misfit).commit(read.commit.commit);
                report.add(match id {
                    Some(id) => finding.of(id, self.accounts.files().get(&id)),
                    None => finding,
                });
            }
        }
        self.fold(read, &entries, report);
        batches.check(&read.commit, entries);
    }

    fn number(&mut self, read: &Read<'_>, report: &mut Report) {
        let found = read.commit.commit;
        if found != self.next_commit && !self.lost {
            let what = format!("commit {found} stands where commit {} belongs", self.next_commit);
            report.add(read.finding(what));
            self.doubt();
        }
        self.lost = false;
        self.next_commit = found.saturating_add(1);
    }

    /// The fold that a watcher makes must accept the same lines.
    fn fold(&mut self, read: &Read<'_>, entries: &[Entry], report: &mut Report) {
        let Some(mut fold) = self.fold.take() else { return };
        if let Err(what) = entries.iter().try_for_each(|entry| fold.apply(entry)) {
            let what = format!("a watcher would refuse to start: {what}");
            return report.add(read.finding(what));
        }
        fold.seal(&read.commit, read.mark);
        if self
            .snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.commit == fold.commit)
            && let Some(snapshot) = self.snapshot.take()
        {
            match difference(&snapshot, &fold) {
                None => report.ledger.snapshot = SnapshotState::Agrees,
                Some(what) => differs(what, report),
            }
        }
        self.fold = Some(fold);
    }

    /// After the ledger was read: a snapshot that was not met in it.
    pub(super) fn compare_snapshot(&mut self, report: &mut Report) {
        let Some(snapshot) = self.snapshot.take() else { return };
        match &self.fold {
            None => report.ledger.snapshot = SnapshotState::Unchecked,
            Some(_) if snapshot.commit == 0 => report.ledger.snapshot = SnapshotState::Agrees,
            Some(fold) => {
                let (covered, last) = (snapshot.commit, fold.commit);
                differs(
                    format!("it covers commit {covered}, and the ledger ends with {last}"),
                    report,
                );
            }
        }
        // It is only needed for the comparison, and may be large.
        self.fold = None;
    }

    /// What is only known at the end.
    pub(super) fn count(&self, report: &mut Report) {
        let files = self.accounts.files().values();
        report.runs.superseded = files.map(|file| file.superseded).sum();
    }
}

fn differs(what: String, report: &mut Report) {
    report.ledger.snapshot = SnapshotState::Differs;
    report.add(Finding::new(Kind::Snapshot, what).at(Path::new(CURSORS)));
}

/// What a snapshot says other than the ledger adds up to at its commit.
fn difference(snapshot: &Fold, fold: &Fold) -> Option<String> {
    let other_files = || {
        let ids = snapshot.files.keys().chain(fold.files.keys());
        ids.filter(|id| snapshot.files.get(id) != fold.files.get(id)).min()
    };
    if snapshot == fold {
        None
    } else if let Some(id) = other_files() {
        Some(format!("it differs from the ledger in what it says of file {id}"))
    } else {
        Some("it differs from the ledger in its sums or its roots".into())
    }
}
