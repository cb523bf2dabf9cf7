//! The logs, and what programs do to them.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::account::Account;
use super::dice::Dice;

pub(crate) const LOGS: [&str; 5] = ["a.jsonl", "b.jsonl", "d/c.jsonl", "d/e.jsonl", "f.jsonl"];

/// What a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Whole lines, some of them blank.
    Append,
    /// Many lines at once.
    Burst,
    /// A part of a line, cut anywhere.
    Piece,
    /// The rest of a line that was begun.
    Rest,
    /// The log gets a name that is none of a log; its writer goes on there, or begins anew.
    Rotate,
    /// To another log's name that nothing has.
    Move,
    /// Removed; its writer may write on.
    Unlink,
    /// A writer that holds a file without a name writes on.
    WriteOn,
    /// Copied away and emptied.
    CopyTruncate,
    /// Cut anywhere.
    Truncate,
    /// Cut, and longer than before at once.
    Regrow,
    /// As many other bytes in the place of a line.
    Rewrite,
    /// Another file in its place: the same lines and more.
    Save,
    /// Another file in its place, with other lines.
    Replace,
    /// Removed and made anew at once.
    Recreate,
}

impl Deed {
    /// Whether it does more than append, move and remove.
    pub(crate) fn is_harsh(self) -> bool {
        matches!(
            self,
            Self::CopyTruncate
                | Self::Truncate
                | Self::Regrow
                | Self::Rewrite
                | Self::Save
                | Self::Replace
                | Self::Recreate
        )
    }
}

struct Log {
    content: Vec<u8>,
    file: File,
    /// What its writer still has to write.
    rest: Vec<u8>,
}

pub(crate) struct Writers {
    top: PathBuf,
    /// By path.
    logs: BTreeMap<String, Log>,
    /// Held open, and without a name that is a log's.
    nameless: Vec<Log>,
    lines: u64,
    aside: u64,
    mtime: SystemTime,
}

impl Writers {
    pub(crate) fn new(top: PathBuf) -> Self {
        fs::create_dir(top.join("d")).unwrap();
        Self {
            top,
            logs: BTreeMap::new(),
            nameless: Vec::new(),
            lines: 0,
            aside: 0,
            mtime: SystemTime::now(),
        }
    }

    pub(crate) fn contents(&self) -> impl Iterator<Item = &[u8]> {
        self.logs.values().map(|log| log.content.as_slice())
    }

    pub(crate) fn do_it(&mut self, deed: Deed, dice: &mut Dice, account: &mut Account) {
        let path = dice.pick(&LOGS).to_owned();
        match deed {
            Deed::WriteOn => {
                let line = self.line(dice);
                let at = dice.below(self.nameless.len());
                if let Some(log) = self.nameless.get_mut(at) {
                    append(log, &[line.as_slice(), b"\n"].concat());
                    // It may be followed by its handle.
                    account.written(&log.content, 0);
                    stamp(&log.file, &mut self.mtime);
                }
            }
            Deed::Append | Deed::Burst | Deed::Piece | Deed::Rest => self.append(deed, &path, dice, account),
            Deed::Rotate | Deed::Unlink => {
                if let Some(log) = self.logs.remove(&path) {
                    if deed == Deed::Rotate {
                        self.aside += 1;
                        fs::rename(self.top.join(&path), self.top.join(format!("old-{}", self.aside))).unwrap();
                    } else {
                        fs::remove_file(self.top.join(&path)).unwrap();
                    }
                    self.nameless.push(log);
                }
            }
            Deed::Move => {
                let to = dice.pick(&LOGS);
                if !self.logs.contains_key(to)
                    && let Some(log) = self.logs.remove(&path)
                {
                    fs::rename(self.top.join(&path), self.top.join(to)).unwrap();
                    self.logs.insert(to.to_owned(), log);
                }
            }
            _ => self.change(deed, &path, dice, account),
        }
    }

    fn append(&mut self, deed: Deed, path: &str, dice: &mut Dice, account: &mut Account) {
        let lines = match deed {
            Deed::Append => 1 + dice.below(4),
            Deed::Burst => 20 + dice.below(100),
            _ => 1,
        };
        let mut bytes = Vec::new();
        for _ in 0..lines {
            bytes.extend(self.line(dice));
            bytes.push(b'\n');
            if dice.once_in(12) {
                bytes.push(b'\n');
            }
        }
        let log = self.log(path);
        match deed {
            Deed::Piece => {
                let cut = 1 + dice.below(bytes.len() - 1);
                log.rest = bytes.split_off(cut);
            }
            Deed::Rest => bytes = std::mem::take(&mut log.rest),
            _ => log.rest.clear(),
        }
        append(log, &bytes);
        account.written(&log.content, 0);
        if dice.once_in(3) {
            // Opened anew for the next one.
            let file = OpenOptions::new().append(true).open(self.top.join(path)).unwrap();
            self.log(path).file = file;
        }
        self.stamp(path);
    }

