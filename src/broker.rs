//! What the product does: sessions are opened, connections come and go, events are published to
//! streams and delivered to whoever subscribes.
//!
//! Every protocol asks here and nowhere else; no wire format is known here. Each verb goes in the
//! same steps: who may (scope) → is there room (limits) → do it. Invariant: another company's
//! stream cannot be told from one that does not exist.

mod events;
mod seats;
mod streams;
mod watching;
mod wishes;

pub use seats::Seat;
pub use watching::{Numbers, Watched};
pub use wishes::{Following, From, Publishing, Subscribed};

use crate::broker::seats::Seats;
use crate::broker::watching::Watching;
use crate::catalogue::Catalogue;
use crate::database::now_ms;
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::event::Draft;
use crate::domain::id::{IdentityId, StreamId, TokenKey};
use crate::domain::limits::Limits;
use crate::domain::position::Offset;
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::session_id::SessionId;
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Access;
use crate::engine::connection::ConnectionKey;
use crate::engine::filter::Subject;
use crate::engine::ledger::Page;
use crate::engine::resume::Resume;
use crate::engine::shard::{Part, Read};
use crate::engine::subscription::{State, Subscription};
use crate::hub::Hub;
use crate::hub::mailbox::Notice;
use crate::hub::worker::Worker;
use crate::log::{Log, Publication, Published, RequestKey};
use crate::metrics::Metrics;
use crate::sessions::{Sessions, Wishes};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// One server's product, shared by all its workers.
pub struct Broker {
    catalogue: Catalogue,
    sessions: Sessions,
    log: Log,
    hub: Arc<Hub>,
    limits: Limits,
    metrics: Arc<Metrics>,
    seats: Seats,
    watching: Watching,
    /// Streams deleted since the last look.
    gone: Mutex<Vec<StreamId>>,
    stopping: AtomicBool,
}

