//! The one error type: what was done, to which path, why it failed, and what to do.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::show::Shown;

/// What an [`Error`] means for the caller; each kind has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// An operation failed.
    Failed,
    /// The caller asked for something that makes no sense.
    Usage,
    /// A path lies outside every scope.
    Scope,
    /// Another watcher holds the home.
    HomeInUse,
    /// The queue or its disk has no room; nothing was written.
    QueueFull,
    /// A write that must not fail failed: nothing may be written any more, and a new start repairs.
    Latched,
}

/// An error that says operation, path, cause and what to do.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    operation: String,
    path: Option<PathBuf>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind; `operation` says what could not be done or what is wrong.
    pub fn new(kind: ErrorKind, operation: impl Into<String>) -> Self {
        Self {
            kind,
            operation: operation.into(),
            path: None,
            hint: None,
            source: None,
        }
    }

    /// An operation on a path that failed in the operating system.
    pub fn io(operation: impl Into<String>, path: impl AsRef<Path>, cause: io::Error) -> Self {
        Self::new(ErrorKind::Failed, operation).at(path).because(cause)
    }

    /// The path that it is about.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_owned());
        self
    }

    /// The cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(cause.into());
        self
    }

    /// What the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same error as another kind.
    #[must_use]
    pub fn kind_set(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The same for another caller; causes are text in it.
    #[must_use]
    pub(crate) fn copied(&self) -> Self {
        Self {
            kind: self.kind,
            operation: self.operation.clone(),
            path: self.path.clone(),
            hint: self.hint.clone(),
            source: self.source.as_ref().map(|cause| cause.to_string().into()),
        }
    }

    /// What it means for the caller.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the user can do, if anything is known.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        let too_many =
            self.io_cause().and_then(io::Error::raw_os_error) == Some(rustix::io::Errno::MFILE.raw_os_error());
        if too_many {
            return Some("allow this process more open files, as with `ulimit -n 256`, and start again");
        }
        self.hint.as_deref()
    }

    /// It and its causes, in one line.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(inner) = cause {
            let join = if text.ends_with(':') { " " } else { ": " };
            text = format!("{text}{join}{inner}");
            cause = inner.source();
        }
        text
    }

    /// Whether the operating system did not allow it.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.io_cause()
            .is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
    }

    /// The cause, where it came from the operating system.
    #[must_use]
    pub fn io_cause(&self) -> Option<&io::Error> {
        self.source.as_ref()?.downcast_ref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)?;
        match &self.path {
            Some(path) => write!(f, " {}", Shown::path(path)),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}
