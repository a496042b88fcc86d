//! The operations of signing keys.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::rest::keys::KeyJson;
use crate::protocol::shapes::{Nothing, SigningKey};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

const TAG: &str = "Signing keys";
const ALL: &str = "/v5.0/{company}/key";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(
            Get,
            ALL,
            "listKeys",
            "Lists the company's signing keys, good or not, the newest first.",
        )
        .answers(200, "The keys.", Shape::list_of::<SigningKey>()),
        asks(
            Post,
            ALL,
            "addKey",
            "Adds a key; sessions are then opened with JWTs that it signed.",
        )
        .body(Shape::of::<KeyJson>())
        .answers(201, "The key.", Shape::of::<SigningKey>())
        .refuses(&[
            Code::PathMalformed,
            Code::LimitPatterns,
            Code::LimitText,
            Code::LimitSigning,
        ]),
        asks(
            Delete,
            "/v5.0/{company}/key/{id}",
            "removeKey",
            "Revokes a key and ends what it opened.",
        )
        .answers(200, "Revoked.", Shape::of::<Nothing>())
        .refuses(&[Code::NameMalformed, Code::TokenUnknown]),
    ]
}

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
