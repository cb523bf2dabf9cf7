//! What the ledger says of each file, added up a second time for `verify`: a judge who does not believe the fold.
//!
//! It knows one rule: a run begins where everything captured before it ends, and covers nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use ulid::Ulid;

use crate::pure::entry::{Captured, Entry, Settled, Truncate};
use crate::pure::identity::{Identity, Window};
use crate::pure::record::path_from_text;

/// A run that stands captured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Offset of its first byte.
    pub from: u64,
    /// Offset of the byte after its last newline.
    pub to: u64,
    /// BLAKE3 of its bytes.
    pub hash: blake3::Hash,
}

/// How a ledger line does not fit what was before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// Nothing tells of these bytes, and a run begins behind them.
    Hole {
        /// Offset of the first one.
        from: u64,
        /// Offset of the byte after them.
        to: u64,
    },
    /// These bytes were captured already, in the same epoch or what was kept of earlier ones.
    Overlap {
        /// Offset of the first one.
        from: u64,
        /// Offset of the byte after them.
        to: u64,
    },
    /// Anything else.
    Contradiction(String),
}

/// What still stands behind a stretch that is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptEnd {
    /// Where it begins.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// The guard beside its end.
    pub guard: Option<Window>,
}

/// What the ledger says of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Where it stood last; None when the ledger's text for it is none.
    pub path: Option<PathBuf>,
    /// Its inode.
    pub identity: Identity,
    /// The current epoch.
    pub epoch: u64,
    /// Where its runs begin: 0, or where it was begun at its end.
    pub begin: u64,
    /// The cursor: the end of what was captured, or the start of what is read again.
    pub reached: u64,
    /// What was kept behind that.
    pub kept_end: Option<KeptEnd>,
    /// The head beside the cursor; None at 0.
    pub head: Option<Window>,
    /// The guard beside the cursor; None at 0.
    pub guard: Option<Window>,
    /// The runs that stand, by offset.
    pub runs: Vec<Stretch>,
    /// Runs that a rewrite or a shrink took out of the chain.
    pub superseded: u64,
    /// Bytes that were seen and never read, when following ended.
    pub unread: u64,
    /// Part of what was told of it may be lost.
    doubtful: bool,
}

/// What the ledger says of all files.
#[derive(Debug, Default)]
pub struct Accounts {
    files: BTreeMap<Ulid, Account>,
    /// The file that has an inode, the last one when it was given away again.
    owners: HashMap<(u64, u64), Ulid>,
    high_water: Ulid,
    /// Ledger lines were lost, so that a file may be told of that was never begun.
    lossy: bool,
}

impl Account {
    fn at(path: Option<PathBuf>, identity: Identity) -> Self {
        Self {
            path,
            identity,
            epoch: 0,
            begin: 0,
            reached: 0,
            kept_end: None,
            head: None,
            guard: None,
            runs: Vec::new(),
            superseded: 0,
            unread: 0,
            doubtful: false,
        }
    }

    /// The end of everything captured.
    pub fn end(&self) -> u64 {
        self.kept_end.map_or(self.reached, |kept| kept.to)
    }

    /// Whether this run still stands.
    pub fn holds(&self, run: &Stretch) -> bool {
        let at = self.runs.partition_point(|known| known.from < run.from);
        self.runs.get(at) == Some(run)
    }

