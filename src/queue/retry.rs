//! When a batch that failed is tried again.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::time::{Duration, Instant};

use crate::limits::RETRY_DELAYS;

/// The batches that failed, and when each of them is due again: after 60, 120, and then always 240 s.
///
/// Nothing is ever given up because its reader is down.
#[derive(Debug, Default)]
pub struct Retries {
    waiting: BTreeMap<OsString, Waiting>,
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    failures: usize,
    due: Instant,
}

impl Retries {
    /// Whether a batch may be tried now.
    pub fn is_due(&self, name: &OsStr, now: Instant) -> bool {
        self.waiting.get(name).is_none_or(|waiting| waiting.due <= now)
    }

    /// A batch was tried and failed; returns how long it waits.
    pub fn failed(&mut self, name: &OsStr, now: Instant) -> Duration {
        let failures = self.waiting.get(name).map_or(0, |waiting| waiting.failures);
        let delay = RETRY_DELAYS[failures.min(RETRY_DELAYS.len() - 1)];
        let waiting = Waiting {
            failures: failures + 1,
            due: now + delay,
        };
        self.waiting.insert(name.to_owned(), waiting);
        delay
    }

    /// Whether a batch failed before.
    pub fn knows(&self, name: &OsStr) -> bool {
        self.waiting.contains_key(name)
    }

    /// Forgets all batches but these.
    pub fn retain(&mut self, stays: impl Fn(&OsStr) -> bool) {
        self.waiting.retain(|name, _| stays(name));
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.values().map(|waiting| waiting.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_waits_one_two_and_then_always_four_minutes() {
        let (name, other) = (OsStr::new("a"), OsStr::new("b"));
        let mut retries = Retries::default();
        let mut now = Instant::now();
        assert!(retries.is_due(name, now));
        for seconds in [60, 120, 240, 240, 240] {
            let delay = Duration::from_secs(seconds);
            assert_eq!(retries.failed(name, now), delay);
            assert_eq!(retries.next_due(), Some(now + delay));
            assert!(!retries.is_due(name, now + delay.mul_f64(0.99)));
            assert!(retries.is_due(other, now), "the others do not wait for it");
            now += delay;
            assert!(retries.is_due(name, now));
        }
        retries.retain(|_| false);
        assert_eq!(retries.failed(name, now), Duration::from_secs(60), "it begins anew");
    }
}
