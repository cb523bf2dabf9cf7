//! Lines that come in pieces are the lines of the whole, each at its place.

use tailspool::pure::lines::{lines, whole};

use super::data::Data;

pub(crate) fn run(bytes: &[u8]) {
    let mut data = Data::new(bytes);
    let (begin, cuts) = (data.number() / 2, data.text());
    let text = data.rest();

    let mut expected = Vec::new();
    let mut start = 0;
    for (at, byte) in text.iter().enumerate() {
        if *byte == b'\n' {
            let number = expected.len() as u64 + 1;
            expected.push((begin + start as u64, Some(number), text[start..at].to_vec()));
            start = at + 1;
        }
    }

    let (mut found, mut held, mut offset) = (Vec::new(), Vec::new(), begin);
    let mut left = text;
    for length in cuts.iter().map(|cut| usize::from(*cut)).chain([usize::MAX]) {
        let piece;
        (piece, left) = left.split_at(length.min(left.len()));
        held.extend_from_slice(piece);
        let length = whole(&held);
        let ended: Vec<_> = held.drain(..length).collect();
        for line in lines(&ended, offset, Some(found.len() as u64 + 1)) {
            assert_eq!(line.end(), line.offset + line.bytes.len() as u64 + 1);
            found.push((line.offset, line.number, line.bytes.to_vec()));
        }
        offset += ended.len() as u64;
    }
    assert_eq!(found, expected);
    assert_eq!(held, &text[start..], "the unfinished rest");
    assert_eq!(lines(text, begin, None).count(), expected.len());
}
