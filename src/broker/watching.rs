//! Who is connected: every live connection with what it has received, by company.
//!
//! A connection's numbers are written by its own worker only, when it writes to the socket, and
//! read by whoever asks; the lock here is for those who come, go and look. Invariants: what is
//! shown of a company tells nothing of another; a connection is listed as long as it has its seat.

use crate::broker::Broker;
use crate::broker::seats::{Entry, Seat};
use crate::database::now_ms;
use crate::domain::audit::{Action, Note};
use crate::domain::error::{Code, Error, Refusal};
use crate::domain::event::Wire;
use crate::domain::id::{ConnectionId, TokenKey};
use crate::domain::ticket::Ticket;
use crate::domain::token::{Access, Token};
use crate::engine::connection::ConnectionKey;
use crate::hub::WorkerId;
use crate::hub::mailbox::Notice;
use parking_lot::{Mutex, RwLock};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Connections counted together while nobody else may come or go.
const COUNTED: usize = 512;
/// Bits of a connection's name below the time at which its company's first one came, so that no
/// name is given again after a restart.
const NAME_BITS: u32 = 20;

/// One live connection. All its numbers are exact at the last time that its worker wrote to it.
pub struct Watched {
    /// Its name within its company.
    pub id: ConnectionId,
    /// The token of its session.
    pub token: Arc<Token>,
    /// What it speaks.
    pub wire: Wire,
    /// Where the peer is.
    pub peer: Option<SocketAddr>,
    /// When it came, in milliseconds since 1970.
    pub since_ms: u64,
    /// What it was let in with, if it is one of channels.
    pub ticket: Option<Box<Ticket>>,
    at: (WorkerId, ConnectionKey),
    sent: AtomicU64,
    waiting: AtomicU64,
    subscriptions: AtomicU32,
}

/// A connection's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events handed to its socket since it came.
    pub sent: u64,
    /// Bytes that wait for its socket to take them.
    pub waiting: u64,
    /// Streams that it follows.
    pub subscriptions: u32,
}

impl Watched {
    /// Writes its numbers down; its own worker's only.
    pub fn note(&self, numbers: Numbers) {
        self.sent.store(numbers.sent, Ordering::Relaxed);
        self.waiting.store(numbers.waiting, Ordering::Relaxed);
        self.subscriptions.store(numbers.subscriptions, Ordering::Relaxed);
    }

    /// Its numbers.
    pub fn numbers(&self) -> Numbers {
        Numbers {
            sent: self.sent.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            subscriptions: self.subscriptions.load(Ordering::Relaxed),
        }
    }
}

/// All live connections, a room for each company that ever had one or published.
#[derive(Default)]
pub(super) struct Watching(RwLock<HashMap<i64, Arc<Room>>>);

/// One company's connections and what it did.
#[derive(Default)]
pub(super) struct Room {
    live: Mutex<Live>,
    /// Events published since the start.
    pub(super) published: AtomicU64,
    /// Events handed to connections that have ended.
    sent_before: AtomicU64,
    /// The most that was ever told as delivered.
    told: AtomicU64,
    /// Connections refused for want of room, and when the last one was, in milliseconds since 1970.
    refused: AtomicU64,
    refused_ms: AtomicU64,
}

#[derive(Default)]
struct Live {
    connections: BTreeMap<ConnectionId, Arc<Watched>>,
    by_token: HashMap<TokenKey, usize>,
    /// The name that was given last.
    newest: ConnectionId,
}

/// What a company's connections come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// How many there are.
    pub connections: usize,
    /// Streams that they follow.
    pub subscriptions: u64,
    /// Events handed to sockets since the start, those of connections that have ended included.
    pub delivered: u64,
}

impl Watching {
    /// A company's room.
    pub(super) fn room(&self, company_id: i64) -> Arc<Room> {
        if let Some(room) = self.0.read().get(&company_id) {
            return Arc::clone(room);
        }
        Arc::clone(self.0.write().entry(company_id).or_default())
    }

    /// A connection has ended.
    pub(super) fn leave(&self, watched: &Watched) {
        let room = self.room(watched.token.company_id);
        let mut live = room.live.lock();
        live.connections.remove(&watched.id);
        if let Some(count) = live.by_token.get_mut(&watched.token.key) {
            *count -= 1;
            if *count == 0 {
                live.by_token.remove(&watched.token.key);
            }
        }
        room.sent_before.fetch_add(watched.numbers().sent, Ordering::Relaxed);
    }
}

impl Room {
    fn enter(&self, now_ms: u64, make: impl FnOnce(ConnectionId) -> Watched) -> Arc<Watched> {
        let mut live = self.live.lock();
        if live.newest == ConnectionId::default() {
            live.newest = ConnectionId(now_ms << NAME_BITS);
        }
        let id = ConnectionId(live.newest.0 + 1);
        live.newest = id;
        let watched = Arc::new(make(id));
        *live.by_token.entry(watched.token.key).or_default() += 1;
        live.connections.insert(id, Arc::clone(&watched));
        watched
    }

