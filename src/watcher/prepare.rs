//! Checks what a watcher is asked to do, and opens what it needs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::builder::WatcherBuilder;
use super::each::each_event;
use super::events::Teller;
use super::live::Live;
use super::own_sink::OwnSink;
use crate::capture::{Capture, CommitPace};
use crate::clock::{Clock, SystemClock};
use crate::discover::Discovery;
use crate::disk::{Disk, HomePlace, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::home::{refuse_network, tell_of_others};
use crate::limits::{HOT_INTERVAL, TIME_MAX};
use crate::pure::fold::Fold;
use crate::pure::ulids::system_random;
use crate::source::exclude::Exclude;
use crate::source::globs;
use crate::source::roots;
use crate::source::scope::Scope;
use crate::source::tailer::SourceOptions;
use crate::source::tree::OsTree;
use crate::source::{EventSink, Source, Verdict};

/// Everything that a watcher needs, ready to run.
pub(super) struct Prepared {
    pub(super) source: Box<dyn Source>,
    pub(super) taker: Taker,
    pub(super) once: bool,
    pub(super) live: Arc<Live>,
    /// Both ends; the first is kept until the watcher has ended.
    pub(super) events: (Option<Sender<Event>>, Receiver<Event>),
}

/// Who takes the lines.
pub(super) enum Taker {
    Home(Box<Capture>, Arc<dyn Disk>),
    Own(Box<OwnSink>),
}

pub(super) fn prepare(mut asked: WatcherBuilder) -> Result<Prepared, Error> {
    check(&asked)?;
    let mut options = source_options(&mut asked)?;
    let live = Arc::new(Live::running());
    let (sender, events) = bounded(asked.events.unwrap_or_default());
    let sender = asked.events.map(|_| sender);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (taker, place) = open(&mut asked, sender.clone(), &live, &clock)?;
    options.home = place;
    let nothing = Fold::default();
    let fold = match &taker {
        Taker::Home(capture, _) => capture.fold(),
        Taker::Own(_) => &nothing,
    };
    let source = asked.source.open(options, Box::<OsTree>::default(), clock, fold)?;
    Ok(Prepared {
        source,
        taker,
        once: asked.once,
        live,
        events: (sender, events),
    })
}

/// What is watched, checked before a home is made.
fn source_options(asked: &mut WatcherBuilder) -> Result<SourceOptions, Error> {
    let user_home = std::env::var_os("HOME");
    let scope = Scope::new(user_home.as_deref(), &asked.scopes)?;
    let exclude = Exclude::new(&asked.exclude, user_home.as_deref())?;
    let mut specs = std::mem::take(&mut asked.roots);
    if asked.agents {
        let discovery = Discovery::here(&scope, &exclude);
        discovery.log_left_out();
        specs.extend(discovery.roots_beside(&specs));
    }
    let mut options = SourceOptions::new(roots::check(specs, &scope, asked.home.as_deref())?, scope);
    options.exclude = exclude;
    (options.once, options.from_end) = (asked.once, asked.from_end);
    (options.interval, options.sweep_interval) = (asked.interval, asked.sweep_interval);
    options.files_max = asked.files_max;
    if !asked.globs.is_empty() {
        options.globs = std::mem::take(&mut asked.globs);
    }
    // The source compiles them again, when the home is taken already.
    let of_roots = options.roots.iter().filter_map(|root| root.spec.globs.as_ref());
    for patterns in of_roots.chain([&options.globs]) {
        globs::compile(patterns)?;
    }
    Ok(options)
}

fn usage(what: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Usage, what).hint(hint)
}

/// What contradicts itself.
fn check(asked: &WatcherBuilder) -> Result<(), Error> {
    let is_time = |time: Duration| !time.is_zero() && time <= TIME_MAX;
    let home = asked.home.is_some();
    if asked.roots.is_empty() && !asked.agents {
        return Err(usage(
            "no root is given",
            "name a directory with `root`, or take the `known_agents`",
        ));
    }
    if home && asked.sink.is_some() {
        let hint = "take one of `home` and `sink`; what a home captured is drained from its queue";
        return Err(usage("a home and a sink are given", hint));
    }
    if asked.events == Some(0) {
        return Err(usage(
            "a channel of events needs room",
            "give `events` a capacity of 1 or more",
        ));
    }
    if !home && (asked.capture.is_some() || asked.network_home) {
        let hint = "name a `home`, or leave `capture` and `allow_network_home` out";
        return Err(usage("options of a home are given, and no home", hint));
    }
    if !is_time(asked.interval) || !is_time(asked.sweep_interval) {
        return Err(usage(
            "the interval makes no sense",
            "give one above 0 and at most 24 h",
        ));
    }
    let pace = asked.capture.map(|options| options.commit_pace);
    if let Some(CommitPace::Fixed(interval)) = pace
        && interval > TIME_MAX
    {
        return Err(usage("the commit interval makes no sense", "give one of at most 24 h"));
    }
    Ok(())
}

/// Takes the home, or whoever else takes the lines.
fn open(
    asked: &mut WatcherBuilder,
    sender: Option<Sender<Event>>,
    live: &Arc<Live>,
    clock: &Arc<dyn Clock>,
) -> Result<(Taker, Option<HomePlace>), Error> {
    let teller = |channel| Teller {
        channel,
        missed: Arc::clone(&live.events_missed),
    };
    let own = |sink, teller| {
        Ok((
            Taker::Own(Box::new(OwnSink::new(sink, Arc::clone(clock), teller))),
            None,
        ))
    };
    match (&asked.home, asked.sink.take(), sender) {
        (Some(home), _, sender) => {
            let (disk, place) = open_home(home, asked.network_home)?;
            let options = asked.capture.unwrap_or_default();
            let mut capture = Capture::open(Arc::clone(&disk), Arc::clone(clock), system_random(), options)?;
            if let Some(teller) = sender.map(teller) {
                capture.observe(Box::new(move |event| teller.tell(event)));
            }
            Ok((Taker::Home(Box::new(capture), disk), Some(place)))
        }
        (None, Some(sink), sender) => own(sink, sender.map(teller)),
        (None, None, Some(sender)) => own(Box::new(channel_sink(sender, Arc::clone(live))), None),
        (None, None, None) => Err(usage(
            "nobody takes the lines",
            "name a `home`, a `sink`, or a channel of `events`",
        )),
    }
}

fn open_home(home: &Path, network_home: bool) -> Result<(Arc<dyn Disk>, HomePlace), Error> {
    let disk = OsDisk::create(home)?;
    if !network_home {
        refuse_network(&disk)?;
    }
    tell_of_others(&disk);
    let place = disk.place();
    let place = place.map_err(|cause| Error::io("cannot look at the home", home, cause))?;
    Ok((Arc::new(disk), place))
}

/// The channel as a sink: it refuses when there was no room for a moment, or when it is to stop.
fn channel_sink(channel: Sender<Event>, live: Arc<Live>) -> impl EventSink + Send {
    each_event(move |event| {
        let sent = !live.is_stopping() && channel.send_timeout(event, HOT_INTERVAL).is_ok();
        Ok(if sent { Verdict::Taken } else { Verdict::Refused })
    })
}
