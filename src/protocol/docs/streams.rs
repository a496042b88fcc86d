//! The operations of streams.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Method, Operation, Shape, Who};
use crate::protocol::shapes::{Nothing, Stream};
use crate::protocol::streams::{StreamJson, StreamsQuery};
use utoipa::openapi::path::HttpMethod::{Delete, Get, Post, Put};
use utoipa::openapi::schema::Type;

const TAG: &str = "Streams";
const ALL: &str = "/v5.0/{company}/stream";
const ONE: &str = "/v5.0/{company}/stream/{id}";
/// What the rules of a stream may be refused with.
pub const RULES: &[Code] = &[
    Code::FilterMalformed,
    Code::LimitFilter,
    Code::LimitCapacity,
    Code::LimitText,
];

/// What a new stream may be refused with.
pub const NEW: &[Code] = &[
    Code::PathMalformed,
    Code::StreamExists,
    Code::LimitStreams,
    Code::CompanyUnknown,
];

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        lists(ALL, "listStreams", "Lists the streams that the asker may use, by path."),
        shows_many(ALL, "showStreams", "Shows several streams."),
        asks(Post, ALL, "addStream", "Makes a stream.")
            .body(Shape::of::<StreamJson>())
            .answers(201, "The stream.", Shape::of::<Stream>())
            .refuses(NEW)
            .refuses(RULES),
        asks(Get, ONE, "showStream", "Shows a stream.")
            .answers(200, "The stream.", Shape::of::<Stream>())
            .refuses(&[Code::StreamUnknown]),
        asks(
            Put,
            ONE,
            "changeStream",
            "Changes a stream; what is not named stays as it is.",
        )
        .body(Shape::of::<StreamJson>())
        .answers(200, "The stream.", Shape::of::<Stream>())
        .refuses(&[Code::StreamUnknown])
        .refuses(RULES),
        asks(Delete, ONE, "deleteStream", "Deletes a stream and its events.")
            .answers(200, "Deleted.", Shape::of::<Nothing>())
            .refuses(&[Code::StreamUnknown, Code::LogFull, Code::LogUnavailable]),
    ]
}

/// Listing streams.
pub fn lists(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Get, path, id, summary)
        .query::<StreamsQuery>()
        .answers(200, "The streams.", Shape::list_of::<Stream>())
        .with_header("X-Total-Count", "How many there are.", Type::Integer)
        .refuses(&[
            Code::PathMalformed,
            Code::StreamUnknown,
            Code::FilterMalformed,
            Code::LimitFilter,
        ])
}

/// Showing several streams.
pub fn shows_many(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    asks(Method::Mget, path, id, summary)
        .says("All or nothing.")
        .body(Shape::texts())
        .answers(
            200,
            "The streams, by the id that was asked for.",
            Shape::of::<Stream>().map_of(),
        )
        .refuses(&[Code::StreamUnknown, Code::LimitFind])
}

/// What all of them may be refused with.
pub fn asks(method: impl Into<Method>, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
