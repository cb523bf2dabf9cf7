//! Text that looks and packs like that of real sessions: code, prose, logs and listings from made-up words.
//!
//! Pieces are drawn word by word once, into pools that are wider than the window of a compressor, and stand there as
//! they stand in a JSON string. A passage is made of stretches of a pool; some come again, as in a real session.

use fastrand::Rng;

use super::draw::Weights;

const SYLLABLES: [&str; 48] = [
    "al", "an", "ar", "ba", "be", "bo", "ca", "ce", "co", "con", "da", "de", "di", "do", "el", "en", "er", "es", "fa",
    "fi", "ga", "ge", "go", "he", "in", "ir", "is", "ka", "li", "lo", "ma", "me", "no", "on", "or", "pa", "pro", "qua",
    "re", "ri", "sa", "se", "ta", "ti", "tra", "un", "ve", "wi",
];
const FOREIGN: [&str; 14] = [
    "é",
    "ñ",
    "über",
    "→",
    "“",
    "”",
    "—",
    "✓",
    "日本語",
    "検索",
    "保存する",
    "数据",
    "😀",
    "🚀",
];
/// Of the stretches of a passage, how many in a hundred have stood in the session lately.
const AGAIN_PERCENT: u32 = 38;
/// Stretches that are remembered; with their lengths less than what deflate looks back.
const RECENT: usize = 24;

/// What a passage is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Code,
    Prose,
    Log,
    Listing,
}

/// Pieces one after the other, escaped for a JSON string.
#[derive(Default)]
struct Pool {
    text: String,
    starts: Vec<usize>,
}

/// The pools of one seed.
pub(crate) struct Text {
    pub(crate) words: Vec<String>,
    by_rank: Weights,
    pools: [Pool; 4],
}

/// Stretches that a session has shown lately.
#[derive(Default)]
pub(crate) struct Recent {
    stretches: Vec<(Kind, usize, usize)>,
    next: usize,
}

