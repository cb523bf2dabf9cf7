//! Which records a look may bring, must bring and must not bring, over all files.
//!
//! Who goes on as whom is read off the `new` and `rotate` events and then judged; everything else is foretold. There
//! is more than one right answer in these cases only:
//! - a file that shows at no readable log path: what is new in it comes now, later or never (but at the look that
//!   misses it at its path, if it can be found there, it must come);
//! - a file that moved, or came back, and was rewritten too: it goes on, or is new;
//! - a new file that repeats one which has a name still, but none of a log, and none in its directory if it left its
//!   path only now, or one that nothing can be seen of;
//! - what was written, where changes are told, under a name that is gone by the look, or that is none of a log in a
//!   directory which came since the last one, of a file with another name: it comes now, or with the next hint that
//!   leads to the file, or a sweep;
//! - a last line without newline, from 10 s after its last byte to 10 s after the look that found it quiet; whether
//!   one that was captured is remembered where another part of its file is rewritten.

use std::collections::{BTreeMap, BTreeSet};

use tailspool::event::{Detail, Event};
use ulid::Ulid;

use super::known::{Known, Record, Went};
use super::unreliable::Teller;
use super::world::{World, is_log};

/// A file as the source knows it, whatever inode it has.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a question of its own")]
struct Followed {
    id: Ulid,
    /// None when its inode became another's.
    file: Option<usize>,
    /// That came to pass at this look.
    is_robbed: bool,
    /// Where it stood last.
    path: String,
    /// What may be captured of it: of these, what comes later tells.
    states: Vec<Known>,
    /// The last look found it at its path, and could read it.
    shown: bool,
    /// So did the look before that.
    stood: bool,
    /// The look since which nothing about it moved.
    quiet_ms: Option<u64>,
    /// The last look that brought something that was written since the one before, of a file that an earlier look of
    /// this run had seen at its path.
    hot_ms: Option<u64>,
    /// Something about it moved, and no hint of it leads to it.
    is_untold: bool,
}

/// What the events of one look say of one file.
#[derive(Debug, Default)]
struct Seen {
    start: Option<(Ulid, String)>,
    ids: BTreeSet<Ulid>,
    records: Vec<Record>,
    cuts: Vec<(usize, Option<usize>)>,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    followed: Vec<Followed>,
    places: BTreeSet<(Ulid, u64, usize)>,
    /// How many questions were asked, and how many had more than one right answer.
    pub(crate) asked: u64,
    pub(crate) open: u64,
}

type Judged = Result<(), String>;

impl Oracle {
    /// Judges what a look brought.
    pub(crate) fn look(&mut self, world: &World, events: &[Event]) -> Judged {
        let mut seen = self.seen(world, events)?;
        for one in 0..self.followed.len() {
            self.known(world, one, &mut seen)?;
        }
        let files = world.files.iter().enumerate();
        for (file, _) in files.filter(|(_, file)| file.logs().next().is_some()) {
            if !self.followed.iter().any(|one| one.file == Some(file)) {
                self.fresh(world, file, &seen.remove(&file).unwrap_or_default())?;
            }
        }
        nothing_left(world, &seen)
    }

    /// Judges what the end of a run brought: the rest of files that have no name any more.
    pub(crate) fn stop(&mut self, world: &World, events: &[Event]) -> Judged {
        let mut seen = self.seen(world, events)?;
        for one in &mut self.followed {
            let Some(file) = one.file.filter(|file| world.files[*file].names.is_empty()) else {
                continue;
            };
            let content = &world.files[file].content;
            let seen = seen.remove(&file).unwrap_or_default();
            let may: Vec<_> = one.states.iter().flat_map(|state| any(state, content)).collect();
            one.take(&may, &seen, world)?;
        }
        nothing_left(world, &seen)
    }

    /// The capture starts again.
    pub(crate) fn start(&mut self) {
        for one in &mut self.followed {
            (one.quiet_ms, one.hot_ms, one.is_untold) = (None, None, false);
        }
    }

    fn seen(&mut self, world: &World, events: &[Event]) -> Result<BTreeMap<usize, Seen>, String> {
        let mut all = BTreeMap::<usize, Seen>::new();
        for event in events {
            let path = world.relative(&event.path);
            let is_it = |file: usize| world.files[file].number == event.inode;
            let named = (0..world.files.len()).rfind(|file| is_it(*file) && !world.files[*file].names.is_empty());
            let file = named.or_else(|| (0..world.files.len()).rfind(|file| is_it(*file)));
            let file = file.ok_or_else(|| format!("no file ever had the inode of {event:?}"))?;
            if let Detail::Delete { .. } = event.detail {
                let of_id = self.followed.iter().find(|one| one.id == event.file_id);
                if world
                    .at(&path)
                    .is_some_and(|here| of_id.is_some_and(|one| one.file == Some(here)))
                {
                    return Err(format!("{path} is there and deleted"));
                }
                continue;
            }
            let seen = all.entry(file).or_default();
            seen.ids.insert(event.file_id);
            self.note(seen, event, path)?;
        }
        Ok(all)
    }

