//! The watcher as programs embed it: what comes out of it, with a home and without, and how it ends.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod pipeline;
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::drained;
use support::{append, wait_for, wait_until_equal};
use tailspool::Watcher;
use tailspool::capture::{CaptureOptions, CommitPace};
use tailspool::disk::OsDisk;
use tailspool::error::{Error, ErrorKind};
use tailspool::event::{Detail, Event};
use tailspool::source::Verdict;
use tailspool::source::roots::RootSpec;
use tailspool::watcher::{SourceKind, WatcherBuilder, each_event};
use tempfile::TempDir;

/// A directory with logs, and one for a home.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir(place.0.path().join("logs")).unwrap();
        place
    }

    fn log(&self, name: &str) -> PathBuf {
        self.0.path().join("logs").join(name)
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("home")
    }

    /// Watches the logs; nobody takes them yet.
    fn watcher(&self) -> WatcherBuilder {
        let builder = Watcher::builder().scope(self.0.path()).root(self.log(""));
        builder.interval(Duration::from_millis(10))
    }

    fn queue(&self) -> String {
        drained(&OsDisk::create(&self.home()).unwrap())
    }
}

/// The text of an `append`.
fn text(event: Event) -> Option<String> {
    match event.detail {
        Detail::Append { line, .. } => line,
        _ => None,
    }
}

/// Receives until so many lines came.
fn receive(watcher: &Watcher, lines: usize) -> Vec<String> {
    let events = watcher.events();
    let mut received = Vec::new();
    while received.len() < lines {
        let event = events.recv_timeout(Duration::from_secs(60)).unwrap();
        received.extend(text(event));
    }
    received
}

fn numbered(name: &str, lines: usize) -> Vec<String> {
    (0..lines).map(|line| format!("{name} {line}")).collect()
}

fn joined(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

fn kind(result: Result<Watcher, Error>) -> ErrorKind {
    result.err().unwrap().kind()
}

#[test]
fn what_is_appended_while_it_runs_comes_as_an_event_and_is_in_the_queue() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    let watcher = place.watcher().home(place.home()).events(64).spawn().unwrap();
    assert_eq!(receive(&watcher, 1), ["one"]);
    append(place.log("a.jsonl"), "two\n");
    append(place.log("b.jsonl"), "three\n");
    let mut received = receive(&watcher, 2);
    received.sort();
    assert_eq!(received, ["three", "two"]);
    let events = watcher.events();
    let outcome = watcher.stop().unwrap();
    assert_eq!((outcome.captured.lines, outcome.captured.bytes), (3, 14));
    assert_eq!(events.iter().count(), 0, "the channel has ended");
    let mut queue: Vec<_> = place.queue().lines().map(str::to_owned).collect();
    queue.sort();
    assert_eq!(queue, ["one", "three", "two"]);
}

#[test]
fn a_restart_brings_nothing_twice() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    for round in 0..3 {
        let watcher = place.watcher().home(place.home()).events(64).spawn().unwrap();
        wait_for("the end of the backlog", || watcher.status().caught_up.then_some(()));
        append(place.log("a.jsonl"), format!("round {round}\n"));
        let expected = format!("round {round}");
        let received = receive(&watcher, if round == 0 { 2 } else { 1 });
        assert_eq!(received.last(), Some(&expected));
        drop(watcher);
    }
    assert_eq!(place.queue(), "one\nround 0\nround 1\nround 2\n");
}

/// A watcher that has taken `two`, and whose next commit is a day away.
fn with_uncommitted(place: &Place) -> Watcher {
    let options = CaptureOptions {
        commit_pace: CommitPace::Fixed(Duration::from_secs(24 * 3600)),
        ..CaptureOptions::default()
    };
    append(place.log("a.jsonl"), "one\n");
    let watcher = place.watcher().home(place.home()).capture(options).spawn().unwrap();
    wait_until_equal("the first commit", &1, || watcher.status().captured_lines);
    append(place.log("a.jsonl"), "two\n");
    wait_until_equal("the second line", &8, || watcher.status().bytes);
    let status = watcher.status();
    assert_eq!((status.captured_lines, status.backlog_bytes), (1, 4));
    watcher
}

