//! Bodies of HTTP responses that bring what a conversation says: as it comes, or what waited.
//!
//! Invariant: what is not known to have left its connection is given back to the conversation when
//! the body goes.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::protocol::session::wire::{self, Framing};
use crate::protocol::tether::Tether;
use crate::sessions::pipe::{End, Outlet, Piece};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// The response's end of a pipe, and the connection that it leaves by.
pub struct Exit {
    /// What is to be said.
    pub outlet: Rc<Outlet>,
    /// The connection, if it tells of itself.
    pub tether: Option<Rc<Tether>>,
}

impl Exit {
    /// What was taken is given to the connection.
    fn hand_on(&self) {
        match &self.tether {
            Some(tether) => tether.owe(&self.outlet),
            None => self.outlet.confirm(),
        }
    }

    /// Waits until the client has gone.
    pub fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        let tether = self.tether.as_ref();
        tether.map_or(Poll::Pending, |tether| tether.poll_ended(context))
    }
}

/// A body that goes on until the conversation ends, or the client.
pub struct Outflow {
    exit: Exit,
    framing: Framing,
    broker: Arc<Broker>,
    greeting: Option<Bytes>,
    /// Whether the reader is somewhere else than it was told last.
    has_moved: bool,
    quiet: Pin<Box<Sleep>>,
    ping: Duration,
    is_over: bool,
}

impl Outflow {
    /// Says something at least every `ping`.
    pub fn new(exit: Exit, framing: Framing, broker: Arc<Broker>, ping: Duration) -> Self {
        Self {
            exit,
            greeting: framing.greeting(),
            framing,
            broker,
            has_moved: false,
            quiet: Box::pin(sleep(ping)),
            ping,
            is_over: false,
        }
    }

    /// What the next thing to be written is, if it is known.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match self.exit.outlet.poll_take(context) {
                Poll::Ready(Ok(Piece::Place(stream, epoch, offset))) => {
                    self.framing.place(stream, epoch, offset);
                    self.has_moved = true;
                }
                Poll::Ready(Ok(Piece::Chunk(chunk))) => {
                    self.has_moved = false;
                    self.exit.hand_on();
                    let broker = &self.broker;
                    return Poll::Ready(Some(self.framing.frame(chunk, |stream| broker.epoch(stream))));
                }
                Poll::Ready(Err(End::Replaced)) => {
                    let text = "the session is read elsewhere now";
                    let goodbye = wire::goaway(&Refusal::new(Code::SessionMoved, text));
                    self.is_over = true;
                    return Poll::Ready(Some(self.framing.frame(goodbye, |_| None)));
                }
                Poll::Ready(Err(End::Over | End::Dead)) => return Poll::Ready(None),
                Poll::Pending => {
                    let has_moved = std::mem::take(&mut self.has_moved);
                    let place = self.framing.here().filter(|_| has_moved);
                    return place.map_or(Poll::Pending, |place| Poll::Ready(Some(place)));
                }
            }
        }
    }
}

impl MessageBody for Outflow {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.is_over || this.exit.poll_gone(context).is_ready() {
            return Poll::Ready(None);
        }
        let said = match this.greeting.take() {
            Some(greeting) => Poll::Ready(Some(greeting)),
            None => this.poll_piece(context),
        };
        if said.is_pending() && this.quiet.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        this.quiet.as_mut().reset(Instant::now() + this.ping);
        match said {
            Poll::Ready(said) => Poll::Ready(said.map(Ok)),
            Poll::Pending => Poll::Ready(Some(Ok(this.framing.heartbeat()))),
        }
    }
}

/// A body that brings what waited.
pub struct Polled {
    exit: Exit,
    body: Bytes,
}

impl Polled {
    /// Takes all that waits.
    pub fn new(exit: Exit) -> Self {
        let body = wire::array(&exit.outlet.take_all());
        Self { exit, body }
    }
}

impl MessageBody for Polled {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.body.len() as u64)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        let body = std::mem::take(&mut this.body);
        if body.is_empty() {
            return Poll::Ready(None);
        }
        this.exit.hand_on();
        Poll::Ready(Some(Ok(body)))
    }
}
