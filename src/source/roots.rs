//! The roots: what was asked for, what it resolves to, and whether that may be watched.

use std::ffi::OsString;
use std::fs::FileType;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::show::Shown;
use crate::source::scope::{Scope, resolve};

/// A root as its user named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootSpec {
    /// A directory, or one regular file.
    pub path: PathBuf,
    /// The agent that writes there, if known.
    pub agent: Option<Arc<str>>,
    /// Directories below it, resolved, in which another agent writes.
    pub parts: Vec<(PathBuf, Arc<str>)>,
    /// Which files are logs there; None: those that the source takes everywhere.
    pub globs: Option<Vec<String>>,
    /// It may never be there, and then nobody misses it: it is told of only once it was there.
    pub optional: bool,
}

impl RootSpec {
    /// A root that somebody named, of no known agent.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            agent: None,
            parts: Vec::new(),
            globs: None,
            optional: false,
        }
    }

    /// The same, as one of this agent.
    #[must_use]
    pub fn of(mut self, agent: impl Into<Arc<str>>) -> Self {
        self.agent = Some(agent.into());
        self
    }
}

/// Where a root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The directory that is opened: the root, or the one that holds it when it is a file.
    pub directory: PathBuf,
    /// The one file that is watched, when the root is a file.
    pub only: Option<OsString>,
}

impl Place {
    fn of(resolved: PathBuf, kind: FileType) -> Option<Self> {
        if kind.is_dir() {
            return Some(Self {
                directory: resolved,
                only: None,
            });
        }
        let only = resolved.file_name()?.to_owned();
        let directory = resolved.parent()?.to_owned();
        kind.is_file().then_some(Self {
            directory,
            only: Some(only),
        })
    }

    /// Whether the root holds this path.
    pub fn holds(&self, path: &Path) -> bool {
        match &self.only {
            Some(name) => path.parent() == Some(&self.directory) && path.file_name() == Some(name),
            None => path.starts_with(&self.directory),
        }
    }
}

impl Root {
    /// The agent that writes at this path.
    pub fn agent_at(&self, path: &Path) -> Option<Arc<str>> {
        let parts = self.spec.parts.iter().filter(|(part, _)| path.starts_with(part));
        let part = parts.max_by_key(|(part, _)| part.as_os_str().len());
        part.map_or_else(|| self.spec.agent.clone(), |(_, agent)| Some(Arc::clone(agent)))
    }
}

/// A root that may be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// As it was named.
    pub spec: RootSpec,
    /// Resolved, as far as it exists.
    pub resolved: PathBuf,
    /// None while it is not there.
    pub place: Option<Place>,
}

/// Resolves and checks the roots, before anything in them is opened.
///
/// Fails as [`ErrorKind::Scope`] for a root outside the scope, and as [`ErrorKind::Usage`] for one that is
/// neither directory nor regular file, that overlaps another one, or that lies in `home`. An optional root that nobody
/// may look at now is taken as one that is not there.
pub fn check(specs: Vec<RootSpec>, scope: &Scope, home: Option<&Path>) -> Result<Vec<Root>, Error> {
    let home = home.map(|home| resolved(home, "the home")).transpose()?;
    let mut roots: Vec<Root> = Vec::new();
    for spec in specs {
        let root = match check_one(spec.clone(), scope) {
            Err(error) if spec.optional && error.is_denied() => Root::unseen(spec)?,
            checked => checked?,
        };
        root.check_against(&roots, home.as_deref())?;
        roots.push(root);
    }
    Ok(roots)
}

fn usage(what: &str, path: &Path) -> Error {
    Error::new(ErrorKind::Usage, what).at(path)
}

fn resolved(path: &Path, what: &str) -> Result<PathBuf, Error> {
    resolve(path).map_err(|cause| Error::io(format!("cannot resolve {what}"), path, cause).kind_set(ErrorKind::Usage))
}

