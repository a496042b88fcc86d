//! The operations of streams.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::rest::wire::{ListQuery, StreamJson};
use crate::protocol::shapes::{Nothing, Stream};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post, Put};
use utoipa::openapi::schema::Type;

const TAG: &str = "Streams";
const ALL: &str = "/v5.0/{company}/stream";
const ONE: &str = "/v5.0/{company}/stream/{id}";
/// What the rules of a stream may be refused with.
const RULES: &[Code] = &[
    Code::FilterMalformed,
    Code::LimitFilter,
    Code::LimitCapacity,
    Code::LimitText,
];

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(
            Get,
            ALL,
            "listStreams",
            "Lists the streams that the asker may use, by path.",
        )
        .query::<ListQuery>()
        .answers(200, "The streams.", Shape::list_of::<Stream>())
        .with_header("X-Total-Count", "How many there are.", Type::Integer)
        .refuses(&[Code::PathMalformed, Code::StreamUnknown]),
        asks(Post, ALL, "addStream", "Makes a stream.")
            .body(Shape::of::<StreamJson>())
            .answers(201, "The stream.", Shape::of::<Stream>())
            .refuses(&[
                Code::PathMalformed,
                Code::StreamExists,
                Code::LimitStreams,
                Code::CompanyUnknown,
            ])
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

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
