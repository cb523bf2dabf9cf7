//! The capture queue: what is pending, who may read it, and how it is read.

pub mod audit;
pub mod claim;
pub mod depth;
pub mod drain;
mod envelopes;
pub mod outgoing;
pub mod prune;
mod quarantine;
mod reader;
mod strings;
