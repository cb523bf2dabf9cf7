//! Fixture trees: what programs do to logs, written down, played through the whole pipeline, and compared
//! with the events that were expected.
//!
//! A fixture is a directory with two files, described in `docs/formats.md`: `script.jsonl` says what happens
//! to a tree, and `expect.jsonl` which events must come of it. [`play`] does all of it; a [`Stage`] is the
//! same in single steps, for tests that make up their operations.
//!
//! Nothing outside a temporary directory is read or written but the fixture itself, time passes only where
//! the script says so, and no operation follows a symlink.

mod clock;
mod diff;
mod errno;
mod expect;
mod failing;
mod files;
mod labels;
mod needs;
mod operation;
mod options;
mod queued;
mod script;
mod stage;

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
pub use errno::name_of;
pub use needs::Need;
pub use operation::Operation;
pub use options::{Begin, Options};
pub use queued::Queued;
pub use script::{Head, Script, Step};
pub use stage::Stage;

/// Name of the file that says what happens.
pub const SCRIPT: &str = "script.jsonl";

/// Name of the file that says what must come of it.
pub const EXPECT: &str = "expect.jsonl";

/// What playing a fixture came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Played {
    /// The events are the expected ones.
    Passed,
    /// The events were written down as the expected ones.
    Blessed,
    /// This filesystem cannot play it, and why.
    Skipped(String),
    /// The events, or the queue, are not what was expected: lines with `-` for what was expected and with
    /// `+` for what came.
    Differs(String),
}

/// Plays a fixture and compares; with `bless`, writes what came as what is expected.
///
/// The whole script is checked before anything of it is played. Fails as [`ErrorKind::Usage`] when the
/// fixture makes no sense, and otherwise when an operation cannot be done; the path of the error ends with
/// the number of the line.
pub fn play(fixture: &Path, bless: bool) -> Result<Played, Error> {
    let path = fixture.join(SCRIPT);
    let script = Script::read(&path)?;
    let expectation = fixture.join(EXPECT);
    let expected = if bless { None } else { Some(expect::read(&expectation)?) };
    if let Some(why) = needs::lacking(&script.head.needs)? {
        return Ok(Played::Skipped(why));
    }
    let stage = play_script(&script, &path)?;
    let committed = stage.events();
    if let Some(diff) = queued::differs(&committed, &stage.queue()?) {
        return Ok(Played::Differs(diff));
    }
    let events = labels::normalized(&committed, stage.tree())?;
    let Some(expected) = expected else {
        files::write_fixture(&expectation, &expect::text(&events))?;
        return Ok(Played::Blessed);
    };
    Ok(expect::compare(&expected, &events).map_or(Played::Passed, Played::Differs))
}

/// Plays a whole script; what comes back is stopped.
fn play_script(script: &Script, path: &Path) -> Result<Stage, Error> {
    let mut stage = Stage::new(&script.head).map_err(|error| in_line(path, 1, error))?;
    for Step { line, operation } in &script.steps {
        stage.play(operation).map_err(|error| in_line(path, *line, error))?;
    }
    stage.stop()?;
    Ok(stage)
}

/// What went wrong with a line, as an error of its kind.
fn in_line(path: &Path, line: usize, cause: Error) -> Error {
    let hint = cause.hint_text().map(str::to_owned);
    let error = Error::new(cause.kind(), "cannot play")
        .at(numbered(path, line))
        .because(cause);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A line that makes no sense.
fn bad_line(path: &Path, line: usize, cause: impl Into<String>) -> Error {
    Error::new(ErrorKind::Usage, "cannot play")
        .at(numbered(path, line))
        .because(cause.into())
}

/// A path with the number of a line behind it.
fn numbered(path: &Path, line: usize) -> PathBuf {
    let mut shown = path.as_os_str().to_owned();
    shown.push(format!(":{line}"));
    shown.into()
}

/// What serde has to say of a line, without the number of a line that is always 1.
fn json_cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} (column {})", error.column()),
        None => text,
    }
}
