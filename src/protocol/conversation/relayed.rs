//! A conversation whose words leave by HTTP responses, one after the other, and that is asked by
//! errands rather than by frames.
//!
//! Nothing is read, so nothing is pinged: who takes what is said lives, as the socket under the response
//! knows. Invariants: while nobody takes it the session lasts its time to live and no longer; the task ends
//! promptly, whoever takes the rest.

use crate::broker::Seat;
use crate::domain::error::Code;
use crate::protocol::conversation::{Conversation, Opening};
use crate::protocol::line::{Ending, Line, Ready};
use crate::protocol::pump::{self, Desk};
use crate::protocol::relay::Relay;
use crate::protocol::socket::Socket;
use crate::protocol::speech::Speech;
use crate::sessions::pipe::{Inlet, Parting, Piece};
use crate::sessions::standing::Errand;
use bytes::{Bytes, BytesMut};
use std::future::pending;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a standing conversation is asked for, and how it answers.
pub struct Errands {
    /// The way in.
    pub receiver: mpsc::Receiver<Errand>,
    /// Answers one.
    pub answer: fn(&Rc<Conversation>, Errand),
}

impl Errands {
    /// Takes no more. Of those that came too late, the first of which may be out already, returns where the
    /// last one wanted to have everything said.
    fn close(&mut self, first: Option<Errand>) -> Option<Inlet> {
        self.receiver.close();
        let rest = std::iter::from_fn(|| self.receiver.try_recv().ok());
        let inlets = first.into_iter().chain(rest).filter_map(|errand| match errand {
            Errand::Attach { inlet, .. } => Some(inlet),
            Errand::Request { .. } | Errand::TakeUp | Errand::HandOver { .. } => None,
        });
        inlets.last()
    }
}

enum Next {
    Errand(Option<Errand>),
    Ready(Ready),
    Left(Parting),
}

impl Conversation {
    /// Registers a conversation without a socket; `peer` is who it begins for.
    pub fn relayed(desk: Rc<Desk>, seat: Seat, speech: &'static Speech, peer: Option<SocketAddr>) -> Rc<Self> {
        let token = &seat.access.token;
        tracing::info!(target: "streamgate::access", peer = peer.map(tracing::field::display), company = %token.company, token = %token.key, "connection opened");
        let opening = Opening {
            line: Line::new(Socket::Relay(Box::default())),
            peer,
            speech,
            early: BytesMut::new(),
            answer: Bytes::new(),
        };
        Self::register(desk, seat, opening)
    }

    /// The relay of a conversation without a socket.
    fn relay(&self) -> &Relay {
        self.line.relay().expect("a relayed conversation has a relay")
    }

    /// Runs until it is over. With errands it outlives the responses that take its words; without, it
    /// ends with the first.
    pub async fn run_relayed(self: Rc<Self>, mut errands: Option<Errands>) {
        pump::flush(&self.desk, self.key);
        let mut late = None;
        while !self.is_over() {
            match self.next(&mut errands).await {
                Next::Errand(Some(errand)) => {
                    // These take what is said from who reads.
                    if matches!(errand, Errand::Attach { .. } | Errand::HandOver { .. }) {
                        self.relay().settled().await;
                    }
                    match &errands {
                        // It ended just now, and only has to part.
                        _ if self.is_over() => late = Some(errand),
                        Some(errands) => (errands.answer)(&self, errand),
                        None => {}
                    }
                    self.relay().go_on();
                    pump::flush(&self.desk, self.key);
                }
                // Its session has lapsed, and is forgotten.
                Next::Errand(None) => self.line.break_off(Ending::Refused(Code::SessionLapsed)),
                Next::Ready(Ready::Write) => pump::flush_again(&self.desk, self.key),
                Next::Ready(_) => {}
                Next::Left(parting) => self.detach(parting, errands.is_some()),
            }
        }
        let late = errands.as_mut().and_then(|errands| errands.close(late));
        self.finish(errands.is_some(), late);
    }