impl Broker {
    /// Puts the owners together.
    pub fn new(
        catalogue: Catalogue,
        sessions: Sessions,
        log: Log,
        hub: Arc<Hub>,
        limits: Limits,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            catalogue,
            sessions,
            log,
            hub,
            limits,
            metrics,
            seats: Seats::default(),
            watching: Watching::default(),
            gone: Mutex::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// The bounds in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The hub, for a worker to enrol with.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    // Who is asking

    /// Whoever presents company, user (with a master token) and token.
    pub fn sign_in(&self, company: &str, user: Option<&str>, secret: &str) -> Result<Access, Refusal> {
        let token = self.catalogue.authenticate(company, user, secret)?;
        let narrowed = None;
        Ok(Access { token, narrowed })
    }

    // Sessions and connections

    /// The asker with no more rights than `paths`; never with more than they have.
    pub fn narrow(&self, access: Access, paths: Option<&ScopeJson>) -> Result<Access, Refusal> {
        let Some(paths) = paths else {
            return Ok(access);
        };
        let scope = Scope::parse(paths, &access.token.company, self.limits.max_patterns)?;
        if !access.scope().covers(&scope) {
            let text = "\"paths\" asks for more than the token may do";
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        let narrowed = Some(Arc::new(scope));
        Ok(Access { narrowed, ..access })
    }

    /// Opens a session of the asker.
    pub fn open_session(&self, access: &Access, ttl: Option<Duration>) -> Result<SessionId, Refusal> {
        let scope = access.narrowed.clone();
        self.sessions.issue(access.token.key, Wishes { scope, ttl })
    }

    /// Takes a place for a connection of the session.
    pub fn connect(self: &Arc<Self>, session: SessionId) -> Result<Seat, Refusal> {
        self.check_running()?;
        self.sessions.verify(&session)?;
        let token = self.catalogue.token(session.token())?;
        self.seats.enter(&token, &self.limits, &self.metrics)?;
        match self.sessions.enter(&session) {
            Ok(narrowed) => Ok(Seat {
                access: Access { token, narrowed },
                broker: Arc::clone(self),
                session,
                watched: None,
            }),
            Err(refusal) => {
                self.seats.leave(&token, &self.metrics);
                Err(refusal)
            }
        }
    }

    /// Refused when a connection's token is no longer good, whatever was or was not told of it.
    pub fn check_token(&self, token: TokenKey) -> Result<(), Refusal> {
        self.catalogue.check_token(token)
    }

    // Publishing and subscribing

    /// Writes all of it, in order, or nothing; returns once it is as safe as was asked for.
    pub async fn publish(&self, access: &Access, publishing: Publishing) -> Result<Published, Error> {
        self.check_running()?;
        let (creator, now_ms) = (access.token.creator, now_ms());
        let key = publishing.key;
        let key = key.map(|(key, request)| RequestKey::new(creator, &key, &request));
        // What a stream's filter took once is answered again, though the filter may be another now.
        let is_retry = key.is_some_and(|key| self.log.was_answered(&key, now_ms));
        let mut drafts = Vec::with_capacity(publishing.drafts.len());
        for (target, draft) in publishing.drafts {
            let stream = self.find(access, Verb::Write, &target)?;
            if !is_retry {
                self.check_draft(&stream, creator, now_ms, &draft)?;
            }
            drafts.push((stream, draft));
        }
        let expected = publishing.expected;
        if expected.is_some() && drafts.iter().any(|(stream, _)| stream.id != drafts[0].0.id) {
            let text = "an offset can be expected of one stream only";
            return Err(Refusal::new(Code::EventMalformed, text).into());
        }
        let publication = Publication {
            creator,
            now_ms,
            drafts,
            ack: publishing.ack,
            expected,
            key,
        };
        self.log.append(publication).await
    }

    /// Refused unless the stream's own filter takes it.
    fn check_draft(&self, stream: &Stream, creator: IdentityId, now_ms: u64, draft: &Draft) -> Result<(), Refusal> {
        let Some(filter) = self.catalogue.filter(&stream.id) else {
            return Ok(());
        };
        let elems = draft.elems.value();
        let accepts = |elems| {
            let subject = Subject::draft(stream.id, &stream.path, creator, now_ms, draft, elems);
            filter.accepts(&subject, now_ms)
        };
        if elems.as_ref().is_some_and(accepts) {
            return Ok(());
        }
        let text = format!("the stream takes what its filter accepts: {}", filter.source());
        Err(Refusal::new(Code::EventFiltered, text))
    }

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
        let stream = self.find(access, Verb::Read, target)?;
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
        worker.listen(stream.id);
        let view = self.log.open(&stream);
        let resume = match following.from {
            From::Head => Resume::live(&view),
            From::Position(position) => Resume::since(&view, position),
            From::Last(count) => Resume::last(&view, count),
        };
        let subscription = match resume.cursor < view.head {
            true => Subscription::replay(resume.cursor),
            false => Subscription::live(resume.cursor),
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

    /// Ends a subscription; that there was none is no mistake.
    pub fn unsubscribe<P>(&self, worker: &Worker<P>, key: ConnectionKey, target: &Target) {
        let stream = match target {
            Target::Id(id) => Some(*id),
            Target::Path(_) => self.catalogue.find(target).map(|stream| stream.id),
        };
        let Some(stream) = stream.filter(|stream| worker.shard.borrow().subscribes(key, stream)) else {
            return;
        };
        self.metrics.subscriptions.dec();
        if worker.shard.borrow_mut().unsubscribe(key, &stream) {
            worker.ignore(&stream);
        }
    }

    /// Ends all subscriptions of a connection, such as one that is saying goodbye.
    pub fn unsubscribe_all<P>(&self, worker: &Worker<P>, key: ConnectionKey) {
        let count = worker.shard.borrow().subscription_count(key);
        self.metrics.subscriptions.dec_by(count as i64);
        let silent = worker.shard.borrow_mut().unsubscribe_all(key);
        silent.iter().for_each(|stream| worker.ignore(stream));
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

    /// A stream is no more: its subscriptions end.
    pub fn end_stream<P>(&self, worker: &Worker<P>, stream: &StreamId) {
        let ended = worker.shard.borrow_mut().drop_stream(stream);
        self.metrics.subscriptions.dec_by(ended as i64);
        worker.ignore(stream);
    }

    // What happens by itself

    /// Follows what changed in the catalogue, by us or by another process, and draws the conclusions.
    pub async fn follow_changes(&self) -> Result<(), Fault> {
        let ended = self.catalogue.refresh().await?;
        for token in ended.tokens {
            self.hub.tell(&Notice::TokenEnded(token));
        }
        for stream in &ended.changed {
            self.log.adjust(stream);
        }
        for stream in &ended.streams {
            self.log.forget(stream);
            self.hub.tell(&Notice::StreamGone(*stream));
        }
        // Whoever found a stream just before it went may have published just after.
        let gone_before = std::mem::replace(&mut *self.gone.lock(), ended.streams);
        gone_before.iter().for_each(|stream| self.log.forget(stream));
        Ok(())
    }

    /// Forgets sessions that have lapsed.
    pub fn sweep_sessions(&self) {
        self.sessions.sweep();
    }

    /// Writes down when tokens were last used.
    pub async fn write_used_tokens(&self) -> Result<(), Fault> {
        self.catalogue.write_used().await
    }

    /// Refused while stopping; fails if the database does not answer.
    pub async fn check_ready(&self) -> Result<(), Error> {
        self.check_running()?;
        self.log.check()?;
        Ok(self.catalogue.check().await?)
    }

    /// No new connections or events from now on; all connections are told to go.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.hub.tell(&Notice::Stopping);
    }

    /// The log ends once everything is written.
    pub fn stop_log(&self) {
        self.log.stop();
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.seats.count()
    }

    fn check_running(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Refusal::new(Code::ServerStopping, "the server is stopping"));
        }
        Ok(())
    }
}
