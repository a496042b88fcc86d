//! One worker thread's own half of the hub: its shard, its mailbox, its time.
//!
//! Lives and dies on its thread; nothing here is shared. Its time is the runtime's. Invariant: the hub knows this worker
//! exactly as long as this value lives.

use crate::domain::id::StreamId;
use crate::engine::connection::ConnectionKey;
use crate::engine::pulse::{Moment, Pulse};
use crate::engine::shard::Shard;
use crate::hub::mailbox::Mailbox;
use crate::hub::{Hub, WorkerId};
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How a worker treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Bytes that may wait for each.
    pub outbox_limit: usize,
    /// Silence after which one is pinged.
    pub ping: Duration,
    /// Silence after which one is dead.
    pub dead: Duration,
}

/// A worker that is enrolled with its hub. `P` is what the shard keeps with each connection.
pub struct Worker<P> {
    /// Who it is.
    pub id: WorkerId,
    /// Its connections and their subscriptions. Never borrowed across an await.
    pub shard: RefCell<Shard<P>>,
    /// Whom to look at next.
    pub pulse: RefCell<Pulse<ConnectionKey>>,
    /// Where other threads put what is for it.
    pub mailbox: Arc<Mailbox>,
    hub: Arc<Hub>,
    started: Instant,
}

impl<P> Worker<P> {
    /// Enrols with the hub, on the thread it is to live on.
    pub fn enrol(hub: Arc<Hub>, manners: Manners) -> Self {
        let (id, mailbox) = hub.enrol();
        Self {
            id,
            shard: RefCell::new(Shard::new(manners.outbox_limit)),
            pulse: RefCell::new(Pulse::new(manners.ping, manners.dead)),
            mailbox,
            hub,
            started: Instant::now(),
        }
    }

    /// This worker's time.
    pub fn now(&self) -> Moment {
        Moment(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Makes sure that the stream's events come here from now on.
    pub fn listen(&self, stream: StreamId) {
        if !self.shard.borrow().listens(&stream) {
            self.hub.listen(self.id, stream);
        }
    }

    /// The last subscriber of the stream left this worker.
    pub fn ignore(&self, stream: &StreamId) {
        self.hub.ignore(self.id, stream);
    }
}

impl<P> Drop for Worker<P> {
    fn drop(&mut self) {
        self.hub.leave(self.id);
    }
}
