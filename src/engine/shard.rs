//! One worker's connections: who gets what, and what waits to be written to whom.
//!
//! Does not know sockets; `P` is whatever the caller wants to find again with a connection.
//! Invariant: a connection's bytes are in its outbox in the order in which they are to be read,
//! and an acknowledgement stands before the first event of its subscription.

use crate::domain::event::{Event, Wire};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::position::{GapReason, Offset};
use crate::engine::connection::{Connection, ConnectionKey, Dialect, join};
use crate::engine::index::{Index, Subscriber};
use crate::engine::outbox::Verdict;
use crate::engine::pulse::Moment;
use crate::engine::recent::Page;
use crate::engine::subscription::{State, Step, Subscription};
use bytes::Bytes;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// A subscription that wants to read the log.
pub struct Read {
    /// The stream.
    pub stream: StreamId,
    /// After this place.
    pub after: Offset,
    slot: u32,
}

/// What has been counted since the last time it was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events put into outboxes.
    pub delivered: u64,
    /// Events told as gaps.
    pub missed: u64,
    /// Subscriptions that fell behind.
    pub fell_behind: u64,
    /// Bytes written.
    pub written: u64,
}

/// The connections of one worker.
pub struct Shard<P> {
    connections: SlotMap<ConnectionKey, Connection<P>>,
    index: Index,
    /// Connections with something new to write.
    dirty: Vec<ConnectionKey>,
    /// Connections with a subscription that wants a page of the log, each once.
    reads: VecDeque<ConnectionKey>,
    outbox_limit: usize,
    counts: Counts,
}

impl<P> Shard<P> {
    /// Lets `outbox_limit` bytes wait for each connection.
    pub fn new(outbox_limit: usize) -> Self {
        Self {
            connections: SlotMap::with_key(),
            index: Index::default(),
            dirty: Vec::new(),
            reads: VecDeque::new(),
            outbox_limit,
            counts: Counts::default(),
        }
    }

    /// Adds a connection.
    pub fn open(&mut self, port: P, dialect: &'static Dialect, token: TokenKey, now: Moment) -> ConnectionKey {
        self.connections.insert(Connection::new(port, dialect, token, now))
    }

    /// Removes a connection, whose subscriptions have been ended.
    pub fn close(&mut self, key: ConnectionKey) {
        debug_assert_eq!(self.subscription_count(key), 0);
        self.connections.remove(key);
    }

    /// Ends all subscriptions of a connection; returns the streams that nobody here subscribes to
    /// any more.
    pub fn unsubscribe_all(&mut self, key: ConnectionKey) -> Vec<StreamId> {
        let Some(connection) = self.connections.get_mut(key) else {
            return Vec::new();
        };
        connection.behind = VecDeque::new();
        let subscriptions = std::mem::take(&mut connection.subscriptions).into_iter();
        let last = subscriptions.filter(|(stream, slot)| self.index.remove(stream, *slot));
        last.map(|(stream, _)| stream).collect()
    }

    /// A connection, if it is still there.
    pub fn get_mut(&mut self, key: ConnectionKey) -> Option<&mut Connection<P>> {
        self.connections.get_mut(key)
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionKey, &Connection<P>)> {
        self.connections.iter()
    }

    /// Whether anybody here subscribes to the stream.
    pub fn listens(&self, stream: &StreamId) -> bool {
        self.index.contains(stream)
    }

    /// How many streams a connection subscribes to.
    pub fn subscription_count(&self, key: ConnectionKey) -> usize {
        self.connections
            .get(key)
            .map_or(0, |connection| connection.subscriptions.len())
    }

