//! The operations of a company's settings, and the socket whose clients they let in.

use crate::domain::error::Code;
use crate::protocol::docs::operation::{Operation, Shape, Who};
use crate::protocol::shapes::company::{CompanyChange, CompanySettings};
use utoipa::openapi::path::HttpMethod::{Get, Put};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

const TAG: &str = "The company";
const SETTINGS: &str = "/v5.0/{company}/settings";

/// All of them.
pub fn operations() -> Vec<Operation> {
    vec![show(), change(), connect()]
}

fn show() -> Operation {
    Operation::new(TAG, Get, SETTINGS, "companySettings", "Shows the company's settings.")
        .by(Who::Asker)
        .answers(200, "The settings.", Shape::of::<CompanySettings>())
        .refuses(&[Code::ScopeDenied])
}

fn change() -> Operation {
    let summary = "Changes the company's settings; what is not named stays as it is.";
    Operation::new(TAG, Put, SETTINGS, "changeCompanySettings", summary)
        .by(Who::Asker)
        .body(Shape::of::<CompanyChange>())
        .answers(200, "The settings.", Shape::of::<CompanySettings>())
        .refuses(&[Code::ScopeDenied])
}

fn connect() -> Operation {
    let text = || ObjectBuilder::new().schema_type(SchemaType::Type(Type::String));
    let path = "/users/{company}/ws";
    let summary = "Connects a WebSocket to the company's notices.";
    Operation::new(TAG, Get, path, "connectToNotices", summary)
        .says(
            "An upgrade (RFC 6455, version 13), as clients of the users server ask for it. Whoever has neither a key of the \
             company's nor an origin that `approvedSocketDomains` approves of gets the upgrade too, and then the end without \
             a close frame, for that is what those clients wait for. Frames are those of Webinate users 0.3.2.",
        )
        .takes(ParameterIn::Header, "users-api-key", "A token that may read /<company>/notices.", text())
        .answers_nothing(101, "The socket is open, for the time being.")
        .refuses(&[Code::UpgradeMalformed])
}
