//! What becomes different of connections while they live: the stream that they follow, the form in which
//! they are given events.
//!
//! Invariant: nothing that is on its way is changed or lost by it.

use crate::domain::event::Wire;
use crate::domain::id::StreamId;
use crate::domain::position::{GapReason, Offset};
use crate::engine::connection::{ConnectionKey, Dialect};
use crate::engine::shard::Shard;
use crate::engine::subscription::{State, Subscription, Terms};

impl<P> Shard<P> {
    /// Renders a connection's events in another form from now on.
    pub fn set_dialect(&mut self, key: ConnectionKey, dialect: &'static Dialect) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.dialect = dialect;
        }
    }

    /// Has everybody who follows `from` follow `to` from its beginning, on the same terms; both with where
    /// they are. What somebody had not got of the one is told as a gap. Returns how many have one
    /// subscription less, because they followed both.
    pub fn go_over(&mut self, (from, end): (&StreamId, Offset), (to, head): (StreamId, Offset)) -> usize {
        let followers = self.index.subscribers(from);
        let followers: Vec<_> = followers
            .map(|(_, subscriber)| (subscriber.connection, subscriber.subscription, subscriber.terms.clone()))
            .collect();
        let mut fewer = 0;
        for (key, mut before, terms) in followers {
            if let Some(gap) = before.skip_to(end.next(), GapReason::Slow)
                && let Some(connection) = self.connections.get_mut(key)
            {
                self.counts.missed += gap.count();
                let name = terms.as_ref().and_then(|terms| terms.name.as_deref());
                connection.tell(from, name, &gap);
                connection.mark(key, &mut self.dirty);
            }
            self.unsubscribe(key, from);
            if self.subscribes(key, &to) {
                fewer += 1;
                continue;
            }
            let subscription = match head {
                Offset(0) => Subscription::live(head),
                _ => Subscription::replay(Offset(0)),
            };
            self.subscribe(key, to, subscription, terms);
        }
        fewer
    }

    /// Has a connection go on elsewhere in a stream that it follows, on the same terms. The listening is not
    /// interrupted. Returns whether it follows it.
    pub fn relocate(&mut self, key: ConnectionKey, stream: &StreamId, subscription: Subscription) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let Ok(place) = connection.find(stream) else {
            return false;
        };
        let at = connection.subscriptions[place];
        let Some(subscriber) = self.index.get_mut(stream, at.1) else {
            return false;
        };
        subscriber.subscription = subscription;
        // A page that is being read for where it was is thrown away when it comes.
        connection.behind.retain(|behind| *behind != at);
        if subscription.state() != State::Live {
            connection.lag(key, at, &mut self.reads);
        }
        true
    }

    /// The form in which a connection is given events.
    pub fn wire(&self, key: ConnectionKey) -> Option<Wire> {
        Some(self.connections.get(key)?.dialect.wire)
    }

    /// What a connection follows, where it is in it, and on what terms.
    pub fn followed(&mut self, key: ConnectionKey) -> Vec<(StreamId, Subscription, Option<Box<Terms>>)> {
        let Some(connection) = self.connections.get(key) else {
            return Vec::new();
        };
        let index = &mut self.index;
        let followed = connection.subscriptions.iter().filter_map(|(stream, slot)| {
            let subscriber = index.get_mut(stream, *slot)?;
            Some((*stream, subscriber.subscription, subscriber.terms.clone()))
        });
        followed.collect()
    }

    /// How many follow a stream.
    pub fn follower_count(&mut self, stream: &StreamId) -> usize {
        self.index.subscribers(stream).count()
    }
}