#[test]
fn a_stop_commits_what_was_taken() {
    let place = Place::new();
    let outcome = with_uncommitted(&place).stop().unwrap();
    assert_eq!((outcome.captured.lines, outcome.left_bytes), (2, 0));
    assert_eq!(place.queue(), "one\ntwo\n");
}

#[test]
fn a_drop_commits_what_was_taken() {
    let place = Place::new();
    drop(with_uncommitted(&place));
    assert_eq!(place.queue(), "one\ntwo\n");
}

#[test]
fn a_second_watcher_of_a_home_is_refused() {
    let place = Place::new();
    let first = place.watcher().home(place.home()).spawn().unwrap();
    assert_eq!(kind(place.watcher().home(place.home()).spawn()), ErrorKind::HomeInUse);
    first.stop().unwrap();
    place.watcher().home(place.home()).spawn().unwrap().stop().unwrap();
}

#[test]
fn what_contradicts_itself_or_is_out_of_scope_or_damaged_is_an_error_of_spawn() {
    let place = Place::new();
    let taken = || each_event(|_| Ok(Verdict::Taken));
    let with_home = || place.watcher().home(place.home());
    for (what, builder) in [
        ("no root", Watcher::builder().scope(place.0.path()).events(1)),
        ("nobody takes", place.watcher()),
        ("home and sink", with_home().sink(taken())),
        ("no room", with_home().events(0)),
        ("no home", place.watcher().events(1).capture(CaptureOptions::default())),
        ("no time", with_home().interval(Duration::ZERO)),
        ("too long", with_home().interval(Duration::from_secs(24 * 3600 + 1))),
        ("a root twice", with_home().root(place.log(""))),
        ("no pattern", with_home().glob("[")),
        ("no pattern to exclude", with_home().exclude("[")),
    ] {
        assert_eq!(kind(builder.spawn()), ErrorKind::Usage, "{what}");
    }
    assert_eq!(kind(with_home().root("/").spawn()), ErrorKind::Scope);
    assert!(!place.home().join("lock").exists(), "no home was taken for these");

    append(place.log("a.jsonl"), "one\n");
    with_home().once(true).spawn().unwrap().wait().unwrap();
    fs::remove_file(place.home().join("cursors.json")).unwrap();
    let segment = place.home().join("provenance/provenance-000001.jsonl");
    let damaged = fs::read_to_string(&segment).unwrap().replacen('{', "[", 1);
    fs::write(&segment, damaged).unwrap();
    assert_eq!(kind(with_home().spawn()), ErrorKind::Failed);
}

#[test]
fn a_receiver_that_is_never_read_misses_events_and_the_queue_misses_nothing() {
    let place = Place::new();
    let lines = numbered("a", 5000);
    append(place.log("a.jsonl"), joined(&lines));
    let watcher = place.watcher().home(place.home()).events(1).spawn().unwrap();
    wait_until_equal("the lines", &5000, || watcher.status().captured_lines);
    let status = watcher.status();
    // The `new` of the file is in the channel.
    assert_eq!((status.events_missed, status.queue_full), (5000, None));
    watcher.stop().unwrap();
    assert_eq!(place.queue(), joined(&lines));
}

#[test]
fn a_receiver_that_is_dropped_changes_nothing() {
    let place = Place::new();
    let watcher = place.watcher().home(place.home()).events(8).spawn().unwrap();
    drop(watcher.events());
    append(place.log("a.jsonl"), "one\n");
    assert_eq!(receive(&watcher, 1), ["one"]);
    watcher.stop().unwrap();
    assert_eq!(place.queue(), "one\n");
}

#[test]
fn a_watcher_without_events_has_a_channel_that_has_ended() {
    let place = Place::new();
    let watcher = place.watcher().home(place.home()).spawn().unwrap();
    assert_eq!(watcher.events().iter().count(), 0);
    watcher.stop().unwrap();
}

