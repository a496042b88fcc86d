//! Stands where a socket would, for a conversation whose words leave by HTTP responses, one after
//! the other.
//!
//! Knows chunks, not what is in them. Invariants: chunks are passed on in order, to one response at a
//! time; what a response did not bring comes first in the next.

use crate::sessions::pipe::{Inlet, Parting, Piece};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};

/// A way out that leads somewhere or, for the time being, nowhere.
#[derive(Default)]
pub struct Relay(RefCell<State>);

#[derive(Default)]
struct State {
    inlet: Option<Inlet>,
    /// What the last response did not bring.
    returned: VecDeque<Bytes>,
}

impl Relay {
    /// Passes chunks on as far as they are taken: how many bytes, or that it would block.
    pub fn write<'a>(&self, chunks: impl Iterator<Item = &'a Bytes>) -> io::Result<usize> {
        let state = self.0.borrow();
        let inlet = state.inlet.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        let taken = chunks.take_while(|chunk| inlet.put(chunk));
        match taken.map(Bytes::len).sum() {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(count),
        }
    }

    /// Waits until something may be taken.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let state = self.0.borrow();
        state
            .inlet
            .as_ref()
            .map_or(Poll::Pending, |inlet| inlet.poll_room(context))
    }

    /// Waits until the response goes that takes what comes.
    pub async fn left(&self) -> Parting {
        poll_fn(|context| {
            let state = self.0.borrow();
            state
                .inlet
                .as_ref()
                .map_or(Poll::Pending, |inlet| inlet.poll_left(context))
        })
        .await
    }

    /// Waits until the response brings nothing, or can bring no more of it for the time being. Whoever takes
    /// its place then does so between two of its words, or because it is stuck.
    pub async fn settled(&self) {
        poll_fn(|context| {
            let state = self.0.borrow();
            state
                .inlet
                .as_ref()
                .map_or(Poll::Ready(()), |inlet| inlet.poll_settled(context))
        })
        .await;
    }

    /// Whether it leads somewhere.
    pub fn is_attached(&self) -> bool {
        self.0.borrow().inlet.is_some()
    }

    /// Leads nowhere from now on; what was not brought waits.
    pub fn detach(&self) {
        let mut state = self.0.borrow_mut();
        if let Some(inlet) = state.inlet.take() {
            // Nothing comes back while something that came back before still waits.
            state.returned.extend(inlet.take_back());
        }
    }

    /// Leads there from now on, which is told these places first; it must be detached.
    pub fn attach(&self, inlet: Inlet, places: impl Iterator<Item = Piece>) {
        let mut state = self.0.borrow_mut();
        let returned = std::mem::take(&mut state.returned);
        inlet.force(places.chain(returned.into_iter().map(Piece::Chunk)));
        state.inlet = Some(inlet);
    }

    /// What came back and waits, to be given back with [`Relay::put_back`] as far as it is still wanted.
    pub fn take_returned(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.0.borrow_mut().returned).into()
    }

    /// See [`Relay::take_returned`].
    pub fn put_back(&self, chunks: Vec<Bytes>) {
        self.0.borrow_mut().returned = chunks.into();
    }

    /// Drops what no response has taken.
    pub fn forget(&self) {
        let mut state = self.0.borrow_mut();
        state.returned.clear();
        if let Some(inlet) = &state.inlet {
            inlet.forget();
        }
    }

    /// Tells a place in between, to who wants to know.
    pub fn tell(&self, place: Piece) {
        if let Some(inlet) = &self.0.borrow().inlet {
            inlet.force([place]);
        }
    }

    /// Passes the last chunks on, whether there is room or not, and then the end.
    pub fn finish(&self, chunks: Vec<Bytes>) {
        if let Some(inlet) = self.0.borrow_mut().inlet.take() {
            inlet.force(chunks.into_iter().map(Piece::Chunk));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::pipe::pipe;

    #[test]
    fn what_is_no_longer_for_the_reader_is_dropped_wherever_it_waits() {
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        for has_returned in [false, true] {
            let relay = Relay::default();
            let (inlet, outlet) = pipe(9);
            relay.attach(inlet, std::iter::empty());
            assert!(relay.write([&a, &b].into_iter()).is_ok());
            if has_returned {
                relay.detach();
            }
            relay.forget();
            let (inlet, next) = pipe(9);
            let outlet = match has_returned {
                true => {
                    relay.attach(inlet, std::iter::empty());
                    next
                }
                false => outlet,
            };
            relay.finish(vec![c.clone()]);
            assert_eq!(outlet.take_all(), ["c"]);
        }
    }

    #[test]
    fn what_one_response_did_not_bring_comes_first_in_the_next() {
        let relay = Relay::default();
        let [a, b, c] = ["a", "b", "c"].map(Bytes::from);
        assert!(relay.write([&a].into_iter()).is_err(), "it leads nowhere");
        let (inlet, first) = pipe(2);
        relay.attach(inlet, std::iter::empty());
        assert_eq!(relay.write([&a, &b, &c].into_iter()).expect("room for two"), 2);
        assert_eq!(first.take_all(), ["a", "b"]);
        drop(first);
        relay.detach();
        assert!(!relay.is_attached());
        let (inlet, second) = pipe(2);
        relay.attach(inlet, std::iter::empty());
        assert!(relay.write([&c].into_iter()).is_err(), "no room beside what came back");
        relay.finish(vec![c]);
        assert_eq!(second.take_all(), ["a", "b", "c"]);
    }
}
