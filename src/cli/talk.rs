//! What people are told, on standard error: the one way out for errors, hints, log records and other talk.
//!
//! Every line is escaped here, so that no name and no argument can drive a terminal, and it is coloured only if a
//! terminal shows it.

use std::fmt::Display;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use log::{Level, LevelFilter};

use super::speaker;
use crate::error::{Error, ErrorKind};
use crate::show::Shown;

/// Whether what is printed there may be coloured.
pub(super) fn has_colours(stream: &impl IsTerminal) -> bool {
    let said = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    stream.is_terminal() && said("NO_COLOR").is_none() && said("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// Prints one line; `label` is what it begins with, coloured if it may be.
fn put(label: Option<(&str, Style)>, text: &str) {
    let text = Shown::text(text);
    speaker::say(match label {
        None => format!("{text}\n"),
        Some((label, style)) if has_colours(&std::io::stderr()) => format!("{style}{label}:{style:#} {text}\n"),
        Some((label, _)) => format!("{label}: {text}\n"),
    });
}

/// Whether standard error is a terminal on which something can be drawn and drawn over.
pub(super) fn moves() -> bool {
    let terminal = std::env::var_os("TERM").filter(|value| !value.is_empty());
    std::io::stderr().is_terminal() && terminal.is_some_and(|terminal| terminal != "dumb")
}

fn of(colour: AnsiColor) -> Style {
    colour.on_default().bold()
}

/// A line of no kind.
pub(super) fn line(text: impl Display) {
    put(None, &text.to_string());
}

/// An `error:` line.
pub(super) fn error_line(text: impl Display) {
    put(Some(("error", of(AnsiColor::Red))), &text.to_string());
}

/// A `hint:` line.
pub(super) fn hint_line(text: impl Display) {
    put(Some(("hint", of(AnsiColor::Cyan))), &text.to_string());
}

/// The `error:` line with the chain of causes, and the `hint:` line.
pub(super) fn error(error: &Error) {
    let mut text = error.with_causes();
    if error.kind() == ErrorKind::Latched {
        text += " [watcher.latched]";
    }
    error_line(text);
    if let Some(hint) = error.hint_text() {
        hint_line(hint);
    }
}

/// The log: one line a record, with level, text, and the code if it has one.
struct Log(env_logger::Logger);

impl log::Log for Log {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &log::Record<'_>) {
        if !self.0.matches(record) {
            return;
        }
        let colour = match record.level() {
            Level::Error => AnsiColor::Red,
            Level::Warn => AnsiColor::Yellow,
            Level::Info => AnsiColor::Green,
            Level::Debug | Level::Trace => AnsiColor::Blue,
        };
        let level = record.level().as_str().to_lowercase();
        let code = record.key_values().get("code".into());
        let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
        put(Some((&level, of(colour))), &format!("{}{code}", record.args()));
    }

    fn flush(&self) {}
}

/// Begins to print log records of this level and above, or of those that `RUST_LOG` names.
pub(super) fn start_log(level: LevelFilter) {
    let logger = env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .build();
    let level = logger.filter();
    // There is one already when an embedding program calls the commands.
    if log::set_boxed_logger(Box::new(Log(logger))).is_ok() {
        log::set_max_level(level);
    }
}
