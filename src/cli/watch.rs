//! `tailspool watch`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::{Common, Exit};
use crate::capture::{Capture, CaptureOptions};
use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::limits::{HOT_INTERVAL, TIME_MAX};
use crate::pure::ulids::system_random;
use crate::queue::depth::{OnFull, QueueLimits, list};
use crate::queue::outgoing::Layout;
use crate::show::{Shown, bytes, count};
use crate::source::Wake;
use crate::source::polling::PollingSource;
use crate::source::roots::{self, RootSpec};
use crate::source::scope::Scope;
use crate::source::tailer::SourceOptions;
use crate::source::tree::OsTree;
use crate::watcher::{self, Moment, Outcome};

/// Options of `watch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directories with logs below them, or single log files. One that is not there yet is waited for
    #[arg(value_name = "ROOT")]
    roots: Vec<PathBuf>,
    /// Capture what is there now, up to the size that each file has at its first look, and end. Exits 1 if
    /// something could not be looked at, the queue is full, or a signal ends it before
    #[arg(long)]
    once: bool,
    /// Time between two walks of the trees, as a number and a unit (500ms, 2s, 1m), at most 24h. Files that
    /// changed in the last minute are looked at every 100 ms
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    interval: Duration,
    /// Let roots lie in DIR too, beside $HOME. Can be given more than once
    #[arg(long, value_name = "DIR")]
    scope: Vec<PathBuf>,
    /// Which files are logs: a pattern without `/` goes by the name, another by the path below ROOT. Can be
    /// given more than once
    #[arg(long, value_name = "PATTERN", default_value = "*.jsonl")]
    glob: Vec<String>,
    /// Where files begin that are found by the first look at a ROOT which this home never saw: at their start, or
    /// behind their last newline
    #[arg(long, value_name = "WHERE", default_value = "start")]
    from: From,
    /// Watch at most N files of each ROOT, the first ones by path; the others are left alone [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_files: Option<u64>,
    /// Least time between two commits, as above, unless a batch is full (8 MiB or 8192 records)
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    commit_interval: Duration,
    /// Stop reading while this many records are pending [default: no limit but the disk, which counts as
    /// full when less than 1 GiB or 5 % of it is free, whichever is less]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_pending_records: Option<u64>,
    /// Stop reading while this many bytes are pending; passed by one record at most [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_pending_bytes: Option<u64>,
    /// When the queue is full: stop reading until there is room, or drop the oldest records, in steps of about 100,
    /// each noted in pending/.overflow-audit.log. Never the newest file, nor one that a reader holds
    #[arg(long, value_name = "WHAT", default_value = "wait")]
    on_full: OnFull,
    /// How records lie in the queue: all of a commit in one file, or each in a file of its own, for programs that
    /// read one record a file
    #[arg(long, value_name = "LAYOUT", default_value = "batch")]
    layout: Layout,
    /// Print each event, once it is committed, as a JSON line on standard output
    #[arg(long)]
    events: bool,
    /// Take a home on a network filesystem, where locks and renames are not to be relied on
    #[arg(long)]
    allow_network_home: bool,
}

/// Where files of a new root begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum From {
    /// Everything is captured
    Start,
    /// Only what comes from now on
    End,
}

/// A time with its unit.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().ok();
    match parsed.map(Duration::try_from) {
        Some(Ok(duration)) if !duration.is_zero() && duration <= TIME_MAX => Ok(duration),
        _ => Err("a time is a number and a unit, such as 2s, 100ms or 1m, above 0 and at most 24h".into()),
    }
}

/// Captures.
pub(super) fn run(common: &Common, args: Args) -> Result<Exit, Error> {
    let wake = signals()?;
    if args.roots.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no ROOT is given").hint(
            "name the directory that the logs are in, for example: tailspool watch ~/.claude/projects ~/.codex/sessions",
        ));
    }
    let scope = Scope::new(std::env::var_os("HOME").as_deref(), &args.scope)?;
    let home = common.home()?;
    let specs = args.roots.into_iter().map(RootSpec::new);
    let roots = roots::check(specs.collect(), &scope, Some(&home))?;

    let disk = OsDisk::create(&home)?;
    refuse_network_home(&disk, args.allow_network_home)?;
    let place = disk
        .place()
        .map_err(|cause| Error::io("cannot look at the home", &home, cause))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = CaptureOptions {
        commit_interval: args.commit_interval,
        limits: QueueLimits {
            records_max: args.max_pending_records,
            bytes_max: args.max_pending_bytes,
        },
        on_full: args.on_full,
        layout: args.layout,
    };
    let mut capture = Capture::open(Arc::clone(&disk), Arc::clone(&clock), system_random(), options)?;
    if args.events {
        capture.observe(Box::new(event_printer()));
    }
    let mut source_options = SourceOptions::new(roots, scope);
    source_options.home = Some(place);
    source_options.globs = args.glob;
    source_options.from_end = args.from == From::End;
    source_options.files_max = args.max_files.map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    // With `--once` a walk is repeated only for what could not be looked at.
    source_options.interval = if args.once { HOT_INTERVAL } else { args.interval };
    source_options.once = args.once;
    let mut source = PollingSource::new(source_options, Box::<OsTree>::default(), clock, capture.fold())?;
    let mut tell = |moment: Moment<'_>| say_moment(common, &*disk, moment);
    let outcome = watcher::run(capture, &mut source, &*disk, &wake, args.once, &mut tell)?;
    say_end(common, &*disk, &outcome);
    if args.once {
        judge_once(&outcome)
    } else {
        Ok(Exit::Well)
    }
}

