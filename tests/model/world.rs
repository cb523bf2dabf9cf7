//! The tree as the test knows it: which file stands where, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tailspool::disk::{Loss, SimDisk};
use tailspool::event::Event;
use tailspool::replay::{Head, Operation, Queued, Stage};
use tailspool::source::exclude::Exclude;
use tailspool::source::scope::Scope;
use tailspool::source::standing::Finder;
use tailspool::source::tree::OsTree;
use tailspool::verify::{Finding, Kind as Finds, Verdict, verify};

use super::action::{Action, Kind};
use super::dice::Dice;
use super::lines::{line, line_of};
use super::unreliable::Teller;

/// The names of logs, and names that are none.
pub(crate) const LOGS: [&str; 4] = ["a.jsonl", "b.jsonl", "d/c.jsonl", "d/e.jsonl"];
pub(crate) const OTHERS: [&str; 3] = ["a.1", "b.bak", "d/c.old"];
const TEMPORARY: [&str; 2] = ["t.tmp", "d/t.tmp"];

/// A file, that is an inode. Two that the filesystem gave one number and one birth are one, since nobody can tell
/// them apart.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) names: BTreeSet<String>,
    pub(crate) number: u64,
    born: Option<SystemTime>,
    /// What its writer still has to write of a line.
    rest: Vec<u8>,
    /// When its content changed last.
    pub(crate) changed_ms: u64,
    /// Whether anything about it moved since the last look.
    pub(crate) touched: bool,
    /// The names under which something of it was told since then.
    pub(crate) told: BTreeSet<String>,
}

impl File {
    /// Its names that are those of logs.
    pub(crate) fn logs(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| is_log(name))
    }
}

/// How a whole list of actions is played.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// Files are larger than the windows of 1 KiB.
    large: bool,
    /// Files were changed long ago, as far as their times tell.
    cold: bool,
    pub(crate) teller: Teller,
    seed: u64,
}

impl Manner {
    pub(crate) fn drawn(dice: &mut Dice, teller: Teller) -> Self {
        let (large, cold) = (dice.once_in(2), dice.once_in(5));
        // The actions that are drawn next are the same whoever tells.
        let seed = dice.peek();
        Self {
            large,
            cold,
            teller,
            seed,
        }
    }

    /// Whoever appends leaves the time alone, so that only the content is told to have changed.
    fn is_untimed(self) -> bool {
        self.teller != Teller::Nobody && self.seed & 1 == 0
    }

    /// Programs do no more than append, move, link and remove.
    pub(crate) fn is_gentle(self) -> bool {
        self.teller == Teller::Silent && self.seed & 2 == 0
    }
}

pub(crate) struct World {
    stage: Stage,
    home: SimDisk,
    pub(crate) manner: Manner,
    pub(crate) files: Vec<File>,
    /// What was played, to be written down.
    pub(crate) played: Vec<Operation>,
    /// What fails when it is opened.
    pub(crate) failing: BTreeSet<String>,
    /// What stood at a path when it was deleted.
    deleted: BTreeMap<String, Vec<u8>>,
    pub(crate) now_ms: u64,
    /// The last look found the directory below the tree.
    pub(crate) knows_directory: bool,
    births: bool,
    mtime: SystemTime,
    events_seen: usize,
    lines: u64,
}

impl World {
    pub(crate) fn new(manner: Manner) -> Self {
        let home = SimDisk::new();
        let sources = manner.teller.sources(manner.seed);
        let stage = Stage::with(&Head::new("model"), Arc::new(home.clone()), sources).unwrap();
        let age = Duration::from_secs(if manner.cold { 86_400 } else { 0 });
        // As the source, which believes no birth there.
        let overlay = 0x794c_7630;
        let births = u64::try_from(rustix::fs::statfs(stage.tree()).unwrap().f_type) != Ok(overlay);
        Self {
            stage,
            home,
            manner,
            births,
            mtime: SystemTime::now() - age,
            files: Vec::new(),
            played: Vec::new(),
            failing: BTreeSet::new(),
            deleted: BTreeMap::new(),
            now_ms: 0,
            knows_directory: false,
            events_seen: 0,
            lines: 0,
        }
    }

    /// The file at a path.
    pub(crate) fn at(&self, path: &str) -> Option<usize> {
        self.files.iter().position(|file| file.names.contains(path))
    }

    /// A path below the tree.
    pub(crate) fn relative(&self, path: &str) -> String {
        let top = self.stage.tree().to_str().unwrap();
        path.strip_prefix(top).unwrap().trim_start_matches('/').to_owned()
    }