    fn captured(&mut self, run: &Captured) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        if self.epoch != run.epoch {
            misfits.push(contradiction(format!(
                "a run of epoch {} in epoch {}",
                run.epoch, self.epoch
            )));
        }
        if run.to <= run.from {
            misfits.push(contradiction(format!("a run from {} to {}", run.from, run.to)));
            return misfits;
        }
        misfits.extend(self.place_of(run.from, run.to));
        misfits.extend(ulids_of(run));
        match blake3::Hash::from_hex(&run.blake3) {
            Ok(hash) => self.insert(Stretch {
                from: run.from,
                to: run.to,
                hash,
            }),
            Err(_) => misfits.push(contradiction("a run without a hash".into())),
        }
        self.epoch = run.epoch;
        (self.head, self.guard, self.reached) = (Some(run.head), Some(run.guard), run.to);
        if let Some(kept) = self.kept_end.take_if(|kept| kept.from <= run.to) {
            self.reached = kept.to.max(run.to);
            self.guard = kept.guard;
        }
        misfits
    }

    /// A run begins at the cursor and does not reach into what was kept.
    fn place_of(&self, from: u64, to: u64) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        if from > self.reached {
            let to = from;
            misfits.push(Misfit::Hole { from: self.reached, to });
        }
        if from < self.reached {
            let to = to.min(self.reached);
            misfits.push(Misfit::Overlap { from, to });
        }
        if let Some(kept) = self.kept_end.filter(|kept| from.max(kept.from) < to.min(kept.to)) {
            let (from, to) = (from.max(kept.from), to.min(kept.to));
            misfits.push(Misfit::Overlap { from, to });
        }
        misfits
    }

    fn insert(&mut self, run: Stretch) {
        let at = self.runs.partition_point(|known| known.from < run.from);
        self.runs.insert(at, run);
    }

    fn truncated(&mut self, cut: &Truncate) -> Vec<Misfit> {
        let mut misfits = Vec::new();
        if self.epoch.checked_add(1) != Some(cut.epoch) || self.reached != cut.was || cut.kept > cut.was {
            misfits.push(contradiction(format!(
                "a truncation at {} into epoch {} that keeps {} of {} in epoch {}",
                cut.was, cut.epoch, cut.kept, self.reached, self.epoch
            )));
        }
        let begins = |at: u64| self.runs.binary_search_by_key(&at, |run| run.from).is_ok();
        let ends = |at: u64| self.runs.iter().any(|run| run.to == at);
        let is_border = |at: u64| at == 0 || at == self.begin || begins(at) || ends(at);
        for border in [Some(cut.kept), cut.kept_from].into_iter().flatten() {
            if !is_border(border) {
                misfits.push(contradiction(format!(
                    "what is kept has no border of a run at {border}"
                )));
            }
        }
        let before = self.runs.len();
        self.runs
            .retain(|run| run.to <= cut.kept || cut.kept_from.is_some_and(|from| run.from >= from));
        self.superseded += (before - self.runs.len()) as u64;
        self.kept_end = cut.kept_from.map(|from| KeptEnd {
            from,
            to: self.end(),
            guard: self.kept_end.map_or(self.guard, |kept| kept.guard),
        });
        self.begin = self.begin.min(cut.kept);
        (self.epoch, self.reached, self.head, self.guard) = (cut.epoch, cut.kept, cut.head, cut.guard);
        misfits
    }

    fn settled(&self, settled: &Settled) -> Vec<Misfit> {
        if (self.epoch, self.reached) == (settled.epoch, settled.offset) {
            return Vec::new();
        }
        vec![contradiction(format!(
            "a settled line at {} in epoch {}, and the cursor is at {} in epoch {}",
            settled.offset, settled.epoch, self.reached, self.epoch
        ))]
    }

    fn goes_on(&mut self, place: &Place, continues: u64) -> Vec<Misfit> {
        self.path.clone_from(&place.path);
        self.identity = place.identity;
        if (self.reached, self.epoch) == (continues, place.epoch) {
            return Vec::new();
        }
        vec![contradiction(format!(
            "it goes on at {continues} in epoch {}, and the cursor is at {} in epoch {}",
            place.epoch, self.reached, self.epoch
        ))]
    }

    /// After lines were lost: begins anew from the next line, unless nothing of this file was among them.
    fn settle_doubt(&mut self, epoch: u64, reached: u64) {
        let doubtful = std::mem::take(&mut self.doubtful);
        if doubtful && (self.epoch, self.reached) != (epoch, reached) {
            self.runs.clear();
            (self.epoch, self.begin, self.reached, self.kept_end) = (epoch, reached, reached, None);
        }
    }
}

