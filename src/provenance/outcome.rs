//! What callers are told when something was not taken.

use std::fmt;

use super::{Pair, StoreError};

/// Why a batch was not taken.
#[derive(Debug)]
pub enum Why {
    /// The writer was stopped.
    Stopped,
    /// Memory is full: neither the store nor the disk takes what waits.
    NoRoom,
    /// The store failed; only the synchronous writer says so.
    Store(StoreError),
}

/// A batch that was not taken. Nothing of it will be delivered, unless the caller hands it over again.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub why: Why,
    /// The batch; from a synchronous writer what the store did not take.
    pub pairs: Vec<Pair>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "the provenance writer was stopped",
            Self::NoRoom => "memory is full, and neither the provenance store nor the disk takes what is in it",
            Self::Store(_) => "the provenance store failed",
        })
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pairs were not taken: {}", self.pairs.len(), self.why)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Store(error) => Some(&**error),
            Why::Stopped | Why::NoRoom => None,
        }
    }
}

/// What a stop left.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stopped {
    /// Pairs that are durable in spill files, for the next writer of this home; those included that this one had from
    /// an earlier one.
    pub spilled: u64,
    /// Pairs that neither the store nor the disk took.
    pub unkept: Vec<Pair>,
}
