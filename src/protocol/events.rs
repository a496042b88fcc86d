//! Events as JSON, as every protocol that publishes takes them and gives them back.
//!
//! Pure. Members are those of `POST …/event` at docs.octave.dev; callers may write only `elems` and
//! `hash`, further members are passed over as the original did. Whoever calls events drops gets
//! `flowId` and `fhash` beside `streamId` and `hash` (flowthings' Drop-Full.json).

use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::{Draft, Event};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::stream::Target;
use crate::protocol::json;
use crate::protocol::names::Names;
use crate::protocol::reply::quoted;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest Idempotency-Key.
const MAX_KEY_CHARS: usize = 255;

/// An event to be published. Members that it does not know are passed over.
#[derive(ToSchema)]
#[schema(as = NewEvent)]
pub struct EventJson<'a> {
    /// What is published: any JSON object.
    #[schema(value_type = Object, required = true)]
    elems: Option<&'a RawValue>,
    /// What it is told from others by: refused as long as the stream keeps an event of the same.
    hash: Option<String>,
    /// The same, as it is called where events are drops; elsewhere passed over.
    #[schema(ignore)]
    fhash: Option<&'a RawValue>,
    /// The stream, where the address does not name it.
    path: Option<String>,
}

/// The members that an event to be published has.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "lowercase")]
enum Member {
    Elems,
    Hash,
    /// What flowthings called it.
    Fhash,
    Path,
    #[serde(other)]
    Other,
}

/// Not derived, because that would take an array for an event as well.
impl<'de> Deserialize<'de> for EventJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = EventJson<'de>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an event, which is a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        fn once<T, E: de::Error>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), E> {
            match place.replace(value) {
                None => Ok(()),
                Some(_) => Err(E::duplicate_field(name)),
            }
        }
        let (mut elems, mut hash, mut fhash, mut path) = (None, None, None, None);
        while let Some(member) = members.next_key()? {
            match member {
                Member::Elems => once(&mut elems, members.next_value()?, "elems")?,
                Member::Hash => once(&mut hash, members.next_value()?, "hash")?,
                // Whether it is to be read is not known here: any value will do, any number of times.
                Member::Fhash => fhash = Some(members.next_value()?),
                Member::Path => once(&mut path, members.next_value()?, "path")?,
                Member::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        // What is said to be null is as good as not said, but not to be said again.
        Ok(EventJson {
            elems: elems.flatten(),
            hash: hash.flatten(),
            fhash,
            path: path.flatten(),
        })
    }
}

/// Events to be published, and whether they came as an array.
#[derive(Debug)]
pub struct Drafts {
    /// In the order in which they came.
    pub drafts: Vec<(Target, Draft)>,
    /// Whether the answer is to be an array.
    pub is_batch: bool,
}

/// Parses one event or an array of them. Without a `target` from elsewhere each names its path.
pub fn parse(text: &str, target: Option<&Target>, limits: &Limits, names: Names) -> Result<Drafts, Refusal> {
    let is_batch = text.trim_start().starts_with('[');
    let place = Place { target, limits, names };
    if !is_batch {
        let drafts = vec![draft(json::object(text)?, &place)?];
        return Ok(Drafts { drafts, is_batch });
    }
    let reading = Reading {
        place,
        number: 0,
        refusal: None,
    };
    let drafts = reading.read(text)?;
    if drafts.is_empty() {
        return Err(Refusal::new(Code::EventMalformed, "the array holds no event"));
    }
    Ok(Drafts { drafts, is_batch })
}

/// Where events are published to, within which limits, and how things are called there.
struct Place<'a> {
    target: Option<&'a Target>,
    limits: &'a Limits,
    names: Names,
}

/// An array of events that is being read: each is checked as it comes, so that the text is read once.
struct Reading<'a> {
    place: Place<'a>,
    /// Of the event that is being read.
    number: usize,
    /// Why it was given up, although it is JSON.
    refusal: Option<Refusal>,
}

impl Reading<'_> {
    fn read(mut self, text: &str) -> Result<Vec<(Target, Draft)>, Refusal> {
        let mut json = serde_json::Deserializer::from_str(text);
        let read = json.deserialize_seq(&mut self);
        let read = read.and_then(|drafts| json.end().map(|()| drafts));
        read.map_err(|error| match self.refusal.take() {
            Some(refusal) => refusal,
            None if error.is_data() => self.placed(&json::refused(&error)),
            None => json::refused(&error),
        })
    }

    fn placed(&self, refusal: &Refusal) -> Refusal {
        let text = format!("event {} of the array: {refusal}", self.number);
        Refusal::new(refusal.code, text)
    }

    fn give_up<E: de::Error>(&mut self, refusal: Refusal) -> E {
        self.refusal = Some(refusal);
        E::custom("given up")
    }
}

