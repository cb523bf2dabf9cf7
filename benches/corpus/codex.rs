//! Rollouts of Codex.

mod lines;

use std::ops::Range;

use super::draw::{Quantiles, Weights};
use super::pen::Pen;
use super::text::{Kind, Text};

/// What one rollout is.
pub(crate) struct Rollout {
    pub(crate) id: String,
    pub(crate) cwd: String,
    /// The newer shape: lines are numbered, and the state of the world is written.
    pub(crate) is_newer: bool,
    /// Whether the history is written again every 400 lines.
    pub(crate) compacts: bool,
    pub(crate) size: usize,
    pub(crate) seed: u64,
    pub(crate) age_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Tokens,
    Call,
    Output,
    Reasoning,
    Context,
    Thought,
    Message,
    AgentMessage,
    UserMessage,
    Other,
}

const fn constant(low: f64, high: f64) -> [(f64, f64); 2] {
    [(0.0, low), (1.0, high)]
}

/// Share of the lines in percent, and sizes in bytes.
const MIX: [(Line, f64, Quantiles); 10] = [
    (Line::Tokens, 21.5, Quantiles(&constant(704.0, 716.0))),
    (
        Line::Call,
        14.0,
        Quantiles(&[
            (0.0, 230.0),
            (0.5, 269.0),
            (0.9, 398.0),
            (0.99, 3514.0),
            (1.0, 12_000.0),
        ]),
    ),
    (
        Line::Output,
        14.0,
        Quantiles(&[
            (0.0, 220.0),
            (0.5, 627.0),
            (0.9, 5097.0),
            (0.99, 42_332.0),
            (1.0, 170_000.0),
        ]),
    ),
    (
        Line::Reasoning,
        11.0,
        Quantiles(&[
            (0.0, 700.0),
            (0.5, 1485.0),
            (0.9, 3687.0),
            (0.99, 9532.0),
            (1.0, 20_000.0),
        ]),
    ),
    (Line::Context, 11.0, Quantiles(&constant(14_480.0, 14_520.0))),
    (Line::Thought, 10.0, Quantiles(&constant(130.0, 160.0))),
    (
        Line::Message,
        9.0,
        Quantiles(&[
            (0.0, 210.0),
            (0.5, 395.0),
            (0.9, 1151.0),
            (0.99, 13_796.0),
            (1.0, 40_000.0),
        ]),
    ),
    (
        Line::AgentMessage,
        5.0,
        Quantiles(&[
            (0.0, 150.0),
            (0.5, 330.0),
            (0.9, 1100.0),
            (0.99, 6000.0),
            (1.0, 20_000.0),
        ]),
    ),
    (
        Line::UserMessage,
        1.0,
        Quantiles(&[
            (0.0, 150.0),
            (0.5, 400.0),
            (0.9, 6000.0),
            (0.99, 90_000.0),
            (1.0, 205_000.0),
        ]),
    ),
    (Line::Other, 1.5, Quantiles(&constant(120.0, 260.0))),
];
const META_BYTES: usize = 13_000;
/// Of the newer shape, how many lines in a hundred are the state of the world.
const WORLD_PERCENT: u32 = 3;
const WORLD: Quantiles = Quantiles(&[(0.0, 900.0), (0.5, 2400.0), (1.0, 9000.0)]);
/// Lines between two compactions, and how many items each writes again.
const COMPACT_LINES: usize = 400;
const COMPACT_ITEMS: Range<usize> = 60..300;
const COMPACT_BYTES_MAX: usize = 18_000_000;
const LINE_BYTES_MIN: usize = 160;

/// The first line alone.
pub(crate) fn header(text: &Text, rollout: &Rollout) -> Vec<u8> {
    let mut writer = Writer::new(text, rollout);
    writer.meta(META_BYTES.min(rollout.size));
    writer.pen.bytes
}

/// All lines of a rollout; behind `parent_lines` if it is the child of another one.
pub(crate) fn write(text: &Text, rollout: &Rollout, parent_lines: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::new(text, rollout);
    writer.pen.bytes.extend(parent_lines);
    writer.meta(META_BYTES.min(rollout.size / 3));
    let mix = Weights::new(MIX.iter().map(|kind| kind.1));
    while writer.pen.left() >= LINE_BYTES_MIN {
        writer.next(&mix);
    }
    writer.pen.bytes
}

