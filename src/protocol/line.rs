//! One socket, written from the worker's fan-out loop and read by the connection's own task.
//!
//! Both sides are on one thread. Invariant: after a write that would block nothing is written until
//! the socket says it can be.

use crate::domain::error::Code;
use crate::engine::outbox::Outbox;
use crate::protocol::relay::Relay;
use crate::protocol::socket::Socket;
use bytes::BytesMut;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker};

/// A connected socket and what is known of it.
pub struct Line {
    socket: Socket,
    blocked: Cell<bool>,
    broken: Cell<bool>,
    sent_bytes: Cell<u64>,
    ending: Cell<Option<Ending>>,
    waker: RefCell<Option<Waker>>,
}

/// How a connection came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer said goodbye.
    Peer,
    /// The peer went without a word.
    Lost,
    /// The peer gave no sign of life.
    Dead,
    /// We ended it, and this is why.
    Refused(Code),
}

impl Ending {
    /// The word in the log.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Peer => "peer closed",
            Ending::Lost => "peer lost",
            Ending::Dead => "peer dead",
            Ending::Refused(code) => code.entry().code,
        }
    }
}

/// Why a task waiting on a line goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// There may be something to read.
    Read,
    /// What would block can be tried again.
    Write,
    /// Somebody called [`Line::wake`].
    Woken,
}

impl Line {
    /// Around a connected socket.
    pub fn new(socket: Socket) -> Self {
        Self {
            blocked: Cell::new(socket.owes()),
            socket,
            broken: Cell::new(false),
            sent_bytes: Cell::new(0),
            ending: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    /// Writes what waits, in one call; returns how many bytes were taken, 0 if it would block.
    ///
    /// An error breaks the line and wakes its task.
    pub fn write(&self, outbox: &Outbox) -> usize {
        if self.blocked.get() || self.broken.get() || outbox.is_empty() {
            return 0;
        }
        match self.socket.try_write_from(outbox) {
            Ok(count) => {
                self.sent_bytes.set(self.sent_bytes.get() + count as u64);
                self.note_debt();
                count
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.block();
                0
            }
            Err(_) => {
                self.break_off(Ending::Lost);
                0
            }
        }
    }

    /// Appends what has come to `buffer`: how many bytes, 0 at the end, or that there is nothing.
    pub fn read(&self, buffer: &mut BytesMut) -> io::Result<usize> {
        let read = self.socket.try_read(buffer);
        // Behind TLS, reading may have made an answer of its own.
        self.note_debt();
        read
    }

    /// Nothing can be written or read any more.
    pub fn break_off(&self, ending: Ending) {
        self.end(ending);
        self.broken.set(true);
        self.wake();
    }

    /// The relay that stands where the socket would, if one does.
    pub fn relay(&self) -> Option<&Relay> {
        match &self.socket {
            Socket::Relay(relay) => Some(relay),
            _ => None,
        }
    }

    /// Notes how it came to its end; the first reason is the reason.
    pub fn end(&self, ending: Ending) {
        self.ending.set(self.ending.get().or(Some(ending)));
    }

    /// How it came to its end, if it has.
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get()
    }

    /// Whether it was broken off.
    pub fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// How many bytes were written so far.
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.get()
    }

    /// Makes the task that waits on this line look around.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Waits for what can be done next. Without `reading`, what arrives stays with the kernel.
    pub async fn ready(&self, reading: bool) -> Ready {
        let mut is_first = true;
        poll_fn(|context| {
            self.listen(context);
            if !std::mem::take(&mut is_first) {
                return Poll::Ready(self.poll(context, reading).unwrap_or(Ready::Woken));
            }
            match self.poll(context, reading) {
                Some(ready) => Poll::Ready(ready),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Whether the kernel has everything that [`Line::write`] took.
    pub fn is_drained(&self) -> bool {
        !self.socket.owes()
    }

    /// Has the peer know that this was all, where TLS has words for it; wait for [`Line::is_drained`].
    pub fn close(&self) {
        self.socket.close();
        self.note_debt();
    }

    /// Says that nothing more will be written.
    pub fn shut_down(&self) {
        self.socket.shut_down();
    }

    fn note_debt(&self) {
        if self.socket.owes() {
            self.block();
        }
    }

    fn block(&self) {
        self.blocked.set(true);
        self.wake();
    }

    fn listen(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }

    fn poll(&self, context: &mut Context<'_>, reading: bool) -> Option<Ready> {
        if self.broken.get() {
            return Some(Ready::Woken);
        }
        while self.blocked.get() && self.socket.poll_write_ready(context).is_ready() {
            match self.socket.drain() {
                // The socket takes some of it and no more: it is asked again when it does.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.break_off(Ending::Lost);
                    return Some(Ready::Woken);
                }
                Ok(()) => {
                    self.blocked.set(false);
                    return Some(Ready::Write);
                }
            }
        }
        if reading && self.socket.poll_read_ready(context).is_ready() {
            return Some(Ready::Read);
        }
        None
    }
}