impl<'de> Visitor<'de> for &mut Reading<'_> {
    type Value = Vec<(Target, Draft)>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut drafts = Vec::new();
        while let Some(event) = array.next_element()? {
            if self.number == self.place.limits.max_batch_events {
                let text = format!("a request has at most {} events", self.number);
                return Err(self.give_up(Refusal::new(Code::LimitBatch, text)));
            }
            match draft(event, &self.place) {
                Ok(drafted) => drafts.push(drafted),
                Err(refusal) => {
                    let refusal = self.placed(&refusal);
                    return Err(self.give_up(refusal));
                }
            }
            self.number += 1;
        }
        Ok(drafts)
    }
}

fn draft(event: EventJson<'_>, place: &Place<'_>) -> Result<(Target, Draft), Refusal> {
    let malformed = |text| Refusal::new(Code::EventMalformed, text);
    let (limits, hash) = (place.limits, one_hash(event.hash, event.fhash, place.names)?);
    let target = match (place.target, event.path) {
        (Some(target), _) => target.clone(),
        (None, Some(path)) => Target::Path(Path::parse(&path)?),
        (None, None) => {
            return Err(malformed(
                "\"path\" is missing: an event is published to a path or to the id of a stream",
            ));
        }
    };
    let elems = event
        .elems
        .ok_or_else(|| malformed("\"elems\" is missing: an event is {\"elems\":{…}}"))?;
    let elems = Payload::check(elems, limits.max_json_depth)?;
    limits.check_text("a hash", hash.as_deref().unwrap_or_default())?;
    let hash = hash.map(String::into_boxed_str);
    Ok((target, Draft { elems, hash }))
}

/// By whichever name; whoever sends back a drop sends both.
fn one_hash(hash: Option<String>, fhash: Option<&RawValue>, names: Names) -> Result<Option<String>, Refusal> {
    let older: Option<String> = match fhash.filter(|_| names.is_older()) {
        Some(older) => serde_json::from_str(older.get()).map_err(|error| json::refused(&error))?,
        None => None,
    };
    if hash.is_some() && older.is_some() && hash != older {
        let text = "\"hash\" and \"fhash\" are two names of one thing, and differ";
        return Err(Refusal::new(Code::EventMalformed, text));
    }
    Ok(hash.or(older))
}

/// An Idempotency-Key; refused with `key.malformed`.
pub fn parse_key(text: &str) -> Result<String, Refusal> {
    let is_key = (1..=MAX_KEY_CHARS).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let malformed = || {
        Refusal::new(
            Code::KeyMalformed,
            "the Idempotency-Key is empty, too long or not ASCII",
        )
    };
    is_key.then(|| text.to_owned()).ok_or_else(malformed)
}

/// All of a request that an Idempotency-Key stands for.
pub fn request(target: Option<&Target>, events: &str) -> Vec<u8> {
    let target = target.map(Target::to_string).unwrap_or_default();
    format!("{target}\n{events}").into_bytes()
}

/// Published events as the body of an answer; with `reached`, what they reached and their offsets.
///
/// Key order as in the sample of docs.octave.dev, what is ours last.
pub fn published(events: &[Arc<Event>], is_batch: bool, reached: Option<Durability>, names: Names) -> String {
    let bytes = events.iter().map(|event| event.draft.elems.as_str().len() + 256).sum();
    let mut text = String::with_capacity(bytes);
    if is_batch {
        text.push('[');
    }
    for (number, event) in events.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        put(&mut text, event, reached, names);
    }
    if is_batch {
        text.push(']');
    }
    text
}

