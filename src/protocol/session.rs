//! The session protocol: `POST /session`, then `/session/<id>/ws`.

pub mod objects;
pub mod verbs;
pub mod wire;
