//! The notify source: what happens to trees and roots while it is told of changes, and what when it is told wrongly.
//!
//! What a call of the system changed is told by the time it returns, so one poll without any time passing sees all of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![cfg(target_os = "linux")]

mod faults;
mod floods;
mod meddling;
mod moves;
#[path = "../pipeline/mod.rs"]
mod pipeline;
mod roots;
mod unwatched;
mod world;
