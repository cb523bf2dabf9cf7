//! What is not with the store yet, oldest first: spill files, then memory. No file and no thread is known here.
//!
//! A pair stays in memory until the store took it or a file with it is durable, so nothing is ever in a hand only.
//! Files are made of the oldest pairs in memory, so files are always older than memory, and whoever takes the oldest
//! first keeps the order and starves nothing.

use std::collections::VecDeque;

use super::{Options, Pair};
use crate::limits::{PROVENANCE_BYTES_MAX, PROVENANCE_HELD_TIMES, SPILL_PAIRS_MAX};

/// A spill file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spilled {
    pub(super) name: String,
    /// As its name says.
    pub(super) lines: u64,
    /// Lines that need not be delivered any more.
    pub(super) done: u64,
    /// 0 for a file of an earlier writer.
    pub(super) bytes: u64,
    /// Whether this writer wrote it.
    pub(super) own: bool,
}

impl Spilled {
    fn left(&self) -> u64 {
        self.lines.saturating_sub(self.done)
    }

    fn own_left(&self) -> u64 {
        if self.own { self.left() } else { 0 }
    }
}

struct Waiting {
    pair: Pair,
    ends_batch: bool,
}

/// The oldest pairs in memory at some moment.
pub(super) struct Snapshot {
    first: u64,
    pub(super) pairs: Vec<Pair>,
}

pub(super) struct Backlog {
    options: Options,
    files: VecDeque<Spilled>,
    memory: VecDeque<Waiting>,
    /// How many pairs were taken in ever; they are numbered from 0.
    taken: u64,
    /// How many of those are in files or in memory.
    left: u64,
    batches: usize,
    bytes: usize,
    file_bytes: u64,
    aside: u64,
}

