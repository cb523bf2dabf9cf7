//! How long what was taken waits for its commit.

use std::time::Duration;

use crate::limits::{COMMIT_INTERVAL_MAX, COMMIT_PACE_FROM_BATCHES, COMMIT_PACE_TO_BATCHES};

/// Least time between two commits, unless a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CommitPace {
    /// None while few files wait unread in the queue; up to 100 ms the more there are, so that many small ones do not
    /// pile up. What counts is what a reader has to open: batches, and single records with
    /// [`Layout::Record`](crate::queue::outgoing::Layout::Record). While a source has more at once it is always 100 ms,
    /// so that a backlog is read in large batches, and what comes meanwhile is still soon durable.
    #[default]
    Auto,
    /// Always this.
    Fixed(Duration),
}

impl CommitPace {
    /// The time with so many files unread. `more`: the source has more at once.
    pub fn interval(self, unread_files: u64, more: bool) -> Duration {
        match self {
            Self::Fixed(interval) => interval,
            Self::Auto if more => COMMIT_INTERVAL_MAX,
            Self::Auto => {
                let span = COMMIT_PACE_TO_BATCHES - COMMIT_PACE_FROM_BATCHES;
                let above = unread_files.saturating_sub(COMMIT_PACE_FROM_BATCHES.into());
                let above = u32::try_from(above).unwrap_or(span).min(span);
                COMMIT_INTERVAL_MAX * above / span
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_follow_each_other_at_once_until_too_much_waits_unread() {
        for (unread_files, micros) in [
            (0, 0),
            (1, 0),
            (255, 0),
            (256, 0),
            (257, 26),
            (1216, 25_000),
            (2176, 50_000),
            (4095, 99_973),
            (4096, 100_000),
            (4097, 100_000),
            (1 << 32, 100_000),
            (u64::MAX, 100_000),
        ] {
            let interval = CommitPace::Auto.interval(unread_files, false);
            assert_eq!(interval.as_micros(), micros, "{unread_files}");
            assert_eq!(CommitPace::Auto.interval(unread_files, true), COMMIT_INTERVAL_MAX);
        }
    }

    #[test]
    fn a_fixed_time_is_kept_whatever_waits() {
        for interval in [Duration::ZERO, Duration::from_millis(250)] {
            for unread_files in [0, 4096, u64::MAX] {
                for more in [false, true] {
                    assert_eq!(CommitPace::Fixed(interval).interval(unread_files, more), interval);
                }
            }
        }
    }
}