#[test]
fn a_full_channel_refuses_and_nothing_is_lost_or_doubled() {
    let place = Place::new();
    let log = place.log("a.jsonl");
    let watcher = place.watcher().events(1).spawn().unwrap();
    let slowly = |lines: usize| {
        let mut received = receive(&watcher, 1);
        wait_for("a refusal", || watcher.status().queue_full);
        received.extend(receive(&watcher, lines - 1));
        received
    };
    let first = numbered("first", 3000);
    append(&log, joined(&first));
    assert_eq!(slowly(3000), first);
    // Cut, and written anew.
    let second = numbered("second, and longer", 3000);
    fs::write(&log, "").unwrap();
    append(&log, joined(&second));
    assert_eq!(slowly(3000), second);
    // Renamed away and replaced before it is read.
    let (third, fourth) = (numbered("third", 3000), numbered("fourth", 3000));
    append(&log, joined(&third));
    fs::rename(&log, place.log("a.1.jsonl")).unwrap();
    append(&log, joined(&fourth));
    let mut received = slowly(6000);
    let mut expected = [third, fourth].concat();
    received.sort();
    expected.sort();
    assert_eq!(received, expected);
    // A line more, so that nothing else comes before it.
    append(&log, "last\n");
    assert_eq!(receive(&watcher, 1), ["last"]);
    assert_eq!(watcher.status().events_missed, 0);
    assert_eq!(watcher.stop().unwrap().captured.lines, 12_001);
}

#[test]
fn without_a_home_every_start_reads_everything_or_begins_at_the_end() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    for _ in 0..2 {
        let watcher = place.watcher().events(8).spawn().unwrap();
        assert_eq!(receive(&watcher, 1), ["one"]);
    }
    let watcher = place.watcher().events(8).from_end(true).spawn().unwrap();
    wait_for("the first look", || watcher.status().caught_up.then_some(()));
    append(place.log("a.jsonl"), "two\n");
    assert_eq!(receive(&watcher, 1), ["two"]);
    // What is saved anew where it was begun at its end: only what differs comes again.
    fs::write(place.log("tmp"), "one\ntwo\nthree\n").unwrap();
    fs::rename(place.log("tmp"), place.log("a.jsonl")).unwrap();
    assert_eq!(receive(&watcher, 1), ["three"]);
    fs::write(place.log("tmp"), "one\nTWO\nthree\n").unwrap();
    fs::rename(place.log("tmp"), place.log("a.jsonl")).unwrap();
    assert_eq!(receive(&watcher, 3), ["one", "TWO", "three"]);
}

#[test]
fn after_a_rewrite_only_what_differs_comes_again() {
    let place = Place::new();
    let log = place.log("a.jsonl");
    let mut lines = numbered(&"x".repeat(1000), 5000);
    // A long one is known by its hash as well.
    lines[2500] = "y".repeat(3 * 1024 * 1024);
    append(&log, joined(&lines));
    let watcher = place.watcher().events(16).spawn().unwrap();
    assert_eq!(receive(&watcher, 4999).last(), lines.last());

    // The first line, in place.
    lines[0] = lines[0].replacen('x', "z", 1);
    fs::write(place.log("tmp"), joined(&lines)).unwrap();
    let bytes = fs::read(place.log("tmp")).unwrap();
    let file = fs::OpenOptions::new().write(true).open(&log).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes[..1003], 0).unwrap();
    let events = watcher.events();
    let next = || events.recv_timeout(Duration::from_secs(60)).unwrap();
    let Detail::Truncate { kept, kept_from, .. } = next().detail else {
        panic!("no truncation")
    };
    assert_eq!(kept, 0);
    let again_bytes = usize::try_from(kept_from.unwrap()).unwrap();
    assert!(again_bytes < 3 * 1024 * 1024, "{again_bytes}");
    let again = joined(&lines)[..again_bytes].matches('\n').count();
    assert_eq!(receive(&watcher, again), lines[..again]);

    // Saved by a rename, with a line more.
    append(place.log("tmp"), "more\n");
    fs::rename(place.log("tmp"), &log).unwrap();
    let Detail::Rotate { continues, .. } = next().detail else {
        panic!("no rotation")
    };
    assert_eq!(continues, Some(bytes.len() as u64));
    assert_eq!(receive(&watcher, 1), ["more"]);
    watcher.stop().unwrap();
}

