//! How long it takes to list a tree and `stat` each file of it, without anything else: prints a line of JSON with the
//! CPU nanoseconds of each walk. `benches/notify.py` calls it.
//!
//! Usage: `bare_listing ROOT WALKS PAUSE_SECONDS`

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How many files there are below a directory that is open.
fn walk(directory: BorrowedFd<'_>) -> Outcome<u64> {
    let mut files = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        let found = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, wanted)?;
        if FileType::from_raw_mode(found.stx_mode.into()).is_dir() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let below = openat(directory, name, flags, Mode::empty())?;
            files += walk(below.as_fd())?;
        } else {
            files += 1;
        }
    }
    Ok(files)
}

fn cpu_nanoseconds() -> i64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec * 1_000_000_000 + spent.tv_nsec
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, root, walks, pause_seconds] = &arguments[..] else {
        return Err("usage: bare_listing ROOT WALKS PAUSE_SECONDS".into());
    };
    let pause = Duration::from_secs_f64(pause_seconds.parse()?);
    let (mut files, mut nanoseconds) = (0, Vec::new());
    for _ in 0..walks.parse()? {
        std::thread::sleep(pause);
        let before = cpu_nanoseconds();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, root.as_str(), flags, Mode::empty())?;
        files = walk(root.as_fd())?;
        nanoseconds.push(cpu_nanoseconds() - before);
    }
    println!("{}", json!({"files": files, "cpu_nanoseconds": nanoseconds}));
    Ok(())
}
