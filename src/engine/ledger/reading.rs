//! Reading the ledger: what of a stream is in memory, and where the rest is.
//!
//! Invariant: what is said to be in chunks was settled, and what is not was not.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::engine::ledger::Ledger;
use std::sync::Arc;

/// Bytes of events after which a page is long enough.
const PAGE_BYTES: usize = 262_144;

/// A piece of a stream, and where the stream ends.
pub struct Page {
    /// Events in order, the first of them the oldest kept one after the cursor.
    pub events: Vec<Arc<Event>>,
    /// The newest place of the stream.
    pub head: Offset,
    /// Whether the stream keeps events at all.
    pub keeps: bool,
}

/// Where the next piece of a stream is.
pub enum Reading {
    /// In memory.
    Here(Page),
    /// In chunks: those from `from` to `to`, both included.
    Stored {
        /// The oldest that is wanted.
        from: Offset,
        /// The newest that chunks may have.
        to: Offset,
    },
}

impl Ledger {
    /// A piece of a stream after `cursor`, at most `most` events.
    pub fn after(&self, stream: &StreamId, cursor: Offset, most: usize) -> Reading {
        let Some(tail) = self.streams.get(stream) else {
            return Reading::Here(Page {
                events: Vec::new(),
                head: cursor,
                keeps: false,
            });
        };
        let from = cursor.next().max(tail.first);
        let in_memory = tail.events.front().is_some_and(|oldest| oldest.offset <= from);
        if from <= tail.settled && !in_memory {
            return Reading::Stored { from, to: tail.settled };
        }
        let start = tail.events.partition_point(|event| event.offset < from);
        let mut bytes = 0;
        let fits = |event: &&Arc<Event>| {
            let before = bytes;
            bytes += event.draft.elems.as_str().len();
            before < PAGE_BYTES
        };
        let events = tail.events.iter().skip(start).take(most).take_while(fits);
        Reading::Here(Page {
            events: events.cloned().collect(),
            head: tail.head,
            keeps: tail.capacity > 0,
        })
    }

    /// The piece of a stream that ends just before `end`, at most `most` events, oldest first.
    pub fn before(&self, stream: &StreamId, end: Offset, most: usize) -> Reading {
        let page = |events, head| {
            let keeps = true;
            Reading::Here(Page { events, head, keeps })
        };
        let Some(tail) = self.streams.get(stream) else {
            return page(Vec::new(), Offset(0));
        };
        let stop = tail.events.partition_point(|event| event.offset < end);
        let to = end.previous().min(tail.settled);
        if stop == 0 && to >= tail.first {
            return Reading::Stored { from: tail.first, to };
        }
        let start = stop.saturating_sub(most);
        page(tail.events.range(start..stop).cloned().collect(), tail.head)
    }

    /// The path of a stream, for reviving many of its events.
    pub fn path(&self, stream: &StreamId) -> Option<Path> {
        self.streams.get(stream).map(|tail| tail.path.clone())
    }

    /// The first event in memory that is of this time or later, and whether there are any before it.
    pub fn first_since(&self, stream: &StreamId, time_ms: u64) -> Option<(Offset, bool)> {
        let events = &self.streams.get(stream)?.events;
        let at = events.iter().position(|event| event.created_ms >= time_ms)?;
        Some((events[at].offset, at > 0))
    }
}
