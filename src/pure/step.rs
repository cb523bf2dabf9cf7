//! The transition table: what a look means for what we know of a path.

/// One observation of a path. Whatever regular file is there, it was asked by `fstat` of the very descriptor that is
/// read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// The inode of the cursor at this path.
    Ours(Sight),
    /// An inode that nobody follows, and that no gone cursor explains.
    Nobodys,
    /// An inode that a cursor follows whose own path does not show it any more, and head and guard hold.
    Moved,
    /// An inode that a cursor follows at a path that still shows it.
    Linked,
    /// An inode that a gone cursor explains: the same one, with head and guard; or, at its old path, a new one whose
    /// content repeats the whole run chain.
    Returned,
    /// The inode of the cursor at this path is gone for good, and the content of this new one repeats the whole run
    /// chain.
    Successor,
    /// Nothing: it is missing from a complete listing of its directory, `stat` says ENOENT, and the directory is
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

/// What a look saw of the inode that we follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
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
    /// A cursor was here, and its inode has been matched elsewhere since.
    Left,
    /// A cursor follows a file here.
    Followed(Position),
}

/// Where we are in a file that we follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The byte after the last line that the sink accepted.
    pub offset: u64,
    /// The end of everything that is captured: the offset, or, while what a rewrite touched is read again, the
    /// end of what still stands behind it.
    pub end: u64,
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
    /// A known file is here now: event `new` with `continues`, no line again.
    Resume,
    /// Another name of a file that is followed elsewhere: captured there; noted once.
    Link,
    /// Read on; each completed line is an event `append`.
    Append,
    /// The writer took back its unfinished tail: forget what is known of the tail, no event; read on.
    Withdraw,
    /// Hash the run chain anew; if a run differs, event `truncate` and a new epoch for what differs.
    Truncate(Reason),
    /// Event `rotate`: the path shows a new file, read from offset 0; the old one is followed on.
    Rotate,
    /// Event `rotate` with `continues`: the path shows another file that is known; the old one is followed on.
    Replace,
    /// Event `rotate` with `continues`: the same file on a new inode, no line again.
    Succeed,
    /// Event `delete`; the old handle is followed on.
    Delete,
}

/// The transition table. Rows that need evidence come before those that go by size; the first one that
/// fits wins.
#[must_use]
pub fn step(known: Known, look: Look) -> Step {
    use Content::{Differs, Holds, NotCompared};
    use Known::{Followed, Left, Nothing};
    use Look::{Absent, Linked, Moved, Nobodys, Ours, Returned, Successor, Unknown};
    match (known, look) {
        (Nothing, Nobodys) => Step::New,
        (Nothing | Left, Moved | Returned) => Step::Resume,
        (Nothing | Left, Linked) => Step::Link,
        (Nothing, Absent) => Step::Stay,

        (Followed(at), Ours(sight)) if sight.size < at.end => Step::Truncate(Reason::Shrank),
        (Followed(at), Ours(sight)) => match sight.content {
            Differs => Step::Truncate(Reason::Rewritten),
            Holds if sight.size < at.size_seen => Step::Withdraw,
            Holds if sight.size > at.offset => Step::Append,
            Holds => Step::Stay,
            // It shrank between `fstat` and the read.
            NotCompared => Step::Wait,
        },

        (Followed(_), Successor) => Step::Succeed,
        (Followed(_), Moved | Returned) => Step::Replace,
        (Left | Followed(_), Nobodys) => Step::Rotate,
        // Linked: what stands here is captured elsewhere, and what stood here is gone.
        (Left | Followed(_), Absent) | (Followed(_), Linked) => Step::Delete,

        // A look that needs a cursor at its path, and is older than what we know by now, says nothing either.
        (_, Unknown(_)) | (Nothing | Left, Ours(_) | Successor) => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use Content::{Differs, Holds, NotCompared};

    use super::*;

    fn followed(offset: u64, size_seen: u64) -> Known {
        Known::Followed(Position {
            offset,
            end: offset,
            size_seen,
        })
    }

    fn ours(size: u64, content: Content) -> Look {
        Look::Ours(Sight { size, content })
    }

    #[test]
    fn every_row_of_one_inode_gives_its_step() {
        let (shrank, rewritten) = (Step::Truncate(Reason::Shrank), Step::Truncate(Reason::Rewritten));
        let rows = [
            (followed(10, 10), 10, Holds, Step::Stay),
            (followed(10, 10), 20, Holds, Step::Append),
            (followed(0, 0), 5, Holds, Step::Append),
            (followed(10, 15), 10, Holds, Step::Withdraw),
            (followed(10, 15), 12, Holds, Step::Withdraw),
            (followed(10, 15), 15, Holds, Step::Append),
            (followed(10, 10), 9, NotCompared, shrank),
            (followed(10, 10), 10, Differs, rewritten),
            (followed(10, 15), 12, Differs, rewritten),
            (followed(10, 10), 99, Differs, rewritten),
            (followed(10, 10), 10, NotCompared, Step::Wait),
        ];
        for (known, size, content, expected) in rows {
            let look = ours(size, content);
            assert_eq!(step(known, look), expected, "{known:?} sees {look:?}");
        }
        let reading_again = Known::Followed(Position {
            offset: 10,
            end: 50,
            size_seen: 60,
        });
        assert_eq!(step(reading_again, ours(49, Holds)), shrank);
        assert_eq!(step(reading_again, ours(60, Holds)), Step::Append);
    }

    #[test]
    fn every_row_of_another_inode_or_none_gives_its_step() {
        let rows = [
            (Look::Nobodys, [Step::New, Step::Rotate, Step::Rotate]),
            (Look::Moved, [Step::Resume, Step::Resume, Step::Replace]),
            (Look::Linked, [Step::Link, Step::Link, Step::Delete]),
            (Look::Returned, [Step::Resume, Step::Resume, Step::Replace]),
            (Look::Successor, [Step::Wait, Step::Wait, Step::Succeed]),
            (Look::Absent, [Step::Stay, Step::Delete, Step::Delete]),
        ];
        for (look, expected) in rows {
            let all = [Known::Nothing, Known::Left, followed(10, 15)];
            for (known, expected) in all.into_iter().zip(expected) {
                assert_eq!(step(known, look), expected, "{known:?} sees {look:?}");
            }
        }
    }

    #[test]
    fn a_failed_look_changes_nothing_whatever_is_known() {
        for why in [Why::Failed, Why::Vanished, Why::RootMissing, Why::OtherDevice] {
            for known in [Known::Nothing, Known::Left, followed(0, 0), followed(10, 15)] {
                assert_eq!(step(known, Look::Unknown(why)), Step::Wait);
            }
        }
    }

    #[test]
    fn nothing_is_taken_from_a_cursor_by_a_look_that_is_out_of_date() {
        for known in [Known::Nothing, Known::Left] {
            for content in [Holds, Differs, NotCompared] {
                assert_eq!(step(known, ours(20, content)), Step::Wait);
            }
        }
    }
}
