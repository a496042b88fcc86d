//! The operations of sessions.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::session::wire::Opening;
use crate::protocol::shapes::{Acknowledgement, AnyObject, Opened};
use utoipa::openapi::path::HttpMethod::{Get, Post};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, SchemaType, Type};

const TAG: &str = "Sessions";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![open(), connect(), stream(), poll(), follow(), ask()]
}

/// What anybody is refused with who names a session.
const SESSIONS: &[Code] = &[
    Code::SessionUnknown,
    Code::SessionLapsed,
    Code::TokenRevoked,
    Code::TokenExpired,
    Code::OriginDenied,
    Code::AddressDenied,
    Code::LimitConnections,
    Code::LimitSessions,
    Code::LimitRequests,
    Code::SessionMoved,
    Code::ServerStopping,
    Code::ServerFault,
];

fn open() -> Operation {
    Operation::new(TAG, Post, "/session", "openSession", "Opens a session.")
        .says(
            "The answer's id goes to a browser, device or script, which connects with it; it may do what the token may, \
             or less where `paths` narrows it. It lapses if nothing connects within its time to live.",
        )
        .by(Who::Opener)
        .optional_body(Shape::of::<Opening>())
        .answers(201, "The session.", Shape::of::<Opened>())
        .refuses(&[
            Code::ScopeDenied,
            Code::PathMalformed,
            Code::LimitPatterns,
            Code::LimitSessions,
            Code::LimitAttempts,
            Code::LimitRate,
            Code::JwtRefused,
            Code::JwtExpired,
            Code::RequestUnsupported,
        ])
}

fn connect() -> Operation {
    let path = "/session/{id}/ws";
    Operation::new(TAG, Get, path, "connect", "Connects a WebSocket to a session.")
        .says("An upgrade (RFC 6455, version 13); what is said on the socket is described at /docs#socket.")
        .answers_nothing(101, "The socket is open.")
        .refuses(&[
            Code::UpgradeMalformed,
            Code::SessionUnknown,
            Code::SessionLapsed,
            Code::TokenRevoked,
            Code::TokenExpired,
            Code::OriginDenied,
            Code::LimitConnections,
            Code::LimitSessions,
            Code::ServerStopping,
            Code::ServerFault,
        ])
}

fn stream() -> Operation {
    let path = "/session/{id}/streaming";
    let lines = "One JSON object a line, as on the socket; an empty line when there is nothing to say.";
    Operation::new(
        TAG,
        Get,
        path,
        "stream",
        "Brings what the session follows, line by line.",
    )
    .says(
        "The answer goes on until the session, the server or another transport of the session ends it. What is \
             followed is asked for at `/session/{id}/requests`; it is queued while nobody reads.",
    )
    .answers_plainly(200, "The lines.", "application/x-ndjson", Shape::text(lines))
    .refuses(SESSIONS)
}

fn poll() -> Operation {
    let path = "/session/{id}/polling";
    Operation::new(
        TAG,
        Get,
        path,
        "poll",
        "Brings what waits for the session, or comes soon.",
    )
    .says("If nothing waits, it waits itself, `STREAMGATE_POLL_TIME` at most. The session queues until the next poll.")
    .answers_plainly(
        200,
        "What came, oldest first.",
        "application/json",
        Shape::list_of::<AnyObject>(),
    )
    .refuses(SESSIONS)
}

fn follow() -> Operation {
    let path = "/session/{id}/events";
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    let paths = || {
        let schema = ArrayBuilder::new().items(text()).max_items(Some(16));
        schema.description(Some("Repeated for each stream."))
    };
    let events = "Messages as the HTML standard has them: `id` says where the reader is in every stream, `data` is \
                  the object as on the socket; events `gap` and `goaway` are notices.";
    Operation::new(TAG, Get, path, "followEvents", "Brings events as Server-Sent Events.")
        .says(
            "With `path` the response follows these streams by itself; without, it brings what the session follows. \
             The other parameters mean what they mean in a request to subscribe. An EventSource that comes again goes on \
             where it was, in every stream.",
        )
        .takes(ParameterIn::Query, "path", "A stream, up to sixteen times.", paths())
        .takes(ParameterIn::Query, "since", "What was seen last, in JSON: an offset, a position or a time.", text())
        .takes(ParameterIn::Query, "last", "How many to begin with.", text())
        .takes(ParameterIn::Query, "filter", "Only events that it accepts.", text())
        .takes(ParameterIn::Query, "whenSlow", "`catchUp`, `latest`, `drop` or `disconnect`.", text())
        .takes(ParameterIn::Query, "lastEventId", "For who cannot set the header.", text())
        .takes(ParameterIn::Header, "Last-Event-ID", "The last id that came.", text())
        .answers_plainly(200, "The messages.", "text/event-stream", Shape::text(events))
        .refuses(SESSIONS)
        .refuses(&[
            Code::QueryMalformed,
            Code::PathMalformed,
            Code::RequestUnsupported,
            Code::FilterMalformed,
            Code::LimitFilter,
            Code::LimitSubscriptions,
            Code::ScopeDenied,
            Code::StreamUnknown,
        ])
}

fn ask() -> Operation {
    let path = "/session/{id}/requests";
    Operation::new(
        TAG,
        Post,
        path,
        "request",
        "Answers one request of the session protocol.",
    )
    .says(
        "The request is what would be sent on the socket, at most `STREAMGATE_MAX_FRAME_BYTES` long; the answer is \
             its acknowledgement. What it subscribes to comes by `streaming`, `polling` or `events`.",
    )
    .body(Shape::of::<AnyObject>())
    .answers_plainly(200, "It was done.", "application/json", Shape::of::<Acknowledgement>())
    .answers_nothing(204, "A heartbeat has no answer.")
    .answers_requests()
    .refuses(SESSIONS)
    .refuses(&[
        Code::FrameSize,
        Code::FrameMalformed,
        Code::RequestUnknown,
        Code::RequestUnsupported,
        Code::PathMalformed,
        Code::ScopeDenied,
        Code::StreamUnknown,
        Code::FilterMalformed,
        Code::LimitFilter,
        Code::LimitSubscriptions,
        Code::LimitRate,
        Code::LimitBatch,
        Code::LimitDepth,
        Code::LimitText,
        Code::LimitKeys,
        Code::LimitPending,
        Code::EventMalformed,
        Code::EventRepeated,
        Code::EventFiltered,
        Code::OffsetMismatch,
        Code::KeyMalformed,
        Code::KeyReused,
        Code::KeyBusy,
        Code::LogFull,
        Code::LogUnavailable,
    ])
}
