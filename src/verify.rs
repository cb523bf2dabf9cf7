//! Whether what the ledger says is still so: the ledger by itself, the sources that still stand, and the queue.
//!
//! It only reads: no claim, no lock, nothing written. A watcher and drains may run beside it.

mod batches;
mod expected;
mod finding;
mod merged;
mod sources;
mod walk;

use crate::disk::Disk;
use crate::error::Error;
use crate::source::standing::Finder;

use batches::Batches;
pub use finding::{BatchCount, FileCount, Finding, Kind, LedgerCount, Report, RunCount, SnapshotState, Verdict};
use sources::Sources;
use walk::Walk;

/// Verifies a home; `finder` says where logs may be looked at.
///
/// Fails when the home cannot be read; what is wrong with what was read is in the report.
pub fn verify(disk: &dyn Disk, finder: Finder<'_>) -> Result<Report, Error> {
    let mut report = Report::default();
    std::thread::scope(|threads| {
        // The queue before the ledger: whatever is visible was committed. The snapshot too: it covers no more than
        // the ledger holds.
        let mut batches = Batches::list(disk, threads)?;
        let mut walk = Walk::begin(disk, &mut report)?;
        walk.read(&mut batches, &mut report)?;
        walk.compare_snapshot(&mut report);
        let suspects = Sources::new(finder).check(walk.accounts(), &mut report);
        // What a watcher noted meanwhile explains.
        walk.read(&mut batches, &mut report)?;
        sources::judge(suspects, walk.accounts(), &mut report);
        walk.count(&mut report);
        batches.finish(disk, &mut report);
        Ok(())
    })?;
    report.conclude();
    Ok(report)
}
