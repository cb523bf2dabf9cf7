//! What is recorded, and where to.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::pure::scrub::Secret;
use crate::replay::{Head, Options};
use crate::show::Shown;
use crate::source::exclude::Exclude;
use crate::source::scope::resolve;

/// What is recorded, and how.
pub struct RecordOptions {
    /// The directory that is watched, absolute and resolved.
    pub root: PathBuf,
    /// Where the fixture is made: a directory that is empty or missing, outside of the root.
    pub fixture: PathBuf,
    /// Which files are logs: patterns without `/` for the name, others for the path below the root.
    pub globs: Vec<String>,
    /// Scrub names and lines with this.
    pub secret: Option<Secret>,
    /// What is never opened.
    pub exclude: Exclude,
    /// A directory that is left out with all in it, by device and inode.
    pub but: Option<(u64, u64)>,
}

impl RecordOptions {
    /// Records everything below `root` as it is.
    pub fn new(root: impl Into<PathBuf>, fixture: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            fixture: fixture.into(),
            globs: vec!["*.jsonl".into()],
            secret: None,
            exclude: Exclude::default(),
            but: None,
        }
    }

    /// Fails as [`ErrorKind::Usage`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let fixture = resolve(&self.fixture);
        let fixture =
            fixture.map_err(|cause| Error::io("cannot resolve", &self.fixture, cause).kind_set(ErrorKind::Usage))?;
        if fixture.starts_with(&self.root) {
            return Err(
                Error::new(ErrorKind::Usage, "a recording must not lie in what it records:")
                    .at(&self.fixture)
                    .because(format!("it is in {}", Shown::path(&self.root)))
                    .hint("name a directory outside of it with --out DIR"),
            );
        }
        let extension = |pattern: &String| {
            let rest = pattern.strip_prefix("*.");
            rest.is_some_and(|rest| rest.len() <= 8 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        };
        let scrubs = self.secret.is_some();
        match self.globs.iter().find(|pattern| scrubs && !extension(pattern)) {
            Some(pattern) => Err(Error::new(
                ErrorKind::Usage,
                format!("scrubbed names would not match `{}`:", Shown::path(Path::new(pattern))),
            )
            .because("of a name only its extension stays")
            .hint("use patterns such as '*.jsonl', or do not scrub")),
            None => Ok(()),
        }
    }

    /// The first line of the script.
    pub(super) fn head(&self) -> Head {
        let about = match self.secret {
            None => "What happened to a tree, as a recording saw it.",
            Some(_) => "What happened to a tree, as a recording saw it; names and lines are scrubbed.",
        };
        let is_default = self.globs == ["*.jsonl"];
        Head {
            options: Options {
                glob: (!is_default).then(|| self.globs.clone()),
                ..Options::default()
            },
            ..Head::new(about)
        }
    }
}
