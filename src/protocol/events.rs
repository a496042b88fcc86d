//! Events as JSON, as every protocol that publishes takes them and gives them back.
//!
//! Pure. Members are those of `POST …/event` at docs.octave.dev; callers may write only `elems` and
//! `hash`, further members are passed over as the original did.

use crate::domain::durability::Durability;
use crate::domain::error::{Code, Refusal};
use crate::domain::event::{Draft, Event};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::stream::Target;
use crate::protocol::json;
use crate::protocol::reply::quoted;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest Idempotency-Key.
const MAX_KEY_CHARS: usize = 255;

/// An event to be published. Members that it does not know are passed over.
#[derive(Deserialize, ToSchema)]
#[serde(expecting = "an event")]
#[schema(as = NewEvent)]
pub struct EventJson<'a> {
    /// What is published: any JSON object.
    #[serde(borrow)]
    #[schema(value_type = Object, required = true)]
    elems: Option<&'a RawValue>,
    /// What it is told from others by: refused as long as the stream keeps an event of the same.
    hash: Option<String>,
    /// The stream, where the address does not name it.
    path: Option<String>,
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
pub fn parse(text: &str, target: Option<&Target>, limits: &Limits) -> Result<Drafts, Refusal> {
    let is_batch = text.trim_start().starts_with('[');
    let events: Vec<&RawValue> = if is_batch {
        json::value(text)?
    } else {
        vec![json::object(text)?]
    };
    if events.is_empty() {
        return Err(Refusal::new(Code::EventMalformed, "the array holds no event"));
    }
    if events.len() > limits.max_batch_events {
        let text = format!("a request has at most {} events", limits.max_batch_events);
        return Err(Refusal::new(Code::LimitBatch, text));
    }
    let place = |(number, event): (usize, &RawValue)| {
        let drafted = json::object(event.get()).and_then(|event| draft(event, target, limits));
        drafted.map_err(|refusal| match is_batch {
            true => Refusal::new(refusal.code, format!("event {number} of the array: {refusal}")),
            false => refusal,
        })
    };
    let drafts = events.into_iter().enumerate().map(place).collect::<Result<_, _>>()?;
    Ok(Drafts { drafts, is_batch })
}

fn draft(event: EventJson<'_>, target: Option<&Target>, limits: &Limits) -> Result<(Target, Draft), Refusal> {
    let malformed = |text| Refusal::new(Code::EventMalformed, text);
    let target = match (target, event.path) {
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
    limits.check_text("a hash", event.hash.as_deref().unwrap_or_default())?;
    let hash = event.hash.map(String::into_boxed_str);
    Ok((target, Draft { elems, hash }))
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
pub fn published(events: &[Arc<Event>], is_batch: bool, reached: Option<Durability>) -> String {
    let bytes = events.iter().map(|event| event.draft.elems.as_str().len() + 256).sum();
    let mut text = String::with_capacity(bytes);
    if is_batch {
        text.push('[');
    }
    for (number, event) in events.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        put(&mut text, event, reached);
    }
    if is_batch {
        text.push(']');
    }
    text
}

/// Writes an event as those see it who read it, with all its members.
pub fn put_whole(text: &mut String, event: &Event) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"id":"{}","streamId":"{}","path":"{}","creatorId":"{}","creationDate":{},"generatedDate":{},"elems":{},"hash":"#,
        event.id,
        event.stream,
        event.path,
        event.creator,
        event.created_ms,
        event.created_ms,
        event.draft.elems.as_str(),
    );
    match &event.draft.hash {
        Some(hash) => text.push_str(&quoted(hash)),
        None => text.push_str("null"),
    }
    text.push_str(r#","location":null,"tags":{},"version":0}"#);
}

fn put(text: &mut String, event: &Event, reached: Option<Durability>) {
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"id":"{}","streamId":"{}","creationDate":{},"generatedDate":{},"path":"{}","version":0,"elems":{}"#,
        event.id,
        event.stream,
        event.created_ms,
        event.created_ms,
        event.path,
        event.draft.elems.as_str()
    );
    if let Some(hash) = &event.draft.hash {
        text.push_str(",\"hash\":");
        text.push_str(&quoted(hash));
    }
    if let Some(reached) = reached {
        let _ = write!(text, r#","offset":{},"ack":"{}""#, event.offset, reached.word());
    }
    text.push('}');
}
