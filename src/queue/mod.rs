//! The capture queue: what is pending, who may read it, and how it is read.

pub mod batch;
pub mod claim;
pub mod depth;
pub mod drain;
mod envelopes;
mod strings;
