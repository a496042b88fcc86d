//! The ways in: every wire protocol we speak, and the one loop that reads and writes sockets.
//!
//! This file puts the protocols together: what is an HTTP route, what is an upgrade. Invariant: a
//! protocol is chosen by the path alone, never by looking into frames.

pub mod account;
pub mod channels;
pub mod conversation;
pub mod deflate;
pub mod docs;
pub mod events;
pub mod extract;
pub mod finding;
pub mod frame;
pub mod gzip;
pub mod inbound;
pub mod json;
pub mod lane;
pub mod line;
pub mod names;
pub mod notices;
pub mod operations;
pub mod pages;
pub mod pump;
pub mod relay;
pub mod reply;
pub mod rest;
pub mod session;
pub mod shapes;
pub mod socket;
pub mod speech;
pub mod streams;
pub mod tether;
pub mod tls;
pub mod traffic;
pub mod upgrade;

use crate::protocol::upgrade::Door;
use actix_web::web::{self, ServiceConfig};

/// Registers all HTTP routes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .configure(operations::routes)
        .configure(pages::routes)
        .configure(docs::routes)
        .configure(account::verbs::routes)
        .configure(session::verbs::routes)
        .configure(notices::verbs::routes)
        .configure(session::transports::routes)
        .configure(rest::verbs::routes)
        .configure(channels::verbs::routes)
        .default_service(web::to(operations::unknown));
}

/// Finds the door of a path, whichever protocol is behind it.
pub fn door(path: &str) -> Option<Door<'_>> {
    DOORS.iter().find_map(|door| door(path))
}

/// Every protocol that has sockets.
const DOORS: &[fn(&str) -> Option<Door<'_>>] = &[session::verbs::door, notices::verbs::door, channels::socket::door];
