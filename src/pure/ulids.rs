//! ULIDs that only ever rise.

use ulid::Ulid;

/// Gives out ULIDs, each above the one before and above everything that this home gave out earlier.
///
/// A clock that stands still or steps back only means that the random part counts up, so order never
/// depends on the clock (RFC 9562, section 6.2, calls this a monotonic random counter).
pub struct Ulids {
    last: Ulid,
    random: Box<dyn FnMut() -> u128 + Send>,
}

impl Ulids {
    /// Goes on above `high_water`; `random` gives the random parts.
    pub fn above(high_water: Ulid, random: Box<dyn FnMut() -> u128 + Send>) -> Self {
        Self {
            last: high_water,
            random,
        }
    }

    /// A ULID of this Unix millisecond, or the next one after the last when that is higher.
    pub fn fresh(&mut self, unix_ms: u64) -> Ulid {
        let next = self.next();
        let drawn = Ulid::from_parts(unix_ms, (self.random)());
        // Only a new millisecond is drawn: within one, a draw above the last would leave gaps for nothing.
        self.last = if unix_ms > next.timestamp_ms() { drawn } else { next };
        self.last
    }

    /// The one after the last.
    pub fn following(&mut self) -> Ulid {
        self.last = self.next();
        self.last
    }

    /// The last of as many more.
    pub fn skip(&mut self, more: u32) -> Ulid {
        self.last = Ulid(self.last.0.saturating_add(more.into()));
        self.last
    }

    fn next(&self) -> Ulid {
        Ulid(self.last.0.saturating_add(1))
    }
}

/// 80 random bits from the operating system's generator.
#[must_use]
pub fn system_random() -> Box<dyn FnMut() -> u128 + Send> {
    Box::new(|| Ulid::new().random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulids_rise_whatever_the_clock_does() {
        let mut draws = 0_u128;
        let random = move || {
            draws += 0x1234_5678_9abc;
            draws
        };
        let mut ulids = Ulids::above(Ulid::from_parts(1000, 5), Box::new(random));
        let mut last = Ulid::from_parts(1000, 5);
        for unix_ms in [900, 1000, 1000, 2000, 1999, 0, 2001, 2001] {
            for ulid in [ulids.fresh(unix_ms), ulids.following()] {
                assert!(ulid > last, "{ulid} after {last}");
                last = ulid;
            }
        }
        assert_eq!(last.timestamp_ms(), 2001);
    }

    #[test]
    fn the_one_after_the_last_is_one_higher() {
        let mut ulids = Ulids::above(Ulid::nil(), Box::new(|| (1 << 80) - 1));
        let first = ulids.fresh(7);
        assert_eq!(
            ulids.following().0,
            first.0 + 1,
            "the random part carries into the time"
        );
    }
}
