//! Settling the ledger: what chunks do not have yet, in pieces.
//!
//! Invariant: a stream with something new is on the list of unsettled ones, once.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::engine::ledger::Ledger;
use crate::engine::record::Place;
use std::collections::VecDeque;
use std::sync::Arc;

/// What is to be settled of one stream.
pub struct Piece {
    /// What is known of it once this is done.
    pub place: Place,
    /// Events that chunks do not have, in order.
    pub events: Vec<Arc<Event>>,
}

impl Ledger {
    /// Takes the list of streams with something that chunks do not have.
    pub fn take_unsettled(&mut self) -> VecDeque<StreamId> {
        let unsettled = std::mem::take(&mut self.unsettled);
        for stream in &unsettled {
            if let Some(tail) = self.streams.get_mut(stream) {
                tail.is_unsettled = false;
            }
        }
        unsettled.into()
    }

    /// What chunks do not have of a stream, about `max_bytes` of it; and whether there is more.
    pub fn piece(&self, stream: &StreamId, max_bytes: usize) -> Option<(Piece, bool)> {
        let tail = self.streams.get(stream)?;
        let mut place = self.place(stream)?;
        let start = tail.events.partition_point(|event| event.offset <= tail.settled);
        let mut bytes = 0;
        let fits = |event: &&Arc<Event>| {
            let before = bytes;
            bytes += event.draft.elems.as_str().len();
            before < max_bytes
        };
        let events: Vec<Arc<Event>> = tail.events.range(start..).take_while(fits).cloned().collect();
        let has_more = start + events.len() < tail.events.len();
        if has_more && let Some(last) = events.last() {
            place.head = last.offset;
        }
        Some((Piece { place, events }, has_more))
    }

    /// Chunks have everything of a stream up to here.
    pub fn settle(&mut self, stream: &StreamId, to: Offset) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.settled = tail.settled.max(to);
        }
        self.drop_oldest();
    }
}
