//! What becomes different of connections while they live: the stream that they follow, the form in which
//! they are given events.
//!
//! Invariant: nothing that is on its way is changed or lost by it.

use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::engine::connection::{ConnectionKey, Dialect};
use crate::engine::shard::Shard;
use crate::engine::subscription::Subscription;

impl<P> Shard<P> {
    /// Renders a connection's events in another form from now on.
    pub fn set_dialect(&mut self, key: ConnectionKey, dialect: &'static Dialect) {
        if let Some(connection) = self.connections.get_mut(key) {
            connection.dialect = dialect;
        }
    }

    /// Has everybody who follows `from` follow `to`, which is at `head`, from its beginning; on the same
    /// terms. Returns how many have one subscription less, because they followed both.
    pub fn go_over(&mut self, from: &StreamId, to: StreamId, head: Offset) -> usize {
        let followers = self.index.subscribers(from);
        let followers: Vec<_> = followers
            .map(|(_, subscriber)| (subscriber.connection, subscriber.terms.clone()))
            .collect();
        let mut fewer = 0;
        for (key, terms) in followers {
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

    /// How many follow a stream.
    pub fn follower_count(&mut self, stream: &StreamId) -> usize {
        self.index.subscribers(stream).count()
    }
}
