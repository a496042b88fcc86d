//! The operations of tokens.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::rest::tokens::{CanBody, RotateBody, TokenBody};
use crate::protocol::shapes::Nothing;
use crate::protocol::shapes::account::{NewToken, Token, Verdict};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};
use utoipa::openapi::schema::Type;

const TAG: &str = "Tokens";
const ALL: &str = "/v5.0/{company}/token";
const ONE: &str = "/v5.0/{company}/token/{id}";
const ROTATE: &str = "/v5.0/{company}/token/{id}/rotate";
const CAN: &str = "/v5.0/{company}/token/{id}/can";

/// What a new token may be refused with.
pub const NEW: &[Code] = &[
    Code::PathMalformed,
    Code::LimitPatterns,
    Code::LimitText,
    Code::LimitTokens,
];

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(
            Get,
            ALL,
            "listTokens",
            "Lists tokens, the newest first, those that have ended last.",
        )
        .in_pages()
        .answers(200, "The tokens.", Shape::list_of::<Token>())
        .with_header("X-Total-Count", "How many there are.", Type::Integer),
        asks(Post, ALL, "addToken", "Makes a restricted token.")
            .body(Shape::of::<TokenBody>())
            .answers(201, "The token, with its secret, this once.", Shape::of::<NewToken>())
            .refuses(NEW),
        asks(Get, ONE, "showToken", "Shows a token.")
            .answers(200, "The token.", Shape::of::<Token>())
            .refuses(&[Code::TokenUnknown]),
        asks(
            Delete,
            ONE,
            "revokeToken",
            "Revokes a token; its sockets end within a second.",
        )
        .answers(200, "Revoked.", Shape::of::<Nothing>())
        .refuses(&[Code::TokenUnknown]),
        asks(
            Post,
            ROTATE,
            "rotateToken",
            "Makes a new token of the same rights; the old one ends after a while.",
        )
        .optional_body(Shape::of::<RotateBody>())
        .answers(
            201,
            "The new token, with its secret, this once.",
            Shape::of::<NewToken>(),
        )
        .refuses(&[Code::TokenUnknown, Code::TokenEnded, Code::LimitTokens]),
        asks(
            Post,
            CAN,
            "canToken",
            "Tells whether a token may do something, and by which rule.",
        )
        .body(Shape::of::<CanBody>())
        .answers(200, "Whether it may.", Shape::of::<Verdict>())
        .refuses(&[Code::TokenUnknown, Code::PathMalformed]),
    ]
}

/// What all of them may be refused with.
pub fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
