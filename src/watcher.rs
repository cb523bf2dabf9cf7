//! The watcher: a thread that captures until it is told to stop, and the engine in it.

mod builder;
mod consumer;
mod each;
mod engine;
mod events;
mod hashed;
mod history;
mod live;
mod moment;
mod own_sink;
mod prepare;
mod status_file;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Receiver;

use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::source::Source;
use crate::wake::{StopSignal, Stopper, stop_pair};
use prepare::{Prepared, Taker};
use status_file::StatusFile;

pub use crate::source::kind::SourceKind;
pub use builder::WatcherBuilder;
pub use each::each_event;
pub use engine::{Outcome, run};
pub use live::LiveStatus;
pub use moment::Moment;

/// A thread that watches roots, and captures what is appended to the logs below them.
///
/// With a [home](WatcherBuilder::home), what it captured is in the queue there, durable and once, whatever happens to
/// the process. **Without one there is no durable cursor**: the lines go to a sink or a channel, and a new start reads
/// everything again.
///
/// Dropping it stops it, as [`Watcher::stop`] does, and waits for that; an error is logged then.
///
/// ```
/// use tailspool::Watcher;
///
/// # fn main() -> Result<(), tailspool::error::Error> {
/// let watcher = Watcher::builder()
///     .root("fixtures/trees")
///     .scope("fixtures/trees")
///     .events(16)
///     .once(true)
///     .spawn()?;
/// let events = watcher.events();
/// let lines = events.iter().filter(|event| event.kind == "append").count();
/// assert!(lines > 0);
/// assert_eq!(watcher.wait()?.captured.lines, lines as u64);
/// # Ok(())
/// # }
/// ```
pub struct Watcher {
    /// Its loss would stop the engine.
    stop: Stopper,
    /// None once it was joined.
    thread: Option<JoinHandle<Result<Outcome, Error>>>,
    events: Receiver<Event>,
    live: Arc<live::Live>,
}

impl Watcher {
    /// Collects what is to be watched, and who takes the lines.
    pub fn builder() -> WatcherBuilder {
        WatcherBuilder::new()
    }

    fn start(prepared: Prepared) -> Result<Self, Error> {
        let Prepared {
            mut source,
            taker,
            once,
            live,
            events: (sender, events),
        } = prepared;
        let failed = |cause| Error::new(ErrorKind::Failed, "cannot start the thread of the watcher").because(cause);
        let (stop, signal) = stop_pair().map_err(failed)?;
        let shown = Arc::clone(&live);
        let work = move || {
            let work = AssertUnwindSafe(|| capture(taker, &mut *source, &shown, &signal, once));
            let result = catch_unwind(work).unwrap_or_else(|panic| Err(panicked(&*panic)));
            shown.end(&result);
            // Whoever sees the end of the events finds the end in the status.
            drop(sender);
            result
        };
        let thread = std::thread::Builder::new()
            .name("tailspool".into())
            .spawn(work)
            .map_err(failed)?;
        Ok(Self {
            stop,
            thread: Some(thread),
            events,
            live,
        })
    }

    /// The events, in order: transitions and lines, as `docs/formats.md` has them.
    ///
    /// What comes is said at [`WatcherBuilder::events`]; a line that is longer than 1 MiB comes without its text. The
    /// channel ends when the watcher has ended and everything in it was received, so that `for event in
    /// watcher.events()` ends; that of a watcher that was built without events has ended from the start. All that are
    /// returned here share one queue: each event goes to one of them. The watcher keeps one itself, so that dropping
    /// them changes nothing.
    pub fn events(&self) -> Receiver<Event> {
        self.events.clone()
    }

    /// How it is doing. Asks nobody, and waits for nothing.
    pub fn status(&self) -> LiveStatus {
        self.live.read()
    }

    /// Tells it to stop, and waits until it has committed what it took. What it came to, or the error that ended it,
    /// also if that was before; a panic of the caller's own sink is an error too.
    ///
    /// It does not wait for room: what a queue, a sink or a channel refuses is left where it is. A sink that is at work
    /// is waited for: at most for what is left of 1 MiB of lines.
    pub fn stop(mut self) -> Result<Outcome, Error> {
        self.tell_to_stop();
        self.join()
    }

    /// Waits until it ends by itself: with [`WatcherBuilder::once`] when everything is captured, else only by an error.
    ///
    /// A channel of events that is the sink must be read meanwhile, by a receiver that was taken before.
    pub fn wait(mut self) -> Result<Outcome, Error> {
        self.join()
    }

    fn tell_to_stop(&self) {
        self.live.stop();
        self.stop.stop();
    }

    fn join(&mut self) -> Result<Outcome, Error> {
        let ended = self.thread.take().map(JoinHandle::join);
        ended.map_or_else(
            || Err(Error::new(ErrorKind::Failed, "the watcher has ended before")),
            |joined| joined.unwrap_or_else(|panic| Err(panicked(&*panic))),
        )
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.thread.is_none() {
            return;
        }
        self.tell_to_stop();
        if let Err(error) = self.join() {
            log::error!(code = "watcher.failed"; "{}", error.with_causes());
        }
    }
}

/// The work of the thread.
fn capture(
    taker: Taker,
    source: &mut dyn Source,
    live: &live::Live,
    stop: &StopSignal,
    once: bool,
) -> Result<Outcome, Error> {
    let mut tell = |moment: Moment<'_>| match moment {
        Moment::Begun(overview) => log::info!("watching {} files, {} bytes", overview.files, overview.bytes),
        Moment::CaughtUp(overview, tally) => {
            log::info!("caught up: {} lines captured", tally.lines);
            live.caught_up(overview, tally);
        }
        Moment::Progress(_, tally) | Moment::Minute(_, tally) => log::info!("{} lines captured", tally.lines),
    };
    match taker {
        Taker::Home(consumer, disk) => {
            let mut boards = live::Boards::new(live, Some(StatusFile::on(&*disk)));
            engine::drive(*consumer, source, &mut boards, stop, once, &mut tell)
        }
        Taker::Own(consumer) => {
            let mut boards = live::Boards::new(live, None);
            engine::drive(*consumer, source, &mut boards, stop, once, &mut tell)
        }
    }
}

/// The error that a panic becomes.
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::new(ErrorKind::Failed, "the watcher panicked:").because(text.unwrap_or("no word about why").to_owned())
}
