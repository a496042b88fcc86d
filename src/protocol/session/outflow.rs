//! Bodies of HTTP responses that bring what a conversation says: as it comes, or what waited.
//!
//! A connection is given something only when all that it was given before has left, so it is known to the
//! byte what has. Invariant: when the body goes, the lines that had not left whole are given back to the
//! conversation. Of an answer to a poll that is all of them, because nobody can read a part of an array; behind
//! TLS too, because nobody outside knows what of a record has left: they are doubled then rather than lost.

use crate::broker::Broker;
use crate::domain::error::{Code, Refusal};
use crate::protocol::session::wire::{self, Framing};
use crate::protocol::tether::Tether;
use crate::sessions::pipe::{End, Outlet, Piece, Written};
use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep};

/// Lines that gather while others leave are joined until they have as many bytes: about what actix-http
/// writes at once.
const JOINED_BYTES: usize = 32_768;

/// The response's end of a pipe, and the connection that it leaves by.
pub struct Exit {
    /// What is to be said.
    pub outlet: Rc<Outlet>,
    /// The connection.
    tether: Rc<Tether>,
}

impl Exit {
    /// By this connection.
    pub fn new(outlet: Outlet, tether: &Rc<Tether>) -> Self {
        tether.answer(true);
        Self {
            outlet: Rc::new(outlet),
            tether: Rc::clone(tether),
        }
    }

    /// The connection is given something.
    fn hand_on(&self) {
        self.tether.owe(&self.outlet);
    }

    /// Waits until all has left that the connection was given.
    pub async fn clear(&self) {
        self.hand_on();
        poll_fn(|context| self.tether.poll_paid(context)).await;
    }

    /// Waits until the client has gone.
    pub fn poll_gone(&self, context: &Context<'_>) -> Poll<()> {
        self.tether.poll_ended(context)
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        self.tether.answer(false);
    }
}

/// What a body that goes on has brought so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing; the head is on its way.
    Head,
    /// Something, maybe.
    Flow,
    /// The goodbye.
    Over,
}

/// A body that goes on until the conversation ends, or the client.
pub struct Outflow {
    exit: Exit,
    framing: Framing,
    broker: Arc<Broker>,
    /// Whether HTTP writes it in chunks.
    is_chunked: bool,
    stage: Stage,
    greeting: Option<Bytes>,
    /// Whether the reader is somewhere else than it was told last.
    has_moved: bool,
    quiet: Pin<Box<Sleep>>,
    ping: Duration,
}

impl Outflow {
    /// Says something at least every `ping`; as HTTP writes it, in chunks or as it is.
    pub fn new(exit: Exit, framing: Framing, broker: Arc<Broker>, ping: Duration, is_chunked: bool) -> Self {
        Self {
            exit,
            greeting: framing.greeting(),
            framing,
            broker,
            is_chunked,
            stage: Stage::Head,
            has_moved: false,
            quiet: Box::pin(sleep(ping)),
            ping,
        }
    }

    /// What the next thing to be written is, if it is known.
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(greeting) = self.greeting.take() {
            return Poll::Ready(Some(greeting));
        }
        let mut texts = Vec::new();
        let end = self.take(context, &mut texts);
        if !texts.is_empty() {
            return Poll::Ready(Some(self.join(texts)));
        }
        match end {
            Some(End::Replaced) => {
                let text = "the session is read elsewhere now";
                let goodbye = wire::goaway(&Refusal::new(Code::SessionMoved, text));
                self.stage = Stage::Over;
                Poll::Ready(Some(self.framing.frame(goodbye, |_| None)))
            }
            Some(End::Over | End::Cut) => Poll::Ready(None),
            None => {
                let has_moved = std::mem::take(&mut self.has_moved);
                let place = self.framing.here().filter(|_| has_moved);
                place.map_or(Poll::Pending, |place| Poll::Ready(Some(place)))
            }
        }
    }

    /// Takes what waits, as far as it goes out together; returns why there is no more, if there never will be.
    fn take(&mut self, context: &Context<'_>, texts: &mut Vec<Bytes>) -> Option<End> {
        let mut length = 0;
        while length < JOINED_BYTES {
            match self.exit.outlet.poll_take(context) {
                Poll::Ready(Ok(Piece::Place(stream, place))) => {
                    self.framing.place(stream, place);
                    self.has_moved = true;
                }
                Poll::Ready(Ok(Piece::Chunk(chunk))) => {
                    let broker = &self.broker;
                    let text = self.framing.frame(chunk, |stream| broker.epoch(stream));
                    length += text.len();
                    texts.push(text);
                    self.has_moved = false;
                }
                Poll::Ready(Err(end)) => return Some(end),
                Poll::Pending => return None,
            }
        }
        None
    }

    fn join(&self, mut texts: Vec<Bytes>) -> Bytes {
        let text = match texts.len() {
            1 => texts.remove(0),
            _ => Bytes::from(texts.concat()),
        };
        self.exit.outlet.write_as(Written {
            text: text.clone(),
            lead: if self.is_chunked { chunk_lead(text.len()) } else { 0 },
            end: self.framing.end(),
        });
        text
    }
}

/// What HTTP's chunked coding writes before a chunk of so many bytes: their number and a line break (RFC 9112
/// §7.1).
fn chunk_lead(length: usize) -> usize {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    digits as usize + 2
}

impl MessageBody for Outflow {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let this = self.get_mut();
        if this.stage == Stage::Over || this.exit.poll_gone(context).is_ready() {
            return Poll::Ready(None);
        }
        if this.stage == Stage::Head {
            this.exit.hand_on();
            this.stage = Stage::Flow;
        }
        ready!(this.exit.tether.poll_paid(context));
        let mut said = this.poll_piece(context);
        if said.is_pending() {
            ready!(this.quiet.as_mut().poll(context));
            said = Poll::Ready(Some(this.framing.heartbeat()));
        }
        this.quiet.as_mut().reset(Instant::now() + this.ping);
        this.exit.hand_on();
        said.map(|said| said.map(Ok))
    }
}

/// A body that brings what waited.
pub struct Polled {
    exit: Exit,
    body: Bytes,
}

impl Polled {
    /// Takes all that waits; the connection must be clear.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_before_a_chunk_is_known() {
        for length in [1, 9, 15, 16, 255, 256, 4_095, 4_096, 65_535, 65_536] {
            assert_eq!(chunk_lead(length), format!("{length:X}\r\n").len(), "{length}");
        }
    }
}
