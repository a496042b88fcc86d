//! One worker's connections: who gets what, and what waits to be written to whom.
//!
//! Does not know sockets; `P` is whatever the caller wants to find again with a connection.
//! Invariant: a connection's bytes are in its outbox in the order in which they are to be read,
//! and an acknowledgement stands before the first event of its subscription.

use crate::domain::event::{Event, Wire};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::position::{GapReason, Offset};
use crate::engine::connection::{Connection, ConnectionKey, Dialect, join};
use crate::engine::filter::{Filter, Subject};
use crate::engine::index::{Index, Subscriber};
use crate::engine::ledger::Page;
use crate::engine::outbox::Verdict;
use crate::engine::pulse::Moment;
use crate::engine::subscription::{State, Step, Subscription, Terms, WhenSlow};
use bytes::Bytes;
use serde_json::Value;
use slotmap::SlotMap;
use std::collections::VecDeque;
use std::sync::Arc;

/// Filters whose outcome is kept for the next subscriber of a run.
const SHARED_FILTERS: usize = 16;

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
    /// Connections that wanted an end rather than to be slow.
    too_slow: Vec<ConnectionKey>,
    outbox_limit: usize,
    counts: Counts,
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
            too_slow: Vec::new(),
            outbox_limit,
            counts: Counts::default(),
            now_ms: 0,
        }
    }

    /// What time it is, in milliseconds since 1970; filters ask for it.
    pub fn tell_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
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

    /// The next page of the log that somebody has room for; whoever is given one gives it back
    /// with [`Shard::on_page`] or [`Shard::end_read`]. Whoever has no room asks again when its outbox
    /// is empty; whoever wants more stands at the end of the queue.
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
            if let Some(subscriber) = self.index.get_mut(&stream, slot) {
                connection.reading = true;
                return Some(subscriber.read(stream, slot));
            }
            connection.queue(key, &mut self.reads);
        }
        None
    }

    /// Nothing came of a page.
    pub fn end_read(&mut self, read: &Read) {
        if let Some(connection) = self.connections.get_mut(read.connection) {
            connection.reading = false;
            connection.queue(read.connection, &mut self.reads);
        }
    }

    /// Whether somebody may want a page.
    pub fn wants_reads(&self) -> bool {
        !self.reads.is_empty()
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
        let reason = read.reason(subscription.state(), page);
        let mut is_full = false;
        for event in &page.events {
            if let Some(gap) = subscription.skip_to(event.offset, reason) {
                self.counts.missed += gap.count();
                connection.tell(&read.stream, &gap);
            }
            let is_wanted = filter.is_none_or(|filter| accepts(filter, event, self.now_ms));
            if is_wanted {
                let frame = event.frame(connection.dialect.wire, connection.dialect.event);
                is_full = connection.outbox.push(frame, self.outbox_limit) == Verdict::Full;
                if is_full {
                    break;
                }
                self.counts.delivered += 1;
            }
            subscription.advance(event.offset);
        }
        if page.events.is_empty()
            && let Some(gap) = subscription.skip_to(page.head.next(), reason)
        {
            self.counts.missed += gap.count();
            connection.tell(&read.stream, &gap);
        }
        connection.mark(key, &mut self.dirty);
        if !is_full {
            subscription.caught_up_to(page.head);
        }
        if subscription.state() != State::Live {
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

/// A run of events as bytes: made once for everybody who wants all of it.
struct Joined<'a> {
    run: &'a [Arc<Event>],
    whole: [Option<Bytes>; Wire::COUNT],
    /// What filters look at, parsed when the first of them asks.
    values: Vec<Option<Value>>,
    /// What some filters made of all of it, so that those who want the same share it.
    filtered: Vec<(Filter, Wire, Bytes, u64)>,
    now_ms: u64,
}

impl<'a> Joined<'a> {
    fn of(run: &'a [Arc<Event>], now_ms: u64) -> Self {
        Self {
            run,
            whole: [const { None }; Wire::COUNT],
            values: Vec::new(),
            filtered: Vec::new(),
            now_ms,
        }
    }

    /// What of the run is at or after `from` and wanted, and how many events that is.
    fn from(&mut self, from: Offset, dialect: &Dialect, filter: Option<&Filter>) -> (Bytes, u64) {
        let seen = self.run.partition_point(|event| event.offset < from);
        if let Some(filter) = filter {
            return self.filtered(seen, dialect, filter);
        }
        let rest = &self.run[seen..];
        let bytes = match seen {
            0 => self.whole[dialect.wire as usize]
                .get_or_insert_with(|| join(rest, dialect))
                .clone(),
            // Somebody subscribed while these were on their way.
            _ => join(rest, dialect),
        };
        (bytes, rest.len() as u64)
    }

    fn filtered(&mut self, seen: usize, dialect: &Dialect, filter: &Filter) -> (Bytes, u64) {
        let same = |(other, wire, _, _): &&(Filter, Wire, Bytes, u64)| other == filter && *wire == dialect.wire;
        if seen == 0
            && let Some((_, _, bytes, count)) = self.filtered.iter().find(same)
        {
            return (bytes.clone(), *count);
        }
        let wanted = self.wanted(seen, filter);
        let (bytes, count) = (join(&wanted, dialect), wanted.len() as u64);
        if seen == 0 && self.filtered.len() < SHARED_FILTERS {
            self.filtered.push((filter.clone(), dialect.wire, bytes.clone(), count));
        }
        (bytes, count)
    }

    fn wanted(&mut self, seen: usize, filter: &Filter) -> Vec<Arc<Event>> {
        if self.values.is_empty() {
            self.values = self.run.iter().map(|event| event.draft.elems.value()).collect();
        }
        let events = self.run.iter().zip(&self.values).skip(seen);
        let wanted = events.filter(|(event, value)| {
            let value = value.as_ref();
            value.is_some_and(|value| filter.accepts(&Subject::of(event, value), self.now_ms))
        });
        wanted.map(|(event, _)| Arc::clone(event)).collect()
    }
}

fn accepts(filter: &Filter, event: &Event, now_ms: u64) -> bool {
    let value = event.draft.elems.value();
    value.is_some_and(|value| filter.accepts(&Subject::of(event, &value), now_ms))
}

#[cfg(test)]
mod tests;