    async fn next(&self, errands: &mut Option<Errands>) -> Next {
        let errand = async {
            match errands {
                Some(errands) => errands.receiver.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            errand = errand => Next::Errand(errand),
            parting = self.relay().left() => Next::Left(parting),
            ready = self.line.ready(false) => Next::Ready(ready),
        }
    }

    /// Nobody takes what is said any more.
    fn detach(&self, parting: Parting, stands: bool) {
        self.put_unsaid(self.relay().detach());
        if parting == Parting::Dead {
            self.seat.broker().metrics().peers_dead.inc();
        }
        match (stands, parting) {
            (true, _) => self.seat.rest(),
            (false, Parting::Dead) => self.line.break_off(Ending::Dead),
            (false, Parting::Gone) => self.line.break_off(Ending::Lost),
        }
    }

    /// Whether its words leave by HTTP responses.
    pub fn is_relayed(&self) -> bool {
        self.line.relay().is_some()
    }

    /// Whether somebody takes what is said.
    pub fn is_attached(&self) -> bool {
        self.relay().is_attached()
    }

    /// What is said from now on leaves there, and what was not taken before. `places` are told first.
    pub fn attach(&self, inlet: Inlet, places: impl Iterator<Item = Piece>) {
        self.relay().attach(inlet, places);
        // What was taken out of the outbox may have been what a subscription waited for.
        if self.desk.shard.borrow_mut().has_written(self.key, 0) {
            self.desk.mailbox.ring();
        }
        self.line.wake();
    }

    /// Takes out everything that was said and that nobody has taken; a response that was there ends.
    pub fn take_unsaid(&self) -> Vec<Bytes> {
        let mut unsaid = self.relay().detach();
        if let Some(connection) = self.desk.shard.borrow_mut().get_mut(self.key) {
            unsaid.extend(connection.outbox.take().0);
        }
        unsaid
    }

    /// Gives back what was taken out, or what is left of it: it waits before all else, and takes up room.
    pub fn put_unsaid(&self, unsaid: Vec<Bytes>) {
        if let Some(connection) = self.desk.shard.borrow_mut().get_mut(self.key) {
            connection.outbox.put_back(unsaid);
            pump::note(connection);
        }
    }

    /// Tells where a new subscription begins, to who keeps places.
    pub fn tell_place(&self, place: Piece) {
        if let Some(relay) = self.line.relay() {
            relay.tell(place);
        }
    }

    /// It has nothing more to say, here.
    pub fn end(&self, ending: Ending) {
        self.line.break_off(ending);
    }

    /// Whoever takes what is said gets the rest, the goodbye last. Of what stands for its session, who came too
    /// `late` gets the goodbye, too; if nobody is there to read it, the session keeps it.
    fn finish(&self, stands: bool, late: Option<Inlet>) {
        let broker = self.seat.broker();
        broker.unsubscribe_all(&self.desk, self.key);
        let (mut rest, mut was_dismissed) = (Vec::new(), false);
        if let Some(connection) = self.desk.shard.borrow_mut().get_mut(self.key) {
            rest = connection.outbox.take().0;
            was_dismissed = connection.closing;
        }
        let reader = self.relay().release();
        let goodbye = rest.last().cloned();
        // It may have gone ahead to who reads.
        let goodbye = goodbye.or_else(|| reader.as_ref().and_then(Inlet::last));
        let goodbye = goodbye.filter(|_| stands && was_dismissed);
        match (goodbye, late, reader) {
            (Some(goodbye), Some(late), reader) => {
                drop(reader.map(|reader| reader.finish(rest)));
                self.say_last(late, vec![goodbye]);
            }
            (Some(_), None, Some(reader)) => self.say_last(reader, rest),
            (Some(goodbye), None, None) => _ = self.seat.session().map(|session| broker.keep_goodbye(session, goodbye)),
            (None, _, reader) => drop(reader.map(|reader| reader.finish(rest))),
        }
        if let Some(session) = self.seat.session() {
            broker.sit_down(session);
        }
        self.log_end();
    }

    /// Says these words there, and no more. If the goodbye, the last of them, does not leave, the session keeps it
    /// for who reads next.
    pub fn say_last(&self, inlet: Inlet, words: Vec<Bytes>) {
        let (broker, session) = (Arc::clone(self.seat.broker()), self.seat.session().copied());
        let unread = inlet.finish(words);
        actix_rt::spawn(async move {
            if let (Some(goodbye), Some(session)) = (unread.await.pop(), session) {
                broker.keep_goodbye(&session, goodbye);
            }
        });
    }
}
