//! What is watched: the roots that somebody named, else the directories of the known agents.

use super::tilde;
use crate::config::{Origin, Settings};
use crate::discover::{Discovery, attribute};
use crate::error::{Error, ErrorKind};
use crate::source::exclude::Exclude;
use crate::source::roots::RootSpec;
use crate::source::scope::Scope;

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
    let discovery = Discovery::here(scope, exclude);
    discovery.log_left_out();
    if discovery.found().next().is_none() && named.is_empty() {
        return Err(none_found(&discovery));
    }
    let mut specs = discovery.roots_beside(&named);
    if settings.glob.origin != Origin::Default {
        for root in &mut specs {
            root.globs = None;
        }
    }
    let specs = [named, specs].concat();
    let unknown = discovery
        .left_out
        .iter()
        .filter(|left_out| left_out.why.kind() == ErrorKind::Failed);
    Ok(Roots {
        specs,
        unknown: unknown.count() as u64,
    })
}

/// A root of the known agents, unless it was said of which.
fn with_agent(mut spec: RootSpec, scope: &Scope) -> RootSpec {
    if spec.agent.is_none() {
        attribute(&mut spec, scope);
    }
    spec
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
