//! `tailspool sessions`.

use jiff::Timestamp;

use super::since::since;
use super::table::{Column, Cut, columns_max, render};
use super::{Common, Exit, print, print_json, tilde};
use crate::error::Error;
use crate::sessions::{Session, list};
use crate::show::{Shown, bytes, count};

/// Options of `sessions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only sessions of this agent, such as claude or codex; `none` for those of no known agent
    /// [default: all]
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Only sessions with a line since then: a time ago, as a number and a unit (30m, 12h, 7d, 2w), or a date
    /// (2026-11-01), or a date and time [default: all]
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<Timestamp>,
    /// Only the first N of them, the newest [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print one line of JSON for each session instead of a table
    #[arg(long)]
    json: bool,
}

/// Prints the sessions.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let now = Timestamp::now();
    let mut sessions = match common.existing_home()? {
        Some(disk) => list(&disk, now)?,
        None => Vec::new(),
    };
    let all = sessions.len();
    sessions.retain(|session| is_asked_for(session, args.agent.as_deref(), args.since));
    let found = sessions.len();
    sessions.truncate(
        args.limit
            .map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
    );
    if args.json {
        print_json(&sessions)?;
        return Ok(Exit::Well);
    }
    if sessions.is_empty() {
        if all > 0 {
            common.say(format_args!("none of {} is such a one", count(all as u64, "session")));
        }
        return Ok(Exit::Well);
    }
    let rows: Vec<_> = sessions.iter().map(|session| row(session, now)).collect();
    let mut table = render(&COLUMNS, &rows, columns_max());
    table.pop();
    print(table)?;
    common.say(format_args!("{}", sum(&sessions, found)));
    Ok(Exit::Well)
}

const COLUMNS: [Column; 8] = [
    Column::left("AGENT").cut(Cut::Middle),
    Column::left("PROJECT").cut(Cut::Beginning),
    Column::left("SESSION").cut(Cut::Middle),
    Column::right("LINES"),
    Column::right("SIZE"),
    Column::right("FIRST"),
    Column::right("LAST"),
    Column::left("STATE"),
];

fn row(session: &Session, now: Timestamp) -> [String; 8] {
    let none = || "-".to_owned();
    let shown = |text: &str| Shown::text(text).to_string();
    let ago = |at: Option<Timestamp>| at.map_or_else(none, |at| age(now, at));
    [
        session.agent.as_deref().map_or_else(none, shown),
        session
            .project
            .as_deref()
            .map_or_else(none, |project| shown(&tilde(project))),
        shown(&session.session_id),
        session.lines.to_string(),
        bytes(session.bytes),
        ago(session.first_line_at),
        ago(session.last_line_at),
        session.state.word().to_owned(),
    ]
}

/// How long ago, in the largest unit of which there is at least one.
fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn sum(sessions: &[Session], found: usize) -> String {
    let lines: u64 = sessions.iter().map(|session| session.lines).sum();
    let size: u64 = sessions.iter().map(|session| session.bytes).sum();
    let of = if found > sessions.len() {
        format!(" of {found}")
    } else {
        String::new()
    };
    format!(
        "{}{of}: {}, {} (FIRST and LAST: how long ago)",
        count(sessions.len() as u64, "session"),
        count(lines, "line"),
        bytes(size)
    )
}

fn is_asked_for(session: &Session, agent: Option<&str>, since: Option<Timestamp>) -> bool {
    let of_agent = match agent {
        None => true,
        Some("none") => session.agent.is_none(),
        Some(name) => session.agent.as_deref() == Some(name),
    };
    of_agent && since.is_none_or(|since| session.last_line_at.is_some_and(|last| last >= since))
}
