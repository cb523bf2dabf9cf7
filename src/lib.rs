//! Keeps every line that programs append to JSONL session logs: verbatim, exactly once, durable.
//!
//! A [`Watcher`] is a thread that captures the logs below some roots into a home: a queue of lines, and a ledger that
//! says where each of them came from.
//!
//! ```no_run
//! use tailspool::Watcher;
//!
//! # fn main() -> Result<(), tailspool::error::Error> {
//! let watcher = Watcher::builder()
//!     .root("/home/me/.claude/projects")
//!     .home("/home/me/.local/state/my-program/logs")
//!     .events(1024)
//!     .spawn()?;
//! for event in watcher.events().iter().take(10) {
//!     println!("{} {}", event.kind, event.path);
//! }
//! let outcome = watcher.stop()?;
//! println!("{} lines captured", outcome.captured.lines);
//! # Ok(())
//! # }
//! ```
//!
//! What waits in the queue is read with [`queue::CaptureQueue`], also while the watcher runs and from
//! other processes. A program that wants the lines and no queue gives the watcher a sink of its own; **without a home
//! there is no durable cursor**, and every start reads everything again ([`watcher::WatcherBuilder::sink`]).

pub mod agents;
pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
mod cores;
pub mod cursors;
pub mod discover;
pub mod disk;
pub mod error;
pub mod event;
mod filesystem;
pub mod home;
pub mod inotify;
pub mod ledger;
pub mod limits;
pub mod provenance;
pub mod pure;
pub mod queue;
pub mod record;
pub mod replay;
pub mod sessions;
pub mod show;
pub mod source;
pub mod start;
pub mod status;
pub mod trace;
pub mod verify;
pub mod waiting;
pub mod wake;
pub mod watcher;

pub use watcher::Watcher;

/// The code in the README is compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
