//! Every bound of the program, with its unit.

use std::time::Duration;

/// Longest evidence window, head or guard.
pub const WINDOW_BYTES_MAX: usize = 1024;

/// Bytes fetched by one read of a log, evidence window included.
///
/// A line that does not fit is streamed from its file, so this also bounds the memory that a line takes.
pub const READ_BYTES: usize = 1024 * 1024;

/// Bytes that are fetched first, and taken as they are if a line ends in them: as much as stays in the processor's cache
/// while it is worked through.
pub const FETCH_BYTES: usize = 256 * 1024;

/// Bytes of a pending file that are read first: many are of one record.
pub const PENDING_FIRST_BYTES: usize = 8 * 1024;

/// Bytes of an unknown `schema_version` that are shown; what is longer is none, and may be a piece of a line.
pub const VERSION_SHOWN_BYTES_MAX: usize = 16;

/// Bytes that one file may take of a pass before the next file has its turn.
pub const TURN_BYTES: u64 = 4 * 1024 * 1024;

/// What a turn counts against the budget of a poll, in bytes, beside what it reads: its system calls take
/// about as long as reading this much.
pub const TURN_COST_BYTES: u64 = 16 * 1024;

/// Bytes that one call of `Source::poll` reads before it returns to the engine.
pub const POLL_BYTES: u64 = 8 * 1024 * 1024;

/// Longest line that is taken whole while a backlog is read, where streaming it would hold up all others.
pub const WHOLE_LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Bytes of a long line that are in memory at a time while it is streamed.
pub const PIECE_BYTES: usize = 64 * 1024;

/// A write with as many bytes goes past the page cache where the filesystem can.
pub const DIRECT_FROM_BYTES: usize = 1024 * 1024;

/// What such a write is aligned to, in the file and in memory: a page, which is a multiple of the blocks of most disks.
pub const DIRECT_BLOCK_BYTES: usize = 4096;

/// A directory with so many files is looked at by two threads.
pub const STATS_BY_TWO_FROM: usize = 256;

/// Files that one of them looks at before it asks which are next.
pub const STATS_AT_ONCE: usize = 64;

/// Bytes of one call that writes so.
pub const DIRECT_PIECE_BYTES: usize = 1024 * 1024;

/// A batch with this many bytes is committed at once.
pub const BATCH_BYTES: usize = 8 * 1024 * 1024;

/// A batch is committed while the next one is filled where the queue and the disk have room for this many full ones.
pub const OVERLAP_BATCHES: u64 = 8;

/// Lines of one read with this many bytes are given to another thread for their envelopes: with fewer, telling it would cost
/// more than writing them.
pub const STRETCH_BYTES_MIN: usize = 32 * 1024;

/// Envelopes are written in pieces: a new one is begun when one has so many bytes.
pub const ROOM_FULL_BYTES: usize = 256 * 1024;

/// Room of such a piece: what is added to one that is not full is 16 KiB of text, at worst six times as long escaped, or what
/// stands around a line.
pub const ROOM_BYTES: usize = 384 * 1024;

/// Pieces that are kept.
pub const ROOMS_MAX: usize = 2 * BATCH_BYTES / ROOM_FULL_BYTES;

/// Stretches of lines that wait for this thread, beside the one that it is at; further ones the engine does itself.
pub const STRETCHES_WAITING_MAX: usize = 8;

/// Room for the next commit that is kept while nothing happens, in bytes: what a backlog took is given back.
pub const IDLE_ROOM_BYTES: usize = 64 * 1024;

/// A batch with this many records is committed at once.
pub const BATCH_RECORDS: u32 = 8192;

/// Bytes of the records that one call of `append_batch` takes.
pub const APPEND_BATCH_BYTES: usize = 64 * 1024 * 1024;

/// Longest record that shares a batch with those of other threads: none must wait for more than it takes itself.
pub const SHARED_RECORD_BYTES_MAX: usize = 64 * 1024;

/// A batch with this many records is committed at once when each record has a file of its own.
pub const RECORD_FILES: u32 = 256;

/// A batch with this many ledger lines is committed at once.
pub const BATCH_LINES_MAX: usize = 4096;

/// Ledger lines of one commit: of two batches, if the first one found no room.
pub const COMMIT_LINES_MAX: usize = 8192;

/// A ledger segment with this many bytes is followed by a new one.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// Longest line that is believed to be a ledger line.
pub const LEDGER_LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes of the snapshot that are read, and parsed by one thread, at a time.
pub const SNAPSHOT_PIECE_BYTES: usize = 1024 * 1024;

