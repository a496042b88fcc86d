//! Which members of an event an answer has, and writing events so.
//!
//! Of `elems` parts may be wanted, with dots into maps and lists; they stay where they were,
//! in the order in which they were, and their text is copied as it was published. Invariant: what
//! is written is JSON, whatever is asked for.

use crate::domain::error::Refusal;
use crate::domain::event::Event;
use crate::engine::filter::{Field, MEMBERS, Member};
use crate::protocol::events;
use crate::protocol::finding::{malformed, parse_member};
use crate::protocol::names::Names;
use crate::protocol::reply::quoted;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt::{self, Write};
use std::sync::Arc;

/// Most members in one request.
const MAX_MEMBERS: usize = 64;
/// Events written before others get a turn.
const TURN_EVENTS: usize = 64;
/// What flowthings called members that have other names now.
const OLDER: [(&str, &str); 2] = [("flowId", "streamId"), ("fhash", "hash")];

/// What of an event is wanted, and how it is called.
#[derive(Debug, PartialEq, Eq)]
pub struct Only {
    wanted: Wanted,
    names: Names,
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// Every member of the documented shape.
    All,
    /// These.
    These(Vec<(Field, Part)>),
}

/// What of a value is wanted.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// What stands at these names.
    At(Vec<Place>),
}

/// A name in a map, or the place in a list that it stands for, and what is wanted there.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    name: Box<str>,
    index: Option<usize>,
    part: Part,
}

impl Only {
    /// Everything.
    pub fn all(names: Names) -> Self {
        let wanted = Wanted::All;
        Self { wanted, names }
    }

    /// Members with commas between them, each named as filters name it; refused with
    /// `query.malformed`.
    pub fn parse(text: &str, names: Names) -> Result<Self, Refusal> {
        let older = |name| OLDER.iter().find(|(known, _)| names.is_older() && *known == name);
        let members = text.split(',').map(str::trim);
        let members: Vec<&str> = members
            .map(|name| older(name).map_or(name, |(_, name)| *name))
            .collect();
        if members.len() > MAX_MEMBERS {
            return Err(malformed(format!("\"only\" has at most {MAX_MEMBERS} members")));
        }
        let mut these: Vec<(Field, Part)> = Vec::new();
        for name in members {
            let wanted = "\"only\" is a list of members with commas between them, such as id,elems.temp";
            let member = parse_member(name).ok_or_else(|| malformed(wanted))?;
            let field = member.field();
            let at = these.iter().position(|(there, _)| *there == field).unwrap_or_else(|| {
                these.push((field, Part::At(Vec::new())));
                these.len() - 1
            });
            these[at].1.want(&member);
        }
        let wanted = Wanted::These(these);
        Ok(Self { wanted, names })
    }

    /// Writes an event with what is wanted of it, in the order of the documented shape.
    pub fn put(&self, text: &mut String, event: &Event) {
        let Wanted::These(these) = &self.wanted else {
            return events::put_whole(text, event, self.names);
        };
        let mut before = '{';
        for (name, field) in MEMBERS {
            let Some((_, part)) = these.iter().find(|(wanted, _)| wanted == field) else {
                continue;
            };
            text.push(before);
            before = ',';
            // Writing to a string cannot fail.
            let _ = write!(text, "\"{name}\":");
            put_member(text, event, *field, part);
            self.put_older(text, event, *field, name);
        }
        text.push('}');
    }

    /// Writes a member again, by its older name if it had one.
    fn put_older(&self, text: &mut String, event: &Event, field: Field, name: &str) {
        let is_there = field != Field::Hash || event.draft.hash.is_some();
        let older = OLDER.iter().find(|(_, known)| *known == name);
        if let Some((older, _)) = older.filter(|_| self.names.is_older() && is_there) {
            let _ = write!(text, ",\"{older}\":");
            put_member(text, event, field, &Part::Whole);
        }
    }

    /// Events as a JSON array; others get a turn now and then.
    pub async fn list(&self, events: &[Arc<Event>]) -> String {
        let mut text = "[".to_owned();
        for (number, event) in events.iter().enumerate() {
            if number > 0 {
                text.push(',');
            }
            self.put(&mut text, event);
            if number % TURN_EVENTS == TURN_EVENTS - 1 {
                tokio::task::yield_now().await;
            }
        }
        text.push(']');
        text
    }
}

impl Part {
    fn want(&mut self, member: &Member) {
        let mut part = self;
        for (name, index) in member.steps() {
            let Part::At(places) = part else {
                return;
            };
            let at = places.iter().position(|place| *place.name == *name).unwrap_or_else(|| {
                let part = Part::At(Vec::new());
                places.push(Place {
                    name: name.into(),
                    index,
                    part,
                });
                places.len() - 1
            });
            part = &mut places[at].part;
        }
        *part = Part::Whole;
    }
}

