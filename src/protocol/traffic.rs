//! Every HTTP request, counted and logged, whichever way it was answered.
//!
//! A line for each that was refused, and for each that was not at the level `debug` only: who
//! publishes a hundred thousand times a second wants no line for each time.

use crate::broker::Broker;
use actix_web::http::Method;
use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

/// Requests on a worker after which others get a turn, however fast they follow each other.
const REQUESTS: u32 = 32;

/// A request that is being answered.
pub struct Visit {
    start: Instant,
}

/// What is told of it.
pub struct Told<'a> {
    /// Who came.
    pub peer: Option<SocketAddr>,
    /// With which method.
    pub method: &'a Method,
    /// Stands for the address, which may hold a session's id; none for an address that is none.
    pub route: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
}

impl Visit {
    /// A request has come.
    pub async fn begin() -> Self {
        thread_local!(static SERVED: Cell<u32> = const { Cell::new(0) });
        let start = Instant::now();
        let served = SERVED.replace(SERVED.get().wrapping_add(1));
        if served.is_multiple_of(REQUESTS) {
            // A connection that pipelines without end would keep its worker to itself.
            tokio::task::yield_now().await;
        }
        Self { start }
    }

    /// It has been answered.
    pub fn end(self, broker: &Broker, told: &Told) {
        broker.metrics().count_request(told.status);
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    target: "streamgate::access",
                    $level,
                    peer = told.peer.map(tracing::field::display),
                    method = %told.method,
                    route = told.route,
                    status = told.status,
                    micros = self.start.elapsed().as_micros() as u64,
                    "request"
                )
            };
        }
        match told.status {
            ..400 => line!(tracing::Level::DEBUG),
            400.. => line!(tracing::Level::INFO),
        }
    }
}
