//! How long the system calls of one commit take, without anything else: prints a line of JSON with the nanoseconds of
//! each commit and the CPU nanoseconds of all. `benches/notify.py` calls it.
//!
//! Usage: `bare_commit HOME LOGS FILES PER_SECOND COUNT`
//!
//! HOME is an empty directory. Before each commit, and not timed, a line is appended to one of FILES logs, as a writer
//! does it: the journal of the filesystem then has the same to write out as in a watched tree.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, fdatasync, flock, fstatvfs, fsync, openat, renameat, statat};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Bytes of a line, of the envelope that it becomes, and of what the ledger says about it.
const LINE: usize = 1024;
const ENVELOPE: usize = 1421;
const LEDGER: usize = 1050;

struct Home {
    directory: File,
    ledger: File,
    ledger_end: u64,
}

impl Home {
    fn create(path: &Path) -> Outcome<Self> {
        fs::create_dir_all(path.join("pending"))?;
        let ledger = File::create_new(path.join("ledger"))?;
        File::create_new(path.join("lock"))?;
        Ok(Self {
            directory: File::open(path)?,
            ledger,
            ledger_end: 0,
        })
    }

    /// What `Capture::commit_open` asks of the disk, call by call.
    fn commit(&mut self, number: u32) -> Outcome<()> {
        let home = self.directory.as_fd();
        let (temporary, name) = (
            format!("pending/pending-{number:026}-1.jsonl.tmp"),
            format!("pending/pending-{number:026}-1.jsonl"),
        );
        fstatvfs(home)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let batch = File::from(openat(home, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        batch.metadata()?;
        flock(&batch, FlockOperation::NonBlockingLockExclusive)?;
        batch.write_all_at(&[b'x'; ENVELOPE], 0)?;
        statat(home, "lock", AtFlags::SYMLINK_NOFOLLOW)?;
        fdatasync(&batch)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let pending = openat(home, "pending", flags, Mode::empty())?;
        fsync(&pending)?;
        drop(pending);
        self.ledger.write_all_at(&[b'x'; LEDGER], self.ledger_end)?;
        fdatasync(&self.ledger)?;
        self.ledger_end += LEDGER as u64;
        drop(batch);
        renameat(home, &temporary, home, &name)?;
        Ok(())
    }
}

fn append(logs: &Path, file: u32) -> Outcome<()> {
    let path = logs.join(format!("{:02}/{file:03}.jsonl", file % 50));
    let mut line = [b'x'; LINE];
    line[LINE - 1] = b'\n';
    Ok(File::options().append(true).create(true).open(path)?.write_all(&line)?)
}

fn cpu_nanoseconds() -> i64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec * 1_000_000_000 + spent.tv_nsec
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, home, logs, files, per_second, count] = &arguments[..] else {
        return Err("usage: bare_commit HOME LOGS FILES PER_SECOND COUNT".into());
    };
    let (logs, files, per_second) = (Path::new(logs), files.parse::<u32>()?, per_second.parse::<u32>()?);
    let mut home = Home::create(Path::new(home))?;
    for directory in 0..50 {
        fs::create_dir_all(logs.join(format!("{directory:02}")))?;
    }
    let (step, begin) = (Duration::from_secs(1) / per_second, Instant::now());
    let (mut nanoseconds, mut cpu) = (Vec::new(), Vec::new());
    for number in 0..count.parse()? {
        let due = begin + step * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        append(logs, number % files)?;
        let (spent, started) = (cpu_nanoseconds(), Instant::now());
        home.commit(number)?;
        nanoseconds.push(u64::try_from(started.elapsed().as_nanos())?);
        cpu.push(cpu_nanoseconds() - spent);
    }
    println!("{}", json!({"nanoseconds": nanoseconds, "cpu_nanoseconds": cpu}));
    Ok(())
}
