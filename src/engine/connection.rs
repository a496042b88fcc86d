//! One socket's half of a conversation: what waits for it, and where it is in which streams.
//!
//! Does not know sockets; `P` is whatever the caller wants to find again with a connection.

use crate::domain::event::{Event, Wire};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::position::Gap;
use crate::engine::outbox::Outbox;
use crate::engine::pulse::{Moment, Vitals};
use bytes::{Bytes, BytesMut};
use slotmap::new_key_type;
use std::collections::VecDeque;
use std::sync::Arc;

new_key_type! {
    /// Names a connection within its worker; never reused for another.
    pub struct ConnectionKey;
}

/// How a wire protocol turns what it must say into framed bytes.
pub struct Dialect {
    /// Which of an event's frames is this protocol's.
    pub wire: Wire,
    /// An event.
    pub event: fn(&Event) -> Bytes,
    /// A notice of events that will not come, of a stream that its reader may have a name for.
    pub gap: fn(&StreamId, Option<&str>, &Gap) -> Bytes,
}

/// One socket's half of a conversation.
pub struct Connection<P> {
    /// The caller's.
    pub port: P,
    /// The token that opened the session.
    pub token: TokenKey,
    /// When it was last heard and pinged.
    pub vitals: Vitals,
    /// What waits to be written.
    pub outbox: Outbox,
    /// Nothing but replies is pushed any more.
    pub closing: bool,
    /// Events put into its outbox so far.
    pub sent: u64,
    pub(super) dialect: &'static Dialect,
    /// Sorted by stream.
    pub(super) subscriptions: Vec<(StreamId, u32)>,
    /// Subscriptions that catch up, the next one first.
    pub(super) behind: VecDeque<(StreamId, u32)>,
    /// Whether it stands in the shard's queue for pages of the log.
    pub(super) waiting: bool,
    /// Whether a page is being read for it; there is one at a time.
    pub(super) reading: bool,
    pub(super) dirty: bool,
}

impl<P> Connection<P> {
    /// Nothing subscribed, nothing waiting.
    pub fn new(port: P, dialect: &'static Dialect, token: TokenKey, now: Moment) -> Self {
        Self {
            port,
            token,
            vitals: Vitals {
                heard: now,
                pinged: now,
            },
            outbox: Outbox::default(),
            closing: false,
            sent: 0,
            dialect,
            subscriptions: Vec::new(),
            behind: VecDeque::new(),
            waiting: false,
            reading: false,
            dirty: false,
        }
    }

    /// How many streams it follows.
    pub fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// Where a stream stands, or would stand, among the subscriptions.
    pub(super) fn find(&self, stream: &StreamId) -> Result<usize, usize> {
        self.subscriptions.binary_search_by_key(stream, |(stream, _)| *stream)
    }

    /// Says that events will not come.
    pub(super) fn tell(&mut self, stream: &StreamId, name: Option<&str>, gap: &Gap) {
        self.outbox.push_reply((self.dialect.gap)(stream, name, gap));
    }

    /// A subscription is behind and wants a page of the log.
    pub(super) fn lag(&mut self, key: ConnectionKey, at: (StreamId, u32), reads: &mut VecDeque<ConnectionKey>) {
        self.behind.push_back(at);
        self.queue(key, reads);
    }

    /// Joins the queue for pages of the log, once, if a subscription is behind.
    pub(super) fn queue(&mut self, key: ConnectionKey, reads: &mut VecDeque<ConnectionKey>) {
        if !self.waiting && !self.reading && !self.behind.is_empty() {
            self.waiting = true;
            reads.push_back(key);
        }
    }

    /// Notes that there is something to write, once.
    pub(super) fn mark(&mut self, key: ConnectionKey, dirty: &mut Vec<ConnectionKey>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(key);
        }
    }
}

/// The frames of a run as one piece; one event alone is shared as it is.
pub fn join(run: &[Arc<Event>], dialect: &Dialect) -> Bytes {
    let frame = |event: &Arc<Event>| event.frame(dialect.wire, dialect.event);
    if let [event] = run {
        return frame(event);
    }
    let frames: Vec<Bytes> = run.iter().map(frame).collect();
    let mut joined = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    frames.iter().for_each(|frame| joined.extend_from_slice(frame));
    joined.freeze()
}
