//! The files of a fixture, and those that the player, in the place of the programs that write logs, makes,
//! changes and removes in a directory of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use tempfile::TempDir;

use super::operation::{Operation, content, octal};
use crate::disk;
use crate::error::{Error, ErrorKind};

/// Reads a file of a fixture; `hint` is for whoever has none.
pub(super) fn read_fixture(path: &Path, hint: &str) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| {
        Error::io("cannot read", path, cause)
            .kind_set(ErrorKind::Usage)
            .hint(hint)
    })
}

/// Writes a file of a fixture, in the place of the one that was there.
pub(super) fn write_fixture(path: &Path, text: &str) -> Result<(), Error> {
    disk::replace(path, text.as_bytes()).map_err(|cause| Error::io("cannot write", path, cause))
}

/// The lines of a file with their numbers, from 1.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let whole = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let lines = (!bytes.is_empty()).then(|| whole.split(|byte| *byte == b'\n'));
    (1..).zip(lines.into_iter().flatten())
}

/// A temporary directory that is removed when it is dropped, whatever permissions were given in it.
pub(super) struct Ground(TempDir);

/// Makes one.
pub(super) fn temporary() -> Result<Ground, Error> {
    let made = tempfile::Builder::new().prefix("tailspool-replay-").tempdir();
    made.map(Ground).map_err(|cause| {
        Error::io("cannot make a directory in", std::env::temp_dir(), cause)
            .hint("name a directory that can be written with TMPDIR")
    })
}

impl Ground {
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Makes a directory in it; its absolute path, resolved.
    pub(super) fn directory(&self, name: &str) -> Result<PathBuf, Error> {
        let path = self.path().join(name);
        let made = fs::create_dir(&path).and_then(|()| path.canonicalize());
        made.map_err(|cause| Error::io("cannot make", path, cause))
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        open_up(self.path());
    }
}

/// Gives permissions back, as far as that goes; what cannot be removed stays behind.
fn open_up(directory: &Path) {
    let _ = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// Does what an operation does to files.
pub(super) fn play(top: &Path, operation: &Operation) -> Result<(), Error> {
    attempt(top, operation).map_err(|cause| {
        let (what, path) = subject(operation);
        Error::io(format!("cannot {what}"), path, cause)
    })
}

fn attempt(top: &Path, operation: &Operation) -> io::Result<()> {
    match operation {
        Operation::Write { path, text, base64 } => {
            let file = open(top, path, OpenOptions::new().write(true).create(true).truncate(true));
            file?.write_all(&bytes(text.as_deref(), base64.as_deref())?)
        }
        Operation::Append { path, text, base64 } => {
            let file = open(top, path, OpenOptions::new().append(true).create(true));
            file?.write_all(&bytes(text.as_deref(), base64.as_deref())?)
        }
        Operation::Rename { from, to } => fs::rename(place(top, from)?, with_parents(top, to)?),
        Operation::Truncate { path, size } => {
            let file = OpenOptions::new().write(true).open(no_symlink(top, path)?)?;
            file.set_len(*size)
        }
        Operation::Remove { path } => remove(&place(top, path)?),
        Operation::Mkdir { path } => fs::create_dir_all(with_parents(top, path)?),
        Operation::Chmod { path, mode } => {
            let mode = octal(mode).map_err(io::Error::other)?;
            fs::set_permissions(no_symlink(top, path)?, fs::Permissions::from_mode(mode))
        }
        Operation::Symlink { path, target } => symlink(target, with_parents(top, path)?),
        Operation::Hardlink { from, to } => fs::hard_link(place(top, from)?, with_parents(top, to)?),
        Operation::Look | Operation::Pass { .. } | Operation::Fail { .. } | Operation::Restart | Operation::Crash => {
            Ok(())
        }
    }
}

/// What an operation does, in a word, and to which path.
fn subject(operation: &Operation) -> (&'static str, &str) {
    match operation {
        Operation::Write { path, .. } => ("write", path),
        Operation::Append { path, .. } => ("append to", path),
        Operation::Rename { from, .. } => ("rename", from),
        Operation::Truncate { path, .. } => ("truncate", path),
        Operation::Remove { path } => ("remove", path),
        Operation::Mkdir { path } => ("make the directory", path),
        Operation::Chmod { path, .. } => ("change the permissions of", path),
        Operation::Symlink { path, .. } => ("make the symlink", path),
        Operation::Hardlink { from, .. } => ("link", from),
        Operation::Fail { path, .. } => ("fail at", path),
        Operation::Look | Operation::Pass { .. } | Operation::Restart | Operation::Crash => ("go on", "."),
    }
}

fn bytes(text: Option<&str>, base64: Option<&str>) -> io::Result<Vec<u8>> {
    content(text, base64).map_err(io::Error::other)
}

fn open(top: &Path, path: &str, options: &OpenOptions) -> io::Result<File> {
    with_parents(top, path)?;
    options.open(no_symlink(top, path)?)
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

/// Where a path of the script is. A symlink on the way is an error: after a rename it could lead anywhere.
fn place(top: &Path, relative: &str) -> io::Result<PathBuf> {
    let normal = |part: &Component<'_>| matches!(part, Component::Normal(_));
    let relative: PathBuf = Path::new(relative).components().filter(normal).collect();
    let path = top.join(&relative);
    match relative.parent() {
        Some(way) if !way.as_os_str().is_empty() && disk::inside(top, way)? != top.join(way) => Err(followed()),
        _ => Ok(path),
    }
}

/// The same for an operation that would follow a symlink at the path itself.
fn no_symlink(top: &Path, relative: &str) -> io::Result<PathBuf> {
    let path = place(top, relative)?;
    refuse_symlink(&path)?;
    Ok(path)
}

/// The same for something new, whose directory is made.
fn with_parents(top: &Path, relative: &str) -> io::Result<PathBuf> {
    let path = place(top, relative)?;
    fs::create_dir_all(path.parent().unwrap_or(top))?;
    Ok(path)
}

fn refuse_symlink(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(followed()),
        _ => Ok(()),
    }
}

fn followed() -> io::Error {
    io::Error::other("there is a symlink, and no operation follows one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operation_leads_out_of_the_tree_by_a_symlink_that_was_renamed() {
        let ground = temporary().unwrap();
        let (top, outside) = (ground.directory("tree").unwrap(), ground.path().join("outside"));
        let symlink = |path: &str, target: &str| Operation::Symlink {
            path: path.into(),
            target: target.into(),
        };
        let rename = |from: &str, to: &str| Operation::Rename {
            from: from.into(),
            to: to.into(),
        };
        for operation in [symlink("a/b/l", "../.."), symlink("d/f", "../outside")] {
            operation.check().unwrap();
            play(&top, &operation).unwrap();
        }
        play(&top, &rename("a/b/l", "l")).unwrap();
        play(&top, &rename("d/f", "f")).unwrap();
        let mkdir = Operation::Mkdir {
            path: "l/outside".into(),
        };
        for operation in [Operation::write("l/outside", b""), Operation::append("f", b""), mkdir] {
            assert!(play(&top, &operation).is_err(), "{operation:?}");
        }
        assert!(!outside.exists());
    }

    #[test]
    fn lines_are_numbered_and_the_last_one_needs_no_newline() {
        let numbered = |bytes| lines(bytes).collect::<Vec<_>>();
        assert_eq!(numbered(b""), []);
        assert_eq!(numbered(b"a\n\nb"), [(1, &b"a"[..]), (2, b""), (3, b"b")]);
        assert_eq!(numbered(b"\n"), [(1, &b""[..])]);
    }
}
