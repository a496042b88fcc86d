//! The session protocol: `POST /session`, then `/session/<id>/ws`, or one of the ways over plain HTTP.

pub mod objects;
pub mod outflow;
pub mod standing;
pub mod transports;
pub mod verbs;
pub mod wire;
