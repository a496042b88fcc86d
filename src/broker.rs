//! What the product does: sessions are opened, connections come and go, events are published to
//! streams and delivered to whoever subscribes.
//!
//! Every protocol asks here and nowhere else; no wire format is known here. Each verb goes in the
//! same steps: who may (scope) → is there room (limits) → do it. Invariant: another company's
//! stream cannot be told from one that does not exist.

use crate::catalogue::{self, Catalogue};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::event::{Draft, Event};
use crate::domain::id::{StreamId, TokenKey};
use crate::domain::limits::Limits;
use crate::domain::path::Path;
use crate::domain::scope::{Scope, ScopeJson, Verb};
use crate::domain::session_id::SessionId;
use crate::domain::stream::{NewStream, Stream, StreamChange, StreamPage, Target};
use crate::domain::token::{Access, Token};
use crate::engine::connection::ConnectionKey;
use crate::engine::shard::Read;
use crate::hub::Hub;
use crate::hub::mailbox::Notice;
use crate::hub::worker::Worker;
use crate::log::Log;
use crate::metrics::Metrics;
use crate::sessions::{Sessions, Wishes};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
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
    connections: Mutex<Connections>,
    /// Streams deleted since the last look.
    gone: Mutex<Vec<StreamId>>,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Connections {
    total: usize,
    by_company: HashMap<i64, usize>,
}

/// A place for one connection of a session; dropping it gives the place back.
pub struct Seat {
    /// Who sits here and what they may do.
    pub access: Access,
    broker: Arc<Broker>,
    session: SessionId,
}