/// Ledger bytes after which the snapshot is written anew, unless the snapshot itself is larger.
pub const SNAPSHOT_EVERY_BYTES: u64 = 1024 * 1024;

/// An envelope longer than this is streamed by `drain` rather than held.
pub const ENVELOPE_IN_MEMORY_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of raw lines that a drain holds, of each half of a batch, between their check and their handing out; of a larger batch
/// they are read again.
pub const RAW_HELD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Batches that are written to a file before it is synced; they are removed from the queue when that is done, and as many may be
/// written meanwhile.
pub const UNSECURED_BATCHES_MAX: usize = 32;

/// The same in bytes.
pub const UNSECURED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Files without a name that have so many bytes are closed by another thread.
pub const CLOSE_ELSEWHERE_BYTES: u64 = 256 * 1024;

/// A batch with this many bytes is checked by two threads, a half each.
pub const HALVES_FROM_BYTES: u64 = 1024 * 1024;

/// Large batches that a drain reads and checks while it hands out the one before them.
pub const AHEAD_BATCHES_MAX: usize = 1;

/// A larger one is not read before the one before it was handed out: the lines of both would be in memory.
pub const AHEAD_BYTES_MAX: u64 = 2 * BATCH_BYTES as u64;

/// The first records of a file in which its working directory is looked for.
pub const CWD_LINES_MAX: u64 = 200;

/// Longest line in which it is looked for.
pub const CWD_LINE_BYTES_MAX: usize = 256 * 1024;

/// Longest working directory that is believed.
pub const CWD_BYTES_MAX: usize = 4096;

/// Longest settings of an agent that are read.
pub const SETTINGS_BYTES_MAX: usize = 1024 * 1024;

/// Days after which Claude Code deletes a log when its settings do not say.
pub const CLEAN_UP_DAYS: u64 = 30;

/// A session whose log changed less than this ago is active.
pub const SESSION_ACTIVE: Duration = Duration::from_secs(5 * 60);
/// Bytes of a config file; what is larger is none.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// How often a file may change under the reading before its turn ends.
pub const CHANGES_MAX: u32 = 8;

/// Bytes of a run chain that are hashed anew in one turn of a file: hashing is many times faster than capturing.
pub const RECHECK_TURN_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of an unfinished line that are written down when following its file ends.
pub const FRAGMENT_BYTES_MAX: usize = 1024 * 1024;

/// Turns that a file which nothing names has at the end of a run.
pub const LAST_TURNS_MAX: u32 = 1024;

/// Earlier files of a path that a new one there is compared with, the youngest first: two reads each, and the hashing
/// of a chain where these fit.
pub const FORERUNNERS_MAX: usize = 16;

/// Open handles kept for recently active files. Half of `RLIMIT_NOFILE` bounds it too, and [`HANDLES_SPARED`].
pub const HANDLES_MAX: usize = 256;

/// Open files that are left of `RLIMIT_NOFILE` for everything else.
pub const HANDLES_SPARED: usize = 24;

/// Paths that could not be looked at that a status names; the others are counted.
pub const UNKNOWN_SHOWN_MAX: usize = 5;

/// One look that finds more than this to read is logged, once a cursor.
pub const LARGE_GROWTH_BYTES: u64 = 10 * 1024 * 1024;

/// A search by halving in a ledger segment goes on line by line below this many bytes.
pub const SEARCH_STEP_BYTES: u64 = 256 * 1024;

/// Things that happened to a file, and deliveries, that a trace tells one by one; further ones are counted.
pub const TRACED_MAX: usize = 1000;

/// Batches that begin before a record and are asked where they end: what went into a merged one may stand between.
pub const TRACED_BATCHES_MAX: usize = 2 * COMPACT_BATCHES_MAX;

/// Bytes of a log that a verification reads at once: what is hashed at once, while a cache of the processor still has it.
pub const VERIFY_READ_BYTES: usize = 128 * 1024;

/// Threads with which a verification reads the queue, if there are so many cores.
pub const VERIFY_THREADS_MAX: usize = 4;

/// Files of the queue that wait for one of these threads, each with the ledger lines of its commit.
pub const VERIFY_JOBS_MAX: usize = 1024;

/// Findings of a verification that are told one by one; further ones are counted.
pub const FINDINGS_MAX: usize = 1000;

/// Room that is kept free on the disk of the home: this, or `FREE_SHARE_PERCENT` of the disk when that is less.
pub const FREE_BYTES_MIN: u64 = 1024 * 1024 * 1024;

