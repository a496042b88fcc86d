//! What an HTTP answer can know of the connection that it leaves by: whether somebody is still there,
//! and whether what was said has left.
//!
//! The connection belongs to actix-http, which tells neither; so it is told here by our own socket,
//! which is read and written for it. Both sides are on one thread. Invariant: with the connection all
//! that waits for it is let go.

use crate::sessions::pipe::Outlet;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One connection's news.
pub struct Tether {
    /// Whether what was written has left. Behind TLS it may be part of a record of which the peer can read
    /// nothing yet, so there only a flush tells.
    counts: bool,
    has_ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Whether an answer is made that may go on without end.
    is_answering: Cell<bool>,
    /// Who has given the connection something that has not left it, or waits for what others gave.
    owing: RefCell<Option<Rc<Outlet>>>,
}

impl Tether {
    /// Of a connection on which what was written has left, if it `counts`.
    pub fn new(counts: bool) -> Self {
        Self {
            counts,
            has_ended: Cell::default(),
            is_answering: Cell::default(),
            waker: RefCell::default(),
            owing: RefCell::default(),
        }
    }

    /// An answer begins that may go on without end, or has come to its end.
    pub fn answer(&self, goes_on: bool) {
        self.is_answering.set(goes_on);
    }

    /// Whether one goes on.
    pub fn is_answering(&self) -> bool {
        self.is_answering.get()
    }

    /// The peer will say nothing more.
    pub fn end(&self) {
        self.has_ended.set(true);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn listen(&self, context: &Context<'_>) -> Poll<()> {
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Waits until the peer has nothing more to say. A client that waits for an answer without end and
    /// finishes speaking has gone.
    pub fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        match self.has_ended.get() {
            true => Poll::Ready(()),
            false => self.listen(context),
        }
    }

    /// The connection is given something of `outlet`. If it has not passed on what it was given before,
    /// both have left at once.
    pub fn owe(&self, outlet: &Rc<Outlet>) {
        self.owing.borrow_mut().get_or_insert_with(|| Rc::clone(outlet));
    }

    /// Waits until all has left that the connection owes.
    pub fn poll_paid(&self, context: &Context<'_>) -> Poll<()> {
        match self.owing.borrow().is_none() {
            true => Poll::Ready(()),
            false => self.listen(context),
        }
    }

    /// Writes what the connection was given, if it may still leave.
    pub fn pass(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &*self.owing.borrow() {
            Some(outlet) => outlet.pass(self.counts, write),
            None => write(),
        }
    }

    /// Flushes it, in the same way; when this is done, all has left.
    pub fn flush(&self, flush: impl FnOnce() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        let flushed = match &*self.owing.borrow() {
            Some(outlet) => outlet.land(flush),
            None => flush(),
        };
        if matches!(flushed, Poll::Ready(Ok(()))) && self.owing.take().is_some() {
            self.wake();
        }
        flushed
    }

    /// The peer takes nothing, and counts as gone.
    pub fn die(&self) {
        if let Some(outlet) = &*self.owing.borrow() {
            outlet.die();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::pipe::{Inlet, Parting, Written, pipe};
    use bytes::Bytes;
    use futures_util::task::noop_waker_ref;

    fn context() -> Context<'static> {
        Context::from_waker(noop_waker_ref())
    }

    /// A connection that was given two lines, after three bytes that HTTP writes.
    fn loaded(counts: bool) -> (Inlet, Tether) {
        let (inlet, outlet) = pipe(9);
        let (tether, outlet) = (Tether::new(counts), Rc::new(outlet));
        let text = Bytes::from_static(b"a\nb\n");
        assert!(inlet.put(&text));
        outlet.take_all();
        let (lead, end) = (3, &b"\n"[..]);
        outlet.write_as(Written { text, lead, end });
        tether.owe(&outlet);
        tether.owe(&outlet);
        (inlet, tether)
    }

    #[test]
    fn only_what_did_not_leave_whole_comes_back() {
        for (sent, rest) in [(4, "a\nb\n"), (5, "b\n"), (6, "b\n"), (7, "")] {
            let (inlet, tether) = loaded(true);
            assert!(tether.pass(|| Poll::Ready(Ok(sent - 1))).is_ready());
            assert!(tether.pass(|| Poll::Ready(Ok(1))).is_ready());
            assert!(tether.pass(|| Poll::Pending).is_pending());
            assert_eq!(inlet.take_back().concat(), rest.as_bytes(), "{sent}");
            let refused = tether.pass(|| panic!("nothing leaves any more"));
            assert!(matches!(refused, Poll::Ready(Err(_))));
            let refused = tether.flush(|| panic!("nothing leaves any more"));
            assert!(matches!(refused, Poll::Ready(Err(_))));
        }
    }

    #[test]
    fn behind_tls_only_a_flush_tells_what_has_left() {
        let (inlet, tether) = loaded(false);
        assert!(tether.pass(|| Poll::Ready(Ok(7))).is_ready());
        assert!(tether.flush(|| Poll::Pending).is_pending());
        assert!(tether.poll_paid(&context()).is_pending());
        assert_eq!(inlet.take_back().concat(), b"a\nb\n");
        let (inlet, tether) = loaded(false);
        assert!(tether.flush(|| Poll::Ready(Ok(()))).is_ready());
        assert!(tether.poll_paid(&context()).is_ready());
        assert!(inlet.poll_left(&context()).is_ready());
        assert_eq!(inlet.take_back().concat(), b"");
    }

    #[test]
    fn who_takes_nothing_counts_as_gone() {
        let (inlet, tether) = loaded(true);
        assert!(inlet.poll_left(&context()).is_pending());
        tether.die();
        assert_eq!(inlet.poll_left(&context()), Poll::Ready(Parting::Dead));
        let refused = tether.pass(|| panic!("nothing leaves any more"));
        assert!(matches!(refused, Poll::Ready(Err(_))));
        assert_eq!(inlet.take_back().concat(), b"a\nb\n");
    }

    #[test]
    fn what_goes_with_the_connection_comes_back() {
        let (inlet, tether) = loaded(true);
        drop(tether);
        assert_eq!(inlet.poll_left(&context()), Poll::Ready(Parting::Gone));
        assert_eq!(inlet.take_back().concat(), b"a\nb\n");
    }
}
