//! Eight bytes at a time in one register: where the first byte stands that matters.
//!
//! Of the bytes that are looked for, the lowest is told right, and only above it may a byte be taken for one of them by
//! mistake (Warren, Hacker's Delight, 2nd ed., section 6-1).

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// The high bit of each byte that is zero once it is held against `byte`.
const fn equal(word: u64, byte: u8) -> u64 {
    let word = word ^ (LOW * byte as u64);
    word.wrapping_sub(LOW) & !word & HIGH
}

/// The high bit of each byte that is below `byte`, which is 128 at most.
const fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(LOW * byte as u64) & !word & HIGH
}

/// How many bytes stand before the first quote, backslash or control character below the space.
pub fn before_special(eight: [u8; 8]) -> Option<usize> {
    let word = u64::from_le_bytes(eight);
    let found = equal(word, b'"') | equal(word, b'\\') | below(word, b' ');
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_that_matters_is_found(eight in prop::array::uniform8(prop_oneof![
            any::<u8>(), Just(b'"'), Just(b'\\'), Just(0x1f), Just(0x20), Just(0x21), Just(0x23), Just(0xa2), Just(b'a'),
        ])) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..b' ');
            prop_assert_eq!(before_special(eight), eight.iter().position(special));
        }
    }
}
