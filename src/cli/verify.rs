//! `tailspool verify`.

use std::fmt::Write as _;

use super::options::{LookArgs, exclude_in_force, scope_in_force};
use super::{Common, Exit, json, print};
use crate::error::Error;
use crate::show::{Shown, bytes, count};
use crate::source::standing::Finder;
use crate::source::tree::OsTree;
use crate::verify::{Finding, Kind, Report, Verdict, verify};

/// Options of `verify`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    look: LookArgs,
}

/// Verifies, and prints what was found.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let settings = args.look.settings(common)?;
    let report = match common.existing(&settings.home()?)? {
        Some(disk) => {
            let exclude = exclude_in_force(&settings)?;
            let scope = scope_in_force(&settings)?;
            verify(&disk, Finder::new(&OsTree::default(), &scope, &exclude))?
        }
        None => Report::default(),
    };
    print(if args.json { json(&report)? } else { table(&report) })?;
    Ok(match report.verdict {
        Verdict::Good => Exit::Well,
        Verdict::Unchecked => Exit::Failed,
        Verdict::Failed => Exit::VerificationFailed,
    })
}

fn table(report: &Report) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = write!(
            out,
            "{}{name:<10}{}",
            if name == "verified" { "" } else { "\n" },
            Shown::text(&value)
        );
    };
    row("verified", verdict(report).into());
    let ledger = &report.ledger;
    let size = bytes(ledger.bytes);
    row("ledger", format!("{}, {size}", count(ledger.commits, "commit")));
    let files = &report.files;
    let mut parts = vec![format!("{} standing", files.standing + files.moved)];
    parts.extend(some(files.moved, "of them moved"));
    parts.extend(some(files.gone, "gone"));
    parts.extend(some(files.unchecked, "could not be looked at"));
    row("files", parts.join(", "));
    let runs = &report.runs;
    let mut parts = vec![format!(
        "{} as captured ({})",
        runs.verified,
        bytes(runs.verified_bytes)
    )];
    parts.extend(some(runs.unexplained, "differ without an explanation"));
    parts.extend(some(runs.changed, "changed since the last look"));
    parts.extend(some(runs.superseded, "superseded by a rewrite"));
    parts.extend(some(runs.gone, "of files that are gone"));
    parts.extend(some(runs.unchecked, "could not be looked at"));
    row("runs", parts.join(", "));
    let queue = &report.batches;
    let mut parts = vec![format!("{} as committed", count(queue.verified, "file"))];
    parts.extend(some(queue.failed, "damaged or other than the ledger says"));
    parts.extend(some(queue.drained, "drained meanwhile"));
    parts.extend(some(queue.unchecked, "could not be read"));
    parts.extend(some(queue.others, "of other programs"));
    row("waiting", parts.join(", "));
    for finding in &report.findings {
        row(finding.kind.name(), line(finding));
    }
    if report.findings_left_out > 0 {
        row("", format!("and {} more", report.findings_left_out));
    }
    out
}

fn some(number: u64, what: &str) -> Option<String> {
    (number > 0).then(|| format!("{number} {what}"))
}

/// A finding: where, and what.
fn line(finding: &Finding) -> String {
    let mut out = String::new();
    if let Some(path) = &finding.path {
        let _ = write!(out, "{path} ");
    } else if let Some(id) = finding.file_id {
        let _ = write!(out, "file {id} ");
    }
    if let (Some(from), Some(to)) = (finding.from, finding.to) {
        let _ = write!(out, "bytes {from} to {to} ");
    }
    if let Some(commit) = finding.commit {
        let _ = write!(out, "in commit {commit} ");
    }
    format!("{}: {}", out.trim_end(), finding.what)
}

fn verdict(report: &Report) -> &'static str {
    let about = |kind: Kind| report.findings.iter().any(|finding| finding.kind == kind);
    match report.verdict {
        Verdict::Good if report.ledger.commits == 0 => "nothing was captured yet",
        Verdict::Good if about(Kind::Changed) => "well; some files were changed since the last look",
        Verdict::Good => "everything is as it was captured",
        Verdict::Unchecked => "well as far as it could be checked; not everything could",
        Verdict::Failed if about(Kind::Ledger) => "failed: the ledger is damaged",
        Verdict::Failed => "failed",
    }
}