impl Broker {
    /// Puts the owners together.
    pub fn new(catalogue: Catalogue, sessions: Sessions, hub: Arc<Hub>, limits: Limits, metrics: Arc<Metrics>) -> Self {
        Self {
            catalogue,
            sessions,
            log: Log::new(limits.max_log_bytes, Arc::clone(&hub), Arc::clone(&metrics)),
            hub,
            limits,
            metrics,
            connections: Mutex::default(),
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

    /// Opens a session of the asker's token, narrowed to `paths` if given; never to more than it has.
    pub fn open_session(
        &self,
        access: &Access,
        paths: Option<&ScopeJson>,
        ttl: Option<Duration>,
    ) -> Result<SessionId, Refusal> {
        let scope = paths.map(|paths| self.narrow(&access.token, paths)).transpose()?;
        self.sessions.issue(access.token.key, Wishes { scope, ttl })
    }

    /// Takes a place for a connection of the session.
    pub fn connect(self: &Arc<Self>, session: SessionId) -> Result<Seat, Refusal> {
        self.check_running()?;
        self.sessions.verify(&session)?;
        let token = self.catalogue.token(session.token())?;
        self.count_in(&token)?;
        match self.sessions.enter(&session) {
            Ok(narrowed) => Ok(Seat {
                access: Access { token, narrowed },
                broker: Arc::clone(self),
                session,
            }),
            Err(refusal) => {
                self.count_out(&token);
                Err(refusal)
            }
        }
    }

    /// Refused when a connection's token is no longer good, whatever was or was not told of it.
    pub fn check_token(&self, token: TokenKey) -> Result<(), Refusal> {
        self.catalogue.check_token(token)
    }

    // Publishing and subscribing

    /// Writes all of `drafts`, in order, or none of them.
    pub async fn publish(&self, access: &Access, drafts: Vec<(Target, Draft)>) -> Result<Vec<Arc<Event>>, Refusal> {
        self.check_running()?;
        let mut placed = Vec::with_capacity(drafts.len());
        for (target, draft) in drafts {
            placed.push((self.find(access, Verb::Write, &target)?, draft));
        }
        Ok(self.log.append(access.token.creator, catalogue::now_ms(), placed).await)
    }

    /// Subscribes a connection to what is published from now on; doing it twice is doing it once.
    ///
    /// The worker is made to listen before the head is read, so nothing falls between. Nothing is
    /// pushed here: the caller pushes the acknowledgement before this thread delivers again.
    pub fn subscribe<P>(
        &self,
        worker: &Worker<P>,
        key: ConnectionKey,
        access: &Access,
        target: &Target,
    ) -> Result<(), Refusal> {
        let stream = self.find(access, Verb::Read, target)?.id;
        if worker.shard.borrow().subscribes(key, &stream) {
            return Ok(());
        }
        let most = self.limits.max_subscriptions;
        if worker.shard.borrow().subscription_count(key) >= most {
            let text = format!("a connection has at most {most} subscriptions");
            return Err(Refusal::new(Code::LimitSubscriptions, text));
        }
        worker.listen(stream);
        let cursor = self.log.head(&stream);
        worker.shard.borrow_mut().subscribe(key, stream, cursor);
        self.metrics.subscriptions.inc();
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

    /// Reads the log for a subscription that is behind.
    pub fn catch_up<P>(&self, worker: &Worker<P>, read: &Read) {
        let page = self.log.read(&read.stream, read.after);
        worker.shard.borrow_mut().on_page(read, &page);
    }

    /// A stream is no more: its subscriptions end.
    pub fn end_stream<P>(&self, worker: &Worker<P>, stream: &StreamId) {
        let ended = worker.shard.borrow_mut().drop_stream(stream);
        self.metrics.subscriptions.dec_by(ended as i64);
        worker.ignore(stream);
    }

    // Streams

    /// The stream somebody means, if they may do `verb` to it.
    pub fn find(&self, access: &Access, verb: Verb, target: &Target) -> Result<Arc<Stream>, Refusal> {
        if let Target::Path(path) = target {
            access.check_path(verb, path)?;
        }
        let stream = self.catalogue.find(target).ok_or_else(|| Refusal::no_stream(target))?;
        if let Target::Id(_) = target {
            access.check_stream(verb, &stream)?;
        }
        Ok(stream)
    }

    /// The stream somebody means, if they may do anything at all to it.
    pub fn look_up(&self, access: &Access, target: &Target) -> Result<Arc<Stream>, Refusal> {
        let touches = |path: &Path| access.scope().touches(path);
        if let Target::Path(path) = target
            && path.company() == access.token.company.as_str()
            && !touches(path)
        {
            return Err(Refusal::new(Code::ScopeDenied, format!("no right to {path}")));
        }
        let found = self.catalogue.find(target).filter(|stream| touches(&stream.path));
        found.ok_or_else(|| Refusal::no_stream(target))
    }

    /// The streams that somebody may do anything to, by path.
    pub async fn list_streams(&self, access: &Access, page: StreamPage) -> Result<Vec<Stream>, Error> {
        let wanted = |path: &Path| access.scope().touches(path);
        self.catalogue.streams_of(&access.token.company, page, wanted).await
    }

    /// Makes a stream.
    pub async fn add_stream(&self, access: &Access, new: &NewStream) -> Result<Stream, Error> {
        let company = &access.token.company;
        if new.path.company() != company.as_str() {
            let text = format!("a stream of company {company} has a path that starts with /{company}/");
            return Err(Refusal::new(Code::ScopeDenied, text).into());
        }
        access.check_path(Verb::Manage, &new.path)?;
        self.limits.check_capacity(new.capacity)?;
        self.limits.check_text("a description", &new.description)?;
        let most = self.limits.max_streams;
        if self.catalogue.stream_count(company.as_str()) >= most {
            let text = format!("a company has at most {most} streams");
            return Err(Refusal::new(Code::LimitStreams, text).into());
        }
        let stream = self.catalogue.add_stream(new, access.token.creator).await?;
        self.follow_changes().await?;
        Ok(stream)
    }

    /// Changes a stream.
    pub async fn change_stream(&self, access: &Access, id: StreamId, change: &StreamChange) -> Result<Stream, Error> {
        self.find(access, Verb::Manage, &Target::Id(id))?;
        self.limits.check_capacity(change.capacity.unwrap_or(0))?;
        self.limits
            .check_text("a description", change.description.as_deref().unwrap_or_default())?;
        let changed = self.catalogue.change_stream(id, change, access.token.creator).await?;
        self.follow_changes().await?;
        Ok(changed.ok_or_else(|| Refusal::no_stream(id))?)
    }

    /// Deletes a stream, its events and everybody's subscription to it.
    pub async fn remove_stream(&self, access: &Access, id: StreamId) -> Result<(), Error> {
        self.find(access, Verb::Manage, &Target::Id(id))?;
        self.catalogue.remove_stream(id).await?;
        Ok(self.follow_changes().await?)
    }

    // What happens by itself

    /// Follows what changed in the catalogue, by us or by another process, and draws the conclusions.
    pub async fn follow_changes(&self) -> Result<(), Fault> {
        let ended = self.catalogue.refresh().await?;
        for token in ended.tokens {
            self.hub.tell(&Notice::TokenEnded(token));
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
        Ok(self.catalogue.check().await?)
    }

    /// No new connections or events from now on; all connections are told to go.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.hub.tell(&Notice::Stopping);
    }

    /// How many connections there are.
    pub fn connection_count(&self) -> usize {
        self.connections.lock().total
    }

    fn narrow(&self, token: &Token, paths: &ScopeJson) -> Result<Scope, Refusal> {
        let scope = Scope::parse(paths, &token.company, self.limits.max_patterns)?;
        if !token.scope.covers(&scope) {
            let text = "\"paths\" asks for more than the token may do";
            return Err(Refusal::new(Code::ScopeDenied, text));
        }
        Ok(scope)
    }

    fn count_in(&self, token: &Token) -> Result<(), Refusal> {
        let mut connections = self.connections.lock();
        let (most, most_each) = (self.limits.max_connections, self.limits.max_company_connections);
        if connections.total >= most {
            let text = format!("{most} connections are open, more are not allowed");
            return Err(Refusal::new(Code::LimitConnections, text));
        }
        let of_company = connections.by_company.entry(token.company_id).or_default();
        if *of_company >= most_each {
            let text = format!("a company has at most {most_each} connections");
            return Err(Refusal::new(Code::LimitConnections, text));
        }
        *of_company += 1;
        connections.total += 1;
        drop(connections);
        self.metrics.connections.inc();
        self.metrics.connections_opened.inc();
        Ok(())
    }

    fn count_out(&self, token: &Token) {
        let mut connections = self.connections.lock();
        connections.total -= 1;
        if let Entry::Occupied(mut of_company) = connections.by_company.entry(token.company_id) {
            *of_company.get_mut() -= 1;
            if *of_company.get() == 0 {
                of_company.remove();
            }
        }
        drop(connections);
        self.metrics.connections.dec();
    }

    fn check_running(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::SeqCst) {
            return Err(Refusal::new(Code::ServerStopping, "the server is stopping"));
        }
        Ok(())
    }
}

impl Seat {
    /// The product this seat is in.
    pub fn broker(&self) -> &Broker {
        &self.broker
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.broker.count_out(&self.access.token);
        self.broker.sessions.leave(&self.session);
    }
}
