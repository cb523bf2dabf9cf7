//! Recording: what happens to a real tree, written down as a fixture.
//!
//! At each look the tree is walked and compared with what the look before it showed; the operations that
//! lead from the one to the other are written to the script, and then a `look`. So what a fixture plays is
//! what looks could see, not what programs did in between: two appends are one, and a file that came and went
//! between two looks was never there. When the recording ends, the script is played, and the events that come
//! are what it expects.
//!
//! Recorded are directories, symlinks, and the regular files whose names are those of logs, also under other
//! names that they get later. A symlink is never followed. What was seen of a file is kept in a copy in a
//! temporary directory, so that a change can be told from the content without holding it in memory; with the
//! copies a recording needs as much room there as the logs take.

mod files;
mod options;
mod plan;
mod script;
mod shadow;
mod sight;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind};
use crate::limits::{LOOK_MS, PASS_MS_MAX};
use crate::replay::{EXPECT, Operation, Played, SCRIPT, bless};
use crate::show::Shown;
use crate::source::globs::{self, Globs};
use crate::source::roots::{Root, RootSpec};
use crate::source::scope::resolve;
use crate::source::tree::Tree;
use files::Files;
pub use options::RecordOptions;
use plan::{Names, Step, Thing, plan};
use script::ScriptFile;
use shadow::Change;
use sight::{Failing, Observer, Sight};
use walk::{Walked, walk};

/// What the names of ours in a script begin with; such names in the tree itself are left out.
const TEMPORARY: &str = ".tailspool-record-";

/// What a recording came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// Looks.
    pub looks: u64,
    /// Other operations.
    pub operations: u64,
    /// Events that they give.
    pub events: u64,
}

/// Records look by look, whenever it is told to look.
///
/// Dropping it without [`Recorder::finish`] leaves a script that expects nothing yet.
pub struct Recorder {
    options: RecordOptions,
    root: Root,
    tree: Box<dyn Tree>,
    clock: Arc<dyn Clock>,
    globs: Globs,
    script: ScriptFile,
    files: Files,
    /// What the last look showed.
    sight: Sight,
    last_look: Option<Instant>,
    /// How many temporary names were given.
    temporaries: u64,
    /// Names that were left out, so that each is told once.
    left_out: BTreeSet<PathBuf>,
}

impl Recorder {
    /// Makes the fixture; nothing is looked at yet.
    ///
    /// Fails as [`ErrorKind::Usage`] when the fixture lies in the root or is not empty, when a pattern is none,
    /// or when scrubbed names would not match it.
    pub fn new(options: RecordOptions, tree: Box<dyn Tree>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        options.check()?;
        let globs = globs::compile(&options.globs)?;
        let files = Files::new(options.secret.clone())?;
        let copies = resolve(files.copies()).unwrap_or_else(|_| files.copies().to_owned());
        if copies.starts_with(&options.root) {
            return Err(Error::new(ErrorKind::Usage, "copies must not lie in what is recorded:")
                .at(files.copies())
                .because(format!("it is in {}", Shown::path(&options.root)))
                .hint("name another directory for temporary files with TMPDIR"));
        }
        let root = Root {
            spec: RootSpec::new(&options.root),
            resolved: options.root.clone(),
            place: None,
        };
        Ok(Self {
            script: ScriptFile::create(&options.fixture, &options.head(), options.secret.clone())?,
            root,
            options,
            tree,
            clock,
            globs,
            files,
            sight: Sight::default(),
            last_look: None,
            temporaries: 0,
            left_out: BTreeSet::new(),
        })
    }

    /// The path, relative to the root, as the script says it.
    pub fn name_in_script(&self, path: &str) -> String {
        self.script.path(path)
    }

    /// How many looks were taken.
    pub fn looks(&self) -> u64 {
        self.script.looks
    }

    /// Looks at everything, and writes down what happened since the last look.
    ///
    /// What cannot be looked at is part of the recording; an error is one of the recording itself.
    pub fn look(&mut self) -> Result<(), Error> {
        let now = self.clock.now();
        let excluded = |relative: &Path| self.options.exclude.covers(&self.root, relative);
        let walked = walk(&*self.tree, &self.options.root, self.options.but, &excluded);
        self.tell_left_out(&walked);
        let sight = self.observe(walked)?;
        let gone = self.gone(&sight.names);
        for (number, path) in &gone {
            self.files.read_kept(*number)?;
            self.write_change(*number, path)?;
        }
        self.write_steps(&sight.names)?;
        self.write_changes(&sight.names)?;
        for number in gone.keys() {
            self.files.forget(*number)?;
        }
        self.write_failing(&sight.failing)?;
        self.sight = sight;
        self.write_pass(now)?;
        self.script.operation(&Operation::Look)?;
        self.script.flush()
    }

