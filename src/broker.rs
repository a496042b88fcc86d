//! What the product does: sessions are opened, connections come and go, events are published to
//! streams and delivered to whoever subscribes.
//!
//! Every protocol asks here and nowhere else; no wire format is known here. Each verb goes in the
//! same steps: who may (scope) → is there room (limits) → do it. Invariant: another company's
//! stream cannot be told from one that does not exist.

mod access;
mod audit;
mod events;
mod fleeting;
mod following;
mod lockout;
mod notices;
mod overview;
mod passwords;
mod people;
mod rates;
mod seats;
mod signing;
mod standing;
mod streams;
mod tokens;
mod watching;
mod wishes;

pub use overview::{Overview, Problem};
pub use people::SignedIn;
pub use seats::{Entry, Seat};
pub use watching::{Numbers, Sums, Watched};
pub use wishes::{Following, From, Listing, Publishing, Subscribed};

use crate::broker::fleeting::{Fleeting, Gone};
use crate::broker::lockout::Lockout;
use crate::broker::passwords::Passwords;
use crate::broker::people::Telling;
use crate::broker::rates::Rates;
use crate::broker::seats::Seats;
use crate::broker::watching::Watching;
use crate::catalogue::Catalogue;
use crate::database::{Space, now_ms};
use crate::domain::error::{Code, Error, Fault, Refusal};
use crate::domain::event::Draft;
use crate::domain::id::IdentityId;
use crate::domain::limits::Limits;
use crate::domain::news::News;
use crate::domain::scope::Verb;
use crate::domain::stream::{Stream, Target};
use crate::domain::token::Access;
use crate::engine::filter::Subject;
use crate::hub::Hub;
use crate::hub::mailbox::Notice;
use crate::log::{Log, Publication, Published, RequestKey};
use crate::metrics::Metrics;
use crate::sessions::Sessions;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One server's product, shared by all its workers.
pub struct Broker {
    catalogue: Catalogue,
    sessions: Sessions,
    log: Log,
    hub: Arc<Hub>,
    limits: Limits,
    metrics: Arc<Metrics>,
    seats: Seats,
    fleeting: Fleeting,
    watching: Watching,
    rates: Rates,
    /// How full the disk was when last looked at.
    space: Mutex<Space>,
    lockout: Lockout,
    passwords: Passwords,
    telling: Telling,
    /// Streams deleted since the last look.
    gone: Gone,
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
        let rates = Rates::new(&limits);
        Self {
            catalogue,
            sessions,
            log,
            hub,
            limits,
            metrics,
            seats: Seats::default(),
            fleeting: Fleeting::default(),
            watching: Watching::default(),
            rates,
            space: Mutex::default(),
            lockout: Lockout::new(),
            passwords: Passwords::new(),
            telling: Telling::default(),
            gone: Gone::default(),
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

    // Publishing

    /// Writes all of it, in order, or nothing; returns once it is as safe as was asked for.
    pub async fn publish(&self, access: &Access, publishing: Publishing) -> Result<Published, Error> {
        self.check_running()?;
        self.rates
            .publish(access.token.key, publishing.drafts.len(), &self.limits)?;
        let asked = self.metrics.delivery_seconds.stamp();
        let (creator, now_ms) = (access.token.creator, now_ms());
        let key = publishing.key;
        let key = key.map(|(key, request)| RequestKey::new(creator, &key, &request));
        // What a stream's filter took once is answered again, though the filter may be another now.
        let is_retry = key.is_some_and(|key| self.log.was_answered(&key, now_ms));
        let mut drafts = Vec::with_capacity(publishing.drafts.len());
        let mut last: Option<(Target, Arc<Stream>)> = None;
        for (target, draft) in publishing.drafts {
            // Many events of one request mostly go to one stream, which is looked for once.
            let stream = match last.take() {
                Some((same, stream)) if same == target => stream,
                _ => match self.find(access, Verb::Write, &target) {
                    Err(refusal) if publishing.fleeting && self.is_unheard(access, &refusal, &target) => continue,
                    found => found?,
                },
            };
            last = Some((target, Arc::clone(&stream)));
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
            asked,
            drafts,
            ack: publishing.ack,
            expected,
            key,
        };
        let published = self.log.append(publication).await?;
        if !is_retry {
            self.watching
                .room(access.token.company_id)
                .publish(published.events.len());
        }
        Ok(published)
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

    // What happens by itself

    /// Follows what changed in the catalogue, by us or by another process, and draws the conclusions.
    pub async fn follow_changes(&self) -> Result<(), Fault> {
        let ended = self.catalogue.refresh().await?;
        for token in ended.tokens {
            self.hub.tell(&Notice::TokenEnded(token));
        }
        for guest in ended.guests {
            self.hub.tell(&Notice::GuestsEnded(guest));
        }
        for stream in &ended.changed {
            self.log.adjust(stream);
        }
        for (from, to) in self.take_declared(&ended.changed) {
            self.hub.tell(&Notice::StreamDeclared(from, to));
        }
        for stream in &ended.streams {
            self.log.forget(stream);
            self.hub.tell(&Notice::StreamGone(*stream));
        }
        // Whoever found a stream just before it went may have published just after.
        for stream in self.gone.take(|stream| !self.log.awaits(stream)) {
            // The same id may have been declared since.
            if self.catalogue.find(&Target::Id(stream)).is_none() {
                self.log.forget(&stream);
            }
        }
        ended.streams.into_iter().for_each(|stream| self.gone.leave(stream));
        for (company, user) in &ended.users {
            self.tell_news(company, News::Removed, user);
        }
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
