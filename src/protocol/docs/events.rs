//! The operations of events.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Method, Operation, Shape, Who};
use crate::protocol::events::EventJson;
use crate::protocol::finding::FindQuery;
use crate::protocol::rest::aggregate::AggregateJson;
use crate::protocol::rest::many::Look;
use crate::protocol::rest::wire::PublishQuery;
use crate::protocol::shapes::{AggregateRow, Event, Nothing, PublishedEvent};
use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

const TAG: &str = "Events";
const ALL: &str = "/v5.0/{company}/event";
const OF_STREAM: &str = "/v5.0/{company}/event/{id}";
const SUM: &str = "/v5.0/{company}/event/{id}/aggregate";
const ONE: &str = "/v5.0/{company}/event/{id}/{event}";
/// What finding may be refused with.
const FINDS: &[Code] = &[
    Code::PathMalformed,
    Code::FilterMalformed,
    Code::LimitFilter,
    Code::LimitFind,
];

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        publishes::<PublishedEvent>(ALL, "publish", "Publishes an event, or several, each with its path."),
        finds::<Event>(ALL, "findEventsByPath", "Finds events of the stream at `path`."),
        deletes(ALL, "deleteEventsByPath", "Deletes all events of the stream at `path`.")
            .refuses(&[Code::PathMalformed]),
        finds_many::<Event>(ALL, "findEventsOfStreams", "Finds events of several streams."),
        publishes::<PublishedEvent>(
            OF_STREAM,
            "publishToStream",
            "Publishes an event, or several, to one stream.",
        ),
        finds::<Event>(OF_STREAM, "findEvents", "Finds events of a stream."),
        deletes(OF_STREAM, "deleteEvents", "Deletes all events of a stream."),
        shows_many::<Event>(OF_STREAM, "showEvents", "Shows several events of a stream."),
        aggregates(SUM, "aggregateEvents", "Puts events into groups and sums each up."),
        shows::<Event>(ONE, "showEvent", "Shows an event."),
        deletes(ONE, "deleteEvent", "Deletes an event.").refuses(&[Code::EventUnknown]),
    ]
}

fn asks(method: impl Into<Method>, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied, Code::StreamUnknown])
}

/// Finding events.
pub fn finds<E: ToSchema>(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Get, path, id, summary)
        .query::<FindQuery>()
        .answers(200, "The events.", Shape::list_of::<E>())
        .refuses(FINDS)
}

/// Finding events of several streams.
pub fn finds_many<E: ToSchema>(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Method::Mget, path, id, summary)
        .says("All or nothing. `params` are those of finding.")
        .body(Shape::list_of::<Look>())
        .answers(
            200,
            "The events, by the id that was asked for.",
            Shape::list_of::<E>().map_of(),
        )
        .refuses(&[Code::QueryMalformed])
        .refuses(FINDS)
}

/// Showing an event.
pub fn shows<E: ToSchema>(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Get, path, id, summary)
        .query::<FindQuery>()
        .answers(200, "The event.", Shape::of::<E>())
        .refuses(&[Code::EventUnknown])
}

/// Showing several events of a stream.
pub fn shows_many<E: ToSchema>(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Method::Mget, path, id, summary)
        .says("All or nothing.")
        .query::<FindQuery>()
        .body(Shape::texts())
        .answers(
            200,
            "The events, by the id that was asked for.",
            Shape::of::<E>().map_of(),
        )
        .refuses(&[Code::EventUnknown, Code::LimitFind])
}

/// Putting events into groups.
pub fn aggregates(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Post, path, id, summary)
        .says("The events that the stream keeps, or of those what the filter accepts; a row for each group.")
        .body(Shape::of::<AggregateJson>())
        .answers(200, "The rows.", Shape::list_of::<AggregateRow>())
        .refuses(&[Code::FilterMalformed, Code::LimitFilter, Code::LimitFind])
}

/// Deleting events.
pub fn deletes(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let operation = asks(Delete, path, id, summary).answers(200, "Deleted.", Shape::of::<Nothing>());
    let operation = match path.contains("{id}") {
        false => operation.takes(ParameterIn::Query, "path", "The stream.", text()),
        true => operation,
    };
    operation.refuses(&[Code::QueryMalformed, Code::LogFull, Code::LogUnavailable])
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

/// Publishing events.
pub fn publishes<E: ToSchema>(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let number = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Integer))
        .minimum(Some(0));
    asks(Post, path, id, summary)
        .says("Several are all or nothing, and answered in order.")
        .query::<PublishQuery>()
        .takes(
            ParameterIn::Header,
            "Idempotency-Key",
            "A retry with the same key and body gets the first answer again and writes nothing.",
            text().pattern(Some("^[!-~]([ -~]{0,253}[!-~])?$")),
        )
        .takes(
            ParameterIn::Header,
            "If-Offset-Match",
            "Writes only if the stream's newest event has this offset; 0: it has none.",
            number,
        )
        .body(Shape::one_or_more::<EventJson<'_>>())
        .answers(
            201,
            "The event, or an array where an array was sent.",
            Shape::one_or_more::<E>(),
        )
        .refuses(&[
            Code::PathMalformed,
            Code::EventMalformed,
            Code::EventRepeated,
            Code::EventFiltered,
            Code::OffsetMismatch,
            Code::KeyMalformed,
            Code::KeyReused,
            Code::KeyBusy,
            Code::LimitBatch,
            Code::LimitDepth,
            Code::LimitText,
            Code::LimitKeys,
            Code::LimitPending,
            Code::LimitRate,
            Code::LogFull,
            Code::LogUnavailable,
        ])
}
