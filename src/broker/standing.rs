//! Sessions beyond their sockets: the standing conversation, whose words leave by HTTP responses, and
//! what a socket that ended had followed.
//!
//! Invariant: whoever takes up what another connection followed is given nothing that they may not
//! read.

use crate::broker::{Broker, Entry, Following, From, Seat, Subscribed};
use crate::domain::error::{Code, Refusal};
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Gap, Position};
use crate::domain::session_id::SessionId;
use crate::domain::stream::Target;
use crate::domain::token::Access;
use crate::domain::visitor::Visitor;
use crate::engine::connection::ConnectionKey;
use crate::engine::resume::Resume;
use crate::hub::worker::Worker;
use crate::sessions::standing::{Errand, Followed, Leaving, Taken};
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Broker {
    /// Refused as [`Broker::connect`] would refuse, where there is a connection already.
    pub fn check_session(&self, session: &SessionId, visitor: &Visitor) -> Result<(), Refusal> {
        self.check_running()?;
        self.sessions.check(session)?;
        self.catalogue.token(session.token())?.places.check(visitor)
    }

    /// The standing conversation of a session, if it has one.
    pub fn standing(&self, session: &SessionId) -> Option<mpsc::Sender<Errand>> {
        self.sessions.standing(session)
    }

    /// Gives a connected session its standing conversation; if it has one, that one is returned.
    pub fn stand(&self, session: &SessionId, standing: mpsc::Sender<Errand>) -> Result<(), mpsc::Sender<Errand>> {
        self.sessions.stand(session, standing)
    }

    /// A standing conversation has ended.
    pub fn sit_down(&self, session: &SessionId) {
        self.sessions.sit_down(session);
    }

    /// Keeps a standing conversation's goodbye, which nobody read, for who reads next.
    pub fn keep_goodbye(&self, session: &SessionId, goodbye: Bytes) {
        self.sessions.keep_goodbye(session, goodbye);
    }

    /// The goodbye that was kept; it is not kept any more.
    pub fn take_goodbye(&self, session: &SessionId) -> Option<Bytes> {
        self.sessions.take_goodbye(session)
    }

    /// What is kept of the session's sockets; it is not kept any more.
    pub fn take_kept(&self, session: &SessionId) -> Taken {
        self.sessions.take_kept(session)
    }

    /// What a connection follows.
    pub fn all_followed<P>(&self, worker: &Worker<P>, key: ConnectionKey) -> Vec<Followed> {
        let Some(wire) = worker.shard.borrow().wire(key) else {
            return Vec::new();
        };
        let followed = worker.shard.borrow_mut().followed(key).into_iter();
        let followed = followed.filter_map(|(stream, subscription, terms)| {
            Some(Followed {
                stream,
                epoch: self.epoch(&stream)?,
                subscription,
                terms,
                wire,
                hold: None,
            })
        });
        followed.collect()
    }

    /// Ends what a connection follows, and returns what it was, for another to take up: streams that nobody
    /// declared wait for it.
    pub fn leave_behind<P>(self: &Arc<Self>, worker: &Worker<P>, key: ConnectionKey) -> Vec<Followed> {
        let mut followed = self.all_followed(worker, key);
        for followed in &mut followed {
            followed.hold = self.hold(&followed.stream).map(|hold| Box::new(hold) as Box<_>);
        }
        self.unsubscribe_all(worker, key);
        followed
    }

    /// How a stream is numbered, if there is one.
    pub fn epoch(&self, stream: &StreamId) -> Option<Epoch> {
        self.log.epoch(stream)
    }

    /// Has a connection that follows a stream go on from where its reader says it is. Returns what is to be
    /// told of a gap at once.
    pub fn go_back<P>(
        &self,
        worker: &Worker<P>,
        key: ConnectionKey,
        stream: &StreamId,
        position: Position,
    ) -> Option<Gap> {
        let target = Target::Id(*stream);
        let found = self.catalogue.find(&target).or_else(|| self.find_fleeting(&target))?;
        let view = self.log.open(&found);
        let resume = Resume::since(&view, position);
        let subscription = resume.subscription(&view);
        let is_there = worker.shard.borrow_mut().relocate(key, stream, subscription);
        worker.mailbox.ring();
        resume.told.filter(|_| is_there)
    }

    /// Has a connection follow what another one followed; refused as [`Broker::subscribe`].
    pub fn take_up<P>(
        &self,
        worker: &Worker<P>,
        key: ConnectionKey,
        access: &Access,
        followed: &Followed,
    ) -> Result<Subscribed, Refusal> {
        let following = Following {
            from: From::Kept(followed.epoch, followed.subscription),
            terms: followed.terms.as_deref().cloned(),
            fleeting: false,
        };
        self.subscribe(worker, key, access, &Target::Id(followed.stream), following)
    }
}

impl Seat {
    /// The session that a connection sits here for, if that is what it was let in with.
    pub fn session(&self) -> Option<&SessionId> {
        match &self.entry {
            Entry::Session(session) => Some(session),
            Entry::Channels(_) | Entry::Notices { .. } => None,
        }
    }

    /// Keeps what a connection of the session followed, until somebody takes it up or the session lapses. If
    /// there is no room, who comes next is told; whoever reads already goes on with it.
    pub fn keep(&self, leaving: Leaving) {
        let Some(session) = self.session() else {
            return;
        };
        let sessions = &self.broker.sessions;
        if !sessions.keep(session, self.access.token.company_id, leaving) {
            self.broker.metrics.count_refusal(Code::LimitSubscriptions);
        }
        if let Some(standing) = sessions.standing(session) {
            // Where there is no room for this errand, others wait that have the same done.
            let _ = standing.try_send(Errand::TakeUp);
        }
    }

    /// Nobody listens here for the time being: from now on the session lasts its time to live.
    pub fn rest(&self) {
        if let Some(session) = self.session()
            && !self.rests.replace(true)
        {
            self.broker.sessions.leave(session);
        }
    }

    /// Somebody listens again; refused with `session.lapsed`.
    pub fn wake(&self) -> Result<(), Refusal> {
        if let Some(session) = self.session()
            && self.rests.get()
        {
            self.broker.sessions.enter(session)?;
            self.rests.set(false);
        }
        Ok(())
    }
}
