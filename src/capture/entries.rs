//! What the ledger says of what a source found.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use ulid::Ulid;

use crate::pure::entry::{self, Closed, Delete, Entry, Linked, New, Root, Rotate, Settled, Truncate};
use crate::pure::record::{LogFile, SettledTail, path_to_text};
use crate::source::{Fact, LongLine, Skipped, Transition};

/// The ledger line of a transition.
pub(super) fn of_transition(file: &LogFile, transition: &Transition) -> Entry {
    let (path, path_base64) = path_to_text(&file.path);
    let session_id = file.session_id().into_owned();
    let (file_id, epoch, identity) = (file.file_id, file.epoch, file.identity);
    let agent = file.agent.as_deref().map(str::to_owned);
    match transition {
        Transition::New { mtime, continues, .. } => Entry::New(New {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            continues: *continues,
            agent,
        }),
        Transition::Rotate { old, mtime, continues } => Entry::Rotate(Rotate {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            btime: identity.btime,
            mtime: *mtime,
            old_file_id: old.file_id,
            old_inode: old.identity.inode,
            continues: *continues,
            agent,
        }),
        Transition::Truncate { reason, was, kept } => Entry::Truncate(Truncate {
            file_id,
            epoch,
            path,
            path_base64,
            reason: *reason,
            was: *was,
            kept: kept.to,
            kept_from: kept.suffix.map(|suffix| suffix.from),
            kept_lines: kept.lines,
            kept_from_lines: kept.suffix.map(|suffix| suffix.lines),
            head: kept.evidence.map(|evidence| evidence.head),
            guard: kept.evidence.map(|evidence| evidence.guard),
        }),
        Transition::Delete { offset } => Entry::Delete(Delete {
            file_id,
            epoch,
            session_id,
            path,
            path_base64,
            device: identity.device,
            inode: identity.inode,
            offset: *offset,
        }),
    }
}

/// The ledger line that follows a `new` whose file is begun at its end.
pub(super) fn of_skipped(file: &LogFile, skipped: &Skipped) -> Entry {
    let (path, path_base64) = path_to_text(&file.path);
    Entry::Skipped(entry::Skipped {
        file_id: file.file_id,
        path,
        path_base64,
        offset: skipped.offset,
        head: skipped.evidence.head,
        guard: skipped.evidence.guard,
    })
}

/// Where a line without a newline is.
pub(super) struct At {
    pub(super) offset: u64,
    pub(super) line: Option<u64>,
    pub(super) mtime: Timestamp,
}

impl At {
    pub(super) fn of(line: &dyn LongLine) -> Self {
        Self {
            offset: line.offset(),
            line: line.number(),
            mtime: line.mtime(),
        }
    }
}

/// The ledger line of a line without a newline.
pub(super) fn settled_entry(
    file: &LogFile,
    tail: &SettledTail,
    at: &At,
    batch: Option<Ulid>,
    replaces: Option<Ulid>,
) -> Entry {
    let (path, path_base64) = path_to_text(&file.path);
    Entry::Settled(Settled {
        file_id: file.file_id,
        epoch: file.epoch,
        session_id: file.session_id().into_owned(),
        path,
        path_base64,
        device: file.identity.device,
        inode: file.identity.inode,
        btime: file.identity.btime,
        batch,
        ulid: tail.ulid,
        offset: at.offset,
        length: tail.length,
        line: at.line,
        blake3: tail.hash.to_hex().to_string(),
        replaces,
        mtime: Some(at.mtime),
    })
}

/// The ledger line of a fact.
pub(super) fn of_fact(fact: &Fact<'_>) -> Entry {
    match fact {
        Fact::Closed {
            file,
            offset,
            fragment,
            fragment_length,
            unread,
        } => {
            let (path, path_base64) = path_to_text(&file.path);
            let is_text = str::from_utf8(fragment).is_ok();
            Entry::Closed(Closed {
                file_id: file.file_id,
                epoch: file.epoch,
                session_id: file.session_id().into_owned(),
                path,
                path_base64,
                device: file.identity.device,
                inode: file.identity.inode,
                offset: *offset,
                fragment: (!fragment.is_empty()).then(|| String::from_utf8_lossy(fragment).into_owned()),
                fragment_base64: (!is_text).then(|| STANDARD.encode(fragment)),
                fragment_length: *fragment_length,
                unread: *unread,
            })
        }
        Fact::Linked { file, path, identity } => {
            let (path, path_base64) = path_to_text(path);
            Entry::Linked(Linked {
                file_id: file.file_id,
                path,
                path_base64,
                device: identity.device,
                inode: identity.inode,
            })
        }
        Fact::FirstPass { root } => {
            let (path, path_base64) = path_to_text(root);
            Entry::Root(Root { path, path_base64 })
        }
    }
}
