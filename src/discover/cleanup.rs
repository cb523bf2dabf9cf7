//! How long an agent keeps its own logs.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;

use crate::limits::{CLEAN_UP_DAYS, SETTINGS_BYTES_MAX};
use crate::source::scope::{Scope, resolve};
use crate::source::tree::{Tree, read_full};

use super::Known;

/// When an agent deletes its logs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanUp {
    /// Days after the last change of a log; 0 says that it keeps none.
    pub period_days: u64,
    /// The settings that say so; None for the agent's default.
    pub set_in: Option<PathBuf>,
    /// Settings that are there and could not be read or understood, and why; then the default is shown.
    pub not_known: Option<(PathBuf, String)>,
}

impl CleanUp {
    /// Whole days that a log is left which changed last at `mtime`; 0 when it may go at the next start of the agent.
    pub fn days_left(&self, mtime: Timestamp, now: Timestamp) -> u64 {
        let age_days = now.duration_since(mtime).as_hours().max(0).unsigned_abs() / 24;
        self.period_days.saturating_sub(age_days)
    }
}

/// The clean-up of the agent that writes in this directory; None for one that is not known to have any.
///
/// That of Claude Code: at its start it deletes the logs whose mtime is older than `cleanupPeriodDays` of its
/// `settings.json`, by default 30. Settings of projects and of administrators may say otherwise and are not read.
pub fn clean_up(tree: &dyn Tree, known: &Known, scope: &Scope) -> Option<CleanUp> {
    if known.agent.name != "claude" {
        return None;
    }
    let settings = known.path.parent()?.join("settings.json");
    let by_default = CleanUp {
        period_days: CLEAN_UP_DAYS,
        set_in: None,
        not_known: None,
    };
    Some(match period_days(tree, &settings, scope) {
        Ok(None) => by_default,
        Ok(Some(period_days)) => CleanUp {
            period_days,
            set_in: Some(settings),
            not_known: None,
        },
        Err(why) => CleanUp {
            not_known: Some((settings, why)),
            ..by_default
        },
    })
}

fn period_days(tree: &dyn Tree, path: &Path, scope: &Scope) -> Result<Option<u64>, String> {
    let text = match read(tree, path, scope) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let settings: Value = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    match settings.get("cleanupPeriodDays") {
        None | Some(Value::Null) => Ok(None),
        Some(days) => match days.as_u64() {
            Some(days) => Ok(Some(days)),
            None => Err(format!("its cleanupPeriodDays is {days}, and no number of days")),
        },
    }
}

/// Reads a small file in the scope. It may be a symlink, as those who keep their settings elsewhere make them.
fn read(tree: &dyn Tree, path: &Path, scope: &Scope) -> io::Result<Vec<u8>> {
    let resolved = resolve(path)?;
    if scope.check(path, &resolved).is_err() {
        return Err(io::Error::other("it is outside the scope"));
    }
    let (Some(directory), Some(name)) = (resolved.parent(), resolved.file_name()) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let top = tree.open_root(directory)?;
    let file = tree.open(top.as_fd(), Path::new(name))?;
    let mut text = vec![0; SETTINGS_BYTES_MAX + 1];
    let read = read_full(&*file, &mut text, 0)?;
    text.truncate(read);
    if read > SETTINGS_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is longer than {SETTINGS_BYTES_MAX} bytes"
        )));
    }
    Ok(text)
}
