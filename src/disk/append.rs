//! Appending whole lines to a file that several processes append to.

use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Disk, DiskFile};
use crate::limits::{APPEND_REOPEN_MAX, LOCK_PATIENCE, PIECE_BYTES};
use crate::show::Shown;

/// Appends `lines`, each of which ends with a newline, and syncs them; returns the offset of the first one.
///
/// Waits 200 ms at most while another process holds the `flock` of the file, and fails then. The lines of two callers never interleave. A
/// line without a newline at the end is what a crash left of an append that nobody was told of; it is cut off
/// first. After an error none of `lines` is in the file, as far as the disk still obeys.
pub fn append_lines(disk: &dyn Disk, path: &Path, lines: &[u8]) -> io::Result<u64> {
    let mut file = open_locked(disk, path)?;
    let size = file.meta()?.size;
    if size == 0 {
        // Before any line is in it, so that a file with lines always has a durable name, whoever made it.
        disk.sync_dir(path.parent().unwrap_or(Path::new("")))?;
    }
    let end = end_of_lines(disk, path, size)?;
    if end < size {
        file.truncate(end)?;
    }
    // The lock is held until the outcome is known: what is taken back must not be somebody else's.
    if let Err(error) = file.write_at(lines, end).and_then(|()| file.sync()) {
        if let Err(worse) = file.truncate(end) {
            log::info!("{} keeps an unfinished line: {worse}", Shown::path(&disk.show(path)));
        }
        return Err(error);
    }
    Ok(end)
}

/// Opens the file, or makes it, and takes its lock. Who waited may hold a file that was renamed meanwhile.
fn open_locked(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    for _ in 0..APPEND_REOPEN_MAX {
        let mut file = disk.open(path, true)?;
        lock(&mut *file)?;
        match disk.meta(path) {
            Ok(meta) if meta.inode == file.meta()?.inode => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Err(io::Error::other("it is replaced faster than it can be locked"))
}

/// Whoever holds it for longer than an append takes, a stopped program or a backup, stops nobody else.
fn lock(file: &mut dyn DiskFile) -> io::Result<()> {
    let give_up = Instant::now() + LOCK_PATIENCE;
    while !file.try_lock()? {
        if Instant::now() >= give_up {
            return Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                "another process holds its lock",
            ));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Offset of the byte after the last newline.
fn end_of_lines(disk: &dyn Disk, path: &Path, size: u64) -> io::Result<u64> {
    let mut end = size;
    // Most often the last byte is the newline.
    let mut length = 1;
    while end > 0 {
        let start = end.saturating_sub(length);
        let mut piece = Vec::new();
        disk.read_from(path, start)?.take(end - start).read_to_end(&mut piece)?;
        if let Some(at) = memchr::memrchr(b'\n', &piece) {
            return Ok(start + at as u64 + 1);
        }
        (end, length) = (start, PIECE_BYTES as u64);
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, Loss, SimDisk};

    const PATH: &str = "d/log.jsonl";

    fn with(content: &str) -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("d")).unwrap();
        append_lines(&disk, Path::new(PATH), content.as_bytes()).unwrap();
        disk
    }

    fn content(disk: &SimDisk) -> String {
        let mut text = String::new();
        let mut reader = disk.read_from(Path::new(PATH), 0).unwrap();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_torn_line_is_cut_off_before_anything_is_added() {
        let long = "x".repeat(3 * PIECE_BYTES);
        for (before, expected) in [
            ("", "new\n"),
            ("{\"half\":", "new\n"),
            ("a\nb\n", "a\nb\nnew\n"),
            ("a\nb\n{\"half\":", "a\nb\nnew\n"),
            (&format!("a\n{long}"), "a\nnew\n"),
            (&long, "new\n"),
        ] {
            let disk = with(before);
            append_lines(&disk, Path::new(PATH), b"new\n").unwrap();
            assert_eq!(content(&disk), expected);
        }
    }

    #[test]
    fn a_lock_that_is_not_given_up_is_not_waited_for() {
        let disk = with("a\n");
        let mut holder = disk.open(Path::new(PATH), false).unwrap();
        assert!(holder.try_lock().unwrap());
        let error = append_lines(&disk, Path::new(PATH), b"b\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(holder);
        append_lines(&disk, Path::new(PATH), b"c\n").unwrap();
        assert_eq!(content(&disk), "a\nc\n");
    }

    #[test]
    fn a_failed_append_leaves_nothing_behind() {
        for fault in [Fault::Eio, Fault::Full] {
            let disk = with("a\n");
            disk.plan(0, fault);
            append_lines(&disk, Path::new(PATH), b"first\nsecond\n").unwrap_err();
            disk.make_room();
            assert_eq!(content(&disk), "a\n");
            append_lines(&disk, Path::new(PATH), b"b\n").unwrap();
            assert_eq!(content(&disk), "a\nb\n");
        }
    }

    #[test]
    fn a_line_is_durable_also_when_the_process_that_made_the_file_died_before_it_added_one() {
        for at in 0..5 {
            for fault in [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter] {
                let disk = SimDisk::new();
                disk.create_dir(Path::new("d")).unwrap();
                disk.plan(at, fault);
                let first = append_lines(&disk, Path::new(PATH), b"a\n").is_ok();
                let second = disk.after_crash(Loss::Nothing);
                append_lines(&second, Path::new(PATH), b"b\n").unwrap();
                let text = content(&second.after_crash(Loss::Everything));
                assert!(
                    text == "a\nb\n" || (!first && text == "b\n"),
                    "{fault:?} at {at}: {text:?}"
                );
            }
        }
    }

    #[test]
    fn after_an_error_no_line_is_in_a_new_file_either() {
        for at in 0..4 {
            let disk = SimDisk::new();
            disk.create_dir(Path::new("d")).unwrap();
            disk.plan(at, Fault::Eio);
            append_lines(&disk, Path::new(PATH), b"a\n").unwrap_err();
            append_lines(&disk, Path::new(PATH), b"b\n").unwrap();
            assert_eq!(content(&disk), "b\n", "EIO at {at}");
        }
    }

    #[test]
    fn what_was_appended_survives_a_crash_and_what_was_not_is_in_whole_lines_or_gone() {
        for at in 0..4 {
            for fault in [Fault::CrashBefore, Fault::CrashInside, Fault::CrashAfter] {
                for loss in Loss::ALL {
                    let disk = with("a\n");
                    disk.plan(at, fault);
                    let appended = append_lines(&disk, Path::new(PATH), b"b\n").is_ok();
                    let after = disk.after_crash(loss);
                    append_lines(&after, Path::new(PATH), b"c\n").unwrap();
                    let text = content(&after);
                    assert!(text == "a\nb\nc\n" || (!appended && text == "a\nc\n"), "{text:?}");
                }
            }
        }
    }
}
