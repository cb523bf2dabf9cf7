//! The lines that writers write: each has a text that no other line has.

use super::dice::Dice;

/// A line without its newline, in the shape of an agent's log, now and then in no shape at all.
pub(crate) fn line(dice: &mut Dice, mark: &str, words_max: usize) -> Vec<u8> {
    let words = 1 + dice.below(words_max);
    let said: Vec<&str> = (0..words).map(|_| dice.pick(&WORDS)).collect();
    let said = format!("{mark} {}", said.join(" "));
    let text = match dice.below(16) {
        0..7 => {
            format!(r#"{{"type":"assistant","message":{{"role":"assistant","content":"{said}"}},"sessionId":"s1"}}"#)
        }
        7..13 => format!(
            r#"{{"timestamp":"2026-01-02T03:04:05.000Z","type":"response_item","payload":{{"type":"message","role":"user","content":"{said}"}}}}"#
        ),
        13 => format!(r#"{{"torn":"{said}"#),
        14 => format!("{{\"crlf\":\"{said}\"}}\r"),
        _ => return [said.as_bytes(), b" \xff\0 ", mark.as_bytes()].concat(),
    };
    text.into_bytes()
}

/// A line of exactly this length that is new, and a JSON object when there is room for one.
pub(crate) fn line_of(dice: &mut Dice, length: usize) -> Vec<u8> {
    let mut letters = || b'a' + u8::try_from(dice.below(26)).unwrap();
    match length.checked_sub(br#"{"r":""}"#.len()) {
        None => (0..length).map(|_| letters()).collect(),
        Some(room) => {
            let middle: Vec<u8> = (0..room).map(|_| letters()).collect();
            [br#"{"r":""#, middle.as_slice(), br#""}"#].concat()
        }
    }
}

const WORDS: [&str; 10] = [
    "read",
    "the",
    "file",
    "again",
    "naïve",
    "日本語",
    "🙂",
    "cargo test",
    "src/lib.rs",
    "ошибка",
];
