//! What is watched: the roots that somebody named, else the directories of the known agents.

use std::path::Path;

use super::tilde;
use crate::config::{Origin, Settings, user_home};
use crate::discover::{Around, Discovery, Known, agent_of, discover};
use crate::error::{Error, ErrorKind};
use crate::show::Shown;
use crate::source::exclude::Exclude;
use crate::source::roots::RootSpec;
use crate::source::scope::{Scope, resolve};

/// The roots that are in force.
pub(super) struct Roots {
    pub(super) specs: Vec<RootSpec>,
    /// Directories that may be one, and could not be looked at.
    pub(super) unknown: u64,
}

/// Finds the roots that are in force.
///
/// Fails as [`ErrorKind::Failed`] when nobody named one and no known agent has a directory.
pub(super) fn roots_in_force(settings: &Settings, scope: &Scope, exclude: &Exclude) -> Result<Roots, Error> {
    let named = settings.roots.iter();
    let named: Vec<_> = named.map(|given| with_agent(given.value.clone(), scope)).collect();
    if !settings.agents.value {
        if named.is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "no ROOT is given, and the known agents are not to be watched",
            )
            .hint("name the directory that the logs are in: tailspool watch DIR"));
        }
        return Ok(Roots {
            specs: named,
            unknown: 0,
        });
    }
    let discovery = discovered(scope, exclude);
    tell_left_out(&discovery);
    if discovery.found().next().is_none() && named.is_empty() {
        return Err(none_found(&discovery));
    }
    let is_named = |known: &Known| named.iter().any(|spec| is_in(&known.resolved, &spec.path));
    let mut specs = discovery.roots_but(is_named);
    if settings.glob.origin != Origin::Default {
        for root in &mut specs {
            root.globs = None;
        }
    }
    let specs = [named, specs].concat();
    let unknown = discovery
        .left_out
        .iter()
        .filter(|left_out| left_out.why.kind() != ErrorKind::Scope);
    Ok(Roots {
        specs,
        unknown: unknown.count() as u64,
    })
}

/// Whether a resolved path is this one, or below it.
fn is_in(resolved: &Path, named: &Path) -> bool {
    resolve(named).is_ok_and(|named| resolved.starts_with(named))
}

/// The directories of the known agents, without the excluded ones.
pub(super) fn discovered(scope: &Scope, exclude: &Exclude) -> Discovery {
    let home = user_home();
    let mut discovery = discover(&around(home.as_deref().map(Path::new), scope));
    let is_open = |known: &Known| exclude.refuse(&known.root(), home.as_deref()).is_ok();
    discovery.known.retain(is_open);
    discovery
}

fn around<'a>(home: Option<&'a Path>, scope: &'a Scope) -> Around<'a> {
    Around {
        home,
        var: &|name| std::env::var_os(name),
        scope,
    }
}

/// A root that is a known agent's, or lies in one, is of that agent, unless it was said of which.
fn with_agent(mut spec: RootSpec, scope: &Scope) -> RootSpec {
    let home = user_home();
    if spec.agent.is_none()
        && let Ok(resolved) = resolve(&spec.path)
        && let Some(agent) = agent_of(&resolved, &around(home.as_deref().map(Path::new), scope))
    {
        spec.agent = Some(agent.name.into());
    }
    spec
}

/// Says which directories are there and are not watched.
pub(super) fn tell_left_out(discovery: &Discovery) {
    for left_out in &discovery.left_out {
        let shown = Shown::path(&left_out.path).to_string();
        let why =
            std::error::Error::source(&left_out.why).map_or_else(|| left_out.why.to_string(), ToString::to_string);
        let hint = left_out.why.hint_text().unwrap_or("name the roots to be watched");
        log::warn!(code = "watcher.root_left_out", path = shown.as_str();
            "{shown} ({}) is left out: {why}; {hint}", left_out.agent.label);
    }
}

/// The directories that are not there.
pub(super) fn looked_for(discovery: &Discovery) -> String {
    let missing = discovery.missing();
    let paths: Vec<_> = missing.map(|known| tilde(&known.path.to_string_lossy())).collect();
    paths.join(", ")
}

fn none_found(discovery: &Discovery) -> Error {
    Error::new(ErrorKind::Failed, "no agent's session logs were found").hint(format!(
        "name the directory that the logs are in: tailspool watch DIR, or roots = [\"DIR\"] in the config file; looked for {}",
        looked_for(discovery)
    ))
}
