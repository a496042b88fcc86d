//! The protocol of RootSocket's clients: `/api/v1/{connections,tokens,messages}/`, and the socket
//! `/api/v1/ws/<token>/`.
//!
//! Facts are those of rootsocketjs and of RootSocket's public documentation; what neither says is
//! decided here and told in the README.

pub mod channel;
pub mod socket;
pub mod tickets;
pub mod verbs;
pub mod wire;
