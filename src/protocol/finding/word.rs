//! A parameter's value, however it is written: as a text, a number, or true or false.
//!
//! In a query all are texts; flowthings' Java client sends texts in JSON too, its Python client numbers.

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::ops::Deref;

/// What stands there, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(String);

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

macro_rules! takes {
    ($($visit:ident: $kind:ty,)*) => {
        $(fn $visit<E: Error>(self, value: $kind) -> Result<Word, E> {
            Ok(Word(value.to_string()))
        })*
    };
}

impl Visitor<'_> for Any {
    type Value = Word;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false")
    }

    takes! {
        visit_str: &str,
        visit_u64: u64,
        visit_i64: i64,
        visit_f64: f64,
        visit_bool: bool,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_meant_is_read_as_text() {
        let word = |json: &str| serde_json::from_str::<Word>(json).ok().map(|word| word.to_string());
        for (json, text) in [
            ("\"20\"", "20"),
            ("20", "20"),
            ("-1", "-1"),
            ("2.5", "2.5"),
            ("true", "true"),
        ] {
            assert_eq!(word(json).as_deref(), Some(text), "{json}");
        }
        assert_eq!([word("[1]"), word("{}"), word("null")], [None, None, None]);
    }
}
