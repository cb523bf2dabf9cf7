//! Which files there are, how large each is and what is in it: everything but the bytes.

mod relate;

use fastrand::Rng;

use super::draw::{Quantiles, Weights, part, scaled};
use super::pen::{END_MS, hex, time, uuid};
use super::text::Text;
use super::{claude, codex};

/// Sizes of the files of Claude and Codex.
pub(crate) const FILES: Quantiles = Quantiles(&[
    (0.0, 236.0),
    (0.5, 105_267.0),
    (0.75, 233_572.0),
    (0.9, 653_972.0),
    (0.95, 1_504_757.0),
    (0.99, 5_383_751.0),
    (0.999, 16_200_000.0),
    (1.0, 87_033_471.0),
]);
/// Shares of the bytes: no public data tells how many use which agent.
const CLAUDE: f64 = 0.58;
const CODEX: f64 = 0.34;
const COPILOT: f64 = 0.04;
const GEMINI: f64 = 0.02;
const PI: f64 = 0.02;

const PROJECTS: usize = 40;
const PROJECTS_POWER: f64 = 1.1;
const MAIN_SHARE: f64 = 0.18;
const WORKFLOW_PERCENT: u32 = 5;
const SPILLED_PERCENT: u32 = 10;
const FORK_SHARE: f64 = 0.02;
const REPLAY_SHARE: f64 = 0.01;
const IMAGE_SESSIONS_SHARE: f64 = 0.05;
const IMAGE_BYTES_SHARE: f64 = 0.25;
/// Of a session with images, what its images may take.
const IMAGE_BYTES_SHARE_MAX: f64 = 0.85;
const CHILD_PERCENT: u32 = 25;
const NEWER_PERCENT: u32 = 30;
const COMPACTING_PERCENT: u32 = 3;
const ARCHIVED_PERCENT: u32 = 10;
const PACKED_PERCENT: u32 = 5;
const DAYS: u64 = 90;
const ROLLOUT_DAYS: usize = 60;
const ROLLOUTS_A_DAY: std::ops::RangeInclusive<u32> = 1..=25;
const HOT_PERCENT: u32 = 3;
const DAY_S: u64 = 86_400;

/// One file to be written.
pub(crate) struct Planned {
    pub(crate) path: String,
    pub(crate) what: What,
    pub(crate) size: usize,
    pub(crate) seed: u64,
    /// Seconds since it was changed.
    pub(crate) age_s: u64,
}

pub(crate) enum What {
    /// With the place in the plan of the session that it is a fork of.
    Claude(claude::Session, Option<usize>),
    /// With the place in the plan of its parent.
    Codex(codex::Rollout, Option<usize>),
    /// Nothing but its first line.
    CodexHeader(codex::Rollout),
    Copilot(String, String),
    Gemini(String),
    Pi(String, String),
    History(String),
    Empty,
    /// No log: whoever captures logs leaves it alone.
    Beside,
    /// The same, and framed as zstd.
    Packed(codex::Rollout),
}

/// The largest that one file may be: a quarter of the corpus, where that is less than the largest real one.
fn file_bytes_max(total: usize) -> usize {
    total / 4
}

/// All files of a corpus of `total` bytes, by their paths.
pub(crate) fn plan(text: &Text, total: usize, seed: u64) -> Vec<Planned> {
    let mut plan = Plan {
        text,
        rng: Rng::with_seed(seed ^ 0x7472_6565),
        total,
        files: Vec::new(),
    };
    let (claude, codex) = plan.shared();
    plan.claude(&claude);
    plan.codex(&codex);
    plan.others();
    plan.files.sort_by(|a, b| a.path.cmp(&b.path));
    plan.relate();
    plan.files
}

struct Plan<'a> {
    text: &'a Text,
    rng: Rng,
    total: usize,
    files: Vec<Planned>,
}

