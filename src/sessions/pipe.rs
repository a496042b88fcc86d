//! From a conversation that has no socket of its own to the HTTP response that takes what it says,
//! whichever threads they are on.
//!
//! Knows chunks of lines, not what is in them. Invariants: a line leaves by one response only, and is
//! not lost with one that ended before it left; what waits is bounded by `limit` and one chunk more.

mod flight;

pub use flight::Written;

use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset};
use bytes::Bytes;
use flight::Flight;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What goes through a pipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Whole lines, to be written.
    Chunk(Bytes),
    /// Where the reader of what follows is in a stream, if it follows it still; is told, not written.
    Place(StreamId, Option<(Epoch, Offset)>),
}

/// Why nothing more comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Something else takes what comes now.
    Replaced,
    /// Something else takes even what was on its way here: not a byte more may leave.
    Cut,
    /// The conversation is over.
    Over,
}

/// How the reader left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// It went, or its response came to its end.
    Gone,
    /// It took nothing for too long: it counts as gone.
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

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// In `pieces`.
    bytes: usize,
    /// What was taken, as long as it is not known that all of it has left.
    flight: Option<Flight>,
    end: Option<End>,
    parting: Option<Parting>,
    /// Whether nothing is taken for the time being, as somebody takes over from the reader.
    is_held: bool,
    writer: Option<Waker>,
    reader: Option<Waker>,
    /// Who waits for the flight to land or to be stuck.
    watcher: Option<Waker>,
}

/// A pipe in which `limit` bytes may wait.
pub fn pipe(limit: usize) -> (Inlet, Outlet) {
    let state = Mutex::default();
    let pipe = Arc::new(Pipe { limit, state });
    (Inlet(Arc::clone(&pipe)), Outlet(pipe))
}

impl State {
    fn push(&mut self, piece: Piece) {
        if let Piece::Chunk(chunk) = &piece {
            self.bytes += chunk.len();
        }
        self.pieces.push_back(piece);
    }

    /// Whether what waits may be taken.
    fn flows(&self) -> bool {
        !self.is_held || self.end.is_some()
    }

    fn take(&mut self) -> Option<Piece> {
        if !self.flows() {
            return None;
        }
        let piece = self.pieces.pop_front()?;
        if let Piece::Chunk(chunk) = &piece {
            self.bytes -= chunk.len();
            let flight = self.flight.get_or_insert_default();
            flight.chunks.push(chunk.clone());
        }
        Some(piece)
    }

    fn is_open(&self) -> bool {
        self.end.is_none() && self.parting.is_none()
    }

    /// Refused once what was taken is somebody else's.
    fn check(&self) -> io::Result<()> {
        match self.end == Some(End::Cut) || self.parting.is_some() {
            true => Err(io::ErrorKind::ConnectionAborted.into()),
            false => Ok(()),
        }
    }

    fn is_settled(&self) -> bool {
        self.parting.is_some() || self.flight.as_ref().is_none_or(|flight| flight.is_stuck)
    }

    /// Notes what a connection did.
    fn note(&mut self, is_stuck: bool) {
        if let Some(flight) = &mut self.flight {
            flight.is_stuck = is_stuck;
        }
    }

    /// Who is to be told that it is settled.
    fn told(&mut self) -> Option<Waker> {
        match self.is_settled() {
            true => self.watcher.take(),
            false => None,
        }
    }
}

/// Wakes with nothing locked: whoever wakes looks at the state.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn listen(place: &mut Option<Waker>, context: &Context<'_>) {
    if place.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
        *place = Some(context.waker().clone());
    }
}

impl Inlet {
    /// Adds a chunk if there is room, and returns whether there was.
    #[cfg(test)]
    pub fn put(&self, chunk: &Bytes) -> bool {
        self.fill([chunk]) > 0
    }

