//! Keeps every line that programs append to JSONL session logs: verbatim, exactly once, durable.

pub mod error;
pub mod limits;
pub mod pure;
pub mod show;
