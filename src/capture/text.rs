//! The envelopes of a batch: some are written, some are being written by another thread.

use super::encoder::{Awaited, Encoder, Theirs};
use super::rooms::Rooms;
use super::stretch::Stretch;
use super::written::{Place, Written};
use crate::error::Error;
use crate::pure::record::Pieces;

/// Envelopes, a line each.
#[derive(Default)]
pub(super) struct Text {
    ours: Written,
    /// Where in `ours` each stretch belongs that was handed over.
    before: Vec<Place>,
    awaited: Option<Awaited>,
    theirs: Theirs,
    /// About how many bytes the stretches have that were handed over.
    theirs_bytes: usize,
}

impl Text {
    /// Written into these rooms.
    pub(super) fn new(rooms: Rooms) -> Self {
        Self {
            ours: Written::new(rooms),
            ..Self::default()
        }
    }

    /// About how many bytes there are.
    pub(super) fn bytes(&self) -> usize {
        self.ours.bytes() + self.theirs_bytes
    }

    /// Where the next envelope is written.
    pub(super) fn end(&mut self) -> &mut Written {
        &mut self.ours
    }

    /// Adds the envelopes of a stretch.
    pub(super) fn push(&mut self, stretch: &Stretch<&[u8]>, encoder: &mut Encoder) {
        match encoder.hand_over(stretch) {
            Some(expected_bytes) => {
                self.before.push(self.ours.place());
                self.theirs_bytes += expected_bytes;
            }
            None => stretch.encode(&mut self.ours),
        }
    }

    /// Asks for what was handed over. Nothing is added any more.
    pub(super) fn close(&mut self, encoder: &mut Encoder) {
        if self.awaited.is_none() && self.theirs.ends.len() < self.before.len() {
            self.awaited = Some(encoder.hand_back());
        }
    }

