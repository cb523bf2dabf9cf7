//! The options that a script plays its source with: the same as those of `watch`.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::source::globs;
use crate::source::tailer::SourceOptions;

/// Where a file begins that is found by the first pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// At its first byte.
    Start,
    /// Behind its last newline.
    End,
}

/// The `options` of a script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `--from`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Begin>,
    /// `--max-files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_files: Option<u64>,
    /// `--once`: a file is read up to the size that its first look showed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub once: bool,
    /// `--glob`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub glob: Option<Vec<String>>,
}

impl Options {
    /// Whether nothing is set.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Says what is wrong with them, before anything is played.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.max_files == Some(0) {
            return Err("`max_files` is at least 1".into());
        }
        let patterns = self.glob.as_deref().unwrap_or_default();
        if self.glob.is_some() && patterns.is_empty() {
            return Err("`glob` names no pattern".into());
        }
        let cause = |error: &Error| std::error::Error::source(error).map_or_else(String::new, ToString::to_string);
        match globs::compile(patterns) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error} {}", cause(&error))),
        }
    }

    /// Hands them to a source.
    pub(super) fn apply(&self, source: &mut SourceOptions) {
        source.once = self.once;
        source.from_end = self.from == Some(Begin::End);
        source.files_max = self.max_files.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
        if let Some(patterns) = &self.glob {
            source.globs.clone_from(patterns);
        }
    }
}
