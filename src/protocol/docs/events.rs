//! The operations of events.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::events::EventJson;
use crate::protocol::rest::find::FindQuery;
use crate::protocol::rest::wire::PublishQuery;
use crate::protocol::shapes::{Event, Nothing, PublishedEvent};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

const TAG: &str = "Events";
const ALL: &str = "/v5.0/{company}/event";
const OF_STREAM: &str = "/v5.0/{company}/event/{id}";
const ONE: &str = "/v5.0/{company}/event/{id}/{event}";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        publishes(ALL, "publish", "Publishes an event, or several, each with its path."),
        finds(ALL, "findEventsByPath", "Finds events of the stream at `path`."),
        deletes(ALL, "deleteEventsByPath", "Deletes all events of the stream at `path`.")
            .refuses(&[Code::PathMalformed]),
        publishes(
            OF_STREAM,
            "publishToStream",
            "Publishes an event, or several, to one stream.",
        ),
        finds(OF_STREAM, "findEvents", "Finds events of a stream."),
        deletes(OF_STREAM, "deleteEvents", "Deletes all events of a stream."),
        asks(Get, ONE, "showEvent", "Shows an event.")
            .query::<FindQuery>()
            .answers(200, "The event.", Shape::of::<Event>())
            .refuses(&[Code::EventUnknown]),
        deletes(ONE, "deleteEvent", "Deletes an event.").refuses(&[Code::EventUnknown]),
    ]
}

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied, Code::StreamUnknown])
}

fn finds(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Get, path, id, summary)
        .query::<FindQuery>()
        .answers(200, "The events.", Shape::list_of::<Event>())
        .refuses(&[
            Code::PathMalformed,
            Code::FilterMalformed,
            Code::LimitFilter,
            Code::LimitFind,
        ])
}

fn deletes(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    let operation = asks(Delete, path, id, summary).answers(200, "Deleted.", Shape::of::<Nothing>());
    let operation = match path {
        ALL => operation.takes(ParameterIn::Query, "path", "The stream.", text()),
        _ => operation,
    };
    operation.refuses(&[Code::QueryMalformed, Code::LogFull, Code::LogUnavailable])
}

fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String))
}

fn publishes(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
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
            Shape::one_or_more::<PublishedEvent>(),
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