/// Writes an event as those see it who read it, with all its members.
pub fn put_whole(text: &mut String, event: &Event, names: Names) {
    put_ids(text, event, names);
    text.push_str(r#","path":""#);
    text.push_str(event.path.as_str());
    text.push_str(r#"","creatorId":""#);
    event.creator.push_to(text);
    text.push('"');
    put_dates(text, event);
    text.push_str(r#","elems":"#);
    text.push_str(event.draft.elems.as_str());
    match &event.draft.hash {
        Some(hash) => put_hash(text, hash, names),
        None => text.push_str(r#","hash":null"#),
    }
    text.push_str(r#","location":null,"tags":{},"version":0}"#);
}

/// Begins an event with its own id and its stream's.
fn put_ids(text: &mut String, event: &Event, names: Names) {
    text.push_str(r#"{"id":""#);
    event.id.push_to(text);
    text.push_str(r#"","streamId":""#);
    event.stream.push_to(text);
    if names.is_older() {
        text.push_str(r#"","flowId":""#);
        event.stream.push_to(text);
    }
    text.push('"');
}

fn put_hash(text: &mut String, hash: &str, names: Names) {
    let hash = quoted(hash);
    let keys: &[&str] = match names {
        Names::Octave => &["hash"],
        Names::Flowthings => &["hash", "fhash"],
    };
    for key in keys {
        text.extend([",\"", *key, "\":", &*hash]);
    }
}

fn put(text: &mut String, event: &Event, reached: Option<Durability>, names: Names) {
    put_ids(text, event, names);
    put_dates(text, event);
    text.push_str(r#","path":""#);
    text.push_str(event.path.as_str());
    text.push_str(r#"","version":0,"elems":"#);
    text.push_str(event.draft.elems.as_str());
    if let Some(hash) = &event.draft.hash {
        put_hash(text, hash, names);
    }
    if let Some(reached) = reached {
        text.push_str(r#","offset":"#);
        put_number(text, event.offset.0);
        text.push_str(r#","ack":""#);
        text.push_str(reached.word());
        text.push('"');
    }
    text.push('}');
}

fn put_dates(text: &mut String, event: &Event) {
    let mut room = itoa::Buffer::new();
    let created = room.format(event.created_ms);
    text.push_str(r#","creationDate":"#);
    text.push_str(created);
    text.push_str(r#","generatedDate":"#);
    text.push_str(created);
}

/// Writes a whole number.
pub fn put_number(text: &mut String, number: u64) {
    text.push_str(itoa::Buffer::new().format(number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, FromArgMatches};

    fn limits() -> Limits {
        let command = Limits::augment_args(clap::Command::new("test"));
        let matches = command.get_matches_from(["test", "--max-batch-events", "3"]);
        Limits::from_arg_matches(&matches).expect("limits")
    }

    fn parsed(text: &str, names: Names) -> Result<Drafts, Refusal> {
        let target = Target::Path(Path::parse("/acme/door").expect("a path"));
        parse(text, Some(&target), &limits(), names)
    }

    fn told(text: &str) -> Result<usize, (Code, String)> {
        let parsed = parsed(text, Names::Octave);
        let parsed = parsed.map(|drafts| drafts.drafts.len());
        parsed.map_err(|refusal| (refusal.code, refusal.text.to_string()))
    }

    #[test]
    fn a_member_is_said_once_if_only_to_be_null() {
        for twice in [
            r#"{"elems":null,"elems":{}}"#,
            r#"{"elems":{},"hash":null,"hash":"x"}"#,
            r#"{"elems":{},"hash":"x","hash":null}"#,
            r#"{"elems":{},"path":null,"path":"/acme/a"}"#,
        ] {
            let (code, text) = told(twice).expect_err(twice);
            assert_eq!(code, Code::BodyMalformed, "{twice}");
            assert!(text.contains("duplicate field"), "{text}");
        }
        assert_eq!(told(r#"{"elems":{},"hash":null,"more":1,"more":2}"#), Ok(1));
    }

    #[test]
    fn a_hash_has_its_older_name_only_where_events_are_drops() {
        let hash = |text: &str, names| {
            let parsed = parsed(text, names).map_err(|refusal| refusal.code)?;
            Ok(parsed.drafts[0].1.hash.as_deref().map(str::to_owned))
        };
        let some = |hash: &str| Ok(Some(hash.to_owned()));
        for (text, newer, older) in [
            (r#"{"elems":{},"fhash":"a"}"#, Ok(None), some("a")),
            (r#"{"elems":{},"hash":"a","fhash":"a"}"#, some("a"), some("a")),
            (r#"{"elems":{},"hash":null,"fhash":"a"}"#, Ok(None), some("a")),
            (r#"{"elems":{},"hash":"a","fhash":null}"#, some("a"), some("a")),
            (
                r#"{"elems":{},"hash":"a","fhash":"b"}"#,
                some("a"),
                Err(Code::EventMalformed),
            ),
            (r#"{"elems":{},"fhash":[1]}"#, Ok(None), Err(Code::BodyMalformed)),
        ] {
            assert_eq!(hash(text, Names::Octave), newer, "{text}");
            assert_eq!(hash(text, Names::Flowthings), older, "{text}");
        }
    }

    #[test]
    fn of_an_array_the_first_fault_is_told() {
        let code = |text| told(text).map_err(|(code, _)| code);
        assert_eq!(code(r#"[{"elems":{}},{"elems":{}},{"elems":{}}]"#), Ok(3));
        assert_eq!(code(r#"[{"elems":1}, garbage"#), Err(Code::EventMalformed));
        assert_eq!(code(r#"[{"elems":{}}, garbage"#), Err(Code::BodyMalformed));
        assert_eq!(
            code(r#"[{"elems":{}},{"elems":{}},{"elems":{}},{"elems":1}]"#),
            Err(Code::LimitBatch)
        );
        let (code, text) = told(r#"[{"elems":{}},[]]"#).expect_err("an array is no event");
        assert_eq!(code, Code::BodyMalformed);
        assert!(text.starts_with("event 1 of the array: "), "{text}");
    }
}
