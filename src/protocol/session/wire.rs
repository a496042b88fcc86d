//! The grammar of the session protocol: requests in; acknowledgements, events and notices out.
//!
//! Pure. Shapes and key order are those of the founding documents; clients were seen to look
//! `msgId` up with its JSON type (flowthings' Python client), so it is echoed as it was written.
//! Whatever is not `type:"message"` carries a `head`, because old clients read `head.msgId` of it.

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::path::Path;
use crate::domain::position::Gap;
use crate::domain::scope::ScopeJson;
use crate::domain::stream::Target;
use crate::protocol::reply::{PROCESSED, quoted};
use crate::protocol::{frame, json};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::fmt::Write;
use std::time::Duration;

/// What an id or word of a client is cut to in our answers.
const ECHO_CHARS: usize = 128;

/// The body of `POST /session`; all of it may be absent.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with \"paths\" or \"ttl\"")]
pub struct Opening {
    /// What the session is narrowed to; `null` is refused, for it would narrow to nothing less.
    #[serde(default, deserialize_with = "not_null")]
    pub paths: Option<ScopeJson>,
    /// Seconds until the session lapses without a connection.
    ttl: Option<u64>,
    resume: Option<IgnoredAny>,
    positions: Option<IgnoredAny>,
}

fn not_null<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Opening {
    /// Parses the body; nothing at all asks for nothing.
    pub fn parse(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let opening: Self = json::object(json::text(body)?)?;
        check_supported(&[
            ("resume", opening.resume.is_some()),
            ("positions", opening.positions.is_some()),
        ])?;
        Ok(opening)
    }

    /// The time to live that is asked for.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl.map(Duration::from_secs)
    }
}

/// What a frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// Follow a stream.
    Subscribe(Target),
    /// Stop following it.
    Unsubscribe(Target),
    /// Nothing; is not answered.
    Heartbeat,
}

/// A frame: how to answer it, and what it asks for or why that cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// JSON text to be echoed.
    pub msg_id: &'a str,
    /// The request itself.
    pub ask: Result<Ask, Refusal>,
}

/// Every member is taken raw first, so that `msgId` can be echoed whatever is wrong with others.
#[derive(Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow, rename = "msgId")]
    msg_id: Option<&'a RawValue>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "streamId")]
    stream_id: Option<&'a RawValue>,
    #[serde(borrow, rename = "flowId")]
    flow_id: Option<&'a RawValue>,
    #[serde(borrow)]
    path: Option<&'a RawValue>,
    #[serde(borrow)]
    paths: Option<&'a RawValue>,
    #[serde(borrow, rename = "streamIds")]
    stream_ids: Option<&'a RawValue>,
    #[serde(borrow)]
    since: Option<&'a RawValue>,
    #[serde(borrow)]
    last: Option<&'a RawValue>,
    #[serde(borrow)]
    filter: Option<&'a RawValue>,
    #[serde(borrow, rename = "whenSlow")]
    when_slow: Option<&'a RawValue>,
    #[serde(borrow, rename = "maxRate")]
    max_rate: Option<&'a RawValue>,
}

/// Parses a frame.
pub fn parse(text: &str) -> Request<'_> {
    let malformed = |text: String| Request {
        msg_id: "null",
        ask: Err(Refusal::new(Code::FrameMalformed, text)),
    };
    if !text.trim_start().starts_with('{') {
        return malformed("a frame is one JSON object".to_owned());
    }
    let members: Members<'_> = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => return malformed(format!("the frame is not understood: {error}")),
    };
    let msg_id = members.msg_id.map_or("null", RawValue::get);
    if msg_id.starts_with(['{', '[']) {
        return malformed("\"msgId\" is a string, a number, true, false or null".to_owned());
    }
    let ask = members.ask();
    Request { msg_id, ask }
}

