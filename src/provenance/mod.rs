//! A write-behind writer in front of a provenance store: taking a pair is quick whatever the store does, and what
//! was taken comes to the store in order.
//!
//! # What is promised
//!
//! - [`ProvenanceWriter::enqueue`] puts a batch into memory and returns: it takes one lock, which nobody holds
//!   during a call of the store or of the disk.
//! - Order: pairs come to the store in the order in which they were taken, also those that went to disk meanwhile.
//! - At least once: a pair that was taken comes to the store, again and again until it is accepted. Until a flush or
//!   stop says that it is with the store, or on disk, a crash of the process may lose it: taking it writes nothing.
//! - A pair may come twice: when the process or the power failed between the acceptance and the removal of a spill
//!   file, or when a stop gave up a call that succeeded later. It is the same pair then, with the same id.
//! - Memory is bounded, by batches, pairs and bytes. So is the spill, by bytes.
//!
//! # Who does what
//!
//! A store may be stuck for ever and a sync of the disk may take a second, so neither may be waited for by the
//! caller, and the thread that calls the store cannot be relied on to spill. So there are two threads. The **worker**
//! (`worker`) hands the oldest pairs to the store and reads spill files back. The **spiller** (`spiller`) does
//! nothing but wait until more is in memory than should be, and write all of that into one file: one sync for
//! thousands of pairs, so it is faster than any caller whose pairs it writes. While it writes, callers go on filling
//! memory, up to eight times the bound. Only when that is full as well, because the disk is full or stuck and the
//! store too, `enqueue` refuses and gives the batch back: waiting would break its promise of time, and dropping a
//! pair without telling the one of delivery.
//!
//! A pair leaves memory when the store took it or when its file is durable, whichever is first (`backlog`). So
//! the pairs that a stuck call holds are in memory too, and a stop can spill them; and a file always holds older
//! pairs than memory does, so that taking the oldest first is all there is to order: spill is neither starved by what
//! comes in meanwhile nor overtaken by it.
//!
//! # Spill files
//!
//! `.provenance-overflow/<owner>-<number>-<lines>.jsonl`, made by the first spill, each written under a temporary
//! name, synced, renamed, and the directory synced. A file is removed after the store took its pairs. Each writer is
//! an owner of its own and holds the lock file `<owner>.lock` while it lives; a writer that starts takes the lock
//! files of those that are no more, and their files before its own (`adopt`). So several writers, also in several
//! processes, can have one home, and no file is delivered by two; what a writer leaves that ends later waits for the
//! next start. Lines that are no pairs are copied to
//! `quarantine/` before their file is removed; the others are delivered.

mod adopt;
mod backlog;
pub mod deliveries;
mod names;
mod options;
mod outcome;
mod pair;
mod quarantine;
mod reader;
mod shared;
mod spill;
mod spiller;
mod store;
mod worker;
mod writer;

pub use deliveries::{Deliveries, Delivery, DeliveryStore};
pub use options::Options;
pub use outcome::{Refused, Stopped, Why};
pub use pair::{BadPair, Pair};
pub use store::{ProvenanceStore, StoreError};
pub use writer::ProvenanceWriter;
