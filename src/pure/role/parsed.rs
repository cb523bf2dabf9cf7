//! Validity and role of a text that is in memory, in one pass of a parser.

use std::fmt;

use serde::de::DeserializeSeed;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Found, Key, Role, Speaker};

/// The role of a JSON object. An error when `text` is none, or may be none: what the parser refuses for its own sake,
/// like a number beyond all floats beside a key of ours, is not judged here.
pub(super) fn role(text: &str) -> serde_json::Result<Option<Role>> {
    let mut found = Found::default();
    let mut parser = serde_json::Deserializer::from_str(text);
    let top = Object {
        found: &mut found,
        inside: None,
    };
    parser.deserialize_map(top)?;
    parser.end()?;
    Ok(found.role())
}

/// An object at level 1, or the one at level 2 below this key.
struct Object<'a> {
    found: &'a mut Found,
    inside: Option<Key>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(KeySeed)? {
            let place = match (self.inside, key) {
                (None, Key::Role) => &mut self.found.role,
                (None, Key::Type) => &mut self.found.kind,
                (Some(Key::Message), Key::Role) => &mut self.found.message,
                (Some(Key::Payload), Key::Role) => &mut self.found.payload,
                (None, Key::Message | Key::Payload) => {
                    let found = &mut *self.found;
                    map.next_value_seed(Value::Object(Object {
                        found,
                        inside: Some(key),
                    }))?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            map.next_value_seed(Value::Word(place))?;
        }
        Ok(())
    }
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Key, E> {
        Ok(Key::named(key.as_bytes()))
    }
}

/// A value of any type, of which one type matters.
enum Value<'a> {
    /// The first string at this place.
    Word(&'a mut Option<Speaker>),
    Object(Object<'a>),
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if let Self::Word(place) = self {
            place.get_or_insert_with(|| Speaker(Role::named(text.as_bytes())));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        match self {
            Self::Object(object) => object.visit_map(map),
            Self::Word(_) => {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}