impl Members<'_> {
    fn ask(&self) -> Result<Ask, Refusal> {
        let kind = word("type", self.kind)?.unwrap_or_default();
        if kind == "heartbeat" {
            return Ok(Ask::Heartbeat);
        }
        let object = word("object", self.object)?.unwrap_or_else(|| "event".to_owned());
        if !matches!(object.as_str(), "event" | "drop") {
            let text = format!("\"object\" is \"event\", not {}", echo(&object));
            return Err(Refusal::new(Code::RequestUnknown, text));
        }
        let supported = || self.check_supported();
        match kind.as_str() {
            "subscribe" => supported().and_then(|()| Ok(Ask::Subscribe(self.target()?))),
            "unsubscribe" => supported().and_then(|()| Ok(Ask::Unsubscribe(self.target()?))),
            "" => Err(Refusal::new(
                Code::RequestUnknown,
                "\"type\" is missing: subscribe, unsubscribe or heartbeat",
            )),
            kind => {
                let text = format!("\"type\" is subscribe, unsubscribe or heartbeat, not {}", echo(kind));
                Err(Refusal::new(Code::RequestUnknown, text))
            }
        }
    }

    fn check_supported(&self) -> Result<(), Refusal> {
        check_supported(&[
            ("paths", self.paths.is_some()),
            ("streamIds", self.stream_ids.is_some()),
            ("since", self.since.is_some()),
            ("last", self.last.is_some()),
            ("filter", self.filter.is_some()),
            ("whenSlow", self.when_slow.is_some()),
            ("maxRate", self.max_rate.is_some()),
        ])
    }

    fn target(&self) -> Result<Target, Refusal> {
        let id = word("streamId", self.stream_id.or(self.flow_id))?;
        match (id, word("path", self.path)?) {
            (Some(id), None) => {
                let parsed = StreamId::parse(&id).map(Target::Id);
                parsed.ok_or_else(|| Refusal::no_stream(echo(&id)))
            }
            (None, Some(path)) if path.contains('*') => {
                let text = "this version does not know wildcards in \"path\" yet";
                Err(Refusal::new(Code::RequestUnsupported, text))
            }
            (None, Some(path)) => Ok(Target::Path(Path::parse(&path)?)),
            (None, None) => Err(Refusal::new(
                Code::FrameMalformed,
                "\"streamId\" or \"path\" is missing",
            )),
            (Some(_), Some(_)) => Err(Refusal::new(
                Code::FrameMalformed,
                "\"streamId\" or \"path\" is wanted, not both",
            )),
        }
    }
}

/// What is promised for later is refused by name, not passed over in silence.
fn check_supported(later: &[(&str, bool)]) -> Result<(), Refusal> {
    match later.iter().find(|(_, is_there)| *is_there) {
        Some((name, _)) => {
            let text = format!("this version does not know \"{name}\" yet");
            Err(Refusal::new(Code::RequestUnsupported, text))
        }
        None => Ok(()),
    }
}

/// A member that must be a string if it is there.
fn word(name: &str, value: Option<&RawValue>) -> Result<Option<String>, Refusal> {
    let Some(value) = value.filter(|value| value.get() != "null") else {
        return Ok(None);
    };
    let text = serde_json::from_str(value.get()).map(Some);
    text.map_err(|_| Refusal::new(Code::FrameMalformed, format!("\"{name}\" is a string")))
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS).collect()
}

/// The acknowledgement of what was done.
pub fn acknowledge(msg_id: &str) -> Bytes {
    frame::text(&format!(
        r#"{{"head":{{"msgId":{msg_id},"ok":true,"errors":[],"messages":["{PROCESSED}"]}},"body":{{}}}}"#
    ))
}

/// The acknowledgement of what was not done, and why; the code stands behind what old clients know.
pub fn refuse(msg_id: &str, refusal: &Refusal) -> Bytes {
    let entry = refusal.code.entry();
    let (status, code, text) = (entry.status, entry.code, quoted(&refusal.text));
    frame::text(&format!(
        r#"{{"head":{{"msgId":{msg_id},"ok":false,"status":{status},"errors":[{text}],"messages":[],"code":"{code}"}},"body":{{}}}}"#
    ))
}

/// An event as its subscribers see it.
pub fn event(event: &Event) -> Bytes {
    let elems = event.draft.elems.as_str();
    let mut text = String::with_capacity(elems.len() + 384);
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        r#"{{"type":"message","resource":"{}","offset":{},"value":{{"id":"{}","streamId":"{}","path":"{}","creatorId":"{}","creationDate":{},"generatedDate":{},"elems":{elems},"hash":"#,
        event.stream,
        event.offset,
        event.id,
        event.stream,
        event.path,
        event.creator,
        event.created_ms,
        event.created_ms,
    );
    match &event.draft.hash {
        Some(hash) => text.push_str(&quoted(hash)),
        None => text.push_str("null"),
    }
    text.push_str(r#","location":null,"tags":{},"version":0}}"#);
    frame::text(&text)
}