/// The cursor that a line speaks of: epoch and offset before it.
fn cursor_before(entry: &Entry) -> Option<(u64, u64)> {
    match entry {
        Entry::Captured(run) => Some((run.epoch, run.from)),
        Entry::Truncate(cut) => Some((cut.epoch.saturating_sub(1), cut.was)),
        Entry::Settled(settled) => Some((settled.epoch, settled.offset)),
        Entry::New(new) => Some((new.epoch, new.continues?)),
        Entry::Rotate(rotate) => Some((rotate.epoch, rotate.continues?)),
        Entry::Delete(_)
        | Entry::Closed(_)
        | Entry::Linked(_)
        | Entry::Skipped(_)
        | Entry::Root(_)
        | Entry::Dropped(_)
        | Entry::Compacted(_) => None,
    }
}

/// What is merged are batches that rise and make up their target.
fn of_queue(entry: &Entry) -> Vec<Misfit> {
    match entry {
        Entry::Compacted(compacted) if compacted.sources().is_none() => {
            let target = &compacted.target;
            vec![contradiction(format!("{target} does not hold what was merged into it"))]
        }
        _ => Vec::new(),
    }
}

/// The records of a run are consecutive.
fn ulids_of(run: &Captured) -> Option<Misfit> {
    let count = match (run.first, run.last) {
        (Some(first), Some(last)) => last.0.checked_sub(first.0).and_then(|more| more.checked_add(1)),
        (None, None) => Some(0),
        _ => None,
    };
    let fits = count == Some(run.lines.into());
    (!fits).then(|| contradiction(format!("a run whose ULIDs are not those of {} records", run.lines)))
}

fn contradiction(what: String) -> Misfit {
    Misfit::Contradiction(what)
}

/// Where a line says that a file stands.
struct Place {
    path: Option<PathBuf>,
    identity: Identity,
    epoch: u64,
    continues: Option<u64>,
}

impl Place {
    fn of(entry: &Entry) -> Option<Self> {
        let (path, base64, device, inode, btime, epoch, continues) = match entry {
            Entry::New(it) => (
                &it.path,
                &it.path_base64,
                it.device,
                it.inode,
                it.btime,
                it.epoch,
                it.continues,
            ),
            Entry::Rotate(it) => (
                &it.path,
                &it.path_base64,
                it.device,
                it.inode,
                it.btime,
                it.epoch,
                it.continues,
            ),
            Entry::Captured(it) => (&it.path, &it.path_base64, it.device, it.inode, it.btime, it.epoch, None),
            Entry::Settled(it) => (&it.path, &it.path_base64, it.device, it.inode, it.btime, it.epoch, None),
            _ => return None,
        };
        let identity = Identity { device, inode, btime };
        Some(Self {
            path: path_from_text(path, base64.as_deref()),
            identity,
            epoch,
            continues,
        })
    }
}

impl Accounts {
    /// The files.
    pub fn files(&self) -> &BTreeMap<Ulid, Account> {
        &self.files
    }

    /// Whether the inode of a file was not given to another one since.
    pub fn owns_its_inode(&self, id: Ulid, account: &Account) -> bool {
        let key = (account.identity.device, account.identity.inode);
        self.owners.get(&key) == Some(&id)
    }

    /// Ledger lines were lost: what follows is not held against what was before, where it does not fit.
    pub fn doubt(&mut self) {
        self.lossy = true;
        for account in self.files.values_mut() {
            account.doubtful = true;
        }
    }

    /// Adds a line; returns how it does not fit, and of which file.
    pub fn apply(&mut self, entry: &Entry) -> (Option<Ulid>, Vec<Misfit>) {
        let [Some(id), old] = entry.files() else {
            return (None, of_queue(entry));
        };
        let mut misfits = self.add(id, entry);
        if old.is_some_and(|old| !self.files.contains_key(&old)) && !self.lossy {
            misfits.push(contradiction("it replaces a file that was never begun".into()));
        }
        misfits.extend(self.rise(entry));
        (Some(id), misfits)
    }

