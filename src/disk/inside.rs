//! Paths that others wrote down and that must not lead out of a directory.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::limits::NAME_BYTES_MAX;

/// Whether a path, read as it is written, stays in the directory that it is relative to, and can be a path at all:
/// not empty, not absolute, without NUL, without a component that no filesystem takes, and without a `..` that leads
/// out. What symlinks do is for [`inside`] to say.
pub fn stays_inside(relative: &Path) -> bool {
    let bytes = relative.as_os_str().as_bytes();
    let mut depth = 0_usize;
    !bytes.is_empty()
        && !bytes.contains(&0)
        && relative.components().all(|part| match part {
            Component::Normal(name) => {
                depth += 1;
                name.len() <= NAME_BYTES_MAX
            }
            Component::CurDir => true,
            Component::ParentDir => depth.checked_sub(1).is_some_and(|above| {
                depth = above;
                true
            }),
            Component::RootDir | Component::Prefix(_) => false,
        })
}

/// Where `relative` is, symlinks resolved, if that is in `directory`; whether there is something does not matter.
///
/// Fails with [`io::ErrorKind::InvalidInput`] if the path leads out, by itself or by a symlink on its way or at its
/// end, and otherwise as the looking does. It is true for the moment of the look: somebody who may write in the
/// directory can put a symlink there afterwards.
pub fn inside(directory: &Path, relative: &Path) -> io::Result<PathBuf> {
    let refused = || io::Error::new(io::ErrorKind::InvalidInput, "it leads out of the directory");
    if !stays_inside(relative) {
        return Err(refused());
    }
    let directory = directory.canonicalize()?;
    let mut path = directory.clone();
    for part in relative.components() {
        match part {
            Component::Normal(name) => path = resolved(&path.join(name))?,
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
        if !path.starts_with(&directory) {
            return Err(refused());
        }
    }
    Ok(path)
}

/// A path whose directory is resolved.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => path.canonicalize(),
        Ok(_) => Ok(path.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_is_refused_that_leads_out_as_it_is_written_or_is_none() {
        let longest = "x".repeat(255);
        for (path, stays) in [
            ("a", true),
            ("a/b.jsonl", true),
            ("./a", true),
            (".", true),
            ("a/../b", true),
            ("a/b/../../c", true),
            ("a\\b", true),
            ("~", true),
            ("...", true),
            (longest.as_str(), true),
            ("", false),
            ("/", false),
            ("/a", false),
            ("..", false),
            ("../d/x", false),
            ("a/../../d", false),
            ("a\0b", false),
            (&format!("a/{longest}x"), false),
        ] {
            assert_eq!(stays_inside(Path::new(path)), stays, "{path:?}");
            let temp = tempfile::tempdir().unwrap();
            assert_eq!(inside(temp.path(), Path::new(path)).is_ok(), stays, "{path:?}");
        }
    }

    #[test]
    fn a_path_is_refused_that_a_symlink_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        let directory = top.join("d");
        std::fs::create_dir_all(directory.join("a/b")).unwrap();
        symlink("..", directory.join("out")).unwrap();
        symlink("a/b", directory.join("in")).unwrap();
        symlink("loop", directory.join("loop")).unwrap();
        let place = |path: &str| inside(&directory, Path::new(path));
        for path in ["out", "out/x", "out/d/a", "loop", "loop/x"] {
            assert!(place(path).is_err(), "{path}");
        }
        assert_eq!(place("in/x").unwrap(), directory.join("a/b/x"));
        assert_eq!(place("in/..").unwrap(), directory.join("a"), "as the system reads it");
        assert_eq!(place("a/new/x").unwrap(), directory.join("a/new/x"));
    }
}
