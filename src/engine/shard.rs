//! One worker's connections: who gets what, and what waits to be written to whom.
//!
//! Does not know sockets; `P` is whatever the caller wants to find again with a connection.
//! Invariant: a connection's bytes are in its outbox in the order in which they are to be read,
//! and an acknowledgement stands before the first event of its subscription.

mod joined;
mod moving;
mod replay;

pub use replay::{Part, Read};

use crate::domain::event::{Event, Stamp};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::position::Offset;
use crate::engine::connection::{Connection, ConnectionKey, Dialect};
use crate::engine::index::{Index, Subscriber};
use crate::engine::outbox::Verdict;
use crate::engine::pulse::Moment;
use crate::engine::shard::joined::Joined;
use crate::engine::subscription::{State, Step, Subscription, Terms, WhenSlow};
use bytes::Bytes;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::sync::Arc;

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
    open_reads: usize,
    /// Connections that wanted an end rather than to be slow.
    too_slow: Vec<ConnectionKey>,
    outbox_limit: usize,
    counts: Counts,
    /// When the first event of what was handed out lately was asked for, and somebody who got it.
    asked: Option<(Stamp, ConnectionKey)>,
    now_ms: u64,
}

impl<P> Shard<P> {
    /// Lets `outbox_limit` bytes wait for each connection.
    pub fn new(outbox_limit: usize) -> Self {
        Self {
            connections: SlotMap::with_key(),
            index: Index::default(),
            dirty: Vec::new(),
            reads: VecDeque::new(),
            open_reads: 0,
            too_slow: Vec::new(),
            outbox_limit,
            counts: Counts::default(),
            asked: None,
            now_ms: 0,
        }
    }

    /// What time it is, in milliseconds since 1970; filters ask for it.
    pub fn tell_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
    }

    /// Adds a connection; `port` makes the caller's part of it, knowing its name.
    pub fn open(
        &mut self,
        port: impl FnOnce(ConnectionKey) -> P,
        dialect: &'static Dialect,
        token: TokenKey,
        now: Moment,
    ) -> ConnectionKey {
        let make = |key| Connection::new(port(key), dialect, token, now);
        self.connections.insert_with_key(make)
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
        self.connections.get(key).map_or(0, Connection::subscription_count)
    }

    /// How many subscriptions of a connection have a filter.
    pub fn filter_count(&mut self, key: ConnectionKey) -> usize {
        let Some(connection) = self.connections.get(key) else {
            return 0;
        };
        let index = &mut self.index;
        let filtered = connection.subscriptions.iter().filter(|(stream, slot)| {
            let subscriber = index.get_mut(stream, *slot);
            subscriber.is_some_and(|subscriber| subscriber.filter().is_some())
        });
        filtered.count()
    }

    /// Whether a connection subscribes to the stream.
    pub fn subscribes(&self, key: ConnectionKey, stream: &StreamId) -> bool {
        self.connections
            .get(key)
            .is_some_and(|connection| connection.find(stream).is_ok())
    }

    /// Where a connection's subscription to a stream is.
    pub fn cursor(&mut self, key: ConnectionKey, stream: &StreamId) -> Option<Offset> {
        let connection = self.connections.get(key)?;
        let (_, slot) = connection.subscriptions[connection.find(stream).ok()?];
        self.index
            .get_mut(stream, slot)
            .map(|subscriber| subscriber.subscription.cursor())
    }

    /// Follows `stream` from where `subscription` is; changes nothing if that is done already.
    pub fn subscribe(
        &mut self,
        key: ConnectionKey,
        stream: StreamId,
        subscription: Subscription,
        terms: Option<Box<Terms>>,
    ) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Err(place) = connection.find(&stream) else {
            return;
        };
        let subscriber = Subscriber {
            connection: key,
            subscription,
            terms,
        };
        let slot = self.index.insert(stream, subscriber);
        if connection.subscriptions.is_empty() {
            connection.subscriptions.reserve_exact(1);
        }
        connection.subscriptions.insert(place, (stream, slot));
        if subscription.state() != State::Live {
            connection.lag(key, (stream, slot), &mut self.reads);
        }
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
            && subscriber.subscription.state() != State::Live
        {
            connection.behind.retain(|behind| *behind != (*stream, slot));
        }
        self.index.remove(stream, slot)
    }

    /// Ends everybody's subscription to a stream that is no more; returns whose they were, and their terms.
    pub fn drop_stream(&mut self, stream: &StreamId) -> Vec<(ConnectionKey, Option<Box<Terms>>)> {
        let subscribers = self.index.subscribers(stream);
        let dropped: Vec<_> = subscribers
            .map(|(_, subscriber)| (subscriber.connection, subscriber.terms.clone()))
            .collect();
        for (key, _) in &dropped {
            self.unsubscribe(*key, stream);
            if let Some(connection) = self.connections.get_mut(*key) {
                // Nothing is said of it, but what is known of the connection is another number.
                connection.mark(*key, &mut self.dirty);
            }
        }
        dropped
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
        let mut joined = Joined::of(run, self.now_ms);
        for (slot, subscriber) in self.index.subscribers(&stream) {
            let Some(connection) = self.connections.get_mut(subscriber.connection) else {
                continue;
            };
            match subscriber.subscription.on_run(first, last) {
                Step::Skip => continue,
                Step::PushFrom(_) if connection.closing => continue,
                Step::PushFrom(from) => {
                    let (bytes, count) = joined.from(from, connection.dialect, subscriber.filter());
                    if count == 0 || connection.outbox.push(bytes, self.outbox_limit) == Verdict::Taken {
                        subscriber.subscription.advance(last);
                        self.counts.delivered += count;
                        connection.sent += count;
                        if count > 0 && self.asked.is_none() {
                            self.asked = Some((run[0].asked, subscriber.connection));
                        }
                        connection.mark(subscriber.connection, &mut self.dirty);
                        continue;
                    }
                    subscriber.subscription.fall_behind();
                }
                Step::Behind => {}
            }
            self.counts.fell_behind += 1;
            if subscriber.when_slow() == WhenSlow::Disconnect {
                self.too_slow.push(subscriber.connection);
            } else {
                connection.lag(subscriber.connection, (stream, slot), &mut self.reads);
            }
        }
    }

    /// Takes the connections that are to end because they are slow.
    pub fn take_too_slow(&mut self) -> Vec<ConnectionKey> {
        std::mem::take(&mut self.too_slow)
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

    /// When something of what was handed out since the last call was asked for, if that has been written.
    pub fn take_asked(&mut self) -> Option<Stamp> {
        let (stamp, key) = self.asked.take()?;
        let connection = self.connections.get(key)?;
        connection.outbox.is_empty().then_some(stamp)
    }

    /// What was counted since the last call.
    pub fn take_counts(&mut self) -> Counts {
        std::mem::take(&mut self.counts)
    }
}

#[cfg(test)]
mod tests;