    /// Adds chunks as long as there is room, and returns how many bytes they have.
    pub fn fill<'a>(&self, chunks: impl IntoIterator<Item = &'a Bytes>) -> usize {
        let mut state = self.0.state.lock();
        let (before, mut chunks) = (state.bytes, chunks.into_iter());
        while state.bytes < self.0.limit
            && state.is_open()
            && let Some(chunk) = chunks.next()
        {
            state.push(Piece::Chunk(chunk.clone()));
        }
        let count = state.bytes - before;
        let reader = state.reader.take_if(|_| count > 0);
        drop(state);
        wake(reader);
        count
    }

    /// Adds what must go through whether there is room or not, and comes back if nobody is there.
    pub fn force(&self, pieces: impl IntoIterator<Item = Piece>) {
        let mut state = self.0.state.lock();
        pieces.into_iter().for_each(|piece| state.push(piece));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// Adds the last chunks. Once the reader has left, returns the lines that it did not get.
    pub fn finish(self, last: Vec<Bytes>) -> impl Future<Output = Vec<Bytes>> {
        self.force(last.into_iter().map(Piece::Chunk));
        self.end();
        async move {
            poll_fn(|context| self.poll_left(context)).await;
            self.take_back()
        }
    }

    fn end(&self) {
        let mut state = self.0.state.lock();
        state.end = state.end.or(Some(End::Over));
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The chunk that leaves last, if it has not left yet.
    pub fn last(&self) -> Option<Bytes> {
        let state = self.0.state.lock();
        let waiting = state.pieces.iter().rev().find_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk),
            Piece::Place(..) => None,
        });
        let in_flight = || state.flight.as_ref().and_then(|flight| flight.chunks.last());
        waiting.or_else(in_flight).cloned()
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
    pub fn poll_left(&self, context: &Context<'_>) -> Poll<Parting> {
        let mut state = self.0.state.lock();
        listen(&mut state.writer, context);
        state.parting.map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until what was taken has left, or its connection takes no more for the time being; nothing more is
    /// taken until the pipe ends, or [`Inlet::go_on`]. As what is taken is written at once, no peer can draw
    /// this out.
    pub fn poll_settled(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.0.state.lock();
        state.is_held = true;
        if state.is_settled() {
            return Poll::Ready(());
        }
        listen(&mut state.watcher, context);
        Poll::Pending
    }

    /// The reader may take what waits, as nobody has taken over from it.
    pub fn go_on(&self) {
        let mut state = self.0.state.lock();
        let was_held = std::mem::take(&mut state.is_held);
        let reader = state.reader.take_if(|_| was_held);
        drop(state);
        wake(reader);
    }

    /// Ends the pipe; returns the lines that the reader does not get. If some of these had been taken, what
    /// has left of them is all that leaves.
    pub fn take_back(self) -> Vec<Bytes> {
        let mut state = self.0.state.lock();
        let flight = state.flight.take();
        state.end = match &flight {
            Some(_) => Some(End::Cut),
            None => state.end.or(Some(End::Replaced)),
        };
        state.bytes = 0;
        let pieces = std::mem::take(&mut state.pieces);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        let mut chunks = flight.map(Flight::rest).unwrap_or_default();
        chunks.extend(pieces.into_iter().filter_map(|piece| match piece {
            Piece::Chunk(chunk) => Some(chunk),
            Piece::Place(..) => None,
        }));
        chunks
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.end();
    }
}

