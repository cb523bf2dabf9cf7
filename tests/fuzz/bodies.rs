//! What must hold for any bytes: one function a target, which property tests (tests/fuzz.rs) and the fuzzer
//! (`fuzz/`) call. The bytes say which good input is made and how it is damaged.

#![allow(dead_code, reason = "each program of the fuzzer uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what does not hold must be heard"
)]

pub(crate) mod batch;
pub(crate) mod cli;
pub(crate) mod cursors;
mod data;
pub(crate) mod envelope;
mod files;
pub(crate) mod ledger;
pub(crate) mod lines;
pub(crate) mod script;
mod seeds;
pub(crate) mod spill;
