//! Stands where a socket would, for a conversation whose words leave by HTTP responses, one after
//! the other.
//!
//! Knows chunks, not what is in them, and keeps none. Invariants: chunks are passed on in order, to one
//! response at a time; what a response did not bring is given back.

use crate::sessions::pipe::{Inlet, Parting, Piece};
use bytes::Bytes;
use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// A way out that leads somewhere or, for the time being, nowhere.
#[derive(Default)]
pub struct Relay(RefCell<Option<Inlet>>);

impl Relay {
    /// Passes chunks on as far as they are taken: how many bytes, or that it would block.
    pub fn write<'a>(&self, chunks: impl Iterator<Item = &'a Bytes>) -> io::Result<usize> {
        let inlet = self.0.borrow();
        let inlet = inlet.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        match inlet.fill(chunks) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Waits until something may be taken.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let inlet = self.0.borrow();
        inlet.as_ref().map_or(Poll::Pending, |inlet| inlet.poll_room(context))
    }

    /// Waits until the response goes that takes what comes.
    pub async fn left(&self) -> Parting {
        poll_fn(|context| {
            let inlet = self.0.borrow();
            inlet.as_ref().map_or(Poll::Pending, |inlet| inlet.poll_left(context))
        })
        .await
    }

    /// Waits until the response brings nothing, or can bring no more of it for the time being. Whoever takes
    /// its place then does so between two of its words, or because it is stuck; if nobody does,
    /// [`Relay::go_on`].
    pub async fn settled(&self) {
        poll_fn(|context| {
            let inlet = self.0.borrow();
            inlet
                .as_ref()
                .map_or(Poll::Ready(()), |inlet| inlet.poll_settled(context))
        })
        .await;
    }

    /// The response brings what comes, as before.
    pub fn go_on(&self) {
        if let Some(inlet) = &*self.0.borrow() {
            inlet.go_on();
        }
    }

    /// Whether it leads somewhere.
    pub fn is_attached(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Leads nowhere from now on; returns what was not brought, which comes before all else that waits.
    #[must_use]
    pub fn detach(&self) -> Vec<Bytes> {
        self.release().map(Inlet::take_back).unwrap_or_default()
    }

    /// Leads there from now on, which is told these places first; it must be detached.
    pub fn attach(&self, inlet: Inlet, places: impl Iterator<Item = Piece>) {
        inlet.force(places);
        self.0.replace(Some(inlet));
    }

    /// Drops what no response has taken.
    pub fn forget(&self) {
        if let Some(inlet) = &*self.0.borrow() {
            inlet.forget();
        }
    }

    /// Tells a place in between, to who wants to know.
    pub fn tell(&self, place: Piece) {
        if let Some(inlet) = &*self.0.borrow() {
            inlet.force([place]);
        }
    }

    /// Has nothing more to do with where it led.
    pub fn release(&self) -> Option<Inlet> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::pipe::pipe;

    #[test]
    fn what_is_no_longer_for_the_reader_is_dropped() {
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        let relay = Relay::default();
        let (inlet, outlet) = pipe(9);
        relay.attach(inlet, std::iter::empty());
        assert!(relay.write([&a, &b].into_iter()).is_ok());
        relay.forget();
        assert!(relay.write([&c].into_iter()).is_ok());
        assert_eq!(outlet.take_all(), ["c"]);
    }

    #[test]
    fn what_a_response_did_not_bring_comes_back() {
        let relay = Relay::default();
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        assert!(relay.write([&a].into_iter()).is_err(), "it leads nowhere");
        let (inlet, first) = pipe(2);
        relay.attach(inlet, std::iter::empty());
        assert_eq!(relay.write([&a, &b, &c].into_iter()).expect("room for two"), 2);
        assert_eq!(first.take_all(), ["a", "b"]);
        assert_eq!(relay.write([&c].into_iter()).expect("room again"), 1);
        drop(first);
        assert!(relay.write([&c].into_iter()).is_err(), "nobody is there");
        assert_eq!(relay.detach(), ["a", "b", "c"]);
        assert!(!relay.is_attached());
    }
}