    /// Plays the script, and writes down what comes as what is expected.
    pub fn finish(mut self) -> Result<Recorded, Error> {
        self.script.flush()?;
        let fixture = &self.options.fixture;
        if let Played::Differs(diff) = bless(fixture)? {
            return Err(Error::new(ErrorKind::Failed, "cannot play what was recorded:")
                .at(fixture.join(SCRIPT))
                .because(diff));
        }
        Ok(Recorded {
            looks: self.script.looks,
            operations: self.script.operations,
            events: script::count_lines(&fixture.join(EXPECT))?,
        })
    }

    fn tell_left_out(&mut self, walked: &Walked) {
        for path in &walked.unnamed {
            if self.left_out.insert(path.clone()) {
                log::warn!(
                    "{} is left out: no script can hold a name that is not UTF-8",
                    Shown::path(path)
                );
            }
        }
    }

    /// What is where now. The content of what changed is in the copies afterwards.
    fn observe(&mut self, walked: Walked) -> Result<Sight, Error> {
        let observer = Observer {
            tree: &*self.tree,
            globs: &self.globs,
            files: &mut self.files,
            before: &self.sight,
            at: self.clock.utc(),
        };
        observer.observe(walked)
    }

    /// The files that are nowhere now, and a name that each had.
    fn gone(&self, names: &Names) -> BTreeMap<u64, String> {
        let file = |thing: &Thing| match thing {
            Thing::File(number) => Some(*number),
            Thing::Directory | Thing::Symlink(_) => None,
        };
        let there: BTreeSet<u64> = names.values().filter_map(file).collect();
        let were = self
            .sight
            .names
            .iter()
            .filter_map(|(path, thing)| Some((file(thing)?, path.clone())));
        were.filter(|(number, _)| !there.contains(number)).collect()
    }

    fn write_steps(&mut self, names: &Names) -> Result<(), Error> {
        let temporaries = &mut self.temporaries;
        let steps = plan(&self.sight.names, names, &mut || {
            *temporaries += 1;
            format!("{TEMPORARY}{temporaries}.tmp")
        });
        for step in &steps {
            let created = match step {
                Step::Create { file, .. } => self.files.get_mut(*file),
                _ => None,
            };
            self.script.step(step, created)?;
        }
        Ok(())
    }

    /// What changed in files that have their names by now.
    fn write_changes(&mut self, names: &Names) -> Result<(), Error> {
        for (path, thing) in names {
            if let Thing::File(number) = thing {
                self.write_change(*number, path)?;
            }
        }
        Ok(())
    }

    fn write_change(&mut self, number: u64, path: &str) -> Result<(), Error> {
        match self.files.get_mut(number) {
            Some(tracked) if tracked.change != Change::None => self.script.change(path, tracked),
            _ => Ok(()),
        }
    }

    fn write_failing(&mut self, failing: &Failing) -> Result<(), Error> {
        for path in self.sight.failing.keys().filter(|path| !failing.contains_key(*path)) {
            let path = self.script.path(path);
            self.script.operation(&Operation::Fail { path, errno: None })?;
        }
        for (path, errno) in failing {
            if self.sight.failing.get(path) != Some(errno) {
                let (path, errno) = (self.script.path(path), Some((*errno).to_owned()));
                self.script.operation(&Operation::Fail { path, errno })?;
            }
        }
        Ok(())
    }

    /// The time since the last look, as far as it is more than a look lets pass.
    fn write_pass(&mut self, now: Instant) -> Result<(), Error> {
        let last = self.last_look.replace(now).unwrap_or(now);
        let nanoseconds = now.duration_since(last).as_nanos();
        let ms = u64::try_from((nanoseconds + 500_000) / 1_000_000).unwrap_or(u64::MAX);
        match ms.saturating_sub(LOOK_MS) {
            0 => Ok(()),
            ms => self.script.operation(&Operation::Pass {
                ms: ms.min(PASS_MS_MAX),
            }),
        }
    }
}
