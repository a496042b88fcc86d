//! The operations of sessions.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::session::wire::Opening;
use crate::protocol::shapes::Opened;
use utoipa::openapi::path::HttpMethod::{Get, Post};

const TAG: &str = "Sessions";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![open(), connect()]
}

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
