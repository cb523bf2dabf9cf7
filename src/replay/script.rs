//! Scripts: the first line says what is played, each other line is one operation.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::needs::{Need, one_or_more};
use super::operation::{Operation, stays};
use super::options::Options;
use super::{bad_line, files, json_cause};
use crate::error::Error;

/// The first line of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// What the script shows, for people.
    pub about: String,
    /// What is watched: paths in the tree.
    #[serde(default = "the_tree", skip_serializing_if = "is_the_tree")]
    pub roots: Vec<String>,
    /// How it is watched.
    #[serde(default, skip_serializing_if = "Options::is_default")]
    pub options: Options,
    /// What the filesystem must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_more")]
    pub needs: Vec<Need>,
}

fn the_tree() -> Vec<String> {
    vec![".".into()]
}

fn is_the_tree(roots: &[String]) -> bool {
    roots == the_tree()
}

impl Head {
    /// The head of a script that watches the whole tree, with no options and no needs.
    pub fn new(about: impl Into<String>) -> Self {
        Self {
            about: about.into(),
            roots: the_tree(),
            options: Options::default(),
            needs: Vec::new(),
        }
    }

    /// Says what is wrong with it, before anything is played.
    pub fn check(&self) -> Result<(), String> {
        if self.roots.is_empty() {
            return Err("`roots` names no root".into());
        }
        for root in &self.roots {
            stays(root)?;
        }
        self.options.check()
    }
}

/// An operation and the line that it stands in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// From 1; the head is the first line.
    pub line: usize,
    /// What is done.
    pub operation: Operation,
}

/// What is played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The first line.
    pub head: Head,
    /// The others.
    pub steps: Vec<Step>,
}

impl Script {
    /// Reads and checks a script.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = files::read_fixture(
            path,
            "a fixture is a directory with a script.jsonl, see docs/formats.md",
        )?;
        Self::parse(&bytes, path)
    }

    /// Checks a script; `path` is named in errors.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let mut lines = files::lines(bytes);
        let no_head = |cause: String| bad_line(path, 1, format!("the first line must be the head: {cause}"));
        let (_, first) = lines.next().ok_or_else(|| no_head("the script is empty".into()))?;
        let head: Head = serde_json::from_slice(first).map_err(|error| no_head(json_cause(&error)))?;
        head.check().map_err(|cause| bad_line(path, 1, cause))?;
        let steps = lines.map(|(line, text)| {
            let operation = Operation::parse(text).map_err(|cause| bad_line(path, line, cause))?;
            Ok(Step { line, operation })
        });
        let steps = steps.collect::<Result<_, Error>>()?;
        Ok(Self { head, steps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Script, String> {
        Script::parse(text.as_bytes(), Path::new("s")).map_err(|error| {
            let cause = std::error::Error::source(&error).unwrap().to_string();
            format!("{error}: {cause}")
        })
    }

    #[test]
    fn a_head_is_written_as_short_as_it_was_read() {
        for head in [
            r#"{"about":"x"}"#,
            r#"{"about":"x","roots":["a","b"],"options":{"once":true,"glob":["*"]},"needs":"inode-reuse"}"#,
            r#"{"about":"x","needs":["inode-reuse","no-birth-times"]}"#,
        ] {
            let script = parse(head).unwrap();
            assert_eq!(serde_json::to_string(&script.head).unwrap(), head);
        }
    }

    #[test]
    fn an_error_names_the_line() {
        let text = "{\"about\":\"x\"}\n{\"op\":\"look\"}\n{\"op\":\"look\",\"now\":1}\n";
        let error = parse(text).unwrap_err();
        assert_eq!(error, "cannot play s:3: unknown field `now`, the operation has none");
        assert!(parse("").unwrap_err().starts_with("cannot play s:1: "));
        let error = parse("{\"about\":\"x\",\"needs\":\"luck\"}\n").unwrap_err();
        assert!(error.contains("`luck`") && error.contains("`birth-times`"), "{error}");
    }
}