/// See [`FREE_BYTES_MIN`].
pub const FREE_SHARE_PERCENT: u64 = 5;

/// Time between two walks of the tree, unless set otherwise.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// Time between two walks over everything where changes are told, unless set otherwise.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(300);

/// Walks are apart by at least this many times what the last one took: those of a polling source, and those that come
/// earlier since hints were lost.
pub const SWEEP_COST: u32 = 4;

/// A file is hot for this long after its last change.
pub const HOT_WINDOW: Duration = Duration::from_secs(60);

/// Least time between two tries of a long line that did not fit the disk.
pub const LONG_LINE_RETRY: Duration = Duration::from_secs(60);

/// A last line without a newline is captured after it has been quiet for this long, if it is whole.
pub const TAIL_SETTLE: Duration = Duration::from_secs(10);

/// A file that its path does not show any more is followed until it has been quiet for this long, if its inode
/// still has a name.
pub const DRAIN_QUIET: Duration = Duration::from_secs(30);

/// A file whose ctime is less than this before its look is checked once more: it may be rewritten within one tick
/// of the filesystem's clock, and show the same times. The coarsest tick in use is the 2 s of FAT.
pub const RACY: Duration = Duration::from_secs(2);

/// How long what a rotated or deleted file still holds is tried, when it cannot be read or has no room.
pub const REST_PATIENCE: Duration = Duration::from_secs(60);

/// Time between two looks at hot files.
pub const HOT_INTERVAL: Duration = Duration::from_millis(100);

/// Longest time that can be asked for, so that no sum of times overflows.
pub const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Time after which a wait that the system refused, for want of memory as a rule, is tried again.
pub const WAIT_AGAIN: Duration = Duration::from_millis(100);

/// Bytes of a directory that are listed by one call.
pub const LISTING_BYTES: usize = 32 * 1024;

/// Bytes of what the kernel tells of directories that are read at once: 240 events with the longest of names.
pub const INOTIFY_BYTES: usize = 64 * 1024;

/// Such reads before whoever is told does something else.
pub const INOTIFY_READS_MAX: u32 = 64;

/// Unread files up to which a commit follows the last one at once, unless an interval is set.
pub const COMMIT_PACE_FROM_BATCHES: u32 = 256;

/// Unread files from which on [`COMMIT_INTERVAL_MAX`] lies between two commits.
pub const COMMIT_PACE_TO_BATCHES: u32 = 4096;

/// Least time between two commits when that many files are unread, or while a backlog is read; a full batch does not
/// wait for it.
pub const COMMIT_INTERVAL_MAX: Duration = Duration::from_millis(100);

/// Least time between two listings of a queue that is at its limit, and between two tries of a full one.
pub const FULL_RETRY: Duration = Duration::from_secs(1);

/// How long a batch waits after its first, second, and each later failure, before a drain that follows tries it again.
pub const RETRY_DELAYS: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(120),
    Duration::from_secs(240),
];

/// Time between two looks at the queue of a drain that follows where nothing tells it of batches; and the least time
/// for which it sleeps, so that no timer of it can spin.
pub const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

/// Time between two looks at it where the kernel tells of batches: for files that came by a link or a copy, which is
/// no rename, and for a home whose path shows another directory since one above it was renamed.
pub const FOLLOW_CHECK: Duration = Duration::from_secs(10);

/// Time after which a drain that follows tries again to claim a batch that somebody else held.
pub const FOLLOW_HELD: Duration = Duration::from_secs(2);

/// Time after which a drain that follows lists a queue anew in which nothing seems to have changed.
pub const FOLLOW_RELIST: Duration = Duration::from_secs(60);

/// Least time between two writes of `status.json`.
pub const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Least time between two words about how a backlog is getting on.
pub const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Lines for people that wait while standard error takes none.
pub const WORDS_MAX: usize = 1024;

/// How long the end of a command waits until they are shown.
pub const WORDS_PATIENCE: Duration = Duration::from_secs(2);

/// Least time between two lines about it, where no terminal shows a bar.
pub const PROGRESS_LINE_EVERY: Duration = Duration::from_secs(10);

/// Least time between two words about what was captured, once everything was.
pub const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Bytes of a run that is remembered for a sink which keeps no ledger; passed by one block at most.
pub const HISTORY_RUN_BYTES: u64 = 1024 * 1024;

/// Such runs that are remembered of one file, the first ones.
pub const HISTORY_RUNS_MAX: usize = 16_384;

/// Small batches that may wait unread before neighbours are merged.
pub const COMPACT_FROM_BATCHES: u64 = 4096;

