//! `tailspool completions` and `tailspool man`: what a shell and `man` know of the commands.

use clap::{Command, ValueHint};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Exit, help, print_bytes};
use crate::config::nearest;
use crate::error::{Error, ErrorKind};

/// Options of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Options of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// The page of this command [default: the page of tailspool itself]
    #[arg(value_name = "COMMAND", value_hint = ValueHint::Other)]
    command: Option<String>,
}

/// Prints the script that a shell reads.
pub(super) fn completions(args: &CompletionsArgs) -> Result<Exit, Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut help::command(), "tailspool", &mut script);
    print_bytes(&script)?;
    Ok(Exit::Well)
}

/// Prints a page in roff.
pub(super) fn man(args: &ManArgs) -> Result<Exit, Error> {
    let mut command = help::command();
    command.build();
    if let Some(name) = &args.command {
        let found = command.find_subcommand(name).cloned();
        command = found.ok_or_else(|| unknown(name, &command))?;
    }
    let mut page = Vec::new();
    let failed = |cause| Error::new(ErrorKind::Failed, "cannot write the page").because(cause);
    Man::new(command).render(&mut page).map_err(failed)?;
    print_bytes(&page)?;
    Ok(Exit::Well)
}

fn unknown(name: &str, command: &Command) -> Error {
    let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
    let error = Error::new(ErrorKind::Usage, format!("there is no command `{name}`"));
    error.hint(match nearest(name, &names) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the commands are {}", names.join(", ")),
    })
}
