//! `tailspool --help`: the commands by the questions that they answer.

use clap::builder::StyledStr;
use clap::{Command, CommandFactory};

use super::Cli;
use super::table::columns_max;

/// Every command has its place here; a test asks for it.
const GROUPS: [(&str, &[&str]); 5] = [
    ("How do I keep my logs?", &["watch", "discover"]),
    ("How do I read what was kept?", &["drain"]),
    (
        "Is everything there, and where is it from?",
        &["status", "sessions", "trace", "verify"],
    ),
    ("How do I set it up?", &["config", "completions", "man", "help"]),
    ("How do I test it?", &["replay", "record"]),
];

/// The words of clap's own command, which it adds when it is built.
const HELP: (&str, &str) = ("help", "Print this message or the help of the given subcommand(s)");

/// Columns that the list of commands takes at most, on a wide terminal.
const WIDTH_MAX: usize = 100;

/// The command line as clap sees it.
pub(super) fn command() -> Command {
    let command = Cli::command();
    let template = template(&command);
    command.help_template(template)
}

fn template(command: &Command) -> StyledStr {
    let header = command.get_styles().get_header();
    let groups = GROUPS.map(|(question, verbs)| {
        let verbs = verbs.iter().map(|verb| entry(command, verb)).collect::<String>();
        format!("{header}{question}{header:#}\n{verbs}\n")
    });
    let groups = groups.concat();
    format!(
        "{{before-help}}{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}\
         {header}Options of every command:{header:#}\n{{options}}{{after-help}}"
    )
    .into()
}

/// A command, and beside it what it does.
fn entry(command: &Command, verb: &str) -> String {
    let literal = command.get_styles().get_literal();
    let names = command.get_subcommands().map(|verb| verb.get_name().len());
    let width = names.max().unwrap_or(0);
    let indent = width + 4;
    let lines = wrapped(
        &about(command, verb),
        columns_max().min(WIDTH_MAX).saturating_sub(indent),
    );
    let lines = lines.join(&format!("\n{:indent$}", ""));
    format!("  {literal}{verb:<width$}{literal:#}  {lines}\n")
}

/// The first line of what a command says of itself.
fn about(command: &Command, verb: &str) -> String {
    let found = command.find_subcommand(verb).and_then(Command::get_about);
    match found {
        None if verb == HELP.0 => HELP.1.into(),
        found => found.map(ToString::to_string).unwrap_or_default(),
    }
}

/// Lines of at most this width, unless a word is longer.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_one_place_in_the_help_and_every_place_a_command() {
        let mut command = command();
        command.build();
        let visible = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let mut verbs: Vec<_> = visible.map(Command::get_name).collect();
        let mut placed: Vec<_> = GROUPS.iter().flat_map(|(_, verbs)| verbs.iter().copied()).collect();
        verbs.sort_unstable();
        placed.sort_unstable();
        assert_eq!(verbs, placed);
        let help = command.clone().render_help().to_string();
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        for verb in placed {
            let line = words(&format!("{verb} {}", about(&command, verb)));
            assert_eq!(words(&help).matches(&line).count(), 1, "{line} in {help}");
        }
    }

    #[test]
    fn every_option_that_takes_a_value_says_of_what_it_is_and_what_it_is_without() {
        let mut command = command();
        command.build();
        for verb in command.get_subcommands() {
            for option in verb.get_opts() {
                let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                let is_stated = help.contains("[default: ") || !option.get_default_values().is_empty();
                let is_list = matches!(option.get_action(), clap::ArgAction::Append);
                let name = option.get_long().unwrap_or_default();
                assert!(
                    is_stated || is_list || option.is_required_set() || ["exec"].contains(&name),
                    "{} --{name}: {help}",
                    verb.get_name()
                );
            }
        }
    }
}
