//! Envelopes that one thread has written, in pieces that do not grow.

use super::rooms::Rooms;
use crate::limits::ROOM_FULL_BYTES;
use crate::pure::record::Pieces;

/// Envelopes, one behind the other, in pieces of which each but the last is full. A piece may end within an envelope.
#[derive(Default)]
pub(super) struct Written {
    pieces: Vec<Vec<u8>>,
    /// Of all pieces but the last.
    full_bytes: usize,
    rooms: Rooms,
}

/// A place between two envelopes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    piece: usize,
    at: usize,
}

impl Written {
    pub(super) fn new(rooms: Rooms) -> Self {
        Self {
            rooms,
            ..Self::default()
        }
    }

    /// Behind the last envelope.
    pub(super) fn place(&self) -> Place {
        Place {
            piece: self.pieces.len().saturating_sub(1),
            at: self.pieces.last().map_or(0, Vec::len),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.full_bytes + self.pieces.last().map_or(0, Vec::len)
    }

    /// What stands between two places, in pieces, none of them empty.
    pub(super) fn between(&self, from: Place, to: Place) -> impl Iterator<Item = &[u8]> {
        let pieces = self.pieces.iter().enumerate();
        pieces
            .take(to.piece + 1)
            .skip(from.piece)
            .filter_map(move |(number, piece)| {
                let begin = if number == from.piece { from.at } else { 0 };
                let end = if number == to.piece { to.at } else { piece.len() };
                piece.get(begin..end).filter(|between| !between.is_empty())
            })
    }

    pub(super) fn clear(&mut self) {
        for piece in self.pieces.drain(..) {
            self.rooms.give(piece);
        }
        self.full_bytes = 0;
    }
}

impl Pieces for Written {
    fn piece(&mut self) -> &mut Vec<u8> {
        let last_bytes = self.pieces.last().map_or(0, Vec::len);
        if self.pieces.is_empty() || last_bytes >= ROOM_FULL_BYTES {
            self.full_bytes += last_bytes;
            self.pieces.push(self.rooms.take());
        }
        let last = self.pieces.len() - 1;
        &mut self.pieces[last]
    }
}
