//! Several processes at one home, under every order of their calls of the disk that has few preemptions.
//!
//! Each scenario is two or three actors on one simulated disk. What is asked of each schedule: every record is handed out,
//! none twice unless its reader died or failed, none both delivered and noted as dropped, and nothing is left behind.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![allow(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the names of the queue are"
)]

mod actors;
mod droppers;
mod explorer;
mod merging;
#[path = "../pipeline/mod.rs"]
mod pipeline;
mod readers;
mod turns;
mod writers;
