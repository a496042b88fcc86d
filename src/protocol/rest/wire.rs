//! The grammar of the HTTP API: bodies and query parameters in, events and streams out.
//!
//! Pure. Members are those of `POST …/event` and `…/stream` at docs.octave.dev; callers may write
//! only `elems` and `hash` of an event, further members are passed over as the original did.

use crate::domain::error::{Code, Refusal};
use crate::domain::event::{Draft, Event};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::payload::Payload;
use crate::domain::stream::{DEFAULT_CAPACITY, NewStream, Stream, StreamChange, StreamPage, Target};
use crate::protocol::json;
use crate::protocol::reply::quoted;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::fmt::Write;
use std::sync::Arc;

/// Streams in a list if nothing else is said.
const DEFAULT_LIMIT: usize = 20;
/// Most streams in a list.
const MAX_LIMIT: usize = 1_000;

#[derive(Deserialize)]
#[serde(expecting = "an event")]
struct EventJson<'a> {
    #[serde(borrow)]
    elems: Option<&'a RawValue>,
    hash: Option<String>,
    path: Option<String>,
}

/// Events to be published, and whether they came as an array.
#[derive(Debug)]
pub struct Publishing {
    /// In the order in which they came.
    pub drafts: Vec<(Target, Draft)>,
    /// Whether the answer is to be an array.
    pub is_batch: bool,
}

/// Parses one event or an array of them. Without a `target` from the address each names its path.
pub fn parse_events(body: &[u8], target: Option<&Target>, limits: &Limits) -> Result<Publishing, Refusal> {
    let text = json::text(body)?;
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
    Ok(Publishing { drafts, is_batch })
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

/// An event as its publisher gets it back; key order as in the sample of docs.octave.dev.
fn event(text: &mut String, event: &Event) {
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
    text.push('}');
}

/// Published events as the body of an answer.
pub fn events(published: &[Arc<Event>], is_batch: bool) -> String {
    let bytes = published
        .iter()
        .map(|event| event.draft.elems.as_str().len() + 224)
        .sum();
    let mut text = String::with_capacity(bytes);
    if is_batch {
        text.push('[');
    }
    for (number, published) in published.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        event(&mut text, published);
    }
    if is_batch {
        text.push(']');
    }
    text
}

/// What may be said of a stream. The members that only we write may be sent back to us.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a stream")]
struct StreamJson {
    path: Option<String>,
    description: Option<String>,
    capacity: Option<u64>,
    #[serde(default, rename = "id")]
    _id: IgnoredAny,
    #[serde(default, rename = "creatorId")]
    _creator_id: IgnoredAny,
    #[serde(default, rename = "creationDate")]
    _creation_date: IgnoredAny,
    #[serde(default, rename = "lastEditDate")]
    _last_edit_date: IgnoredAny,
    #[serde(default, rename = "lastEditorId")]
    _last_editor_id: IgnoredAny,
}

/// Parses a stream to be made.
pub fn parse_new_stream(body: &[u8], limits: &Limits) -> Result<NewStream, Refusal> {
    let json: StreamJson = json::object(json::text(body)?)?;
    let path = json
        .path
        .ok_or_else(|| Refusal::new(Code::BodyMalformed, "\"path\" is missing"))?;
    Ok(NewStream {
        path: Path::parse(&path)?,
        description: json.description.unwrap_or_default(),
        capacity: json
            .capacity
            .unwrap_or_else(|| DEFAULT_CAPACITY.min(limits.max_capacity)),
    })
}

/// Parses what is to be different about a stream; its path stays, and may be sent along unchanged.
pub fn parse_stream_change(body: &[u8], stream: &Stream) -> Result<StreamChange, Refusal> {
    let json: StreamJson = json::object(json::text(body)?)?;
    if json.path.is_some_and(|path| path != stream.path.as_str()) {
        let text = "a stream keeps its path; make another stream for another path";
        return Err(Refusal::new(Code::BodyMalformed, text));
    }
    Ok(StreamChange {
        description: json.description,
        capacity: json.capacity,
    })
}

/// A stream as JSON.
pub fn stream(stream: &Stream) -> String {
    let (editor, edited) = match stream.edited {
        Some((editor, edited_ms)) => (format!("\"{editor}\""), edited_ms.to_string()),
        None => ("null".to_owned(), "null".to_owned()),
    };
    format!(
        r#"{{"id":"{}","path":"{}","description":{},"capacity":{},"creatorId":"{}","creationDate":{},"lastEditDate":{edited},"lastEditorId":{editor}}}"#,
        stream.id,
        stream.path,
        quoted(&stream.description),
        stream.capacity,
        stream.creator,
        stream.created_ms,
    )
}

/// Streams as a JSON array.
pub fn streams(streams: &[Stream]) -> String {
    let each: Vec<String> = streams.iter().map(stream).collect();
    format!("[{}]", each.join(","))
}

/// The query parameters of a list of streams.
#[derive(Debug, Default, Deserialize)]
pub struct ListQuery {
    start: Option<String>,
    limit: Option<String>,
    /// Only the stream at this path.
    pub path: Option<String>,
}

impl ListQuery {
    /// The part that is wanted; refused with `query.malformed`.
    pub fn page(&self) -> Result<StreamPage, Refusal> {
        let number = |name: &str, text: &Option<String>, default: usize, most: usize| match text {
            None => Ok(default),
            Some(text) => {
                let number = text.parse().ok().filter(|number| *number <= most);
                let wanted = || Refusal::new(Code::QueryMalformed, format!("\"{name}\" is a number from 0 to {most}"));
                number.ok_or_else(wanted)
            }
        };
        Ok(StreamPage {
            start: number("start", &self.start, 0, usize::MAX)?,
            limit: number("limit", &self.limit, DEFAULT_LIMIT, MAX_LIMIT)?,
        })
    }
}