    fn note(&mut self, seen: &mut Seen, event: &Event, path: String) -> Judged {
        match &event.detail {
            Detail::New { .. } | Detail::Rotate { .. } => seen.start = Some((event.file_id, path)),
            Detail::Truncate { kept, kept_from, .. } => seen.cuts.push((size(*kept), kept_from.map(size))),
            Detail::Delete { .. } => {}
            Detail::Append {
                offset,
                line,
                line_base64,
                terminated,
                replaces,
                ..
            } => {
                let place = (event.file_id, event.epoch, size(*offset));
                if !self.places.insert(place) && replaces.is_none() {
                    return Err(format!("captured twice at one place: {event:?}"));
                }
                let line = line.as_ref().map(|line| line.clone().into_bytes());
                let line = line.unwrap_or_else(|| decoded(line_base64.as_ref().unwrap()));
                seen.records.push(Record {
                    epoch: event.epoch,
                    offset: size(*offset),
                    line,
                    terminated: *terminated,
                    replaces: replaces.is_some(),
                });
            }
        }
        Ok(())
    }

    /// A file that was followed before this look.
    fn known(&mut self, world: &World, one: usize, all: &mut BTreeMap<usize, Seen>) -> Judged {
        let one = &mut self.followed[one];
        (one.is_robbed, one.stood) = (false, one.shown);
        let Some(file) = one.file else { return Ok(()) };
        let (of_file, content) = (&world.files[file], &world.files[file].content);
        let stood = one.shown && of_file.names.contains(&one.path);
        if let Some((id, _)) = all.get(&file).and_then(|seen| seen.start.as_ref())
            && *id != one.id
        {
            if stood || one.states.iter().all(|state| state.holds(content)) {
                return Err(format!("what was followed as {} is new", one.path));
            }
            (one.file, one.is_robbed, one.shown) = (None, true, false);
            return Ok(());
        }
        let seen = all.remove(&file).unwrap_or_default();
        let is_shown = of_file.logs().next().is_some();
        let is_watched = |name: &str| is_log(name) || directory(name).is_empty() || world.knows_directory;
        let leads = |name: &String| is_watched(name) && (of_file.names.contains(name) || *name == one.path);
        one.is_untold = world.manner.teller != Teller::Nobody
            && (one.is_untold || of_file.touched)
            && !of_file.told.iter().any(leads);
        let is_readable = !of_file.logs().any(|path| fails(world, path)) && !fails(world, &one.path);
        let is_sure = is_readable && !one.is_untold;
        let may_settle = !is_shown || world.now_ms >= of_file.changed_ms + SETTLE_MS;
        let is_quiet = !of_file.touched && one.quiet_ms.is_some_and(|since| world.now_ms >= since + SETTLE_MS);
        let must_read = if is_shown {
            is_sure
        } else {
            one.must_be_read_on(world, file)
        };
        let mut right = Vec::new();
        for state in &one.states {
            for went in any(state, content) {
                let is_settled = went.records.last().is_some_and(|record| !record.terminated);
                let can_settle = went.settled(content).is_some();
                let is_read = went != state.unchanged() || state.read(content) == went;
                let wrong = (must_read && !is_read)
                    || (is_settled && !may_settle)
                    || (is_shown && is_sure && is_quiet && can_settle);
                right.extend((!wrong).then_some(went));
            }
        }
        self.asked += 1;
        self.open += u64::from(right.len() > 1);
        let was_seen = one.quiet_ms.is_some();
        let was_there = one.quiet_ms.filter(|_| !of_file.touched && seen.start.is_none());
        one.take(&right, &seen, world)?;
        if is_shown && is_sure {
            one.quiet_ms = was_there.or(Some(world.now_ms));
        } else {
            one.quiet_ms = None;
        }
        one.shown = is_sure && of_file.names.contains(&one.path);
        let brought = of_file.touched && !seen.records.is_empty();
        if is_shown && is_sure && was_seen && seen.start.is_none() && brought {
            one.hot_ms = Some(world.now_ms);
        }
        Ok(())
    }

    /// A file that nobody followed before this look.
    fn fresh(&mut self, world: &World, file: usize, seen: &Seen) -> Judged {
        let (of_file, content) = (&world.files[file], &world.files[file].content);
        let is_sure = !of_file.logs().any(|path| fails(world, path));
        let Some((id, path)) = seen.start.clone() else {
            return if is_sure || !seen.records.is_empty() {
                Err(format!("{:?} was not found, or not begun: {seen:?}", of_file.names))
            } else {
                Ok(())
            };
        };
        let may_settle = world.now_ms >= of_file.changed_ms + SETTLE_MS;
        let mut one = Followed {
            id,
            file: Some(file),
            is_robbed: false,
            path: path.clone(),
            states: vec![Known::default()],
            shown: is_sure,
            stood: false,
            quiet_ms: Some(world.now_ms),
            hot_ms: None,
            is_untold: false,
        };
        let before = self.followed.iter().position(|before| before.id == id);
        if let Some(before) = before {
            let before = self.followed.remove(before);
            one.states.clone_from(&before.states);
            one.states.retain(|state| repeats(state, content));
            if before.path != path || !before.may_be_gone(world) || one.states.is_empty() {
                return Err(format!("{path} goes on as a file that it is not"));
            }
        } else if let Some(before) = self.followed.iter().find(|before| {
            before.path == path && before.is_gone(world) && before.states.iter().all(|state| repeats(state, content))
        }) {
            return Err(format!(
                "{path} is new, and repeats all that was captured of {}",
                before.id
            ));
        }
        let read = one.states.iter().flat_map(|state| {
            any(state, content).into_iter().filter(|went| {
                let is_settled = went.records.last().is_some_and(|record| !record.terminated);
                (*went != state.unchanged() || state.read(content) == *went) && (may_settle || !is_settled)
            })
        });
        let right: Vec<_> = read.collect();
        one.take(&right, seen, world)?;
        self.followed.push(one);
        Ok(())
    }
}

