//! Which source is used.

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
#[non_exhaustive]
pub enum SourceKind {
    /// What is best here; for now that is poll
    #[default]
    Auto,
    /// Walks over the trees, and more frequent looks at files that changed lately
    Poll,
}
