//! Which source is used.

use std::io;
use std::sync::Arc;

use super::Source;
use super::notify::{NotifySource, notifier};
use super::polling::PollingSource;
use super::tailer::SourceOptions;
use super::tree::Tree;
use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::pure::fold::Fold;

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[non_exhaustive]
pub enum SourceKind {
    /// Notify where the system tells of changes, poll everywhere else
    #[default]
    Auto,
    /// The system tells what changes; what it cannot tell of is seen by slow walks alone
    Notify,
    /// Walks over the trees, and more frequent looks at files that changed lately
    Poll,
}

/// What to do when nobody tells of changes.
const HINT: &str =
    "close other programs that watch files, raise fs.inotify.max_user_instances with sysctl, or take --source poll";

impl SourceKind {
    /// A source of this kind that goes on from what was committed. With `once` nothing is waited for, and all are one
    /// that walks.
    ///
    /// Fails as [`ErrorKind::Usage`] when a pattern is none, and when notify was asked for and cannot be had.
    pub fn open(
        self,
        options: SourceOptions,
        tree: Box<dyn Tree>,
        clock: Arc<dyn Clock>,
        fold: &Fold,
    ) -> Result<Box<dyn Source>, Error> {
        let notifier = match self {
            Self::Poll => None,
            Self::Auto | Self::Notify if options.once => None,
            Self::Auto => notifier().inspect_err(tell_unavailable).ok(),
            Self::Notify => Some(notifier().map_err(|cause| {
                // As text: here it means another limit than that of open files.
                Error::new(ErrorKind::Failed, "cannot be told of changes")
                    .because(cause.to_string())
                    .hint(HINT)
            })?),
        };
        Ok(match notifier {
            None => Box::new(PollingSource::new(options, tree, clock, fold)?),
            Some(notifier) => {
                let is_left_to_sweeps = self == Self::Notify;
                Box::new(NotifySource::new(
                    options,
                    tree,
                    clock,
                    fold,
                    notifier,
                    is_left_to_sweeps,
                )?)
            }
        })
    }
}

fn tell_unavailable(error: &io::Error) {
    let code = "watcher.notify_unavailable";
    if error.kind() == io::ErrorKind::Unsupported {
        log::info!(code = code; "nobody tells of changes on this system: everything is polled");
    } else {
        log::warn!(code = code; "nobody tells of changes ({error}): everything is polled; {HINT}");
    }
}
