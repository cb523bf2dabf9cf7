//! A stage: a tree, a home, a clock and a pipeline, on which a script is played.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::clock::StageClock;
use super::errno;
use super::expect;
use super::failing::{FailingTree, Failures};
use super::files::{self, Ground, temporary};
use super::labels;
use super::operation::Operation;
use super::queued::{self, Queued};
use super::script::Head;
use crate::capture::{Capture, CaptureOptions};
use crate::clock::Clock;
use crate::disk::{Disk, OsDisk};
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::ledger::{scan, segments};

use crate::limits::LOOK_MS;
use crate::pure::entry::Entry;
use crate::pure::fold::Fold;
use crate::pure::ulids::system_random;
use crate::source::kind::SourceKind;
use crate::source::roots::{self, RootSpec};
use crate::source::scope::Scope;
use crate::source::tailer::SourceOptions;
use crate::source::tree::Tree;
use crate::source::{Budget, Source};

/// Makes a source that goes on from what was committed: once at the beginning, and again at each restart or crash.
pub type MakeSource =
    Box<dyn FnMut(SourceOptions, Box<dyn Tree>, Arc<dyn Clock>, &Fold) -> Result<Box<dyn Source>, Error> + Send>;

/// A whole pipeline over a tree of its own, driven operation by operation.
///
/// Dropping it removes everything. It starts no thread.
pub struct Stage {
    head: Head,
    tree: PathBuf,
    disk: Arc<dyn Disk>,
    clock: Arc<StageClock>,
    failures: Arc<Failures>,
    events: Arc<Mutex<Vec<Event>>>,
    make_source: MakeSource,
    /// None after [`Stage::stop`].
    running: Option<Running>,
    /// Removed when nothing above is open any more.
    _ground: Ground,
}

struct Running {
    capture: Capture,
    source: Box<dyn Source>,
}

impl Stage {
    /// An empty tree, polled as `head` says; its needs are not asked for.
    pub fn new(head: &Head) -> Result<Self, Error> {
        Self::on(head, SourceKind::Poll)
    }

    /// The same with another source.
    pub fn on(head: &Head, kind: SourceKind) -> Result<Self, Error> {
        let ground = temporary()?;
        let disk = OsDisk::create(&ground.path().join("home"))?;
        Self::over(head, ground, Arc::new(disk), of_kind(kind))
    }

    /// An empty tree, polled, and its home on another disk, such as a simulated one.
    pub fn with_home(head: &Head, disk: Arc<dyn Disk>) -> Result<Self, Error> {
        Self::with(head, disk, of_kind(SourceKind::Poll))
    }

    /// The same with a source of the caller's own.
    pub fn with(head: &Head, disk: Arc<dyn Disk>, make_source: MakeSource) -> Result<Self, Error> {
        Self::over(head, temporary()?, disk, make_source)
    }

    fn over(head: &Head, ground: Ground, disk: Arc<dyn Disk>, make_source: MakeSource) -> Result<Self, Error> {
        head.check().map_err(|cause| usage("bad head:", cause))?;
        let tree = ground.directory("tree")?;
        let mut stage = Self {
            head: head.clone(),
            tree,
            disk,
            clock: Arc::new(StageClock::new()),
            failures: Arc::default(),
            events: Arc::default(),
            make_source,
            running: None,
            _ground: ground,
        };
        stage.start()?;
        Ok(stage)
    }

    /// Where the tree is.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// The tree as the pipeline sees it: looks fail in it as they do for the pipeline.
    pub fn seen(&self) -> Box<dyn Tree> {
        Box::new(FailingTree::new(&self.tree, &self.failures))
    }