    fn add(&mut self, id: Ulid, entry: &Entry) -> Vec<Misfit> {
        let place = Place::of(entry);
        if let Some(place) = &place {
            let key = (place.identity.device, place.identity.inode);
            self.owners.insert(key, id);
        }
        let begins = matches!(entry, Entry::New(_) | Entry::Rotate(_))
            && place.as_ref().is_some_and(|place| place.continues.is_none());
        if begins {
            let begun = place.map(|place| Account::at(place.path, place.identity));
            let twice = begun.and_then(|begun| self.files.insert(id, begun)).is_some();
            return twice
                .then(|| contradiction("it begins twice".into()))
                .into_iter()
                .collect();
        }
        if self.lossy
            && !self.files.contains_key(&id)
            && let Some(place) = &place
        {
            let mut found = Account::at(place.path.clone(), place.identity);
            (found.epoch, found.doubtful) = (place.epoch, true);
            // No cursor is there: whatever comes first begins it anew.
            found.reached = u64::MAX;
            self.files.insert(id, found);
        }
        let Some(account) = self.files.get_mut(&id) else {
            let unknown = || contradiction("it was never begun".into());
            return (!self.lossy).then(unknown).into_iter().collect();
        };
        if let Some((epoch, reached)) = cursor_before(entry) {
            account.settle_doubt(epoch, reached);
        }
        account.apply(entry, place.as_ref())
    }

    /// ULIDs rise with the lines of the ledger.
    fn rise(&mut self, entry: &Entry) -> Option<Misfit> {
        let (first, last) = match entry {
            Entry::Captured(run) => (run.first?, run.last?),
            Entry::Settled(settled) => (settled.ulid, settled.ulid),
            _ => return None,
        };
        let falls = first <= self.high_water;
        self.high_water = self.high_water.max(last);
        falls.then(|| contradiction(format!("the ULID {first} is not above those before it")))
    }
}

