//! The capture queue: what is pending, who may read it, and how it is read.
//!
//! ```
//! use tailspool::queue::{CaptureQueue, QueueOptions};
//!
//! # let temp = tempfile::tempdir()?;
//! # let home = temp.path();
//! let queue = CaptureQueue::open(home, QueueOptions::default())?;
//! let ulid = queue.append(&serde_json::json!({"surface": "hello"}))?;
//! let report = queue.ingest_pending(|envelope| {
//!     assert_eq!(envelope.ulid, ulid.to_string());
//!     println!("{}", envelope.record);
//!     Ok(())
//! })?;
//! assert_eq!((report.records, report.failures.len()), (1, 0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod append;
pub mod audit;
mod capture_queue;
pub mod claim;
mod closer;
pub mod depth;
pub mod drain;
pub mod dropper;
mod envelopes;
pub mod exec;
pub mod follow;
pub mod merge;
pub mod news;
pub mod noting;
pub mod outgoing;
pub mod prune;
mod quarantine;
mod reader;
pub mod retry;
mod sharing;
mod strings;
mod todo;

pub use capture_queue::{CaptureQueue, Pending, QueueOptions};
#[doc(hidden)]
pub use strings::unescaped;
