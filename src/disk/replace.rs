//! Replacing a whole file, wherever it is, so that there is always the old one or the new one.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::os::create_dirs;
use crate::limits::SYMLINKS_MAX;

/// Gives the file at `path` this content, durably, in one step for everybody who looks.
///
/// The directories above it are made, each synced into its parent. A file that was there keeps its permissions, a
/// new one is 0600. Where the path shows a symlink, the file that it leads to is replaced, and the symlink stays. The
/// content is written beside it, as `.<random>.tmp`, synced, and renamed; then the directory is synced.
///
/// After an error the old content is there, and nothing else: but if only the last sync of the directory failed, the
/// new content may be there. The temporary file is removed after every error, and when this panics.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let target = followed(path)?;
    let directory = parent(&target);
    create_dirs(directory)?;
    let mode = mode_of(&target)?;
    // Dropping it removes it.
    let mut temporary = tempfile::Builder::new()
        .prefix(".")
        .suffix(".tmp")
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(directory)?;
    temporary.write_all(content)?;
    if let Some(mode) = mode {
        temporary.as_file().set_permissions(mode)?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Where a chain of symlinks ends, whether or not there is something.
fn followed(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..SYMLINKS_MAX {
        match fs::read_link(&path) {
            Ok(target) => path = parent(&path).join(target),
            // EINVAL: no symlink.
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::NotFound) => {
                return Ok(path);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many symlinks on the way"))
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The permissions of a file that is there.
fn mode_of(path: &Path) -> io::Result<Option<Permissions>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(Permissions::from_mode(found.permissions().mode() & 0o7777))),
        Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(directory: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_file_is_private_and_the_directories_above_it_are_made() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("a/b/file");
        replace(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(path.parent().unwrap()), ["file"]);
    }

    #[test]
    fn a_file_that_was_there_keeps_its_permissions() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        for bits in [0o644, 0o400, 0o640] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            replace(&path, b"new").unwrap();
            assert_eq!((fs::read(&path).unwrap(), mode(&path)), (b"new".to_vec(), bits));
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_symlink_stays_and_what_it_leads_to_is_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let (link, second, target) = (
            temp.path().join("link"),
            temp.path().join("d"),
            temp.path().join("e/file"),
        );
        fs::create_dir(temp.path().join("e")).unwrap();
        symlink("d", &link).unwrap();
        symlink("e/file", &second).unwrap();
        for content in ["made through a symlink to nothing", "replaced"] {
            replace(&link, content.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), content);
            assert!(link.is_symlink() && second.is_symlink());
        }
    }

    #[test]
    fn symlinks_that_go_round_are_an_error() {
        let temp = tempfile::tempdir().unwrap();
        symlink("b", temp.path().join("a")).unwrap();
        symlink("a", temp.path().join("b")).unwrap();
        replace(&temp.path().join("a"), b"").unwrap_err();
    }

    #[test]
    fn after_an_error_what_was_there_is_there_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("directory");
        fs::create_dir(&directory).unwrap();
        replace(&directory, b"").unwrap_err();
        fs::write(directory.join("file"), "old").unwrap();
        replace(&directory.join("file/below"), b"").unwrap_err();
        replace(&directory.join("x".repeat(256)), b"").unwrap_err();
        assert_eq!(names(temp.path()), ["directory"]);
        assert_eq!(names(&directory), ["file"]);
        assert_eq!(fs::read(directory.join("file")).unwrap(), b"old");
    }

    #[test]
    fn a_name_of_the_greatest_length_can_be_replaced() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("x".repeat(255));
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }
}