impl Plan<'_> {
    /// The sizes of Claude's and of Codex's files, the largest first: both have the quantiles that they have together.
    fn shared(&self) -> (Vec<usize>, Vec<usize>) {
        let sizes = FILES.filling(part(self.total, CLAUDE + CODEX), file_bytes_max(self.total));
        let (mut claude, mut codex) = (Vec::new(), Vec::new());
        let mut bytes = (0, 0);
        for size in sizes {
            // Whoever has less of its share takes the next one.
            if part(bytes.0, CODEX) <= part(bytes.1, CLAUDE) {
                bytes.0 += size;
                claude.push(size);
            } else {
                bytes.1 += size;
                codex.push(size);
            }
        }
        (claude, codex)
    }

    fn add(&mut self, path: String, what: What, size: usize) -> usize {
        let (seed, age_s) = (self.rng.u64(..), self.age());
        self.files.push(Planned {
            path,
            what,
            size,
            seed,
            age_s,
        });
        self.files.len() - 1
    }

    fn age(&mut self) -> u64 {
        if self.rng.u32(0..100) < HOT_PERCENT {
            self.rng.u64(0..3600)
        } else {
            self.rng.u64(3600..DAYS * DAY_S)
        }
    }

    fn cwd(&mut self) -> String {
        format!(
            "/home/dev/src/{}-{}",
            self.text.word(&mut self.rng),
            self.text.word(&mut self.rng)
        )
    }

    fn claude(&mut self, sizes: &[usize]) {
        let projects: Vec<String> = (0..PROJECTS).map(|_| self.cwd()).collect();
        let by_rank = Weights::zipf(PROJECTS, PROJECTS_POWER);
        let main = part(sizes.len(), MAIN_SHARE).max(1);
        let images = Self::images(&sizes[..main], sizes.iter().sum());
        let replaying = self.rng.usize(0..main);
        let replays = part(main, REPLAY_SHARE).max(1);
        let mut parents = Vec::new();
        for (at, &size) in sizes.iter().enumerate() {
            let is_main = at < main;
            let (cwd, id) = if is_main {
                (projects[by_rank.draw(&mut self.rng)].clone(), uuid(&mut self.rng))
            } else {
                let parent: &(String, String) = &parents[self.rng.usize(0..parents.len())];
                parent.clone()
            };
            let below = format!(".claude/projects/{}/{id}", cwd.replace('/', "-"));
            let agent = (!is_main).then(|| hex(&mut self.rng, 17));
            let path = match &agent {
                None => format!("{below}.jsonl"),
                Some(agent) if self.rng.u32(0..100) < WORKFLOW_PERCENT => {
                    format!(
                        "{below}/subagents/workflows/wf_{}/agent-{agent}.jsonl",
                        hex(&mut self.rng, 8)
                    )
                }
                Some(agent) => format!("{below}/subagents/agent-{agent}.jsonl"),
            };
            if is_main {
                parents.push((cwd.clone(), id.clone()));
                if self.rng.u32(0..100) < SPILLED_PERCENT {
                    let (name, size) = (hex(&mut self.rng, 12), self.rng.usize(30_000..200_000));
                    self.add(format!("{below}/tool-results/{name}.txt"), What::Beside, size);
                }
            } else {
                self.add(path.replace(".jsonl", ".meta.json"), What::Beside, 300);
            }
            let session = claude::Session {
                id,
                cwd,
                agent,
                images_bytes: images.get(at).copied().unwrap_or(0),
                replays: is_main && (at + replaying) % main < replays,
                size,
                seed: self.rng.u64(..),
                age_s: 0,
            };
            self.add(path, What::Claude(session, None), size);
        }
        self.add(
            ".claude/history.jsonl".to_owned(),
            What::History(projects[0].clone()),
            self.total / 4000,
        );
    }

    /// How many bytes of images each main session has: some of the larger ones have all of them.
    fn images(sizes: &[usize], all: usize) -> Vec<usize> {
        let mut images = vec![0; sizes.len()];
        let mut wanted = part(all, IMAGE_BYTES_SHARE);
        for at in 0..part(sizes.len(), IMAGE_SESSIONS_SHARE).max(1) {
            images[at] = part(sizes[at], IMAGE_BYTES_SHARE_MAX).min(wanted);
            wanted -= images[at];
        }
        images
    }

    fn codex(&mut self, sizes: &[usize]) {
        let mut days: Vec<u64> = (1..=DAYS).collect();
        self.rng.shuffle(&mut days);
        days.truncate(ROLLOUT_DAYS);
        let weights = Weights::new(
            (0..ROLLOUT_DAYS)
                .map(|_| f64::from(self.rng.u32(ROLLOUTS_A_DAY)))
                .collect::<Vec<_>>(),
        );
        for &size in sizes {
            let age_s = days[weights.draw(&mut self.rng)] * DAY_S - self.rng.u64(0..DAY_S);
            let id = uuid(&mut self.rng);
            let at = time(END_MS - 1000 * age_s.cast_signed());
            let name = format!("rollout-{}-{id}.jsonl", at[..19].replace(':', "-"));
            let path = if self.rng.u32(0..100) < ARCHIVED_PERCENT {
                format!(".codex/archived_sessions/{name}")
            } else {
                format!(".codex/sessions/{}/{name}", at[..10].replace('-', "/"))
            };
            let rollout = self.rollout(id, size);
            if path.contains("archived") && self.rng.u32(0..100) < PACKED_PERCENT {
                self.add(format!("{path}.zst"), What::Packed(rollout), size);
                continue;
            }
            self.add(path, What::Codex(rollout, None), size);
        }
        let rollout = self.rollout(uuid(&mut Rng::with_seed(self.total as u64)), 20_000);
        let path = format!(
            ".codex/sessions/2026/06/01/rollout-2026-06-01T00-00-00-{}.jsonl",
            rollout.id
        );
        self.add(path, What::CodexHeader(rollout), 20_000);
        let cwd = self.cwd();
        self.add(".codex/history.jsonl".to_owned(), What::History(cwd), self.total / 8000);
    }

    fn rollout(&mut self, id: String, size: usize) -> codex::Rollout {
        codex::Rollout {
            id,
            cwd: self.cwd(),
            is_newer: self.rng.u32(0..100) < NEWER_PERCENT,
            compacts: self.rng.u32(0..100) < COMPACTING_PERCENT,
            size,
            seed: self.rng.u64(..),
            age_s: 0,
        }
    }

    fn others(&mut self) {
        for (share, agent) in [(COPILOT, 0), (GEMINI, 1), (PI, 2)] {
            let total = part(self.total, share);
            for size in FILES.filling(total, file_bytes_max(total)) {
                let (id, cwd) = (uuid(&mut self.rng), self.cwd());
                let slug = cwd.replace('/', "-");
                match agent {
                    0 => {
                        let below = format!(".copilot/session-state/{id}");
                        self.add(format!("{below}/workspace.yaml"), What::Beside, 400);
                        self.add(format!("{below}/session.db"), What::Beside, 12_288);
                        self.add(format!("{below}/events.jsonl"), What::Copilot(id, cwd), size)
                    }
                    1 => self.add(
                        format!(".gemini/tmp/{}/chats/session-{id}.jsonl", &id[..8]),
                        What::Gemini(id),
                        size,
                    ),
                    _ => self.add(
                        format!(".pi/agent/sessions/-{slug}--/{id}.jsonl"),
                        What::Pi(id, cwd),
                        size,
                    ),
                };
            }
        }
        for _ in 0..scaled(2, self.total) {
            let path = format!(".claude/projects/-home-dev-src-empty/{}.jsonl", uuid(&mut self.rng));
            self.add(path, What::Empty, 0);
        }
    }
}
