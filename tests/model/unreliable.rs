//! Who tells of changes: nobody, the system, or the system by way of somebody who is not to be relied on.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use tailspool::replay::MakeSource;
use tailspool::source::kind::SourceKind;
use tailspool::source::notify::{Interest, Notifier, NotifySource, Told, WatchId, What, notifier};

use super::dice::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Teller {
    /// Everything is polled.
    Nobody,
    /// Every change is told, in order.
    System,
    /// Every change is told, some twice, and in no order.
    Confused,
    /// Now and then some are lost, and that is told.
    Overwhelmed,
    /// Some are never told, some later than others; nobody says so.
    Silent,
}

impl Teller {
    /// Sources that are told by it.
    pub(crate) fn sources(self, seed: u64) -> MakeSource {
        let kind = match self {
            Self::Nobody => SourceKind::Poll,
            _ => SourceKind::Notify,
        };
        let mut dice = Dice::new(seed);
        Box::new(move |options, tree, clock, fold| {
            if matches!(self, Self::Nobody | Self::System) {
                return kind.open(options, tree, clock, fold);
            }
            let unreliable = Unreliable {
                teller: self,
                dice: Dice::new(dice.next()),
                system: notifier().unwrap(),
                held: VecDeque::new(),
            };
            let source = NotifySource::new(options, tree, clock, fold, Box::new(unreliable), true)?;
            Ok(Box::new(source))
        })
    }
}

/// What is told, kept for a while.
#[derive(Clone)]
struct Hint {
    watch: WatchId,
    what: What,
    name: Option<OsString>,
}

/// Stands between the system and the source.
struct Unreliable {
    teller: Teller,
    dice: Dice,
    system: Box<dyn Notifier>,
    held: VecDeque<Hint>,
}

impl Unreliable {
    fn doubled_and_shuffled(&mut self, hints: &mut Vec<Hint>) {
        for at in 0..hints.len() {
            if self.dice.once_in(3) {
                hints.push(hints[at].clone());
            }
        }
        for at in (1..hints.len()).rev() {
            hints.swap(at, self.dice.below(at + 1));
        }
    }

    /// As the kernel does: from one on they are lost, and that is told last.
    fn cut(&mut self, hints: &mut Vec<Hint>) {
        if !hints.is_empty() && self.dice.once_in(3) {
            let what = What::Lost;
            let lost = hints.drain(self.dice.below(hints.len())..).next();
            hints.extend(lost.map(|hint| Hint {
                what,
                name: None,
                ..hint
            }));
        }
    }

    fn dropped_and_held(&mut self, hints: &mut Vec<Hint>) {
        let come: Vec<_> = self.held.drain(..).chain(hints.drain(..)).collect();
        for hint in come {
            match self.dice.below(4) {
                0 => {}
                1 => self.held.push_back(hint),
                _ => hints.push(hint),
            }
        }
    }
}

impl Notifier for Unreliable {
    fn watch(&mut self, directory: BorrowedFd<'_>, path: &Path, interest: Interest) -> io::Result<WatchId> {
        self.system.watch(directory, path, interest)
    }

    fn unwatch(&mut self, watch: WatchId) {
        self.system.unwatch(watch);
    }

    fn blindness(&self, directory: BorrowedFd<'_>) -> Option<String> {
        self.system.blindness(directory)
    }

    fn read(&mut self, each: &mut dyn FnMut(Told<'_>)) -> io::Result<()> {
        let mut hints = Vec::new();
        self.system.read(&mut |told| {
            let (watch, what, name) = (told.watch, told.what, told.name.map(OsStr::to_owned));
            hints.push(Hint { watch, what, name });
        })?;
        match self.teller {
            Teller::Nobody | Teller::System => {}
            Teller::Confused => self.doubled_and_shuffled(&mut hints),
            Teller::Overwhelmed => self.cut(&mut hints),
            Teller::Silent => self.dropped_and_held(&mut hints),
        }
        for hint in &hints {
            let (watch, what, name) = (hint.watch, hint.what, hint.name.as_deref());
            each(Told { watch, what, name });
        }
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.system.descriptor()
    }

    fn mounts(&self) -> Option<BorrowedFd<'_>> {
        self.system.mounts()
    }
}