type Kept<T> = Arc<Mutex<Vec<T>>>;

#[test]
fn roots_with_an_agent_patterns_and_exclusions_hold() {
    let place = Place::new();
    fs::create_dir(place.log("a-secret")).unwrap();
    for name in ["a.log", "b.log", "c.jsonl", "a-secret/d.log", "e.log"] {
        append(place.log(name), "line\n");
    }
    let builder = Watcher::builder()
        .scope(place.0.path())
        .roots([RootSpec::new(place.log("")).of("claude")]);
    let builder = builder.glob("*.log").exclude("*secret").max_files(2);
    let watcher = builder.source(SourceKind::Poll).events(16).once(true).spawn().unwrap();
    let events = watcher.events();
    let appended = events.iter().filter(|event| event.kind == "append");
    assert_eq!(appended.map(|event| event.session_id).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(watcher.status().roots[0].agent.as_deref(), Some("claude"));
}

/// Keeps what `pick` makes of each event.
fn keep<T: Send + 'static>(
    kept: &Kept<T>,
    pick: impl Fn(Event) -> Option<T> + Send + 'static,
) -> impl FnMut(Event) -> Result<Verdict, Error> + Send + 'static {
    let kept = Arc::clone(kept);
    move |event| {
        kept.lock().unwrap().extend(pick(event));
        Ok(Verdict::Taken)
    }
}

#[test]
fn what_a_sink_refuses_is_offered_again_and_nothing_before_it() {
    let place = Place::new();
    let lines = numbered("a", 100);
    append(place.log("a.jsonl"), joined(&lines));
    let kept = Kept::default();
    let mut take = keep(&kept, text);
    let mut asked = 0;
    let sink = each_event(move |event| {
        asked += 1;
        if asked % 40 == 0 {
            Ok(Verdict::Refused)
        } else {
            take(event)
        }
    });
    let watcher = place.watcher().sink(sink).once(true).spawn().unwrap();
    let outcome = watcher.wait().unwrap();
    assert_eq!((outcome.captured.lines, outcome.complete), (100, true));
    assert_eq!(*kept.lock().unwrap(), lines);
}

#[test]
fn what_a_sink_took_is_told_on_its_channel_as_well() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n\ntwo\n{\"whole\":1}");
    let taken = Kept::default();
    let take = keep(&taken, |event| Some((event.kind, event.detail)));
    let watcher = place
        .watcher()
        .sink(each_event(take))
        .events(64)
        .once(true)
        .spawn()
        .unwrap();
    let told: Vec<_> = watcher
        .events()
        .iter()
        .map(|event| (event.kind, event.detail))
        .collect();
    let outcome = watcher.wait().unwrap();
    assert_eq!(told.len(), 4);
    assert_eq!(told, *taken.lock().unwrap());
    assert_eq!(outcome.captured.lines, 3);
}

#[test]
fn a_long_line_comes_without_its_text_and_a_last_line_only_when_it_is_whole() {
    let place = Place::new();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(2 * 1024 * 1024));
    append(place.log("long.jsonl"), format!("{long}\nafter\n"));
    append(place.log("long-last.jsonl"), &long);
    append(place.log("torn.jsonl"), "{\"a\":");
    append(place.log("whole.jsonl"), "{\"a\":1}");
    let kept = Kept::default();
    let take = keep(&kept, |event| match event.detail {
        Detail::Append {
            offset,
            length,
            line,
            terminated,
            ..
        } => Some((event.session_id, offset, length, line, terminated)),
        _ => None,
    });
    let watcher = place.watcher().sink(each_event(take)).once(true).spawn().unwrap();
    assert_eq!(watcher.wait().unwrap().captured.lines, 4);
    let length = long.len() as u64;
    let mut kept = kept.lock().unwrap().clone();
    kept.sort();
    assert_eq!(
        kept,
        [
            ("long".into(), 0, length, None, true),
            ("long".into(), length + 1, 5, Some("after".into()), true),
            ("long-last".into(), 0, length, None, false),
            ("whole".into(), 0, 7, Some("{\"a\":1}".into()), false),
        ]
    );
}

