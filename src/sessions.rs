//! The sessions of a home: one for each log file that was ever followed, as the snapshot and the end of the ledger have
//! them.

use std::cmp::Reverse;
use std::path::{Component, Path};

use jiff::Timestamp;
use serde::Serialize;
use ulid::Ulid;

use crate::agents;
use crate::disk::Disk;
use crate::error::Error;
use crate::ledger::current_fold;
use crate::limits::SESSION_ACTIVE;
use crate::pure::fold::{FileState, Fold, Presence};

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Session {
    /// The stem of its log file.
    pub session_id: String,
    /// The agent of its root, if known.
    pub agent: Option<String>,
    /// Where it works: as one of its first lines says, else as the directory of its log is called; None when neither
    /// tells.
    pub project: Option<String>,
    /// Records captured.
    pub lines: u64,
    /// Bytes captured, newlines and blank lines included.
    pub bytes: u64,
    /// When its first line was there, as well as is known: the log's birth, its modification time when it was found,
    /// or the commit with the line, whichever is first. None before the first line.
    pub first_line_at: Option<Timestamp>,
    /// When its last captured line was there, as well as is known: the log's modification time then, or the commit
    /// with the line, whichever is first.
    pub last_line_at: Option<Timestamp>,
    /// The commit with its first line.
    pub first_captured_at: Option<Timestamp>,
    /// The commit with its last line so far.
    pub last_captured_at: Option<Timestamp>,
    /// What became of it.
    pub state: State,
    /// Its log was rewritten or cut so many times.
    pub epoch: u64,
    /// Of its log.
    pub file_id: Ulid,
    /// Where its log stands, or stood last, as text.
    pub path: String,
}

/// What became of a session. The first that fits, from the last one up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its log changed in the last five minutes.
    Active,
    /// It did not.
    Quiet,
    /// What was captured of it once is not all in the log any more.
    Rewritten,
    /// Its log was deleted, or another file stands in its place.
    Gone,
}

/// All sessions of a home, the one with the newest line first.
pub fn list(disk: &dyn Disk, now: Timestamp) -> Result<Vec<Session>, Error> {
    let fold = current_fold(disk)?;
    let mut sessions: Vec<_> = fold.files.values().map(|file| Session::of(file, &fold, now)).collect();
    sessions.sort_by_key(|session| Reverse((session.last_line_at, session.file_id)));
    Ok(sessions)
}

impl Session {
    fn of(file: &FileState, fold: &Fold, now: Timestamp) -> Self {
        let (first, last) = file.lines_at.unzip();
        let last_line_at = last.map(|last| last.min(file.mtime));
        let begun = file.btime.into_iter().chain(first).chain(last_line_at).min();
        Self {
            session_id: file.session_id().into_owned(),
            agent: file.agent.clone(),
            project: file.cwd.clone().or_else(|| project_by_path(file, fold)),
            lines: file.captured_lines,
            bytes: file.captured_bytes,
            first_line_at: begun.filter(|_| first.is_some()),
            last_line_at,
            first_captured_at: first,
            last_captured_at: last,
            state: State::of(file, now),
            epoch: file.epoch,
            file_id: file.file_id,
            path: file.path.clone(),
        }
    }
}

impl State {
    fn of(file: &FileState, now: Timestamp) -> Self {
        let quiet = now.duration_since(file.mtime).unsigned_abs() >= SESSION_ACTIVE;
        match file.state {
            Presence::Former | Presence::Gone => Self::Gone,
            Presence::Followed if file.epoch > 0 => Self::Rewritten,
            Presence::Followed if quiet => Self::Quiet,
            Presence::Followed => Self::Active,
        }
    }

    /// As one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Rewritten => "rewritten",
            Self::Gone => "gone",
        }
    }
}

