//! From a conversation that has no socket of its own to the HTTP response that takes what it says,
//! whichever threads they are on.
//!
//! Knows chunks, not what is in them. Invariants: a chunk is delivered by one response only, and is
//! not lost with one that ended before it left; what waits is bounded by `limit` and one chunk more.

use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What goes through a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Something to be written.
    Chunk(Bytes),
    /// Where the reader of what follows is in a stream; is told, not written.
    Place(StreamId, Epoch, Offset),
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Something else takes what comes now.
    Replaced,
    /// The conversation is over.
    Over,
    /// The reader took nothing for too long: it counts as gone.
    Dead,
}

/// The side that is written to. Dropping it lets the reader have what waits, and then the end.
pub struct Inlet(Arc<Pipe>);

/// The side that is taken from. Dropping it is leaving.
pub struct Outlet(Arc<Pipe>);

struct Pipe {
    limit: usize,
    state: Mutex<State>,
}

struct State {
    pieces: VecDeque<Piece>,
    /// In `pieces`.
    bytes: usize,
    /// Chunks of which is not known yet that they have left.
    taken: Vec<Bytes>,
    /// Since when the first piece has waited.
    since: Instant,
    end: Option<End>,
    has_left: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
}

/// A pipe in which `limit` bytes may wait.
pub fn pipe(limit: usize) -> (Inlet, Outlet) {
    let state = Mutex::new(State {
        pieces: VecDeque::new(),
        bytes: 0,
        taken: Vec::new(),
        since: Instant::now(),
        end: None,
        has_left: false,
        writer: None,
        reader: None,
    });
    let pipe = Arc::new(Pipe { limit, state });
    (Inlet(Arc::clone(&pipe)), Outlet(pipe))
}

impl State {
    fn push(&mut self, piece: Piece) {
        if self.pieces.is_empty() {
            self.since = Instant::now();
        }
        if let Piece::Chunk(chunk) = &piece {
            self.bytes += chunk.len();
        }
        self.pieces.push_back(piece);
    }

    fn take(&mut self) -> Option<Piece> {
        let piece = self.pieces.pop_front()?;
        self.since = Instant::now();
        if let Piece::Chunk(chunk) = &piece {
            self.bytes -= chunk.len();
            self.taken.push(chunk.clone());
        }
        Some(piece)
    }

    fn is_open(&self) -> bool {
        self.end.is_none() && !self.has_left
    }
}

fn wake(waker: &Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake_by_ref();
    }
}

fn listen(place: &mut Option<Waker>, context: &Context<'_>) {
    if place.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
}

impl Inlet {
    /// Adds a chunk if there is room, and returns whether there was.
    pub fn put(&self, chunk: &Bytes) -> bool {
        let mut state = self.0.state.lock();
        if state.bytes >= self.0.limit || !state.is_open() {
            return false;
        }
        state.push(Piece::Chunk(chunk.clone()));
        wake(&state.reader);
        true
    }

    /// Adds what must go through whether there is room or not.
    pub fn force(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut state = self.0.state.lock();
        if state.is_open() {
            pieces.into_iter().for_each(|piece| state.push(piece));
        }
        wake(&state.reader);
    }

    /// Drops the chunks that nobody has taken.
    pub fn forget(&self) {
        let mut state = self.0.state.lock();
        state.pieces.retain(|piece| matches!(piece, Piece::Place(..)));
        state.bytes = 0;
    }

    /// Waits for room, for which nobody waits where nobody reads.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        listen(&mut state.writer, context);
        match state.bytes < self.0.limit && state.is_open() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Waits for the reader to leave.
    pub fn poll_left(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        listen(&mut state.writer, context);
        match state.has_left {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// For how long the reader has not taken what waits for it.
    pub fn stalled(&self) -> Duration {
        let state = self.0.state.lock();
        match state.pieces.is_empty() {
            true => Duration::ZERO,
            false => state.since.elapsed(),
        }
    }

    /// Ends the pipe; returns the chunks that the reader does not get, those included that went
    /// with it.
    pub fn take_back(self, end: End) -> Vec<Bytes> {
        let mut state = self.0.state.lock();
        state.end = state.end.or(Some(end));
        state.bytes = 0;
        let mut chunks = match state.has_left || end == End::Dead {
            true => std::mem::take(&mut state.taken),
            // They are on their way.
            false => Vec::new(),
        };
        let pieces = std::mem::take(&mut state.pieces);
        wake(&state.reader);
        drop(state);
        chunks.extend(pieces.into_iter().filter_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk),
            Piece::Place(..) => None,
        }));
        chunks
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.end = state.end.or(Some(End::Over));
        wake(&state.reader);
    }
}

