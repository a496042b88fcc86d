//! Publishing, finding events and streams over HTTP: `/v5.0/<company>/…`.

pub mod find;
pub mod found;
pub mod keys;
pub mod only;
pub mod people;
pub mod settings;
pub mod tokens;
pub mod verbs;
pub mod watch;
pub mod wire;
