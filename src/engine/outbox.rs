//! What waits to be written to one connection, bounded in bytes.
//!
//! Does not write and does not close: a push returns a verdict, the caller draws the conclusion.
//! Invariant: bytes leave in the order in which they came, each once.

use bytes::Bytes;
use std::collections::VecDeque;
use std::io::IoSlice;

/// Shared chunks in order. The first stands apart, so that one chunk alone costs no allocation.
#[derive(Default)]
pub struct Outbox {
    front: Bytes,
    rest: VecDeque<Bytes>,
    bytes: usize,
    /// How much of the first chunk has left; if any has, the rest of it must.
    begun: usize,
}

/// Whether a push was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It waits now.
    Taken,
    /// There was no room; nothing changed.
    Full,
}

impl Outbox {
    /// Appends events if at most `limit` bytes wait then; an empty outbox takes a chunk of any size.
    pub fn push(&mut self, chunk: Bytes, limit: usize) -> Verdict {
        if self.bytes > 0 && self.bytes + chunk.len() > limit {
            return Verdict::Full;
        }
        self.push_reply(chunk);
        Verdict::Taken
    }

    /// Appends what must be said whatever waits; who asks for more must first have read this.
    pub fn push_reply(&mut self, chunk: Bytes) {
        self.bytes += chunk.len();
        if self.front.is_empty() {
            self.front = chunk;
        } else {
            self.rest.push_back(chunk);
        }
    }

    /// Drops what has not begun to leave.
    pub fn forget(&mut self) {
        self.rest = VecDeque::new();
        if self.begun == 0 {
            self.front = Bytes::new();
        }
        self.bytes = self.front.len() - self.begun;
    }

    /// Takes out all that waits, as it was pushed, and how much of the first chunk has left.
    pub fn take(&mut self) -> (Vec<Bytes>, usize) {
        let outbox = std::mem::take(self);
        let front = Some(outbox.front).filter(|front| !front.is_empty());
        (front.into_iter().chain(outbox.rest).collect(), outbox.begun)
    }

    /// Puts back before all that waits what was taken out whole and did not leave.
    pub fn put_back(&mut self, chunks: Vec<Bytes>) {
        debug_assert_eq!(self.begun, 0);
        for chunk in chunks.into_iter().rev().filter(|chunk| !chunk.is_empty()) {
            self.bytes += chunk.len();
            let second = std::mem::replace(&mut self.front, chunk);
            if !second.is_empty() {
                self.rest.push_front(second);
            }
        }
    }

    /// The chunks that wait, of which none has begun to leave.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        debug_assert_eq!(self.begun, 0);
        let front = Some(&self.front).filter(|front| !front.is_empty());
        front.into_iter().chain(&self.rest)
    }

    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The first waiting chunks, for one write; returns how many slices were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let waiting = std::iter::once(&self.front[self.begun..]).chain(self.rest.iter().map(|chunk| &chunk[..]));
        let mut filled = 0;
        for (slice, chunk) in slices.iter_mut().zip(waiting) {
            *slice = IoSlice::new(chunk);
            filled += 1;
        }
        filled
    }

    /// Takes away the first `count` bytes, which have been written.
    pub fn wrote(&mut self, count: usize) {
        self.bytes -= count;
        self.begun += count;
        while self.begun >= self.front.len() && !self.front.is_empty() {
            self.begun -= self.front.len();
            self.front = self.rest.pop_front().unwrap_or_default();
        }
        if self.bytes == 0 {
            self.rest = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn waiting(outbox: &Outbox) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 64];
        let filled = outbox.slices(&mut slices);
        slices[..filled].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_full_outbox_takes_no_events_but_replies() {
        let mut outbox = Outbox::default();
        assert_eq!(
            outbox.push(Bytes::from_static(b"longer than the limit"), 4),
            Verdict::Taken
        );
        assert_eq!(outbox.push(Bytes::from_static(b"x"), 4), Verdict::Full);
        outbox.push_reply(Bytes::from_static(b"!"));
        assert_eq!(waiting(&outbox), b"longer than the limit!");
    }

    #[test]
    fn what_has_begun_to_leave_is_not_forgotten() {
        let mut outbox = Outbox::default();
        outbox.push_reply(Bytes::from_static(b"abc"));
        outbox.push_reply(Bytes::from_static(b"def"));
        outbox.wrote(1);
        outbox.forget();
        assert_eq!(waiting(&outbox), b"bc");
        outbox.wrote(2);
        outbox.push_reply(Bytes::from_static(b"ghi"));
        outbox.forget();
        assert!(outbox.is_empty());
    }

    #[test]
    fn what_did_not_leave_is_taken_out_as_it_was_pushed() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.take(), (Vec::new(), 0));
        for chunk in [b"abc", b"def", b"ghi"] {
            outbox.push_reply(Bytes::from_static(chunk));
        }
        outbox.wrote(4);
        let waiting = [b"def", b"ghi"].map(|chunk| Bytes::from_static(chunk));
        assert_eq!(outbox.take(), (waiting.to_vec(), 1));
        assert!(outbox.is_empty());
        outbox.push_reply(Bytes::from_static(b"jkl"));
        assert_eq!(outbox.chunks().collect::<Vec<_>>(), ["jkl"]);
    }

    #[test]
    fn what_is_put_back_leaves_first_and_takes_up_room() {
        let chunks = |texts: &[&'static str]| texts.iter().map(|text| Bytes::from(*text)).collect::<Vec<_>>();
        let mut outbox = Outbox::default();
        outbox.put_back(chunks(&["c", "", "d"]));
        outbox.push_reply(Bytes::from_static(b"e"));
        outbox.put_back(chunks(&["a", "b"]));
        outbox.put_back(Vec::new());
        assert_eq!((outbox.bytes(), waiting(&outbox)), (5, b"abcde".to_vec()));
        assert_eq!(outbox.push(Bytes::from_static(b"f"), 5), Verdict::Full);
        outbox.wrote(2);
        assert_eq!(outbox.take(), (chunks(&["c", "d", "e"]), 0));
    }

    proptest! {
        #[test]
        fn bytes_leave_in_order(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..9), 1..20),
            steps in proptest::collection::vec(1..7_usize, 0..200),
        ) {
            let mut outbox = Outbox::default();
            for chunk in &chunks {
                prop_assert_eq!(outbox.push(Bytes::from(chunk.clone()), 1_000), Verdict::Taken);
            }
            let mut expected: Vec<u8> = chunks.concat();
            for step in steps {
                let step = step.min(outbox.bytes());
                outbox.wrote(step);
                expected.drain(..step);
                prop_assert_eq!(outbox.bytes(), expected.len());
                prop_assert_eq!(waiting(&outbox), expected.clone());
            }
        }
    }
}
