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
mod unordered;

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};
use crate::source::kind::SourceKind;
pub use errno::name_of;
use labels::Entry;
pub use needs::Need;
pub use operation::Operation;
pub use options::{Begin, Options};
pub use queued::Queued;
pub use script::{Head, Script, Step};
pub use stage::{MakeSource, Stage};

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

/// Plays a fixture through a source of this kind and compares: with [`SourceKind::Poll`] the events of each path, in
/// order; else what was captured of each file, in order, and its other events, whatever their order.
///
/// The whole script is checked before anything of it is played. Fails as [`ErrorKind::Usage`] when the
/// fixture makes no sense, and otherwise when an operation cannot be done; the path of the error ends with
/// the number of the line.
pub fn play(fixture: &Path, kind: SourceKind) -> Result<Played, Error> {
    let path = fixture.join(SCRIPT);
    let script = Script::read(&path)?;
    let expected = expect::read(&fixture.join(EXPECT))?;
    let events = match play_whole(&script, &path, kind)? {
        Ok(events) => events,
        Err(played) => return Ok(played),
    };
    let difference = match kind {
        SourceKind::Poll => expect::compare(&expected, &events),
        SourceKind::Auto | SourceKind::Notify => unordered::compare(&expected, &events),
    };
    Ok(difference.map_or(Played::Passed, Played::Differs))
}

/// Plays a fixture through the source that polls, and writes what came as what is expected. Fails as [`play`].
pub fn bless(fixture: &Path) -> Result<Played, Error> {
    let path = fixture.join(SCRIPT);
    let script = Script::read(&path)?;
    let events = match play_whole(&script, &path, SourceKind::Poll)? {
        Ok(events) => events,
        Err(played) => return Ok(played),
    };
    files::write_fixture(&fixture.join(EXPECT), &expect::text(&events))?;
    Ok(Played::Blessed)
}

/// Plays a script and asks the queue; the events as a fixture holds them, unless it ends before that.
fn play_whole(script: &Script, path: &Path, kind: SourceKind) -> Result<Result<Vec<Entry>, Played>, Error> {
    if let Some(why) = needs::lacking(&script.head.needs, kind)? {
        return Ok(Err(Played::Skipped(why)));
    }
    let stage = play_script(script, path, kind)?;
    let committed = stage.events();
    if let Some(diff) = queued::differs(&committed, &stage.queue()?) {
        return Ok(Err(Played::Differs(diff)));
    }
    Ok(Ok(labels::normalized(&committed, stage.tree())?))
}

/// Plays a whole script; what comes back is stopped.
fn play_script(script: &Script, path: &Path, kind: SourceKind) -> Result<Stage, Error> {
    let mut stage = Stage::on(&script.head, kind).map_err(|error| in_line(path, 1, error))?;
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
