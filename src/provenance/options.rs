//! What can be set of a provenance writer.

use std::time::Duration;

use crate::limits::{
    PROVENANCE_BACKOFF_MAX, PROVENANCE_BACKOFF_MIN, PROVENANCE_BATCHES_MAX, PROVENANCE_BYTES_MAX,
    PROVENANCE_CALL_PAIRS_MAX, PROVENANCE_COALESCE, PROVENANCE_PAIRS_MAX, PROVENANCE_STOP_GRACE, PROVENANCE_TIMEOUT,
    SPILL_BYTES_MAX,
};

/// Bounds and times of a provenance writer; the defaults are those of [`crate::limits`].
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long the oldest pair waits for others to go to the store with it.
    pub coalesce: Duration,
    /// Batches that wait in memory; more go to disk.
    pub batches_max: usize,
    /// Pairs that wait in memory; more go to disk.
    pub pairs_max: usize,
    /// Bytes that wait in memory; more go to disk.
    pub bytes_max: usize,
    /// Pairs that the store is given in one call; at least 1.
    pub call_pairs_max: usize,
    /// Bytes of spill files that are not with the store yet; then memory fills, and `enqueue` refuses.
    pub spill_bytes_max: u64,
    /// First wait after a failure; it doubles.
    pub backoff_min: Duration,
    /// Longest wait after a failure.
    pub backoff_max: Duration,
    /// How long dropping the writer waits for the store.
    pub timeout: Duration,
    /// How much longer a stop waits for the disk.
    pub stop_grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            coalesce: PROVENANCE_COALESCE,
            batches_max: PROVENANCE_BATCHES_MAX,
            pairs_max: PROVENANCE_PAIRS_MAX,
            bytes_max: PROVENANCE_BYTES_MAX,
            call_pairs_max: PROVENANCE_CALL_PAIRS_MAX,
            spill_bytes_max: SPILL_BYTES_MAX,
            backoff_min: PROVENANCE_BACKOFF_MIN,
            backoff_max: PROVENANCE_BACKOFF_MAX,
            timeout: PROVENANCE_TIMEOUT,
            stop_grace: PROVENANCE_STOP_GRACE,
        }
    }
}

/// The waits after failures in a row.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            next: options.backoff_min.min(options.backoff_max),
            max: options.backoff_max,
        }
    }

    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = now.saturating_mul(2).min(self.max);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(&Options::default());
        let waits: Vec<_> = (0..9).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
