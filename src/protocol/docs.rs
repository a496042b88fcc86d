//! The HTTP API described: for programs at `/openapi.json`, for people at `/docs`.
//!
//! Puts together what the protocols' wire types say of themselves. Knows no broker. Invariant:
//! nothing here is said twice; the page is made from the document, and the document from types and
//! the closed list of refusals.

mod document;
mod events;
mod operation;
mod security;
mod service;
mod sessions;
mod streams;

pub use document::document;
