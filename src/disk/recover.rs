//! Reading a file that can be made anew, and moving it aside when it is damaged.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::Disk;
use crate::error::Error;
use crate::show::Shown;

/// What a file that can be made anew turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded<T> {
    /// There is none.
    Missing,
    /// Its content cannot be used, and why.
    Damaged(String),
    /// Its content.
    Sound(T),
}

/// Reads a file to its end. What `read` refuses, in its inner result, is damage; a file that cannot be read is not
/// damaged, it is an error.
pub fn load<T>(
    disk: &dyn Disk,
    path: &Path,
    read: impl FnOnce(&mut dyn Read) -> io::Result<Result<T, String>>,
) -> Result<Loaded<T>, Error> {
    match disk.read_from(path, 0).and_then(|mut reader| read(&mut *reader)) {
        Ok(content) => Ok(content.map_or_else(Loaded::Damaged, Loaded::Sound)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Loaded::Missing),
        Err(cause) => Err(Error::io("cannot read", disk.show(path), cause)),
    }
}

/// The same, and moves a damaged file aside, with a warning that names both paths; its place is free then.
///
/// An error leaves everything as it is. `code` is that of the warning.
pub fn load_or_move_aside<T>(
    disk: &dyn Disk,
    path: &Path,
    now: Timestamp,
    code: &str,
    read: impl FnOnce(&mut dyn Read) -> io::Result<Result<T, String>>,
) -> Result<Loaded<T>, Error> {
    let loaded = load(disk, path, read)?;
    if let Loaded::Damaged(why) = &loaded {
        let aside = move_aside(disk, path, now)?;
        log::warn!(code = code, cause = why.as_str();
            "{} is damaged ({why}); it is now {}", Shown::path(&disk.show(path)), Shown::path(&aside));
    }
    Ok(loaded)
}

/// Moves a file to `<name>.bak-<YYYYMMDDTHHMMSSZ>` beside it, or that with `-1`, `-2`… behind it: to a name that
/// nothing has. Durable when it returns; returns the name, to be shown.
fn move_aside(disk: &dyn Disk, path: &Path, now: Timestamp) -> Result<PathBuf, Error> {
    let failed = |cause| Error::io("cannot move aside the damaged", disk.show(path), cause);
    let aside = free_name(disk, path, now).map_err(failed)?;
    let directory = path.parent().unwrap_or(Path::new(""));
    disk.rename(path, &aside).map_err(failed)?;
    disk.sync_dir(directory).map_err(failed)?;
    Ok(disk.show(&aside))
}

fn free_name(disk: &dyn Disk, path: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let mut first = path.as_os_str().to_owned();
    first.push(now.strftime(".bak-%Y%m%dT%H%M%SZ").to_string());
    let numbered = |count: u32| {
        let mut name = first.clone();
        name.push(format!("-{count}"));
        name
    };
    for name in std::iter::once(first.clone()).chain((1..).map(numbered)) {
        match disk.meta(Path::new(&name)) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(name.into()),
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::disk::{Fault, Loss, OsDisk, SimDisk};

    const PATH: &str = "d/state.json";

    fn with(content: &[u8]) -> SimDisk {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("d")).unwrap();
        put(&disk, content);
        disk
    }

    fn put(disk: &SimDisk, content: &[u8]) {
        disk.create(Path::new(PATH)).unwrap().write_at(content, 0).unwrap();
    }

    fn names(disk: &dyn Disk) -> Vec<String> {
        let names = disk.list(Path::new("d")).unwrap();
        names.into_iter().map(|name| name.into_string().unwrap()).collect()
    }

    fn numbers(disk: &dyn Disk) -> Result<Loaded<Vec<u32>>, Error> {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        load_or_move_aside(disk, Path::new(PATH), now, "test.damaged", |reader| {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            Ok(serde_json::from_slice(&bytes).map_err(|error| error.to_string()))
        })
    }

    #[test]
    fn a_sound_file_is_read_and_a_missing_one_is_none() {
        assert_eq!(numbers(&with(b"[1,2]")).unwrap(), Loaded::Sound(vec![1, 2]));
        assert_eq!(numbers(&SimDisk::new()).unwrap(), Loaded::Missing);
    }

    #[test]
    fn any_damage_moves_the_file_aside_as_it_is() {
        let deep = b"[".repeat(100_000);
        for content in [
            &b""[..],
            b"[1",
            b"\xef\xbb\xbf[1]",
            b"[\"\xff\"]",
            b"{\"1\":2}",
            b"null",
            &deep,
        ] {
            let disk = with(content);
            assert!(matches!(numbers(&disk).unwrap(), Loaded::Damaged(_)));
            let aside = "state.json.bak-20260102T030405Z";
            assert_eq!(names(&disk), [aside]);
            let mut kept = Vec::new();
            let mut reader = disk.read_from(&Path::new("d").join(aside), 0).unwrap();
            reader.read_to_end(&mut kept).unwrap();
            assert_eq!(kept, content);
        }
    }

    #[test]
    fn a_damaged_file_never_overwrites_an_earlier_one() {
        let disk = with(b"first");
        numbers(&disk).unwrap();
        for _ in 0..2 {
            put(&disk, b"next");
            numbers(&disk).unwrap();
        }
        let aside = "state.json.bak-20260102T030405Z";
        assert_eq!(
            names(&disk),
            [aside.to_owned(), format!("{aside}-1"), format!("{aside}-2")]
        );
    }

    #[test]
    fn a_disk_that_does_not_answer_is_an_error_and_nothing_moves() {
        let disk = with(b"damaged");
        disk.plan(0, Fault::CrashBefore);
        disk.sync_dir(Path::new("d")).unwrap_err();
        numbers(&disk).unwrap_err();
        assert_eq!(names(&disk.after_crash(Loss::Nothing)), ["state.json"]);
    }

    #[test]
    fn a_failed_move_is_an_error_and_leaves_the_file() {
        let disk = with(b"damaged");
        disk.plan(0, Fault::Eio);
        numbers(&disk).unwrap_err();
        assert_eq!(names(&disk), ["state.json"]);
    }

    #[test]
    fn a_directory_or_a_symlink_in_its_place_is_an_error_and_stays() {
        let temp = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(temp.path()).unwrap();
        std::fs::create_dir_all(temp.path().join(PATH)).unwrap();
        numbers(&disk).unwrap_err();
        std::fs::remove_dir(temp.path().join(PATH)).unwrap();
        std::os::unix::fs::symlink("elsewhere", temp.path().join(PATH)).unwrap();
        numbers(&disk).unwrap_err();
        assert_eq!(names(&disk), ["state.json"]);
    }

    #[test]
    fn a_file_that_may_not_be_read_is_an_error_and_stays() {
        let temp = tempfile::tempdir().unwrap();
        let disk = OsDisk::open(temp.path()).unwrap();
        std::fs::create_dir(temp.path().join("d")).unwrap();
        let path = temp.path().join(PATH);
        std::fs::write(&path, "damaged").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        // Root may read anything.
        if std::fs::read(&path).is_err() {
            numbers(&disk).unwrap_err();
            assert_eq!(names(&disk), ["state.json"]);
        }
    }
}
