//! Whether a line is JSON, and who speaks in it.

mod quick;

use std::io;

use memchr::memchr2;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Whether `text` is exactly one JSON value of RFC 8259, at any depth.
///
/// The skipping parser of `serde_json` keeps one byte a level on the heap and has no depth limit.
#[must_use]
pub fn is_json(text: &str) -> bool {
    let mut parser = serde_json::Deserializer::from_slice(text.as_bytes());
    IgnoredAny::deserialize(&mut parser).and_then(|_| parser.end()).is_ok()
}

/// Whether `text` is JSON, and who speaks in it.
#[must_use]
pub fn judge(text: &str) -> (bool, Option<Role>) {
    if let Some(found) = quick::find(text) {
        return (true, found.role());
    }
    // Rarely: no JSON, or left to others.
    if !is_json(text) {
        return (false, None);
    }
    let mut scanner = RoleScanner::default();
    scanner.feed(text.as_bytes());
    (true, scanner.finish())
}

/// [`is_json`] for a text, known to be UTF-8, that is read piece by piece.
pub fn is_json_stream(text: impl io::Read) -> io::Result<bool> {
    let mut parser = serde_json::Deserializer::from_reader(text);
    match IgnoredAny::deserialize(&mut parser).and_then(|_| parser.end()) {
        Ok(()) => Ok(true),
        Err(error) if error.is_io() => Err(error.into()),
        Err(_) => Ok(false),
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `user`
    User,
    /// `assistant`
    Assistant,
    /// `system`
    System,
    /// `tool`
    Tool,
}

impl Role {
    /// The role as JSON.
    #[must_use]
    pub fn json(role: Option<Self>) -> &'static str {
        match role {
            Some(Self::User) => "\"user\"",
            Some(Self::Assistant) => "\"assistant\"",
            Some(Self::System) => "\"system\"",
            Some(Self::Tool) => "\"tool\"",
            None => "null",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"user" => Some(Self::User),
            b"assistant" => Some(Self::Assistant),
            b"system" => Some(Self::System),
            b"tool" => Some(Self::Tool),
            _ => None,
        }
    }
}

/// Finds the role in a text that is known to be JSON, piece by piece and in constant memory.
///
/// A parser of values would hold the string it stands in, which in a session log may be the whole line.
#[derive(Debug, Default)]
pub struct RoleScanner {
    depth: u64,
    string: StringState,
    token: Token,
    /// Levels 1 and 2: is the next string a key, and which key was the last one?
    levels: [Level; 2],
    found: Found,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum StringState {
    #[default]
    Outside,
    Inside,
    AfterBackslash,
}

#[derive(Debug, Default, Clone, Copy)]
struct Level {
    is_object: bool,
    key_is_next: bool,
    key: Key,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Key {
    Role,
    Message,
    Payload,
    Type,
    #[default]
    Other,
}

impl Key {
    fn named(name: &[u8]) -> Self {
        match name {
            b"role" => Self::Role,
            b"message" => Self::Message,
            b"payload" => Self::Payload,
            b"type" => Self::Type,
            _ => Self::Other,
        }
    }
}

/// The first string found at each place that can name a role.
#[derive(Debug, Default)]
struct Found {
    role: Option<Speaker>,
    message: Option<Speaker>,
    payload: Option<Speaker>,
    kind: Option<Speaker>,
}

impl Found {
    fn role(self) -> Option<Role> {
        self.role.or(self.message).or(self.payload).or(self.kind)?.0
    }
}

/// What a string at such a place says: a role, or some other word.
#[derive(Debug)]
struct Speaker(Option<Role>);

impl RoleScanner {
    /// Takes the next piece of the text.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.string {
                StringState::Outside => self.outside(bytes),
                StringState::Inside => self.inside(bytes),
                StringState::AfterBackslash => {
                    self.token.push(&bytes[..1]);
                    self.string = StringState::Inside;
                    &bytes[1..]
                }
            };
        }
    }

    /// The role, once the whole text was fed.
    #[must_use]
    pub fn finish(self) -> Option<Role> {
        self.found.role()
    }

    fn inside<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(at) = memchr2(b'"', b'\\', bytes) else {
            self.token.push(bytes);
            return &[];
        };
        self.token.push(&bytes[..at]);
        if bytes[at] == b'\\' {
            self.token.push(b"\\");
            self.string = StringState::AfterBackslash;
        } else {
            self.string = StringState::Outside;
            self.string_ended();
        }
        &bytes[at + 1..]
    }

    fn outside<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'"' => {
                    self.string = StringState::Inside;
                    self.token.length = 0;
                    return &bytes[at + 1..];
                }
                b'{' | b'[' => self.open(*byte == b'{'),
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                b':' => self.with_level(|level| level.key_is_next = false),
                b',' => self.with_level(|level| level.key_is_next = level.is_object),
                _ => {}
            }
        }
        &[]
    }

    fn open(&mut self, is_object: bool) {
        self.depth += 1;
        self.with_level(|level| {
            *level = Level {
                is_object,
                key_is_next: is_object,
                key: Key::Other,
            }
        });
    }

    fn with_level(&mut self, change: impl FnOnce(&mut Level)) {
        if let 1 | 2 = self.depth {
            change(&mut self.levels[usize::from(self.depth == 2)]);
        }
    }

    fn string_ended(&mut self) {
        let (1 | 2) = self.depth else { return };
        let level = &mut self.levels[usize::from(self.depth == 2)];
        if level.key_is_next {
            level.key = Key::named(&self.token.text());
            return;
        }
        if !level.is_object {
            return;
        }
        let place = match (self.depth, self.levels[0].key, self.levels[1].key) {
            (1, Key::Role, _) => &mut self.found.role,
            (1, Key::Type, _) => &mut self.found.kind,
            (2, Key::Message, Key::Role) => &mut self.found.message,
            (2, Key::Payload, Key::Role) => &mut self.found.payload,
            _ => return,
        };
        place.get_or_insert_with(|| Speaker(Role::named(&self.token.text())));
    }
}