struct Writer<'a> {
    pen: Pen<'a>,
    rollout: &'a Rollout,
    ordinal: usize,
    /// What a turn begins with, the same every time.
    context: Range<usize>,
    /// Where the payloads of the response items stand.
    items: Vec<Range<usize>>,
}

impl<'a> Writer<'a> {
    fn new(text: &'a Text, rollout: &'a Rollout) -> Self {
        let pen = Pen::new(text, rollout.seed, rollout.size, rollout.age_s);
        Self {
            pen,
            rollout,
            ordinal: 0,
            context: 0..0,
            items: Vec::new(),
        }
    }

    fn next(&mut self, mix: &Weights) {
        let left = self.pen.left();
        if self.rollout.compacts && self.ordinal % COMPACT_LINES == COMPACT_LINES - 1 && self.compact() {
            return;
        }
        if self.rollout.is_newer && self.pen.rng.u32(0..100) < WORLD_PERCENT {
            let size = WORLD.draw(&mut self.pen.rng).min(left);
            return self.line("world_state", size, "{\"entries\":{\"text\":\"", "\"}}", |pen, room| {
                pen.passage(Kind::Listing, room);
            });
        }
        for _ in 0..6 {
            let (line, _, sizes) = MIX[mix.draw(&mut self.pen.rng)];
            let size = sizes.draw(&mut self.pen.rng);
            if size <= left {
                return self.write(line, size);
            }
        }
        self.write(Line::AgentMessage, left);
    }

    /// One line of a type; the payload is `before`, what `body` writes, and `after`.
    fn line(&mut self, kind: &str, size: usize, before: &str, after: &str, body: impl FnOnce(&mut Pen<'a>, usize)) {
        let at = self.pen.now();
        let ordinal = if self.rollout.is_newer {
            format!("\"ordinal\":{},", self.ordinal)
        } else {
            String::new()
        };
        self.ordinal += 1;
        let head = format!("{{\"timestamp\":\"{at}\",{ordinal}\"type\":\"{kind}\",\"payload\":");
        let begin = self.pen.bytes.len() + head.len();
        self.pen
            .line(size, &format!("{head}{before}"), &format!("{after}}}"), body);
        if kind == "response_item" {
            self.items.push(begin..self.pen.bytes.len() - 2);
        }
    }

    fn write(&mut self, line: Line, size: usize) {
        match line {
            Line::Tokens => self.tokens(),
            Line::Context => self.context(size),
            Line::Call => self.call(size),
            Line::Output => {
                let id = self.pen.hex(24);
                let before = format!("{{\"type\":\"function_call_output\",\"call_id\":\"call_{id}\",\"output\":\"");
                self.line("response_item", size, &before, "\"}", Pen::output);
            }
            Line::Reasoning => {
                let before = "{\"type\":\"reasoning\",\"summary\":[],\"content\":null,\"encrypted_content\":\"";
                self.line("response_item", size, before, "\"}", Pen::base64);
            }
            Line::Thought => self.said("agent_reasoning", "text", size),
            Line::AgentMessage => self.said("agent_message", "message", size),
            Line::UserMessage => self.said("user_message", "message", size),
            Line::Other => self.said("turn_aborted", "reason", size),
            Line::Message => {
                let before =
                    "{\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"";
                self.line("response_item", size, before, "\"}]}", |pen, room| {
                    pen.passage(Kind::Prose, room);
                });
            }
        }
    }

    /// Writes the last items once more, in one line; false if they do not fit.
    fn compact(&mut self) -> bool {
        let count = self.pen.rng.usize(COMPACT_ITEMS).min(self.items.len());
        let items = self.items[self.items.len() - count..].to_vec();
        let bytes: usize = items.iter().map(|item| item.len() + 1).sum();
        if bytes + 200 > self.pen.left() || bytes > COMPACT_BYTES_MAX {
            return false;
        }
        self.line(
            "compacted",
            0,
            "{\"message\":\"\",\"replacement_history\":[",
            "]}",
            |pen, _| {
                for (at, item) in items.into_iter().enumerate() {
                    if at > 0 {
                        pen.put(",");
                    }
                    pen.bytes.extend_from_within(item);
                }
            },
        );
        true
    }
}
