//! `tailspool trace`.

use ulid::Ulid;

use super::options::{LookArgs, exclude_in_force, scope_in_force};
use super::{Common, Exit, json, print};
use crate::error::{Error, ErrorKind};
use crate::pure::name::parse_ulid;
use crate::show::Shown;
use crate::source::standing::Finder;
use crate::source::tree::OsTree;
use crate::trace::{FileNow, Line, Now, Origin, Presence, Standing, Trace, trace};

/// Options of `trace`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The `ulid` of an envelope
    #[arg(value_name = "ULID", value_parser = ulid)]
    ulid: Ulid,
    /// Print one line of JSON instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    look: LookArgs,
}

/// A ULID in capital or small letters.
fn ulid(text: &str) -> Result<Ulid, String> {
    let what = "a ULID is 26 digits and letters without I, L, O and U, the first one at most 7";
    parse_ulid(&text.to_ascii_uppercase()).ok_or_else(|| what.into())
}

/// Traces, and prints what is known.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let unknown = || {
        Error::new(ErrorKind::Failed, format!("nothing tells of a record {}", args.ulid)).hint(
            "a record that another program appended is known while it waits; is this the home that it was captured in?",
        )
    };
    let settings = args.look.settings(common)?;
    let disk = common.existing(&settings.home()?)?.ok_or_else(unknown)?;
    let tree = OsTree::default();
    let scope = match scope_in_force(&settings) {
        // Without a scope no log is opened, and there is the less to tell.
        Err(error) if error.kind() == ErrorKind::Scope => None,
        scope => Some(scope?),
    };
    let exclude = exclude_in_force(&settings)?;
    let mut finder = scope.as_ref().map(|scope| Finder::new(&tree, scope, &exclude));
    let found = trace(&disk, finder.as_mut(), args.ulid)?.ok_or_else(unknown)?;
    print(if args.json { json(&found)? } else { table(&found) })?;
    Ok(Exit::Well)
}

/// One row a fact. Names and texts of others stand in them: each row is escaped here.
fn table(trace: &Trace) -> String {
    let mut rows = vec![("record", trace.ulid.to_string())];
    match &trace.origin {
        Some(origin) => rows.extend(of_origin(origin)),
        None => rows.extend(of_foreign(trace)),
    }
    rows.push(("now", now(&trace.now)));
    for delivery in &trace.deliveries {
        rows.push(("given to", format!("{} at {}", delivery.reader, delivery.at)));
    }
    if trace.deliveries_unreadable > 0 {
        let what = format!("{} lines of the deliveries cannot be read", trace.deliveries_unreadable);
        rows.push(("but", what));
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|(name, value)| format!("{name:<10}{}", Shown::text(value)))
        .collect();
    rows.join("\n")
}

fn of_foreign(trace: &Trace) -> Vec<(&'static str, String)> {
    let mut rows = vec![("from", "another program: the ledger does not know it".to_owned())];
    let source = trace.foreign.as_ref().and_then(|foreign| foreign.source.as_ref());
    if let Some(source) = source.filter(|source| !source.is_null()) {
        rows.push(("source", source.to_string()));
    }
    rows
}

fn of_origin(origin: &Origin) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("from", origin.path.clone()),
        ("session", origin.session_id.clone()),
        (
            "file",
            format!(
                "{}, epoch {}, device {}, inode {}",
                origin.file_id, origin.epoch, origin.device, origin.inode
            ),
        ),
    ];
    rows.push(("line", line(origin.line.as_ref(), origin)));
    if let Some(run) = &origin.run {
        let numbers = match (run.line, run.line_last) {
            (Some(first), Some(last)) => format!(", lines {first} to {last}"),
            _ => String::new(),
        };
        let (nth, lines) = (run.index + 1, run.lines);
        rows.push((
            "run",
            format!("bytes {} to {}{numbers}; record {nth} of {lines}", run.from, run.to),
        ));
    }
    let batch = origin.commit.batch.as_ref().map(|batch| format!(", in {batch}"));
    let batch = batch.unwrap_or_default();
    rows.push((
        "commit",
        format!("{} at {}{batch}", origin.commit.number, origin.commit.at),
    ));
    rows.push(("captured", standing(origin.standing)));
    for event in &origin.since {
        let at = event.at.map(|at| format!(" at {at}")).unwrap_or_default();
        let what = &event.what;
        rows.push((
            "since",
            format!("{} in commit {}{at}: {what}", event.kind, event.commit),
        ));
    }
    if origin.since_left_out > 0 {
        rows.push(("", format!("and {} more", origin.since_left_out)));
    }
    rows.push(("log", file(&origin.file, origin.later_runs)));
    rows
}

fn line(line: Option<&Line>, origin: &Origin) -> String {
    let Some(line) = line else {
        return "one of the run below; the log does not hold it any more, or cannot be read".into();
    };
    let end = if origin.run.is_none() {
        ", without its newline"
    } else {
        ""
    };
    let number = line.number.map_or(String::new(), |number| format!("{number}, "));
    format!("{number}{} bytes at {}{end}", line.length, line.offset)
}

fn standing(standing: Standing) -> String {
    match standing {
        Standing::Stands => "and stands".into(),
        Standing::Superseded { commit } => format!("and superseded in commit {commit}: the log was changed there"),
        Standing::Completed { commit } => format!("and completed by its newline in commit {commit}"),
        Standing::Replaced { by, commit } => {
            let by = by.map(|by| format!(" by {by}")).unwrap_or_default();
            format!("and replaced{by} in commit {commit}: other bytes came in its place")
        }
    }
}

fn file(file: &FileNow, later_runs: u64) -> String {
    let presence = match file.presence {
        Presence::Followed => "followed at",
        Presence::Former => "no longer at",
        Presence::Gone => "gone from",
    };
    format!("{presence} {}; runs captured since: {later_runs}", file.path)
}

fn now(now: &Now) -> String {
    match now {
        Now::Pending {
            file,
            claimed,
            handed_out,
        } => {
            let claimed = if *claimed == Some(true) {
                ", held by a drain"
            } else {
                ""
            };
            let out = if *handed_out { ", handed out already" } else { "" };
            format!("waiting in {file}{claimed}{out}")
        }
        Now::Committed { file } => format!("committed in {file}"),
        Now::Quarantined { file, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {reason}"));
            format!("in quarantine/{file}{}", reason.unwrap_or_default())
        }
        Now::Dropped { at, reason } => {
            let at = at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
            let reason = reason.as_ref().map(|reason| format!(": {reason}"));
            format!("dropped to make room{at}{}", reason.unwrap_or_default())
        }
        Now::Delivered => "delivered".into(),
        Now::Drained => "drained: the queue does not hold it any more".into(),
    }
}
