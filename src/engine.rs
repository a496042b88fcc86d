//! The machines: plain structs that decide, with no I/O, no locks and no clock of their own.
//!
//! Invariant: given the same calls they do the same; time and bytes come in as arguments.

pub mod aggregate;
pub mod connection;
pub mod filter;
pub mod index;
pub mod keys;
pub mod ledger;
pub mod outbox;
pub mod pulse;
pub mod record;
pub mod resume;
pub mod search;
pub mod shard;
pub mod subscription;
