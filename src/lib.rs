//! Streamgate hands out short-lived session ids and pushes the events of streams to whoever holds
//! one. `ARCHITECTURE.md` is the map; `broker` is what the product does.

pub mod domain;

pub mod engine;

pub mod broker;
pub mod catalogue;
pub mod database;
pub mod hub;
pub mod log;
pub mod metrics;
pub mod sessions;

pub mod protocol;

pub mod cli;
pub mod config;
pub mod server;
