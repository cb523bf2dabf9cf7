//! Finding the logs of the known agents on this machine.

mod cleanup;
mod survey;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

pub use cleanup::{CleanUp, clean_up};
pub use survey::{Survey, survey};

use crate::agents::{AGENTS, Agent, Place, Var};
use crate::error::Error;
use crate::home::user_home;
use crate::show::Shown;
use crate::source::exclude::Exclude;
use crate::source::globs::from_above;
use crate::source::roots::{Root, RootSpec};
use crate::source::scope::{Scope, resolve};

/// Where a user's agents may write.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// `$HOME`; None when it is not set.
    pub home: Option<&'a Path>,
    /// The environment.
    pub var: &'a dyn Fn(&str) -> Option<OsString>,
    /// What may be looked at.
    pub scope: &'a Scope,
}

impl<'a> Around<'a> {
    /// As the environment of this process says.
    fn here(home: Option<&'a OsStr>, scope: &'a Scope) -> Self {
        Self {
            home: home.map(Path::new),
            var: &|name| std::env::var_os(name),
            scope,
        }
    }
}

/// A directory of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Whose it is.
    pub agent: &'static Agent,
    /// As the agent's table or a variable names it.
    pub path: PathBuf,
    /// Without symlinks, as far as it exists.
    pub resolved: PathBuf,
    /// The variable that names it; None where it is by default.
    pub by: Option<Var>,
    /// Directories in it, resolved, of another agent.
    pub parts: Vec<(PathBuf, &'static Agent)>,
    /// Which files below it are logs.
    pub globs: Vec<String>,
    /// Whether it is there.
    pub exists: bool,
}

/// A directory that exists and is not watched.
#[derive(Debug)]
pub struct LeftOut {
    /// Whose it is.
    pub agent: &'static Agent,
    /// As the agent's table or a variable names it.
    pub path: PathBuf,
    /// Why it is not.
    pub why: Error,
}

/// The directories of all known agents.
#[derive(Debug, Default)]
pub struct Discovery {
    /// None of them in another one, in the order of the table.
    pub known: Vec<Known>,
    /// Those outside the scope, or that could not be looked at.
    pub left_out: Vec<LeftOut>,
}

impl Known {
    /// As a root. If it is not there now, it may come, and nobody misses it until then.
    pub fn root(&self) -> Root {
        let spec = RootSpec {
            path: self.path.clone(),
            agent: Some(self.agent.name.into()),
            parts: self
                .parts
                .iter()
                .map(|(path, agent)| (path.clone(), agent.name.into()))
                .collect(),
            globs: Some(self.globs.clone()),
            optional: true,
        };
        Root {
            spec,
            resolved: self.resolved.clone(),
            place: None,
        }
    }
}

impl Discovery {
    /// Looks for the directories of all known agents, by the environment of this process, and leaves out what is
    /// excluded.
    pub fn here(scope: &Scope, exclude: &Exclude) -> Self {
        let home = user_home();
        let mut discovery = discover(&Around::here(home.as_deref(), scope));
        for known in std::mem::take(&mut discovery.known) {
            match exclude.refuse(&known.root(), home.as_deref()) {
                Ok(()) => discovery.known.push(known),
                // Who names its path means it; a name that fits by chance is told.
                Err(_) if exclude.covers(&known.root(), Path::new("")) => {}
                Err(_) if !known.exists => {}
                Err(why) => discovery.left_out.push(LeftOut {
                    agent: known.agent,
                    path: known.path,
                    why,
                }),
            }
        }
        discovery
    }

    /// Those that are there.
    pub fn found(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| known.exists)
    }

    /// Those that are not.
    pub fn missing(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|known| !known.exists)
    }

    /// Logs which directories are there and are not watched.
    pub fn log_left_out(&self) {
        for LeftOut { agent, path, why } in &self.left_out {
            let shown = Shown::path(path).to_string();
            let cause = std::error::Error::source(why).map_or_else(|| why.to_string(), ToString::to_string);
            let hint = why.hint_text().unwrap_or("name the roots to be watched");
            log::warn!(code = "watcher.root_left_out", path = shown.as_str();
                "{shown} ({}) is left out: {cause}; {hint}", agent.label);
        }
    }

    /// As roots, also of those that are not there now, but for those that are or lie in roots that somebody named.
    pub fn roots_beside(&self, named: &[RootSpec]) -> Vec<RootSpec> {
        let named: Vec<_> = named.iter().filter_map(|spec| resolve(&spec.path).ok()).collect();
        let is_in = |known: &&Known| named.iter().any(|named| known.resolved.starts_with(named));
        let known = self.known.iter().filter(|known| !is_in(known));
        known.map(|known| known.root().spec).collect()
    }
}