/// The notice that events will not come.
pub fn gap(stream: &StreamId, gap: &Gap) -> Bytes {
    let (count, from, to, reason) = (gap.count(), gap.from, gap.to, gap.reason.word());
    let plural = if count == 1 { "event was" } else { "events were" };
    frame::text(&format!(
        r#"{{"type":"gap","head":{{"msgId":null,"ok":true,"errors":[],"messages":["{count} {plural} not delivered"]}},"body":{{"resource":"{stream}","from":{from},"to":{to},"count":{count},"reason":"{reason}"}}}}"#
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::position::{GapReason, Offset};
    use proptest::prelude::*;

    fn refused(text: &str) -> (String, Option<Code>) {
        let request = parse(text);
        (request.msg_id.to_owned(), request.ask.err().map(|refusal| refusal.code))
    }

    #[test]
    fn the_documented_requests_are_understood() {
        let id = StreamId::parse("s53b1d1600cf27b75148de0ac").expect("an id");
        let text =
            r#"{"msgId":"my-request","object":"event","type":"subscribe","streamId":"s53b1d1600cf27b75148de0ac"}"#;
        let expected = Request {
            msg_id: "\"my-request\"",
            ask: Ok(Ask::Subscribe(Target::Id(id))),
        };
        assert_eq!(parse(text), expected);
        let text = r#"{"msgId":-7,"object":"drop","type":"unsubscribe","flowId":"s53b1d1600cf27b75148de0ac"}"#;
        let expected = Request {
            msg_id: "-7",
            ask: Ok(Ask::Unsubscribe(Target::Id(id))),
        };
        assert_eq!(parse(text), expected);
        assert_eq!(parse(r#"{"type":"heartbeat"}"#).ask, Ok(Ask::Heartbeat));
        let path = Path::parse("/my/stream/path").expect("a path");
        let text = r#"{"type":"subscribe","object":"event","path":"/my/stream/path"}"#;
        assert_eq!(
            parse(text),
            Request {
                msg_id: "null",
                ask: Ok(Ask::Subscribe(Target::Path(path)))
            }
        );
    }

    #[test]
    fn what_is_wrong_is_told_under_the_requests_own_id() {
        let null = |code| ("null".to_owned(), Some(code));
        assert_eq!(refused("hello"), null(Code::FrameMalformed));
        assert_eq!(refused("[1]"), null(Code::FrameMalformed));
        assert_eq!(refused("{\"msgId\":1"), null(Code::FrameMalformed));
        assert_eq!(
            refused(r#"{"msgId":{"a":1},"type":"subscribe"}"#),
            null(Code::FrameMalformed)
        );
        let one = |code| ("1".to_owned(), Some(code));
        assert_eq!(refused(r#"{"msgId":1}"#), one(Code::RequestUnknown));
        assert_eq!(refused(r#"{"msgId":1,"type":"dance"}"#), one(Code::RequestUnknown));
        assert_eq!(
            refused(r#"{"msgId":1,"type":["subscribe"]}"#),
            one(Code::FrameMalformed)
        );
        assert_eq!(refused(r#"{"msgId":1,"type":"subscribe"}"#), one(Code::FrameMalformed));
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","object":"track","path":"/a/b"}"#),
            one(Code::RequestUnknown)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","path":"/a/*"}"#),
            one(Code::RequestUnsupported)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","path":"/a/b","since":0}"#),
            one(Code::RequestUnsupported)
        );
        assert_eq!(
            refused(r#"{"msgId":1,"type":"subscribe","streamId":"x"}"#),
            one(Code::StreamUnknown)
        );
    }

    #[test]
    fn a_gap_reads_as_documented() {
        let stream = StreamId::new([0; 12]);
        let (from, to, reason) = (Offset(12), Offset(40), GapReason::Retention);
        let bytes = gap(&stream, &Gap { from, to, reason });
        let expected = r#"{"type":"gap","head":{"msgId":null,"ok":true,"errors":[],"messages":["29 events were not delivered"]},"body":{"resource":"s000000000000000000000000","from":12,"to":40,"count":29,"reason":"retention"}}"#;
        assert_eq!(bytes, frame::text(expected));
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_that_is_json(text in "\\PC{0,80}") {
            let request = parse(&text);
            let echoed: Result<serde_json::Value, _> = serde_json::from_str(request.msg_id);
            prop_assert!(echoed.is_ok());
        }

        #[test]
        fn any_scalar_comes_back_as_it_was(number: f64, word in "\\PC{0,20}", which in 0..4) {
            let scalar = match which {
                0 => serde_json::json!(number),
                1 => serde_json::json!(word),
                2 => serde_json::json!(true),
                _ => serde_json::json!(null),
            };
            let text = format!(r#"{{"type":"dance","msgId":{scalar}}}"#);
            prop_assert_eq!(parse(&text).msg_id, scalar.to_string());
        }
    }
}
