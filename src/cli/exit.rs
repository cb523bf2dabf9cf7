//! The exit codes.

use std::process::ExitCode;

use crate::error::ErrorKind;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Well.
    Well = 0,
    /// Something failed.
    Failed = 1,
    /// The command makes no sense.
    Usage = 2,
    /// Outside the scope.
    Scope = 3,
    /// The home is in use by another watcher.
    HomeInUse = 4,
    /// What was captured is not as it was, and nothing explains it.
    VerificationFailed = 5,
    /// A second SIGINT or SIGTERM.
    Interrupted = 130,
}

impl Exit {
    /// The exit code of an error.
    pub fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Failed | ErrorKind::Latched | ErrorKind::QueueFull => Self::Failed,
            ErrorKind::Usage => Self::Usage,
            ErrorKind::Scope => Self::Scope,
            ErrorKind::HomeInUse => Self::HomeInUse,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
