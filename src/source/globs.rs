//! Which files are logs, by patterns.

use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, ErrorKind};

/// Patterns for paths below a root: a file is a log when one of them takes it and none that begins with `!` leaves it
/// out. Without `/` a pattern goes by the name alone.
#[derive(Debug, Clone)]
pub struct Globs {
    taken: GlobSet,
    left_out: GlobSet,
}

impl Globs {
    /// Whether the file at this path below its root is a log.
    pub fn is_match(&self, relative: impl AsRef<Path>) -> bool {
        let relative = relative.as_ref();
        self.taken.is_match(relative) && (self.left_out.is_empty() || !self.left_out.is_match(relative))
    }
}

/// Reads the patterns.
///
/// Fails as [`ErrorKind::Usage`] when one of them is no pattern.
pub fn compile(patterns: &[String]) -> Result<Globs, Error> {
    let (left_out, taken): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.starts_with('!'));
    Ok(Globs {
        taken: set(taken.into_iter().map(String::as_str))?,
        left_out: set(left_out.into_iter().map(|pattern| &pattern[1..]))?,
    })
}

/// One set of patterns that all take.
pub(super) fn set<'a>(patterns: impl Iterator<Item = &'a str>) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let anywhere = if pattern.contains('/') {
            pattern.to_owned()
        } else {
            format!("**/{pattern}")
        };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|error| no_pattern(pattern, error))?);
    }
    set.build()
        .map_err(|error| Error::new(ErrorKind::Usage, "these patterns are too much together:").because(error))
}

/// The same patterns for a root above theirs, which is `below` it.
pub fn from_above(patterns: &[String], below: &str) -> Vec<String> {
    let below = globset::escape(below);
    let moved = patterns.iter().map(|pattern| {
        let (not, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => ("!", pattern),
            None => ("", pattern.as_str()),
        };
        let anywhere = if pattern.contains('/') { "" } else { "**/" };
        format!("{not}{below}/{anywhere}{pattern}")
    });
    moved.collect()
}

/// The error of a pattern that is none.
pub(super) fn no_pattern(pattern: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Usage, format!("`{pattern}` is no pattern:")).because(why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(patterns: &[&str], path: &str) -> bool {
        let patterns: Vec<_> = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        let above = from_above(&patterns, "a[b]");
        let taken = compile(&patterns).unwrap().is_match(path);
        let from_above = compile(&above).unwrap();
        assert_eq!(from_above.is_match(Path::new("a[b]").join(path)), taken, "{above:?}");
        assert!(!from_above.is_match(path), "{above:?}");
        taken
    }

    #[test]
    fn one_pattern_must_take_a_file_and_none_leave_it_out() {
        let patterns = ["*.jsonl", "p/*/c.txt", "!*.side.jsonl", "!*/files/**"];
        for path in ["s.jsonl", "d/e/s.jsonl", "p/q/c.txt", "files/s.jsonl"] {
            assert!(takes(&patterns, path), "{path}");
        }
        for path in ["s.txt", "p/q/r/c.txt", "d/e/s.side.jsonl", "d/files/e/s.jsonl"] {
            assert!(!takes(&patterns, path), "{path}");
        }
        assert!(!takes(&["!s.jsonl"], "t.jsonl"), "what only leaves out takes nothing");
    }
}
