//! What an HTTP answer can know of the connection that it leaves by: whether somebody is still there,
//! and whether what was said has left.
//!
//! The connection belongs to actix-http, which tells neither; so it is told here by our own socket,
//! which is read and written for it. Both sides are on one thread. Invariant: with the connection all
//! that waits for it is let go.

use crate::sessions::pipe::Outlet;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// One connection's news.
#[derive(Default)]
pub struct Tether {
    has_ended: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    /// Whose chunks are with the connection and have not left it.
    owing: RefCell<Vec<Rc<Outlet>>>,
}

impl Tether {
    /// The peer will say nothing more.
    pub fn end(&self) {
        self.has_ended.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Waits until the peer has nothing more to say. A client that waits for an answer without end and
    /// finishes speaking has gone.
    pub fn poll_ended(&self, context: &Context<'_>) -> Poll<()> {
        if self.has_ended.get() {
            return Poll::Ready(());
        }
        self.waker.replace(Some(context.waker().clone()));
        Poll::Pending
    }

    /// Something of `outlet` is given to the connection.
    pub fn owe(&self, outlet: &Rc<Outlet>) {
        let mut owing = self.owing.borrow_mut();
        if !owing.iter().any(|other| Rc::ptr_eq(other, outlet)) {
            owing.push(Rc::clone(outlet));
        }
    }

    /// All that was given to the connection has left.
    pub fn flushed(&self) {
        for outlet in self.owing.take() {
            outlet.confirm();
        }
    }

    /// Whether something waits for a peer that counts as gone.
    pub fn is_dead(&self) -> bool {
        self.owing.borrow().iter().any(|outlet| outlet.is_dead())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::pipe::{End, pipe};
    use bytes::Bytes;

    #[test]
    fn what_has_left_does_not_come_back_and_what_has_not_does() {
        for has_left in [true, false] {
            let (inlet, outlet) = pipe(9);
            let (tether, outlet) = (Tether::default(), Rc::new(outlet));
            assert!(inlet.put(&Bytes::from_static(b"a")));
            outlet.take_all();
            tether.owe(&outlet);
            tether.owe(&outlet);
            drop(outlet);
            if has_left {
                tether.flushed();
            }
            drop(tether);
            assert_eq!(inlet.take_back(End::Over).is_empty(), has_left);
        }
    }

    #[test]
    fn who_is_dead_is_known_by_what_waits() {
        let (inlet, outlet) = pipe(9);
        let (tether, outlet) = (Tether::default(), Rc::new(outlet));
        inlet.take_back(End::Dead);
        assert!(!tether.is_dead());
        tether.owe(&outlet);
        assert!(tether.is_dead());
    }
}
