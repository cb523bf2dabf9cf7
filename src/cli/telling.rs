//! What `watch` says while it goes on: at the start what is watched, a bar or lines while a backlog is read, one line
//! when it has caught up, one a minute after that if something was captured, and at the end what it came to.

use std::path::Path;
use std::time::{Duration, Instant};

use super::speaker::{self, Progress};
use super::{Common, talk, tilde, time};
use crate::capture::Tally;
use crate::disk::Disk;
use crate::limits::PROGRESS_LINE_EVERY;
use crate::queue::depth::list;
use crate::show::{bytes, count};
use crate::source::{Overview, WatchedPath};
use crate::watcher::{Moment, Outcome};

/// Tells people.
pub(super) struct Telling<'a> {
    common: &'a Common,
    disk: &'a dyn Disk,
    begun: Instant,
    shown: Shown,
    /// Of the backlog, as far as it is known.
    total_bytes: u64,
    /// Records that were spoken of.
    told_lines: u64,
}

/// How a backlog is shown.
enum Shown {
    Bar,
    /// With the time of the last line.
    Lines(Instant),
    Nothing,
}

impl<'a> Telling<'a> {
    pub(super) fn new(common: &'a Common, disk: &'a dyn Disk) -> Self {
        let begun = Instant::now();
        let shown = match (common.quiet, talk::moves()) {
            (true, _) => Shown::Nothing,
            (false, true) => Shown::Bar,
            (false, false) => Shown::Lines(begun),
        };
        Self {
            common,
            disk,
            begun,
            shown,
            total_bytes: 0,
            told_lines: 0,
        }
    }

    /// One moment of a run.
    pub(super) fn tell(&mut self, moment: Moment<'_>) {
        match moment {
            Moment::Begun(overview) => {
                self.common.say(format_args!("{}", self.watching(overview)));
                if overview.files == 0 && overview.unknown == 0 {
                    self.common
                        .say(format_args!("no log is there yet; --glob says which files are logs"));
                }
            }
            Moment::Progress(overview, tally) => self.progress(overview, tally),
            Moment::CaughtUp(overview, tally) => {
                speaker::end_bar();
                let (lines, size) = (count(tally.lines, "line"), bytes(tally.bytes));
                let but = match overview.unknown {
                    0 => String::new(),
                    unknown => format!(", but {} could not be looked at", count(unknown, "path")),
                };
                let time = time(self.begun.elapsed());
                self.common.say(format_args!(
                    "caught up: {lines} captured, {size} in {time}{but}; watching on, Ctrl-C ends it"
                ));
                self.told_lines = tally.lines;
            }
            Moment::Minute(_, tally) => {
                let more = tally.lines - std::mem::replace(&mut self.told_lines, tally.lines);
                let all = count(tally.lines, "line");
                self.common
                    .say(format_args!("captured {more} more: {all} since the start"));
            }
        }
    }

    /// The end of a run; `elsewhere` is the home, when a drain must be told of it.
    pub(super) fn end(&mut self, outcome: &Outcome, elsewhere: Option<&Path>) {
        speaker::end_bar();
        let waiting = self.waiting();
        let how = match (waiting, elsewhere) {
            (0, _) => String::new(),
            (_, None) => "; read with: tailspool drain --peek".to_owned(),
            (_, Some(home)) => format!(
                "; read with: tailspool drain --peek --home {}",
                crate::show::Shown::path(home)
            ),
        };
        let left = match outcome.left_bytes {
            left if left > 0 && outcome.overview.at_work => format!("; {} are left for the next run", bytes(left)),
            _ => String::new(),
        };
        self.common.say(format_args!(
            "captured {} of {}{left}; {} in the queue{how}",
            count(outcome.captured.lines, "line"),
            count(outcome.captured.files.len() as u64, "file"),
            count(waiting, "record")
        ));
    }

    fn watching(&self, overview: &Overview) -> String {
        let roots: Vec<_> = overview.roots.iter().map(named).collect();
        let room = self
            .disk
            .space()
            .map_or("room unknown".into(), |space| format!("{} free", bytes(space.free)));
        format!(
            "watching {}: {}, {} ({room})",
            roots.join(", "),
            count(overview.files, "file"),
            bytes(overview.bytes)
        )
    }

    fn progress(&mut self, overview: &Overview, tally: &Tally) {
        // What was taken and not committed is in neither of them.
        self.total_bytes = self.total_bytes.max(tally.bytes + overview.backlog_bytes);
        let now = Instant::now();
        let (total, since) = (self.total_bytes, now.duration_since(self.begun));
        match &mut self.shown {
            Shown::Bar => speaker::show_bar(Progress {
                words: progress_words(tally, total, since),
                done: tally.bytes,
                total,
            }),
            Shown::Lines(last) => {
                if now.duration_since(*last) >= PROGRESS_LINE_EVERY {
                    *last = now;
                    let words = progress_words(tally, total, since);
                    self.common.say(format_args!("captured {words}"));
                }
            }
            Shown::Nothing => {}
        }
    }

    fn waiting(&self) -> u64 {
        list(self.disk)
            .map(|listing| listing.depth().records)
            .unwrap_or_default()
    }
}

impl Drop for Telling<'_> {
    /// An error is told below the bar, not in it.
    fn drop(&mut self) {
        speaker::end_bar();
    }
}

fn named(root: &WatchedPath) -> String {
    let path = tilde(&root.path.to_string_lossy());
    match &root.agent {
        Some(agent) => format!("{path} ({agent})"),
        None => path,
    }
}

/// How far a backlog is.
fn progress_words(tally: &Tally, total_bytes: u64, since: Duration) -> String {
    let rate = rate_bytes(tally.bytes, since);
    let left = (total_bytes - tally.bytes).checked_div(rate);
    let left = left.map_or_else(String::new, |left| {
        format!(", {} left", time(Duration::from_secs(left)))
    });
    format!(
        "{} %  {} of {}, {}, {}/s{left}",
        (tally.bytes * 100).checked_div(total_bytes).unwrap_or(100),
        bytes(tally.bytes),
        bytes(total_bytes),
        count(tally.lines, "line"),
        bytes(rate)
    )
}

/// Bytes a second.
fn rate_bytes(done: u64, since: Duration) -> u64 {
    let millis = since.as_millis().max(1);
    u64::try_from(u128::from(done) * 1000 / millis).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_progress_says_bytes_lines_rate_and_time_left() {
        let tally = Tally {
            lines: 1000,
            bytes: 30 << 20,
            ..Tally::default()
        };
        let words = progress_words(&tally, 90 << 20, Duration::from_secs(10));
        assert_eq!(words, "33 %  30.0 MiB of 90.0 MiB, 1000 lines, 3.0 MiB/s, 20.0 s left");
        let none = progress_words(&Tally::default(), 5, Duration::ZERO);
        assert_eq!(none, "0 %  0 B of 5 B, 0 lines, 0 B/s");
    }

    #[test]
    fn a_time_is_said_in_the_units_that_matter() {
        let said = |millis| time(Duration::from_millis(millis));
        assert_eq!([said(0), said(59_960), said(60_000)], ["0.0 s", "59.9 s", "1 min 0 s"]);
        assert_eq!([said(3_599_000), said(7_380_000)], ["59 min 59 s", "2 h 3 min"]);
    }
}
