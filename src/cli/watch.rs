//! `tailspool watch`.

use std::io::Write;
use std::sync::Arc;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::options::{SettingsArgs, exclude_in_force, scope_in_force};
use super::roots::{Roots, roots_in_force};
use super::speaker;
use super::telling::Telling;
use super::{Common, Exit};
use crate::capture::{Capture, CaptureOptions, Overlap};
use crate::clock::{Clock, SystemClock};
use crate::config::{Begin, Origin, Settings};
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::home::{refuse_network, tell_of_others, user_home};
use crate::pure::ulids::system_random;
use crate::queue::depth::QueueLimits;
use crate::show::{bytes, count, json};
use crate::source::roots;
use crate::source::tailer::SourceOptions;
use crate::source::tree::OsTree;
use crate::wake::{StopSignal, stop_pair};
use crate::watcher::{self, Moment, Outcome};

/// Options of `watch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    settings: SettingsArgs,
    /// Capture what is there now, up to the size that each file has at its first look, and end. Exits 1 if
    /// something could not be looked at, the queue is full, or a signal ends it before
    #[arg(long, help_heading = "Which of their lines")]
    once: bool,
    /// Print each event, once it is committed, as a JSON line on standard output
    #[arg(long, help_heading = "What is printed")]
    events: bool,
}

/// Captures.
pub(super) fn run(common: &Common, args: Args) -> Result<Exit, Error> {
    let stop = signals()?;
    let settings = args.settings.settings(common)?;
    let scope = scope_in_force(&settings)?;
    let exclude = exclude_in_force(&settings)?;
    let Roots { specs, unknown } = roots_in_force(&settings, &scope, &exclude)?;
    let home = settings.home()?;
    let roots = roots::check(specs, &scope, Some(&home))?;
    for root in &roots {
        exclude.refuse(root, user_home().as_deref())?;
    }

    let elsewhere = Some(&home).filter(|_| must_be_told(common, &settings)).cloned();
    let disk = OsDisk::create(&home)?;
    if !settings.allow_network_home.value {
        refuse_network(&disk)?;
    }
    tell_of_others(&disk);
    let place = disk
        .place()
        .map_err(|cause| Error::io("cannot look at the home", &home, cause))?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut capture = Capture::open(
        Arc::clone(&disk),
        Arc::clone(&clock),
        system_random(),
        capture_options(&settings),
    )?;
    if args.events {
        capture.observe(Box::new(event_printer()));
    }
    let source_kind = settings.source.value;
    let mut source_options = source_options(settings, args.once, SourceOptions::new(roots, scope));
    source_options.home = Some(place);
    source_options.exclude = exclude;
    let mut source = source_kind.open(source_options, Box::<OsTree>::default(), clock, capture.fold())?;
    speaker::start()?;
    let mut telling = Telling::new(common, &*disk);
    let mut tell = |moment: Moment<'_>| telling.tell(moment);
    let outcome = watcher::run(capture, &mut *source, &*disk, &stop, args.once, &mut tell)?;
    telling.end(&outcome, elsewhere.as_deref());
    if args.once {
        judge_once(&outcome, unknown)
    } else {
        Ok(Exit::Well)
    }
}

/// Whether a drain must be told which home it is.
fn must_be_told(common: &Common, settings: &Settings) -> bool {
    match settings.home.origin {
        Origin::CommandLine => true,
        Origin::File { .. } => common.config.is_some(),
        Origin::Default | Origin::Env(_) => false,
    }
}

fn capture_options(settings: &Settings) -> CaptureOptions {
    CaptureOptions {
        commit_pace: settings.commit_interval.value,
        limits: QueueLimits {
            records_max: settings.max_pending_records.value,
            bytes_max: settings.max_pending_bytes.value,
        },
        on_full: settings.on_full.value,
        layout: settings.layout.value,
        overlap: Overlap::default(),
    }
}

fn source_options(settings: Settings, once: bool, options: SourceOptions) -> SourceOptions {
    let files_max = settings.max_files.value;
    SourceOptions {
        globs: settings.glob.value,
        from_end: settings.from.value == Begin::End,
        files_max: files_max.map(|max| usize::try_from(max).unwrap_or(usize::MAX)),
        interval: settings.interval.value,
        sweep_interval: settings.sweep_interval.value,
        once,
        ..options
    }
}

/// SIGINT and SIGTERM: the first one asks to stop, the second one ends the process.
pub(super) fn signals() -> Result<StopSignal, Error> {
    let failed = |cause| Error::new(ErrorKind::Failed, "cannot handle signals").because(cause);
    let (stopper, stop) = stop_pair().map_err(failed)?;
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let wait = move || {
        for (count, _) in signals.forever().enumerate() {
            if count > 0 {
                std::process::exit(Exit::Interrupted as i32);
            }
            stopper.stop();
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .map_err(failed)?;
    Ok(stop)
}

/// Prints events until standard output takes no more.
fn event_printer() -> impl FnMut(&crate::event::Event) {
    let mut open = true;
    move |event| {
        if !open {
            return;
        }
        let line = serde_json::to_string(event).map(|text| json(text) + "\n");
        let printed = line.map_err(std::io::Error::from);
        if let Err(error) = printed.and_then(|line| std::io::stdout().lock().write_all(line.as_bytes())) {
            open = false;
            log::warn!("no more events are printed: {error}; capturing goes on");
        }
    }
}

/// `--once` has failed when something is left that it should have captured.
fn judge_once(outcome: &Outcome, unknown_roots: u64) -> Result<Exit, Error> {
    let unknown = outcome.overview.unknown + unknown_roots;
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
            .hint("the warnings say which; give access, name what is there, and run this again"));
    }
    Ok(Exit::Well)
}