/// Waits for the end, and checks that status and stop speak of the same error.
fn fails_with(watcher: Watcher, words: &str) {
    let events = watcher.events();
    let before_end = events.iter().count();
    let status = watcher.status();
    assert!(!status.running, "after {before_end} events");
    assert!(status.error.as_ref().unwrap().contains(words), "{:?}", status.error);
    let error = watcher.stop().unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!((error.kind(), cause.as_str()), (ErrorKind::Failed, words));
}

#[test]
fn an_error_of_a_sink_ends_the_watcher_which_says_so() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    let sink = each_event(|_| Err(Error::new(ErrorKind::Failed, "cannot take it:").because("no more room")));
    fails_with(place.watcher().sink(sink).events(1).spawn().unwrap(), "no more room");
}

#[test]
fn a_panic_of_a_sink_is_an_error_of_the_watcher() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    let sink = each_event(|_| panic!("not prepared for that"));
    fails_with(
        place.watcher().sink(sink).events(1).spawn().unwrap(),
        "not prepared for that",
    );
}

#[test]
fn it_stops_while_its_sink_or_its_channel_refuses() {
    let place = Place::new();
    append(place.log("a.jsonl"), joined(&numbered("a", 10)));
    let refusing = || place.watcher().sink(each_event(|_| Ok(Verdict::Refused)));
    for builder in [refusing(), refusing().once(true), place.watcher().events(1)] {
        let watcher = builder.spawn().unwrap();
        wait_for("a refusal", || watcher.status().queue_full);
        let outcome = watcher.stop().unwrap();
        assert!(!outcome.complete);
        assert!(outcome.left_bytes > 0 && outcome.queue_full.is_some(), "{outcome:?}");
        drop(refusing().spawn().unwrap());
    }
}

#[test]
fn it_stops_when_it_has_ended_already() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\n");
    let watcher = place.watcher().home(place.home()).once(true).spawn().unwrap();
    wait_until_equal("the end", &false, || watcher.status().running);
    let status = watcher.status();
    assert_eq!((status.caught_up, status.error, status.backlog_bytes), (true, None, 0));
    assert_eq!((status.captured_lines, status.captured_bytes, status.files), (1, 4, 1));
    assert!(watcher.stop().unwrap().complete);
}

/// Runs an example that was built with the tests, for a user with this home.
fn example(name: &str, arguments: &[&Path], home: &Path) -> String {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is not there: `cargo test` builds it, and so does `cargo build --examples`",
        path.display()
    );
    let output = Command::new(path).args(arguments).env("HOME", home).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_example_prints_events_and_leaves_the_lines_in_the_queue() {
    let place = Place::new();
    append(place.log("a.jsonl"), "one\ntwo\n");
    let printed = example("embed", &[&place.log(""), &place.home()], Path::new("/"));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 4, "{printed}");
    for (line, word) in lines
        .iter()
        .zip(["\"new\"", "\"line\":\"one\"", "\"line\":\"two\"", "2 lines of 1 files"])
    {
        assert!(line.contains(word), "{printed}");
    }
    assert_eq!(place.queue(), "one\ntwo\n");
    assert!(example("embed", &[&place.log("")], Path::new("/")).ends_with("2 lines of 1 files captured\n"));
}

#[test]
fn the_example_with_its_own_sink_counts_every_line_each_time() {
    let place = Place::new();
    append(place.log("a.jsonl"), joined(&numbered("", 250)));
    append(place.log("b.jsonl"), "one\n");
    for _ in 0..2 {
        let printed = example("own_sink", &[&place.log("")], Path::new("/"));
        assert_eq!(
            printed,
            "a: 250 lines, 890 bytes\nb: 1 lines, 3 bytes\n251 lines in all\n"
        );
    }
}

#[test]
fn the_known_agents_can_be_watched_beside_other_roots() {
    let place = Place::new();
    for path in [".claude/projects/p/a.jsonl", ".codex/sessions/2026/b.jsonl"] {
        let path = place.log(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        append(path, "one\n");
    }
    let printed = example("own_sink", &[], &place.log(""));
    assert_eq!(printed, "a: 1 lines, 3 bytes\nb: 1 lines, 3 bytes\n2 lines in all\n");
}
