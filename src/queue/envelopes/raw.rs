//! Room for raw lines, used again: fresh memory would cost as much as what is done with it.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::RAW_HELD_BYTES_MAX;

/// Rooms that batches left for those that follow.
#[derive(Clone, Default)]
pub(in crate::queue) struct RawRooms(Arc<Mutex<Vec<Vec<u8>>>>);

/// Raw lines. Dropping it gives its room back.
#[derive(Default)]
pub(super) struct Raw {
    /// What is behind `filled` says nothing.
    bytes: Vec<u8>,
    filled: usize,
    rooms: RawRooms,
}

impl Raw {
    pub(super) fn new(rooms: RawRooms) -> Self {
        let kept = rooms.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self {
            bytes: kept.unwrap_or_default(),
            filled: 0,
            rooms,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Has room for so many bytes, exactly.
    pub(super) fn expect(&mut self, bytes: usize) {
        if self.bytes.len() < bytes {
            // Nothing of the old one is to be copied.
            self.bytes = Vec::new();
            self.bytes = vec![0; bytes];
        }
    }

    /// Room behind the lines for so many bytes more, or more than that.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.filled + bytes;
        if self.bytes.len() < end {
            self.bytes.resize(end.max(self.bytes.len() + self.bytes.len() / 2), 0);
        }
        &mut self.bytes[self.filled..]
    }

    /// So many bytes of the room are lines now.
    pub(super) fn fill(&mut self, bytes: usize) {
        self.filled += bytes;
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.room(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.fill(bytes.len());
    }

    pub(super) fn truncate(&mut self, bytes: usize) {
        self.filled = self.filled.min(bytes);
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let room = std::mem::take(&mut self.bytes);
        if !room.is_empty() && room.len() <= 2 * RAW_HELD_BYTES_MAX {
            self.rooms.0.lock().unwrap_or_else(PoisonError::into_inner).push(room);
        }
    }
}
