//! Keeps every line that programs append to JSONL session logs: verbatim, exactly once, durable.

pub mod capture;
pub mod cli;
pub mod clock;
pub mod config;
pub mod cursors;
pub mod disk;
pub mod error;
pub mod event;
pub mod home;
pub mod ledger;
pub mod limits;
pub mod provenance;
pub mod pure;
pub mod queue;
pub mod record;
pub mod replay;
pub mod show;
pub mod source;
pub mod start;
pub mod status;
pub mod trace;
pub mod verify;
pub mod waiting;
pub mod watcher;
