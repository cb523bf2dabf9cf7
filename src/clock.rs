//! Time as a value that tests can own.

use std::time::Instant;

use jiff::Timestamp;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Monotonic time, for waits and intervals.
    fn now(&self) -> Instant;

    /// The time of day, for what is written down. Nothing is ever ordered by it.
    fn utc(&self) -> Timestamp;

    /// The time of day in Unix milliseconds, 0 before 1970.
    fn unix_ms(&self) -> u64 {
        u64::try_from(self.utc().as_millisecond()).unwrap_or(0)
    }
}

/// The operating system's clocks.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn utc(&self) -> Timestamp {
        Timestamp::now()
    }
}