const SETTLE_MS: u64 = 10_000;

impl Followed {
    /// Goes on with those of the right answers that are the one which came.
    fn take(&mut self, right: &[Went], seen: &Seen, world: &World) -> Judged {
        let came = |went: &Went| went.records == seen.records && went.cut.as_slice() == seen.cuts.as_slice();
        let mut states = Vec::new();
        for went in right {
            if came(went) && !states.contains(&went.known) {
                states.push(went.known.clone());
            }
        }
        if states.is_empty() || seen.ids.iter().any(|id| *id != self.id) {
            return Err(self.differs(right, seen, world));
        }
        self.states = states;
        if let Some((_, path)) = &seen.start {
            self.path.clone_from(path);
        }
        Ok(())
    }

    fn differs(&self, right: &[Went], seen: &Seen, world: &World) -> String {
        let names = self.file.map(|file| &world.files[file].names);
        let answer = |went: &Went| format!("  right were: cut {:?}{}\n", went.cut, shown(&went.records));
        let answers: String = right.iter().map(answer).collect();
        let came = format!("cut {:?}{} of {:?}", seen.cuts, shown(&seen.records), seen.ids);
        format!(
            "{} (now {names:?}, {} ms):\n{answers}  there came: {came}",
            self.path, world.now_ms
        )
    }

    /// It stood at its path, where it stands no more, and can be found: a name in its directory, or the handle of a
    /// file that changed lately. While something fails, its path may be one of those of which nothing can be said.
    fn must_be_read_on(&self, world: &World, file: usize) -> bool {
        let names = &world.files[file].names;
        let beside = names.iter().any(|name| directory(name) == directory(&self.path));
        let is_hot = self.hot_ms.is_some_and(|at| world.now_ms < at + 30_000);
        let is_findable = self.shown && !self.is_untold && world.failing.is_empty();
        is_findable && (beside || (names.is_empty() && is_hot))
    }

    /// Its inode has no name.
    fn is_gone(&self, world: &World) -> bool {
        !self.is_robbed && self.file.is_none_or(|file| world.files[file].names.is_empty())
    }

    /// Its inode has no name where it would be looked for, or, when it left its path before, none of a log.
    fn may_be_gone(&self, world: &World) -> bool {
        let beside = |name: &String| self.stood && directory(name) == directory(&self.path);
        let found = |name: &String| !fails(world, name) && (is_log(name) || beside(name));
        self.file.is_none_or(|file| !world.files[file].names.iter().any(found))
    }
}

/// Everything that a look may come to when it need not come to anything.
fn any(state: &Known, content: &[u8]) -> Vec<Went> {
    let read = state.read(content);
    let remembering = read.remembering(state, content);
    let mut all = vec![read];
    all.extend(remembering);
    let settled: Vec<_> = all.iter().filter_map(|went| went.settled(content)).collect();
    all.extend(settled);
    all.push(state.unchanged());
    if all[0] == all[all.len() - 1] {
        all.pop();
    }
    all
}

fn repeats(state: &Known, content: &[u8]) -> bool {
    !state.bytes.is_empty() && content.starts_with(&state.bytes)
}

fn nothing_left(world: &World, seen: &BTreeMap<usize, Seen>) -> Judged {
    match seen.iter().next() {
        Some((file, seen)) => Err(format!("{:?} should bring nothing: {seen:?}", world.files[*file].names)),
        None => Ok(()),
    }
}

/// Whether looks at a path, or at what is in its directory, fail.
fn fails(world: &World, path: &str) -> bool {
    world.failing.contains(path) || world.failing.contains(directory(path))
}

fn directory(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

pub(crate) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

pub(crate) fn decoded(base64: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(base64).unwrap()
}

fn shown(records: &[Record]) -> String {
    let one = |record: &Record| {
        let (line, end) = (
            String::from_utf8_lossy(&record.line),
            if record.terminated { "" } else { " (no newline)" },
        );
        let replaces = if record.replaces { " replaces" } else { "" };
        format!("\n    {}:{}{replaces}{end} {:.60}", record.epoch, record.offset, line)
    };
    records.iter().map(one).collect()
}
