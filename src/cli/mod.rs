//! The commands: options in, library called, exit code out.

mod config;
mod discover;
mod drain;
mod exit;
mod help;
mod options;
mod record;
mod replay;
mod roots;
mod sessions;
mod setup;
mod since;
mod speaker;
mod status;
mod table;
mod talk;
mod telling;
mod trace;
mod usage;
mod verify;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::OsStringValueParser;
use clap::{Parser, Subcommand, ValueHint};
use log::LevelFilter;

use crate::config::{ConfigFile, Given, Layer, Place, Settings, find, home_of};
use crate::disk::OsDisk;
use crate::error::{Error, ErrorKind};
use crate::home::{default_home, env_home, user_home};
use crate::show::Shown;
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
    /// Where tailspool keeps its queue and its ledger [default: `$TAILSPOOL_HOME`, else `home` of the config file, else
    /// the platform's state directory plus `tailspool`, on Linux ~/.local/state/tailspool]
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath, help_heading = "Where is it kept")]
    home: Option<PathBuf>,
    /// The config file [default: `$TAILSPOOL_CONFIG`, else tailspool/tailspool.toml or tailspool.toml in the platform's
    /// config directory, on Linux ~/.config]
    #[arg(long, global = true, value_name = "FILE", value_parser = OsStringValueParser::new(), value_hint = ValueHint::FilePath, help_heading = "Where is it kept")]
    config: Option<OsString>,
    /// Read no config file: nothing is excluded then but what the command line excludes
    #[arg(long, global = true, conflicts_with = "config", help_heading = "Where is it kept")]
    no_config: bool,
    /// Say more on standard error: -v what is done, -vv how. `RUST_LOG` sets it in detail
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "What is printed")]
    verbose: u8,
    /// Say nothing but errors on standard error
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "What is printed"
    )]
    quiet: bool,
}

impl Common {
    /// Which config file counts.
    fn config_place(&self) -> Result<Place, Error> {
        if self.no_config {
            return Ok(Place::Ignored);
        }
        find(self.config.as_deref().map(Path::new))
    }

    /// What the config file says, if there is one.
    fn config_file(&self) -> Result<Layer, Error> {
        match self.config_place()? {
            Place::File(path) => Ok(ConfigFile::read(&path, user_home().as_deref())?.layer),
            Place::Missing(_) | Place::Nowhere | Place::Ignored => Ok(Layer::default()),
        }
    }

    /// What is in force with this command line.
    fn settings(&self, command_line: Layer) -> Result<Settings, Error> {
        let home = self.home.clone().map(Given::asked);
        Ok(Settings::merged(self.config_file()?, Layer { home, ..command_line }))
    }

    /// The home, for commands that need nothing else: the file is read only if it has the word.
    fn home(&self) -> Result<PathBuf, Error> {
        if let Some(home) = self.home.clone().or_else(env_home) {
            return Ok(home);
        }
        let home = home_of(self.config_file()?.home, None);
        home.value.map_or_else(default_home, Ok)
    }

    /// The home, for commands that only read it; None, and a word about it, when nothing was ever captured.
    fn existing_home(&self) -> Result<Option<OsDisk>, Error> {
        self.existing(&self.home()?)
    }

    /// This home, likewise.
    fn existing(&self, home: &Path) -> Result<Option<OsDisk>, Error> {
        match OsDisk::open(home) {
            Ok(disk) => Ok(Some(disk)),
            Err(error)
                if error
                    .io_cause()
                    .is_some_and(|cause| cause.kind() == std::io::ErrorKind::NotFound) =>
            {
                self.say(format_args!(
                    "nothing was captured yet: there is no {}",
                    Shown::path(home)
                ));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// A line for people, on standard error.
    fn say(&self, text: std::fmt::Arguments<'_>) {
        if !self.quiet {
            talk::line(text);
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Capture what programs append to the logs below ROOT, until Ctrl-C or SIGTERM
    Watch(watch::Args),
    /// Hand out what was captured, oldest first, and remove what was handed out
    Drain(drain::Args),
    /// Find the logs of the known agents on this machine
    Discover(discover::Args),
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
    /// Print the settings that are in force, and where each one came from
    Config(config::Args),
    /// Print the completions of a shell
    Completions(setup::CompletionsArgs),
    /// Print the manual, of tailspool or of a command
    Man(setup::ManArgs),
}

/// What is said of arguments that are no command: an error and a hint.
#[doc(hidden)]
pub fn mistake(args: &[OsString]) -> Option<(String, String)> {
    usage::mistake(args)
}

/// Runs the command that the arguments of the process name.
pub fn main() -> ExitCode {
    let cli = match usage::parse() {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    talk::start_log(log_level(&cli.common, &cli.verb));
    let ended = match cli.verb {
        Verb::Watch(args) => watch::run(&cli.common, args),
        Verb::Drain(args) => drain::run(&cli.common, &args),
        Verb::Discover(args) => discover::run(&cli.common, &args),
        Verb::Status(args) => status::run(&cli.common, &args),
        Verb::Sessions(args) => sessions::run(&cli.common, &args),
        Verb::Trace(args) => trace::run(&cli.common, &args),
        Verb::Verify(args) => verify::run(&cli.common, &args),
        Verb::Record(args) => record::run(&cli.common, args),
        Verb::Replay(args) => Ok(replay::run(&cli.common, &args)),
        Verb::Config(args) => config::run(&cli.common, args),
        Verb::Completions(args) => setup::completions(&args),
        Verb::Man(args) => setup::man(&args),
    };
    let exit = ended.unwrap_or_else(|error| {
        talk::error(&error);
        Exit::of(error.kind())
    });
    speaker::finish();
    exit.into()
}

/// A time as people say it.
fn time(time: Duration) -> String {
    let all = time.as_secs();
    match all {
        0..60 => format!("{all}.{} s", time.subsec_millis() / 100),
        60..3600 => format!("{} min {} s", all / 60, all % 60),
        _ => format!("{} h {} min", all / 3600, all / 60 % 60),
    }
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

/// A value as one line of JSON that drives no terminal.
fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    let failed = |cause| Error::new(ErrorKind::Failed, "cannot write it as JSON").because(cause);
    serde_json::to_string(value).map(crate::show::json).map_err(failed)
}

/// Prints one line of JSON for each of them.
fn print_json(rows: &[impl serde::Serialize]) -> Result<(), Error> {
    let lines = rows.iter().map(json).collect::<Result<Vec<_>, _>>()?;
    match lines.as_slice() {
        [] => Ok(()),
        lines => print(lines.join("\n")),
    }
}

/// Prints a text and a newline; nobody listening is no failure.
fn print(mut text: String) -> Result<(), Error> {
    text.push('\n');
    print_bytes(text.as_bytes())
}

/// Prints these bytes.
fn print_bytes(bytes: &[u8]) -> Result<(), Error> {
    match std::io::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Failed, "cannot print").because(error))
        }
        _ => Ok(()),
    }
}

/// Which log records are printed, unless `RUST_LOG` says otherwise.
fn log_level(common: &Common, verb: &Verb) -> LevelFilter {
    match (common.quiet, common.verbose) {
        (true, _) => LevelFilter::Error,
        // A fixture is full of things to be warned of, and they are what it is about.
        (false, 0) if matches!(verb, Verb::Replay(_)) => LevelFilter::Error,
        (false, 0) => LevelFilter::Warn,
        (false, 1) => LevelFilter::Info,
        (false, _) => LevelFilter::Debug,
    }
}
