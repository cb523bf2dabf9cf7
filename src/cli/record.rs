//! `tailspool record`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueHint;

use super::options::{LookArgs, exclude_in_force, scope_in_force};
use super::watch::signals;
use super::{Common, Exit};
use crate::clock::SystemClock;
use crate::config::duration;
use crate::disk::OsDisk;
use crate::error::{Error, ErrorKind};
use crate::home::user_home;
use crate::pure::scrub::Secret;
use crate::pure::ulids::system_random;
use crate::record::{RecordOptions, Recorder};
use crate::show::{Shown, count};
use crate::source::exclude::Exclude;
use crate::source::roots::{self, RootSpec};
use crate::source::scope::Scope;
use crate::source::tree::OsTree;
use crate::wake::{StopSignal, Woken};

/// Options of `record`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory whose logs are recorded
    #[arg(value_name = "ROOT", value_hint = ValueHint::DirPath)]
    root: PathBuf,
    /// Where the fixture is made: a directory that is empty or not there, and not in ROOT
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// Replace every letter and digit inside JSON strings, and the stems of names, by others, so that the
    /// recording can be shown around. Keys, numbers, structure and lengths stay, and so do the words user,
    /// assistant, system and tool where they say whose line it is
    #[arg(long)]
    scrub: bool,
    /// Time between two looks, as a number and a unit (500ms, 2s, 1m), at most 24h
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    interval: Duration,
    /// End after this many looks [default: at Ctrl-C or SIGTERM, after one look more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    looks: Option<u64>,
    #[command(flatten)]
    look: LookArgs,
    /// Which files are logs: a pattern without `/` goes by the name, another by the path below ROOT. Can be
    /// given more than once
    #[arg(long, value_name = "PATTERN", default_value = "*.jsonl")]
    glob: Vec<String>,
}

/// Records.
pub(super) fn run(common: &Common, args: Args) -> Result<Exit, Error> {
    let stop = signals()?;
    let settings = args.look.settings(common)?;
    let exclude = exclude_in_force(&settings)?;
    let home = settings.home()?;
    let options = RecordOptions {
        root: directory(&args.root, &scope_in_force(&settings)?, &exclude, &home)?,
        fixture: args.out,
        globs: args.glob,
        secret: args.scrub.then(secret),
        exclude,
        but: place(&home),
    };
    let (root, fixture) = (options.root.clone(), options.fixture.clone());
    let mut recorder = Recorder::new(options, Box::<OsTree>::default(), Arc::new(SystemClock))?;
    common.say(format_args!("recording {}", Shown::path(&root)));
    watch(&mut recorder, &stop, args.interval, args.looks)?;
    if common.verbose == 0 {
        // What is played to find the expected events warns of the same as `replay`, which says nothing either.
        log::set_max_level(log::LevelFilter::Error);
    }
    let done = recorder.finish()?;
    common.say(format_args!(
        "recorded {}, {} and {} in {}",
        count(done.looks, "look"),
        count(done.operations, "operation"),
        count(done.events, "event"),
        Shown::path(&fixture)
    ));
    Ok(Exit::Well)
}

/// The root, resolved, under the guard that `watch` has.
fn directory(root: &Path, scope: &Scope, exclude: &Exclude, home: &Path) -> Result<PathBuf, Error> {
    let spec = RootSpec::new(root);
    let checked = roots::check(vec![spec], scope, Some(home))?;
    for root in &checked {
        exclude.refuse(root, user_home().as_deref())?;
    }
    let place = checked.into_iter().find_map(|root| root.place);
    match place.filter(|place| place.only.is_none()) {
        Some(place) => Ok(place.directory),
        None => Err(Error::new(ErrorKind::Usage, "what is recorded must be a directory:")
            .at(root)
            .because("it is none, or is not there")),
    }
}

/// Device and inode of the home, if there is one: its queue is made of logs too.
fn place(home: &Path) -> Option<(u64, u64)> {
    let disk = OsDisk::open(home).ok()?;
    disk.place().ok().map(|place| place.identity)
}

/// A secret that nobody knows and that is kept nowhere.
fn secret() -> Secret {
    let mut random = system_random();
    let mut bytes = [0; 32];
    for part in bytes.chunks_mut(8) {
        let drawn = random().to_le_bytes();
        part.copy_from_slice(&drawn[..part.len()]);
    }
    Secret::new(&bytes)
}

fn watch(recorder: &mut Recorder, stop: &StopSignal, interval: Duration, looks: Option<u64>) -> Result<(), Error> {
    loop {
        recorder.look()?;
        if looks.is_some_and(|looks| recorder.looks() >= looks) {
            return Ok(());
        }
        if stop.wait(&[], Some(interval)) == Woken::Stopped {
            // What happened since is part of it.
            return recorder.look();
        }
    }
}
