//! Sessions of Claude Code: main ones and those of sub-agents.

mod lines;

use super::draw::{Quantiles, Weights, lognormal};
use super::pen::Pen;
use super::text::{Kind, Text};

/// What one session is.
pub(crate) struct Session {
    pub(crate) id: String,
    pub(crate) cwd: String,
    /// Set for a sub-agent, whose lines carry its parent's session.
    pub(crate) agent: Option<String>,
    /// Bytes of lines that hold images.
    pub(crate) images_bytes: usize,
    /// Whether a second compaction writes everything once more.
    pub(crate) replays: bool,
    pub(crate) size: usize,
    pub(crate) seed: u64,
    pub(crate) age_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Result,
    Use,
    Progress,
    Snapshot,
    Text,
    Thinking,
    Prompt,
    Queue,
}

/// Share of the lines in percent, and sizes in bytes.
const MIX: [(Line, f64, Quantiles); 8] = [
    (
        Line::Result,
        25.0,
        Quantiles(&[
            (0.0, 700.0),
            (0.5, 2584.0),
            (0.9, 19_751.0),
            (0.99, 52_705.0),
            (1.0, 110_000.0),
        ]),
    ),
    (
        Line::Use,
        25.0,
        Quantiles(&[
            (0.0, 640.0),
            (0.5, 1291.0),
            (0.9, 4603.0),
            (0.99, 26_928.0),
            (1.0, 60_000.0),
        ]),
    ),
    (
        Line::Progress,
        21.0,
        Quantiles(&[(0.0, 480.0), (0.5, 566.0), (0.9, 2200.0), (0.99, 6096.0), (1.0, 9000.0)]),
    ),
    (
        Line::Snapshot,
        10.0,
        Quantiles(&[
            (0.0, 240.0),
            (0.5, 2490.0),
            (0.9, 6404.0),
            (0.99, 8056.0),
            (1.0, 9500.0),
        ]),
    ),
    (
        Line::Text,
        7.5,
        Quantiles(&[
            (0.0, 640.0),
            (0.5, 936.0),
            (0.9, 2931.0),
            (0.99, 20_633.0),
            (1.0, 40_000.0),
        ]),
    ),
    (
        Line::Thinking,
        5.5,
        Quantiles(&[
            (0.0, 900.0),
            (0.5, 2314.0),
            (0.9, 13_306.0),
            (0.99, 28_114.0),
            (1.0, 50_000.0),
        ]),
    ),
    (
        Line::Prompt,
        3.0,
        Quantiles(&[
            (0.0, 480.0),
            (0.5, 718.0),
            (0.9, 5673.0),
            (0.99, 79_578.0),
            (1.0, 160_000.0),
        ]),
    ),
    (
        Line::Queue,
        3.0,
        Quantiles(&[(0.0, 137.0), (0.5, 138.0), (0.9, 534.0), (0.99, 919.0), (1.0, 1200.0)]),
    ),
];
/// What newer versions write in place of progress.
const ATTACHMENT: Quantiles = Quantiles(&[(0.0, 120.0), (1.0, 400.0)]);
/// Snapshots of sessions that are larger than this may be as large as 1 MB.
const HUGE_BYTES: usize = 50_000_000;
const IMAGE_MEDIAN_BYTES: f64 = 230_000.0;
const IMAGE_SIGMA: f64 = 0.8;
/// Of the base64 of one image, which stands twice in its line.
const IMAGE_BYTES_MAX: usize = 4_000_000;
/// The shortest line that is written.
const LINE_BYTES_MIN: usize = 140;

/// All lines of a session.
pub(crate) fn write(text: &Text, session: &Session) -> Vec<u8> {
    write_after(text, session, Vec::new())
}

/// The same behind lines that were there before: the history of a fork.
pub(crate) fn write_after(text: &Text, session: &Session, history: Vec<u8>) -> Vec<u8> {
    let mut pen = Pen::new(text, session.seed, session.size, session.age_s);
    pen.bytes.extend(history);
    let parent = pen.uuid();
    let is_newer = pen.rng.u32(0..100) < 25;
    let slug = format!("{}-{}", pen.word(), pen.word());
    let mut writer = Writer {
        pen,
        session,
        parent,
        is_newer,
        slug,
        images_bytes: 0,
    };
    let mix = Weights::new(MIX.iter().map(|kind| kind.1));
    let mut replays = session.replays;
    while writer.pen.left() >= LINE_BYTES_MIN {
        if replays && writer.pen.left() * 100 < session.size * 53 {
            replays = false;
            writer.replay();
        }
        if !writer.image() {
            writer.next(&mix);
        }
    }
    writer.pen.bytes
}

