//! The bytes of a file on the simulated disk: as they were written, and as the medium holds them.

use std::collections::BTreeSet;
use std::ops::Range;

use fastrand::Rng;

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    /// As processes see it.
    pub(super) written: Vec<u8>,
    /// As the medium holds it.
    pub(super) synced: Vec<u8>,
    /// Sectors that a failed sync has dropped: they count as synced and are not, until they are written again.
    pub(super) dropped: BTreeSet<usize>,
}

/// Bytes that a medium writes at once.
pub(super) const SECTOR_BYTES: usize = 512;

impl Content {
    pub(super) fn touch(&mut self, from: usize, to: usize) {
        self.dropped
            .retain(|sector| sector * SECTOR_BYTES >= to || (sector + 1) * SECTOR_BYTES <= from);
    }

    /// What a sync makes durable.
    pub(super) fn durable(&self) -> Vec<u8> {
        let mut bytes = self.written.clone();
        for sector in &self.dropped {
            let place = sector_of(*sector, bytes.len());
            let old = &self.synced[sector_of(*sector, self.synced.len())];
            let kept = old.len().min(place.len());
            bytes[place.clone()].fill(0);
            bytes[place.start..place.start + kept].copy_from_slice(&old[..kept]);
        }
        bytes
    }

    /// Sectors of which the medium holds something else.
    pub(super) fn unsynced(&self) -> impl Iterator<Item = usize> {
        let sectors = 0..self.written.len().div_ceil(SECTOR_BYTES);
        sectors.filter(|sector| {
            let place = sector_of(*sector, self.written.len());
            self.synced.get(place.clone()) != Some(&self.written[place])
        })
    }

    /// The synced bytes, and half of those that were written since.
    pub(super) fn half_synced(&self) -> Vec<u8> {
        let same = self.synced.len().min(self.written.len());
        let end = same + (self.written.len() - same) / 2;
        self.written[..end].to_vec()
    }

    /// What a loss of power leaves, as the dice say.
    pub(super) fn drawn(&self, dice: &mut Rng) -> Vec<u8> {
        let (synced, written) = (self.synced.len(), self.written.len());
        let (shorter, longer) = (synced.min(written), synced.max(written));
        let length = match dice.usize(0..4) {
            0 => synced,
            1 => written,
            2 => shorter + dice.usize(0..=longer - shorter),
            // Allocated by sectors.
            _ => shorter.max(longer - longer % SECTOR_BYTES),
        };
        let all_or_none = dice.usize(0..3);
        let mut bytes = self.synced.clone();
        bytes.resize(longer, 0);
        for sector in 0..written.div_ceil(SECTOR_BYTES) {
            let place = sector_of(sector, written);
            let is_new = match all_or_none {
                0 => true,
                1 => false,
                _ => dice.bool(),
            };
            if is_new && !self.dropped.contains(&sector) {
                bytes[place.clone()].copy_from_slice(&self.written[place]);
            }
        }
        bytes.truncate(length);
        bytes
    }
}

pub(super) fn sector_of(sector: usize, length: usize) -> Range<usize> {
    let start = sector * SECTOR_BYTES;
    start.min(length)..(start + SECTOR_BYTES).min(length)
}