/// Members without parts are shown whole, whatever part of them is asked for.
fn put_member(text: &mut String, event: &Event, field: Field, part: &Part) {
    let _ = match field {
        Field::Id => write!(text, "\"{}\"", event.id),
        Field::StreamId => write!(text, "\"{}\"", event.stream),
        Field::Path => write!(text, "\"{}\"", event.path),
        Field::CreatorId => write!(text, "\"{}\"", event.creator),
        Field::CreationDate | Field::GeneratedDate => write!(text, "{}", event.created_ms),
        Field::Elems => {
            put_part(text, event.draft.elems.as_str(), part);
            Ok(())
        }
        Field::Hash => match &event.draft.hash {
            Some(hash) => write!(text, "{}", quoted(hash)),
            None => write!(text, "null"),
        },
        Field::Location => write!(text, "null"),
        Field::Tags => write!(text, "{{}}"),
        Field::Version => write!(text, "0"),
        Field::Offset => write!(text, "{}", event.offset),
    };
}

/// Writes a part of a JSON value; returns whether it has such parts at all.
fn put_part(text: &mut String, json: &str, part: &Part) -> bool {
    let Part::At(places) = part else {
        text.push_str(json);
        return true;
    };
    if let Ok(Pairs(pairs)) = serde_json::from_str(json) {
        let wanted = pairs.iter().filter_map(|(name, value)| {
            let place = places.iter().find(|place| *place.name == **name)?;
            Some((quoted(name) + ":", *value, &place.part))
        });
        put_all(text, ['{', '}'], wanted);
    } else if let Ok(values) = serde_json::from_str::<Vec<&RawValue>>(json) {
        let wanted = values.iter().enumerate().filter_map(|(number, value)| {
            let place = places.iter().find(|place| place.index == Some(number))?;
            Some((String::new(), *value, &place.part))
        });
        put_all(text, ['[', ']'], wanted);
    } else {
        return false;
    }
    true
}

fn put_all<'a>(
    text: &mut String,
    [open, close]: [char; 2],
    wanted: impl Iterator<Item = (String, &'a RawValue, &'a Part)>,
) {
    let mut before = open;
    for (name, value, part) in wanted {
        let end = text.len();
        text.push(before);
        text.push_str(&name);
        match put_part(text, value.get(), part) {
            true => before = ',',
            false => text.truncate(end),
        }
    }
    if before == open {
        text.push(open);
    }
    text.push(close);
}

/// A map's names and values in the order in which they stand there.
struct Pairs<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picked(json: &str, names: &str) -> String {
        let Wanted::These(these) = Only::parse(names, Names::Octave).expect("members").wanted else {
            panic!("members were named");
        };
        let mut text = String::new();
        assert!(put_part(&mut text, json, &these[0].1));
        text
    }

    #[test]
    fn parts_stay_where_and_as_they_were() {
        let json =
            r#"{"z":1.10,"door":{"open" : true,"name":"\u00e9","more":[1E5,{"a":2,"b":3}]},"a":12345678901234567890}"#;
        for (names, text) in [
            ("elems", json),
            ("elems.a,elems.z", r#"{"z":1.10,"a":12345678901234567890}"#),
            ("a", r#"{"a":12345678901234567890}"#),
            ("door.open,elems.door.name", r#"{"door":{"open":true,"name":"\u00e9"}}"#),
            ("door.more.0,door.more.1.b", r#"{"door":{"more":[1E5,{"b":3}]}}"#),
            ("door.more.1.a", r#"{"door":{"more":[{"a":2}]}}"#),
            ("door.more.7,z.deeper,nowhere", r#"{"door":{"more":[]}}"#),
            (
                "door.open,door",
                r#"{"door":{"open" : true,"name":"\u00e9","more":[1E5,{"a":2,"b":3}]}}"#,
            ),
            (
                "door,door.open",
                r#"{"door":{"open" : true,"name":"\u00e9","more":[1E5,{"a":2,"b":3}]}}"#,
            ),
            ("nowhere", "{}"),
            ("z.deeper", "{}"),
        ] {
            assert_eq!(picked(json, names), text, "{names}");
        }
    }

    #[test]
    fn names_of_any_letters_are_written_as_json() {
        assert_eq!(
            picked(r#"{"a \"b\"":1,"c":2}"#, r#"elems."a \"b\"""#),
            r#"{"a \"b\"":1}"#
        );
    }

    #[test]
    fn what_names_no_member_is_refused() {
        let many = vec!["a"; MAX_MEMBERS + 1].join(",");
        for text in ["", "id,", ",id", "elems.", "a b", "elems..a", many.as_str()] {
            let refusal = Only::parse(text, Names::Octave).expect_err(text);
            assert!(refusal.text.starts_with("\"only\""), "{text}: {refusal}");
        }
    }
}
