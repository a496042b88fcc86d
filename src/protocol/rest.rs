//! Publishing and streams over HTTP: `/v5.0/<company>/…`.

pub mod verbs;
pub mod wire;