impl Account {
    fn apply(&mut self, entry: &Entry, place: Option<&Place>) -> Vec<Misfit> {
        match entry {
            Entry::New(_) | Entry::Rotate(_) => place
                .and_then(|place| Some(self.goes_on(place, place.continues?)))
                .unwrap_or_default(),
            Entry::Captured(run) => {
                self.identity = place.map_or(self.identity, |place| place.identity);
                self.captured(run)
            }
            Entry::Truncate(cut) => self.truncated(cut),
            Entry::Settled(settled) => self.settled(settled),
            Entry::Skipped(skipped) => {
                let fresh = self.reached == 0 && self.runs.is_empty();
                (self.begin, self.reached) = (skipped.offset, skipped.offset);
                (self.head, self.guard) = (Some(skipped.head), Some(skipped.guard));
                let late = || contradiction("it was begun before it is skipped".into());
                (!fresh).then(late).into_iter().collect()
            }
            Entry::Closed(closed) => {
                self.unread = closed.unread.unwrap_or(0);
                Vec::new()
            }
            Entry::Delete(_) | Entry::Linked(_) | Entry::Root(_) | Entry::Dropped(_) | Entry::Compacted(_) => {
                Vec::new()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::pure::entry::{New, Skipped};
    use crate::pure::step::Reason;

    const FILE: Ulid = Ulid(7);

    fn begun() -> Entry {
        Entry::New(New {
            file_id: FILE,
            epoch: 0,
            session_id: String::new(),
            path: "/s.jsonl".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: None,
            mtime: Timestamp::UNIX_EPOCH,
            continues: None,
            agent: None,
        })
    }

    /// A run of blank lines, which needs no ULIDs.
    fn run(epoch: u64, from: u64, to: u64) -> Entry {
        let window = Window::over(b"");
        Entry::Captured(Captured {
            file_id: FILE,
            epoch,
            session_id: String::new(),
            path: "/s.jsonl".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: None,
            batch: None,
            first: None,
            last: None,
            from,
            to,
            line: None,
            lines: 0,
            blank: to.saturating_sub(from),
            settled: None,
            blake3: blake3::hash(b"").to_hex().to_string(),
            head: window,
            guard: window,
            mtime: None,
            cwd: None,
        })
    }

    fn cut(epoch: u64, was: u64, kept: u64, kept_from: Option<u64>) -> Entry {
        Entry::Truncate(Truncate {
            file_id: FILE,
            epoch,
            path: "/s.jsonl".into(),
            path_base64: None,
            reason: Reason::Rewritten,
            was,
            kept,
            kept_from,
            kept_lines: None,
            kept_from_lines: None,
            head: None,
            guard: None,
        })
    }

    fn skipped(offset: u64) -> Entry {
        let window = Window::over(b"");
        Entry::Skipped(Skipped {
            file_id: FILE,
            path: "/s.jsonl".into(),
            path_base64: None,
            offset,
            head: window,
            guard: window,
        })
    }

    fn misfits(entries: &[Entry]) -> Vec<Misfit> {
        let mut accounts = Accounts::default();
        entries.iter().flat_map(|entry| accounts.apply(entry).1).collect()
    }

    fn hole(from: u64, to: u64) -> Misfit {
        Misfit::Hole { from, to }
    }

    fn overlap(from: u64, to: u64) -> Misfit {
        Misfit::Overlap { from, to }
    }

    #[test]
    fn a_hole_and_an_overlap_are_seen_where_nothing_explains_them() {
        let rows: [(&[Entry], &[Misfit]); 12] = [
            (&[run(0, 0, 10), run(0, 10, 20)], &[]),
            (&[run(0, 3, 10)], &[hole(0, 3)]),
            (&[run(0, 0, 10), run(0, 12, 20)], &[hole(10, 12)]),
            (&[run(0, 0, 10), run(0, 8, 20)], &[overlap(8, 10)]),
            (&[run(0, 0, 10), run(0, 0, 10)], &[overlap(0, 10)]),
            (&[skipped(5), run(0, 5, 9)], &[]),
            (&[skipped(5), run(0, 6, 9)], &[hole(5, 6)]),
            (&[run(0, 0, 10), cut(1, 10, 0, None), run(1, 0, 4)], &[]),
            (&[run(0, 0, 10), cut(1, 10, 0, None), run(1, 4, 8)], &[hole(0, 4)]),
            // A stretch is read again between what was kept; then it goes on behind all.
            (
                &[
                    run(0, 0, 10),
                    run(0, 10, 20),
                    run(0, 20, 30),
                    cut(1, 30, 10, Some(20)),
                    run(1, 10, 20),
                    run(1, 30, 40),
                ],
                &[],
            ),
            (
                &[
                    run(0, 0, 10),
                    run(0, 10, 20),
                    run(0, 20, 30),
                    cut(1, 30, 10, Some(20)),
                    run(1, 10, 22),
                ],
                &[overlap(20, 22)],
            ),
            (
                &[
                    run(0, 0, 10),
                    run(0, 10, 20),
                    run(0, 20, 30),
                    cut(1, 30, 10, Some(20)),
                    run(1, 30, 40),
                ],
                &[hole(10, 30)],
            ),
        ];
        for (entries, expected) in rows {
            let entries = [&[begun()], entries].concat();
            assert_eq!(misfits(&entries), expected, "{entries:#?}");
        }
    }

    #[test]
    fn what_contradicts_the_lines_before_it_is_told() {
        let is_contradiction = |entries: &[Entry]| matches!(misfits(entries)[..], [Misfit::Contradiction(_)]);
        assert!(is_contradiction(&[run(0, 0, 10)]), "never begun");
        assert!(is_contradiction(&[begun(), begun()]), "begun twice");
        assert!(is_contradiction(&[begun(), run(1, 0, 10)]), "another epoch");
        assert!(is_contradiction(&[begun(), run(0, 5, 5)]), "an empty run");
        let rows = [
            cut(1, 9, 0, None),
            cut(2, 10, 0, None),
            cut(1, 10, 5, None),
            cut(1, 10, 0, Some(5)),
        ];
        for cut in rows {
            assert!(is_contradiction(&[begun(), run(0, 0, 10), cut.clone()]), "{cut:?}");
        }
    }

    #[test]
    fn after_lines_were_lost_a_file_goes_on_from_the_next_one() {
        let mut accounts = Accounts::default();
        for entry in [begun(), run(0, 0, 10)] {
            accounts.apply(&entry);
        }
        accounts.doubt();
        assert_eq!(accounts.apply(&run(0, 30, 40)).1, []);
        assert_eq!(accounts.apply(&run(0, 41, 50)).1, [hole(40, 41)], "only once");
        assert_eq!(accounts.files()[&FILE].runs.len(), 2, "what was before is not certain");
    }
}
