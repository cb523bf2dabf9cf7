//! `tailspool replay`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueHint;

use super::{Common, Exit, talk};
use crate::error::{Error, ErrorKind};
use crate::replay::{Played, bless, play};
use crate::show::Shown;
use crate::source::kind::SourceKind;

/// Options of `replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directories with a script.jsonl and an expect.jsonl, as docs/formats.md describes them
    #[arg(value_name = "FIXTURE", required = true, value_hint = ValueHint::DirPath)]
    fixtures: Vec<PathBuf>,
    /// What finds the changes
    #[arg(long, value_enum, default_value = "poll")]
    source: SourceName,
    /// Write the events that come as the expected ones, instead of comparing; with --source poll only
    #[arg(long)]
    bless: bool,
}

/// The sources that a fixture can be played through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SourceName {
    /// Walks over the tree: events are compared path by path, in order
    Poll,
    /// The system tells what changes: lines are compared file by file, in order, the other events as a set
    Notify,
}

impl SourceName {
    fn kind(self) -> SourceKind {
        match self {
            Self::Poll => SourceKind::Poll,
            Self::Notify => SourceKind::Notify,
        }
    }
}

/// How many came to what.
#[derive(Default)]
struct Count {
    passed: u64,
    blessed: u64,
    skipped: u64,
    differ: u64,
    failed: u64,
}

/// Plays each fixture, whatever came of the one before.
pub(super) fn run(common: &Common, args: &Args) -> Exit {
    if args.bless && args.source == SourceName::Notify {
        let error = Error::new(ErrorKind::Usage, "cannot bless with --source notify:")
            .because("the expected events are those of the source that polls".to_owned());
        talk::error(&error.hint("leave out --source notify, or --bless"));
        return Exit::Usage;
    }
    let mut count = Count::default();
    let mut exit = Exit::Well;
    for fixture in &args.fixtures {
        let played = if args.bless {
            bless(fixture)
        } else {
            play(fixture, args.source.kind())
        };
        match played {
            Ok(played) => {
                if matches!(played, Played::Differs(_)) && exit == Exit::Well {
                    exit = Exit::Failed;
                }
                tell(&name(fixture), &played, &mut count);
            }
            Err(error) => {
                count.failed += 1;
                // The first one that makes no sense decides, since then the command does not either.
                if exit != Exit::Usage {
                    exit = Exit::of(error.kind());
                }
                talk::error(&error);
            }
        }
    }
    say_count(common, &count);
    exit
}

/// The name of the directory, also of `.`.
fn name(fixture: &Path) -> String {
    let resolved = fixture.canonicalize().unwrap_or_else(|_| fixture.to_owned());
    Shown::name(resolved.file_name().unwrap_or(resolved.as_os_str())).to_string()
}

/// One line a fixture, and the difference below it, on standard output.
fn tell(name: &str, played: &Played, count: &mut Count) {
    let text = match played {
        Played::Passed => {
            count.passed += 1;
            format!("passed {name}\n")
        }
        Played::Blessed => {
            count.blessed += 1;
            format!("blessed {name}\n")
        }
        Played::Skipped(why) => {
            count.skipped += 1;
            format!("skipped {name}: {}\n", Shown::text(why))
        }
        Played::Differs(diff) => {
            count.differ += 1;
            let lines = diff.lines().map(|line| format!("{}\n", Shown::text(line)));
            format!("differs {name}\n{}", lines.collect::<String>())
        }
    };
    // Nobody listening is no reason to stop: the exit code tells it too.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn say_count(common: &Common, count: &Count) {
    let optional = |number: u64, what: &str| match number {
        0 => String::new(),
        _ => format!(", {number} {what}"),
    };
    let (passed, skipped, differ) = (count.passed, count.skipped, count.differ);
    let blessed = optional(count.blessed, "blessed");
    let failed = optional(count.failed, "could not be played");
    common.say(format_args!(
        "{passed} passed, {skipped} skipped, {differ} differ{blessed}{failed}"
    ));
}