    /// The clock that only operations move.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::<StageClock>::clone(&self.clock)
    }

    /// Does what an operation says.
    ///
    /// Fails as [`ErrorKind::Usage`] when the operation makes no sense by itself, and otherwise when it
    /// cannot be done.
    pub fn play(&mut self, operation: &Operation) -> Result<(), Error> {
        operation.check().map_err(|cause| usage("bad operation:", cause))?;
        match operation {
            Operation::Look => self.look(),
            Operation::Pass { ms } => {
                self.clock.pass(*ms);
                Ok(())
            }
            Operation::Fail { path, errno } => {
                let errno = errno.as_deref().map(errno::named).transpose();
                let errno = errno.map_err(|cause| usage("bad operation:", cause))?;
                self.failures.set(Path::new(path), errno);
                Ok(())
            }
            Operation::Restart => {
                self.stop()?;
                self.start()
            }
            Operation::Crash => {
                self.running = None;
                self.start()
            }
            Operation::Write { .. }
            | Operation::Append { .. }
            | Operation::Rename { .. }
            | Operation::Truncate { .. }
            | Operation::Remove { .. }
            | Operation::Mkdir { .. }
            | Operation::Chmod { .. }
            | Operation::Symlink { .. }
            | Operation::Hardlink { .. } => files::play(&self.tree, operation),
        }
    }

    /// Stops the capture well. After it only [`Operation::Restart`] and [`Operation::Crash`] start another.
    pub fn stop(&mut self) -> Result<(), Error> {
        match self.running.take() {
            Some(mut running) => {
                running.source.finish(&mut running.capture)?;
                running.capture.stop().map(drop)
            }
            None => Ok(()),
        }
    }

    /// As [`Operation::Crash`], and the home is then on this disk: what a loss of power left of the one before.
    pub fn crash_onto(&mut self, disk: Arc<dyn Disk>) -> Result<(), Error> {
        self.running = None;
        self.disk = disk;
        self.start()
    }

    /// The committed events but for the first `before`, with absolute paths.
    pub fn events_after(&self, before: usize) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.get(before..).unwrap_or_default().to_vec()
    }

    /// The committed events, all of them, with absolute paths.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The committed events as the text of an `expect.jsonl`.
    pub fn expectation(&self) -> Result<String, Error> {
        Ok(expect::text(&labels::normalized(&self.events(), &self.tree)?))
    }

    /// What the queue holds, in order; it stays there.
    pub fn queue(&self) -> Result<Vec<Queued>, Error> {
        queued::of(&*self.disk)
    }

    /// What the ledger holds, in order, without the lines that seal commits.
    pub fn ledger(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for segment in 1..=segments(&*self.disk)? {
            scan(&*self.disk, segment, 0, |sealed| {
                for line in sealed.lines.split_inclusive(|byte| *byte == b'\n') {
                    entries.push(Entry::parse(line).map_err(|error| error.to_string())?);
                }
                Ok(())
            })?;
        }
        Ok(entries)
    }

    fn start(&mut self) -> Result<(), Error> {
        let (disk, options) = (Arc::clone(&self.disk), CaptureOptions::default());
        let mut capture = Capture::open(disk, self.clock(), system_random(), options)?;
        let events = Arc::clone(&self.events);
        capture.observe(Box::new(move |event| {
            events
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(event.clone());
        }));
        let (options, seen, clock) = (self.source_options()?, self.seen(), self.clock());
        let source = (self.make_source)(options, seen, clock, capture.fold())?;
        self.running = Some(Running { capture, source });
        Ok(())
    }

    fn source_options(&self) -> Result<SourceOptions, Error> {
        let scope = Scope::new(None, std::slice::from_ref(&self.tree))?;
        let specs = self.head.roots.iter().map(|root| RootSpec::new(self.tree.join(root)));
        let roots = roots::check(specs.collect(), &scope, None)?;
        let mut options = SourceOptions::new(roots, scope);
        self.head.options.apply(&mut options);
        Ok(options)
    }

    /// One whole pass, or all that was told and is due by time, and a commit.
    fn look(&mut self) -> Result<(), Error> {
        self.clock.pass(LOOK_MS);
        let Some(running) = &mut self.running else {
            return Err(usage("cannot look:", "the capture is stopped".into()));
        };
        running.source.look_now();
        loop {
            let report = running.source.poll(Budget { bytes: u64::MAX }, &mut running.capture)?;
            running.capture.commit()?;
            if let Some(reason) = running.capture.queue_full() {
                return Err(Error::new(ErrorKind::Failed, "the queue takes nothing more:")
                    .because(reason.to_owned())
                    .hint("make room on the disk of the temporary directory, or name another one with TMPDIR"));
            }
            if !report.more {
                return Ok(());
            }
        }
    }
}

/// Sources of a kind.
fn of_kind(kind: SourceKind) -> MakeSource {
    Box::new(move |options, tree, clock, fold| kind.open(options, tree, clock, fold))
}

fn usage(what: &str, cause: String) -> Error {
    Error::new(ErrorKind::Usage, what).because(cause)
}
