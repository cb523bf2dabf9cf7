//! Settings as values that can be written down, key by key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::layer::Given;
use super::settings::Settings;
use super::value::{show_bytes, show_commit_pace, show_duration};
use crate::source::roots::RootSpec;

/// A value that can be written into a file, or why it cannot.
pub(super) enum Cell {
    Value(Value),
    /// Nothing is set; in words.
    Unset(&'static str),
    /// A path that TOML has no text for.
    NotText(PathBuf),
}

/// A key with its value, or with its values; what it means that there are none.
pub(super) enum Row {
    One(&'static str, Given<Cell>),
    Many(&'static str, Vec<Given<Cell>>, &'static str),
}

/// Every key, in the order in which they are printed.
pub(super) fn rows(all: &Settings) -> Vec<Row> {
    use Row::{Many, One};
    let disk = "no limit but the disk";
    vec![
        One("home", all.home.shown(|place| home(place.as_deref()))),
        Many("roots", each(&all.roots, root), "none"),
        One("agents", all.agents.shown(plain)),
        Many("scope", each(&all.scope, |scope| path(scope)), "nothing beside $HOME"),
        Many("exclude", each(&all.exclude, plain), "nothing"),
        One("glob", all.glob.shown(plain)),
        One("from", all.from.shown(word)),
        One(
            "max-files",
            all.max_files.shown(|max| limit(*max, Value::from, "no limit")),
        ),
        One("source", all.source.shown(word)),
        One("interval", all.interval.shown(time)),
        One("sweep-interval", all.sweep_interval.shown(time)),
        One(
            "commit-interval",
            all.commit_interval
                .shown(|pace| Cell::Value(show_commit_pace(*pace).into())),
        ),
        One(
            "max-pending-records",
            all.max_pending_records.shown(|max| limit(*max, Value::from, disk)),
        ),
        One(
            "max-pending-bytes",
            all.max_pending_bytes
                .shown(|max| limit(*max, |max| show_bytes(max).into(), disk)),
        ),
        One("on-full", all.on_full.shown(word)),
        One("layout", all.layout.shown(word)),
        One("allow-network-home", all.allow_network_home.shown(plain)),
    ]
}

fn each<T>(list: &[Given<T>], show: impl Fn(&T) -> Cell) -> Vec<Given<Cell>> {
    list.iter().map(|given| given.shown(&show)).collect()
}

fn plain<T: Clone + Into<Value>>(value: &T) -> Cell {
    Cell::Value(value.clone().into())
}

fn word<T: ValueEnum>(value: &T) -> Cell {
    let name = value.to_possible_value().map(|value| value.get_name().to_owned());
    Cell::Value(name.unwrap_or_default().into())
}

fn time(time: &Duration) -> Cell {
    Cell::Value(show_duration(*time).into())
}

fn limit(max: Option<u64>, show: impl FnOnce(u64) -> Value, none: &'static str) -> Cell {
    max.map_or(Cell::Unset(none), |max| Cell::Value(show(max)))
}

fn home(home: Option<&Path>) -> Cell {
    home.map_or(Cell::Unset("no place, since HOME is not set"), path)
}

/// In a file a relative path is below the directory of the file; here it is below the current one.
fn path(path: &Path) -> Cell {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match path.to_str() {
        Some(text) => Cell::Value(text.into()),
        None => Cell::NotText(path),
    }
}

fn root(root: &RootSpec) -> Cell {
    let mut table = match path(&root.path) {
        Cell::Value(path) if root.agent.is_some() || root.globs.is_some() => json!({ "path": path }),
        other => return other,
    };
    if let Some(agent) = &root.agent {
        table["agent"] = (**agent).into();
    }
    if let Some(globs) = &root.globs {
        table["glob"] = globs.clone().into();
    }
    Cell::Value(table)
}
