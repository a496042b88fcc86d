//! What a frame asks about events and streams themselves: found, made, changed, deleted.
//!
//! Pure. Members are those of flowthings' WebsocketRequest.java: `id` names the object, `value` is what
//! it is to be, `options` are the parameters of finding.

use crate::broker::Listing;
use crate::domain::error::{Code, Refusal};
use crate::domain::id::EventId;
use crate::domain::limits::Limits;
use crate::domain::stream::{NewStream, Target};
use crate::engine::search::Search;
use crate::protocol::finding::FindQuery;
use crate::protocol::finding::only::Only;
use crate::protocol::names::Names;
use crate::protocol::session::wire::{Members, echo, word};
use crate::protocol::streams::{self, StreamsQuery};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// What is asked, and how things are called by whoever asks.
#[derive(Debug)]
pub struct Wish {
    /// What.
    pub deed: Deed,
    /// How.
    pub names: Names,
}

/// What is asked of the objects that there are.
#[derive(Debug)]
pub enum Deed {
    /// An event of a stream, with these members.
    ShowEvent(Target, EventId, Only),
    /// Events of a stream.
    FindEvents(Target, Search, Only),
    /// To let go of an event.
    RemoveEvent(Target, EventId),
    /// A stream.
    ShowStream(Target),
    /// The streams that the asker may use.
    FindStreams(Listing),
    /// A stream, to be made.
    AddStream(NewStream),
    /// A stream, to be changed; the text of what is to be different.
    ChangeStream(Target, Box<str>),
    /// To let go of a stream.
    RemoveStream(Target),
}

/// What there is to be asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Event,
    Stream,
}

/// The words for objects, and whose they are.
const OBJECTS: [(&str, Object, Names); 4] = [
    ("event", Object::Event, Names::Octave),
    ("drop", Object::Event, Names::Flowthings),
    ("stream", Object::Stream, Names::Octave),
    ("flow", Object::Stream, Names::Flowthings),
];

impl Object {
    pub(super) fn parse(word: &str) -> Result<(Self, Names), Refusal> {
        let found = OBJECTS.iter().find(|(known, ..)| *known == word);
        found.map(|(_, object, names)| (*object, *names)).ok_or_else(|| {
            let text = format!("\"object\" is \"event\" or \"stream\", not {}", echo(word));
            Refusal::new(Code::RequestUnknown, text)
        })
    }
}

impl Members<'_> {
    /// What a frame of a kind that is not of the socket alone asks for; none if it is of no such kind.
    pub(super) fn deed(
        &self,
        kind: &str,
        object: Object,
        names: Names,
        limits: &Limits,
    ) -> Option<Result<Deed, Refusal>> {
        Some(match (object, kind) {
            (Object::Event, "find") => self.show_event(names),
            (Object::Event, "findmany") => self.find_events(names, limits),
            (Object::Event, "update") => {
                let text = "events never change: create another one, or delete this one";
                Err(Refusal::new(Code::RequestUnknown, text))
            }
            (Object::Event, "delete") => self.event(names).map(|(target, id)| Deed::RemoveEvent(target, id)),
            (Object::Stream, "find") => self.stream(names).map(Deed::ShowStream),
            (Object::Stream, "findmany") => self
                .options()
                .and_then(|options: StreamsQuery| Ok(Deed::FindStreams(options.listing(limits)?))),
            (Object::Stream, "create") => self
                .text("the stream")
                .and_then(|text| Ok(Deed::AddStream(streams::parse_new(text, limits, names)?))),
            (Object::Stream, "update") => self.stream(names).and_then(|target| {
                let text = self.text("what is to be different")?;
                Ok(Deed::ChangeStream(target, text.into()))
            }),
            (Object::Stream, "delete") => self.stream(names).map(Deed::RemoveStream),
            _ => return None,
        })
    }

    fn show_event(&self, names: Names) -> Result<Deed, Refusal> {
        let (target, id) = self.event(names)?;
        let options: FindQuery = self.options()?;
        Ok(Deed::ShowEvent(target, id, options.only(names)?))
    }

    fn find_events(&self, names: Names, limits: &Limits) -> Result<Deed, Refusal> {
        let options: FindQuery = self.options()?;
        Ok(Deed::FindEvents(
            self.target(names)?,
            options.search(limits)?,
            options.only(names)?,
        ))
    }

    /// The stream and the event that are named.
    fn event(&self, names: Names) -> Result<(Target, EventId), Refusal> {
        let target = self.target(names)?;
        let id = self.id()?.ok_or_else(|| malformed("\"id\" is missing: the event's"))?;
        let unknown = || Refusal::new(Code::EventUnknown, format!("the stream has no event {}", echo(&id)));
        Ok((target, names.event_id(&id).ok_or_else(unknown)?))
    }

    /// The stream that `id` names, or what names it where events are asked for.
    fn stream(&self, names: Names) -> Result<Target, Refusal> {
        match self.id()? {
            Some(id) => {
                let parsed = names.stream_id(&id).map(Target::Id);
                parsed.ok_or_else(|| Refusal::no_stream(echo(&id)))
            }
            None => self.target(names),
        }
    }

    fn id(&self) -> Result<Option<String>, Refusal> {
        word("id", self.id)
    }

    fn options<Q: DeserializeOwned + Default>(&self) -> Result<Q, Refusal> {
        let Some(text) = self.options.map(RawValue::get).filter(|text| *text != "null") else {
            return Ok(Q::default());
        };
        let object = if text.starts_with('{') { text } else { "" };
        serde_json::from_str(object).map_err(|_| malformed("\"options\" is an object of texts and numbers"))
    }

    fn text(&self, what: &str) -> Result<&str, Refusal> {
        let missing = || Refusal::new(Code::FrameMalformed, format!("\"value\" is missing: {what}"));
        self.value.map(RawValue::get).ok_or_else(missing)
    }
}

fn malformed(text: &'static str) -> Refusal {
    Refusal::new(Code::FrameMalformed, text)
}
