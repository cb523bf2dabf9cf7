//! Where lines come from: the `Source` trait, and what passes between a source and its sink.

pub mod exclude;
mod fetched;
pub mod globs;
pub mod kind;
pub mod notify;
pub mod object;
pub mod polling;
mod recheck;
pub mod roots;
pub mod scope;
pub mod standing;
mod streamed;
mod tail;
pub mod tailer;
pub mod tree;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use crate::error::Error;
use crate::pure::chain::{Chain, Kept};
use crate::pure::identity::{Evidence, Identity, Window};
use crate::pure::record::{LogFile, SettledTail};
use crate::pure::sighting::Sighting;
use crate::pure::step::Reason;
use crate::wake::StopSignal;
use ulid::Ulid;

/// A source of transitions and lines.
///
/// A source owns the cursors of what it reads and moves one only past what its sink took. It never writes.
/// It lives on one thread; dropping it closes its handles and loses nothing, since whatever was taken and
/// committed is in the ledger, and whatever was not is read again by the next one.
pub trait Source: Send {
    /// Looks at what may have changed and hands it to `sink`, until nothing is left, `budget` is used up, or
    /// the sink refuses. Never sleeps. A path that cannot be looked at is counted in the report and is no
    /// error; an error of the sink is returned as it is, and then no cursor has moved past what it took.
    ///
    /// Within one file, a transition comes before its lines and lines come in order. Files that are new to
    /// a pass come in the order of their paths; deletions come last.
    fn poll(&mut self, budget: Budget, sink: &mut dyn EventSink) -> Result<PollReport, Error>;

    /// Makes the next poll look at everything that it would look at in time, whenever that was due.
    fn look_now(&mut self);

    /// Ends the following of files that no later source could find again, since nothing names them any more: what
    /// is left in them is handed to `sink`. To be called before the last commit; afterwards the source is done.
    fn finish(&mut self, sink: &mut dyn EventSink) -> Result<(), Error>;

    /// Sleeps until something may have changed, it is time to stop, or `deadline` comes, whichever is first.
    fn wait(&mut self, deadline: Instant, stop: &StopSignal) -> Wake;

    /// What is known at this moment, for people.
    fn overview(&self) -> Overview;
}

/// What a source hands its findings to.
///
/// A sink pushes back by refusing: the source then leaves its state as it was and offers the same again at
/// a later poll. An error ends the poll.
pub trait EventSink {
    /// A transition of `file`, which carries the epoch after it.
    fn transition(&mut self, file: &Arc<LogFile>, transition: &Transition) -> Result<Verdict, Error>;

    /// Whole lines, checked. Returns how many bytes of them were taken, from the first; the rest is refused.
    fn lines(&mut self, block: &Block<'_>) -> Result<usize, Error>;

    /// One line that does not fit a block.
    fn long_line(&mut self, line: &dyn LongLine) -> Result<LongVerdict, Error>;

    /// The last line of a file, which has no newline and has been quiet: taken when it is one complete JSON object.
    fn settle(&mut self, tail: &dyn LongLine) -> Result<SettleVerdict, Error>;

    /// A fact that is no transition.
    fn fact(&mut self, fact: &Fact<'_>) -> Result<Verdict, Error>;

    /// What stands captured of a file, everything that was taken included; None when it cannot be told now, and
    /// must be asked again. A sink that keeps no history tells of none, and then nothing is known to stand.
    fn chain(&mut self, file: &LogFile) -> Result<Option<Chain>, Error>;

    /// Everything of a file up to its end, at `offset` or with the last line that was settled there, was taken, and it
    /// showed this then. Whoever keeps that, once what was taken before is durable, spares the next source a look into
    /// the file; others need not.
    fn caught_up(&mut self, file: &LogFile, offset: u64, sighting: Sighting) {
        let _ = (file, offset, sighting);
    }
}

/// Whether a sink took what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did; the source may forget it.
    Taken,
    /// It did not; it must be offered again.
    Refused,
}

/// Whether a sink took a long line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongVerdict {
    /// It did; here is the evidence behind the line.
    Taken(Evidence),
    /// It did not; the line must be offered again.
    Refused,
    /// There is no room for this line, though there may be for others; it must be offered again later.
    NoRoom,
    /// The file changed under the reading; look again.
    Changed,
}

/// Whether a sink took a last line without a newline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettleVerdict {
    /// It did.
    Taken(SettledTail),
    /// It is not one complete JSON object: it waits for its newline.
    Waits,
    /// It was taken before, as it is.
    Known,
    /// It did not; the line must be offered again.
    Refused,
    /// There is no room for this line, though there may be for others.
    NoRoom,
    /// The file changed under the reading.
    Changed,
}

/// A fact that is no transition.
#[derive(Debug, Clone, Copy)]
pub enum Fact<'a> {
    /// Following a file has ended.
    Closed {
        /// Which file.
        file: &'a LogFile,
        /// How many bytes of it were taken.
        offset: u64,
        /// The beginning of its unfinished line, at most 1 MiB.
        fragment: &'a [u8],
        /// All of that line.
        fragment_length: u64,
        /// Bytes that were seen by size and never read; None when nobody knows.
        unread: Option<u64>,
    },
    /// Another path shows a file that is followed.
    Linked {
        /// Which file.
        file: &'a LogFile,
        /// The other path.
        path: &'a Path,
        /// What the path shows.
        identity: Identity,
    },
    /// The first pass over a root is done. It counts only once this is durable.
    FirstPass {
        /// The root.
        root: &'a Path,
    },
}