/// Batches that are merged into one at a time; each takes two handles.
pub const COMPACT_BATCHES_MAX: usize = 64;

/// Bytes of a merged batch.
pub const COMPACT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A merged batch is at least this many times as large as the largest that goes into it, so that a record is copied a few
/// times at most; a batch that is larger than this part of [`COMPACT_BYTES_MAX`] is not small.
pub const COMPACT_GROWTH: u64 = 4;

/// Bytes of a merged batch that are written at a time.
pub const COMPACT_WRITE_BYTES: usize = 1024 * 1024;

/// Bytes of the ledger that are read at a time to learn which batches it names.
pub const COMPACT_LEDGER_BYTES: u64 = 8 * 1024 * 1024;

/// After a merge as many times as long as it took nothing is merged; the second holds while a backlog is read.
pub const COMPACT_PAUSES: [u32; 2] = [3, 19];

/// Least time between two looks for what could be merged where the last one found nothing, or something went wrong.
pub const COMPACT_RETRY: Duration = Duration::from_secs(60);

/// Least time between two such looks else.
pub const COMPACT_EVERY: Duration = Duration::from_secs(1);

/// How long a drain waits for batches that are being merged.
pub const MERGE_PATIENCE: Duration = Duration::from_secs(10);

/// How long those who take no claim wait while a merged batch stands beside what went into it.
pub const MERGE_PEEK_PATIENCE: Duration = Duration::from_millis(100);

/// Time between two looks at it.
pub const MERGE_RETRY: Duration = Duration::from_millis(5);

/// Records, in one step, that make room for younger ones.
pub const PRUNE_STEP_RECORDS: u64 = 100;

/// Characters of a command that are written down with each delivery to it.
pub const READER_CHARS_MAX: usize = 1000;

/// How often a step is dropped for a full disk, one a second, before a write must have succeeded again.
pub const DROPS_IN_VAIN_MAX: u32 = 8;

/// Time until a lock that was not to be had is tried once more.
pub const CLAIM_RETRY: Duration = Duration::from_millis(1);

/// How often the queue is listed anew at once where files vanish while it is read.
pub const RELIST_MAX: u32 = 4;

/// How often a lock file is opened anew that was removed by whoever held it.
pub const CLAIM_REOPEN_MAX: u32 = 16;

/// Lock files without a batch that are held at a time while they are removed.
pub const ORPHANS_HELD: usize = 64;

/// Files that are claimed at a time while they are dropped; each takes two handles.
pub const PRUNE_STEP_FILES: usize = 16;

/// Dropped records that are remembered as noted in the audit log; for those beyond them the log is read.
pub const AUDIT_NOTED_MAX: usize = 65_536;

/// A single record that a program began to append and did not finish is removed by a start when it is older.
pub const UNFINISHED_AGE: Duration = Duration::from_secs(24 * 3600);

/// Symlinks that are followed one after the other, as by the system.
pub const SYMLINKS_MAX: u32 = 40;

/// Longest name that filesystems take.
pub const NAME_BYTES_MAX: usize = 255;

/// How often a file that several processes append to is opened anew, because another one was put in its place.
pub const APPEND_REOPEN_MAX: u32 = 16;

/// How long the oldest pair waits for others before they go to a provenance store together.
pub const PROVENANCE_COALESCE: Duration = Duration::from_millis(50);

/// Batches that wait in memory for a provenance store; more go to disk.
pub const PROVENANCE_BATCHES_MAX: usize = 4096;

/// Pairs that wait in memory for a provenance store; more go to disk.
pub const PROVENANCE_PAIRS_MAX: usize = 65_536;

/// Bytes that wait in memory for a provenance store; more go to disk. Also what one call of it is given at most,
/// and one spill file, unless a single pair is larger.
pub const PROVENANCE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How many times these three are held in memory while the disk does not take them; then `enqueue` refuses.
pub const PROVENANCE_HELD_TIMES: usize = 8;

/// Pairs that one call of a provenance store is given.
pub const PROVENANCE_CALL_PAIRS_MAX: usize = 256;

/// How long a flush of a provenance writer waits, and its drop.
pub const PROVENANCE_TIMEOUT: Duration = Duration::from_secs(2);

/// How much longer the end of a provenance writer waits for the disk that takes what the store did not.
pub const PROVENANCE_STOP_GRACE: Duration = Duration::from_secs(5);

/// First wait after a failure of a provenance store, or of the disk under its spill; it doubles.
pub const PROVENANCE_BACKOFF_MIN: Duration = Duration::from_millis(50);

