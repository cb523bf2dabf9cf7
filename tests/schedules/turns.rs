//! A disk that several actors share, of whom one moves at a time: each call waits for its turn.

use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tailspool::disk::{Disk, DiskFile, Meta, SimDisk, Space};

/// Who moves next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) actor: usize,
    /// Its process is killed instead of moving.
    pub(crate) dies: bool,
    /// It takes the turn of one who could have gone on.
    pub(crate) preempts: bool,
}

/// A moment at which somebody had to be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// Who could have been; the first one is who moves unless a plan says otherwise.
    pub(crate) choices: Vec<Choice>,
    pub(crate) chosen: usize,
    /// What that one was about to do.
    pub(crate) call: String,
}

/// How far schedules may go from running one actor after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) preemptions: usize,
    pub(crate) deaths: usize,
}

struct State {
    /// The call that each actor waits with.
    waiting: Vec<Option<String>>,
    ended: Vec<bool>,
    dead: Vec<bool>,
    turn: Option<usize>,
    last: Option<usize>,
    /// The last one met a lock: others may move at no cost, so that nobody spins.
    gives_way: bool,
    left: Bounds,
    plan: Vec<usize>,
    steps: Vec<Step>,
}

/// Whose turn it is.
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

impl Turns {
    /// The first choices are those of `plan`, by their places among the possible ones.
    pub(crate) fn new(actors: usize, bounds: Bounds, plan: Vec<usize>) -> Arc<Self> {
        let state = State {
            waiting: vec![None; actors],
            ended: vec![false; actors],
            dead: vec![false; actors],
            turn: None,
            last: None,
            gives_way: false,
            left: bounds,
            plan,
            steps: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Waits for the turn of `actor`; an error when it was killed.
    fn call(&self, actor: usize, call: &str, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.dead[actor] {
            state.waiting[actor] = Some(format!("{call} {}", path.display()));
            state.pass(actor);
            if state.turn != Some(actor) {
                self.changed.notify_all();
            }
            while state.turn != Some(actor) {
                state = self.changed.wait(state).unwrap();
            }
            state.waiting[actor] = None;
        }
        if state.dead[actor] {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    }

    /// It met a lock that somebody holds.
    fn give_way(&self) {
        self.state().gives_way = true;
    }

    /// It does nothing more.
    pub(crate) fn end(&self, actor: usize) {
        let mut state = self.state();
        state.ended[actor] = true;
        state.pass(actor);
        self.changed.notify_all();
    }

    pub(crate) fn is_dead(&self, actor: usize) -> bool {
        self.state().dead[actor]
    }

    /// What was chosen, and who was killed, when all have ended.
    pub(crate) fn finish(&self) -> (Vec<Step>, Vec<bool>) {
        let mut state = self.state();
        (std::mem::take(&mut state.steps), state.dead.clone())
    }
}

impl State {
    /// Takes the turn from `actor` and, when all wait, gives it to somebody.
    fn pass(&mut self, actor: usize) {
        if self.turn == Some(actor) {
            self.turn = None;
        }
        let all_wait = (0..self.ended.len()).all(|actor| self.ended[actor] || self.waiting[actor].is_some());
        if self.turn.is_some() || !all_wait || self.ended.iter().all(|ended| *ended) {
            return;
        }
        let choices = self.choices();
        let chosen = self.plan.get(self.steps.len()).copied().unwrap_or(0);
        let Some(&choice) = choices.get(chosen) else {
            // A replay went another way; whoever compares the steps will see it.
            return self.go(choices[0], choices, 0);
        };
        self.go(choice, choices, chosen);
    }

    fn go(&mut self, choice: Choice, choices: Vec<Choice>, chosen: usize) {
        self.left.preemptions -= usize::from(choice.preempts);
        self.left.deaths -= usize::from(choice.dies);
        self.dead[choice.actor] |= choice.dies;
        self.steps.push(Step {
            choices,
            chosen,
            call: self.waiting[choice.actor].clone().unwrap_or_default(),
        });
        (self.turn, self.last, self.gives_way) = (Some(choice.actor), Some(choice.actor), false);
    }

    /// Who may move, the one that needs no switch first.
    fn choices(&self) -> Vec<Choice> {
        let goes_on = self.last.filter(|last| !self.ended[*last] && !self.gives_way);
        let others = (0..self.ended.len()).filter(|actor| !self.ended[*actor] && Some(*actor) != goes_on);
        let mut order: Vec<_> = goes_on.into_iter().chain(others).collect();
        // Who met a lock comes last.
        if let (true, Some(last)) = (self.gives_way, self.last) {
            order.sort_by_key(|actor| *actor == last);
        }
        let first = order.first().copied();
        let mut choices = Vec::new();
        for actor in order {
            let takes_over = goes_on.is_some_and(|last| last != actor);
            let spins = self.gives_way && self.last == Some(actor) && first != Some(actor);
            let preempts = takes_over || spins;
            if preempts && self.left.preemptions == 0 {
                continue;
            }
            for dies in [false, true] {
                if !dies || self.left.deaths > 0 {
                    choices.push(Choice { actor, dies, preempts });
                }
            }
        }
        choices
    }
}

/// The disk as one actor has it.
///
/// Only what others can see, or what sees others, waits for its turn: no power is lost here, so a sync changes nothing.
#[derive(Clone)]
pub(crate) struct Turned {
    disk: SimDisk,
    turns: Arc<Turns>,
    actor: usize,
}

impl Turned {
    pub(crate) fn new(disk: &SimDisk, turns: &Arc<Turns>, actor: usize) -> Self {
        Self {
            disk: disk.clone(),
            turns: Arc::clone(turns),
            actor,
        }
    }

    /// Whether this process was killed: what it does from then on did not happen.
    pub(crate) fn is_dead(&self) -> bool {
        self.turns.is_dead(self.actor)
    }

    /// Something else that others can see.
    pub(crate) fn step(&self, what: &str) -> io::Result<()> {
        self.turn(what, Path::new(""))
    }

    fn turn(&self, call: &str, path: &Path) -> io::Result<()> {
        self.turns.call(self.actor, call, path)
    }

    fn alive(&self) -> io::Result<()> {
        if self.is_dead() {
            return Err(io::Error::other("killed"));
        }
        Ok(())
    }

    fn file(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(TurnedFile {
            file: Some(file),
            disk: self.clone(),
            path: path.to_owned(),
            is_locked: false,
        })
    }
}

impl Disk for Turned {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?;
        self.disk.create_dir(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.turn("create", path)?;
        Ok(self.file(path, self.disk.create(path)?))
    }
    fn open(&self, path: &Path, create: bool) -> io::Result<Box<dyn DiskFile>> {
        self.turn("open", path)?;
        Ok(self.file(path, self.disk.open(path, create)?))
    }
    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Box<dyn Read + Send>> {
        self.turn("read", path)?;
        self.disk.read_from(path, offset)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn("rename", from)?;
        self.disk.rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.turn("rename", from)?;
        self.disk.rename_new(from, to)
    }
    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.turn("unlink", path)?;
        self.disk.unlink(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.alive()?;
        self.disk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.turn("list", path)?;
        self.disk.list(path)
    }
    fn meta(&self, path: &Path) -> io::Result<Meta> {
        self.turn("meta", path)?;
        self.disk.meta(path)
    }
    fn space(&self) -> io::Result<Space> {
        self.alive()?;
        self.disk.space()
    }
    fn show(&self, path: &Path) -> PathBuf {
        self.disk.show(path)
    }
}

struct TurnedFile {
    file: Option<Box<dyn DiskFile>>,
    disk: Turned,
    path: PathBuf,
    is_locked: bool,
}

impl TurnedFile {
    fn after(&mut self, call: &str) -> io::Result<&mut dyn DiskFile> {
        self.disk.turn(call, &self.path)?;
        Ok(&mut **self.file.as_mut().unwrap())
    }
}

impl DiskFile for TurnedFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.after("write")?.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.disk.alive()?;
        self.file.as_mut().unwrap().sync()
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.after("truncate")?.truncate(length)
    }
    fn try_lock(&mut self) -> io::Result<bool> {
        let got = self.after("lock")?.try_lock()?;
        self.is_locked = got;
        if !got {
            self.disk.turns.give_way();
        }
        Ok(got)
    }
    fn is_locked(&mut self) -> io::Result<bool> {
        self.after("ask for the lock of")?.is_locked()
    }
    fn meta(&self) -> io::Result<Meta> {
        // Of a file that it has locked nobody else changes anything.
        if self.is_locked {
            self.disk.alive()?;
        } else {
            self.disk.turn("fstat", &self.path)?;
        }
        self.file.as_ref().unwrap().meta()
    }
}

impl Drop for TurnedFile {
    fn drop(&mut self) {
        if self.is_locked {
            // The locks of a process that was killed are given up as well.
            let _ = self.disk.turn("close", &self.path);
        }
        drop(self.file.take());
    }
}
