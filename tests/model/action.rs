//! What can happen to a tree and to the capture that watches it, by chance.

use super::dice::Dice;

/// One thing that happens. What it happens to is drawn anew from `seed` when it does, so that it still makes sense
/// when others before it are dropped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole lines are appended, some of them blank, to a log or to one that was renamed away.
    Append,
    /// A piece of a line is appended, cut anywhere, or all of it but the newline.
    Piece,
    /// What is missing of a line comes, sometimes with more.
    Rest,
    /// A log gets the name of another log, which may stand already.
    Move,
    /// A log gets a name that is none of a log.
    Away,
    /// What has no log's name gets one.
    Back,
    /// Two logs change places.
    Swap,
    /// Each log gets the name of the next, and the first one is made anew.
    Chain,
    /// A new file takes the place of a log: with more, with other, or with less content.
    Save,
    /// A log is cut somewhere.
    Truncate,
    /// A log is cut and grows past its old size.
    Regrow,
    /// A line is changed in place: the size stays.
    Rewrite,
    /// A line becomes longer: what follows moves.
    Lengthen,
    Delete,
    /// A log is deleted and made again at once.
    Recreate,
    /// What was deleted comes back, with more.
    Restore,
    /// A log gets another name beside its own.
    Link,
    Copy,
    /// Opening a log, or listing a directory, fails from now on.
    Fail,
    /// What failed does so no more.
    Heal,
    Look,
    Pass,
    Restart,
    Crash,
}

/// How often each happens, out of the sum.
const WEIGHTS: [(Kind, usize); 24] = [
    (Kind::Append, 14),
    (Kind::Piece, 6),
    (Kind::Rest, 5),
    (Kind::Move, 3),
    (Kind::Away, 3),
    (Kind::Back, 3),
    (Kind::Swap, 2),
    (Kind::Chain, 2),
    (Kind::Save, 6),
    (Kind::Truncate, 3),
    (Kind::Regrow, 2),
    (Kind::Rewrite, 5),
    (Kind::Lengthen, 2),
    (Kind::Delete, 3),
    (Kind::Recreate, 2),
    (Kind::Restore, 3),
    (Kind::Link, 2),
    (Kind::Copy, 1),
    (Kind::Fail, 2),
    (Kind::Heal, 2),
    (Kind::Look, 30),
    (Kind::Pass, 5),
    (Kind::Restart, 2),
    (Kind::Crash, 2),
];

impl Kind {
    /// Whether it leaves every line that was written the only one of its bytes, and at its place.
    pub(crate) fn keeps_lines(self) -> bool {
        !matches!(
            self,
            Self::Save
                | Self::Truncate
                | Self::Regrow
                | Self::Rewrite
                | Self::Lengthen
                | Self::Recreate
                | Self::Restore
                | Self::Copy
        )
    }
}

/// A list of so many actions.
pub(crate) fn list(dice: &mut Dice, length: usize) -> Vec<Action> {
    let mut one = || Action {
        kind: dice.weighted(&WEIGHTS),
        seed: dice.next(),
    };
    (0..length).map(|_| one()).collect()
}
