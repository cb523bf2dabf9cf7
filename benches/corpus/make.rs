//! Writes a corpus: plans it, fills the files on all cores, and keeps the manifest.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use super::dirt::{self, Dirt};
use super::manifest::{Entry, Manifest, Mark, marks};
use super::pen::Pen;
use super::text::Text;
use super::tree::{self, Planned, What};
use super::{claude, codex, others, stored};

/// Bytes of each of the four pools of text: wider than what most compressors look back.
const POOL_BYTES: usize = 6 << 20;
/// A small corpus needs less, and gets it sooner.
const POOL_SHARE: usize = 16;

/// Writes a corpus of about `mebibytes` below `out`, which must not exist; returns its manifest.
pub(crate) fn make(out: &Path, mebibytes: u64, seed: u64) -> io::Result<Manifest> {
    let total = usize::try_from(mebibytes << 20).map_err(io::Error::other)?;
    let text = Text::new(seed, (total / POOL_SHARE).clamp(1 << 16, POOL_BYTES));
    let plan = tree::plan(&text, total, seed);
    let dirt = dirt::spread(&plan, total, seed);
    directory(out)?;
    for file in &plan {
        directory(parent(&out.join(&file.path))?)?;
    }
    let job = Job {
        text: &text,
        plan: &plan,
        dirt: &dirt,
        out,
        now: SystemTime::now(),
    };
    let mut files = job.run()?;
    files.extend(hard_link(out, &files)?);
    files.sort_by(|a, b| a.0.path.cmp(&b.0.path));
    let symlinks = symlinks(out, &plan)?;
    Ok(Manifest::new(mebibytes, seed, symlinks, files))
}

struct Job<'a> {
    text: &'a Text,
    plan: &'a [Planned],
    dirt: &'a [Option<Dirt>],
    out: &'a Path,
    now: SystemTime,
}

impl Job<'_> {
    fn run(&self) -> io::Result<Vec<(Entry, Vec<Mark>)>> {
        let mut order: Vec<usize> = (0..self.plan.len()).collect();
        // The largest first, so that no thread is left with it at the end.
        order.sort_by_key(|at| std::cmp::Reverse(self.plan[*at].size));
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            while let Some(&at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                done.push(self.file(at)?);
            }
            io::Result::Ok(done)
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts: Vec<io::Result<Vec<_>>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a thread that writes files died")))
            };
            threads.into_iter().map(join).collect()
        });
        let mut files = Vec::new();
        for part in parts {
            files.extend(part?);
        }
        Ok(files)
    }

    fn file(&self, at: usize) -> io::Result<(Entry, Vec<Mark>)> {
        let (file, dirt) = (&self.plan[at], self.dirt[at]);
        let mut bytes = self.clean(at);
        if let Some(dirt) = dirt {
            dirt.soil(&mut bytes, file.seed);
        }
        let path = self.out.join(&file.path);
        let mut log = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        log.write_all(&bytes)?;
        log.set_modified(self.now - Duration::from_secs(file.age_s))?;
        let captured = !matches!(file.what, What::Beside | What::Packed(_));
        let marks = if captured { marks(&bytes)? } else { Vec::new() };
        let entry = Entry {
            path: file.path.clone(),
            bytes: bytes.len() as u64,
            captured,
            lines: marks.iter().filter(|mark| mark.is_ended()).count() as u64,
            blank: marks
                .iter()
                .filter(|mark| mark.is_ended() && mark.length() == 0)
                .count() as u64,
            records: marks.iter().filter(|mark| mark.is_captured()).count() as u64,
            mark: 0,
            marks: marks.len() as u64,
            blake3: blake3::hash(&bytes).to_hex().to_string(),
            dirt: dirt.map(|dirt| dirt.name().to_owned()),
            same_as: None,
        };
        Ok((entry, marks))
    }

    /// The bytes of a file before anything goes wrong with them.
    fn clean(&self, at: usize) -> Vec<u8> {
        let file = &self.plan[at];
        let pen = || Pen::new(self.text, file.seed, file.size, file.age_s);
        match &file.what {
            What::Claude(session, None) => claude::write(self.text, session),
            What::Claude(session, Some(parent)) => {
                let history = match &self.plan[*parent].what {
                    What::Claude(parent_session, _) => {
                        claude::history(&self.clean(*parent), &parent_session.id, &session.id)
                    }
                    _ => Vec::new(),
                };
                claude::write_after(self.text, session, history)
            }
            What::Codex(rollout, parent) => {
                let lines = parent.map(|parent| self.clean(parent)).unwrap_or_default();
                codex::write(self.text, rollout, lines)
            }
            What::CodexHeader(rollout) => codex::header(self.text, rollout),
            What::Packed(rollout) => stored::frame(&codex::write(self.text, rollout, Vec::new())),
            What::Copilot(id, cwd) => others::copilot(pen(), id, cwd),
            What::Gemini(id) => others::gemini(pen(), id),
            What::Pi(id, cwd) => others::pi(pen(), id, cwd),
            What::History(cwd) => others::history(pen(), cwd),
            What::Empty => Vec::new(),
            What::Beside => others::beside(self.text, file.seed, file.size),
        }
    }
}

fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn parent(path: &Path) -> io::Result<&Path> {
    path.parent()
        .ok_or_else(|| io::Error::other("a file without a directory"))
}

/// A "backup" of one rollout: a second name of it.
fn hard_link(out: &Path, files: &[(Entry, Vec<Mark>)]) -> io::Result<Option<(Entry, Vec<Mark>)>> {
    let suits = |entry: &Entry| entry.path.starts_with(".codex/sessions/") && entry.bytes > 0 && entry.dirt.is_none();
    let Some((first, _)) = files
        .iter()
        .filter(|(entry, _)| suits(entry))
        .min_by(|a, b| a.0.path.cmp(&b.0.path))
    else {
        return Ok(None);
    };
    let name = first.path.rsplit('/').next().unwrap_or_default();
    let path = format!(".codex/archived_sessions/backup-of-{name}");
    directory(parent(&out.join(&path))?)?;
    fs::hard_link(out.join(&first.path), out.join(&path))?;
    let entry = Entry {
        path,
        same_as: Some(first.path.clone()),
        mark: 0,
        marks: 0,
        ..first.clone()
    };
    Ok(Some((entry, Vec::new())))
}

/// Two directories have a second name each that is a symlink, as after a move to another disk.
fn symlinks(out: &Path, plan: &[Planned]) -> io::Result<u64> {
    let project = plan.iter().find(|file| file.path.starts_with(".claude/projects/"));
    let project = project.and_then(|file| file.path.split('/').nth(2)).unwrap_or_default();
    symlink(project, out.join(".claude/projects/-home-dev-linked"))?;
    symlink("sessions", out.join(".codex/sessions-of-the-old-disk"))?;
    Ok(2)
}

/// Where the manifest of a corpus is: beside it.
pub(crate) fn manifest_path(out: &Path) -> PathBuf {
    let mut path = out.as_os_str().to_owned();
    path.push(".manifest.jsonl");
    path.into()
}
