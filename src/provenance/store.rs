//! What a provenance writer writes to.

use super::Pair;

/// What a store failed with.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Takes pairs for good.
///
/// **Promised to it**: calls come one at a time, from one thread of a writer, with at least one pair and at most as
/// many as the options of the writer say. Pairs come in the order in which they were enqueued, as long as nothing
/// fails.
///
/// **Expected of it**: `Ok` means that all of the pairs are as durable as the store makes anything; the writer
/// forgets them. After `Err` or a panic none, some or all of them may have been taken; the same pairs are handed
/// over again, perhaps divided otherwise, until they are taken. The same happens after a crash and after a call
/// that was given up at a stop. So a pair may come more than once, always with the same id and entry: a store that
/// must not count twice goes by the two of them.
///
/// A call may block as long as it likes, which holds up the pairs and nobody else. The store is dropped with the
/// writer, or, when the writer ended while a call was stuck, at the end of that call.
pub trait ProvenanceStore: Send + Sync {
    /// Takes these pairs, in this order.
    fn append(&self, pairs: &[Pair]) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trait_is_dyn_compatible() {
        fn takes(_: Option<std::sync::Arc<dyn ProvenanceStore>>) {}
        takes(None);
    }
}