    /// Events were published.
    pub(super) fn publish(&self, count: usize) {
        self.published.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A connection was refused for want of room.
    pub(super) fn refuse(&self, now_ms: u64) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.refused_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// How many connections were, and when the last one was, in milliseconds since 1970.
    pub(super) fn refused(&self) -> (u64, u64) {
        (
            self.refused.load(Ordering::Relaxed),
            self.refused_ms.load(Ordering::Relaxed),
        )
    }

    /// Connections of channels, the newest `most` of those that are `wanted`, and how many these are; looked
    /// through a few at a time.
    fn tickets(&self, most: usize, wanted: impl Fn(&Watched) -> bool) -> (Vec<Arc<Watched>>, usize) {
        let (mut found, mut total) = (Vec::new(), 0);
        let mut next = Some(Unbounded);
        while let Some(to) = next.take() {
            let live = self.live.lock();
            let some = live.connections.range((Unbounded, to)).rev().take(COUNTED);
            for (place, (id, watched)) in some.enumerate() {
                if watched.ticket.is_some() && wanted(watched) {
                    total += 1;
                    if found.len() < most {
                        found.push(Arc::clone(watched));
                    }
                }
                next = (place + 1 == COUNTED).then_some(Excluded(*id));
            }
        }
        (found, total)
    }

    /// Adds up, a few at a time, so that those who come and go hardly wait.
    pub(super) fn sums(&self) -> Sums {
        // Read first: who ends meanwhile is missed rather than counted twice.
        let mut delivered = self.sent_before.load(Ordering::Relaxed);
        let mut subscriptions = 0;
        let mut next = Some(Unbounded);
        while let Some(from) = next.take() {
            let live = self.live.lock();
            let some = live.connections.range((from, Unbounded)).take(COUNTED);
            for (place, (id, watched)) in some.enumerate() {
                let numbers = watched.numbers();
                delivered += numbers.sent;
                subscriptions += u64::from(numbers.subscriptions);
                next = (place + 1 == COUNTED).then_some(Excluded(*id));
            }
        }
        let told = self.told.fetch_max(delivered, Ordering::Relaxed);
        Sums {
            connections: self.live.lock().connections.len(),
            subscriptions,
            delivered: delivered.max(told),
        }
    }
}

impl Seat {
    /// Lists the connection that sits here; its worker writes its numbers into what is returned.
    pub fn show(&mut self, at: (WorkerId, ConnectionKey), wire: Wire, peer: Option<SocketAddr>) -> Arc<Watched> {
        let token = &self.access.token;
        let room = self.broker.watching.room(token.company_id);
        let since_ms = now_ms();
        let ticket = match &self.entry {
            Entry::Channels(ticket) => Some(Box::new(ticket.clone())),
            Entry::Session(_) | Entry::Notices { .. } => None,
        };
        let watched = room.enter(since_ms, |id| Watched {
            id,
            token: Arc::clone(token),
            wire,
            peer,
            since_ms,
            ticket,
            at,
            sent: AtomicU64::default(),
            waiting: AtomicU64::default(),
            subscriptions: AtomicU32::default(),
        });
        self.watched = Some(Arc::clone(&watched));
        watched
    }
}

impl Broker {
    /// A company's connections, the newest first, and how many there are in all. For its users.
    pub fn connections(
        &self,
        access: &Access,
        start: usize,
        limit: usize,
    ) -> Result<(Vec<Arc<Watched>>, usize), Refusal> {
        access.require_user()?;
        let room = self.watching.room(access.token.company_id);
        let live = room.live.lock();
        let page = live.connections.values().rev().skip(start).take(limit);
        Ok((page.cloned().collect(), live.connections.len()))
    }

    /// The newest `most` connections of channels, and how many there are: for a user those of the company, for
    /// a restricted token those that it let in.
    pub fn channel_connections(&self, access: &Access, most: usize) -> (Vec<Arc<Watched>>, usize) {
        let room = self.watching.room(access.token.company_id);
        let sees_all = access.token.user.is_some();
        room.tickets(most, |watched| sees_all || watched.token.key == access.token.key)
    }

    /// Has a connection told goodbye; refused with `connection.unknown`. For users of its company.
    pub async fn close_connection(&self, access: &Access, id: ConnectionId) -> Result<(), Error> {
        access.require_user()?;
        let room = self.watching.room(access.token.company_id);
        let found = room.live.lock().connections.get(&id).cloned();
        let unknown = || Refusal::new(Code::ConnectionUnknown, format!("no connection {id}"));
        let watched = found.ok_or_else(unknown)?;
        let (worker, key) = watched.at;
        self.hub.tell_one(worker, Notice::ConnectionClosed(key));
        let detail = json!({"token": watched.token.key, "label": watched.token.label, "user": watched.token.user});
        Ok(self
            .note(access, Note::with(Action::ConnectionClosed, id, detail))
            .await?)
    }

    /// How many connections a token has.
    pub fn connections_of(&self, token: &Token) -> usize {
        let room = self.watching.room(token.company_id);
        let live = room.live.lock();
        live.by_token.get(&token.key).copied().unwrap_or(0)
    }
}