/// SIGINT and SIGTERM: the first one asks to stop, the second one ends the process.
pub(super) fn signals() -> Result<Receiver<Wake>, Error> {
    let failed = |cause| Error::new(ErrorKind::Failed, "cannot handle signals").because(cause);
    let (sender, wake) = crossbeam_channel::bounded(1);
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(Exit::Interrupted as i32);
            }
            let _ = sender.send(Wake::Stop);
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .map_err(failed)?;
    Ok(wake)
}

fn refuse_network_home(disk: &OsDisk, allowed: bool) -> Result<(), Error> {
    let path = disk.show("".as_ref());
    let kind = disk
        .network_filesystem()
        .map_err(|cause| Error::io("cannot look at the filesystem of", &path, cause))?;
    match kind.filter(|_| !allowed) {
        None => Ok(()),
        Some(kind) => Err(Error::new(ErrorKind::Failed, "the home is on a network filesystem:")
            .at(path)
            .because(format!("{kind} gives no lock and no rename that can be relied on"))
            .hint("choose a home on a local disk with --home DIR, or insist with --allow-network-home")),
    }
}

/// Prints events until standard output takes no more.
fn event_printer() -> impl FnMut(&crate::event::Event) {
    let mut open = true;
    move |event| {
        if !open {
            return;
        }
        let mut out = std::io::stdout().lock();
        let printed = serde_json::to_writer(&mut out, event).map_err(std::io::Error::from);
        if let Err(error) = printed.and_then(|()| out.write_all(b"\n")) {
            open = false;
            log::warn!("no more events are printed: {error}; capturing goes on");
        }
    }
}

fn say_moment(common: &Common, disk: &dyn Disk, moment: Moment<'_>) {
    match moment {
        Moment::Begun(overview) => {
            let roots: Vec<_> = overview
                .roots
                .iter()
                .map(|root| Shown::path(&root.path).to_string())
                .collect();
            let room = disk
                .space()
                .map_or("room unknown".into(), |space| format!("{} free", bytes(space.free)));
            common.say(format_args!(
                "watching {}: {}, {} ({room})",
                roots.join(", "),
                count(overview.files, "file"),
                bytes(overview.bytes)
            ));
        }
        Moment::CaughtUp(overview, captured) => {
            let but = match overview.unknown {
                0 => String::new(),
                unknown => format!(", but {} could not be looked at", count(unknown, "path")),
            };
            common.say(format_args!(
                "caught up: {} captured{but}",
                count(captured.lines, "line")
            ));
        }
        Moment::Progress(..) | Moment::Minute(..) => {}
    }
}

fn say_end(common: &Common, disk: &dyn Disk, outcome: &Outcome) {
    let waiting = list(disk).map(|listing| listing.depth().records).unwrap_or_default();
    let lines = count(outcome.captured.lines, "line");
    let files = count(outcome.captured.files.len() as u64, "file");
    let home = common
        .home
        .as_ref()
        .map(|home| format!(" --home {}", Shown::path(home)));
    let how = match waiting {
        0 => String::new(),
        _ => format!("; read with: tailspool drain --peek{}", home.unwrap_or_default()),
    };
    common.say(format_args!(
        "captured {lines} of {files}; {} in the queue{how}",
        count(waiting, "record")
    ));
}

/// `--once` has failed when something is left that it should have captured.
fn judge_once(outcome: &Outcome) -> Result<Exit, Error> {
    let unknown = outcome.overview.unknown;
    let left = bytes(outcome.left_bytes);
    let failed = |what: String| Error::new(ErrorKind::Failed, what);
    if let Some(reason) = &outcome.queue_full {
        return Err(failed(format!("the queue is full, {left} are not captured:"))
            .because(reason.clone())
            .hint("drain it or make room, and run this again"));
    }
    if !outcome.complete {
        return Err(
            failed(format!("stopped before everything was captured: {left} are left"))
                .hint("run this again; it goes on where it stopped"),
        );
    }
    if unknown > 0 {
        return Err(failed(format!("{} could not be looked at", count(unknown, "path")))
            .hint("the warnings say which; give access, and run this again"));
    }
    Ok(Exit::Well)
}
