//! One connection from its upgrade to its end: reads what arrives and has the protocol answer.
//!
//! Runs as one task on its worker; what others have to say to the peer they put into the outbox.
//! Invariant: when the task ends, nothing of the connection stays anywhere.

mod relayed;
mod turns;

pub use relayed::Errands;

use crate::broker::Seat;
use crate::domain::error::{Code, Refusal};
use crate::engine::connection::ConnectionKey;
use crate::protocol::conversation::turns::Turns;
use crate::protocol::frame;
use crate::protocol::inbound::{Arrival, Inbound};
use crate::protocol::line::{Ending, Line, Ready};
use crate::protocol::pump::{self, Desk, Port};
use crate::protocol::speech::{Binary, Oversize, Speech};
use bytes::{Bytes, BytesMut};
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

/// How long a connection that was told goodbye has to take it.
const FAREWELL: Duration = Duration::from_secs(5);
/// What is read at once.
const READ_BYTES: usize = 16_384;
/// Reads before others get their turn.
const READS: usize = 4;
/// Bytes thrown away after a goodbye before the connection is cut.
const DISCARD_BYTES: usize = 1_048_576;

thread_local! {
    /// Reading needs memory only while it happens, so the worker's connections share it.
    static SCRATCH: RefCell<BytesMut> = RefCell::new(BytesMut::with_capacity(READ_BYTES));
}

/// A connection's own task.
pub struct Conversation {
    /// The worker it lives on.
    pub desk: Rc<Desk>,
    /// Its name there.
    pub key: ConnectionKey,
    /// Who sits here.
    pub seat: Seat,
    line: Rc<Line>,
    /// How it spoke when it began.
    pub speech: &'static Speech,
    inbound: RefCell<Inbound>,
    /// Requests that are not answered yet.
    open_requests: Cell<usize>,
    /// Of requests that wait for each other, if there ever were any.
    turns: OnceCell<Box<Turns>>,
    /// Whether nothing is read for the time being.
    is_held: Cell<bool>,
    opened: Instant,
}

/// What an upgrade hands over.
pub struct Opening {
    /// The connected socket.
    pub line: Line,
    /// Where it is connected to.
    pub peer: Option<SocketAddr>,
    /// The protocol to be spoken.
    pub speech: &'static Speech,
    /// What the peer sent already.
    pub early: BytesMut,
    /// What the peer is to be sent first: the answer to its upgrade.
    pub answer: Bytes,
}

impl Conversation {
    /// Registers the connection with its worker and starts its task.
    pub fn start(desk: Rc<Desk>, seat: Seat, opening: Opening) {
        actix_rt::spawn(Self::register(desk, seat, opening).run());
    }

    fn register(desk: Rc<Desk>, mut seat: Seat, opening: Opening) -> Rc<Self> {
        let line = Rc::new(opening.line);
        let now = desk.now();
        let token = seat.access.token.key;
        let dialect = &opening.speech.dialect;
        let port = |key| Port {
            line: Rc::clone(&line),
            watched: seat.show((desk.id, key), dialect.wire, opening.peer),
            speech: opening.speech,
        };
        let key = desk.shard.borrow_mut().open(port, dialect, token, now);
        desk.pulse.borrow_mut().watch(key, now);
        desk.shard.borrow_mut().reply(key, opening.answer);
        let mut inbound = Inbound::new((opening.speech.max_bytes)(seat.broker().limits()));
        inbound.partial = opening.early;
        Rc::new(Self {
            desk,
            key,
            seat,
            line,
            speech: opening.speech,
            inbound: RefCell::new(inbound),
            open_requests: Cell::new(0),
            turns: OnceCell::new(),
            is_held: Cell::new(false),
            opened: Instant::now(),
        })
    }

