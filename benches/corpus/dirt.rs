//! What goes wrong in real logs, done to some files of a corpus.

use fastrand::Rng;

use super::draw::scaled;
use super::tree::{Planned, What};

/// One mishap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dirt {
    /// A torn record, and the next one on the same line.
    Splice,
    /// Two whole records on one line.
    Joined,
    /// A line of so many NULs.
    Nuls(usize),
    /// NULs behind the last newline.
    NulTail,
    /// The last line has no newline.
    Unfinished,
    Blank,
    /// A line that is no UTF-8.
    Foreign,
    /// Every line ends with CR and LF.
    Returns,
}

/// How often, in 1 GiB.
const DIRT: [(Dirt, usize); 9] = [
    (Dirt::Splice, 6),
    (Dirt::Joined, 2),
    (Dirt::Nuls(500), 1),
    (Dirt::Nuls(9000), 1),
    (Dirt::NulTail, 1),
    (Dirt::Unfinished, 3),
    (Dirt::Blank, 5),
    (Dirt::Foreign, 1),
    (Dirt::Returns, 1),
];
const NUL_TAIL_BYTES: usize = 143_000;
/// Sizes of the files that it is done to.
const FILE_BYTES: std::ops::Range<usize> = 20_000..2_000_000;

impl Dirt {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Splice => "splice",
            Self::Joined => "joined",
            Self::Nuls(_) => "nuls",
            Self::NulTail => "nul tail",
            Self::Unfinished => "unfinished",
            Self::Blank => "blank",
            Self::Foreign => "not utf-8",
            Self::Returns => "crlf",
        }
    }

    /// Does it to the lines of a log.
    pub(crate) fn soil(self, bytes: &mut Vec<u8>, seed: u64) {
        let mut rng = Rng::with_seed(seed ^ 0x6469_7274);
        let ends: Vec<usize> = memchr::memchr_iter(b'\n', bytes).collect();
        if ends.len() < 4 {
            return;
        }
        let line = rng.usize(1..ends.len() - 1);
        let (begin, end) = (ends[line - 1] + 1, ends[line]);
        match self {
            Self::Splice => drop(bytes.drain(begin + (end - begin) / 2..=end)),
            Self::Joined => drop(bytes.remove(end)),
            Self::Nuls(count) => drop(bytes.splice(begin..begin, vec![0; count].into_iter().chain([b'\n']))),
            Self::NulTail => bytes.resize(bytes.len() + NUL_TAIL_BYTES, 0),
            Self::Unfinished => drop(bytes.pop()),
            Self::Blank => bytes.insert(begin, b'\n'),
            Self::Foreign => bytes[begin + (end - begin) / 2..][..3].copy_from_slice(b"\xff\xc3\x28"),
            Self::Returns => {
                *bytes = bytes
                    .split_inclusive(|byte| *byte == b'\n')
                    .flat_map(with_return)
                    .collect();
            }
        }
    }
}

fn with_return(line: &[u8]) -> impl Iterator<Item = u8> {
    let (text, end): (_, &[u8]) = line.strip_suffix(b"\n").map_or((line, b""), |text| (text, b"\r\n"));
    text.iter().chain(end).copied()
}

/// What is done to which file of a plan; at most one thing to each.
pub(crate) fn spread(plan: &[Planned], total: usize, seed: u64) -> Vec<Option<Dirt>> {
    let mut rng = Rng::with_seed(seed ^ 0x7370_7264);
    let mut dirt = vec![None; plan.len()];
    let takes =
        |file: &Planned| FILE_BYTES.contains(&file.size) && matches!(file.what, What::Claude(..) | What::Codex(..));
    let mut places: Vec<usize> = (0..plan.len()).filter(|at| takes(&plan[*at])).collect();
    rng.shuffle(&mut places);
    let all = DIRT
        .iter()
        .flat_map(|(kind, count)| std::iter::repeat_n(*kind, scaled(*count, total)));
    for (at, kind) in places.into_iter().zip(all) {
        dirt[at] = Some(kind);
    }
    dirt
}