fn check_one(spec: RootSpec, scope: &Scope) -> Result<Root, Error> {
    let resolved = resolved(&spec.path, "the root")?;
    scope.check(&spec.path, &resolved)?;
    let place = match std::fs::symlink_metadata(&resolved) {
        Ok(found) => match Place::of(resolved.clone(), found.file_type()) {
            Some(place) => Some(place),
            None if found.is_symlink() => None,
            None => {
                return Err(usage("a root must be a directory or a regular file:", &spec.path).because("it is neither"));
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(Error::io("cannot look at the root", &spec.path, cause)),
    };
    Ok(Root { spec, resolved, place })
}

impl Root {
    /// One that could not be looked at.
    fn unseen(spec: RootSpec) -> Result<Self, Error> {
        let resolved = std::path::absolute(&spec.path).map_err(|cause| Error::io("cannot name", &spec.path, cause))?;
        let place = None;
        Ok(Self { spec, resolved, place })
    }

    /// Looks for a root that was not there. What is found is checked like one that was there at the start.
    pub fn appear(&mut self, scope: &Scope, others: &[Self], home: Option<&Path>) -> Result<(), Error> {
        if self.place.is_none() {
            let found = check_one(self.spec.clone(), scope)?;
            found.check_against(others, home)?;
            (self.resolved, self.place) = (found.resolved, found.place);
        }
        Ok(())
    }

    fn check_against(&self, others: &[Self], home: Option<&Path>) -> Result<(), Error> {
        if let Some(home) = home.filter(|home| self.resolved.starts_with(home)) {
            return Err(usage("a root must not lie in the home:", &self.spec.path)
                .because(format!("{} is in {}", Shown::path(&self.resolved), Shown::path(home)))
                .hint("watch the logs where they are written, or choose another home with --home DIR"));
        }
        let overlaps =
            |other: &&Self| other.resolved.starts_with(&self.resolved) || self.resolved.starts_with(&other.resolved);
        if let Some(other) = others.iter().find(overlaps) {
            let (one, two) = (Shown::path(&other.spec.path), Shown::path(&self.spec.path));
            return Err(
                Error::new(ErrorKind::Usage, format!("roots must not overlap: {one} and {two}"))
                    .hint("name the outer one only"),
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn check_in(base: &Path, paths: &[&str]) -> Result<Vec<Root>, Error> {
        let scope = Scope::new(None, &[base.to_owned()]).unwrap();
        let specs = paths.iter().map(|path| RootSpec::new(base.join(path)));
        check(specs.collect(), &scope, Some(&base.join("home")))
    }

    #[test]
    fn roots_that_make_no_sense_are_usage_errors_that_name_the_paths() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        std::fs::create_dir_all(base.join("a/b")).unwrap();
        std::fs::create_dir_all(base.join("home/pending")).unwrap();
        std::fs::write(base.join("a/f.jsonl"), "").unwrap();
        symlink(base.join("a"), base.join("link")).unwrap();
        let _socket = UnixListener::bind(base.join("socket")).unwrap();
        for bad in [
            &["a", "a/b"][..],
            &["a/b", "a"],
            &["a", "link"],
            &["a", "a/f.jsonl"],
            &["a", "a/not/yet"],
            &["socket"],
            &["home"],
            &["home/pending"],
        ] {
            let error = check_in(base, bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{bad:?}");
            assert!(error.to_string().contains(bad.last().unwrap()), "{error}");
        }
        assert_eq!(check_in(base, &["a/b", "a/f.jsonl"]).unwrap().len(), 2);
    }

    #[test]
    fn a_root_that_appears_in_the_home_or_in_another_root_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        for directory in ["logs/in", "home/pending"] {
            std::fs::create_dir_all(base.join(directory)).unwrap();
        }
        let roots = check_in(&base, &["logs", "later"]).unwrap();
        let scope = Scope::new(None, std::slice::from_ref(&base)).unwrap();
        for target in ["home/pending", "home", "logs", "logs/in"] {
            let mut later = roots[1].clone();
            symlink(base.join(target), base.join("later")).unwrap();
            let error = later.appear(&scope, &roots[..1], Some(&base.join("home"))).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{target}");
            assert_eq!(later.place, None);
            std::fs::remove_file(base.join("later")).unwrap();
        }
    }

    #[test]
    fn a_root_that_appears_as_a_symlink_out_of_the_scope_is_refused() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(base.join("in")).unwrap();
        std::fs::create_dir_all(base.join("out")).unwrap();
        let scope = Scope::new(None, &[base.join("in")]).unwrap();
        let spec = RootSpec::new(base.join("in/later"));
        let mut root = check(vec![spec], &scope, None).unwrap().remove(0);
        root.appear(&scope, &[], None).unwrap();
        assert_eq!(root.place, None);
        symlink(base.join("out"), base.join("in/later")).unwrap();
        assert_eq!(root.appear(&scope, &[], None).unwrap_err().kind(), ErrorKind::Scope);
        assert_eq!(root.place, None);
    }
}
