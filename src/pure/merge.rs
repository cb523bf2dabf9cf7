//! Which batches of the queue are merged: neighbours, so that the order of the queue stays.

use std::ops::Range;

use crate::limits::{COMPACT_BATCHES_MAX, COMPACT_BYTES_MAX, COMPACT_FROM_BATCHES, COMPACT_GROWTH};

/// What is merged, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeBounds {
    /// Small batches that may wait.
    pub from_batches: u64,
    /// Batches that go into one.
    pub batches_max: usize,
    /// Bytes of one.
    pub bytes_max: u64,
    /// How many times it is at least as large as the largest that goes into it; from 2.
    pub growth: u64,
}

impl Default for MergeBounds {
    fn default() -> Self {
        Self {
            from_batches: COMPACT_FROM_BATCHES,
            batches_max: COMPACT_BATCHES_MAX,
            bytes_max: COMPACT_BYTES_MAX,
            growth: COMPACT_GROWTH,
        }
    }
}

impl MergeBounds {
    /// Whether a batch may be merged with others at all.
    pub fn is_small(&self, bytes: u64) -> bool {
        bytes.saturating_mul(self.growth) <= self.bytes_max
    }

    /// The groups to be merged of files that lie in the queue in this order: how large each is, or None where it must be
    /// left alone. Empty as long as not too many wait. Groups do not overlap, and no file within one is left out.
    pub fn groups(&self, files: &[Option<u64>]) -> Vec<Range<usize>> {
        let is_small = |bytes: &&Option<u64>| bytes.is_some_and(|bytes| self.is_small(bytes));
        if files.iter().filter(is_small).count() as u64 <= self.from_batches {
            return Vec::new();
        }
        let (mut groups, mut at) = (Vec::new(), 0);
        while at < files.len() {
            let end = self.end_of_group(files, at);
            if let Some(end) = end {
                groups.push(at..end);
            }
            at = end.unwrap_or(at + 1);
        }
        groups
    }

    /// Where the longest group ends that begins here.
    fn end_of_group(&self, files: &[Option<u64>], begin: usize) -> Option<usize> {
        let (mut sum, mut largest, mut end) = (0_u64, 0_u64, None);
        for (at, bytes) in files.iter().enumerate().skip(begin).take(self.batches_max) {
            let Some(bytes) = *bytes else { break };
            sum = sum.saturating_add(bytes);
            largest = largest.max(bytes);
            if sum > self.bytes_max {
                break;
            }
            if at > begin && sum >= largest.saturating_mul(self.growth.max(2)) {
                end = Some(at + 1);
            }
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: MergeBounds = MergeBounds {
        from_batches: 4,
        batches_max: 5,
        bytes_max: 100,
        growth: 2,
    };

    fn groups(files: &[u64]) -> Vec<(usize, usize)> {
        // 0 stands for one that is left alone.
        let files: Vec<_> = files.iter().map(|bytes| (*bytes > 0).then_some(*bytes)).collect();
        let groups = BOUNDS.groups(&files).into_iter();
        groups.map(|group| (group.start, group.end)).collect()
    }

    #[test]
    fn neighbours_are_merged_once_too_many_wait() {
        assert_eq!(groups(&[1, 1, 1, 1]), [], "not too many");
        assert_eq!(groups(&[1, 1, 1, 1, 1]), [(0, 5)]);
        assert_eq!(groups(&[1; 12]), [(0, 5), (5, 10), (10, 12)]);
        assert_eq!(groups(&[60, 60, 60, 60, 1]), [], "large ones do not count");
        assert_eq!(
            groups(&[40, 40, 40, 40, 40]),
            [(0, 2), (2, 4)],
            "up to the bytes of one"
        );
    }

    #[test]
    fn nothing_is_merged_across_what_is_left_alone() {
        assert_eq!(groups(&[1, 1, 0, 1, 0, 1, 1, 1]), [(0, 2), (5, 8)]);
        assert_eq!(groups(&[0, 1, 0, 1, 0, 1, 0, 1, 0, 1]), []);
    }

    #[test]
    fn a_large_one_is_not_copied_for_a_few_small_ones() {
        assert_eq!(groups(&[20, 1, 1, 1, 1, 1]), [(1, 6)]);
        assert_eq!(groups(&[1, 1, 1, 1, 20, 1]), [(0, 4)]);
        assert_eq!(groups(&[10, 10, 1, 1, 1]), [(0, 5)]);
    }

    proptest! {
        #[test]
        fn groups_are_neighbours_within_their_bounds_that_grow(
            files in prop::collection::vec(prop::option::weighted(0.9, 0_u64..60), 0..80)
        ) {
            let groups = BOUNDS.groups(&files);
            let mut end = 0;
            for group in &groups {
                prop_assert!(group.start >= end && group.len() >= 2 && group.len() <= BOUNDS.batches_max);
                end = group.end;
                let sizes: Option<Vec<u64>> = files[group.clone()].iter().copied().collect();
                let sizes = sizes.expect("none of them is left alone");
                let sum: u64 = sizes.iter().sum();
                prop_assert!(sum <= BOUNDS.bytes_max);
                prop_assert!(sizes.iter().all(|size| size * BOUNDS.growth <= sum));
            }
        }

        #[test]
        fn however_long_it_goes_on_it_ends_and_each_byte_is_copied_a_few_times(
            mut files in prop::collection::vec(prop::option::weighted(0.95, 1_u64..60), 0..200)
        ) {
            let bytes: u64 = files.iter().flatten().sum();
            let mut copied = 0;
            loop {
                let groups = BOUNDS.groups(&files);
                if groups.is_empty() {
                    break;
                }
                for group in groups.into_iter().rev() {
                    let sum: u64 = files[group.clone()].iter().flatten().sum();
                    copied += sum;
                    files.splice(group, [Some(sum)]);
                }
            }
            // Each copy at least doubles what a byte lies in: from 1 to 100.
            prop_assert!(copied <= 7 * bytes);
        }
    }
}
