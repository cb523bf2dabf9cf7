//! Logs of Copilot CLI, Gemini CLI and pi, and histories of prompts.

use super::draw::{Quantiles, Weights};
use super::pen::Pen;
use super::text::{Kind, Text};

const TOOL_DONE: Quantiles = Quantiles(&[
    (0.0, 600.0),
    (0.5, 4200.0),
    (0.9, 20_000.0),
    (0.99, 70_000.0),
    (1.0, 775_000.0),
]);
const ANSWER: Quantiles = Quantiles(&[
    (0.0, 700.0),
    (0.5, 4500.0),
    (0.9, 17_000.0),
    (0.99, 45_000.0),
    (1.0, 100_000.0),
]);
const EVENT: Quantiles = Quantiles(&[(0.0, 220.0), (0.5, 700.0), (0.9, 2200.0), (0.99, 5000.0), (1.0, 9000.0)]);
const MESSAGE: Quantiles = Quantiles(&[(0.0, 300.0), (0.2, 1000.0), (0.9, 12_000.0), (1.0, 30_000.0)]);
const ENTRY: Quantiles = Quantiles(&[(0.0, 250.0), (0.5, 1200.0), (0.9, 6000.0), (1.0, 40_000.0)]);
const IMAGE: Quantiles = Quantiles(&[(0.0, 1_000_000.0), (1.0, 2_500_000.0)]);
const LINE_BYTES_MIN: usize = 240;

/// `events.jsonl` of a Copilot session.
pub(crate) fn copilot(mut pen: Pen<'_>, id: &str, cwd: &str) -> Vec<u8> {
    let at = pen.now();
    pen.line(0, "{\"type\":\"session.start\",\"data\":", "}", |pen, _| {
        pen.put(&format!(
            "{{\"sessionId\":\"{id}\",\"cwd\":\"{cwd}\",\"startTime\":\"{at}\"}},\"id\":\"{id}\",\"timestamp\":\"{at}\""
        ));
    });
    let kinds = [
        ("tool.execution_complete", TOOL_DONE),
        ("assistant.message", ANSWER),
        ("tool.execution_start", EVENT),
    ];
    let mix = Weights::new([15.0, 10.0, 75.0]);
    while pen.left() >= LINE_BYTES_MIN {
        let (kind, sizes) = kinds[mix.draw(&mut pen.rng)];
        let size = sizes.draw(&mut pen.rng).min(pen.left());
        let (uuid, at) = (pen.uuid(), pen.now());
        let head = format!("{{\"type\":\"{kind}\",\"data\":{{\"content\":\"");
        let tail = format!("\"}},\"id\":\"{uuid}\",\"timestamp\":\"{at}\",\"parentId\":\"{id}\"}}");
        pen.line(size, &head, &tail, Pen::output);
    }
    pen.bytes
}

/// A chat of Gemini; every fourth message is written again with its tokens.
pub(crate) fn gemini(mut pen: Pen<'_>, id: &str) -> Vec<u8> {
    let (hash, at) = (pen.hex(64), pen.now());
    pen.line(0, "", "", |pen, _| {
        pen.put(&format!(
            "{{\"sessionId\":\"{id}\",\"projectHash\":\"{hash}\",\"startTime\":\"{at}\",\"kind\":\"main\"}}"
        ));
    });
    while pen.left() >= LINE_BYTES_MIN {
        let (id, at) = (pen.uuid(), pen.now());
        let size = MESSAGE.draw(&mut pen.rng).min(pen.left());
        let kind = if pen.rng.bool() { "user" } else { "gemini" };
        let head = format!("{{\"id\":\"{id}\",\"timestamp\":\"{at}\",\"type\":\"{kind}\",\"content\":\"");
        let begin = pen.bytes.len();
        pen.line(size, &head, "\"}", Pen::output);
        let end = pen.bytes.len();
        match pen.rng.u32(0..8) {
            0 | 1 if end - begin <= pen.left() => {
                pen.bytes.extend_from_within(begin..end - 2);
                pen.put(",\"tokens\":{\"input\":811,\"output\":93}}\n");
            }
            2 => pen.line(0, "{\"$set\":{\"lastUpdated\":\"", "\"}}", |pen, _| pen.put(&at)),
            _ => {}
        }
    }
    pen.bytes
}

/// A session of pi: entries, and some images.
pub(crate) fn pi(mut pen: Pen<'_>, id: &str, cwd: &str) -> Vec<u8> {
    let at = pen.now();
    pen.line(0, "", "", |pen, _| {
        pen.put(&format!(
            "{{\"type\":\"session\",\"version\":3,\"id\":\"{id}\",\"timestamp\":\"{at}\",\"cwd\":\"{cwd}\"}}"
        ));
    });
    let mut parent = pen.hex(8);
    while pen.left() >= LINE_BYTES_MIN {
        let (id, at) = (pen.hex(8), pen.now());
        let is_image = pen.rng.u32(0..100) < 2 && pen.left() > IMAGE.at(1.0);
        let sizes = if is_image { IMAGE } else { ENTRY };
        let size = sizes.draw(&mut pen.rng).min(pen.left());
        let role = ["user", "assistant", "toolResult"][pen.rng.usize(0..3)];
        let head = format!(
            "{{\"type\":\"message\",\"id\":\"{id}\",\"parentId\":\"{parent}\",\"timestamp\":\"{at}\",\"message\":{{\"role\":\"{role}\",\"content\":\""
        );
        pen.line(size, &head, "\"}}", if is_image { Pen::base64 } else { Pen::output });
        parent = id;
    }
    pen.bytes
}

/// `history.jsonl`: one prompt a line.
pub(crate) fn history(mut pen: Pen<'_>, cwd: &str) -> Vec<u8> {
    while pen.left() >= LINE_BYTES_MIN {
        let at = pen.now();
        let size = pen.rng.usize(150..600);
        let tail = format!("\",\"timestamp\":\"{at}\",\"project\":\"{cwd}\"}}");
        pen.line(size, "{\"display\":\"", &tail, |pen, room| {
            pen.passage(Kind::Prose, room);
        });
    }
    pen.bytes
}

/// What stands beside the logs and is none: text, and bytes that are no text.
pub(crate) fn beside(text: &Text, seed: u64, size: usize) -> Vec<u8> {
    let mut pen = Pen::new(text, seed, size, 0);
    if seed.is_multiple_of(2) {
        pen.output(size);
    } else {
        pen.base64(size);
    }
    pen.bytes
}
