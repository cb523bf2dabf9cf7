//! A clock that only the script moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::Clock;
use crate::limits::PLAYED_MS_MAX;

/// Begins now, and stands still until it is told that time passes.
#[derive(Debug)]
pub(super) struct StageClock {
    begin: Instant,
    /// Near the times of the files, or none of them would count as changed lately.
    begin_utc: Timestamp,
    passed_ms: AtomicU64,
}

impl StageClock {
    pub(super) fn new() -> Self {
        Self {
            begin: Instant::now(),
            begin_utc: Timestamp::now(),
            passed_ms: AtomicU64::new(0),
        }
    }

    /// Lets time pass; at [`PLAYED_MS_MAX`] it stands still for good.
    pub(super) fn pass(&self, ms: u64) {
        let passed = self.passed_ms.load(Ordering::Relaxed).saturating_add(ms);
        self.passed_ms.store(passed.min(PLAYED_MS_MAX), Ordering::Relaxed);
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.passed_ms.load(Ordering::Relaxed))
    }
}

impl Clock for StageClock {
    fn now(&self) -> Instant {
        self.begin + self.passed()
    }

    fn utc(&self) -> Timestamp {
        self.begin_utc + self.passed()
    }
}
