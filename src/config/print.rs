//! What is in force, as a file that could be read, and as JSON.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::cells::{Cell, Row, rows};
use super::layer::{Given, Origin};
use super::place::Place;
use super::settings::Settings;
use crate::show::Shown;

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
            _ if crate::show::is_unsafe(character) => {
                let _ = write!(out, "\\U{:08X}", u32::from(character));
            }
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
