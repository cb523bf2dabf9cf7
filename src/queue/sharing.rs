//! Group commit: callers that come while one is at work are served together by the next.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Sender, bounded};

/// One caller at a time leads: it does the work of all who wait, tells each what came of it, and leaves the lead to the
/// first of those who have come meanwhile. Who comes alone leads at once.
pub(super) struct Sharing<T, R> {
    queue: Mutex<Queue<T, R>>,
}

struct Queue<T, R> {
    /// Nobody waits where nobody leads.
    is_led: bool,
    waiting: VecDeque<Waiting<T, R>>,
}

struct Waiting<T, R> {
    item: T,
    told: Sender<Turn<R>>,
}

enum Turn<R> {
    Done(R),
    /// Its item is the first of those that wait.
    Lead,
}

impl<T, R> Sharing<T, R> {
    pub(super) fn new() -> Self {
        let queue = Queue {
            is_led: false,
            waiting: VecDeque::new(),
        };
        Self {
            queue: Mutex::new(queue),
        }
    }

    /// Has `item` done: by `work` of this caller, with the items behind it that it `takes`, or by that of another one.
    /// `work` answers in the order of the items. None when it panicked in another thread.
    pub(super) fn join(
        &self,
        item: T,
        mut takes: impl FnMut(&T) -> bool,
        work: impl FnOnce(Vec<T>) -> Vec<R>,
    ) -> Option<R> {
        let (told, turn) = bounded(1);
        let is_led = {
            let mut queue = self.queue();
            queue.waiting.push_back(Waiting { item, told });
            std::mem::replace(&mut queue.is_led, true)
        };
        if is_led && let Turn::Done(result) = turn.recv().ok()? {
            return Some(result);
        }
        let lead = Lead(self);
        let (mut items, mut others) = (Vec::new(), Vec::new());
        {
            let mut queue = self.queue();
            while let Some(next) = queue.waiting.pop_front() {
                if !items.is_empty() && !takes(&next.item) {
                    queue.waiting.push_front(next);
                    break;
                }
                items.push(next.item);
                others.push(next.told);
            }
        }
        let mut results = work(items).into_iter();
        drop(lead);
        let own = results.next();
        for (told, result) in others.into_iter().skip(1).zip(results) {
            let _ = told.send(Turn::Done(result));
        }
        own
    }

    fn queue(&self) -> MutexGuard<'_, Queue<T, R>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Dropping it leaves the lead to the next caller.
struct Lead<'a, T, R>(&'a Sharing<T, R>);

impl<T, R> Drop for Lead<'_, T, R> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        match queue.waiting.front() {
            // It waits, so it hears.
            Some(next) => drop(next.told.send(Turn::Lead)),
            None => queue.is_led = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread::{scope, yield_now};

    use super::*;

    /// Waits until so many callers wait.
    fn until_waiting(sharing: &Sharing<u32, (u32, usize)>, callers: usize) {
        while sharing.queue().waiting.len() < callers {
            yield_now();
        }
    }

    fn counted(items: Vec<u32>) -> Vec<(u32, usize)> {
        let together = items.len();
        items.into_iter().map(|item| (item, together)).collect()
    }

    #[test]
    fn who_comes_while_one_is_at_work_is_served_together_by_the_next() {
        let (sharing, begun) = (Sharing::new(), Barrier::new(2));
        scope(|scope| {
            let (begun, sharing) = (&begun, &sharing);
            let alone = scope.spawn(move || {
                sharing.join(
                    0,
                    |_| true,
                    |items| {
                        begun.wait();
                        until_waiting(sharing, 9);
                        counted(items)
                    },
                )
            });
            begun.wait();
            let others: Vec<_> = (1..10)
                .map(|item| scope.spawn(move || sharing.join(item, |_| true, counted)))
                .collect();
            assert_eq!(alone.join().unwrap(), Some((0, 1)));
            for (item, other) in (1..).zip(others) {
                assert_eq!(other.join().unwrap(), Some((item, 9)));
            }
        });
        assert_eq!(sharing.join(7, |_| true, counted), Some((7, 1)), "it is left as it was");
    }

    #[test]
    fn what_one_does_not_take_the_next_does() {
        let (sharing, begun) = (Sharing::new(), Barrier::new(2));
        scope(|scope| {
            let (begun, sharing) = (&begun, &sharing);
            scope.spawn(move || {
                sharing.join(
                    0,
                    |_| true,
                    |items| {
                        begun.wait();
                        until_waiting(sharing, 3);
                        counted(items)
                    },
                )
            });
            begun.wait();
            let two = |mut room: usize| {
                move |_: &u32| {
                    room = room.saturating_sub(1);
                    room > 0
                }
            };
            let others: Vec<_> = (1..4)
                .map(|item| scope.spawn(move || sharing.join(item, two(2), counted).unwrap().1))
                .collect();
            let mut together: Vec<_> = others.into_iter().map(|other| other.join().unwrap()).collect();
            together.sort_unstable();
            assert_eq!(together, [1, 2, 2]);
        });
    }

    #[test]
    fn a_panic_of_one_leaves_the_lead_to_the_next() {
        let (sharing, begun) = (Sharing::new(), Barrier::new(2));
        scope(|scope| {
            let (begun, sharing) = (&begun, &sharing);
            let first = scope.spawn(move || {
                sharing.join(
                    0,
                    |_| true,
                    |_| {
                        begun.wait();
                        until_waiting(sharing, 1);
                        panic!("on purpose")
                    },
                )
            });
            begun.wait();
            assert_eq!(sharing.join(1, |_| true, counted), Some((1, 1)));
            assert!(first.join().is_err());
        });
    }
}