/// The first nine tenths of the lines of `parent` that have a uuid, as lines of `fork`.
pub(crate) fn history(parent_lines: &[u8], parent: &str, fork: &str) -> Vec<u8> {
    let lines: Vec<&[u8]> = parent_lines.split_inclusive(|byte| *byte == b'\n').collect();
    let finder = memchr::memmem::Finder::new(b"\"uuid\":\"");
    let with_uuid: Vec<&&[u8]> = lines.iter().filter(|line| finder.find(line).is_some()).collect();
    let mut bytes: Vec<u8> = with_uuid[..with_uuid.len() * 9 / 10]
        .iter()
        .flat_map(|line| line.iter().copied())
        .collect();
    let places: Vec<usize> = memchr::memmem::find_iter(&bytes, parent.as_bytes()).collect();
    for at in places {
        bytes[at..at + fork.len()].copy_from_slice(fork.as_bytes());
    }
    bytes
}

struct Writer<'a> {
    pen: Pen<'a>,
    session: &'a Session,
    /// The uuid of the line before.
    parent: String,
    is_newer: bool,
    slug: String,
    images_bytes: usize,
}

impl Writer<'_> {
    fn next(&mut self, mix: &Weights) {
        let left = self.pen.left();
        for _ in 0..6 {
            let (line, _, sizes) = MIX[mix.draw(&mut self.pen.rng)];
            let mut size = sizes.draw(&mut self.pen.rng);
            if line == Line::Snapshot && self.session.size > HUGE_BYTES && self.pen.rng.u32(0..100) < 2 {
                size = self.pen.rng.usize(20_000..1_000_000);
            }
            if size <= left {
                return self.write(line, size);
            }
        }
        self.write(if left > 700 { Line::Text } else { Line::Queue }, left);
    }

    fn write(&mut self, line: Line, size: usize) {
        match line {
            Line::Result => self.result(size),
            Line::Use => self.tool(size),
            Line::Progress if self.is_newer => self.attachment(),
            Line::Progress => self.progress(size),
            Line::Snapshot => self.snapshot(size),
            Line::Text => self.answer(size, "{\"type\":\"text\",\"text\":\"", "\"}", Kind::Prose),
            Line::Thinking => self.thinking(size),
            Line::Prompt => self.prompt(size),
            Line::Queue => self.queue(size),
        }
    }

    /// Writes a line with an image if it is time for one, which stands twice in it.
    fn image(&mut self) -> bool {
        let done = self.pen.bytes.len();
        // As far with the images as with the rest.
        if self.images_bytes * (self.session.size / 1024) >= self.session.images_bytes / 1024 * done.max(1) {
            return false;
        }
        let one = lognormal(&mut self.pen.rng, IMAGE_MEDIAN_BYTES, IMAGE_SIGMA).min(IMAGE_BYTES_MAX);
        let size = 2 * one + 800;
        if size > self.pen.left() {
            return false;
        }
        let (head, tail) = self.frame("user");
        let id = self.pen.hex(24);
        let source = "{\"type\":\"base64\",\"media_type\":\"image/png\",\"data\":\"";
        let head = format!(
            "{head}\"message\":{{\"role\":\"user\",\"content\":[{{\"tool_use_id\":\"toolu_{id}\",\"type\":\"tool_result\",\
             \"content\":[{{\"type\":\"image\",\"source\":{source}"
        );
        let middle = format!("\"}}}}]}}]}},\"toolUseResult\":[{{\"type\":\"image\",\"source\":{source}");
        self.pen.line(size, &head, &format!("\"}}}}]{tail}"), |pen, _| {
            let begin = pen.bytes.len();
            pen.base64(one);
            pen.put(&middle);
            pen.bytes.extend_from_within(begin..begin + one);
        });
        self.images_bytes += size;
        true
    }

    /// A second compaction: all lines so far come again.
    fn replay(&mut self) {
        let end = self.pen.bytes.len();
        let (head, tail) = self.frame("system");
        let head = format!("{head}\"subtype\":\"compact_boundary\",\"content\":\"Conversation compacted");
        self.pen.line(0, &head, &format!("\"{tail}"), |_, _| {});
        let room = end.min(self.pen.left());
        let whole = memchr::memrchr(b'\n', &self.pen.bytes[..room]).map_or(0, |at| at + 1);
        self.pen.bytes.extend_from_within(..whole);
    }
}