/// Longest such wait.
pub const PROVENANCE_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// What a pair counts in memory, in bytes, beside its text.
pub const PAIR_COST_BYTES: usize = 128;

/// Longest id of a pair.
pub const PAIR_ID_BYTES_MAX: usize = 256;

/// Longest entry of a pair.
pub const PAIR_ENTRY_BYTES_MAX: usize = 1024 * 1024;

/// Longest line that is believed to be a line of a spill file.
pub const SPILL_LINE_BYTES_MAX: usize = PAIR_ENTRY_BYTES_MAX + 64 * 1024;

/// Pairs in one spill file.
pub const SPILL_PAIRS_MAX: usize = 16_384;

/// Bytes of all spill files that one provenance writer wrote and that are not with its store yet.
pub const SPILL_BYTES_MAX: u64 = 1024 * 1024 * 1024;

/// How often a spill file that cannot be read is tried before it is left for a later writer.
pub const SPILL_READ_TRIES: u32 = 5;

/// How long a second watcher tries to get the home, and whoever appends lines to a shared file to get that.
pub const LOCK_PATIENCE: Duration = Duration::from_millis(200);

/// Passes that `--once` grants a look that stays unknown once nothing else is left to do, one [`HOT_INTERVAL`] apart.
pub const ONCE_TRIES: u64 = 3;

/// Time that a `look` of a fixture lets pass, in ms: the time between two walks.
pub const LOOK_MS: u64 = 2_000;

/// Longest time, in ms, that one `pass` of a fixture lets pass: a leap year.
pub const PASS_MS_MAX: u64 = 366 * 24 * 3_600_000;

/// Longest time, in ms, that passes while a fixture is played, so that no clock overflows.
pub const PLAYED_MS_MAX: u64 = 100 * PASS_MS_MAX;

/// Bytes of a log that one line of a recorded script holds, and that are compared at a time.
pub const RECORD_PIECE_BYTES: usize = 256 * 1024;

/// Cells of the largest table that a difference is looked for in; what is larger is shown as a whole.
pub const DIFF_CELLS_MAX: usize = 4_000_000;

const _: () = {
    assert!(FETCH_BYTES > 2 * WINDOW_BYTES_MAX, "a read holds its window and more");
    assert!(READ_BYTES >= FETCH_BYTES, "more can be fetched");
    assert!(
        REST_PATIENCE.as_secs() >= LONG_LINE_RETRY.as_secs(),
        "a long line is tried again before it is given up"
    );
    // A byte is at worst six bytes escaped, and 4/3 in base64 beside that.
    assert!(
        LEDGER_LINE_BYTES_MAX >= FRAGMENT_BYTES_MAX / 3 * 22 + 64 * 1024,
        "a ledger line holds a fragment"
    );
    assert!(
        LOOK_MS as u128 == INTERVAL.as_millis(),
        "a played look is a walk of its own"
    );
    // A byte of an id is at worst six bytes escaped.
    assert!(
        SPILL_LINE_BYTES_MAX >= PAIR_ENTRY_BYTES_MAX + 6 * PAIR_ID_BYTES_MAX + 64,
        "a line of a spill file holds a pair"
    );
    assert!(
        SPILL_PAIRS_MAX >= PROVENANCE_CALL_PAIRS_MAX,
        "a spill file holds a call"
    );
    assert!(
        COMMIT_PACE_FROM_BATCHES < COMMIT_PACE_TO_BATCHES,
        "the pace of commits slows down between the two"
    );
    assert!(
        DIRECT_PIECE_BYTES.is_multiple_of(DIRECT_BLOCK_BYTES),
        "a piece is whole blocks"
    );
    assert!(2 * BATCH_LINES_MAX <= COMMIT_LINES_MAX, "two batches may be one commit");
    assert!(TURN_BYTES >= READ_BYTES as u64, "a turn holds a read");
    assert!(POLL_BYTES >= TURN_BYTES, "a poll holds a turn");
    assert!(PIECE_BYTES >= 2 * WINDOW_BYTES_MAX, "a piece holds the windows");
    // Each byte of a line that is not UTF-8 is at worst six bytes escaped, and 4/3 in base64 beside that.
    assert!(
        3 * ENVELOPE_IN_MEMORY_BYTES >= 22 * READ_BYTES + 3 * 64 * 1024,
        "the envelope of a line of one read is held in memory"
    );
    assert!(
        BATCH_BYTES >= ENVELOPE_IN_MEMORY_BYTES,
        "a batch holds such an envelope"
    );
};
