//! Who writes to standard error. While a watcher runs that is a thread of its own: a terminal that was stopped, or a pipe
//! that nobody reads, must not stop the capture.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};
use indicatif::{ProgressBar, ProgressStyle};

use super::table::stderr_columns;
use crate::error::{Error, ErrorKind};
use crate::limits::{WORDS_MAX, WORDS_PATIENCE};

/// The words of a bar are those of the lines: its own rate and time left jump about.
const BAR: &str = "{wide_bar} {msg}";

/// Where there is no room for a bar.
const NARROW: &str = "{wide_msg}";

/// Columns from which on there is.
const BAR_COLUMNS_MIN: usize = 72;

/// What is to be shown.
enum Word {
    /// With its newline.
    Line(String),
    Bar(Progress),
    NoBar,
}

/// How far a bar is.
pub(super) struct Progress {
    pub(super) words: String,
    pub(super) done: u64,
    pub(super) total: u64,
}

/// The way to the thread; None while lines are written where they are said.
static SPEAKER: Mutex<Option<Speaker>> = Mutex::new(None);

/// Lines that there was no room for.
static MISSED: AtomicU64 = AtomicU64::new(0);

struct Speaker {
    words: Sender<Word>,
    /// Ends when the thread does.
    ended: Receiver<()>,
}

fn speaker() -> MutexGuard<'static, Option<Speaker>> {
    SPEAKER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From now on nobody waits for standard error: what it does not take in time is counted and left out.
pub(super) fn start() -> Result<(), Error> {
    let (words, said) = bounded(WORDS_MAX);
    let (ends, ended) = bounded(0);
    let work = move || {
        let _ends: Sender<()> = ends;
        speak(&said);
    };
    let thread = std::thread::Builder::new().name("speaker".into()).spawn(work);
    thread.map_err(|cause| Error::new(ErrorKind::Failed, "cannot start a thread").because(cause))?;
    *speaker() = Some(Speaker { words, ended });
    Ok(())
}

/// Waits until everything is shown, for two seconds at most.
pub(super) fn finish() {
    let Some(Speaker { words, ended }) = speaker().take() else {
        return;
    };
    drop(words);
    let _ = ended.recv_timeout(WORDS_PATIENCE);
}

/// Shows a line, which ends with a newline. Nobody listening is no reason to stop.
pub(super) fn say(line: String) {
    match &*speaker() {
        None => write(&line),
        Some(speaker) => {
            if speaker.words.try_send(Word::Line(line)).is_err() {
                MISSED.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// Shows a bar, if a thread shows anything.
pub(super) fn show_bar(progress: Progress) {
    if let Some(speaker) = &*speaker() {
        let _ = speaker.words.try_send(Word::Bar(progress));
    }
}

/// Shows none any more.
pub(super) fn end_bar() {
    if let Some(speaker) = &*speaker() {
        let _ = speaker.words.try_send(Word::NoBar);
    }
}

fn write(line: &str) {
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// The work of the thread, until nobody can say anything more.
fn speak(said: &Receiver<Word>) {
    let mut bar: Option<ProgressBar> = None;
    for word in said {
        match word {
            Word::Line(line) => {
                let missed = MISSED.swap(0, Ordering::Relaxed);
                let lines = || {
                    if missed > 0 {
                        write(&format!(
                            "({missed} lines are left out here: they were not read in time)\n"
                        ));
                    }
                    write(&line);
                };
                match &bar {
                    None => lines(),
                    Some(bar) => bar.suspend(lines),
                }
            }
            Word::Bar(progress) => {
                let bar = bar.get_or_insert_with(begin_bar);
                bar.set_length(progress.total);
                bar.set_position(progress.done);
                bar.set_message(progress.words);
            }
            Word::NoBar => clear(bar.take()),
        }
    }
    clear(bar.take());
}

fn clear(bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}

fn begin_bar() -> ProgressBar {
    let bar = ProgressBar::no_length();
    let narrow = stderr_columns().is_some_and(|columns| columns < BAR_COLUMNS_MIN);
    if let Ok(style) = ProgressStyle::with_template(if narrow { NARROW } else { BAR }) {
        bar.set_style(style);
    }
    bar
}
