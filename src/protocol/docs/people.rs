//! The operations of users and of the audit; for users who manage.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::rest::people::{AuditQuery, UserBody, UserChangeBody};
use crate::protocol::shapes::Nothing;
use crate::protocol::shapes::account::{AuditEntry, NewUser, ResetLink, User};
use utoipa::openapi::path::HttpMethod::{self, Delete, Get, Post, Put};

const TAG: &str = "Users and audit";
const ALL: &str = "/v5.0/{company}/user";
const ONE: &str = "/v5.0/{company}/user/{name}";
const RESET: &str = "/v5.0/{company}/user/{name}/reset";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![
        asks(Get, ALL, "listUsers", "Lists the users.").answers(200, "The users.", Shape::list_of::<User>()),
        asks(Post, ALL, "addUser", "Adds a user.")
            .body(Shape::of::<UserBody>())
            .answers(
                201,
                "The user, with a one-time link that sets a password.",
                Shape::of::<NewUser>(),
            )
            .refuses(&[Code::NameMalformed, Code::UserExists, Code::LimitUsers]),
        asks(Put, ONE, "changeUser", "Changes whether a user manages.")
            .body(Shape::of::<UserChangeBody>())
            .answers(200, "The user.", Shape::of::<User>())
            .refuses(&[Code::UserUnknown, Code::UserLast]),
        asks(
            Delete,
            ONE,
            "removeUser",
            "Removes a user, whose token and logins end at once.",
        )
        .answers(200, "Removed.", Shape::of::<Nothing>())
        .refuses(&[Code::UserUnknown, Code::UserLast]),
        asks(Post, RESET, "resetUser", "Ends a user's password and logins.")
            .answers(
                200,
                "A one-time link that sets another password.",
                Shape::of::<ResetLink>(),
            )
            .refuses(&[Code::UserUnknown]),
        asks(
            Get,
            "/v5.0/{company}/audit",
            "audit",
            "Shows who did what, the newest first.",
        )
        .query::<AuditQuery>()
        .answers(200, "The entries.", Shape::list_of::<AuditEntry>()),
    ]
}

fn asks(method: HttpMethod, path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::new(TAG, method, path, id, summary)
        .by(Who::Asker)
        .refuses(&[Code::ScopeDenied])
}
