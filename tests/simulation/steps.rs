//! What can happen in a simulation, by chance.

use tailspool::disk::Fault;

use super::dice::Dice;
use super::writers::Deed;

/// One thing that happens. What else is drawn for it comes from `seed` when it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    pub(crate) seed: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Deed(Deed),
    /// Everything is looked at and committed.
    Look,
    /// A part of that, with or without a commit.
    Part,
    /// Something goes wrong at one of the next operations of the disk, in a look.
    FaultyLook,
    /// The process is killed, or the machine loses power.
    Crash,
    /// A good end and a new start.
    Restart,
    /// Time goes by.
    Pass,
    /// A reader takes some records.
    Drain,
    /// Its output breaks off.
    BrokenDrain,
    /// Another reader comes while one is at work.
    DrainBeside,
    /// Something goes wrong at one of the next operations of the disk, in a drain.
    FaultyDrain,
}

/// How often each happens, out of the sum.
const WEIGHTS: [(Kind, usize); 25] = [
    (Kind::Deed(Deed::Append), 16),
    (Kind::Deed(Deed::Burst), 2),
    (Kind::Deed(Deed::Piece), 6),
    (Kind::Deed(Deed::Rest), 5),
    (Kind::Deed(Deed::Rotate), 3),
    (Kind::Deed(Deed::Move), 3),
    (Kind::Deed(Deed::Unlink), 2),
    (Kind::Deed(Deed::WriteOn), 3),
    (Kind::Deed(Deed::CopyTruncate), 2),
    (Kind::Deed(Deed::Truncate), 2),
    (Kind::Deed(Deed::Regrow), 2),
    (Kind::Deed(Deed::Rewrite), 3),
    (Kind::Deed(Deed::Save), 3),
    (Kind::Deed(Deed::Replace), 2),
    (Kind::Deed(Deed::Recreate), 2),
    (Kind::Look, 14),
    (Kind::Part, 6),
    (Kind::FaultyLook, 10),
    (Kind::Crash, 4),
    (Kind::Restart, 2),
    (Kind::Pass, 4),
    (Kind::Drain, 6),
    (Kind::BrokenDrain, 3),
    (Kind::DrainBeside, 2),
    (Kind::FaultyDrain, 3),
];

/// What can go wrong at an operation of the disk.
pub(crate) const FAULTS: [Fault; 9] = [
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::CrashInside,
    Fault::CrashInside,
    Fault::Eio,
    Fault::Full,
    Fault::Short,
    Fault::Interrupted,
    Fault::SyncLies,
];

/// Draws so many steps.
pub(crate) fn steps(dice: &mut Dice, count: usize) -> Vec<Step> {
    let mut one = || Step {
        kind: dice.weighted(&WEIGHTS),
        seed: dice.next(),
    };
    (0..count).map(|_| one()).collect()
}
