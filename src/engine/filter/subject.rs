//! What a filter looks at: an event, or a draft before it has a place, and how members are found in it.
//!
//! Knows nothing of filters beyond the names of members. Invariant: looking borrows and never
//! allocates; an id is written out only where it is asked for.

use crate::domain::event::{Draft, Event};
use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::domain::stream::Stream;
use crate::engine::filter::order::Quantity;
use crate::engine::filter::place::Place;
use crate::engine::filter::tree::{Field, Member, Step};
use serde_json::{Map, Value};
use std::fmt::Display;
use std::io::Write;
use std::sync::LazyLock;

/// How long a written id is.
const ID_CHARS: usize = 25;
/// What the member `tags` is.
static NO_TAGS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// An event or a draft, with its elems parsed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    path: &'a Path,
    stream: StreamId,
    creator: IdentityId,
    created_ms: u64,
    hash: Option<&'a str>,
    named: Named,
    elems: &'a Value,
}

/// What it is known by.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// Nothing yet.
    Draft,
    /// Its own id, and its place.
    Event(EventId, Offset),
    /// The stream's id.
    Stream,
}

/// A value as a filter sees it.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It is there, and it is null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(Quantity),
    /// A text.
    Text(&'a str),
    /// An id, written out; a text too.
    Id(IdText),
    /// A list.
    List(&'a [Value]),
    /// A map.
    Map(&'a Map<String, Value>),
}

/// A letter and 24 digits.
#[derive(Clone, Copy, Debug)]
pub struct IdText([u8; ID_CHARS]);

impl IdText {
    fn of(id: impl Display) -> Self {
        let mut letters = [0; ID_CHARS];
        write!(&mut letters[..], "{id}").expect("an id has 25 letters");
        Self(letters)
    }

    /// The letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("an id is ASCII")
    }
}

impl Seen<'_> {
    /// The value, to be kept.
    pub fn to_value(&self) -> Value {
        match self {
            Seen::Null => Value::Null,
            Seen::Bool(value) => Value::Bool(*value),
            Seen::Number(number) => number.to_value(),
            Seen::Text(text) => Value::from(*text),
            Seen::Id(id) => Value::from(id.as_str()),
            Seen::List(list) => Value::from(list.to_vec()),
            Seen::Map(map) => Value::Object((*map).clone()),
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Seen::Text(text) => Some(text),
            Seen::Id(id) => Some(id.as_str()),
            _ => None,
        }
    }
}

impl<'a> Seen<'a> {
    fn step(self, step: &Step) -> Option<Seen<'a>> {
        let value = match self {
            Seen::Map(map) => map.get(&*step.name),
            Seen::List(list) => list.get(step.index?),
            _ => None,
        };
        value.map(Seen::from)
    }
}

impl<'a> From<&'a Value> for Seen<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Seen::Null,
            Value::Bool(value) => Seen::Bool(*value),
            Value::Number(number) => Seen::Number(number.into()),
            Value::String(text) => Seen::Text(text),
            Value::Array(list) => Seen::List(list),
            Value::Object(map) => Seen::Map(map),
        }
    }
}

impl<'a> Subject<'a> {
    /// An event; `elems` is what its payload parses to.
    pub fn of(event: &'a Event, elems: &'a Value) -> Self {
        let (stream, creator) = (event.stream, event.creator);
        let draft = Self::draft(stream, &event.path, creator, event.created_ms, &event.draft, elems);
        let named = Named::Event(event.id, event.offset);
        Self { named, ..draft }
    }

    /// A stream; `members` are those that events have not, such as its capacity.
    pub fn stream(stream: &'a Stream, members: &'a Value) -> Self {
        Self {
            path: &stream.path,
            stream: stream.id,
            creator: stream.creator,
            created_ms: stream.created_ms,
            hash: None,
            named: Named::Stream,
            elems: members,
        }
    }

    /// What is about to be published; `created_ms` in milliseconds since 1970, `elems` what its payload
    /// parses to. It has no id and no offset.
    pub fn draft(
        stream: StreamId,
        path: &'a Path,
        creator: IdentityId,
        created_ms: u64,
        draft: &'a Draft,
        elems: &'a Value,
    ) -> Self {
        Self {
            path,
            stream,
            creator,
            created_ms,
            hash: draft.hash.as_deref(),
            named: Named::Draft,
            elems,
        }
    }

    /// What a member is; `None` when it is not there.
    pub fn look(&self, member: &Member) -> Option<Seen<'a>> {
        let field = self.field(member.field);
        member.steps.iter().try_fold(field?, Seen::step)
    }

    /// The elements by name.
    pub(super) fn elements(&self) -> impl Iterator<Item = Seen<'a>> {
        let map = self.elems.as_object().into_iter();
        map.flat_map(Map::values).map(Seen::from)
    }

    /// When it was made.
    pub(super) fn created(&self) -> Quantity {
        Quantity::Whole(self.created_ms.into())
    }

    fn field(&self, field: Field) -> Option<Seen<'a>> {
        let (id, offset) = match self.named {
            Named::Draft => (None, None),
            Named::Event(id, offset) => (Some(id), Some(offset.0)),
            Named::Stream => (None, None),
        };
        match field {
            Field::Id if matches!(self.named, Named::Stream) => Some(Seen::Id(IdText::of(self.stream))),
            Field::Id => id.map(|id| Seen::Id(IdText::of(id))),
            Field::StreamId => Some(Seen::Id(IdText::of(self.stream))),
            Field::Path => Some(Seen::Text(self.path.as_str())),
            Field::CreatorId => Some(Seen::Id(IdText::of(self.creator))),
            Field::CreationDate | Field::GeneratedDate => Some(Seen::Number(self.created())),
            Field::Elems => Some(self.elems.into()),
            Field::Hash => Some(self.hash.map_or(Seen::Null, Seen::Text)),
            Field::Location => Some(self.location()),
            Field::Tags => Some(Seen::Map(&NO_TAGS)),
            Field::Version => Some(Seen::Number(Quantity::Whole(0))),
            Field::Offset => offset.map(|offset| Seen::Number(Quantity::Whole(offset.into()))),
        }
    }

    /// Events have no place of their own yet, so a publisher's element stands for it.
    fn location(&self) -> Seen<'a> {
        let map = self.elems.get("location").and_then(Value::as_object);
        let place = map.filter(|map| Place::of(map).is_some());
        place.map_or(Seen::Null, Seen::Map)
    }
}