    /// How it came to its end, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.line.ending()
    }

    /// When it began.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Whether nothing can be written or read any more.
    pub fn is_broken(&self) -> bool {
        self.line.is_broken()
    }

    /// Reads nothing until it is let go on.
    pub fn hold(&self) {
        self.is_held.set(true);
    }

    /// Reads on.
    pub fn go_on(&self) {
        self.is_held.set(false);
        self.line.wake();
    }

    /// Queues a reply; it is written when the message that caused it has been dealt with.
    pub fn reply(&self, frame: Bytes) {
        self.desk.shard.borrow_mut().reply(self.key, frame);
    }

    /// Counts a request in that will be answered later; refused with `limit.requests`.
    pub fn begin_request(&self) -> Result<(), Refusal> {
        let most = self.seat.broker().limits().max_open_requests;
        if self.open_requests.get() >= most {
            let text = format!("a connection has at most {most} requests that wait for an answer");
            return Err(Refusal::new(Code::LimitRequests, text));
        }
        self.open_requests.set(self.open_requests.get() + 1);
        Ok(())
    }

    /// Its answer is queued.
    pub fn end_request(&self) {
        self.open_requests.set(self.open_requests.get() - 1);
        pump::flush(&self.desk, self.key);
    }

    /// Does something that may take its time, while other requests go on; refused with `limit.requests`.
    ///
    /// It begins at once, so that a burst of what waits for nothing never counts as many open requests.
    pub fn undertake(self: &Rc<Self>, work: impl Future<Output = ()> + 'static) -> Result<(), Refusal> {
        self.begin_request()?;
        let at = Rc::clone(self);
        let mut work = Box::pin(async move {
            work.await;
            at.end_request();
        });
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            actix_rt::spawn(work);
        }
        Ok(())
    }

    async fn run(self: Rc<Self>) {
        (self.speech.begin)(&self);
        pump::flush(&self.desk, self.key);
        self.serve(|this| this.is_held.get()).await;
        self.read_early();
        pump::flush(&self.desk, self.key);
        self.serve(|_| true).await;
        self.tell_of_room();
        (self.speech.part)(&self);
        self.seat.broker().unsubscribe_all(&self.desk, self.key);
        // The rest is rare and long; it gets its memory when it happens.
        Box::pin(self.farewell()).await;
    }

    /// Reads and writes as long as it goes on, and is to.
    async fn serve(self: &Rc<Self>, goes_on: fn(&Self) -> bool) {
        while !self.is_over() && goes_on(self) {
            match self.line.ready(self.has_room()).await {
                Ready::Read => self.read(),
                Ready::Write => pump::flush_again(&self.desk, self.key),
                Ready::Woken => {}
            }
            self.tell_of_room();
        }
    }

    /// What came with the upgrade, in a buffer of actix-http's that is not to be kept.
    fn read_early(self: &Rc<Self>) {
        let early = std::mem::take(&mut self.inbound.borrow_mut().partial);
        self.take(early);
    }

    /// Whether it has come to its end, and only has to part.
    pub fn is_over(&self) -> bool {
        let mut shard = self.desk.shard.borrow_mut();
        self.line.is_broken() || shard.get_mut(self.key).is_none_or(|connection| connection.closing)
    }

    /// Whoever does not read its replies is not listened to.
    fn has_room(&self) -> bool {
        !self.is_held.get() && self.outbox_has_room()
    }

    fn read(self: &Rc<Self>) {
        for _ in 0..READS {
            let partial = std::mem::take(&mut self.inbound.borrow_mut().partial);
            if partial.is_empty() {
                let scratch = SCRATCH.with(|scratch| std::mem::take(&mut *scratch.borrow_mut()));
                let (more, mut scratch) = self.read_into(scratch);
                scratch.clear();
                SCRATCH.with(|shared| *shared.borrow_mut() = scratch);
                if !more {
                    break;
                }
            } else if !self.read_into(partial).0 {
                break;
            }
        }
        pump::flush(&self.desk, self.key);
    }

    /// Reads once; returns whether there may be more, and the buffer.
    fn read_into(self: &Rc<Self>, mut buffer: BytesMut) -> (bool, BytesMut) {
        buffer.reserve(READ_BYTES);
        match self.line.read(&mut buffer) {
            Ok(0) => self.lose(),
            Ok(_) => {
                self.heard();
                let rest = self.take(buffer);
                return (!self.is_over() && self.has_room(), rest);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !buffer.is_empty() {
                    self.inbound.borrow_mut().partial = std::mem::take(&mut buffer);
                }
            }
            Err(_) => self.lose(),
        }
        (false, buffer)
    }

    fn heard(&self) {
        let now = self.desk.now();
        if let Some(connection) = self.desk.shard.borrow_mut().get_mut(self.key) {
            connection.vitals.heard = now;
        }
    }

    /// Deals with every whole message in `buffer`, keeps what is left of it, and gives back the memory.
    fn take(self: &Rc<Self>, mut buffer: BytesMut) -> BytesMut {
        while !self.is_over() {
            let arrival = self
                .inbound
                .borrow_mut()
                .next(&mut buffer, self.speech.packing, self.speech.too_long());
            match arrival {
                Ok(Some(arrival)) => self.on_arrival(arrival),
                Ok(None) => {
                    self.keep(&mut buffer);
                    return buffer;
                }
                Err(refusal) => self.refuse(&refusal),
            }
        }
        buffer
    }

    /// A short rest is copied out, so that the shared memory stays shared.
    fn keep(&self, buffer: &mut BytesMut) {
        let mut inbound = self.inbound.borrow_mut();
        if buffer.len() > READ_BYTES {
            inbound.partial = std::mem::take(buffer);
        } else if !buffer.is_empty() {
            inbound.partial = BytesMut::from(&buffer[..]);
        }
    }

    fn on_arrival(self: &Rc<Self>, arrival: Arrival) {
        match arrival {
            Arrival::Text(text) => (self.speech.receive)(self, &text),
            Arrival::Ping(body) => self.reply(frame::pong(&body)),
            Arrival::Pong => {}
            Arrival::TooLong => {
                if let Oversize::Skip(answer) = self.speech.oversize {
                    answer(self);
                }
            }
            Arrival::Binary => match self.speech.binary {
                Binary::Close => self.refuse(&Refusal::new(Code::FrameBinary, "this protocol has text messages only")),
                Binary::Ignore => {}
                Binary::Answer(answer) => answer(self),
            },
            Arrival::Close(reason) => {
                self.line.end(Ending::Peer);
                // What was said before is the peer's as far as the socket takes it now.
                pump::flush(&self.desk, self.key);
                // Before the peer can know: it may come again by another way at once.
                (self.speech.part)(self);
                let frame = frame::close_back(reason.as_ref());
                self.desk.shard.borrow_mut().say_goodbye(self.key, frame);
            }
        }
    }

    /// Says goodbye, and why.
    pub fn refuse(&self, refusal: &Refusal) {
        self.seat.broker().metrics().count_refusal(refusal.code);
        self.line.end(Ending::Refused(refusal.code));
        let frame = (self.speech.goodbye)(refusal);
        self.desk.shard.borrow_mut().say_goodbye(self.key, frame);
    }

    fn lose(&self) {
        // The peer may have finished speaking and still listen for its answers.
        pump::flush(&self.desk, self.key);
        self.line.break_off(Ending::Lost);
    }

    /// Writes what is left, says that this was all, and waits a little for the peer to agree, so
    /// that the last bytes are not lost to a reset.
    async fn farewell(&self) {
        if !self.line.is_broken() {
            // Whether the peer took its time or not, this is the end.
            let _ = tokio::time::timeout(FAREWELL, self.take_leave()).await;
        }
        self.log_end();
    }

    async fn take_leave(&self) {
        pump::flush(&self.desk, self.key);
        self.until_written().await;
        self.line.close();
        self.until_written().await;
        self.line.shut_down();
        let (mut buffer, mut discarded) = (BytesMut::with_capacity(READ_BYTES), 0);
        while !self.line.is_broken() && discarded < DISCARD_BYTES {
            buffer.clear();
            match self.line.read(&mut buffer) {
                Ok(count) if count > 0 => discarded += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.line.ready(true).await;
                }
                _ => return,
            }
        }
    }

    async fn until_written(&self) {
        while !self.line.is_broken() && !self.is_written() {
            self.line.ready(false).await;
            pump::flush_again(&self.desk, self.key);
        }
    }

    fn is_written(&self) -> bool {
        let mut shard = self.desk.shard.borrow_mut();
        let connection = shard.get_mut(self.key);
        connection.is_none_or(|connection| connection.outbox.is_empty()) && self.line.is_drained()
    }

    fn log_end(&self) {
        let token = &self.seat.access.token;
        tracing::info!(
            target: "streamgate::access",
            company = %token.company,
            token = %token.key,
            peer = self.seat.peer().map(tracing::field::display),
            reason = self.line.ending().map_or("server stopped", Ending::word),
            seconds = self.opened.elapsed().as_secs(),
            sent_bytes = self.line.sent_bytes(),
            "connection closed"
        );
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if let Some(connection) = self.desk.shard.borrow_mut().get_mut(self.key) {
            pump::note(connection);
        }
        self.seat.broker().disconnect(&*self.desk, self.key);
    }
}
