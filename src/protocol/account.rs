//! How people sign in: `/login`, by password, or by a link that is good once.

pub mod verbs;
pub mod wire;
