//! How a drain that follows hears of batches: from the kernel where it tells, else by looking often.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::disk::{Disk, OsDisk};
use crate::filesystem::changes_untold;
use crate::home::PENDING;
use crate::inotify::{Event, Inotify, Mask, Watch};
use crate::limits::{FOLLOW_CHECK, FOLLOW_INTERVAL};
use crate::pure::name::Name;
use crate::wake::{Awaited, StopSignal, Woken};

/// Why a drain that follows woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It is time to stop.
    Stop,
    /// A listing will show something new, as a rule.
    Batch,
    /// The time has passed.
    Nothing,
}

/// What a drain that follows waits for between its rounds.
pub trait News {
    /// Whether it is time to stop. Asked before each batch, and never sleeps.
    fn is_over(&mut self) -> bool;

    /// Sleeps until it is time to stop, a batch has come, or `time` has passed. What came since the last wait counts.
    fn wait(&mut self, time: Duration) -> Heard;

    /// How long the times of the queue's directory may go unlooked at, for batches of which nothing is heard.
    fn check_interval(&self) -> Duration;
}

/// The news of a home: of its queue, and whether it is still there.
pub struct HomeNews<'a> {
    home: &'a OsDisk,
    stop: StopSignal,
    /// None where the queue is looked at instead.
    watched: Option<Watched>,
    is_lost: bool,
}

impl<'a> HomeNews<'a> {
    /// Asks the kernel to tell of batches from now on. Where it refuses, that is logged, and the queue is looked at
    /// every 200 ms.
    pub fn new(home: &'a OsDisk, stop: StopSignal) -> Self {
        let mut news = Self {
            home,
            stop,
            watched: None,
            is_lost: false,
        };
        match Watched::new(home) {
            Ok(watched) => news.watched = Some(watched),
            Err(cause) => news.look(&cause.to_string()),
        }
        news
    }

    /// Whether it ended because the home was removed or replaced.
    pub fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// From now on the queue is looked at.
    fn look(&mut self, why: &str) {
        self.watched = None;
        let interval = FOLLOW_INTERVAL.as_millis();
        log::info!("nothing tells of new batches ({why}): the queue is looked at every {interval} ms");
    }

    /// What was told, if it is worth waking up for.
    fn read(&mut self) -> Option<Heard> {
        let told = match self.watched.as_mut()?.read() {
            Ok(told) => told,
            Err(cause) => {
                self.look(&cause.to_string());
                return Some(Heard::Batch);
            }
        };
        if told.ended {
            self.look("its directory was removed or replaced");
            return Some(Heard::Batch);
        }
        match (told.batch, told.home) {
            (true, _) => Some(Heard::Batch),
            (false, true) => Some(Heard::Nothing),
            (false, false) => None,
        }
    }
}

impl News for HomeNews<'_> {
    fn is_over(&mut self) -> bool {
        self.stop.is_stopped()
    }

    fn wait(&mut self, time: Duration) -> Heard {
        let until = Instant::now() + time;
        let heard = loop {
            let others: Vec<_> = self.watched.iter().map(Watched::awaited).collect();
            let left = until.saturating_duration_since(Instant::now());
            match self.stop.wait(&others, Some(left)) {
                Woken::Stopped => return Heard::Stop,
                Woken::TimedOut => break Heard::Nothing,
                Woken::Ready(_) => {
                    if let Some(heard) = self.read() {
                        break heard;
                    }
                }
            }
        };
        self.is_lost = !self.home.is_current();
        if self.is_lost { Heard::Stop } else { heard }
    }

    fn check_interval(&self) -> Duration {
        if self.watched.is_some() {
            FOLLOW_CHECK
        } else {
            FOLLOW_INTERVAL
        }
    }
}

/// The directories that the kernel tells of.
struct Watched {
    inotify: Inotify,
    home: Watch,
    queue: Watch,
}

/// What was told of them.
#[derive(Debug, Default, Clone, Copy)]
struct Told {
    batch: bool,
    /// The home was moved or removed, or may have been.
    home: bool,
    /// Nothing more will be told of the queue.
    ended: bool,
}

impl Watched {
    fn new(home: &OsDisk) -> io::Result<Self> {
        // So that there is something to be watched; whoever captures would make it.
        home.create_dir(Path::new(PENDING))?;
        if let Some(why) = changes_untold(home.open_dir(Path::new(PENDING))?.as_fd()) {
            return Err(io::Error::other(why));
        }
        let inotify = Inotify::new()?;
        let gone = Mask::MOVE_SELF | Mask::DELETE_SELF;
        let add = |path: &Path, mask| {
            // Closed at once: the removal of a directory that somebody has open is not told.
            let directory = home.open_dir(path)?;
            inotify.add(directory.as_fd(), &home.show(path), mask)
        };
        Ok(Self {
            home: add(Path::new(""), gone)?,
            // Batches become visible by a rename; claims and removals are news to nobody, and lock files that get another name
            // are told and not heard.
            queue: add(Path::new(PENDING), Mask::MOVED_TO | gone)?,
            inotify,
        })
    }

    fn awaited(&self) -> Awaited<'_> {
        Awaited::readable(self.inotify.fd())
    }

    fn read(&mut self) -> io::Result<Told> {
        let (home, queue) = (self.home, self.queue);
        let mut told = Told::default();
        self.inotify.read(&mut |event| told.hear(&event, home, queue))?;
        Ok(told)
    }
}

impl Told {
    fn hear(&mut self, event: &Event<'_>, home: Watch, queue: Watch) {
        let ends = Mask::MOVE_SELF | Mask::DELETE_SELF | Mask::UNMOUNT | Mask::IGNORED;
        let is_batch = |name| Name::parse(name).readable_records().is_some();
        self.batch |=
            event.what.has(Mask::OVERFLOW) || event.what.has(Mask::MOVED_TO) && event.name.is_some_and(is_batch);
        self.home |= event.watch == home || event.what.has(Mask::OVERFLOW);
        self.ended |= event.watch == queue && event.what.has(ends);
    }
}
