//! What clap has to say: help and version on standard output, mistakes as an `error:` and a `hint:` line.

use std::ffi::OsString;
use std::io::Write;

use clap::error::ErrorKind as ClapKind;

use super::{Cli, Exit, help, talk};
use crate::show::Shown;

/// Reads the arguments of the process; what they are no command for is told.
pub(super) fn parse() -> Result<Cli, Exit> {
    let args: Vec<_> = std::env::args_os().collect();
    parse_from(&args).map_err(|error| tell(error, &args))
}

fn parse_from(args: &[OsString]) -> Result<Cli, clap::Error> {
    let mut matches = help::command().try_get_matches_from(args)?;
    clap::FromArgMatches::from_arg_matches_mut(&mut matches)
}

fn tell(error: clap::Error, args: &[OsString]) -> Exit {
    match error.kind() {
        ClapKind::DisplayHelp | ClapKind::DisplayVersion => {
            let text = error.render();
            let text = if talk::has_colours(&std::io::stdout()) {
                text.ansi().to_string()
            } else {
                text.to_string()
            };
            let _ = std::io::stdout().write_all(text.as_bytes());
            Exit::Well
        }
        ClapKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            error.render().to_string().lines().for_each(talk::line);
            Exit::Usage
        }
        _ => {
            let (error, hint) = said(error, args);
            talk::error_line(error);
            talk::hint_line(hint);
            Exit::Usage
        }
    }
}

/// The `error:` and the `hint:` line for arguments that are no command.
pub(super) fn mistake(args: &[OsString]) -> Option<(String, String)> {
    let error = parse_from(args).err()?;
    (error.exit_code() != 0).then(|| said(error, args))
}

fn said(error: clap::Error, args: &[OsString]) -> (String, String) {
    // It repeats arguments as they are, and a newline in one would look like a line of ours: so the same is said of
    // the arguments as they may be shown.
    let shown: Vec<_> = args.iter().map(|arg| Shown::name(arg).to_string().into()).collect();
    let text = parse_from(&shown).err().unwrap_or(error).render().to_string();
    let lines: Vec<_> = text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
    let first = lines.iter().take_while(|line| !line.is_empty());
    let first = first.map(|line| line.trim()).collect::<Vec<_>>().join(" ");
    let error = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    let tip = lines.iter().find_map(|line| line.trim().strip_prefix("tip: "));
    let hint = tip.unwrap_or("tailspool --help, or tailspool COMMAND --help, shows what there is");
    (error, hint.to_owned())
}