/// Where a file is begun of which the first look over its root is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// The byte after its last newline.
    pub offset: u64,
    /// Beside that.
    pub evidence: Evidence,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transition {
    /// It is at this path now.
    New {
        /// Its modification time.
        mtime: Timestamp,
        /// Where a known file goes on; None for a new one.
        continues: Option<u64>,
        /// What it holds by now is left out up to here.
        skipped: Option<Skipped>,
    },
    /// Content below the offset is gone or differs; what differs is read again in a new epoch.
    Truncate {
        /// Why.
        reason: Reason,
        /// The offset before.
        was: u64,
        /// What still stands.
        kept: Kept,
    },
    /// It stands where another file, or another inode of the same file, stood.
    Rotate {
        /// That file.
        old: Arc<LogFile>,
        /// Modification time of the new one.
        mtime: Timestamp,
        /// Where a known file goes on; None for a new one.
        continues: Option<u64>,
    },
    /// It is gone.
    Delete {
        /// How many bytes of it were taken.
        offset: u64,
    },
}

/// Whole lines of one file.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// Of which file.
    pub file: &'a Arc<LogFile>,
    /// Bytes of the file: first those of the guard, then the lines.
    pub bytes: &'a [u8],
    /// How many bytes the guard takes.
    pub lead: usize,
    /// Offset of the first line.
    pub offset: u64,
    /// Physical number of the first line, from 1; None where lines were never counted.
    pub number: Option<u64>,
    /// The evidence at `offset`; None at 0.
    pub evidence: Option<&'a Evidence>,
    /// What is known of the first line.
    pub first: First,
    /// The head behind all of the lines, where what follows them was kept and makes it longer.
    pub head: Option<Window>,
    /// Modification time of the file at the look.
    pub mtime: Timestamp,
}

/// What is known of a line that was unfinished before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// Nothing: it is captured.
    Fresh,
    /// It was captured without its newline, as this record, and is not captured again.
    Settled(Ulid),
    /// Other bytes were captured in its place, as this record; it is captured and replaces them.
    Replaces(Ulid),
}

impl Block<'_> {
    /// The evidence at the end of the first `taken` bytes of the lines.
    pub fn evidence_after(&self, taken: usize) -> Option<Evidence> {
        let start = self.offset - self.lead as u64;
        let mut evidence = Evidence::at_end_of(&self.bytes[..self.lead + taken], start, self.evidence)?;
        if let Some(head) = self.head.filter(|_| self.lead + taken == self.bytes.len()) {
            evidence.head = head;
        }
        Some(evidence)
    }
}

/// A line that is read in pieces, as often as its sink wants.
pub trait LongLine {
    /// Of which file.
    fn file(&self) -> &Arc<LogFile>;

    /// Offset of its first byte.
    fn offset(&self) -> u64;

    /// Its length without the newline.
    fn length(&self) -> u64;

    /// Modification time of the file at the look.
    fn mtime(&self) -> Timestamp;

    /// Its physical number, from 1; None where lines were never counted.
    fn number(&self) -> Option<u64>;

    /// Whether it ends with a newline; else it ends with what is known of its file.
    fn terminated(&self) -> bool;

    /// What was captured in its place before it had a newline.
    fn settled(&self) -> Option<SettledTail>;

    /// Its first ≤ 1 KiB: another one of equal length in its place begins otherwise, as a rule.
    fn opening(&self) -> Window;

    /// Reads it from its first byte; the newline is not given out. At least one reading must be to the end,
    /// and whether the bytes were those of one and the same line is known only from [`LongLine::check`].
    fn read(&self) -> Box<dyn Read + '_>;

    /// To be asked after the last reading, before the line is committed: the evidence behind the line (None for
    /// one without newline), or that the file changed meanwhile.
    fn check(&self) -> Result<Option<Evidence>, Changed>;
}

/// A file changed while it was read; what was read is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed;

/// How much one poll may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Bytes read; passed by one turn at most.
    pub bytes: u64,
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PollReport {
    /// There is more to do at once.
    pub more: bool,
    /// The sink refused something.
    pub refused: bool,
    /// How many looks were made in all, at everything or where something was told.
    pub looks: u64,
    /// How many passes over all roots were made, when everything that the last one found is done, lines and
    /// deletions included; else 0.
    pub passes: u64,
}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something may have changed.
    Look,
    /// The deadline came.
    Deadline,
    /// Commit and end.
    Stop,
}

/// A root that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchedPath {
    /// Resolved.
    pub path: PathBuf,
    /// Its agent, if known.
    pub agent: Option<Arc<str>>,
    /// How changes in it are noticed.
    pub noticing: Noticing,
    /// Subtrees of it that are polled, since nothing is told of them.
    pub polled: u64,
    /// The first few of them.
    pub polled_first: Vec<PolledPath>,
}

/// How changes below a root are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Noticing {
    /// By walks over it.
    #[default]
    Poll,
    /// By being told.
    Notify,
}

/// A subtree that is polled below a root where the rest is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolledPath {
    /// Its top, absolute.
    pub path: PathBuf,
    /// Why nothing is told of it.
    pub why: String,
}

/// A path that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownPath {
    /// Absolute.
    pub path: PathBuf,
    /// What the last try said.
    pub why: String,
}

/// What a source knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overview {
    /// The roots, as they are watched; optional ones once they were there.
    pub roots: Vec<WatchedPath>,
    /// Files followed.
    pub files: u64,
    /// Bytes of them, at the last look.
    pub bytes: u64,
    /// Bytes of them that the sink did not take yet.
    pub backlog_bytes: u64,
    /// Paths that could not be looked at.
    pub unknown: u64,
    /// The first few of them.
    pub unknown_first: Vec<UnknownPath>,
    /// Symlinks left alone.
    pub symlinks: u64,
    /// Something waits for its turn; else all of the backlog is lines without their newline, or unknown.
    pub at_work: bool,
}