    /// What is more than appending: each line that stands there then may be captured once more.
    fn change(&mut self, deed: Deed, path: &str, dice: &mut Dice, account: &mut Account) {
        let Some(old) = self.logs.get(path).map(|log| log.content.clone()) else {
            return;
        };
        let fresh = |writers: &mut Self, dice: &mut Dice| {
            let lines: Vec<_> = (0..=dice.below(4)).map(|_| writers.line(dice)).collect();
            lines
                .iter()
                .flat_map(|line| [line.as_slice(), b"\n"].concat())
                .collect::<Vec<u8>>()
        };
        let mut hidden = None;
        let content = match deed {
            Deed::CopyTruncate => {
                self.aside += 1;
                fs::copy(self.top.join(path), self.top.join(format!("old-{}", self.aside))).unwrap();
                Vec::new()
            }
            Deed::Truncate => old[..dice.below(old.len() + 1)].to_vec(),
            Deed::Regrow => {
                let mut content = old[..dice.below(old.len() + 1)].to_vec();
                while content.len() <= old.len() {
                    content.extend(fresh(self, dice));
                }
                content
            }
            Deed::Rewrite => {
                let starts: Vec<_> = std::iter::once(0)
                    .chain(
                        old.iter()
                            .enumerate()
                            .filter(|(_, byte)| **byte == b'\n')
                            .map(|(at, _)| at + 1),
                    )
                    .filter(|start| old.get(*start).is_some_and(|byte| *byte != b'\n'))
                    .collect();
                let mut content = old.clone();
                let at = if dice.once_in(2) { 0 } else { dice.below(starts.len()) };
                let Some(start) = starts.get(at) else {
                    return;
                };
                let length = old[*start..].iter().take_while(|byte| **byte != b'\n').count();
                self.lines += 1;
                // It differs where it begins.
                let text = format!("{:=<length$}", format!("{}:", self.lines));
                let text = &text.as_bytes()[..length];
                content[*start..start + length].copy_from_slice(text);
                hidden = (*start > 0).then(|| text.to_vec());
                content
            }
            Deed::Save => [
                old.as_slice(),
                if old.ends_with(b"\n") { b"" } else { b"\n" },
                &fresh(self, dice),
            ]
            .concat(),
            _ => fresh(self, dice),
        };
        match deed {
            Deed::Save | Deed::Replace => {
                let temporary = self.top.join("saved.tmp");
                fs::write(&temporary, &content).unwrap();
                fs::rename(&temporary, self.top.join(path)).unwrap();
            }
            Deed::Recreate => {
                fs::remove_file(self.top.join(path)).unwrap();
                // No handle of ours keeps the inode: it may be given away again at once.
                self.logs.remove(path);
                fs::write(self.top.join(path), &content).unwrap();
            }
            // In place; what a truncation takes away is gone before anything new comes.
            _ => {
                let file = OpenOptions::new().write(true).open(self.top.join(path)).unwrap();
                if deed == Deed::Rewrite {
                    std::os::unix::fs::FileExt::write_all_at(&file, &content, 0).unwrap();
                } else {
                    let kept = content.iter().zip(&old).take_while(|(new, old)| new == old).count();
                    file.set_len(kept as u64).unwrap();
                    std::os::unix::fs::FileExt::write_all_at(&file, &content[kept..], kept as u64).unwrap();
                }
            }
        }
        let file = OpenOptions::new().append(true).open(self.top.join(path)).unwrap();
        let rest = Vec::new();
        account.written(&content, 1);
        if let Some(line) = hidden {
            account.hidden(&line);
        }
        self.logs.insert(path.to_owned(), Log { content, file, rest });
        self.stamp(path);
    }

    /// The log at a path, which is made if nothing stands there.
    fn log(&mut self, path: &str) -> &mut Log {
        self.logs.entry(path.to_owned()).or_insert_with(|| {
            let file = OpenOptions::new()
                .create_new(true)
                .append(true)
                .open(self.top.join(path));
            Log {
                content: Vec::new(),
                file: file.unwrap(),
                rest: Vec::new(),
            }
        })
    }

    /// A line that is no other's, without its newline.
    fn line(&mut self, dice: &mut Dice) -> Vec<u8> {
        self.lines += 1;
        let text = dice.pick(&["", "naïve 日本語 🙂", "ошибка"]);
        let pad = "x".repeat(dice.pick(&[0, 0, 10, 300, 1500]));
        let number = self.lines;
        match dice.below(8) {
            0 => format!("no json {number} {text}{pad}"),
            1 => format!("{{\"torn\":\"{number} {text}{pad}"),
            _ => format!("{{\"n\":{number},\"text\":\"{text}{pad}\"}}"),
        }
        .into_bytes()
    }

    /// The clock of the kernel may not tick between two looks: each change has a time of its own.
    fn stamp(&mut self, path: &str) {
        if let Some(log) = self.logs.get(path) {
            stamp(&log.file, &mut self.mtime);
        }
    }
}

fn append(log: &mut Log, bytes: &[u8]) {
    log.file.write_all(bytes).unwrap();
    log.content.extend_from_slice(bytes);
}

fn stamp(file: &File, mtime: &mut SystemTime) {
    *mtime += Duration::from_micros(1);
    file.set_modified(*mtime).unwrap();
}
