//! The commands: options in, library called, exit code out.

mod drain;
mod exit;
mod record;
mod replay;
mod sessions;
mod status;
mod table;
mod trace;
mod verify;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind as ClapKind;
use clap::{Parser, Subcommand};
use log::LevelFilter;

use crate::disk::OsDisk;
use crate::error::{Error, ErrorKind};
use crate::home::default_home;
pub use exit::Exit;

/// Keeps every line that programs append to JSONL session logs: verbatim, exactly once, durable.
#[derive(Debug, Parser)]
#[command(name = "tailspool", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
struct Common {
    /// Where tailspool keeps its queue and its ledger [default: `$TAILSPOOL_HOME`, else the platform's state
    /// directory plus `tailspool`, on Linux ~/.local/state/tailspool]
    #[arg(long, global = true, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Say more on standard error: -v what is done, -vv how. `RUST_LOG` sets it in detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say nothing but errors on standard error
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Common {
    fn home(&self) -> Result<PathBuf, Error> {
        match &self.home {
            Some(home) => Ok(home.clone()),
            None => default_home(),
        }
    }

    /// The home, for commands that only read it; None, and a word about it, when nothing was ever captured.
    fn existing_home(&self) -> Result<Option<OsDisk>, Error> {
        let home = self.home()?;
        match OsDisk::open(&home) {
            Ok(disk) => Ok(Some(disk)),
            Err(error)
                if error
                    .io_cause()
                    .is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) =>
            {
                self.say(format_args!("nothing was captured yet: there is no {}", home.display()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A line for people, on standard error.
    fn say(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            // Nobody listening is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Capture what programs append to the logs below ROOT, until Ctrl-C or SIGTERM
    Watch(watch::Args),
    /// Hand out what was captured, oldest first, and remove what was handed out
    Drain(drain::Args),
    /// Say whether everything is captured, and whether anything is waiting
    Status(status::Args),
    /// List the sessions that were captured, the one with the newest line first
    Sessions(sessions::Args),
    /// Say where a record came from, what happened to its file since, and where it is now
    Trace(trace::Args),
    /// Check that the ledger holds, that the logs which still stand are what was captured, and that the queue fits
    Verify(verify::Args),
    /// Play fixture trees through the pipeline, and compare the events with the expected ones
    Replay(replay::Args),
    /// Watch a real tree, and write a fixture of what happened
    Record(record::Args),
}

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    start_log(&cli.common, &cli.verb);
    let ended = match cli.verb {
        Verb::Watch(args) => watch::run(&cli.common, args),
        Verb::Drain(args) => drain::run(&cli.common, &args),
        Verb::Status(args) => status::run(&cli.common, &args),
        Verb::Sessions(args) => sessions::run(&cli.common, &args),
        Verb::Trace(args) => trace::run(&cli.common, &args),
        Verb::Verify(args) => verify::run(&cli.common, &args),
        Verb::Record(args) => record::run(&cli.common, args),
        Verb::Replay(args) => Ok(replay::run(&cli.common, &args)),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(error) => {
            print_error(&error);
            Exit::of(error.kind()).into()
        }
    }
}

/// Help and version go to standard output; a mistake becomes an `error:` and a `hint:` line.
fn usage(error: &clap::Error) -> Exit {
    let text = error.render().to_string();
    match error.kind() {
        ClapKind::DisplayHelp | ClapKind::DisplayVersion => {
            let _ = write!(std::io::stdout(), "{text}");
            Exit::Well
        }
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(std::io::stderr(), "{text}");
            Exit::Usage
        }
        _ => {
            let lines: Vec<_> = text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
            let first: Vec<_> = lines
                .iter()
                .take_while(|line| !line.is_empty())
                .map(|line| line.trim())
                .collect();
            let tip = lines.iter().find_map(|line| line.trim().strip_prefix("tip: "));
            let hint = tip.unwrap_or("tailspool --help, or tailspool COMMAND --help, shows what there is");
            let _ = writeln!(std::io::stderr(), "{}\nhint: {hint}", first.join(" "));
            Exit::Usage
        }
    }
}

/// The `error:` line with the chain of causes, and the `hint:` line.
fn print_error(error: &Error) {
    let mut line = format!("error: {error}");
    let mut cause = std::error::Error::source(error);
    let mut join = if line.ends_with(':') { " " } else { ": " };
    while let Some(inner) = cause {
        line = format!("{line}{join}{inner}");
        cause = inner.source();
        join = ": ";
    }
    if error.kind() == ErrorKind::Latched {
        line += " [watcher.latched]";
    }
    if let Some(hint) = error.hint_text() {
        line = format!("{line}\nhint: {hint}");
    }
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// A path as people write it: `~` for the user's home.
fn tilde(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    let below = path.strip_prefix(&home).filter(|_| home.len() > 1);
    match below {
        Some(below) if below.is_empty() || below.starts_with('/') => format!("~{below}"),
        _ => path.to_owned(),
    }
}

/// Prints a text and a newline; nobody listening is no failure.
fn print(mut text: String) -> Result<(), Error> {
    text.push('\n');
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Failed, "cannot print").because(error))
        }
        _ => Ok(()),
    }
}

/// One line a record: level, text, and the code if it has one.
fn start_log(common: &Common, verb: &Verb) {
    let level = match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::Error,
        // A fixture is full of things to be warned of, and they are what it is about.
        (false, 0) if matches!(verb, Verb::Replay(_)) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(|out, record| {
            let level = record.level().as_str().to_lowercase();
            let code = record.key_values().get("code".into());
            let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
            writeln!(out, "{level}: {}{code}", record.args())
        })
        .init();
}
