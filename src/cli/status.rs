//! `tailspool status`.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::{Common, Exit, json, print, tilde, time};
use crate::error::Error;
use crate::show::{Shown, bytes, count};
use crate::status::{Status, read};

/// Options of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the status.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let status = match common.existing_home()? {
        Some(disk) => read(&disk, SystemTime::now())?,
        None => nothing(),
    };
    print(if args.json { json(&status)? } else { table(&status) })?;
    Ok(Exit::Well)
}

/// The status of a home that is not there.
fn nothing() -> Status {
    Status {
        watching: false,
        pid: None,
        roots: Vec::new(),
        files: 0,
        files_gone: 0,
        captured_lines: 0,
        captured_bytes: 0,
        pending_batches: 0,
        pending_records: 0,
        pending_bytes: 0,
        oldest_pending_seconds: None,
        queue_full: false,
        backlog_bytes: 0,
        quarantined: 0,
        last_commit: None,
        told: None,
    }
}

fn table(status: &Status) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| {
        let _ = write!(
            out,
            "{}{name:<9} {}",
            if name == "capture" { "" } else { "\n" },
            Shown::text(&value)
        );
    };
    row("capture", verdict(status));
    for unknown in status.told.iter().flat_map(|told| &told.unknown_first) {
        row("unknown", format!("{}: {}", tilde(&unknown.path), unknown.why));
    }
    let pid = status.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    row(
        "watcher",
        if status.watching {
            format!("running{pid}")
        } else {
            "not running".into()
        },
    );
    for root in &status.roots {
        let agent = root
            .agent
            .as_ref()
            .map(|agent| format!("{agent}, "))
            .unwrap_or_default();
        row("root", format!("{} ({agent}{})", tilde(&root.path), root.source));
        for polled in &root.polled_first {
            row("polled", format!("{}: {}", tilde(&polled.path), polled.why));
        }
        let others = root.polled.saturating_sub(root.polled_first.len() as u64);
        if others > 0 {
            row("polled", count(others, "other subtree"));
        }
    }
    row(
        "files",
        format!("{} followed, {} gone", status.files, status.files_gone),
    );
    let (lines, size) = (count(status.captured_lines, "line"), bytes(status.captured_bytes));
    row("captured", format!("{lines}, {size} since the home was made"));
    row("waiting", waiting(status));
    if status.quarantined > 0 {
        row(
            "damaged",
            format!("{} in quarantine", count(status.quarantined, "damaged file")),
        );
    }
    if let Some(last) = &status.last_commit {
        row("commit", format!("{} at {}", last.number, last.at));
    }
    out
}

/// Is anything waiting?
fn waiting(status: &Status) -> String {
    let age = status.oldest_pending_seconds.map(|age| {
        format!(
            ", the oldest for {}",
            time(Duration::try_from_secs_f64(age).unwrap_or_default())
        )
    });
    match status.pending_records {
        0 => "nothing".into(),
        records => format!(
            "{}, {}{}; tailspool drain --peek shows them",
            count(records, "record"),
            bytes(status.pending_bytes),
            age.unwrap_or_default()
        ),
    }
}

/// Is everything captured, and if not, why?
fn verdict(status: &Status) -> String {
    let backlog = bytes(status.backlog_bytes);
    let told = status.told.as_ref();
    if status.queue_full {
        let why = told
            .filter(|_| status.watching)
            .and_then(|told| told.queue_full_why.as_deref());
        let why = why.unwrap_or("the queue or its disk is full");
        return format!("stopped: {why}; drain it or make room, the logs still hold what is missing ({backlog} seen)");
    }
    if !status.watching && told.is_some_and(|told| !told.stopped) {
        return "not known: the watcher was killed; start it again, and it goes on where it stopped".into();
    }
    if status.watching && told.is_none_or(|told| told.stopped) {
        return "not known yet: the watcher has just begun".into();
    }
    let unknown = told.map_or(0, |told| told.unknown);
    if unknown > 0 {
        return format!("not everything: {} could not be looked at", count(unknown, "path"));
    }
    let at_work = told.is_some_and(|told| told.at_work);
    match (status.watching, status.last_commit.is_some(), status.backlog_bytes) {
        (_, false, 0) => "nothing was captured yet".into(),
        (true, _, 0) => "everything is captured".into(),
        (true, _, _) if at_work => format!("not yet everything: {backlog} of a backlog are being read"),
        (true, _, _) => format!("everything but {backlog} of unfinished lines, which wait for their newline"),
        (false, _, 0) => "everything was captured when the watcher stopped; what was written since is not".into(),
        (false, _, _) => {
            format!("all but {backlog} was captured when the watcher stopped; what was written since is not")
        }
    }
}