/// Looks for the directories of all known agents. Lists none of them and opens nothing.
pub fn discover(around: &Around<'_>) -> Discovery {
    let mut discovery = Discovery::default();
    for (agent, place, path, by) in places(around) {
        match look(agent, place, path.clone(), by, around.scope) {
            Ok(Some(known)) => add(&mut discovery.known, known),
            Ok(None) => {}
            Err(why) => discovery.left_out.push(LeftOut { agent, path, why }),
        }
    }
    discovery
}

/// Says of a root which agents write in it, by the environment of this process: the one of which it is a directory, or
/// in whose directory it lies; else those whose directories lie in it.
pub fn attribute(spec: &mut RootSpec, scope: &Scope) {
    let (home, Ok(root)) = (user_home(), resolve(&spec.path)) else {
        return;
    };
    let around = Around::here(home.as_deref(), scope);
    for (agent, _, path, _) in places(&around) {
        let Ok(path) = resolve(&path) else { continue };
        if root.starts_with(&path) {
            spec.agent = Some(agent.name.into());
            return;
        }
        if path.starts_with(&root) {
            spec.parts.push((path, agent.name.into()));
        }
    }
}

type Named = (&'static Agent, &'static Place, PathBuf, Option<Var>);

fn places(around: &Around<'_>) -> impl Iterator<Item = Named> {
    let Around { home, var, .. } = *around;
    let places = AGENTS
        .iter()
        .flat_map(|agent| agent.places.iter().map(move |place| (agent, place)));
    places.flat_map(move |(agent, place)| {
        let paths = place.paths(home, var).into_iter();
        paths.map(move |(path, by)| (agent, place, path, by))
    })
}

/// None for what is not there and could not be watched if it were.
fn look(
    agent: &'static Agent,
    place: &Place,
    path: PathBuf,
    by: Option<Var>,
    scope: &Scope,
) -> Result<Option<Known>, Error> {
    let failed = |cause| Error::io("cannot look at", &path, cause).hint("give access to it, or name other roots");
    let denied = |error: &std::io::Error| error.kind() == std::io::ErrorKind::PermissionDenied;
    let resolved = match resolve(&path) {
        // It may be there: whoever watches it finds out.
        Err(error) if denied(&error) => path.clone(),
        resolved => resolved.map_err(failed)?,
    };
    let exists = match std::fs::symlink_metadata(&resolved) {
        Ok(found) => found.is_dir(),
        Err(error) if denied(&error) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(cause) => return Err(failed(cause)),
    };
    match scope.check(&path, &resolved) {
        Ok(()) => {}
        Err(error) if exists => return Err(error),
        Err(_) => return Ok(None),
    }
    Ok(Some(Known {
        agent,
        path,
        resolved,
        by,
        parts: Vec::new(),
        globs: place.globs.iter().map(|&glob| glob.to_owned()).collect(),
        exists,
    }))
}

/// Adds a directory. Of two that overlap the outer one stays, and takes what the inner one would.
fn add(all: &mut Vec<Known>, mut fresh: Known) {
    if let Some(outer) = all.iter_mut().find(|known| fresh.resolved.starts_with(&known.resolved)) {
        return outer.absorb(&fresh);
    }
    let (inner, mut others): (Vec<_>, Vec<_>) = std::mem::take(all)
        .into_iter()
        .partition(|known| known.resolved.starts_with(&fresh.resolved));
    for known in &inner {
        fresh.absorb(known);
    }
    others.push(fresh);
    *all = others;
}

impl Known {
    fn absorb(&mut self, inner: &Self) {
        let own = (inner.resolved.clone(), inner.agent);
        let parts = inner.parts.iter().cloned().chain([own]);
        self.parts
            .extend(parts.filter(|(path, agent)| *path != self.resolved && *agent != self.agent));
        let below = inner.resolved.strip_prefix(&self.resolved).unwrap_or(Path::new(""));
        let globs = match below.to_str() {
            Some("") => inner.globs.clone(),
            Some(below) => from_above(&inner.globs, below),
            // Patterns are text: rather too much than too little.
            None => vec!["*.jsonl".into()],
        };
        let news = globs.into_iter().filter(|glob| !self.globs.contains(glob));
        self.globs.extend(news.collect::<Vec<_>>());
    }
}