impl Text {
    /// Pools of `bytes` each.
    pub(crate) fn new(seed: u64, bytes: usize) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut words: Vec<String> = (0..4000).map(|_| word(&mut rng)).collect();
        words.sort();
        words.dedup();
        rng.shuffle(&mut words);
        let by_rank = Weights::zipf(words.len(), 0.9);
        let mut text = Self {
            words,
            by_rank,
            pools: Default::default(),
        };
        for (at, kind) in [Kind::Code, Kind::Prose, Kind::Log, Kind::Listing]
            .into_iter()
            .enumerate()
        {
            let mut pool = Pool::default();
            while pool.text.len() < bytes {
                pool.starts.push(pool.text.len());
                escape(&mut pool.text, &text.piece(&mut rng, kind));
            }
            pool.starts.push(pool.text.len());
            text.pools[at] = pool;
        }
        text
    }

    pub(crate) fn word(&self, rng: &mut Rng) -> &str {
        &self.words[self.by_rank.draw(rng)]
    }

    /// About `size` bytes of a string's inside, never more.
    pub(crate) fn passage(&self, rng: &mut Rng, recent: &mut Recent, out: &mut Vec<u8>, kind: Kind, size: usize) {
        let end = out.len() + size;
        while out.len() < end {
            let (kind, from, to) = self.stretch(rng, recent, kind);
            let piece = &self.pools[kind as usize].text.as_bytes()[from..to];
            let left = end - out.len();
            if piece.len() <= left {
                out.extend_from_slice(piece);
                continue;
            }
            // No escape and no character holds a space, so what stands before one is whole.
            let whole = piece[..left].iter().rposition(|byte| *byte == b' ').unwrap_or(0);
            out.extend_from_slice(&piece[..whole]);
            break;
        }
    }

    fn stretch(&self, rng: &mut Rng, recent: &mut Recent, kind: Kind) -> (Kind, usize, usize) {
        if recent.stretches.len() == RECENT && rng.u32(0..100) < AGAIN_PERCENT {
            return recent.stretches[rng.usize(0..RECENT)];
        }
        let pool = &self.pools[kind as usize];
        let pieces = pool.starts.len() - 1;
        let first = rng.usize(0..pieces);
        let last = (first + rng.usize(2..16)).min(pieces);
        let stretch = (kind, pool.starts[first], pool.starts[last]);
        if recent.stretches.len() < RECENT {
            recent.stretches.push(stretch);
        } else {
            recent.stretches[recent.next % RECENT] = stretch;
            recent.next += 1;
        }
        stretch
    }

    fn piece(&self, rng: &mut Rng, kind: Kind) -> String {
        match kind {
            Kind::Code => self.code(rng),
            Kind::Prose => self.prose(rng),
            Kind::Log => self.log(rng),
            Kind::Listing => self.listing(rng),
        }
    }

    fn code(&self, rng: &mut Rng) -> String {
        let [a, b, c] = [(); 3].map(|()| self.word(rng));
        let number = rng.u32(0..100);
        let indent = "    ".repeat(rng.usize(0..4));
        match rng.u32(0..9) {
            0 => format!("{indent}let {a}_{b} = self.{c}({a}, &{b})?;\n"),
            1 => format!("{indent}if {a}.{b}() {{\n"),
            2 => format!("{indent}println!(\"{a}: {{}}\", {b});\n"),
            3 => format!("{indent}// The {a} of {b} is {c} here.\n"),
            4 => format!("pub fn {a}_{b}({c}: &str) -> Result<u64, Error> {{\n"),
            5 => format!("{indent}}}\n"),
            6 => format!("use crate::{a}::{b};\n"),
            7 => format!("\tassert_eq!({a}[{number}], \"{b}\");\n"),
            _ => format!("{indent}return {a}.map(|{b}| {b}.{c}({number}));\n"),
        }
    }

    fn prose(&self, rng: &mut Rng) -> String {
        let mut text = String::new();
        let words = rng.usize(5..18);
        let foreign = rng.u32(0..100) < 15;
        for at in 0..words {
            let any = rng.u32(0..100);
            match any {
                0..60 if foreign => text.push_str(FOREIGN[rng.usize(0..FOREIGN.len())]),
                0..4 => text.push_str(FOREIGN[rng.usize(0..FOREIGN.len())]),
                5..8 => text.extend(["\"", self.word(rng), "\""]),
                _ => text.push_str(self.word(rng)),
            }
            text.push_str(if at + 1 == words { ". " } else { " " });
        }
        // JSON writers leave the separators of Unicode as they are, and no reader of lines may end a line there.
        match rng.u32(0..1000) {
            0..350 => text.push('\n'),
            350 => text.push_str("\u{2028} "),
            _ => {}
        }
        text
    }

    fn log(&self, rng: &mut Rng) -> String {
        let [a, b, c] = [(); 3].map(|()| self.word(rng));
        let number = rng.u32(0..10_000);
        match rng.u32(0..5) {
            0 => format!(
                "2026-08-{:02}T10:{:02}:07Z  INFO {a}::{b}: {c} took {number} ms\n",
                number % 28 + 1,
                number % 60
            ),
            1 => format!("test {a}::tests::{b}_{c} ... ok\n"),
            2 => format!("   Compiling {a}-{b} v0.{}.{}\n", number % 40, number % 7),
            3 => format!("warning: unused variable: `{a}` --> src/{b}/{c}.rs:{number}:9\n"),
            _ => format!("src/{a}/{b}.rs:{number}:    let {c} = {a}.{b}();\n"),
        }
    }

    fn listing(&self, rng: &mut Rng) -> String {
        let [a, b, c] = [(); 3].map(|()| self.word(rng));
        let number = rng.u32(0..10_000);
        match rng.u32(0..3) {
            0 => format!(
                "{{\"name\": \"{a}-{b}\", \"version\": \"1.{}.{}\", \"{c}\": true}},\n",
                number % 30,
                number % 9
            ),
            1 => format!(
                "-rw-r--r-- 1 dev dev {number} Aug {} 10:12 {a}_{b}.{}\n",
                number % 28 + 1,
                &c[..2]
            ),
            _ => format!("  \"{a}\": [{number}, {}, \"{b}\"],\n", number / 7),
        }
    }
}

fn word(rng: &mut Rng) -> String {
    (0..rng.usize(1..5))
        .map(|_| SYLLABLES[rng.usize(0..SYLLABLES.len())])
        .collect()
}

/// Appends `text` as it stands in a JSON string.
fn escape(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            other => out.push(other),
        }
    }
}
