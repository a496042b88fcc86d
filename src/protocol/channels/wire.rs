//! The grammar of RootSocket's frames: `{"event":…,"data":{…}}` in both directions.
//!
//! Pure. Shapes are those of rootsocketjs message.ts; `code` stands in errors behind what clients
//! know. Whatever `event` is no reserved word names the channel of a message. Invariant: nothing
//! is said to a client whose `event` is another word than it expects.

mod bodies;

pub use bodies::{Message, TokenWish, listed, sent, token};

use crate::domain::error::{Code, Refusal};
use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::limits::Limits;
use crate::domain::payload::Payload;
use crate::domain::position::Gap;
use crate::protocol::channels::channel::{self, Channel};
use crate::protocol::frame;
use crate::protocol::reply::quoted;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a name of a client is cut to in our answers; no channel's is longer.
const ECHO_CHARS: usize = 128;
/// By these words in `detail` a client knows that it is not subscribed (rootsocketjs message.ts).
const CANNOT_SUBSCRIBE: &str = "cannot subscribe";
/// `{"event":"ping"}` as a ping of the WebSocket and as a frame: who answers either is alive.
const PINGS: &[u8] = b"\x89\x00\x81\x10{\"event\":\"ping\"}";
const PONG: &[u8] = b"\x81\x10{\"event\":\"pong\"}";

/// What a frame asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Ask {
    /// An answer, as a sign of life.
    Ping,
    /// Nothing: it is an answer, or leaves what can never have been joined.
    Nothing,
    /// To get the messages of a channel.
    Join {
        /// Which.
        channel: Channel,
        /// A channel token, if one was sent.
        auth: Option<String>,
    },
    /// To get no more of them.
    Leave(Channel),
    /// To have a message sent.
    Send {
        /// Where to.
        channel: Channel,
        /// What.
        elems: Payload,
    },
}

/// Why a frame was not done, and where the client has to look.
#[derive(Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What of it is wrong.
    pub place: Place,
    /// In what way.
    pub refusal: Refusal,
}

/// What of a frame a complaint is about.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// All of it.
    Frame,
    /// A message to this channel.
    Sending(String),
    /// A subscription to this channel: the client forgets it.
    Joining(String),
}

#[derive(Deserialize)]
struct FrameJson<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct ContentJson<'a> {
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    auth: Option<Cow<'a, str>>,
    #[serde(borrow)]
    raw: Option<&'a RawValue>,
}

/// Parses a frame.
pub fn parse(text: &str, limits: &Limits) -> Result<Ask, Complaint> {
    let malformed = |text: String| Place::Frame.refused(Refusal::new(Code::FrameMalformed, text));
    if !text.trim_start().starts_with('{') {
        return Err(malformed("a frame is one JSON object".to_owned()));
    }
    let frame: FrameJson<'_> =
        serde_json::from_str(text).map_err(|error| malformed(format!("the frame is not understood: {error}")))?;
    let content = || content(frame.data).map_err(malformed);
    match &*frame.event {
        "ping" => Ok(Ask::Ping),
        "pong" => Ok(Ask::Nothing),
        "subscription-add" => join(content()?),
        "subscription-remove" => Ok(leave(content()?)),
        channel => send(channel, &content()?, limits),
    }
}

fn content(json: Option<&RawValue>) -> Result<ContentJson<'_>, String> {
    match json.map_or("{}", RawValue::get) {
        object if object.starts_with('{') => {
            serde_json::from_str(object).map_err(|error| format!("\"data\" is not understood: {error}"))
        }
        _ => Err("\"data\" is an object".to_owned()),
    }
}

fn join(content: ContentJson<'_>) -> Result<Ask, Complaint> {
    let missing = || Refusal::new(Code::FrameMalformed, "\"channel\" is missing in \"data\"");
    let name = content.channel.ok_or_else(|| Place::Frame.refused(missing()))?;
    let channel = Channel::parse(&name).map_err(|refusal| Place::Joining(echo(&name)).refused(refusal))?;
    let auth = content.auth.map(Cow::into_owned);
    Ok(Ask::Join { channel, auth })
}

/// A client that was refused may still leave the channel (rootsocketjs `handleSubscriptionError`):
/// whatever it calls it, it is not there, which is what it asks for.
fn leave(content: ContentJson<'_>) -> Ask {
    let channel = content.channel.and_then(|name| Channel::parse(&name).ok());
    channel.map_or(Ask::Nothing, Ask::Leave)
}