    /// The events that were committed since this was asked last.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let fresh = self.stage.events_after(self.events_seen);
        self.events_seen += fresh.len();
        fresh
    }

    pub(crate) fn all(&self) -> (Vec<Event>, Vec<Queued>) {
        (self.stage.events(), self.stage.queue().unwrap())
    }

    /// What a look found was judged.
    pub(crate) fn looked(&mut self) {
        self.knows_directory = self.stage.tree().join("d").is_dir() && !self.failing.contains("d");
        for file in &mut self.files {
            file.touched = false;
            file.told.clear();
        }
    }

    pub(crate) fn stop(&mut self) {
        self.stage.stop().unwrap();
    }

    /// What `verify` says of what was captured is well, whatever was done, but for bytes that changed between head and
    /// guard, which only it can notice.
    pub(crate) fn verified(&self) -> Result<(), String> {
        let scope = Scope::new(None, &[self.stage.tree().to_owned()]).unwrap();
        let report = verify(&self.home, Finder::new(&OsTree::default(), &scope, &Exclude::default())).unwrap();
        let is_wrong =
            |finding: &&Finding| finding.kind.verdict() == Verdict::Failed && finding.kind != Finds::Unexplained;
        match report.findings.iter().find(is_wrong) {
            Some(_) => Err(format!("verify: {:?}", report.findings)),
            None => Ok(()),
        }
    }

    /// Does what happens to files, or to the capture.
    pub(crate) fn act(&mut self, action: &Action) {
        let mut dice = Dice::new(action.seed);
        let dice = &mut dice;
        match action.kind {
            Kind::Look => self.look(),
            Kind::Pass => self.pass(dice.pick(&[100, 3_000, 10_000, 11_000, 31_000, 61_000])),
            Kind::Restart => self.play(Operation::Restart),
            Kind::Crash => self.crash(dice),
            Kind::Fail => {
                let path = dice.pick(&["a.jsonl", "b.jsonl", "d/c.jsonl", "d/e.jsonl", "d"]);
                self.fail(path, Some(dice.pick(&["EACCES", "EIO", "EMFILE"])));
            }
            Kind::Heal => self.heal(),
            Kind::Append => self.append_lines(dice),
            Kind::Piece => self.append_piece(dice),
            Kind::Rest => self.append_rest(dice),
            Kind::Move | Kind::Away | Kind::Back | Kind::Swap | Kind::Chain | Kind::Link => {
                self.name(action.kind, dice);
            }
            Kind::Save => self.save(dice),
            Kind::Truncate | Kind::Regrow => self.cut(action.kind, dice),
            Kind::Rewrite | Kind::Lengthen => self.rewrite(action.kind, dice),
            Kind::Delete | Kind::Recreate | Kind::Restore => self.delete(action.kind, dice),
            Kind::Copy => {
                let (from, to) = (self.some(dice, &LOGS), dice.pick(&LOGS));
                if let (Some(from), None) = (from, self.at(to)) {
                    self.write(to, self.files[from].content.clone());
                }
            }
        }
    }

    pub(crate) fn look(&mut self) {
        self.now_ms += 2_000;
        self.play(Operation::Look);
    }

    pub(crate) fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        self.play(Operation::Pass { ms });
    }

    pub(crate) fn heal(&mut self) {
        for path in self.failing.clone() {
            self.fail(&path, None);
        }
    }

    fn fail(&mut self, path: &str, errno: Option<&str>) {
        if errno.is_some() {
            self.failing.insert(path.to_owned());
        } else {
            self.failing.remove(path);
        }
        let (path, errno) = (path.to_owned(), errno.map(str::to_owned));
        self.play(Operation::Fail { path, errno });
    }

    /// The process dies, or the machine loses its power.
    fn crash(&mut self, dice: &mut Dice) {
        self.home = self.home.after_crash(dice.pick(&Loss::ALL));
        self.played.push(Operation::Crash);
        self.stage.crash_onto(Arc::new(self.home.clone())).unwrap();
    }

    fn append_lines(&mut self, dice: &mut Dice) {
        let path = if dice.once_in(6) {
            dice.pick(&OTHERS)
        } else {
            dice.pick(&LOGS)
        };
        if is_log(path) || self.at(path).is_some() {
            let lines = self.lines(dice, 4);
            self.append(path, &lines);
        }
    }

    fn append_piece(&mut self, dice: &mut Dice) {
        let path = dice.pick(&LOGS);
        let mut piece = self.one_line(dice);
        let cut = if dice.once_in(2) {
            piece.len()
        } else {
            dice.below(piece.len())
        };
        piece.push(b'\n');
        let rest = piece.split_off(cut);
        self.append(path, &piece);
        let file = self.at(path).unwrap();
        self.files[file].rest = rest;
    }

    fn append_rest(&mut self, dice: &mut Dice) {
        let waiting = |name: &&str| self.at(name).is_some_and(|file| !self.files[file].rest.is_empty());
        let waiting: Vec<_> = LOGS.into_iter().chain(OTHERS).filter(waiting).collect();
        if waiting.is_empty() {
            return;
        }
        let path = dice.pick(&waiting);
        let file = self.at(path).unwrap();
        let mut rest = std::mem::take(&mut self.files[file].rest);
        if dice.once_in(6) {
            rest = [b", and more".to_vec(), rest].concat();
        }
        if dice.once_in(2) {
            rest.extend(self.lines(dice, 2));
        }
        self.append(path, &rest);
    }

    fn name(&mut self, kind: Kind, dice: &mut Dice) {
        let (from, to) = (dice.pick(&LOGS), dice.pick(&LOGS));
        let other = dice.pick(&OTHERS);
        match kind {
            Kind::Away => self.rename(from, other),
            Kind::Back => self.rename(other, to),
            Kind::Swap if self.at(from).is_some() && self.at(to).is_some() => {
                self.rename(from, TEMPORARY[0]);
                self.rename(to, from);
                self.rename(TEMPORARY[0], to);
            }
            Kind::Chain => {
                let last = if dice.once_in(2) { "a.1" } else { "d/e.jsonl" };
                self.rename("b.jsonl", last);
                self.rename("a.jsonl", "b.jsonl");
                let lines = self.lines(dice, 2);
                self.write("a.jsonl", lines);
            }
            Kind::Link => {
                let to = if dice.once_in(2) { to } else { other };
                self.link(from, to);
            }
            _ => self.rename(from, to),
        }
    }

    fn save(&mut self, dice: &mut Dice) {
        let Some(file) = self.some(dice, &LOGS) else { return };
        let file = &self.files[file];
        let path = file.logs().next().unwrap().to_owned();
        let mut content = file.content.clone();
        match dice.below(6) {
            0..3 => {
                if !content.is_empty() && content.last() != Some(&b'\n') {
                    content.push(b'\n');
                }
                content.extend(self.lines(dice, 3));
            }
            3 => content.truncate(dice.below(content.len())),
            4 => content = changed(&content, dice, 0),
            _ => {}
        }
        let temporary = TEMPORARY[usize::from(path.starts_with("d/"))];
        self.write(temporary, content);
        self.rename(temporary, &path);
    }

    fn cut(&mut self, kind: Kind, dice: &mut Dice) {
        let Some(file) = self.some(dice, &LOGS) else { return };
        let path = self.files[file].logs().next().unwrap().to_owned();
        let content = &self.files[file].content;
        let starts = starts(content);
        let size = match dice.below(5) {
            0 => 0,
            1 => dice.pick(&starts),
            2 => content.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1),
            3 => content.len() - dice.below(content.len().min(30)),
            _ => dice.below(content.len()),
        };
        let before = content.len();
        self.truncate(&path, size);
        while kind == Kind::Regrow && self.files[file].content.len() <= before {
            let lines = self.lines(dice, 3);
            self.append(&path, &lines);
        }
    }

    fn rewrite(&mut self, kind: Kind, dice: &mut Dice) {
        let Some(file) = self.some(dice, &LOGS) else { return };
        let path = self.files[file].logs().next().unwrap().to_owned();
        let more = if kind == Kind::Lengthen { 1 + dice.below(40) } else { 0 };
        let content = changed(&self.files[file].content, dice, more);
        self.write(&path, content);
    }

    fn delete(&mut self, kind: Kind, dice: &mut Dice) {
        let path = dice.pick(&LOGS);
        let before = self.at(path).map(|file| self.files[file].content.clone());
        if kind != Kind::Restore {
            self.remove(path);
        }
        let content = match kind {
            Kind::Recreate if dice.once_in(2) => before.map(|_| Vec::new()),
            Kind::Recreate => before,
            Kind::Restore if before.is_none() => self.deleted.get(path).cloned(),
            _ => return,
        };
        if let Some(mut content) = content {
            content.extend(self.lines(dice, 2));
            self.write(path, content);
        }
    }

    /// One of the files that stand at these paths.
    fn some(&self, dice: &mut Dice, paths: &[&str]) -> Option<usize> {
        let standing: Vec<_> = paths.iter().filter_map(|path| self.at(path)).collect();
        (!standing.is_empty()).then(|| dice.pick(&standing))
    }

    fn one_line(&mut self, dice: &mut Dice) -> Vec<u8> {
        self.lines += 1;
        let mark = format!("{}.{:x}", self.lines, dice.next() >> 32);
        line(dice, &mark, if self.manner.large { 60 } else { 6 })
    }

    fn lines(&mut self, dice: &mut Dice, lines_max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..=dice.below(lines_max) {
            bytes.extend(self.one_line(dice));
            bytes.push(b'\n');
            if dice.once_in(8) {
                bytes.push(b'\n');
            }
        }
        bytes
    }

    fn play(&mut self, operation: Operation) {
        self.stage.play(&operation).unwrap();
        self.played.push(operation);
    }

    fn append(&mut self, path: &str, bytes: &[u8]) {
        self.play(Operation::append(path, bytes));
        let is_timed = !self.manner.is_untimed() || bytes.is_empty();
        let file = self.changed_and_timed(path, is_timed);
        self.files[file].content.extend_from_slice(bytes);
    }

    fn write(&mut self, path: &str, bytes: Vec<u8>) {
        self.play(Operation::write(path, &bytes));
        let file = self.changed(path);
        (self.files[file].content, self.files[file].rest) = (bytes, Vec::new());
    }

    fn truncate(&mut self, path: &str, size: usize) {
        let path = path.to_owned();
        let bytes = u64::try_from(size).unwrap();
        self.play(Operation::Truncate {
            path: path.clone(),
            size: bytes,
        });
        let file = self.changed(&path);
        self.files[file].content.truncate(size);
    }

    /// The content at a path changed, or a file was made there. Its time becomes one that no file had before: the
    /// kernel's clock may not have ticked since the last look.
    fn changed(&mut self, path: &str) -> usize {
        self.changed_and_timed(path, true)
    }

    fn changed_and_timed(&mut self, path: &str, is_timed: bool) -> usize {
        self.mtime += Duration::from_micros(1);
        if is_timed {
            let place = self.stage.tree().join(path);
            let file = fs::File::options().write(true).open(place).unwrap();
            file.set_modified(self.mtime).unwrap();
        }
        let file = self.at(path).unwrap_or_else(|| self.made(path));
        (self.files[file].touched, self.files[file].changed_ms) = (true, self.now_ms);
        self.files[file].told.insert(path.to_owned());
        file
    }

    fn made(&mut self, path: &str) -> usize {
        let seen = fs::metadata(self.stage.tree().join(path)).unwrap();
        let born = seen.created().ok().filter(|_| self.births);
        let known = self
            .files
            .iter()
            .position(|file| file.number == seen.ino() && file.born == born);
        let file = known.unwrap_or_else(|| {
            self.files.push(File::default());
            self.files.len() - 1
        });
        let made = File {
            number: seen.ino(),
            born,
            ..File::default()
        };
        self.files[file] = made;
        self.files[file].names.insert(path.to_owned());
        file
    }

    fn rename(&mut self, from: &str, to: &str) {
        let Some(file) = self.at(from) else { return };
        self.play(Operation::Rename {
            from: from.into(),
            to: to.into(),
        });
        if self.at(to) == Some(file) {
            // Two names of one file: nothing happens.
            return;
        }
        self.unname(to);
        self.files[file].names.remove(from);
        self.files[file].names.insert(to.to_owned());
        self.files[file].touched = true;
        self.files[file].told.extend([from.to_owned(), to.to_owned()]);
    }

    fn link(&mut self, from: &str, to: &str) {
        if let (Some(file), None) = (self.at(from), self.at(to)) {
            self.play(Operation::Hardlink {
                from: from.into(),
                to: to.into(),
            });
            self.files[file].names.insert(to.to_owned());
            self.files[file].touched = true;
            self.files[file].told.insert(to.to_owned());
        }
    }

    fn remove(&mut self, path: &str) {
        if let Some(file) = self.at(path) {
            self.play(Operation::Remove { path: path.into() });
            self.deleted.insert(path.to_owned(), self.files[file].content.clone());
            self.unname(path);
        }
    }

    fn unname(&mut self, path: &str) {
        if let Some(file) = self.at(path) {
            self.files[file].names.remove(path);
            self.files[file].touched = true;
            self.files[file].told.insert(path.to_owned());
        }
    }
}

pub(crate) fn is_log(name: &str) -> bool {
    LOGS.contains(&name)
}

/// Where the lines of a content start, the one that is not complete too.
fn starts(content: &[u8]) -> Vec<usize> {
    let ends = (0..content.len()).filter(|at| content[*at] == b'\n').map(|at| at + 1);
    std::iter::once(0)
        .chain(ends.filter(|at| *at < content.len()))
        .collect()
}

/// The content with one line changed: the first, the last, or any, and `more` bytes longer.
fn changed(content: &[u8], dice: &mut Dice, more: usize) -> Vec<u8> {
    let starts = starts(content);
    let at = match dice.below(3) {
        0 => 0,
        1 => starts.len() - 1,
        _ => dice.below(starts.len()),
    };
    let start = starts[at];
    let length = content[start..].iter().take_while(|byte| **byte != b'\n').count();
    let line = line_of(dice, length + more);
    [&content[..start], &line, &content[start + length..]].concat()
}