impl Backlog {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            files: VecDeque::new(),
            memory: VecDeque::new(),
            taken: 0,
            left: 0,
            batches: 0,
            bytes: 0,
            file_bytes: 0,
            aside: 0,
        }
    }

    /// Whether a batch of this many bytes still fits: memory that holds nothing takes any.
    pub(super) fn has_room(&self, pairs: usize, bytes: usize) -> bool {
        let fits =
            |now: usize, more: usize, max: usize| now.saturating_add(more) <= max.saturating_mul(PROVENANCE_HELD_TIMES);
        self.memory.is_empty()
            || (fits(self.batches, 1, self.options.batches_max)
                && fits(self.memory.len(), pairs, self.options.pairs_max)
                && fits(self.bytes, bytes, self.options.bytes_max))
    }

    /// Takes a batch in.
    pub(super) fn push(&mut self, batch: Vec<Pair>) {
        let count = batch.len();
        for (index, pair) in batch.into_iter().enumerate() {
            self.bytes += pair.bytes();
            let ends_batch = index + 1 == count;
            self.memory.push_back(Waiting { pair, ends_batch });
        }
        self.batches += 1;
        self.taken += count as u64;
        self.left += count as u64;
    }

    /// Whether more waits in memory than should.
    pub(super) fn is_over(&self) -> bool {
        let Options {
            batches_max, pairs_max, ..
        } = self.options;
        self.batches > batches_max || self.memory.len() > pairs_max || self.bytes > self.options.bytes_max
    }

    /// Whether the disk may still be given some.
    pub(super) fn may_spill(&self) -> bool {
        self.file_bytes < self.options.spill_bytes_max
    }

    /// The oldest pairs in memory, as many as go into one file.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot {
            first: self.first(),
            pairs: self.oldest(SPILL_PAIRS_MAX),
        }
    }

    /// The pairs of a snapshot are durable in a file now. What the store took meanwhile is done already; if that is
    /// all of it, the file is of no use: false.
    pub(super) fn moved_to_file(&mut self, snapshot: &Snapshot, name: String, bytes: u64) -> bool {
        let lines = snapshot.pairs.len() as u64;
        let done = (self.first() - snapshot.first).min(lines);
        if done == lines {
            return false;
        }
        for _ in done..lines {
            self.pop();
        }
        self.file_bytes += bytes;
        self.files.push_back(Spilled {
            name,
            lines,
            done,
            bytes,
            own: true,
        });
        true
    }

    /// Files of earlier writers, which come before everything else.
    pub(super) fn adopt(&mut self, files: Vec<Spilled>) {
        for file in files.into_iter().rev() {
            self.files.push_front(file);
        }
    }

    /// The oldest file. While there is one, nothing in memory is anybody's turn.
    pub(super) fn oldest_file(&self) -> Option<&Spilled> {
        self.files.front()
    }

    /// The oldest pairs in memory, as many as go into one call.
    pub(super) fn call(&self) -> Vec<Pair> {
        self.oldest(self.call_pairs_max())
    }

    /// Whether memory holds enough for a call.
    pub(super) fn fills_a_call(&self) -> bool {
        self.memory.len() >= self.call_pairs_max() || self.bytes >= PROVENANCE_BYTES_MAX
    }

    pub(super) fn call_pairs_max(&self) -> usize {
        self.options.call_pairs_max.max(1)
    }

    /// The store took the `count` oldest pairs, which came from memory. They may be in files by now.
    pub(super) fn took_from_memory(&mut self, count: usize) {
        let mut count = count as u64;
        for file in &mut self.files {
            let here = count.min(file.left());
            file.done += here;
            count -= here;
            self.left -= here;
        }
        for _ in 0..count {
            self.pop();
            self.left -= 1;
        }
    }

    /// These many lines of the oldest file need not be delivered any more.
    pub(super) fn took_from_file(&mut self, lines: u64) {
        if let Some(file) = self.files.front_mut() {
            let before = file.own_left();
            file.done += lines;
            self.left -= before - file.own_left();
        }
    }

    /// The oldest file is gone, or is left for a later writer.
    pub(super) fn forget_file(&mut self, is_aside: bool) -> Option<Spilled> {
        let file = self.files.pop_front()?;
        self.file_bytes -= file.bytes;
        self.left -= file.own_left();
        if is_aside {
            self.aside += file.left();
        }
        Some(file)
    }

    /// How many pairs were taken in up to now.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// How many of the first `taken` pairs, and of those that earlier writers left, are not with the store.
    pub(super) fn left_of(&self, taken: u64) -> u64 {
        let earlier = self.files.iter().filter(|file| !file.own).map(Spilled::left);
        taken.saturating_sub(self.taken - self.left) + self.aside + earlier.sum::<u64>()
    }

    /// Whether all of those had their turn.
    pub(super) fn is_through(&self, taken: u64) -> bool {
        // What earlier writers left comes first.
        let has_earlier = self.files.front().is_some_and(|file| !file.own);
        !has_earlier && self.taken - self.left >= taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.memory.is_empty()
    }

    pub(super) fn holds_memory(&self) -> bool {
        !self.memory.is_empty()
    }

    /// Whether there is such a file.
    pub(super) fn has_file(&self, is_it: impl FnMut(&Spilled) -> bool) -> bool {
        self.files.iter().any(is_it)
    }

    pub(super) fn holds_own_files(&self) -> bool {
        self.aside > 0 || self.files.iter().any(|file| file.own)
    }

    /// All that is in memory only.
    pub(super) fn take_memory(&mut self) -> Vec<Pair> {
        self.left -= self.memory.len() as u64;
        (self.batches, self.bytes) = (0, 0);
        self.memory.drain(..).map(|waiting| waiting.pair).collect()
    }

    /// Number of the oldest pair in memory.
    fn first(&self) -> u64 {
        self.taken - self.memory.len() as u64
    }

    /// At most this many of the oldest in memory, and not more bytes than go into a call or a file, but at least one.
    fn oldest(&self, pairs_max: usize) -> Vec<Pair> {
        let mut bytes = 0;
        let fitting = self.memory.iter().take(pairs_max).take_while(|waiting| {
            let is_first = bytes == 0;
            bytes += waiting.pair.bytes();
            is_first || bytes <= PROVENANCE_BYTES_MAX
        });
        fitting.map(|waiting| waiting.pair.clone()).collect()
    }

    fn pop(&mut self) {
        if let Some(Waiting { pair, ends_batch }) = self.memory.pop_front() {
            self.bytes -= pair.bytes();
            self.batches -= usize::from(ends_batch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(ids: std::ops::Range<u32>) -> Vec<Pair> {
        let object = std::collections::BTreeMap::from([("a", 1)]);
        ids.map(|id| Pair::of(id.to_string(), &object).unwrap()).collect()
    }

    fn small() -> Backlog {
        Backlog::new(Options {
            batches_max: 2,
            pairs_max: 8,
            call_pairs_max: 3,
            ..Options::default()
        })
    }

    fn ids(pairs: &[Pair]) -> Vec<&str> {
        pairs.iter().map(Pair::id).collect()
    }

    #[test]
    fn each_bound_of_memory_counts() {
        let mut by_batches = small();
        (0..3).for_each(|id| by_batches.push(batch(id..id + 1)));
        let mut by_pairs = small();
        by_pairs.push(batch(0..9));
        let mut by_bytes = Backlog::new(Options {
            bytes_max: 100,
            ..Options::default()
        });
        by_bytes.push(batch(0..1));
        assert!(by_batches.is_over() && by_pairs.is_over() && by_bytes.is_over());
        assert!(by_pairs.has_room(55, 0) && !by_pairs.has_room(56, 0));
        assert!(!by_bytes.has_room(1, 800));
        (3..16).for_each(|id| by_batches.push(batch(id..id + 1)));
        assert!(!by_batches.has_room(1, 1));
        assert!(small().has_room(1000, usize::MAX), "what holds nothing takes any batch");
    }

    #[test]
    fn what_the_store_took_while_it_was_spilled_is_done_in_the_file() {
        let mut backlog = small();
        backlog.push(batch(0..5));
        let snapshot = backlog.snapshot();
        backlog.took_from_memory(2);
        assert_eq!(ids(&backlog.call()), ["2", "3", "4"], "in the hands of the store");
        backlog.push(batch(5..6));
        backlog.moved_to_file(&snapshot, "f".into(), 10);
        let file = backlog.oldest_file().unwrap();
        assert_eq!((file.lines, file.done), (5, 2));
        backlog.took_from_memory(3);
        assert_eq!(backlog.oldest_file().unwrap().done, 5);
        assert_eq!((backlog.left_of(5), backlog.left_of(6)), (0, 1));
        backlog.forget_file(false);
        assert_eq!(ids(&backlog.call()), ["5"]);
    }

    #[test]
    fn a_file_is_of_no_use_when_the_store_took_all_of_it_while_it_was_written() {
        let mut backlog = small();
        backlog.push(batch(0..2));
        let snapshot = backlog.snapshot();
        backlog.push(batch(2..3));
        backlog.took_from_memory(3);
        assert!(!backlog.moved_to_file(&snapshot, "f".into(), 10));
        assert!(backlog.is_empty() && backlog.left_of(3) == 0);
    }

    #[test]
    fn a_call_may_end_in_a_second_file() {
        let mut backlog = small();
        backlog.push(batch(0..1));
        let first = backlog.snapshot();
        backlog.push(batch(1..3));
        backlog.moved_to_file(&first, "a".into(), 1);
        let second = backlog.snapshot();
        backlog.moved_to_file(&second, "b".into(), 1);
        backlog.took_from_memory(2);
        let done: Vec<_> = backlog.files.iter().map(|file| file.done).collect();
        assert_eq!(done, [1, 1]);
        assert_eq!(backlog.left_of(3), 1);
    }

    #[test]
    fn files_are_older_than_memory_and_adopted_files_older_than_those() {
        let mut backlog = small();
        backlog.push(batch(0..2));
        let snapshot = backlog.snapshot();
        backlog.moved_to_file(&snapshot, "own".into(), 7);
        backlog.push(batch(2..3));
        let adopted = |name: &str| Spilled {
            name: name.into(),
            lines: 9,
            done: 0,
            bytes: 0,
            own: false,
        };
        backlog.adopt(vec![adopted("1"), adopted("2")]);
        let names: Vec<_> = backlog.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["1", "2", "own"]);
        assert_eq!(backlog.left_of(3), 21);
        assert!(!backlog.is_through(0), "a flush waits for what is older");
        backlog.took_from_file(9);
        backlog.forget_file(false);
        backlog.forget_file(true);
        assert_eq!(backlog.left_of(3), 12, "what is left aside is not with the store");
        backlog.took_from_file(1);
        backlog.forget_file(true);
        assert_eq!(backlog.left_of(3), 11);
        assert!(backlog.is_through(2), "but it is waited for by nobody");
    }
}
