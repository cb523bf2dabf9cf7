//! Whether work is worth a thread of its own.

use std::sync::LazyLock;
use std::thread::available_parallelism;

/// Whether two threads are faster than one. Asked of the system once: to find out, it reads files.
pub(crate) fn has_second() -> bool {
    static CORES: LazyLock<usize> = LazyLock::new(|| available_parallelism().map_or(1, usize::from));
    *CORES > 1
}
