//! The answers of an operation that refuse: those of one status are one answer.

use crate::domain::error::Code;
use crate::protocol::shapes;
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Header, RefOr, Response};

/// Where a refusal has its code.
#[derive(Clone, Copy)]
pub enum CodeAt {
    /// In its head.
    Head,
    /// At the top.
    Top,
}

/// The answer that refuses with one of these codes.
pub fn refusal(schema: &RefOr<Schema>, at: CodeAt, codes: &[Code]) -> Response {
    let names: Vec<String> = codes.iter().map(|code| format!("`{}`", code.entry().code)).collect();
    let narrowed = ObjectBuilder::new().property("code", shapes::codes(codes));
    let narrowed = match at {
        CodeAt::Head => ObjectBuilder::new().property("head", narrowed),
        CodeAt::Top => narrowed,
    };
    let schema = AllOfBuilder::new().item(schema.clone()).item(narrowed);
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let mut response = ResponseBuilder::new().description(names.join(", "));
    if codes.iter().any(|code| code.entry().retry) {
        let seconds = ObjectBuilder::new().schema_type(SchemaType::Type(Type::Integer));
        let mut header = Header::new(seconds.build());
        header.description = Some("Seconds until it is worth another try.".to_owned());
        response = response.header("Retry-After", header);
    }
    response.content("application/json", content).build()
}
