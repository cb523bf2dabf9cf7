//! A value that few have.

use serde::{Deserialize, Serialize};

/// An `Option` that takes no more room than a pointer where there is nothing: there is one for each of very many files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rare<T>(Option<Box<T>>);

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<Option<T>> for Rare<T> {
    fn from(value: Option<T>) -> Self {
        Self(value.map(Box::new))
    }
}

impl<T: Copy> Rare<T> {
    /// The value, if there is one.
    #[must_use]
    pub fn get(&self) -> Option<T> {
        self.0.as_deref().copied()
    }

    /// Whether there is one.
    #[must_use]
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }
}
