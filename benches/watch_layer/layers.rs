//! The layers: each watches directories one by one, and names what changed in them.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// Watches, and names what changed.
pub(super) trait Layer {
    /// Watches these directories, not what is below them, as fast as the layer can.
    fn watch(&mut self, directories: &[PathBuf]);

    /// What changed, or none when that takes too long.
    fn next(&mut self, patience: Duration) -> Option<PathBuf>;
}

/// The names of all layers; the first one is no layer at all.
pub(super) const NAMES: [&str; 4] = ["nothing", "inotify", "notify 8", "notify 9"];

/// A layer by its name.
pub(super) fn layer(name: &str) -> Box<dyn Layer> {
    match name {
        "nothing" => Box::new(Nothing),
        "inotify" => Box::new(Inotify::new()),
        "notify 8" => Box::new(Notify8::new()),
        "notify 9" => Box::new(Notify9::new()),
        _ => panic!("no layer is called {name}"),
    }
}

struct Nothing;

impl Layer for Nothing {
    fn watch(&mut self, _: &[PathBuf]) {}

    fn next(&mut self, patience: Duration) -> Option<PathBuf> {
        std::thread::sleep(patience);
        None
    }
}

/// The system calls themselves; whoever asks for what changed waits in poll(2).
struct Inotify {
    descriptor: OwnedFd,
    directories: HashMap<i32, PathBuf>,
    buffer: Vec<MaybeUninit<u8>>,
    read: VecDeque<PathBuf>,
}

impl Inotify {
    fn new() -> Self {
        Self {
            descriptor: init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap(),
            directories: HashMap::new(),
            buffer: vec![MaybeUninit::uninit(); 65_536],
            read: VecDeque::new(),
        }
    }
}

impl Layer for Inotify {
    fn watch(&mut self, directories: &[PathBuf]) {
        let mask = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for directory in directories {
            let number = add_watch(&self.descriptor, directory, mask).unwrap();
            self.directories.insert(number, directory.clone());
        }
    }

    fn next(&mut self, patience: Duration) -> Option<PathBuf> {
        if let Some(path) = self.read.pop_front() {
            return Some(path);
        }
        let mut waiting = [PollFd::new(&self.descriptor, PollFlags::IN)];
        let patience = Timespec::try_from(patience).unwrap();
        if poll(&mut waiting, Some(&patience)).unwrap() == 0 {
            return None;
        }
        let mut reader = Reader::new(&self.descriptor, &mut self.buffer);
        loop {
            let event = reader.next().unwrap();
            let directory = &self.directories[&event.wd()];
            let path = match event.file_name() {
                Some(name) => directory.join(OsStr::from_bytes(name.to_bytes())),
                None => directory.clone(),
            };
            self.read.push_back(path);
            if reader.is_buffer_empty() {
                return self.read.pop_front();
            }
        }
    }
}

/// The crate in its stable version: its own thread, which hears of every opening too.
struct Notify8 {
    watcher: notify::RecommendedWatcher,
    events: Receiver<notify::Event>,
}

impl Notify8 {
    fn new() -> Self {
        use notify::{Config, Event, RecommendedWatcher, Result, Watcher};
        let (sender, events) = unbounded();
        let hear = move |event: Result<Event>| {
            let event = event.unwrap();
            if !event.kind.is_access() {
                let _ = sender.send(event);
            }
        };
        let watcher = RecommendedWatcher::new(hear, Config::default()).unwrap();
        Self { watcher, events }
    }
}

impl Layer for Notify8 {
    fn watch(&mut self, directories: &[PathBuf]) {
        use notify::{RecursiveMode, Watcher};
        for directory in directories {
            self.watcher.watch(directory, RecursiveMode::NonRecursive).unwrap();
        }
    }

    fn next(&mut self, patience: Duration) -> Option<PathBuf> {
        self.events.recv_timeout(patience).ok()?.paths.pop()
    }
}

/// The crate in its coming version, which can ask the kernel for less.
struct Notify9 {
    watcher: notify_next::RecommendedWatcher,
    events: Receiver<notify_next::Event>,
}

impl Notify9 {
    fn new() -> Self {
        use notify_next::{Config, Event, EventKindMask, RecommendedWatcher, Result, Watcher};
        let (sender, events) = unbounded();
        let hear = move |event: Result<Event>| {
            let _ = sender.send(event.unwrap());
        };
        let config = Config::default().with_event_kinds(EventKindMask::CORE);
        let watcher = RecommendedWatcher::new(hear, config).unwrap();
        Self { watcher, events }
    }
}

impl Layer for Notify9 {
    fn watch(&mut self, directories: &[PathBuf]) {
        use notify_next::{PathOp, Watcher};
        let watch = directories.iter().map(PathOp::watch_non_recursive).collect();
        self.watcher.update_paths(watch).unwrap();
    }

    fn next(&mut self, patience: Duration) -> Option<PathBuf> {
        self.events.recv_timeout(patience).ok()?.paths.pop()
    }
}
