//! How many connections there are, and a place for each.
//!
//! Invariant: a place is given back exactly once, when its seat is dropped.

use crate::broker::Broker;
use crate::broker::watching::Watched;
use crate::domain::error::{Code, Refusal};
use crate::domain::limits::Limits;
use crate::domain::session_id::SessionId;
use crate::domain::ticket::{Ticket, TicketId};
use crate::domain::token::{Access, Token};
use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::cell::Cell;
use std::collections::{HashMap, HashSet, hash_map};
use std::net::SocketAddr;
use std::sync::Arc;

/// The connections of a server, counted.
#[derive(Default)]
pub(super) struct Seats {
    counts: Mutex<Counts>,
    /// The tickets of live connections; no more than there are connections.
    tickets: Mutex<HashSet<TicketId>>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_company: HashMap<i64, usize>,
}

/// What a connection was let in with.
#[derive(Clone)]
pub enum Entry {
    /// A session.
    Session(SessionId),
    /// A connection token of channels.
    Channels(Ticket),
    /// An origin that the company approves of, or a key of the company's.
    Notices {
        /// Whether it was a key.
        has_key: bool,
    },
}

/// A place for one connection; dropping it gives the place back.
pub struct Seat {
    /// Who sits here and what they may do.
    pub access: Access,
    /// What the connection was let in with.
    pub entry: Entry,
    pub(super) broker: Arc<Broker>,
    /// How it is listed, once it has a connection.
    pub(super) watched: Option<Arc<Watched>>,
    /// Whether its session counts as one without this connection.
    pub(super) rests: Cell<bool>,
}

impl Seats {
    /// Counts a connection in; refused with `limit.connections`.
    pub(super) fn enter(&self, token: &Token, limits: &Limits, metrics: &Metrics) -> Result<(), Refusal> {
        let mut counts = self.counts.lock();
        let (most, most_each) = (limits.max_connections, limits.max_company_connections);
        if counts.total >= most {
            let text = format!("{most} connections are open, more are not allowed");
            return Err(Refusal::new(Code::LimitConnections, text));
        }
        let of_company = counts.by_company.entry(token.company_id).or_default();
        if *of_company >= most_each {
            let text = format!("a company has at most {most_each} connections");
            return Err(Refusal::new(Code::LimitConnections, text));
        }
        *of_company += 1;
        counts.total += 1;
        drop(counts);
        metrics.connections.inc();
        metrics.connections_opened.inc();
        Ok(())
    }

    /// Takes note of a ticket's connection; refused with `ticket.used` while it has another.
    pub(super) fn claim(&self, entry: &Entry) -> Result<(), Refusal> {
        if let Entry::Channels(ticket) = entry
            && !self.tickets.lock().insert(ticket.id)
        {
            let text = "a live connection has this token; each client needs its own";
            return Err(Refusal::new(Code::TicketUsed, text));
        }
        Ok(())
    }

    /// The connection has ended.
    pub(super) fn release(&self, entry: &Entry) {
        if let Entry::Channels(ticket) = entry {
            self.tickets.lock().remove(&ticket.id);
        }
    }

    /// Counts a connection out.
    pub(super) fn leave(&self, token: &Token, metrics: &Metrics) {
        let mut counts = self.counts.lock();
        counts.total -= 1;
        if let hash_map::Entry::Occupied(mut of_company) = counts.by_company.entry(token.company_id) {
            *of_company.get_mut() -= 1;
            if *of_company.get() == 0 {
                of_company.remove();
            }
        }
        drop(counts);
        metrics.connections.dec();
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.counts.lock().total
    }
}

impl Seat {
    /// Where the peer of the connection that sits here is.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.watched.as_ref().and_then(|watched| watched.peer)
    }

    /// The product this seat is in.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(watched) = &self.watched {
            self.broker.watching.leave(watched);
        }
        self.broker.seats.leave(&self.access.token, &self.broker.metrics);
        self.broker.seats.release(&self.entry);
        self.rest();
    }
}
