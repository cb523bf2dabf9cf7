//! How long it takes from an append until a watcher that is embedded without a home tells the event: prints a line of
//! JSON with the nanoseconds of each line and the CPU nanoseconds of the whole process, its writer included.
//! `benches/notify.py` calls it.
//!
//! Usage: `event_latency LOGS FILES PER_SECOND COUNT SOURCE`
//!
//! With `bare` as SOURCE there is no watcher: a thread that waits for inotify, opens the file that it names, reads the
//! line and sends it through a channel. It is the least that the system asks for.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use crossbeam_channel::Receiver;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tailspool::Watcher;
use tailspool::event::{Detail, Event};
use tailspool::watcher::SourceKind;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Longest wait for an event; one that does not come by then was missed.
const PATIENCE: Duration = Duration::from_secs(60);

fn path(logs: &Path, file: u32) -> PathBuf {
    logs.join(format!("{:02}/{file:03}.jsonl", file % 50))
}

/// About 1 KiB, with its number in front.
fn line(number: u32) -> String {
    format!("{{\"n\":{number:09},\"text\":\"{}\"}}\n", "x".repeat(1000))
}

fn number(event: &Event) -> Option<usize> {
    let Detail::Append { line: Some(line), .. } = &event.detail else {
        return None;
    };
    number_in(line.as_bytes())
}

fn number_in(line: &[u8]) -> Option<usize> {
    str::from_utf8(line.get(5..14)?).ok()?.parse().ok()
}

/// The next line that comes: its number, and when it came.
fn next<T>(events: &Receiver<T>, number: fn(&T) -> Option<usize>) -> Outcome<(usize, Instant)> {
    loop {
        let event = events.recv_timeout(PATIENCE)?;
        let seen = Instant::now();
        if let Some(number) = number(&event) {
            return Ok((number, seen));
        }
    }
}

/// Appends line after line, and tells when each was about to be written.
fn write(logs: PathBuf, files: u32, per_second: u32, count: u32) -> JoinHandle<std::io::Result<Vec<Instant>>> {
    std::thread::spawn(move || {
        let (step, begin) = (Duration::from_secs(1) / per_second, Instant::now());
        let mut times = Vec::new();
        for number in 0..count {
            let line = line(number);
            let due = begin + step * number;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let mut log = File::options().append(true).open(path(&logs, number % files))?;
            times.push(Instant::now());
            log.write_all(line.as_bytes())?;
        }
        Ok(times)
    })
}

fn cpu_nanoseconds() -> i64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec * 1_000_000_000 + spent.tv_nsec
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, logs, files, per_second, count, source] = &arguments[..] else {
        return Err("usage: event_latency LOGS FILES PER_SECOND COUNT SOURCE".into());
    };
    let (logs, files, count) = (PathBuf::from(logs), files.parse()?, count.parse()?);
    for file in 0..files {
        let path = path(&logs, file);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, line(0))?;
    }
    if source == "bare" {
        return measure(
            &bare(&logs)?,
            |line| number_in(line),
            logs,
            files,
            per_second.parse()?,
            count,
        );
    }
    let watcher = Watcher::builder()
        .scope(&logs)
        .root(&logs)
        .source(SourceKind::from_str(source, true)?)
        .events(1024)
        .spawn()?;
    let events = watcher.events();
    for _ in 0..files {
        next(&events, number)?;
    }
    measure(&events, number, logs, files, per_second.parse()?, count)?;
    watcher.stop()?;
    Ok(())
}

/// Has lines written, and prints how late each was.
fn measure<T>(
    events: &Receiver<T>,
    number: fn(&T) -> Option<usize>,
    logs: PathBuf,
    files: u32,
    per_second: u32,
    count: u32,
) -> Outcome<()> {
    let spent = cpu_nanoseconds();
    let writer = write(logs, files, per_second, count);
    let mut seen = vec![None; usize::try_from(count)?];
    for _ in 0..count {
        let (number, at) = next(events, number)?;
        if seen[number].replace(at).is_some() {
            return Err(format!("line {number} came twice").into());
        }
    }
    let times = writer.join().map_err(|_| "the writer panicked")??;
    let cpu_nanoseconds = cpu_nanoseconds() - spent;
    let late = times.iter().zip(seen);
    let nanoseconds: Vec<_> = late.filter_map(|(from, to)| Some((to? - *from).as_nanos())).collect();
    println!(
        "{}",
        json!({"nanoseconds": nanoseconds, "cpu_nanoseconds": cpu_nanoseconds})
    );
    Ok(())
}

/// The lines that come, by the bare calls.
#[cfg(target_os = "linux")]
fn bare(logs: &Path) -> Outcome<Receiver<Vec<u8>>> {
    use std::collections::HashMap;
    use std::mem::MaybeUninit;
    use std::os::unix::fs::FileExt;

    use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

    let inotify = init(CreateFlags::CLOEXEC)?;
    let (mut directories, mut offsets) = (HashMap::new(), HashMap::new());
    for directory in fs::read_dir(logs)? {
        let directory = directory?.path();
        for file in fs::read_dir(&directory)? {
            let file = file?;
            offsets.insert(file.path(), file.metadata()?.len());
        }
        directories.insert(add_watch(&inotify, &directory, WatchFlags::MODIFY)?, directory);
    }
    let (sender, receiver) = crossbeam_channel::bounded(1024);
    // It ends with the process.
    std::thread::spawn(move || -> std::io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut bytes = vec![0; 4096];
        loop {
            let event = reader.next()?;
            let Some((directory, name)) = directories.get(&event.wd()).zip(event.file_name()) else {
                continue;
            };
            let path = directory.join(&*name.to_string_lossy());
            let file = File::open(&path)?;
            let Some(offset) = offsets.get_mut(&path) else { continue };
            let read = file.read_at(&mut bytes, *offset)?;
            *offset += read as u64;
            if read > 0 && sender.send(bytes[..read].to_owned()).is_err() {
                return Ok(());
            }
        }
    });
    Ok(receiver)
}

#[cfg(not(target_os = "linux"))]
fn bare(_: &Path) -> Outcome<Receiver<Vec<u8>>> {
    Err("the bare calls are those of Linux".into())
}