    /// Whether a connection subscribes to the stream.
    pub fn subscribes(&self, key: ConnectionKey, stream: &StreamId) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.find(stream).is_ok())
    }

    /// Follows `stream` live from after `cursor`; changes nothing if that is done already.
    pub fn subscribe(&mut self, key: ConnectionKey, stream: StreamId, cursor: Offset) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Err(place) = connection.find(&stream) else {
            return;
        };
        let subscription = Subscription::live(cursor);
        let subscriber = Subscriber {
            connection: key,
            subscription,
        };
        let slot = self.index.insert(stream, subscriber);
        if connection.subscriptions.is_empty() {
            connection.subscriptions.reserve_exact(1);
        }
        connection.subscriptions.insert(place, (stream, slot));
    }

    /// Stops following `stream`; returns whether nobody here subscribes to it any more.
    pub fn unsubscribe(&mut self, key: ConnectionKey, stream: &StreamId) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let Ok(place) = connection.find(stream) else {
            return false;
        };
        let (_, slot) = connection.subscriptions.remove(place);
        if let Some(subscriber) = self.index.get_mut(stream, slot)
            && subscriber.subscription.state() == State::CatchingUp
        {
            connection.behind.retain(|behind| *behind != (*stream, slot));
        }
        self.index.remove(stream, slot)
    }

    /// Ends everybody's subscription to a stream that is no more; returns how many there were.
    pub fn drop_stream(&mut self, stream: &StreamId) -> usize {
        let subscribers = self.index.subscribers(stream);
        let keys: Vec<ConnectionKey> = subscribers.map(|(_, subscriber)| subscriber.connection).collect();
        for key in &keys {
            self.unsubscribe(*key, stream);
        }
        keys.len()
    }

    /// Queues a reply, a ping or a notice; after a goodbye there is nothing more to say.
    pub fn reply(&mut self, key: ConnectionKey, frame: Bytes) {
        if let Some(connection) = self.connections.get_mut(key)
            && !connection.closing
        {
            connection.outbox.push_reply(frame);
            connection.mark(key, &mut self.dirty);
        }
    }

    /// Queues a close frame as the last thing; returns whether it was the first one.
    pub fn say_goodbye(&mut self, key: ConnectionKey, frame: Bytes) -> bool {
        let was_open = self.connections.get(key).is_some_and(|connection| !connection.closing);
        self.reply(key, frame);
        if let Some(connection) = self.connections.get_mut(key) {
            connection.closing = true;
        }
        was_open
    }

    /// Hands live events to whoever subscribes; each stream's events are in order of offset.
    pub fn deliver(&mut self, events: &mut [Arc<Event>]) {
        if events.len() > 1 {
            events.sort_by_key(|event| event.stream);
        }
        let follows = |a: &Arc<Event>, b: &Arc<Event>| a.stream == b.stream && b.offset == a.offset.next();
        for run in events.chunk_by(follows) {
            self.deliver_run(run);
        }
    }

    /// One stream's events without a hole; joined once for everybody who follows.
    fn deliver_run(&mut self, run: &[Arc<Event>]) {
        let (first, last) = (run[0].offset, run[run.len() - 1].offset);
        let stream = run[0].stream;
        let mut joined: [Option<Bytes>; Wire::COUNT] = [const { None }; Wire::COUNT];
        for (slot, subscriber) in self.index.subscribers(&stream) {
            let Some(connection) = self.connections.get_mut(subscriber.connection) else {
                continue;
            };
            match subscriber.subscription.on_run(first, last) {
                Step::Skip => continue,
                Step::PushFrom(_) if connection.closing => continue,
                Step::PushFrom(from) => {
                    let dialect = connection.dialect;
                    let seen = run.partition_point(|event| event.offset < from);
                    let bytes = match seen {
                        0 => joined[dialect.wire as usize]
                            .get_or_insert_with(|| join(run, dialect))
                            .clone(),
                        // Somebody subscribed while these were on their way.
                        seen => join(&run[seen..], dialect),
                    };
                    if connection.outbox.push(bytes, self.outbox_limit) == Verdict::Taken {
                        subscriber.subscription.advance(last);
                        self.counts.delivered += (run.len() - seen) as u64;
                        connection.mark(subscriber.connection, &mut self.dirty);
                        continue;
                    }
                    subscriber.subscription.fall_behind();
                }
                Step::Behind => {}
            }
            self.counts.fell_behind += 1;
            connection.lag(subscriber.connection, (stream, slot), &mut self.reads);
        }
    }

    /// Something may have been missed: every subscription compares itself with the log.
    pub fn doubt_everything(&mut self) {
        for (stream, slot, subscriber) in self.index.everyone() {
            let Some(connection) = self.connections.get_mut(subscriber.connection) else {
                continue;
            };
            if subscriber.subscription.state() == State::Live {
                subscriber.subscription.fall_behind();
                connection.lag(subscriber.connection, (stream, slot), &mut self.reads);
            }
        }
    }

    /// The next page of the log that somebody has room for. Whoever has none asks again when its
    /// outbox is empty; whoever wants more stands at the end of the queue.
    pub fn next_read(&mut self) -> Option<Read> {
        while let Some(key) = self.reads.pop_front() {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.waiting = false;
            if connection.closing || connection.outbox.bytes() > self.outbox_limit / 2 {
                continue;
            }
            let Some((stream, slot)) = connection.behind.pop_front() else {
                continue;
            };
            connection.queue(key, &mut self.reads);
            if let Some(subscriber) = self.index.get_mut(&stream, slot) {
                let after = subscriber.subscription.cursor();
                return Some(Read { stream, after, slot });
            }
        }
        None
    }

    /// Whether somebody may want a page.
    pub fn wants_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Pushes what was read as far as there is room, and tells what the log no longer has.
    pub fn on_page(&mut self, read: &Read, page: &Page) {
        let Some(subscriber) = self.index.get_mut(&read.stream, read.slot) else {
            return;
        };
        let key = subscriber.connection;
        let subscription = &mut subscriber.subscription;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        if subscription.state() == State::Live || subscription.cursor() != read.after {
            return;
        }
        let available = page.events.first().map_or(page.head.next(), |event| event.offset);
        let reason = if page.keeps {
            GapReason::Retention
        } else {
            GapReason::Slow
        };
        if let Some(gap) = subscription.skip_to(available, reason) {
            self.counts.missed += gap.count();
            connection
                .outbox
                .push_reply((connection.dialect.gap)(&read.stream, &gap));
        }
        for event in &page.events {
            let frame = event.frame(connection.dialect.wire, connection.dialect.event);
            if connection.outbox.push(frame, self.outbox_limit) == Verdict::Full {
                break;
            }
            subscription.advance(event.offset);
            self.counts.delivered += 1;
        }
        connection.mark(key, &mut self.dirty);
        subscription.caught_up_to(page.head);
        if subscription.state() == State::CatchingUp {
            connection.lag(key, (read.stream, read.slot), &mut self.reads);
        }
    }

    /// Takes the connections that have something to write.
    pub fn take_dirty(&mut self, keys: &mut Vec<ConnectionKey>) {
        keys.clear();
        std::mem::swap(keys, &mut self.dirty);
        for key in keys.iter() {
            if let Some(connection) = self.connections.get_mut(*key) {
                connection.dirty = false;
            }
        }
    }

    /// So many bytes of a connection were written and have left its outbox.
    ///
    /// Once all have, its subscriptions that are behind get their turn; returns whether they wait
    /// for it.
    pub fn has_written(&mut self, key: ConnectionKey, count: usize) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        self.counts.written += count as u64;
        if connection.outbox.is_empty() {
            connection.queue(key, &mut self.reads);
        }
        connection.waiting
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

#[cfg(test)]
mod tests;