    /// Waits for what was asked for.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if let Some(awaited) = self.awaited.take() {
            self.theirs = awaited.wait()?;
            self.theirs_bytes = self.theirs.written.bytes();
        }
        Ok(())
    }

    /// All of it, once it is settled, in pieces that may end within an envelope.
    pub(super) fn pieces(&self) -> Vec<&[u8]> {
        let mut pieces = Vec::new();
        let (mut of_ours, mut of_theirs) = (Place::default(), Place::default());
        for (before, end) in self.before.iter().zip(&self.theirs.ends) {
            pieces.extend(self.ours.between(of_ours, *before));
            pieces.extend(self.theirs.written.between(of_theirs, *end));
            (of_ours, of_theirs) = (*before, *end);
        }
        pieces.extend(self.ours.between(of_ours, self.ours.place()));
        pieces
    }

    /// This text, and what came after it.
    pub(super) fn joined(mut self, mut next: Self) -> Result<Self, Error> {
        self.settle()?;
        next.settle()?;
        let all = [self.pieces(), next.pieces()].concat().concat();
        self.clear();
        self.ours.piece().extend_from_slice(&all);
        Ok(self)
    }

    /// The memory goes back to the rooms.
    pub(super) fn clear(&mut self) {
        self.ours.clear();
        self.theirs.written.clear();
        self.before.clear();
        self.awaited = None;
        self.theirs.ends.clear();
        self.theirs_bytes = 0;
    }

    /// Gives back what a backlog took. Nothing is in it.
    pub(super) fn rest(&mut self) {
        self.before = Vec::new();
        self.theirs = Theirs::default();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use ulid::Ulid;

    use super::super::overlap::Overlap;
    use super::*;
    use crate::limits::{ROOM_BYTES, ROOM_FULL_BYTES};
    use crate::pure::lines::lines;
    use crate::pure::record::{Ending, Envelopes};

    fn stretch(text: &str, first: u128) -> Stretch<&[u8]> {
        let lines = text.split_terminator('\n').filter(|line| !line.is_empty()).count();
        Stretch {
            bytes: text.as_bytes(),
            offset: 10,
            number: Some(3),
            first: Ulid(first),
            records: u32::try_from(lines).unwrap(),
            envelopes: Arc::new(Envelopes::default()),
            appended_at: "T".into(),
        }
    }

    /// What a text holds whose stretches were taken so; some lines are written here between them.
    fn text_of(overlap: Overlap, texts: &[String]) -> Vec<u8> {
        let mut encoder = Encoder::new(overlap, Rooms::default());
        let mut text = Text::default();
        for (number, lines) in texts.iter().enumerate() {
            if number % 3 == 1 {
                text.end().piece().extend_from_slice(b"between\n");
            }
            text.push(&stretch(lines, number as u128 * 1000), &mut encoder);
        }
        text.close(&mut encoder);
        text.settle().unwrap();
        text.pieces().concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whoever_writes_the_envelopes_they_are_the_same(
            texts in prop::collection::vec("([a\"\\\\\u{0}]{0,30}\n){0,4}", 0..20),
        ) {
            let here = text_of(Overlap::Never, &texts);
            prop_assert_eq!(&text_of(Overlap::Late, &texts), &here);
            prop_assert_eq!(&text_of(Overlap::Thread, &texts), &here);
        }
    }

    #[test]
    fn a_text_is_used_again_and_joined_with_the_next_one() {
        let mut encoder = Encoder::new(Overlap::Late, Rooms::default());
        let mut write = |mut text: Text, lines: &str| {
            text.push(&stretch(lines, 7), &mut encoder);
            text.close(&mut encoder);
            text
        };
        let mut first = write(Text::default(), "one\n");
        first.settle().unwrap();
        let one = first.pieces().concat();
        first.clear();
        assert_eq!((first.bytes(), first.pieces().len()), (0, 0));
        let both = write(first, "one\n").joined(write(Text::default(), "one\n")).unwrap();
        assert_eq!(both.pieces().concat(), [&one[..], &one[..]].concat());
        let three = write(both, "one\n").joined(Text::default()).unwrap();
        assert_eq!(three.pieces().concat(), one.repeat(3));
        assert_eq!(three.bytes(), 3 * one.len());
    }

    #[test]
    fn long_lines_go_through_pieces_that_do_not_grow() {
        let line = "é\"x\\".repeat(ROOM_FULL_BYTES / 2);
        let texts = vec![
            format!("a\n{line}\nb\n"),
            "c\n".into(),
            format!("{line}\n"),
            format!("{line}\n"),
        ];
        let mut whole = Vec::new();
        for (number, text) in texts.iter().enumerate() {
            if number % 3 == 1 {
                whole.extend_from_slice(b"between\n");
            }
            let stretch = stretch(text, number as u128 * 1000);
            for (line, ulid) in lines(stretch.bytes, stretch.offset, stretch.number).zip(stretch.first.0..) {
                let (envelopes, at) = (&stretch.envelopes, &stretch.appended_at);
                envelopes.push(&mut whole, Ulid(ulid), at, &line, Ending::NEWLINE);
            }
        }
        assert!(whole.len() > 10 * ROOM_FULL_BYTES);
        assert!(text_of(Overlap::Never, &texts) == whole);
        assert!(text_of(Overlap::Late, &texts) == whole);
        let mut written = Written::default();
        for text in &texts {
            stretch(text, 1).encode(&mut written);
        }
        for piece in written.between(Place::default(), written.place()) {
            assert!(piece.len() <= ROOM_BYTES, "{}", piece.len());
        }
    }

    #[test]
    fn bytes_beyond_those_expected_are_told() {
        let mut encoder = Encoder::new(Overlap::Thread, Rooms::default());
        encoder.has_core_for_tests();
        let mut text = Text::default();
        // Six bytes each, escaped.
        text.push(&stretch(&("\0".repeat(100_000) + "\n"), 1), &mut encoder);
        let expected = text.bytes();
        while encoder.surplus_bytes() == 0 {
            std::thread::yield_now();
        }
        let known = expected + encoder.surplus_bytes();
        text.close(&mut encoder);
        assert_eq!(encoder.surplus_bytes(), 0, "the next batch begins");
        text.settle().unwrap();
        assert_eq!(text.bytes(), known);
        assert!(known > 600_000);
    }
}
