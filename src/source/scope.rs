//! The scope guard: what may be opened at all.

use std::ffi::OsStr;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::show::Shown;

/// The code of every scope violation.
pub const VIOLATION: &str = "watcher.path_scope_violation";

/// The directory trees that roots may lie in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    allowed: Vec<PathBuf>,
}

impl Scope {
    /// The home directory of the user and `extra`, all resolved. A home that is empty or `/` is no scope.
    ///
    /// Fails as [`ErrorKind::Scope`] when nothing is left, and as [`ErrorKind::Usage`] when one of `extra` is
    /// no directory.
    pub fn new(user_home: Option<&OsStr>, extra: &[PathBuf]) -> Result<Self, Error> {
        let mut allowed = Vec::new();
        for path in extra {
            let failed = |cause| Error::io("cannot use the scope", path, cause).kind_set(ErrorKind::Usage);
            let resolved = path.canonicalize().map_err(failed)?;
            if !resolved.is_dir() {
                return Err(failed(io::Error::other("it is not a directory")));
            }
            allowed.push(resolved);
        }
        let user_home = user_home.filter(|home| !home.is_empty()).map(Path::new);
        let resolved = user_home.and_then(|home| home.canonicalize().ok());
        if let Some(home) = resolved.filter(|home| home.parent().is_some()) {
            allowed.push(home);
        }
        if allowed.is_empty() {
            return Err(Error::new(ErrorKind::Scope, "nothing may be watched:")
                .because(format!(
                    "{VIOLATION}: HOME is empty, missing or `/`, and bounds nothing"
                ))
                .hint("name the directory that may be watched with --scope DIR"));
        }
        Ok(Self { allowed })
    }

    /// The allowed directory that holds a resolved path, the innermost one.
    pub fn holding(&self, resolved: &Path) -> Option<&Path> {
        let holding = self.allowed.iter().filter(|scope| resolved.starts_with(scope));
        holding
            .max_by_key(|scope| scope.as_os_str().len())
            .map(PathBuf::as_path)
    }

    /// Checks a resolved path.
    pub fn check(&self, given: &Path, resolved: &Path) -> Result<(), Error> {
        if self.allowed.iter().any(|scope| resolved.starts_with(scope)) {
            return Ok(());
        }
        let list: Vec<_> = self
            .allowed
            .iter()
            .map(|scope| Shown::path(scope).to_string())
            .collect();
        Err(Error::new(ErrorKind::Scope, "outside the scope:")
            .at(given)
            .because(format!(
                "{VIOLATION}: it resolves to {}, which is not in {}",
                Shown::path(resolved),
                list.join(", ")
            ))
            .hint("if it is meant, allow it with --scope DIR"))
    }
}

/// The absolute path without symlinks; what does not exist yet is taken as it is written.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    let absolute = std::path::absolute(path)?;
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match there.canonicalize() {
            Ok(mut resolved) => {
                resolved.extend(missing.iter().rev());
                return Ok(resolved);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(error) => {
                let Some(Component::Normal(name)) = there.components().next_back() else {
                    return Err(error);
                };
                missing.push(name);
                there = there.parent().ok_or(error)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn kind(result: Result<impl std::fmt::Debug, Error>) -> ErrorKind {
        result.unwrap_err().kind()
    }

    #[test]
    fn an_empty_or_root_home_bounds_nothing() {
        for home in [
            None,
            Some(OsStr::new("")),
            Some(OsStr::new("/")),
            Some(OsStr::new("/nowhere/at/all")),
        ] {
            assert_eq!(kind(Scope::new(home, &[])), ErrorKind::Scope, "{home:?}");
        }
        let temp = tempfile::tempdir().unwrap();
        let scope = Scope::new(Some(OsStr::new("/")), &[temp.path().to_owned()]).unwrap();
        assert_eq!(
            kind(scope.check(Path::new("/etc"), Path::new("/etc"))),
            ErrorKind::Scope
        );
        assert_eq!(kind(Scope::new(None, &["/nowhere/at/all".into()])), ErrorKind::Usage);
    }

    #[test]
    fn a_symlink_out_of_the_scope_is_seen_and_a_sibling_with_the_same_prefix_too() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        let home = base.join("me");
        for directory in ["me/in", "me2"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        symlink(base.join("me2"), home.join("out")).unwrap();
        let scope = Scope::new(Some(home.as_os_str()), &[]).unwrap();
        let check = |path: &str| scope.check(Path::new(path), &resolve(&base.join(path)).unwrap());
        for good in ["me", "me/in", "me/not/there/yet", "me2/../me/in"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["me2", "me/out", "me/out/not/there/yet", "me/in/../../me2", ""] {
            assert_eq!(kind(check(bad)), ErrorKind::Scope, "{bad}");
        }
    }
}
