//! What differs between two lists of lines.

use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use crate::limits::DIFF_CELLS_MAX;
use crate::show::Shown;

/// The lines that only one list has, in order: `-` before those of `expected`, `+` before those of `got`.
/// Empty when the lists are equal.
pub(super) fn diff(expected: &[String], got: &[String]) -> String {
    let before = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    let (expected, got) = (&expected[before..], &got[before..]);
    let ends = expected.iter().rev().zip(got.iter().rev());
    let after = ends.take_while(|(one, other)| one == other).count();
    let (expected, got) = (&expected[..expected.len() - after], &got[..got.len() - after]);
    let mut out = String::new();
    if expected.len().saturating_mul(got.len()) > DIFF_CELLS_MAX {
        lines(&mut out, '-', expected, 0..expected.len());
        lines(&mut out, '+', got, 0..got.len());
        return out;
    }
    let (mut left, mut right) = (0, 0);
    for (one, other) in common(expected, got) {
        lines(&mut out, '-', expected, left..one);
        lines(&mut out, '+', got, right..other);
        (left, right) = (one + 1, other + 1);
    }
    lines(&mut out, '-', expected, left..expected.len());
    lines(&mut out, '+', got, right..got.len());
    out
}

fn lines(out: &mut String, sign: char, all: &[String], range: Range<usize>) {
    for line in &all[range] {
        let _ = writeln!(out, "{sign}{}", Shown::path(Path::new(line)));
    }
}

/// The positions of a longest common subsequence.
fn common(expected: &[String], got: &[String]) -> Vec<(usize, usize)> {
    let width = got.len() + 1;
    // How much is common from here on, by positions.
    let mut lengths = vec![0_u32; (expected.len() + 1) * width];
    for left in (0..expected.len()).rev() {
        for right in (0..got.len()).rev() {
            lengths[left * width + right] = if expected[left] == got[right] {
                lengths[(left + 1) * width + right + 1] + 1
            } else {
                lengths[(left + 1) * width + right].max(lengths[left * width + right + 1])
            };
        }
    }
    let (mut left, mut right) = (0, 0);
    let mut found = Vec::new();
    while left < expected.len() && right < got.len() {
        if expected[left] == got[right] {
            found.push((left, right));
            (left, right) = (left + 1, right + 1);
        } else if lengths[(left + 1) * width + right] >= lengths[left * width + right + 1] {
            left += 1;
        } else {
            right += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expected: &str, got: &str) -> String {
        let split = |text: &str| text.chars().map(String::from).collect::<Vec<_>>();
        diff(&split(expected), &split(got)).replace('\n', "")
    }

    #[test]
    fn only_what_differs_is_shown_and_in_order() {
        assert_eq!(of("abc", "abc"), "");
        assert_eq!(of("abc", "ac"), "-b");
        assert_eq!(of("ac", "abc"), "+b");
        assert_eq!(of("abcd", "axcy"), "-b+x-d+y");
        assert_eq!(of("", "ab"), "+a+b");
        assert_eq!(of("aab", "ab"), "-a");
    }
}
