//! The line that seals a commit: it names what the commit makes visible, and its checksum covers all lines of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How every `commit` line begins; also how a reader finds one without parsing what stands before it.
pub const COMMIT_PREFIX: &[u8] = br#"{"kind":"commit","commit":"#;

const CHECKSUM_KEY: &[u8] = br#","checksum":""#;

/// The line that seals a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its number, from 1.
    pub commit: u64,
    /// How many lines it seals.
    pub lines: u64,
    /// Names in `pending/` that it makes visible.
    pub batches: Vec<String>,
    /// When.
    pub at: Timestamp,
}

impl Commit {
    /// Whether it is the next one.
    #[must_use]
    pub fn follows(&self, commit: u64) -> bool {
        commit.checked_add(1) == Some(self.commit)
    }

    /// Writes the line that seals `sealed`, newline included.
    pub fn push(&self, out: &mut Vec<u8>, sealed: std::ops::Range<usize>) -> Result<(), serde_json::Error> {
        let start = out.len();
        out.extend_from_slice(br#"{"kind":"commit","#);
        let body = serde_json::to_vec(self)?;
        out.extend_from_slice(&body[1..body.len() - 1]);
        let checksum = checksum(&out[sealed], &out[start..]);
        out.extend_from_slice(CHECKSUM_KEY);
        out.extend_from_slice(checksum.to_hex().as_bytes());
        out.extend_from_slice(b"\"}\n");
        Ok(())
    }

    /// Reads a `commit` line (newline included) if its checksum holds over the last of the lines before
    /// it; `before` are those, each with its newline. Also says how many bytes of `before` it seals.
    #[must_use]
    pub fn parse(line: &[u8], before: &[u8]) -> Option<(Self, usize)> {
        let commit: Self = serde_json::from_slice(line).ok()?;
        let key = memchr::memmem::rfind(line, CHECKSUM_KEY)?;
        let hex = line.get(key + CHECKSUM_KEY.len()..)?.strip_suffix(b"\"}\n")?;
        let sealed = last_lines(before, commit.lines)?;
        // As text: a digit in capitals is a flipped bit.
        let checksum = checksum(&before[before.len() - sealed..], &line[..key]);
        (checksum.to_hex().as_bytes() == hex).then_some((commit, sealed))
    }
}

fn checksum(lines: &[u8], commit: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(lines).update(commit).finalize()
}

/// How many bytes the last `count` lines take; None when there are fewer.
fn last_lines(bytes: &[u8], count: u64) -> Option<usize> {
    if count == 0 {
        return Some(0);
    }
    let body = bytes.strip_suffix(b"\n")?;
    // The newline before the first of them, unless they are all there is.
    let mut newlines = memchr::memrchr_iter(b'\n', body);
    let before = usize::try_from(count - 1).ok()?;
    match newlines.nth(before) {
        Some(at) => Some(bytes.len() - at - 1),
        None if memchr::memchr_iter(b'\n', body).count() == before => Some(bytes.len()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(entries: u64) -> (Vec<u8>, Vec<u8>) {
        let mut out = Vec::new();
        for n in 0..entries {
            out.extend_from_slice(format!("{{\"kind\":\"fact\",\"commit\":9,\"n\":{n}}}\n").as_bytes());
        }
        let end = out.len();
        let commit = Commit {
            commit: 9,
            lines: entries,
            batches: vec!["pending-x-1.jsonl".into()],
            at: Timestamp::UNIX_EPOCH,
        };
        commit.push(&mut out, 0..end).unwrap();
        let line = out.split_off(end);
        (out, line)
    }

    #[test]
    fn a_commit_seals_exactly_the_lines_before_it() {
        for entries in [0, 1, 3] {
            let (lines, commit) = sealed(entries);
            assert!(commit.starts_with(COMMIT_PREFIX));
            assert_eq!(Commit::parse(&commit, &lines).unwrap().1, lines.len());
            let with_more = [b"garbage\n", &lines[..]].concat();
            assert_eq!(Commit::parse(&commit, &with_more).unwrap().1, lines.len());
            if entries > 0 {
                assert_eq!(Commit::parse(&commit, &lines[1..]), None, "a byte is missing");
                let missing = lines.iter().position(|byte| *byte == b'\n').unwrap() + 1;
                assert_eq!(Commit::parse(&commit, &lines[missing..]), None, "a line is missing");
            }
        }
    }

    #[test]
    fn any_flipped_bit_of_a_commit_line_is_seen() {
        let (lines, commit) = sealed(2);
        for at in 0..commit.len() {
            let mut flipped = commit.clone();
            for bit in 0..8 {
                flipped[at] = commit[at] ^ (1 << bit);
                assert_eq!(Commit::parse(&flipped, &lines), None, "bit {bit} of byte {at}");
            }
        }
    }
}