impl Outlet {
    /// The next piece, or why there is none.
    pub fn poll_take(&self, context: &Context<'_>) -> Poll<Result<Piece, End>> {
        let mut state = self.0.state.lock();
        listen(&mut state.reader, context);
        if let Some(piece) = state.take() {
            let writer = state.writer.take();
            drop(state);
            wake(writer);
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
        match (state.bytes > 0 && state.flows()) || state.end.is_some() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// All chunks that wait and may be taken.
    pub fn take_all(&self) -> Vec<Bytes> {
        let mut state = self.0.state.lock();
        let mut chunks = Vec::with_capacity(state.pieces.len());
        while let Some(piece) = state.take() {
            if let Piece::Chunk(chunk) = piece {
                chunks.push(chunk);
            }
        }
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        chunks
    }

    /// Tells how what was taken is written, so that only the lines come back that have not left whole;
    /// without this, all do.
    pub fn write_as(&self, written: Written) {
        if let Some(flight) = &mut self.0.state.lock().flight {
            flight.written = Some(written);
        }
    }

    /// Writes some of what was taken, unless it is somebody else's by now; meanwhile nobody can take it
    /// back. What is written counts as having left if it `counts`.
    pub fn pass(&self, counts: bool, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut state = self.0.state.lock();
        state.check()?;
        let written = write();
        if let (Poll::Ready(Ok(count)), Some(flight), true) = (&written, &mut state.flight, counts) {
            flight.sent += count;
        }
        state.note(written.is_pending());
        let told = state.told();
        drop(state);
        wake(told);
        written
    }

    /// Has all that was taken leave, in the same way; when this is done, it has.
    pub fn land(&self, flush: impl FnOnce() -> Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        let mut state = self.0.state.lock();
        state.check()?;
        let flushed = flush();
        if matches!(flushed, Poll::Ready(Ok(()))) {
            state.flight = None;
        }
        state.note(flushed.is_pending());
        let told = state.told();
        drop(state);
        wake(told);
        flushed
    }

    /// Counts as gone: nothing more leaves.
    pub fn die(&self) {
        self.part(Parting::Dead);
    }

    fn part(&self, parting: Parting) {
        let mut state = self.0.state.lock();
        state.parting.get_or_insert(parting);
        let (told, writer) = (state.told(), state.writer.take());
        drop(state);
        wake(told);
        wake(writer);
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.part(Parting::Gone);
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

    fn flush(outlet: &Outlet) -> Poll<io::Result<()>> {
        outlet.land(|| Poll::Ready(Ok(())))
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
        assert_eq!(inlet.poll_left(&context), Poll::Ready(Parting::Gone));
    }

    #[test]
    fn what_another_response_is_to_bring_is_not_brought_by_the_first() {
        let (inlet, outlet) = pipe(100);
        for text in ["a", "b", "c"] {
            assert!(inlet.put(&chunk(text)));
        }
        assert_eq!(take(&outlet), taken("a"));
        assert!(flush(&outlet).is_ready());
        assert_eq!(inlet.take_back(), [chunk("b"), chunk("c")]);
        assert_eq!(take(&outlet), Poll::Ready(Err(End::Replaced)));
        assert!(matches!(flush(&outlet), Poll::Ready(Ok(()))), "it may say goodbye");
    }

    #[test]
    fn what_was_taken_and_did_not_leave_comes_back_first() {
        let (inlet, outlet) = pipe(100);
        assert!(inlet.put(&chunk("a")));
        outlet.take_all();
        assert!(flush(&outlet).is_ready());
        assert!(inlet.put(&chunk("b")));
        outlet.take_all();
        assert!(inlet.put(&chunk("c")));
        drop(outlet);
        assert!(!inlet.put(&chunk("d")), "nobody takes it");
        assert_eq!(inlet.take_back(), [chunk("b"), chunk("c")]);
    }

    #[test]
    fn what_is_forced_on_a_reader_that_is_gone_comes_back() {
        let (inlet, outlet) = pipe(100);
        assert!(inlet.put(&chunk("a")));
        drop(outlet);
        inlet.force([Piece::Chunk(chunk("b"))]);
        assert_eq!(inlet.take_back(), [chunk("a"), chunk("b")]);
    }

    #[tokio::test]
    async fn last_words_come_back_unless_they_left() {
        for has_left in [false, true] {
            let (inlet, outlet) = pipe(1);
            assert!(inlet.put(&chunk("a\n")));
            assert_eq!(take(&outlet), taken("a\n"));
            assert!(flush(&outlet).is_ready());
            assert_eq!(inlet.last(), None);
            let unread = inlet.finish(vec![chunk("b\n"), chunk("c\n")]);
            assert_eq!(outlet.take_all(), [chunk("b\n"), chunk("c\n")]);
            assert_eq!(take(&outlet), Poll::Ready(Err(End::Over)));
            if has_left {
                assert!(flush(&outlet).is_ready());
            }
            drop(outlet);
            assert_eq!(unread.await.concat(), if has_left { "" } else { "b\nc\n" }.as_bytes());
        }
    }

    #[test]
    fn who_takes_over_finds_nothing_on_its_way_that_was_not_when_it_looked() {
        let context = Context::from_waker(noop_waker_ref());
        let (inlet, outlet) = pipe(100);
        assert!(inlet.put(&chunk("a")));
        assert!(inlet.poll_settled(&context).is_ready());
        assert!(take(&outlet).is_pending());
        assert!(outlet.poll_some(&context).is_pending());
        assert_eq!(outlet.take_all(), Vec::<Bytes>::new());
        assert_eq!(inlet.take_back(), [chunk("a")]);
        assert_eq!(take(&outlet), Poll::Ready(Err(End::Replaced)), "it may say goodbye");
    }

    #[test]
    fn what_was_given_back_cannot_leave() {
        let (inlet, outlet) = pipe(100);
        assert!(inlet.put(&chunk("a")));
        assert_eq!(take(&outlet), taken("a"));
        assert_eq!(inlet.take_back(), [chunk("a")]);
        let refused = outlet.pass(true, || panic!("it is somebody else's"));
        assert!(matches!(refused, Poll::Ready(Err(_))));
        let refused = outlet.land(|| panic!("it is somebody else's"));
        assert!(matches!(refused, Poll::Ready(Err(_))));
        assert_eq!(take(&outlet), Poll::Ready(Err(End::Cut)));
    }

    #[test]
    fn lines_that_left_whole_stay_away_however_they_were_written() {
        let framed = "id: 1\ndata: a\n\ndata: bb\n\nid: 3\ndata: c\n\n";
        let ends = [0, 15, 25, framed.len()];
        for sent in 0..framed.len() + 4 {
            let (inlet, outlet) = pipe(100);
            assert!(inlet.put(&chunk("a\nbb\n")));
            assert!(inlet.put(&chunk("c\n")));
            outlet.take_all();
            let (lead, end) = (4, &b"\n\n"[..]);
            let text = chunk(framed);
            outlet.write_as(Written { text, lead, end });
            assert!(outlet.pass(true, || Poll::Ready(Ok(sent))).is_ready());
            let passed = ends.iter().rposition(|end| sent.saturating_sub(lead) >= *end);
            let rest = ["a\nbb\nc\n", "bb\nc\n", "c\n", ""][passed.expect("the first is 0")];
            assert_eq!(inlet.take_back().concat(), rest.as_bytes(), "{sent}");
        }
    }

    #[test]
    fn who_takes_over_waits_for_a_word_to_leave_and_not_for_a_peer() {
        let context = Context::from_waker(noop_waker_ref());
        let (inlet, outlet) = pipe(100);
        assert!(inlet.poll_settled(&context).is_ready());
        assert!(inlet.put(&chunk("a")));
        assert!(inlet.poll_settled(&context).is_ready(), "it is not on its way");
        assert!(take(&outlet).is_pending(), "nor may it be now");
        inlet.go_on();
        outlet.take_all();
        assert!(inlet.poll_settled(&context).is_pending());
        assert!(outlet.pass(true, || Poll::Ready(Ok(1))).is_ready());
        assert!(inlet.poll_settled(&context).is_pending(), "more may leave at once");
        assert!(outlet.pass(true, || Poll::Pending).is_pending());
        assert!(inlet.poll_settled(&context).is_ready());
        assert!(outlet.pass(true, || Poll::Ready(Ok(1))).is_ready());
        assert!(inlet.poll_settled(&context).is_pending());
        assert!(flush(&outlet).is_ready());
        assert!(inlet.poll_settled(&context).is_ready());
        inlet.go_on();
        assert!(inlet.put(&chunk("b")));
        outlet.take_all();
        drop(outlet);
        assert!(inlet.poll_settled(&context).is_ready());
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
}
