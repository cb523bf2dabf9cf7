//! Memory that is used again: pieces that the threads of a capture fill and hand on to each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{IDLE_ROOM_BYTES, ROOM_BYTES, ROOMS_MAX};

/// Empty pieces of memory. The one that was given back last is taken first, since it may be in the processor's cache still.
#[derive(Debug, Clone, Default)]
pub(super) struct Rooms(Arc<Mutex<Vec<Vec<u8>>>>);

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An empty piece.
    pub(super) fn take(&self) -> Vec<u8> {
        let kept = self.lock().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(ROOM_BYTES))
    }

    /// An empty piece for so many bytes.
    pub(super) fn take_for(&self, bytes: usize) -> Vec<u8> {
        if bytes > ROOM_BYTES {
            return Vec::with_capacity(bytes);
        }
        self.take()
    }

    /// One that has grown is not kept: all of it would be memory as soon as it was written to.
    pub(super) fn give(&self, mut room: Vec<u8>) {
        if room.capacity() > ROOM_BYTES || room.capacity() == 0 {
            return;
        }
        room.clear();
        let mut rooms = self.lock();
        if rooms.len() < ROOMS_MAX {
            rooms.push(room);
        }
    }

    /// Gives back to the system what a backlog took.
    pub(super) fn rest(&self) {
        let mut rooms = self.lock();
        rooms.truncate(1);
        rooms.shrink_to(1);
        for room in &mut *rooms {
            room.shrink_to(IDLE_ROOM_BYTES);
        }
    }
}
