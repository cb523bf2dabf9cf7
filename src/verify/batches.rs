//! What waits in the queue, against the commits that put it there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle, available_parallelism};

use crossbeam_channel::{Sender, bounded};
use memchr::memmem;

use crate::disk::Disk;
use crate::error::{Error, ErrorKind};
use crate::home::pending;
use crate::limits::{VERIFY_JOBS_MAX, VERIFY_THREADS_MAX};
use crate::pure::commit::{COMMIT_PREFIX, Commit};
use crate::pure::entry::{Compacted, Entry};
use crate::pure::name::Name;
use crate::queue::merge::list_settled;
use crate::waiting::{Trouble, says_captured};

use super::expected::{Expected, Reader};
use super::finding::{Finding, Kind, Report};
use super::merged;

/// The queue as it was listed before the ledger was read, and the threads that read it: unescaping lines takes several
/// times as long as hashing their logs.
pub(super) struct Batches<'scope> {
    /// By name; what a commit names is taken out.
    waiting: BTreeMap<OsString, Name>,
    jobs: Sender<Job>,
    workers: Vec<ScopedJoinHandle<'scope, Vec<Outcome>>>,
}

/// A file to be checked, and what its commit says.
struct Job {
    name: OsString,
    kind: Name,
    commit: u64,
    entries: Arc<Vec<Entry>>,
}

/// What became of a job: how many records are well, or why not.
struct Outcome {
    name: OsString,
    commit: u64,
    checked: Result<u64, Trouble>,
}

impl<'scope> Batches<'scope> {
    /// Lists the queue.
    pub(super) fn list<'env>(disk: &'env dyn Disk, threads: &'scope Scope<'scope, 'env>) -> Result<Self, Error> {
        let waiting = list_settled(disk)?
            .files
            .into_iter()
            .map(|(name, (kind, _))| (name, kind));
        let (jobs, taken) = bounded::<Job>(VERIFY_JOBS_MAX);
        let count = available_parallelism().map_or(1, NonZero::get).min(VERIFY_THREADS_MAX);
        let spawn = |_| {
            let taken = taken.clone();
            let work = move || taken.iter().map(|job| job.done(disk)).collect();
            Builder::new().name("queue".into()).spawn_scoped(threads, work)
        };
        let workers: Result<_, _> = (0..count).map(spawn).collect();
        let failed = |cause| Error::new(ErrorKind::Failed, "cannot start a thread").because(cause);
        Ok(Self {
            waiting: waiting.collect(),
            jobs,
            workers: workers.map_err(failed)?,
        })
    }

    /// A visible batch that is named in lines which no commit seals.
    pub(super) fn named_in(&self, lines: &[u8]) -> Option<String> {
        let quoted = |name: &OsStr| [b"\"", name.as_encoded_bytes(), b"\""].concat();
        let commits = lines
            .split(|byte| *byte == b'\n')
            .filter(|line| line.starts_with(COMMIT_PREFIX));
        let commits = commits.collect::<Vec<_>>().concat();
        let mut named = self
            .waiting
            .keys()
            .filter(|name| memmem::find(&commits, &quoted(name)).is_some());
        named.next().map(|name| name.to_string_lossy().into_owned())
    }

    /// Has the batches checked that a commit names, as far as they still wait.
    pub(super) fn check(&mut self, commit: &Commit, entries: Vec<Entry>) {
        let entries = Arc::new(entries);
        for name in &commit.batches {
            let Some((name, kind)) = self.waiting.remove_entry(OsStr::new(name)) else {
                continue;
            };
            let job = Job {
                name,
                kind,
                commit: commit.commit,
                entries: Arc::clone(&entries),
            };
            // The workers end only when this sender is gone.
            drop(self.jobs.send(job));
        }
    }

    /// Waits for what is being checked. What no commit named is of other programs, unless it says otherwise.
    pub(super) fn finish(self, disk: &dyn Disk, report: &mut Report) {
        let ledger_is_whole = report.findings.iter().all(|finding| finding.kind != Kind::Ledger);
        for name in self.waiting.keys() {
            // What a damaged ledger does not tell is its own finding.
            if ledger_is_whole && says_captured(disk, &pending(name)) {
                report.batches.failed += 1;
                let what = "its first record says that it was captured here, and no commit names it";
                report.add(Finding::new(Kind::Batch, what).at(&pending(name)));
            } else {
                report.batches.others += 1;
            }
        }
        drop(self.jobs);
        let done = self
            .workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        let mut outcomes: Vec<_> = done.flatten().collect();
        outcomes.sort_by_key(|outcome| outcome.commit);
        for outcome in outcomes {
            outcome.tell(report);
        }
    }
}

impl Job {
    /// What was merged into it, if it is no batch of its own.
    fn merged(&self) -> Option<&Compacted> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Compacted(compacted) if self.name == OsStr::new(&compacted.target) => Some(compacted),
            _ => None,
        })
    }

    fn done(self, disk: &dyn Disk) -> Outcome {
        let checked = Reader::open(disk, &pending(&self.name)).and_then(|mut reader| match self.merged() {
            Some(compacted) => merged::check(disk, compacted, &mut reader),
            None => Expected::of(&self.name, self.kind, &self.entries).check(&mut reader),
        });
        Outcome {
            name: self.name,
            commit: self.commit,
            checked,
        }
    }
}

impl Outcome {
    fn tell(self, report: &mut Report) {
        let count = &mut report.batches;
        let (kind, what) = match self.checked {
            Ok(records) => {
                count.verified += 1;
                count.records += records;
                return;
            }
            Err(Trouble::Gone) => {
                count.drained += 1;
                return;
            }
            Err(Trouble::Bad(what)) => {
                count.failed += 1;
                (Kind::Batch, what)
            }
            Err(Trouble::Unclear(what)) => {
                count.unchecked += 1;
                (Kind::Unchecked, what)
            }
        };
        report.add(Finding::new(kind, what).at(&pending(&self.name)).commit(self.commit));
    }
}
