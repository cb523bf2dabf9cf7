//! `tailspool discover`.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::options::{LookArgs, exclude_in_force, scope_in_force};
use super::roots::looked_for;
use super::table::{Column, Cut, columns_max, render};
use super::{Common, Exit, print, print_json, tilde};
use crate::discover::{CleanUp, Discovery, Known, Survey, clean_up, survey};
use crate::disk::OsDisk;
use crate::error::{Error, ErrorKind};
use crate::show::{Shown, bytes, count};
use crate::source::tree::OsTree;

/// Options of `discover`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print one line of JSON for each directory instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    look: LookArgs,
}

/// One directory.
#[derive(Serialize)]
struct Row {
    agent: &'static str,
    label: &'static str,
    path: String,
    /// The variable that names it.
    by: Option<&'static str>,
    files: u64,
    bytes: u64,
    oldest: Option<Timestamp>,
    newest: Option<Timestamp>,
    unknown: u64,
    clean_up: Option<RowCleanUp>,
}

/// What its agent deletes.
#[derive(Serialize)]
struct RowCleanUp {
    period_days: u64,
    set_in: Option<String>,
    /// Whole days until the oldest log may go.
    oldest_days_left: Option<u64>,
}

/// Looks, and prints what is there.
pub(super) fn run(common: &Common, args: &Args) -> Result<Exit, Error> {
    let settings = args.look.settings(common)?;
    let scope = scope_in_force(&settings)?;
    let exclude = exclude_in_force(&settings)?;
    let home = settings
        .home()
        .ok()
        .and_then(|home| OsDisk::open(&home).ok()?.place().ok());
    let discovery = Discovery::here(&scope, &exclude);
    discovery.log_left_out();
    let (tree, now) = (OsTree::default(), Timestamp::now());
    let mut rows = Vec::new();
    for known in discovery.found() {
        let found = match survey(&tree, &known.root(), &exclude, home.as_ref()) {
            Ok(found) => found,
            Err(error) => {
                super::talk::error(&error);
                Survey {
                    unknown: 1,
                    ..Survey::default()
                }
            }
        };
        let clean_up = clean_up(&tree, known, &scope);
        tell_unreadable_settings(clean_up.as_ref());
        rows.push(Row::of(known, &found, clean_up.as_ref(), now));
    }
    if args.json {
        print_json(&rows)?;
    } else {
        print_table(common, &rows, &discovery)?;
    }
    let unknown: u64 = rows.iter().map(|row| row.unknown).sum();
    if unknown > 0 {
        return Err(Error::new(
            ErrorKind::Failed,
            format!("{} could not be looked at", count(unknown, "path")),
        )
        .hint("what is counted is what can be seen; give access to the rest"));
    }
    Ok(Exit::Well)
}

fn tell_unreadable_settings(clean_up: Option<&CleanUp>) {
    if let Some((path, why)) = clean_up.and_then(|clean_up| clean_up.not_known.as_ref()) {
        let shown = Shown::path(path);
        log::warn!(code = "discover.settings"; "cannot read {shown}: {why}; its default is shown");
    }
}

impl Row {
    fn of(known: &Known, found: &Survey, clean_up: Option<&CleanUp>, now: Timestamp) -> Self {
        let clean_up = clean_up.map(|clean_up| RowCleanUp {
            period_days: clean_up.period_days,
            set_in: clean_up.set_in.as_ref().map(|path| path.to_string_lossy().into_owned()),
            oldest_days_left: found.oldest.map(|oldest| clean_up.days_left(oldest, now)),
        });
        Self {
            agent: known.agent.name,
            label: known.agent.label,
            path: known.path.to_string_lossy().into_owned(),
            by: known.by.map(crate::agents::Var::name),
            files: found.files,
            bytes: found.bytes,
            oldest: found.oldest,
            newest: found.newest,
            unknown: found.unknown,
            clean_up,
        }
    }
}

const COLUMNS: [Column; 6] = [
    Column::left("AGENT"),
    Column::left("DIRECTORY").cut(Cut::Beginning),
    Column::right("FILES"),
    Column::right("SIZE"),
    Column::left("OLDEST"),
    Column::left("NEWEST"),
];

fn print_table(common: &Common, rows: &[Row], discovery: &Discovery) -> Result<(), Error> {
    let day = |at: Option<Timestamp>| match at {
        None => "-".to_owned(),
        Some(at) => at.to_zoned(TimeZone::system()).date().to_string(),
    };
    let cells = rows.iter().map(|row| {
        [
            row.label.to_owned(),
            Shown::text(&tilde(&row.path)).to_string(),
            row.files.to_string(),
            bytes(row.bytes),
            day(row.oldest),
            day(row.newest),
        ]
    });
    let cells: Vec<_> = cells.collect();
    if !cells.is_empty() {
        print(render(&COLUMNS, &cells, columns_max()).trim_end().to_owned())?;
    }
    for row in rows {
        if let Some(clean_up) = &row.clean_up {
            print(format!("\n{}", clean_up_words(row, clean_up)))?;
        }
    }
    if rows.is_empty() {
        common.say(format_args!("nothing was found; looked for {}", looked_for(discovery)));
        return Ok(());
    }
    let is_found = |label: &str| rows.iter().any(|row| row.label == label);
    let mut missing: Vec<_> = discovery.missing().map(|known| known.agent.label).collect();
    missing.retain(|label| !is_found(label));
    missing.dedup();
    if !missing.is_empty() {
        common.say(format_args!("nothing of {}", missing.join(", ")));
    }
    Ok(())
}

fn clean_up_words(row: &Row, clean_up: &RowCleanUp) -> String {
    let from = match &clean_up.set_in {
        None => "its default".to_owned(),
        Some(path) => format!("cleanupPeriodDays in {}", Shown::text(&tilde(path))),
    };
    let directory = tilde(&row.path);
    let (label, directory) = (row.label, Shown::text(&directory));
    if clean_up.period_days == 0 {
        return format!("{label} keeps nothing in {directory} ({from}).");
    }
    let period = count(clean_up.period_days, "day");
    let oldest = match clean_up.oldest_days_left {
        None => "none was seen".to_owned(),
        Some(0) => "the oldest goes when it is started next".to_owned(),
        Some(days) => format!("the oldest has {} left", count(days, "day")),
    };
    format!("{label} deletes a session in {directory}\n  {period} after its last change ({from}): {oldest}.")
}
