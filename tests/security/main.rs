//! Attacks by whoever can write logs, name files, or reach what is in the home: nothing outside the roots is captured,
//! no name drives a terminal, no message holds a line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod names;
#[path = "../pipeline/mod.rs"]
mod pipeline;
mod privacy;
#[path = "../support/mod.rs"]
mod support;
mod swaps;
mod tampered;

/// In every line of it, and in nothing else.
const SECRET: &str = "SECRET-OUTSIDE";
