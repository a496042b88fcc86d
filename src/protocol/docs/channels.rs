//! The operations of RootSocket's clients.

use crate::domain::error::Code;
use crate::protocol::channels::wire::{Message, TokenWish};
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::shapes::channels::{LiveConnections, Sent, Ticket};
use utoipa::openapi::path::HttpMethod::{self, Get, Post};
use utoipa::openapi::schema::Type;

const TAG: &str = "RootSocket clients";
const CONNECTIONS: &str = "/api/v1/connections/";
const JSON: &str = "application/json";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(Post, CONNECTIONS, "connectToken", "Makes a connection token.")
            .says(
                "It goes to one client, which connects with it within five minutes. It may do what the key may and the \
                 company's settings allow; its claims tell the client.",
            )
            .answers_plainly(200, "The token.", JSON, Shape::of::<Ticket>())
            .refuses(&[Code::ScopeDenied, Code::LimitRate]),
        asks(
            Get,
            CONNECTIONS,
            "liveConnections",
            "Lists live connections of channels, the newest 10000 at most.",
        )
        .says("With a master token those of the company, with a restricted one those whose tokens it made.")
        .answers_plainly(200, "The connections.", JSON, Shape::of::<LiveConnections>())
        .with_header("X-Total-Count", "How many there are.", Type::Integer),
        asks(Post, "/api/v1/tokens/", "channelToken", "Makes a channel token.")
            .says("With it a client subscribes to this channel where the company's settings ask for one.")
            .body(Shape::of::<TokenWish>())
            .answers_plainly(200, "The token.", JSON, Shape::of::<Ticket>())
            .refuses(&[Code::ChannelMalformed, Code::PathMalformed, Code::ScopeDenied]),
        asks(
            Post,
            "/api/v1/messages/",
            "sendMessage",
            "Sends a message to a channel.",
        )
        .says("Channel `a.b` of company `acme` is the stream `/acme/a/b`; its events have `{\"raw\":…}` for `elems`.")
        .body(Shape::of::<Message<'_>>())
        .answers_plainly(200, "The message was taken.", JSON, Shape::of::<Sent>())
        .refuses(SENDING),
        connect(),
    ]
}

/// What a message may be refused with, as any event.
const SENDING: &[Code] = &[
    Code::ChannelMalformed,
    Code::PathMalformed,
    Code::ScopeDenied,
    Code::StreamUnknown,
    Code::EventMalformed,
    Code::EventFiltered,
    Code::LimitBatch,
    Code::LimitDepth,
    Code::LimitPending,
    Code::LimitRate,
    Code::LogFull,
    Code::LogUnavailable,
];

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Keyholder)
        .refuses(&[Code::LimitAttempts])
}

fn connect() -> Operation {
    let path = "/api/v1/ws/{token}/";
    Operation::new(
        TAG,
        Get,
        path,
        "connectChannels",
        "Connects a WebSocket with a connection token.",
    )
    .says("An upgrade (RFC 6455, version 13). Each token is for one connection at a time.")
    .answers_nothing(101, "The socket is open.")
    .refuses(&[
        Code::UpgradeMalformed,
        Code::TicketRefused,
        Code::TicketExpired,
        Code::TicketUsed,
        Code::TokenRevoked,
        Code::TokenExpired,
        Code::OriginDenied,
        Code::AddressDenied,
        Code::LimitConnections,
        Code::ServerStopping,
        Code::ServerFault,
    ])
}
