//! How connections follow streams: subscriptions begin, read on, and end.
//!
//! Invariant: a worker listens to a stream before its head is read, so nothing falls between.

use crate::broker::{Broker, Following, From, Subscribed};
use crate::domain::error::{Code, Fault, Refusal};
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Access;
use crate::engine::connection::ConnectionKey;
use crate::engine::ledger::Page;
use crate::engine::resume::Resume;
use crate::engine::shard::{Part, Read};
use crate::engine::subscription::{State, Subscription, Terms};
use crate::hub::worker::Worker;
use std::sync::Arc;

impl Broker {
    /// Subscribes a connection; doing it twice is doing it once.
    ///
    /// The worker is made to listen before the head is read, so nothing falls between. Nothing is
    /// pushed here: the caller pushes the acknowledgement before this thread delivers again.
    pub fn subscribe<P>(
        &self,
        worker: &Worker<P>,
        key: ConnectionKey,
        access: &Access,
        target: &Target,
        following: Following,
    ) -> Result<Subscribed, Refusal> {
        let stream = self.find_to_follow(worker, access, target, &following)?;
        let id = stream.id;
        let followed = self.follow(worker, key, stream, following);
        if followed.is_err() && !worker.shard.borrow().listens(&id) {
            self.ignore(worker, &id);
        }
        followed
    }

    /// Has a connection follow a stream that its worker listens to.
    fn follow<P>(
        &self,
        worker: &Worker<P>,
        key: ConnectionKey,
        stream: Arc<Stream>,
        following: Following,
    ) -> Result<Subscribed, Refusal> {
        let there = worker.shard.borrow_mut().cursor(key, &stream.id);
        if let Some(cursor) = there {
            let view = self.log.open(&stream);
            let resume = Resume::from(&view, cursor);
            return Ok(Subscribed { stream, view, resume });
        }
        let most = self.limits.max_subscriptions;
        if worker.shard.borrow().subscription_count(key) >= most {
            let text = format!("a connection has at most {most} subscriptions");
            return Err(Refusal::new(Code::LimitSubscriptions, text));
        }
        self.check_filters(worker, key, &following)?;
        let view = self.log.open(&stream);
        let resume = match following.from {
            From::Head => Resume::live(&view),
            From::Position(position) => Resume::since(&view, position),
            From::Last(count) => Resume::last(&view, count),
            From::Kept(epoch, subscription) => Resume::since(&view, subscription.position(epoch)),
        };
        let subscription = match (resume.subscription(&view), following.from) {
            // It is behind as it was.
            (begun, From::Kept(_, kept)) if begun.state() != State::Live && resume.told.is_none() => {
                Subscription::behind(resume.cursor, kept.state())
            }
            (begun, _) => begun,
        };
        let terms = following.terms.map(Box::new);
        worker.shard.borrow_mut().subscribe(key, stream.id, subscription, terms);
        if subscription.state() != State::Live {
            worker.mailbox.ring();
        }
        self.metrics.subscriptions.inc();
        Ok(Subscribed { stream, view, resume })
    }

    /// Filters cost memory and time whether or not anything comes of them.
    fn check_filters<P>(&self, worker: &Worker<P>, key: ConnectionKey, following: &Following) -> Result<(), Refusal> {
        let has_filter = following.terms.as_ref().is_some_and(|terms| terms.filter.is_some());
        let most = self.limits.max_filters;
        if has_filter && worker.shard.borrow_mut().filter_count(key) >= most {
            let text = format!("a connection has at most {most} subscriptions with a filter");
            return Err(Refusal::new(Code::LimitFilter, text));
        }
        Ok(())
    }

    /// Whether a connection follows a stream.
    pub fn is_following<P>(&self, worker: &Worker<P>, key: ConnectionKey, target: &Target) -> bool {
        self.followed(worker, key, target).is_some()
    }

    /// The stream that is meant, if a connection follows it.
    fn followed<P>(&self, worker: &Worker<P>, key: ConnectionKey, target: &Target) -> Option<StreamId> {
        let stream = match target {
            Target::Id(id) => *id,
            Target::Path(_) => {
                let found = self.catalogue.find(target).or_else(|| self.find_fleeting(target));
                found?.id
            }
        };
        worker.shard.borrow().subscribes(key, &stream).then_some(stream)
    }

    /// Ends a subscription, and returns to what; that there was none is no mistake.
    pub fn unsubscribe<P>(&self, worker: &Worker<P>, key: ConnectionKey, target: &Target) -> Option<StreamId> {
        let stream = self.followed(worker, key, target)?;
        self.metrics.subscriptions.dec();
        if worker.shard.borrow_mut().unsubscribe(key, &stream) {
            self.ignore(worker, &stream);
        }
        Some(stream)
    }

    /// Ends all subscriptions of a connection, such as one that is saying goodbye.
    pub fn unsubscribe_all<P>(&self, worker: &Worker<P>, key: ConnectionKey) {
        let count = worker.shard.borrow().subscription_count(key);
        self.metrics.subscriptions.dec_by(count as i64);
        let silent = worker.shard.borrow_mut().unsubscribe_all(key);
        silent.iter().for_each(|stream| self.ignore(worker, stream));
    }

    /// A connection is gone: nothing of it stays.
    pub fn disconnect<P>(&self, worker: &Worker<P>, key: ConnectionKey) {
        self.unsubscribe_all(worker, key);
        worker.shard.borrow_mut().close(key);
    }

    /// What a subscription that is behind goes on with, if that is in memory.
    pub fn read_recent(&self, read: &Read) -> Option<Page> {
        match read.part {
            Part::All | Part::Newest => self.log.read_recent(&read.stream, self.begin(read)),
            Part::Nothing => Some(Page {
                events: Vec::new(),
                head: self.log.head(&read.stream),
                keeps: true,
            }),
        }
    }

    /// What a subscription that is behind goes on with, from the disk.
    pub async fn read(&self, read: &Read) -> Result<Page, Fault> {
        self.log.read(&read.stream, self.begin(read)).await
    }

    /// The place after which a subscription goes on; who wants the newest only passes over the rest.
    fn begin(&self, read: &Read) -> Offset {
        match read.part {
            Part::Newest => self.log.head(&read.stream).previous().max(read.after),
            Part::All | Part::Nothing => read.after,
        }
    }

    /// A stream is no more: its subscriptions end. Returns whose they were, and their terms.
    pub fn end_stream<P>(&self, worker: &Worker<P>, stream: &StreamId) -> Vec<(ConnectionKey, Option<Box<Terms>>)> {
        let ended = worker.shard.borrow_mut().drop_stream(stream);
        self.metrics.subscriptions.dec_by(ended.len() as i64);
        worker.ignore(stream);
        ended
    }
}