/// The raw text of a string, as far as it can matter. It is on the stack, since every string of a line
/// passes through it.
#[derive(Debug)]
struct Token {
    raw: [u8; Self::BYTES_MAX],
    /// More than fits means that it is too long to be a word we know.
    length: usize,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            raw: [0; Self::BYTES_MAX],
            length: 0,
        }
    }
}

impl Token {
    /// Longest raw text that spells a word we know: nine characters, each as `\uXXXX`.
    const BYTES_MAX: usize = 9 * 6;

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if let Some(place) = self.raw.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
        }
        self.length = end;
    }

    /// What it spells; empty when it is too long.
    fn text(&self) -> std::borrow::Cow<'_, [u8]> {
        let Some(raw) = self.raw.get(..self.length) else {
            return (&[][..]).into();
        };
        if !raw.contains(&b'\\') {
            return raw.into();
        }
        let quoted = [b"\"", raw, b"\""].concat();
        serde_json::from_slice::<String>(&quoted)
            .unwrap_or_default()
            .into_bytes()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn role_of(text: &str, piece: usize) -> Option<Role> {
        let mut scanner = RoleScanner::default();
        for bytes in text.as_bytes().chunks(piece) {
            scanner.feed(bytes);
        }
        scanner.finish()
    }

    #[test]
    fn the_first_string_in_the_order_of_places_decides() {
        let rows = [
            (r#"{"type":"assistant","message":{"role":"user"}}"#, Some(Role::User)),
            (r#"{"message":{"role":"user"},"role":"tool"}"#, Some(Role::Tool)),
            (
                r#"{"type":"response_item","payload":{"role":"assistant"}}"#,
                Some(Role::Assistant),
            ),
            (r#"{"type":"system","payload":{"role":7}}"#, Some(Role::System)),
            (r#"{"type":"user","role":"developer"}"#, None),
            (
                r#"{"type":"user","message":{"content":[{"role":"tool"}]}}"#,
                Some(Role::User),
            ),
            (r#"{"type":"user","message":["role","tool"]}"#, Some(Role::User)),
            (r#"["role","user"]"#, None),
            (r#"[{"role":"user"}]"#, None),
            (r#"{"a":"role","b":"user"}"#, None),
            (r#"{"a":"\"role\":\"user\\","role":"user"}"#, Some(Role::User)),
            (r#"{"\u0072ole":"\u0075ser"}"#, Some(Role::User)),
            (r#"{"role":"user","role":"tool"}"#, Some(Role::User)),
            (r#"{"role":null,"type":"user"}"#, Some(Role::User)),
            (r#""role""#, None),
        ];
        for (text, role) in rows {
            assert!(is_json(text), "{text}");
            for piece in [1, 2, 7, 1000] {
                assert_eq!(role_of(text, piece), role, "{text} in pieces of {piece}");
            }
            assert_eq!(judge(text), (true, role), "{text}");
            let has_escapes = text.contains(r"\u");
            assert_eq!(
                quick::find(text).map(Found::role),
                (!has_escapes).then_some(role),
                "{text}"
            );
        }
    }

    #[test]
    fn json_is_one_value_of_any_depth_and_nothing_else() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        for text in ["{}", " 1e400 ", r#""\ud83d""#, "[1,{}]\r", "null", &deep] {
            assert!(is_json(text), "{text:.40}");
            assert!(judge(text).0, "{text:.40}");
            // Beside keys of ours, where values are parsed.
            let beside = format!(r#"{{"type":{text},"message":{text},"role":"user"}}"#);
            assert_eq!(judge(&beside), (true, Some(Role::User)), "{beside:.40}");
            assert!(is_json_stream(text.as_bytes()).unwrap());
        }
        for text in [
            "",
            " ",
            "{}{}",
            "{\"a\":1",
            "NaN",
            "[1,]",
            "01",
            "\u{feff}{}",
            "\"\t\"",
            "{\"a\":1}\0",
        ] {
            assert!(!is_json(text), "{text:?}");
            assert_eq!(judge(text), (false, None), "{text:?}");
            assert!(!is_json_stream(text.as_bytes()).unwrap());
        }
    }

    fn expected(value: &Value) -> Option<Role> {
        let places = [
            value.get("role"),
            value.get("message").and_then(|inner| inner.as_object()?.get("role")),
            value.get("payload").and_then(|inner| inner.as_object()?.get("role")),
            value.get("type"),
        ];
        let first = places.into_iter().flatten().find_map(Value::as_str)?;
        if !value.is_object() {
            return None;
        }
        Role::named(first.as_bytes())
    }

    fn word() -> impl Strategy<Value = String> {
        proptest::sample::select(vec![
            "role",
            "message",
            "payload",
            "type",
            "user",
            "tool",
            "system",
            "assistant",
            "x",
            "",
            "\"\\",
        ])
        .prop_map(str::to_owned)
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![word().prop_map(Value::from), Just(Value::Null), Just(Value::from(-1.5))];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(word(), inner, 0..5)
                    .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    #[test]
    fn what_is_nested_deeper_than_is_judged_at_once_is_judged_all_the_same() {
        for depth in [127, 128, 129] {
            for (open, close) in [("[", "]"), (r#"{"message":"#, "}"), (r#"{"a":["#, "]}")] {
                let levels = depth / open.matches(['[', '{']).count();
                let text = open.repeat(levels) + "1.5e-7" + &close.repeat(levels);
                assert!(is_json(&text));
                assert_eq!(judge(&text), (true, None), "{text}");
                assert!(!judge(&text[1..]).0 && !judge(&text[..text.len() - 1]).0, "{text}");
            }
        }
        assert!(quick::find(&("[".repeat(129) + &"]".repeat(129))).is_none());
    }

    /// Words of JSON, and what is nearly that.
    fn token() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            " ",
            "\n",
            "\"",
            "\\",
            "\"role\"",
            "\"message\"",
            "\"user\"",
            "\"\\u0041\"",
            "\"\\ud800\"",
            "\"\\u00g0\"",
            "\"a\tb\"",
            "\"sixteen bytes and more of it\"",
            "\"\\x\"",
            "0",
            "-",
            "1",
            ".",
            "e",
            "+",
            "true",
            "null",
            "fals",
            "é",
            "\u{7f}",
            "\"\\\\\"",
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn what_is_nearly_json_is_judged_as_the_parser_does(tokens in prop::collection::vec(token(), 0..14), inside: bool) {
            let tokens = tokens.concat();
            let text = if inside { format!(r#"{{"message":{tokens},"role":{tokens}}}"#) } else { tokens };
            let valid = is_json(&text);
            prop_assert_eq!(judge(&text), (valid, valid.then(|| role_of(&text, 1000)).flatten()), "{}", text);
        }
    }

    proptest! {
        #[test]
        fn the_scanner_agrees_with_a_parsed_value(value in json(), piece in 1..9_usize, pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            prop_assert_eq!(role_of(&text, piece), expected(&value));
            prop_assert_eq!(judge(&text), (true, expected(&value)));
            let role = quick::find(&text).map(Found::role);
            prop_assert!(role == Some(expected(&value)) || (role.is_none() && text.contains('\\')));
        }

        #[test]
        fn what_is_parsed_at_once_is_judged_as_in_pieces(value in json(), at: prop::sample::Index, byte in 0..128_u8) {
            let mut text = serde_json::to_vec(&value).unwrap();
            let at = at.index(text.len());
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            let valid = is_json(&text);
            prop_assert_eq!(judge(&text), (valid, valid.then(|| role_of(&text, 1000)).flatten()));
        }
    }
}
