//! Which files are logs, by patterns.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::{Error, ErrorKind};

/// The patterns, for paths below a root; one without `/` goes by the name alone.
///
/// Fails as [`ErrorKind::Usage`] when one of them is no pattern.
pub fn compile(patterns: &[String]) -> Result<GlobSet, Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let anywhere = if pattern.contains('/') {
            pattern.clone()
        } else {
            format!("**/{pattern}")
        };
        let glob = GlobBuilder::new(&anywhere).literal_separator(true).build();
        set.add(glob.map_err(|error| no_pattern(pattern, error))?);
    }
    set.build().map_err(|error| no_pattern(&patterns.join(" "), error))
}

/// The error of a pattern that is none.
pub(super) fn no_pattern(pattern: &str, why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(ErrorKind::Usage, format!("`{pattern}` is no pattern:")).because(why)
}
