//! A thread that writes envelopes while the engine reads on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use super::overlap::Overlap;
use super::rooms::Rooms;
use super::stretch::Stretch;
use super::written::{Place, Written};
use crate::cores;
use crate::error::{Error, ErrorKind};
use crate::limits::STRETCHES_WAITING_MAX;

/// Hands stretches over, as long as the thread has few to do.
pub(super) struct Encoder {
    overlap: Overlap,
    has_core: bool,
    thread: Option<Thread>,
    /// What the open batch has handed over where no thread is.
    late: Vec<Stretch<Vec<u8>>>,
    /// Bytes that the thread has written for the open batch beyond what was expected.
    surplus_bytes: Arc<AtomicUsize>,
    rooms: Rooms,
}

struct Thread {
    orders: Sender<Order>,
}

enum Order {
    Write {
        stretch: Stretch<Vec<u8>>,
        expected_bytes: usize,
        surplus_bytes: Arc<AtomicUsize>,
    },
    /// Everything since the last one is wanted.
    HandBack(Sender<Theirs>),
}

/// Envelopes that another thread has written.
#[derive(Default)]
pub(super) struct Theirs {
    pub(super) written: Written,
    /// Where each stretch ends.
    pub(super) ends: Vec<Place>,
}

impl Theirs {
    fn new(rooms: Rooms) -> Self {
        Self {
            written: Written::new(rooms),
            ends: Vec::new(),
        }
    }

    /// Returns how many bytes it added.
    fn write(&mut self, stretch: &Stretch<Vec<u8>>) -> usize {
        let before = self.written.bytes();
        stretch.encode(&mut self.written);
        self.ends.push(self.written.place());
        self.written.bytes() - before
    }
}

/// What another thread is about to hand back.
pub(super) enum Awaited {
    Thread(Receiver<Theirs>),
    /// To be written by whoever wants it.
    Late(Vec<Stretch<Vec<u8>>>),
}

impl Awaited {
    /// Waits for it.
    pub(super) fn wait(self) -> Result<Theirs, Error> {
        match self {
            Self::Thread(theirs) => theirs.recv().map_err(|_| {
                Error::new(ErrorKind::Latched, "the thread that writes envelopes has ended")
                    .hint("start again; nothing is lost")
            }),
            Self::Late(stretches) => {
                let mut theirs = Theirs::default();
                for stretch in &stretches {
                    theirs.write(stretch);
                }
                Ok(theirs)
            }
        }
    }
}

impl Encoder {
    pub(super) fn new(overlap: Overlap, rooms: Rooms) -> Self {
        Self {
            overlap,
            rooms,
            has_core: cores::has_second(),
            thread: None,
            late: Vec::new(),
            surplus_bytes: Arc::default(),
        }
    }

    #[cfg(test)]
    pub(super) fn has_core_for_tests(&mut self) {
        self.has_core = true;
    }

    /// Has the envelopes of a stretch written elsewhere; returns about how many bytes that will be. None when this thread
    /// had better do it.
    pub(super) fn hand_over(&mut self, stretch: &Stretch<&[u8]>) -> Option<usize> {
        let expected_bytes = stretch.expected_bytes();
        match self.overlap {
            Overlap::Never => return None,
            Overlap::Late => self.late.push(stretch.copied(Vec::new())),
            Overlap::Thread => {
                let surplus_bytes = Arc::clone(&self.surplus_bytes);
                let rooms = self.rooms.clone();
                let thread = self
                    .thread()
                    .filter(|thread| thread.orders.len() < STRETCHES_WAITING_MAX)?;
                let order = Order::Write {
                    stretch: stretch.copied(rooms.take_for(stretch.bytes.len())),
                    expected_bytes,
                    surplus_bytes,
                };
                // If it has ended, whoever waits hears of it.
                let _ = thread.orders.send(order);
            }
        }
        Some(expected_bytes)
    }

    /// What was handed over for the open batch; the next batch begins.
    pub(super) fn hand_back(&mut self) -> Awaited {
        self.surplus_bytes = Arc::default();
        let Some(thread) = &self.thread else {
            return Awaited::Late(std::mem::take(&mut self.late));
        };
        let (to, theirs) = bounded(1);
        let _ = thread.orders.send(Order::HandBack(to));
        Awaited::Thread(theirs)
    }

    /// Ends the thread, and gives back the rooms, until there is more.
    pub(super) fn rest(&mut self) {
        self.thread = None;
        self.rooms.rest();
    }

    /// Bytes beyond what was expected of the open batch.
    pub(super) fn surplus_bytes(&self) -> usize {
        self.surplus_bytes.load(Ordering::Relaxed)
    }

    /// The thread, which is started when it is wanted first.
    fn thread(&mut self) -> Option<&Thread> {
        if self.thread.is_none() && self.has_core {
            match Thread::start(self.rooms.clone()) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => {
                    log::info!("one thread writes all envelopes: cannot start another one: {error}");
                    self.has_core = false;
                }
            }
        }
        self.thread.as_ref()
    }
}

impl Thread {
    /// It ends with the sender of its orders; whoever waits for it has a channel of their own.
    fn start(rooms: Rooms) -> std::io::Result<Self> {
        let (orders, taken) = unbounded();
        let work = move || write(&taken, &rooms);
        std::thread::Builder::new().name("encode".into()).spawn(work)?;
        Ok(Self { orders })
    }
}

fn write(orders: &Receiver<Order>, rooms: &Rooms) {
    let mut theirs = Theirs::new(rooms.clone());
    for order in orders {
        match order {
            Order::Write {
                stretch,
                expected_bytes,
                surplus_bytes,
            } => {
                let length = theirs.write(&stretch);
                surplus_bytes.fetch_add(length.saturating_sub(expected_bytes), Ordering::Relaxed);
                rooms.give(stretch.bytes);
            }
            Order::HandBack(to) => {
                // Nobody wants it when the capture has ended.
                let _ = to.send(std::mem::replace(&mut theirs, Theirs::new(rooms.clone())));
            }
        }
    }
}