impl Outlet {
    /// The next piece, or why there is none.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<Result<Piece, End>> {
        let mut state = self.0.state.lock();
        listen(&mut state.reader, context);
        if let Some(piece) = state.take() {
            wake(&state.writer);
            return Poll::Ready(Ok(piece));
        }
        match state.end {
            Some(end) => Poll::Ready(Err(end)),
            None => Poll::Pending,
        }
    }

    /// Waits until there is a chunk to take, or the end.
    pub fn poll_some(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        listen(&mut state.reader, context);
        match state.bytes > 0 || state.end.is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// All chunks that wait.
    pub fn take_all(&self) -> Vec<Bytes> {
        let mut state = self.0.state.lock();
        let mut chunks = Vec::with_capacity(state.pieces.len());
        while let Some(piece) = state.take() {
            if let Piece::Chunk(chunk) = piece {
                chunks.push(chunk);
            }
        }
        wake(&state.writer);
        chunks
    }

    /// What was taken so far has left.
    pub fn confirm(&self) {
        self.0.state.lock().taken.clear();
    }

    /// Whether it counts as gone.
    pub fn is_dead(&self) -> bool {
        self.0.state.lock().end == Some(End::Dead)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.has_left = true;
        wake(&state.writer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;

    fn chunk(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn take(outlet: &Outlet) -> Poll<Result<Piece, End>> {
        outlet.poll_take(&Context::from_waker(noop_waker_ref()))
    }

    fn taken(text: &'static str) -> Poll<Result<Piece, End>> {
        Poll::Ready(Ok(Piece::Chunk(chunk(text))))
    }

    #[test]
    fn what_waits_is_bounded_by_the_limit_and_one_chunk_more() {
        let (inlet, outlet) = pipe(4);
        let context = Context::from_waker(noop_waker_ref());
        assert!(inlet.put(&chunk("longer than that")));
        assert!(!inlet.put(&chunk("x")));
        assert!(inlet.poll_room(&context).is_pending());
        assert_eq!(take(&outlet), taken("longer than that"));
        assert!(inlet.poll_room(&context).is_ready());
        for text in ["ab", "c", "def"] {
            assert!(inlet.poll_room(&context).is_ready());
            assert!(inlet.put(&chunk(text)), "who is told that there is room has it");
        }
        assert!(!inlet.put(&chunk("g")));
        drop(outlet);
        assert!(inlet.poll_room(&context).is_pending(), "nobody reads");
        assert!(inlet.poll_left(&context).is_ready());
    }

    #[test]
    fn what_another_response_is_to_bring_is_not_brought_by_the_first() {
        let (inlet, outlet) = pipe(100);
        for text in ["a", "b", "c"] {
            assert!(inlet.put(&chunk(text)));
        }
        assert_eq!(take(&outlet), taken("a"));
        assert_eq!(inlet.take_back(End::Replaced), [chunk("b"), chunk("c")]);
        assert_eq!(take(&outlet), Poll::Ready(Err(End::Replaced)));
    }

    #[test]
    fn what_was_taken_and_did_not_leave_comes_back_first() {
        let (inlet, outlet) = pipe(100);
        assert!(inlet.put(&chunk("a")));
        outlet.take_all();
        outlet.confirm();
        assert!(inlet.put(&chunk("b")));
        outlet.take_all();
        assert!(inlet.put(&chunk("c")));
        drop(outlet);
        assert!(!inlet.put(&chunk("d")), "nobody takes it");
        assert_eq!(inlet.take_back(End::Over), [chunk("b"), chunk("c")]);
    }

    #[test]
    fn who_reads_on_gets_the_rest_and_then_the_end() {
        let (inlet, outlet) = pipe(100);
        assert!(take(&outlet).is_pending());
        assert!(inlet.put(&chunk("a")));
        drop(inlet);
        assert_eq!(take(&outlet), taken("a"));
        assert_eq!(take(&outlet), Poll::Ready(Err(End::Over)));
    }

    #[test]
    fn a_reader_that_takes_is_not_stalled() {
        let (inlet, outlet) = pipe(100);
        assert_eq!(inlet.stalled(), Duration::ZERO);
        assert!(inlet.put(&chunk("a")));
        while inlet.stalled() < Duration::from_millis(2) {}
        assert!(inlet.put(&chunk("b")));
        assert!(inlet.stalled() >= Duration::from_millis(2));
        outlet.take_all();
        assert_eq!(inlet.stalled(), Duration::ZERO);
        assert!(!outlet.is_dead());
        inlet.take_back(End::Dead);
        assert!(outlet.is_dead());
    }
}
