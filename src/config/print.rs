//! What is in force, as a file that could be read, and as JSON.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use serde_json::{Value, json};

use super::layer::{Given, Origin};
use super::place::Place;
use super::settings::Settings;
use super::value::{show_bytes, show_duration};
use crate::show::Shown;
use crate::source::roots::RootSpec;

/// A value that can be written into a file, or why it cannot.
enum Cell {
    Value(Value),
    /// Nothing is set; in words.
    Unset(&'static str),
    /// A path that TOML has no text for.
    NotText(std::path::PathBuf),
}

/// A key with its value, or with its values.
enum Row {
    One(&'static str, Given<Cell>),
    Many(&'static str, Vec<Given<Cell>>, &'static str),
}

/// A TOML document that sets what is in force, with the origin of each value behind it.
pub fn to_toml(settings: &Settings, place: &Place) -> String {
    let head = match place {
        Place::File(path) => format!("# read: {}", Shown::path(path)),
        Place::Missing(path) => format!("# no config file; {} would be read", Shown::path(path)),
        Place::Nowhere => "# no config file, and no place for one: HOME is not set".into(),
        Place::Ignored => "# no config file was read: --no-config".into(),
    };
    let mut lines = vec![head];
    for row in rows(settings) {
        match row {
            Row::One(key, given) => lines.push(line(&format!("{key} = "), key, &given)),
            Row::Many(key, all, none) if all.is_empty() => {
                lines.push(line("", key, &Given::default(Cell::Unset(none))));
            }
            Row::Many(key, all, _) => {
                lines.push(format!("{key} = ["));
                lines.extend(all.iter().map(|given| line("  ", key, given)));
                lines.push("]".into());
            }
        }
    }
    lines.join("\n")
}

/// The same as one JSON object.
pub fn to_json(settings: &Settings, place: &Place) -> Value {
    let (read, path) = match place {
        Place::File(path) => (true, Some(path)),
        Place::Missing(path) => (false, Some(path)),
        Place::Nowhere | Place::Ignored => (false, None),
    };
    let mut all = serde_json::Map::new();
    for row in rows(settings) {
        match row {
            Row::One(key, given) => all.insert(key.into(), with_origin(&given)),
            Row::Many(key, given, _) => all.insert(key.into(), given.iter().map(with_origin).collect()),
        };
    }
    json!({"file": path.map(|path| path.to_string_lossy()), "read": read, "settings": all})
}

fn line(before: &str, key: &str, given: &Given<Cell>) -> String {
    let origin = match &given.origin {
        Origin::File { line, .. } => format!("file, line {line}"),
        other => other.to_string(),
    };
    match &given.value {
        Cell::Value(value) => {
            // In an array a comma, which may stand behind the last one too.
            let comma = if before.trim().is_empty() { "," } else { "" };
            format!("{before}{}{comma}  # {origin}", toml(value))
        }
        Cell::Unset(what) => format!("# {key}: {what}  # {origin}"),
        Cell::NotText(path) => format!(
            "# {key}: {}, which is not UTF-8 and cannot stand in a file  # {origin}",
            Shown::path(path)
        ),
    }
}

/// A value as TOML has it: strings with everything escaped that could drive a terminal.
fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries = table.iter().map(|(key, value)| format!("{key} = {}", toml(value)));
            format!("{{ {} }}", entries.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ if crate::show::is_unsafe(character) => out += &format!("\\U{:08X}", u32::from(character)),
            _ => out.push(character),
        }
    }
    out + "\""
}

fn with_origin(given: &Given<Cell>) -> Value {
    let mut entry = match &given.value {
        Cell::Value(value) => json!({ "value": value }),
        Cell::Unset(_) => json!({ "value": null }),
        Cell::NotText(path) => json!({
            "value": path.to_string_lossy(),
            "value_base64": STANDARD.encode(path.as_os_str().as_encoded_bytes()),
        }),
    };
    entry["origin"] = match &given.origin {
        Origin::Default => "default".into(),
        Origin::CommandLine => "command line".into(),
        Origin::Env(name) => {
            entry["variable"] = (*name).into();
            "environment".into()
        }
        Origin::File { path, line } => {
            entry["path"] = path.to_string_lossy().into();
            entry["line"] = (*line).into();
            "file".into()
        }
    };
    entry
}

fn rows(settings: &Settings) -> Vec<Row> {
    let all = settings;
    vec![
        Row::One("home", of_home(&all.home)),
        Row::Many(
            "roots",
            all.roots
                .iter()
                .map(|given| given.clone().map(|root| of_root(&root)))
                .collect(),
            "none",
        ),
        Row::Many(
            "scope",
            all.scope
                .iter()
                .map(|given| given.clone().map(|path| of_path(&path)))
                .collect(),
            "nothing beside $HOME",
        ),
        Row::Many(
            "exclude",
            all.exclude
                .iter()
                .map(|given| given.clone().map(|it| Cell::Value(it.into())))
                .collect(),
            "nothing",
        ),
        Row::One("glob", all.glob.clone().map(|globs| Cell::Value(globs.into()))),
        Row::One("from", all.from.clone().map(word)),
        Row::One("max-files", limit(&all.max_files, Value::from, "no limit")),
        Row::One("source", all.source.clone().map(word)),
        Row::One(
            "interval",
            all.interval.clone().map(|time| Cell::Value(show_duration(time).into())),
        ),
        Row::One(
            "commit-interval",
            all.commit_interval
                .clone()
                .map(|time| Cell::Value(show_duration(time).into())),
        ),
        Row::One(
            "max-pending-records",
            limit(&all.max_pending_records, Value::from, "no limit but the disk"),
        ),
        Row::One(
            "max-pending-bytes",
            limit(
                &all.max_pending_bytes,
                |bytes| show_bytes(bytes).into(),
                "no limit but the disk",
            ),
        ),
        Row::One("on-full", all.on_full.clone().map(word)),
        Row::One("layout", all.layout.clone().map(word)),
        Row::One(
            "allow-network-home",
            all.allow_network_home
                .clone()
                .map(|allowed| Cell::Value(allowed.into())),
        ),
    ]
}

fn of_home(home: &Given<Option<std::path::PathBuf>>) -> Given<Cell> {
    let cell = |home: Option<std::path::PathBuf>| {
        home.map_or(Cell::Unset("no place, since HOME is not set"), |home| of_path(&home))
    };
    home.clone().map(cell)
}

fn of_path(path: &Path) -> Cell {
    // In a file a relative path is below the directory of the file; here it is below the current one.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match path.to_str() {
        Some(text) => Cell::Value(text.into()),
        None => Cell::NotText(path),
    }
}

fn of_root(root: &RootSpec) -> Cell {
    let Cell::Value(path) = of_path(&root.path) else {
        return of_path(&root.path);
    };
    if root.agent.is_none() && root.globs.is_none() {
        return Cell::Value(path);
    }
    let mut table = json!({ "path": path });
    if let Some(agent) = &root.agent {
        table["agent"] = (**agent).into();
    }
    if let Some(globs) = &root.globs {
        table["glob"] = globs.clone().into();
    }
    Cell::Value(table)
}

fn word(value: impl ValueEnum) -> Cell {
    let name = value.to_possible_value().map(|value| value.get_name().to_owned());
    Cell::Value(name.unwrap_or_default().into())
}

fn limit(given: &Given<Option<u64>>, shown: impl FnOnce(u64) -> Value, none: &'static str) -> Given<Cell> {
    let cell = |limit: Option<u64>| limit.map_or(Cell::Unset(none), |limit| Cell::Value(shown(limit)));
    given.clone().map(cell)
}
