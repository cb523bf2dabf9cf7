//! Captures the logs below a directory into a home, once, as a program that embeds the library does it:
//! `cargo run --example capture_once -- LOGS HOME`.

#![allow(clippy::print_stdout, reason = "an example may talk")]

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use tailspool::capture::{Capture, CaptureOptions};
use tailspool::clock::{Clock, SystemClock};
use tailspool::disk::{Disk, OsDisk};
use tailspool::pure::ulids::system_random;
use tailspool::source::polling::PollingSource;
use tailspool::source::roots::{self, RootSpec};
use tailspool::source::scope::Scope;
use tailspool::source::tailer::SourceOptions;
use tailspool::source::tree::OsTree;
use tailspool::watcher::{self, Moment};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(logs), Some(home)) = (arguments.next(), arguments.next()) else {
        return Err("usage: capture_once LOGS HOME".into());
    };
    // Whoever embeds the library says what may be opened: here, the directory itself.
    let scope = Scope::new(None, std::slice::from_ref(&logs))?;
    let roots = roots::check(vec![RootSpec::new(logs)], &scope, Some(&home))?;

    let disk = OsDisk::create(&home)?;
    let place = disk.place()?;
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = CaptureOptions::default();
    let mut capture = Capture::open(Arc::clone(&disk), Arc::clone(&clock), system_random(), options)?;
    capture.observe(Box::new(|event| {
        println!("{} {}", event.kind, event.path.escape_debug());
    }));

    let mut options = SourceOptions::new(roots, scope);
    options.home = Some(place);
    options.once = true;
    let mut source = PollingSource::new(options, Box::<OsTree>::default(), clock, capture.fold())?;
    // Dropping the sender would stop the watcher; sending `Wake::Stop` does too.
    let (_keep, wake) = crossbeam_channel::bounded(1);
    let mut tell = |_: Moment<'_>| {};
    let outcome = watcher::run(capture, &mut source, &*disk, &wake, true, &mut tell)?;
    println!("{} lines captured", outcome.captured.lines);
    Ok(())
}
