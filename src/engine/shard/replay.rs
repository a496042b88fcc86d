//! A shard's subscriptions that are behind: whose turn it is to read the log, and what is pushed of
//! what was read.
//!
//! Invariant: what a page does not hold between a subscription's cursor and its own events is told
//! as a gap, once.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::{GapReason, Offset};
use crate::engine::connection::ConnectionKey;
use crate::engine::filter::{Filter, Subject};
use crate::engine::index::Subscriber;
use crate::engine::ledger::Page;
use crate::engine::outbox::Verdict;
use crate::engine::shard::Shard;
use crate::engine::subscription::{State, Subscription, WhenSlow};

/// Pages that are being read at once for all connections, so that those who are live are not kept
/// waiting by those who are not.
const OPEN_READS: usize = 4;
/// Bytes that may wait for a connection when it is given another page.
const REPLAY_BYTES: usize = 16_384;

/// A subscription that wants to read the log.
pub struct Read {
    /// The stream.
    pub stream: StreamId,
    /// After this place.
    pub after: Offset,
    /// Which part of what is there.
    pub part: Part,
    connection: ConnectionKey,
    slot: u32,
}

/// Which part of a stream a subscription that is behind wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it, from its cursor on.
    All,
    /// The newest event.
    Newest,
    /// None of it.
    Nothing,
}

impl<P> Shard<P> {
    /// The next page of the log that somebody has room for; whoever is given one gives it back
    /// with [`Shard::on_page`] or [`Shard::end_read`]. Whoever has no room asks again when its outbox
    /// is empty; whoever wants more stands at the end of the queue.
    pub fn next_read(&mut self) -> Option<Read> {
        while self.open_reads < OPEN_READS
            && let Some(key) = self.reads.pop_front()
        {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.waiting = false;
            if connection.closing || connection.outbox.bytes() > REPLAY_BYTES.min(self.outbox_limit / 2) {
                continue;
            }
            let Some((stream, slot)) = connection.behind.pop_front() else {
                continue;
            };
            let subscriber = self.index.get_mut(&stream, slot);
            if let Some(subscriber) = subscriber.filter(|subscriber| subscriber.connection == key) {
                connection.reading = true;
                self.open_reads += 1;
                return Some(subscriber.read(stream, slot));
            }
            connection.queue(key, &mut self.reads);
        }
        None
    }

    /// Nothing came of a page.
    pub fn end_read(&mut self, read: &Read) {
        self.open_reads -= 1;
        if let Some(connection) = self.connections.get_mut(read.connection) {
            connection.reading = false;
            connection.queue(read.connection, &mut self.reads);
        }
    }

    /// Whether somebody may want a page.
    pub fn wants_reads(&self) -> bool {
        !self.reads.is_empty() && self.open_reads < OPEN_READS
    }

    /// Pushes what was read as far as there is room, and tells what the log no longer has.
    pub fn on_page(&mut self, read: &Read, page: &Page) {
        self.end_read(read);
        let key = read.connection;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let subscriber = self.index.get_mut(&read.stream, read.slot);
        let Some(subscriber) = subscriber.filter(|subscriber| subscriber.connection == key) else {
            return;
        };
        let subscription = &mut subscriber.subscription;
        if subscription.state() == State::Live || !read.is_for(subscription) || connection.closing {
            return;
        }
        let filter = subscriber.terms.as_ref().and_then(|terms| terms.filter.as_ref());
        let name = subscriber.terms.as_ref().and_then(|terms| terms.name.as_deref());
        let reason = read.reason(subscription.state(), page);
        let mut is_full = false;
        for event in &page.events {
            if let Some(gap) = subscription.skip_to(event.offset, reason) {
                self.counts.missed += gap.count();
                connection.tell(&read.stream, name, &gap);
            }
            let is_wanted = filter.is_none_or(|filter| accepts(filter, event, self.now_ms));
            if is_wanted {
                let frame = event.frame(connection.dialect.wire, connection.dialect.event);
                is_full = connection.outbox.push(frame, self.outbox_limit) == Verdict::Full;
                if is_full {
                    break;
                }
                self.counts.delivered += 1;
                connection.sent += 1;
            }
            subscription.advance(event.offset);
        }
        if page.events.is_empty()
            && let Some(gap) = subscription.skip_to(page.head.next(), reason)
        {
            self.counts.missed += gap.count();
            connection.tell(&read.stream, name, &gap);
        }
        connection.mark(key, &mut self.dirty);
        if !is_full {
            subscription.caught_up_to(page.head);
        }
        if subscription.state() != State::Live {
            connection.lag(key, (read.stream, read.slot), &mut self.reads);
        }
    }
}

impl Subscriber {
    fn read(&self, stream: StreamId, slot: u32) -> Read {
        let part = match (self.subscription.state(), self.when_slow()) {
            (State::CatchingUp, WhenSlow::Latest) => Part::Newest,
            (State::CatchingUp, WhenSlow::Drop) => Part::Nothing,
            _ => Part::All,
        };
        Read {
            stream,
            after: self.subscription.cursor(),
            part,
            connection: self.connection,
            slot,
        }
    }
}

impl Read {
    /// Whose connection it is for.
    pub fn connection(&self) -> ConnectionKey {
        self.connection
    }

    /// Whether the subscription is still where it was when it asked.
    fn is_for(&self, subscription: &Subscription) -> bool {
        subscription.cursor() == self.after
    }

    /// Why what is missing is missing.
    fn reason(&self, state: State, page: &Page) -> GapReason {
        match (self.part, state) {
            (Part::All, State::Replaying) => GapReason::Retention,
            (Part::All, _) if page.keeps => GapReason::Retention,
            _ => GapReason::Slow,
        }
    }
}

fn accepts(filter: &Filter, event: &Event, now_ms: u64) -> bool {
    let value = event.draft.elems.value();
    value.is_some_and(|value| filter.accepts(&Subject::of(event, &value), now_ms))
}
