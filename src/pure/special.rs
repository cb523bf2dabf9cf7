//! Where the first byte stands that matters in a JSON string, sixteen bytes at a time.

use wide::u8x16;

/// Bytes that are looked at together.
pub const AT_ONCE: usize = 16;

/// How many bytes stand before the first quote, backslash or control character below the space.
#[must_use]
pub fn before_special(bytes: &[u8; AT_ONCE]) -> Option<usize> {
    let bytes = u8x16::new(*bytes);
    let is_control = bytes.min(u8x16::splat(b' ' - 1)).simd_eq(bytes);
    let found = bytes.simd_eq(u8x16::splat(b'"')) | bytes.simd_eq(u8x16::splat(b'\\')) | is_control;
    let found = found.to_bitmask();
    (found != 0).then(|| found.trailing_zeros() as usize)
}

/// Where the first of these bytes stands in `text` at or behind `from`.
#[must_use]
#[inline]
pub fn next_special(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(bytes) = text.get(at..)?.first_chunk() {
        match before_special(bytes) {
            None => at += AT_ONCE,
            Some(before) => return Some(at + before),
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
    text[at..].iter().position(is_special).map(|before| at + before)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_that_matters_is_found(bytes in prop::array::uniform16(prop_oneof![
            4 => any::<u8>(), 12 => Just(b'a'), 1 => Just(b'"'), 1 => Just(b'\\'), 1 => Just(0x1f), 4 => Just(0x20), 4 => Just(0x21),
            4 => Just(0x23), 4 => Just(0xa2), 4 => Just(0xff),
        ])) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            prop_assert_eq!(before_special(&bytes), bytes.iter().position(special));
        }

        #[test]
        fn the_next_is_found_in_a_text_of_any_length(text in "[ab é]{0,40}[\"\\\\\n]?[ab]{0,20}", from in 0..70_usize) {
            let expected = text.as_bytes().iter().skip(from).position(|byte| matches!(byte, b'"' | b'\\' | ..b' '));
            prop_assert_eq!(next_special(text.as_bytes(), from), expected.map(|before| from + before));
        }
    }
}
