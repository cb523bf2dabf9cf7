//! Makes a home whose ledger is long, for `benches/verify.sh` and `benches/ask.sh`: `make_ledger HOME LINES FILES`.
//!
//! Checksums, chains, ULIDs and the snapshot are those of a real home; the logs are not there, and the queue is empty. The
//! snapshot is as far behind the ledger as that of a running watcher at most is: by as many bytes as it has itself.
//! Nothing is synced: a million commits by the real writer would take an hour. It prints some of the ULIDs.

#![allow(clippy::print_stdout, reason = "an example may talk")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tailspool::cursors;
use tailspool::disk::OsDisk;
use tailspool::ledger::segment_path;
use tailspool::limits::{SEGMENT_BYTES, SNAPSHOT_EVERY_BYTES};
use tailspool::pure::commit::Commit;
use tailspool::pure::entry::{Captured, Entry, New};
use tailspool::pure::fold::{FileState, Fold, Mark};
use tailspool::pure::identity::Window;
use ulid::Ulid;

/// Runs in a commit, and records in a run.
const RUNS: u64 = 2;
const RECORDS: u64 = 3;
/// Bytes of a line, and so of a run.
const LINE_BYTES: u64 = 2000;
/// One ULID of so many commits is printed.
const SAMPLES: u64 = 50;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, lines, files] = arguments.as_slice() else {
        return Err("usage: make_ledger HOME LINES FILES".into());
    };
    let (lines, files): (u64, u64) = (lines.parse()?, files.parse()?);
    let home = PathBuf::from(home);
    for directory in ["pending", "quarantine", "provenance"] {
        fs::create_dir_all(home.join(directory))?;
    }
    File::create(home.join("lock"))?;
    let mut out = Out::new(&home)?;
    // In the scope of whoever made the home, so that a verification looks for them.
    let logs = fs::canonicalize(&home)?.with_file_name(".claude/projects/-home-user-work");
    let logs = logs.to_str().ok_or("the path of the home is not UTF-8")?;
    out.commit(&(0..files).map(|number| begun(logs, number)).collect::<Vec<_>>(), 0)?;
    let commits = lines.saturating_sub(files + 1) / (RUNS + 1);
    let (disk, mut last_snapshot) = (OsDisk::open(&home)?, commits);
    for number in 0..commits {
        if number == commits / 2 {
            let behind = cursors::save(&disk, &out.fold)?.max(SNAPSHOT_EVERY_BYTES);
            last_snapshot = commits - (behind / (out.bytes / number.max(1)).max(1)).min(commits / 2);
        }
        if number == last_snapshot {
            cursors::save(&disk, &out.fold)?;
        }
        let ulid = out.next_ulid(number);
        let file = |nth| file_id((number * RUNS + nth) % files);
        let runs = (0..RUNS).filter_map(|nth| Some(run(out.fold.files.get(&file(nth))?, ulid, nth)));
        out.commit(&runs.collect::<Vec<_>>(), number)?;
        if number % (commits / SAMPLES).max(1) == 0 {
            println!("{ulid}");
        }
    }
    Ok(())
}

/// The ledger as it is written.
struct Out {
    home: PathBuf,
    file: File,
    fold: Fold,
    mark: Mark,
    /// Of all segments.
    bytes: u64,
}

impl Out {
    fn new(home: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            home: home.to_owned(),
            file: File::create(home.join(segment_path(1)))?,
            fold: Fold::default(),
            mark: Mark { segment: 1, offset: 0 },
            bytes: 0,
        })
    }

    /// Ten commits a second.
    fn next_ulid(&self, number: u64) -> Ulid {
        let fresh = Ulid::from_parts(1_767_000_000_000 + number * 100, u128::from(number) << 40);
        fresh.max(Ulid(self.fold.ulid_high_water.0 + 1))
    }

    fn commit(&mut self, entries: &[Entry], number: u64) -> Result<(), Box<dyn Error>> {
        if self.mark.offset >= SEGMENT_BYTES {
            let segment = self.mark.segment + 1;
            self.file = File::create(self.home.join(segment_path(segment)))?;
            self.mark = Mark { segment, offset: 0 };
        }
        let commit = Commit {
            commit: self.fold.commit + 1,
            lines: entries.len() as u64,
            batches: vec![format!("pending-{}-{}.jsonl", self.next_ulid(number), RUNS * RECORDS)],
            at: Timestamp::from_millisecond(i64::try_from(1_767_000_000_000 + number * 100)?)?,
        };
        let mut bytes = Vec::new();
        for (n, entry) in entries.iter().enumerate() {
            entry.push(&mut bytes, commit.commit, n)?;
            self.fold.apply(entry)?;
        }
        let sealed = 0..bytes.len();
        commit.push(&mut bytes, sealed)?;
        self.file.write_all(&bytes)?;
        self.mark.offset += bytes.len() as u64;
        self.bytes += bytes.len() as u64;
        self.fold.seal(&commit, self.mark);
        Ok(())
    }
}

fn file_id(number: u64) -> Ulid {
    Ulid::from_parts(1_766_000_000_000, number.into())
}

fn begun(logs: &str, number: u64) -> Entry {
    let file_id = file_id(number);
    Entry::New(New {
        file_id,
        epoch: 0,
        session_id: file_id.to_string(),
        path: format!("{logs}/{file_id}.jsonl"),
        path_base64: None,
        device: 66305,
        inode: number,
        btime: Some(Timestamp::UNIX_EPOCH),
        mtime: Timestamp::UNIX_EPOCH,
        continues: None,
        agent: Some("claude".into()),
    })
}

/// The run of a commit that goes on where the file ends.
fn run(file: &FileState, batch: Ulid, nth: u64) -> Entry {
    let offset = file.offset;
    let first = Ulid(batch.0 + u128::from(nth * RECORDS));
    let to = offset + RECORDS * LINE_BYTES;
    let window = Window::over(&to.to_le_bytes());
    Entry::Captured(Captured {
        file_id: file.file_id,
        epoch: 0,
        session_id: file.session_id().into_owned(),
        path: file.path.clone(),
        path_base64: None,
        device: file.device,
        inode: file.inode,
        btime: Some(Timestamp::UNIX_EPOCH),
        batch: Some(batch),
        first: Some(first),
        last: Some(Ulid(first.0 + u128::from(RECORDS - 1))),
        from: offset,
        to,
        line: file.line.map(|line| line + 1),
        lines: RECORDS,
        blank: 0,
        settled: None,
        blake3: blake3::hash(&to.to_le_bytes()).to_hex().to_string(),
        head: window,
        guard: window,
        mtime: Some(Timestamp::UNIX_EPOCH),
        cwd: None,
    })
}