fn send(name: &str, content: &ContentJson<'_>, limits: &Limits) -> Result<Ask, Complaint> {
    let refused = |refusal| Place::Sending(echo(name)).refused(refusal);
    let channel = Channel::parse(name).map_err(refused)?;
    let missing = || refused(Refusal::new(Code::FrameMalformed, "\"raw\" is missing in \"data\""));
    let raw = content.raw.ok_or_else(missing)?;
    let elems = elems(raw, limits).map_err(refused)?;
    Ok(Ask::Send { channel, elems })
}

/// What is published of a client's text; what is no text is taken for its JSON, as rootsocketjs
/// does before it sends.
pub fn elems(raw: &RawValue, limits: &Limits) -> Result<Payload, Refusal> {
    let text = match raw.get() {
        text if text.starts_with('"') => Cow::Borrowed(text),
        json => Cow::Owned(quoted(json)),
    };
    let elems = format!(r#"{{"raw":{text}}}"#);
    let malformed = |error| Refusal::new(Code::EventMalformed, format!("the message is not understood: {error}"));
    let elems: &RawValue = serde_json::from_str(&elems).map_err(malformed)?;
    Payload::check(elems, limits.max_json_depth)
}

/// An event as the subscribers of its channel see it.
pub fn event(event: &Event) -> Bytes {
    let elems = event.draft.elems.as_str();
    let mut text = String::with_capacity(elems.len() + event.path.as_str().len() + 64);
    text.push_str(r#"{"event":""#);
    channel::push_name(&event.path, &mut text);
    text.push_str(r#"","data":{"raw":"#);
    text.push_str(&raw(elems));
    text.push_str("}}");
    frame::text(&text)
}

/// The JSON string for a client: the text if there is nothing else, or the JSON text of it all.
fn raw(elems: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Only<'a> {
        #[serde(borrow)]
        raw: &'a RawValue,
    }
    match serde_json::from_str::<Only<'_>>(elems) {
        Ok(only) if only.raw.get().starts_with('"') => Cow::Borrowed(only.raw.get()),
        _ => Cow::Owned(quoted(elems)),
    }
}

/// The notice that messages will not come. It must not read as a refusal to subscribe.
pub fn gap(stream: &StreamId, channel: Option<&str>, gap: &Gap) -> Bytes {
    let count = gap.count();
    let plural = if count == 1 { "message was" } else { "messages were" };
    let detail = quoted(&format!("{count} {plural} not delivered"));
    let place = channel.map_or_else(|| format!("\"{stream}\""), quoted);
    frame::text(&format!(
        r#"{{"event":"error","data":{{"detail":{detail},"where":{place}}}}}"#
    ))
}

/// The stream of a channel was deleted: to the client that is as if it had been refused.
pub fn deleted(channel: &str) -> Bytes {
    let refusal = Refusal::new(Code::StreamUnknown, "the channel's stream was deleted; subscribe again");
    Place::Joining(channel.to_owned()).refused(refusal).render()
}

/// A sign of life is asked for.
pub fn ping() -> Bytes {
    Bytes::from_static(PINGS)
}

/// A sign of life.
pub fn pong() -> Bytes {
    Bytes::from_static(PONG)
}

impl Place {
    /// A complaint about it.
    pub fn refused(self, refusal: Refusal) -> Complaint {
        let place = self;
        Complaint { place, refusal }
    }
}

impl Complaint {
    /// As the client is told.
    pub fn render(&self) -> Bytes {
        let Refusal { code, text, .. } = &self.refusal;
        let code = code.entry().code;
        let (detail, place) = match &self.place {
            Place::Frame => (quoted(text), None),
            Place::Sending(channel) => (quoted(text), Some(channel)),
            Place::Joining(channel) => (quoted(&format!("{CANNOT_SUBSCRIBE}: {text}")), Some(channel)),
        };
        let place = place.map_or(String::new(), |place| format!(r#","where":{}"#, quoted(place)));
        frame::text(&format!(
            r#"{{"event":"error","data":{{"detail":{detail}{place},"code":"{code}"}}}}"#
        ))
    }
}

fn echo(name: &str) -> String {
    name.chars().take(ECHO_CHARS).collect()
}

#[cfg(test)]
mod tests;
