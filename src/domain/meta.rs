//! Somebody's meta: one JSON document, whose parts are shown and set by dotted names.
//!
//! A name leads as in a MongoDB update, which is what Webinate users did with it (users.ts,
//! `setMetaVal`). Invariant: what is not set stays as it was written, number by number.

use crate::domain::error::{Code, Refusal};
use crate::domain::limits::Limits;
use crate::domain::payload::check_depth;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;

/// What who has none has.
pub const NO_META: &str = "{}";

/// The members of an object, in order; values as they were written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

/// What a value is made of.
enum Parts<'a> {
    Members(Members<'a>),
    Items(Vec<&'a RawValue>),
    None,
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Gather;

        impl<'de> Visitor<'de> for Gather {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Gather)
    }
}

impl<'a> Members<'a> {
    /// The member of a name; of several the last, as JavaScript has it.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().rev().find(|(own, _)| own == name);
        found.map(|(_, value)| *value)
    }

    /// The object's text with another value of `name`.
    fn with(&self, name: &str, value: &str) -> String {
        let mut texts: Vec<String> = Vec::with_capacity(self.0.len() + 1);
        let mut is_new = true;
        for (own, old) in &self.0 {
            let is_meant = own == name;
            is_new &= !is_meant;
            let value = if is_meant { value } else { old.get() };
            texts.push(format!("{}:{value}", quoted(own)));
        }
        if is_new {
            texts.push(format!("{}:{value}", quoted(name)));
        }
        format!("{{{}}}", texts.join(","))
    }
}

impl<'a> Parts<'a> {
    fn of(raw: &'a RawValue) -> Self {
        let parts = match raw.get().as_bytes().first() {
            Some(b'{') => serde_json::from_str(raw.get()).map(Parts::Members),
            Some(b'[') => serde_json::from_str(raw.get()).map(Parts::Items),
            _ => return Parts::None,
        };
        // A name with half of a surrogate pair cannot be told from others.
        parts.unwrap_or(Parts::None)
    }

    fn get(&self, name: &str) -> Option<&'a RawValue> {
        match self {
            Parts::Members(members) => members.get(name),
            Parts::Items(items) => items.get(name.parse::<usize>().ok()?).copied(),
            Parts::None => None,
        }
    }
}

/// A part of a document: the member that is called so, or else where the name's dots lead.
pub fn show(document: &str, name: &str) -> Option<String> {
    let whole: &RawValue = serde_json::from_str(document).ok()?;
    let own = Parts::of(whole).get(name);
    let led = || name.split('.').try_fold(whole, |at, part| Parts::of(at).get(part));
    own.or_else(led).map(|part| part.get().to_owned())
}

/// The document with a part set to `value`, a JSON text, where [`show`] finds it; objects on the way are
/// made.
///
/// Refused with `meta.malformed` if the name leads nowhere, with `limit.depth` or `limit.meta`.
pub fn set(document: &str, name: &str, value: &str, limits: &Limits) -> Result<String, Refusal> {
    let whole: Option<&RawValue> = serde_json::from_str(document).ok();
    let is_own = whole.is_some_and(|whole| Parts::of(whole).get(name).is_some());
    let parts: Vec<&str> = match is_own {
        true => vec![name],
        false => name.split('.').collect(),
    };
    if parts.len() > limits.max_json_depth {
        let text = format!("a property leads at most {} deep", limits.max_json_depth);
        return Err(Refusal::new(Code::LimitDepth, text));
    }
    if parts.contains(&"") {
        let text = "a property has a name before, between and after its dots";
        return Err(Refusal::new(Code::MetaMalformed, text));
    }
    let document = put(whole, &parts, value)?;
    check(&document, limits)?;
    Ok(document)
}

/// Refused with `limit.depth` or `limit.meta`.
pub fn check(document: &str, limits: &Limits) -> Result<(), Refusal> {
    let most = limits.max_meta_bytes;
    if document.len() > most {
        let text = format!("the meta of a user has at most {most} bytes");
        return Err(Refusal::new(Code::LimitMeta, text));
    }
    check_depth(document, limits.max_json_depth)
}