/// The directory directly below the root, unless the agent sorts its logs by date or session there; for a log directly
/// in its root, the root's own name.
fn project_by_path(file: &FileState, fold: &Fold) -> Option<String> {
    let agent = file.agent.as_deref().and_then(agents::named);
    if agent.is_some_and(|agent| !agent.by_project) {
        return None;
    }
    let path = Path::new(&file.path);
    let roots = fold.roots.iter().map(Path::new).filter(|root| path.starts_with(root));
    let root = roots.max_by_key(|root| root.as_os_str().len())?;
    let below = path.parent()?.strip_prefix(root).ok();
    let directory = below.and_then(|below| below.components().next());
    let name = match directory {
        Some(Component::Normal(name)) => name,
        _ => path.parent()?.file_name()?,
    };
    Some(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;
    use crate::pure::commit::Commit;
    use crate::pure::entry::{Captured, Delete, Entry, New, Root, Truncate};
    use crate::pure::fold::Mark;
    use crate::pure::identity::Window;
    use crate::pure::step::Reason;

    fn at(minute: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + minute.minutes()
    }

    fn new(id: u128, agent: &str, path: &str, btime: Option<i64>) -> Entry {
        Entry::New(New {
            file_id: Ulid(id),
            epoch: 0,
            session_id: "s".into(),
            path: path.into(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: btime.map(at),
            mtime: at(10),
            continues: None,
            agent: (!agent.is_empty()).then(|| agent.to_owned()),
        })
    }

    fn run(id: u128, (from, to): (u64, u64), epoch: u64, mtime: i64, cwd: Option<&str>) -> Entry {
        let window = Window::over(b"");
        Entry::Captured(Captured {
            file_id: Ulid(id),
            epoch,
            session_id: "s".into(),
            path: "/p".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            btime: None,
            batch: None,
            first: None,
            last: None,
            from,
            to,
            line: Some(from + 1),
            lines: to - from,
            blank: 0,
            settled: None,
            blake3: String::new(),
            head: window,
            guard: window,
            mtime: Some(at(mtime)),
            cwd: cwd.map(str::to_owned),
        })
    }

    fn born(mut run: Entry, minute: i64) -> Entry {
        if let Entry::Captured(run) = &mut run {
            run.btime = Some(at(minute));
        }
        run
    }

    /// A commit at each of these minutes.
    fn folded(commits: &[(i64, &[Entry])]) -> Fold {
        let mut fold = Fold::default();
        for (number, (minute, entries)) in (1..).zip(commits) {
            for entry in *entries {
                fold.apply(entry).unwrap();
            }
            let commit = Commit {
                commit: number,
                lines: entries.len() as u64,
                batches: Vec::new(),
                at: at(*minute),
            };
            let offset = number * 100;
            fold.seal(&commit, Mark { segment: 1, offset });
        }
        fold
    }

    fn only(fold: &Fold, minute: i64) -> Session {
        assert_eq!(fold.files.len(), 1);
        Session::of(fold.files.values().next().unwrap(), fold, at(minute))
    }

    #[test]
    fn lines_of_all_epochs_and_the_times_of_the_first_and_the_last_are_kept() {
        let begun: &[Entry] = &[
            new(1, "", "/r/p/s.jsonl", Some(5)),
            born(run(1, (0, 3), 0, 10, None), 5),
        ];
        let more: &[Entry] = &[born(run(1, (3, 5), 0, 40, None), 5)];
        let session = only(&folded(&[(20, begun), (41, more)]), 44);
        assert_eq!((session.lines, session.bytes), (5, 5));
        assert_eq!(
            (session.first_line_at, session.last_line_at),
            (Some(at(5)), Some(at(40)))
        );
        assert_eq!(
            (session.first_captured_at, session.last_captured_at),
            (Some(at(20)), Some(at(41)))
        );
        assert_eq!(session.state, State::Active);
        assert_eq!(only(&folded(&[(20, begun), (41, more)]), 45).state, State::Quiet);
    }

    #[test]
    fn a_birth_after_the_last_line_is_that_of_a_copy_and_a_time_to_come_is_none() {
        let copied: &[Entry] = &[
            new(1, "", "/r/s.jsonl", Some(19)),
            born(run(1, (0, 3), 0, 10, None), 19),
        ];
        let session = only(&folded(&[(20, copied)]), 44);
        assert_eq!(
            (session.first_line_at, session.last_line_at),
            (Some(at(10)), Some(at(10)))
        );
        let ahead: &[Entry] = &[new(1, "", "/r/s.jsonl", None), run(1, (0, 3), 0, 1000, None)];
        assert_eq!(only(&folded(&[(20, ahead)]), 44).last_line_at, Some(at(20)));
        let empty: &[Entry] = &[new(1, "", "/r/s.jsonl", Some(5))];
        let session = only(&folded(&[(20, empty)]), 44);
        assert_eq!(
            (session.first_line_at, session.last_line_at, session.lines),
            (None, None, 0)
        );
    }

    #[test]
    fn what_became_of_a_log_comes_before_how_quiet_it_is() {
        let cut = Entry::Truncate(Truncate {
            file_id: Ulid(1),
            epoch: 1,
            path: "/r/s.jsonl".into(),
            path_base64: None,
            reason: Reason::Shrank,
            was: 3,
            kept: 0,
            kept_from: None,
            kept_lines: Some(0),
            kept_from_lines: None,
            head: None,
            guard: None,
        });
        let gone = Entry::Delete(Delete {
            file_id: Ulid(1),
            epoch: 1,
            session_id: "s".into(),
            path: "/r/s.jsonl".into(),
            path_base64: None,
            device: 1,
            inode: 2,
            offset: 2,
        });
        let begun: &[Entry] = &[new(1, "", "/r/s.jsonl", None), run(1, (0, 3), 0, 10, None)];
        let rewritten: &[Entry] = &[cut, run(1, (0, 2), 1, 11, None)];
        let session = only(&folded(&[(10, begun), (11, rewritten)]), 11);
        assert_eq!((session.state, session.epoch, session.lines), (State::Rewritten, 1, 5));
        assert_eq!(
            only(&folded(&[(10, begun), (11, rewritten), (12, &[gone])]), 12).state,
            State::Gone
        );
    }

    #[test]
    fn the_project_is_where_the_session_works_else_its_directory_below_the_root() {
        let root = |path: &str| {
            Entry::Root(Root {
                path: path.into(),
                path_base64: None,
            })
        };
        for (agent, path, cwd, expected) in [
            ("claude", "/r/p/-a-b/s/subagents/x.jsonl", Some("/a/b"), Some("/a/b")),
            ("claude", "/r/p/-a-b/s/subagents/x.jsonl", None, Some("-a-b")),
            ("", "/r/p/s.jsonl", None, Some("p")),
            ("mine", "/r/p/q/s.jsonl", None, Some("q")),
            ("codex", "/r/p/2026/02/26/s.jsonl", None, None),
            ("", "/elsewhere/s.jsonl", None, None),
        ] {
            let begun: &[Entry] = &[
                root("/r"),
                root("/r/p"),
                new(1, agent, path, None),
                run(1, (0, 3), 0, 1, cwd),
            ];
            let session = only(&folded(&[(20, begun)]), 44);
            assert_eq!(session.project.as_deref(), expected, "{path}");
        }
    }
}
