//! Which source is used.

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum SourceKind {
    /// The best one that there is here; for now, by polling.
    #[default]
    Auto,
    /// By walks of the trees, and more frequent looks at files that changed lately.
    Poll,
}