/// The text of `at` with `value` where `parts` lead.
fn put(at: Option<&RawValue>, parts: &[&str], value: &str) -> Result<String, Refusal> {
    let [part, rest @ ..] = parts else {
        return Ok(value.to_owned());
    };
    let Some(at) = at else {
        return Ok(Members(Vec::new()).with(part, &put(None, rest, value)?));
    };
    let refused = |text| Err(Refusal::new(Code::MetaMalformed, text));
    match Parts::of(at) {
        Parts::Members(members) => {
            let inner = put(members.get(part), rest, value)?;
            Ok(members.with(part, &inner))
        }
        Parts::Items(items) => {
            let place = part.parse().ok().filter(|place: &usize| *place <= items.len());
            let Some(place) = place else {
                return refused("the property leads beyond the end of a list");
            };
            let inner = put(items.get(place).copied(), rest, value)?;
            let mut texts: Vec<&str> = items.iter().map(|item| item.get()).collect();
            match texts.get_mut(place) {
                Some(text) => *text = &inner,
                None => texts.push(&inner),
            }
            Ok(format!("[{}]", texts.join(",")))
        }
        Parts::None => refused("the property leads into a value that has no parts"),
    }
}

fn quoted(name: &str) -> String {
    serde_json::Value::from(name).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};
    use proptest::prelude::*;

    fn limits() -> Limits {
        let arguments = ["test", "--max-meta-bytes", "500"];
        let matches = Limits::augment_args(clap::Command::new("test")).get_matches_from(arguments);
        Limits::from_arg_matches(&matches).expect("limits")
    }

    fn put(document: &str, name: &str, value: &str) -> Result<String, Code> {
        set(document, name, value, &limits()).map_err(|refusal| refusal.code)
    }

    #[test]
    fn a_part_is_shown_by_its_name_or_where_its_dots_lead() {
        let document = r#"{"a": {"b": [1.50, {"c":null}]}, "a.b": "own", "a": {"b":[2,{"c":true}]}}"#;
        for (name, part) in [
            ("a.b", Some(r#""own""#)),
            ("a.b.0", Some("2")),
            ("a.b.1.c", Some("true")),
            ("a.b.2", None),
            ("a.b.0.x", None),
            ("x", None),
            ("", None),
            ("a.", None),
        ] {
            assert_eq!(show(document, name).as_deref(), part, "{name}");
        }
        assert_eq!(show("5", "a"), None);
    }

    #[test]
    fn a_part_is_set_and_the_rest_stays_as_it_was_written() {
        for (document, name, value, whole) in [
            ("{}", "a", "2", r#"{"a":2}"#),
            (r#"{"b":1.50,"a":1}"#, "a", "null", r#"{"b":1.50,"a":null}"#),
            ("{}", "a.b.c", "[]", r#"{"a":{"b":{"c":[]}}}"#),
            (r#"{"a":{"x":1e400}}"#, "a.b", "2", r#"{"a":{"x":1e400,"b":2}}"#),
            (r#"{"a":[1,2]}"#, "a.1", "3", r#"{"a":[1,3]}"#),
            (r#"{"a":[1,2]}"#, "a.2", "3", r#"{"a":[1,2,3]}"#),
            (r#"{"a":[{}]}"#, "a.0.b", "3", r#"{"a":[{"b":3}]}"#),
            ("{}", "\"", "1", r#"{"\"":1}"#),
            (r#"{"a.b":1}"#, "a.b", "2", r#"{"a.b":2}"#),
        ] {
            assert_eq!(put(document, name, value).as_deref(), Ok(whole), "{name}");
        }
    }

    #[test]
    fn what_leads_nowhere_or_is_too_much_is_refused() {
        let deep = vec!["a"; limits().max_json_depth + 1].join(".");
        let long = format!("\"{}\"", "x".repeat(limits().max_meta_bytes));
        for (document, name, value, code) in [
            (r#"{"a":2}"#, "a.b", "1", Code::MetaMalformed),
            (r#"{"a":null}"#, "a.b", "1", Code::MetaMalformed),
            (r#"{"a":[1]}"#, "a.2", "1", Code::MetaMalformed),
            (r#"{"a":[1]}"#, "a.b", "1", Code::MetaMalformed),
            ("5", "a", "1", Code::MetaMalformed),
            ("{}", "a..b", "1", Code::MetaMalformed),
            ("{}", ".", "1", Code::MetaMalformed),
            ("{}", &deep, "1", Code::LimitDepth),
            ("{}", "a", &"[".repeat(100), Code::LimitDepth),
            ("{}", "a", &long, Code::LimitMeta),
        ] {
            assert_eq!(put(document, name, value), Err(code), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_was_set_is_shown(
            names in proptest::collection::vec("[a-c]{1,2}", 1..5),
            value in "[0-9]{1,3}|null|\\[\\]|\"\\PC{0,5}\"",
        ) {
            prop_assume!(serde_json::from_str::<&RawValue>(&value).is_ok());
            let mut document = NO_META.to_owned();
            let name = names.join(".");
            document = put(&document, &name, &value).expect("room");
            prop_assert_eq!(show(&document, &name), Some(value));
            prop_assert!(serde_json::from_str::<serde_json::Value>(&document).is_ok());
        }
    }
}
