//! The values everything else is made of: parsed once at the edge, then trusted.
//!
//! Knows no storage, no wire and no clock; a fault merely carries what its source said.
//! Invariant: a value of one of these types is valid.

pub mod audit;
pub mod company;
pub mod durability;
pub mod error;
pub mod event;
pub mod id;
pub mod limits;
pub mod meta;
pub mod news;
pub mod origin;
pub mod path;
pub mod payload;
pub mod person;
pub mod position;
pub mod scope;
pub mod session_id;
pub mod signing;
pub mod stream;
pub mod ticket;
pub mod token;
pub mod visitor;
