//! What `stat` says of a file, as far as that changes whenever the file does.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds, as the filesystem gave them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(i64, u32)", into = "(i64, u32)")]
pub struct Stamp {
    /// Since 1970.
    pub seconds: i64,
    /// Below one second.
    pub nanoseconds: u32,
}

impl Stamp {
    /// As a time; a filesystem's nonsense becomes the nearest time there is.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        let nanoseconds = i32::try_from(self.nanoseconds).unwrap_or(0);
        let nearest = if self.seconds < 0 {
            Timestamp::MIN
        } else {
            Timestamp::MAX
        };
        Timestamp::new(self.seconds, nanoseconds).unwrap_or(nearest)
    }
}

impl From<(i64, u32)> for Stamp {
    fn from((seconds, nanoseconds): (i64, u32)) -> Self {
        Self { seconds, nanoseconds }
    }
}

impl From<Stamp> for (i64, u32) {
    fn from(stamp: Stamp) -> Self {
        (stamp.seconds, stamp.nanoseconds)
    }
}

/// What an inode showed. As long as it shows the same, nothing was written to it, unless that was within one tick of
/// its filesystem's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// Bytes.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Stamp,
    /// Last change of anything. Nobody can set it.
    pub ctime: Stamp,
}

/// What a file showed when everything of it had been captured, if that is known.
///
/// It is no fact of the ledger, and goes with the next one about the file: two states that differ in it alone are equal.
#[derive(Debug, Clone, Copy, Default)]
pub struct CaughtUp(pub Option<Sighting>);

impl PartialEq for CaughtUp {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
