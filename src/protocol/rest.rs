//! Publishing, finding events and streams over HTTP: `/v5.0/<company>/…`, and `/v4.0` and `/v0.1` by the
//! names that flowthings had.

pub mod aggregate;
pub mod found;
pub mod keys;
pub mod many;
pub mod people;
pub mod settings;
pub mod streams;
pub mod tokens;
pub mod verbs;
pub mod watch;
pub mod wire;
