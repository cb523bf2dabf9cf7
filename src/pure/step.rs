//! The transition table: what a look means for what we know of a path.

use crate::pure::identity::Identity;

/// One observation of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// A regular file is there.
    Present(Sight),
    /// It is missing from a complete listing of its directory, `stat` says ENOENT, and the directory is
    /// on the device that we know.
    Absent,
    /// Nothing can be said.
    Unknown(Why),
}

/// Why nothing can be said of a path. None of these is evidence of anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The look failed: EACCES, EMFILE, EIO, a symlink on the way.
    Failed,
    /// It was there and then it was not, or the other way round, within one look.
    Vanished,
    /// Its root is not there.
    RootMissing,
    /// It is on another device than the one we know, and its content is not the one we know.
    OtherDevice,
}

/// What a look at a regular file saw, from `fstat` of the very descriptor that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Which inode it is.
    pub identity: Identity,
    /// Its size in bytes.
    pub size: u64,
    /// What stands in the evidence windows.
    pub content: Content,
}

/// Whether the evidence windows hold what they held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Head and guard are what they were; also at offset 0, where there is no content evidence.
    Holds,
    /// Head or guard differ.
    Differs,
    /// Not compared: another inode, or too short to hold the windows.
    NotCompared,
}

/// What we know of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing, or only files that are gone.
    Nothing,
    /// We follow a file there.
    Followed(Position),
}

/// Where we are in a file that we follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which inode it is.
    pub identity: Identity,
    /// The byte after the last line that the sink accepted.
    pub offset: u64,
    /// The size at the last look.
    pub size_seen: u64,
}

/// Why an epoch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The file is shorter than what was captured of it.
    Shrank,
    /// It is long enough, but holds other bytes.
    Rewritten,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing changes; look again at the next pass.
    Wait,
    /// Nothing changed.
    Stay,
    /// A new file: event `new`, read from offset 0.
    New,
    /// Read on; each completed line is an event `append`.
    Append,
    /// The writer took back its unfinished tail: forget what is known of the tail, no event; read on.
    Withdraw,
    /// Event `truncate`, a new epoch.
    Truncate(Reason),
    /// Event `rotate`: the path shows a new file, read from offset 0.
    Rotate,
    /// Event `delete`.
    Delete,
}

/// The transition table. Rows that need evidence come before those that go by size; the first one that
/// fits wins.
#[must_use]
pub fn step(known: Known, look: Look) -> Step {
    match (known, look) {
        (_, Look::Unknown(_)) => Step::Wait,
        (Known::Nothing, Look::Absent) => Step::Stay,
        (Known::Nothing, Look::Present(_)) => Step::New,
        (Known::Followed(_), Look::Absent) => Step::Delete,
        (Known::Followed(at), Look::Present(sight)) if !at.identity.same(&sight.identity) => Step::Rotate,
        (Known::Followed(at), Look::Present(sight)) if sight.size < at.offset => Step::Truncate(Reason::Shrank),
        (Known::Followed(at), Look::Present(sight)) => match sight.content {
            Content::Differs => Step::Truncate(Reason::Rewritten),
            Content::NotCompared => Step::Wait,
            Content::Holds if sight.size < at.size_seen => Step::Withdraw,
            Content::Holds if sight.size > at.offset => Step::Append,
            Content::Holds => Step::Stay,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(inode: u64) -> Identity {
        Identity {
            device: 1,
            inode,
            btime: None,
        }
    }

    fn followed(offset: u64, size_seen: u64) -> Known {
        Known::Followed(Position {
            identity: inode(7),
            offset,
            size_seen,
        })
    }

    fn present(number: u64, size: u64, content: Content) -> Look {
        Look::Present(Sight {
            identity: inode(number),
            size,
            content,
        })
    }

    #[test]
    fn every_row_of_the_table_gives_its_step() {
        use Content::{Differs, Holds, NotCompared};
        let rows = [
            (Known::Nothing, present(7, 0, NotCompared), Step::New),
            (Known::Nothing, Look::Absent, Step::Stay),
            (followed(10, 10), present(7, 10, Holds), Step::Stay),
            (followed(10, 10), present(7, 20, Holds), Step::Append),
            (followed(0, 0), present(7, 5, Holds), Step::Append),
            (followed(10, 15), present(7, 10, Holds), Step::Withdraw),
            (followed(10, 15), present(7, 12, Holds), Step::Withdraw),
            (followed(10, 15), present(7, 15, Holds), Step::Append),
            (
                followed(10, 10),
                present(7, 9, NotCompared),
                Step::Truncate(Reason::Shrank),
            ),
            (
                followed(10, 10),
                present(7, 10, Differs),
                Step::Truncate(Reason::Rewritten),
            ),
            (
                followed(10, 15),
                present(7, 12, Differs),
                Step::Truncate(Reason::Rewritten),
            ),
            (
                followed(10, 10),
                present(7, 99, Differs),
                Step::Truncate(Reason::Rewritten),
            ),
            (followed(10, 10), present(8, 10, NotCompared), Step::Rotate),
            (followed(10, 10), present(8, 3, NotCompared), Step::Rotate),
            (followed(10, 10), Look::Absent, Step::Delete),
            (followed(10, 10), present(7, 10, NotCompared), Step::Wait),
        ];
        for (known, look, expected) in rows {
            assert_eq!(step(known, look), expected, "{known:?} sees {look:?}");
        }
    }

    #[test]
    fn a_failed_look_changes_nothing_whatever_is_known() {
        for why in [Why::Failed, Why::Vanished, Why::RootMissing, Why::OtherDevice] {
            for known in [Known::Nothing, followed(0, 0), followed(10, 15)] {
                assert_eq!(step(known, Look::Unknown(why)), Step::Wait);
            }
        }
    }
}
