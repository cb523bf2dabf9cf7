//! Events as others see them: one committed transition or line.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::pure::record::{Ending, LogFile, path_to_text};
use crate::pure::step::Reason;
use crate::source::Transition;

/// One event, in the order and with the keys of `docs/formats.md`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// `new`, `append`, `rotate`, `truncate` or `delete`.
    pub kind: &'static str,
    /// The file's stem.
    pub session_id: String,
    /// Its path, as text.
    pub path: String,
    /// The exact path when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_base64: Option<String>,
    /// Its device.
    pub device: u64,
    /// Its inode: for `rotate` the new one, for `delete` the last one seen.
    pub inode: u64,
    /// Its id.
    pub file_id: Ulid,
    /// Its epoch after the event.
    pub epoch: u64,
    /// When it was found.
    pub at: Timestamp,
    /// What each kind has of its own.
    #[serde(flatten)]
    pub detail: Detail,
}

/// What each kind of event has of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Detail {
    /// `new`
    New {
        /// Modification time.
        mtime: Timestamp,
        /// The offset from which a known file goes on here; None for a new one.
        continues: Option<u64>,
    },
    /// `append`
    Append {
        /// Offset of the line's first byte.
        offset: u64,
        /// Its length without the newline.
        length: u64,
        /// Its text, when it is UTF-8 and was in memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        line: Option<String>,
        /// Its bytes, when they are not UTF-8 and were in memory.
        #[serde(skip_serializing_if = "Option::is_none")]
        line_base64: Option<String>,
        /// It ended with a newline.
        terminated: bool,
        /// The record of other bytes at the same place that it replaces.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<Ulid>,
    },
    /// `rotate`
    Rotate {
        /// Inode of the file that stood there before.
        old_inode: u64,
        /// The offset from which a known file goes on here; None for a new one.
        continues: Option<u64>,
    },
    /// `truncate`
    Truncate {
        /// Shrank or rewritten.
        reason: Reason,
        /// The offset before.
        was: u64,
        /// End of the prefix that still stands.
        kept: u64,
        /// Start of the suffix that still stands.
        kept_from: Option<u64>,
    },
    /// `delete`
    Delete {
        /// How many bytes of it were taken.
        offset: u64,
    },
}

impl Event {
    /// The event of a transition.
    pub fn of_transition(file: &Arc<LogFile>, transition: &Transition, at: Timestamp) -> Self {
        let (kind, detail) = match transition {
            Transition::New { mtime, continues, .. } => (
                "new",
                Detail::New {
                    mtime: *mtime,
                    continues: *continues,
                },
            ),
            Transition::Truncate { reason, was, kept } => (
                "truncate",
                Detail::Truncate {
                    reason: *reason,
                    was: *was,
                    kept: kept.to,
                    kept_from: kept.suffix.map(|suffix| suffix.from),
                },
            ),
            Transition::Rotate { old, continues, .. } => (
                "rotate",
                Detail::Rotate {
                    old_inode: old.identity.inode,
                    continues: *continues,
                },
            ),
            Transition::Delete { offset } => ("delete", Detail::Delete { offset: *offset }),
        };
        Self::new(kind, file, at, detail)
    }

    /// The event of a line; `bytes` is None for a line that was never in memory as a whole.
    pub fn of_line(
        file: &Arc<LogFile>,
        offset: u64,
        length: u64,
        bytes: Option<&[u8]>,
        ending: Ending,
        at: Timestamp,
    ) -> Self {
        let text = bytes.and_then(|bytes| str::from_utf8(bytes).ok());
        let detail = Detail::Append {
            offset,
            length,
            line: text.map(str::to_owned),
            line_base64: bytes.filter(|_| text.is_none()).map(|bytes| STANDARD.encode(bytes)),
            terminated: ending.terminated,
            replaces: ending.replaces,
        };
        Self::new("append", file, at, detail)
    }

    fn new(kind: &'static str, file: &Arc<LogFile>, at: Timestamp, detail: Detail) -> Self {
        let (path, path_base64) = path_to_text(&file.path);
        Self {
            kind,
            session_id: file.session_id().into_owned(),
            path,
            path_base64,
            device: file.identity.device,
            inode: file.identity.inode,
            file_id: file.file_id,
            epoch: file.epoch,
            at,
            detail,
        }
    }
}
