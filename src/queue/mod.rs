//! The capture queue: what is pending, who may read it, and how it is read.

mod append;
pub mod audit;
mod capture_queue;
pub mod claim;
pub mod depth;
pub mod drain;
mod envelopes;
pub mod exec;
pub mod follow;
pub mod noting;
pub mod outgoing;
pub mod prune;
mod quarantine;
mod reader;
pub mod retry;
mod strings;

pub use capture_queue::{CaptureQueue, Pending, QueueOptions};
