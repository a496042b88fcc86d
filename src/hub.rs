//! Who is listening, on which worker, and the mailbox through which a worker is reached.
//!
//! Does not know sockets or frames. Invariants: crossing threads costs one mailbox push per event
//! and interested worker, never per subscriber; nobody waits for a worker; a full mailbox says so
//! to its worker, whose cursors then find themselves behind.

pub mod mailbox;
pub mod worker;

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::hub::mailbox::{Mailbox, Notice};
use crate::metrics::Metrics;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// Names a worker within its hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WorkerId(usize);

/// All workers of a server.
pub struct Hub {
    workers: RwLock<Vec<Option<Arc<Mailbox>>>>,
    interest: RwLock<HashMap<StreamId, Vec<WorkerId>, RandomState>>,
    mailbox_limit: usize,
    metrics: Arc<Metrics>,
}

impl Hub {
    /// No workers yet; each mailbox will hold `mailbox_limit` events.
    pub fn new(mailbox_limit: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            workers: RwLock::default(),
            interest: RwLock::default(),
            mailbox_limit,
            metrics,
        }
    }

    /// A worker starts; it is reached through the mailbox until it leaves.
    pub fn enrol(&self) -> (WorkerId, Arc<Mailbox>) {
        let mailbox = Arc::new(Mailbox::new(self.mailbox_limit));
        let mut workers = self.workers.write();
        workers.push(Some(Arc::clone(&mailbox)));
        (WorkerId(workers.len() - 1), mailbox)
    }

    /// A worker ends.
    pub fn leave(&self, worker: WorkerId) {
        self.interest.write().retain(|_, workers| {
            workers.retain(|other| *other != worker);
            !workers.is_empty()
        });
        self.workers.write()[worker.0] = None;
    }

    /// From now on the worker is sent the stream's events. Read the log's head only after this.
    pub fn listen(&self, worker: WorkerId, stream: StreamId) {
        let mut interest = self.interest.write();
        let workers = interest.entry(stream).or_default();
        if !workers.contains(&worker) {
            workers.push(worker);
        }
    }

    /// Whether any worker listens to the stream.
    pub fn has_listener(&self, stream: &StreamId) -> bool {
        self.interest.read().contains_key(stream)
    }

    /// Nobody on the worker listens to the stream any more.
    pub fn ignore(&self, worker: WorkerId, stream: &StreamId) {
        let mut interest = self.interest.write();
        if let Some(workers) = interest.get_mut(stream) {
            workers.retain(|other| *other != worker);
            if workers.is_empty() {
                interest.remove(stream);
            }
        }
    }

    /// Hands events to every interested worker. Whoever calls holds the order of the streams.
    pub fn deliver(&self, events: &[Arc<Event>]) {
        let interest = self.interest.read();
        if interest.is_empty() {
            return;
        }
        let workers = self.workers.read();
        for run in events.chunk_by(|a, b| a.stream == b.stream) {
            let listening = interest.get(&run[0].stream).map_or(&[][..], Vec::as_slice);
            for mailbox in listening.iter().filter_map(|worker| workers[worker.0].as_ref()) {
                if !mailbox.put(run) {
                    self.metrics.mailbox_overflows.inc();
                }
            }
        }
    }

    /// Tells one worker, if it is still there.
    pub fn tell_one(&self, worker: WorkerId, notice: Notice) {
        if let Some(Some(mailbox)) = self.workers.read().get(worker.0) {
            mailbox.notify(notice);
        }
    }

    /// Tells every worker.
    pub fn tell(&self, notice: &Notice) {
        for mailbox in self.workers.read().iter().flatten() {
            mailbox.notify(notice.clone());
        }
    }
}
