//! The operations of signing in.

use crate::domain::error::Code;
use crate::protocol::account::wire::{Credentials, Link, PasswordJson};
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::shapes::Nothing;
use crate::protocol::shapes::account::{SignedIn, Welcome};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post};

const TAG: &str = "Signing in";
const LOGIN: &str = "/login";
/// What a foreign page and one who tries again and again are refused with.
const STRANGERS: &[Code] = &[
    Code::OriginDenied,
    Code::AuthRefused,
    Code::LimitAttempts,
    Code::ServerStopping,
    Code::ServerFault,
];

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(Post, LOGIN, "signIn", "Signs in with a password.")
            .says("The answer sets the cookie `streamgate`, which counts with the header `X-Streamgate-Page: 1` only.")
            .body(Shape::of::<Credentials>())
            .answers(201, "Signed in.", Shape::of::<SignedIn>())
            .refuses(STRANGERS),
        asks(Get, LOGIN, "whoIsSignedIn", "Tells who is signed in.")
            .by(Who::Visitor)
            .answers(200, "Who is; null if nobody is.", Shape::of::<SignedIn>().or_null())
            .refuses(&[Code::OriginDenied, Code::ServerFault, Code::ServerStopping]),
        asks(Delete, LOGIN, "signOut", "Signs out.")
            .by(Who::Visitor)
            .answers(200, "Nobody is signed in now.", Shape::of::<Nothing>())
            .refuses(&[Code::OriginDenied, Code::ServerFault, Code::ServerStopping]),
        asks(Post, "/login/link", "whoseLink", "Tells whose one-time link it is.")
            .body(Shape::of::<Link>())
            .answers(200, "Whose it is.", Shape::of::<Welcome>())
            .refuses(STRANGERS)
            .refuses(&[Code::LinkUnknown]),
        asks(Post, "/login/password", "setPassword", "Sets a password.")
            .by(Who::Visitor)
            .says(
                "With `code`, the first or a new one through a one-time link, which also signs in. With `old` and a login, \
                 another one, which ends that user's other logins.",
            )
            .body(Shape::of::<PasswordJson>())
            .answers(201, "Set through a link, and signed in.", Shape::of::<SignedIn>())
            .answers(200, "Changed.", Shape::of::<SignedIn>())
            .refuses(STRANGERS)
            .refuses(&[Code::AuthMissing, Code::LinkUnknown, Code::PasswordMalformed]),
    ]
}

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
}
