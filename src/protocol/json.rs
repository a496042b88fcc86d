//! JSON as it arrives: objects where objects are wanted, and errors that say where it stops being
//! right.
//!
//! Serde takes an array for an object whose members are in the same order; nobody means that.

use crate::domain::error::{Code, Refusal};
use serde::Deserialize;

/// The text of a body; refused with `body.malformed`.
pub fn text(body: &[u8]) -> Result<&str, Refusal> {
    std::str::from_utf8(body).map_err(|_| Refusal::new(Code::BodyMalformed, "the body is not UTF-8"))
}

/// Parses a JSON object; refused with `body.malformed`.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    if !text.trim_start().starts_with('{') {
        return Err(Refusal::new(Code::BodyMalformed, "a JSON object is wanted"));
    }
    value(text)
}

/// Parses any JSON value; refused with `body.malformed`.
pub fn value<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(text).map_err(|error| refused(&error))
}

/// What a body is refused with, by what the parser says.
pub fn refused(error: &serde_json::Error) -> Refusal {
    Refusal::new(Code::BodyMalformed, format!("the body is not understood: {error}"))
}
