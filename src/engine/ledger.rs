//! Every stream's numbering, and its newest events in memory.
//!
//! The log calls it under its lock. Offsets are given in two steps, so that a commit that fails
//! takes them back: `number`, then `take` or `unnumber`. What is in memory is the newest part of
//! each stream; what is not yet settled in chunks is always there. Invariants: an offset that was
//! taken is never given again within its epoch; nothing unsettled is let go of.

use crate::domain::event::{Draft, Event, Frames};
use crate::domain::id::{EventId, IdentityId, Stem, StreamId};
use crate::domain::path::Path;
use crate::domain::position::{Epoch, Offset};
use crate::domain::stream::Stream;
use crate::engine::record::{Place, Stored};
use foldhash::fast::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// All streams that have had an event or were asked for.
pub struct Ledger {
    streams: HashMap<StreamId, Tail, RandomState>,
    /// Everything in memory, in order of arrival; entries that were dropped since are stale.
    arrivals: VecDeque<(StreamId, Offset)>,
    /// Streams with something that chunks do not have, each once.
    unsettled: Vec<StreamId>,
    loose: HashSet<StreamId, RandomState>,
    kept: usize,
    bytes: usize,
    max_bytes: usize,
}

struct Tail {
    path: Path,
    epoch: Epoch,
    stem: Stem,
    capacity: u64,
    head: Offset,
    numbered: Offset,
    first: Offset,
    settled: Offset,
    /// Events on their way to the disk, which nobody of the same stream overtakes.
    waiting: usize,
    /// Whether the disk knows its numbering; if not, it begins anew after a crash.
    is_stored: bool,
    /// Whether the disk knows that the numbering may not hold: after a crash its epoch ends.
    is_loose: bool,
    /// When something was last shown that a crash would take back.
    loosened_ms: u64,
    is_unsettled: bool,
    events: VecDeque<Arc<Event>>,
}

/// Where a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// How long its numbering is valid.
    pub epoch: Epoch,
    /// The newest place.
    pub head: Offset,
    /// The oldest that it has not let go of.
    pub first: Offset,
    /// Up to here it can be read from chunks.
    pub settled: Offset,
}

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

/// What is to be settled of one stream.
pub struct Piece {
    /// What is known of it once this is done.
    pub place: Place,
    /// Events that chunks do not have, in order.
    pub events: Vec<Arc<Event>>,
}

impl Ledger {
    /// Keeps at most `max_bytes` of what is settled, by [`Event::weight`].
    pub fn new(max_bytes: usize) -> Self {
        Self {
            streams: HashMap::default(),
            arrivals: VecDeque::new(),
            unsettled: Vec::new(),
            loose: HashSet::default(),
            kept: 0,
            bytes: 0,
            max_bytes,
        }
    }

    /// Makes sure a stream is known.
    pub fn open(&mut self, stream: &Stream) -> View {
        self.tail(stream);
        self.view(&stream.id).expect("it was opened")
    }

    /// A stream that is known keeps from now on what the catalogue says.
    pub fn adjust(&mut self, stream: &Stream) {
        if let Some(tail) = self.streams.get_mut(&stream.id)
            && tail.capacity != stream.capacity
        {
            tail.capacity = stream.capacity;
            self.note_unsettled(&stream.id);
            self.let_go(&stream.id);
        }
    }

    fn tail(&mut self, stream: &Stream) -> &mut Tail {
        self.streams.entry(stream.id).or_insert_with(|| {
            let epoch = Epoch::fresh();
            Tail {
                path: stream.path.clone(),
                epoch,
                stem: Stem::of(&stream.id, epoch),
                capacity: stream.capacity,
                head: Offset(0),
                numbered: Offset(0),
                first: Offset(1),
                settled: Offset(0),
                waiting: 0,
                is_stored: false,
                is_loose: false,
                loosened_ms: 0,
                is_unsettled: false,
                events: VecDeque::new(),
            }
        })
    }

    /// Takes over what the disk knows of a stream.
    pub fn restore(&mut self, stream: &Stream, place: &Place) {
        let tail = self.tail(stream);
        tail.epoch = place.epoch;
        tail.stem = Stem::of(&stream.id, place.epoch);
        tail.head = tail.head.max(place.head);
        tail.numbered = tail.head;
        tail.first = tail.first.max(place.first);
        self.confirm(place);
    }

    /// Everything up to the head is in chunks, or was let go of.
    pub fn restore_settled(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.settled = tail.head;
        }
    }

    /// Takes over an event that the disk has and chunks have not.
    pub fn restore_event(&mut self, stream: &Stream, stored: Stored) {
        let tail = self.tail(stream);
        if stored.offset <= tail.head {
            return;
        }
        let event = Arc::new(tail.event(stream.id, stored));
        tail.numbered = event.offset;
        self.take(&event);
    }

    /// Whether the numbering of any stream may not hold.
    pub fn has_loose(&self) -> bool {
        !self.loose.is_empty()
    }

    /// A crash may have taken back what was shown of these streams: their numbering ends.
    pub fn end_loose_epochs(&mut self) -> Vec<Place> {
        let loose: Vec<StreamId> = self.loose.drain().collect();
        loose.iter().filter_map(|stream| self.end_epoch(stream)).collect()
    }

    /// The numbering of every stream ends.
    pub fn end_all_epochs(&mut self) -> Vec<Place> {
        self.loose.clear();
        let all: Vec<StreamId> = self.streams.keys().copied().collect();
        all.iter().filter_map(|stream| self.end_epoch(stream)).collect()
    }

    fn end_epoch(&mut self, stream: &StreamId) -> Option<Place> {
        let tail = self.streams.get_mut(stream)?;
        tail.epoch = Epoch::fresh();
        tail.stem = Stem::of(stream, tail.epoch);
        tail.is_loose = false;
        self.note_unsettled(stream);
        self.place(stream)
    }

    /// Where a stream is, if it is known.
    pub fn view(&self, stream: &StreamId) -> Option<View> {
        self.streams.get(stream).map(|tail| View {
            epoch: tail.epoch,
            head: tail.head,
            first: tail.first,
            settled: tail.settled,
        })
    }

    /// Where a stream is, for the disk.
    pub fn place(&self, stream: &StreamId) -> Option<Place> {
        self.streams.get(stream).map(|tail| Place {
            stream: *stream,
            epoch: tail.epoch,
            head: tail.head,
            first: tail.first,
            loose: tail.is_loose,
        })
    }

    /// The newest place of a stream.
    pub fn head(&self, stream: &StreamId) -> Offset {
        self.streams.get(stream).map_or(Offset(0), |tail| tail.head)
    }

    /// The place that the next event of a stream will follow.
    pub fn numbered(&self, stream: &StreamId) -> Offset {
        self.streams.get(stream).map_or(Offset(0), |tail| tail.numbered)
    }

    /// Whether an event may be shown before anything is written: nothing of its stream waits, and
    /// the disk knows that it may be taken back.
    pub fn is_free(&self, stream: &StreamId) -> bool {
        let free = |tail: &Tail| tail.waiting == 0 && (tail.is_loose || !tail.is_stored);
        self.streams.get(stream).is_none_or(free)
    }

    /// Whether the disk knows nothing of a stream.
    pub fn is_unstored(&self, stream: &StreamId) -> bool {
        self.streams.get(stream).is_none_or(|tail| !tail.is_stored)
    }

    /// So many events of a stream are on their way to the disk.
    pub fn wait(&mut self, stream: &StreamId, count: usize) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.waiting += count;
        }
    }

    /// So many have arrived there, or never will.
    pub fn wait_no_more(&mut self, stream: &StreamId, count: usize) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.waiting = tail.waiting.saturating_sub(count);
        }
    }

    /// Gives a draft its place. Nobody sees it before it is taken.
    pub fn number(&mut self, stream: &Stream, creator: IdentityId, created_ms: u64, draft: Draft) -> Arc<Event> {
        let tail = self.tail(stream);
        tail.numbered = tail.numbered.next();
        let offset = tail.numbered;
        let stored = Stored {
            offset,
            creator,
            created_ms,
            draft,
        };
        Arc::new(tail.event(stream.id, stored))
    }

    /// Takes back every place of a stream that was given and not taken.
    pub fn unnumber(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.numbered = tail.head;
        }
    }

    /// Takes the next event of its stream; from now on it can be read.
    pub fn take(&mut self, event: &Arc<Event>) {
        let Some(tail) = self.streams.get_mut(&event.stream) else {
            return;
        };
        debug_assert!(event.offset > tail.head);
        tail.head = event.offset;
        if tail.capacity == 0 && tail.events.is_empty() {
            tail.first = event.offset.next();
            return;
        }
        if tail.capacity > 0 {
            tail.events.push_back(Arc::clone(event));
            self.arrivals.push_back((event.stream, event.offset));
            self.kept += 1;
            self.bytes += event.weight();
            self.note_unsettled(&event.stream);
        }
        self.let_go(&event.stream);
        self.drop_oldest();
        self.drop_stale();
    }

    /// Something is shown that a crash would take back.
    pub fn weaken(&mut self, stream: &StreamId, now_ms: u64) {
        let Some(tail) = self.streams.get_mut(stream) else {
            return;
        };
        tail.loosened_ms = now_ms;
        if !tail.is_stored && tail.capacity > 0 {
            tail.is_loose = true;
            self.loose.insert(*stream);
        }
    }

    /// What the disk must know before events of a stream are shown; `weak` if they are shown unsynced.
    pub fn news(&self, stream: &StreamId, weak: bool) -> Option<Place> {
        let tail = self.streams.get(stream)?;
        if tail.is_stored && (tail.is_loose || !weak) {
            return None;
        }
        let loose = tail.is_loose || weak;
        self.place(stream).map(|place| Place { loose, ..place })
    }

    /// The disk knows this.
    pub fn confirm(&mut self, place: &Place) {
        if let Some(tail) = self.streams.get_mut(&place.stream) {
            tail.is_stored = true;
            tail.is_loose = place.loose;
        }
        if place.loose {
            self.loose.insert(place.stream);
        } else {
            self.loose.remove(&place.stream);
        }
    }

    /// Loose streams in which nothing was loosened since `before_ms`: nothing is shown unsynced any
    /// more, and the disk is to know that. Only to be asked when everything shown is synced.
    pub fn firm_up(&mut self, before_ms: u64) -> Vec<Place> {
        let streams = &self.streams;
        let quiet = |stream: &&StreamId| {
            let tail = streams.get(*stream);
            tail.is_none_or(|tail| tail.loosened_ms <= before_ms && tail.waiting == 0)
        };
        let quiet: Vec<StreamId> = self.loose.iter().filter(quiet).copied().collect();
        for stream in &quiet {
            self.loose.remove(stream);
            if let Some(tail) = self.streams.get_mut(stream) {
                tail.is_loose = false;
            }
            self.note_unsettled(stream);
        }
        quiet.iter().filter_map(|stream| self.place(stream)).collect()
    }

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
        Reading::Here(Page {
            events: tail.events.iter().skip(start).take(most).cloned().collect(),
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

    /// The stream lets go of everything before `first`; it is never taken back.
    pub fn raise_first(&mut self, stream: &StreamId, first: Offset) {
        let Some(tail) = self.streams.get_mut(stream) else {
            return;
        };
        if first > tail.first {
            tail.first = first.min(tail.head.next());
            self.note_unsettled(stream);
            self.let_go(stream);
        }
    }

    /// Takes one event out of memory.
    pub fn remove(&mut self, stream: &StreamId, offset: Offset) {
        let Some(tail) = self.streams.get_mut(stream) else {
            return;
        };
        if let Ok(at) = tail.events.binary_search_by_key(&offset, |event| event.offset)
            && let Some(event) = tail.events.remove(at)
        {
            self.kept -= 1;
            self.bytes -= event.weight();
        }
    }

    /// Lets go of a stream that is no more.
    pub fn forget(&mut self, stream: &StreamId) {
        self.loose.remove(stream);
        let Some(tail) = self.streams.remove(stream) else {
            return;
        };
        self.kept -= tail.events.len();
        self.bytes -= tail.events.iter().map(|event| event.weight()).sum::<usize>();
        self.drop_stale();
    }

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

    /// How many events are in memory, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        (self.kept, self.bytes)
    }

    /// The first event in memory that is of this time or later, and whether there are any before it.
    pub fn first_since(&self, stream: &StreamId, time_ms: u64) -> Option<(Offset, bool)> {
        let events = &self.streams.get(stream)?.events;
        let at = events.iter().position(|event| event.created_ms >= time_ms)?;
        Some((events[at].offset, at > 0))
    }

    fn note_unsettled(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream)
            && !tail.is_unsettled
        {
            tail.is_unsettled = true;
            self.unsettled.push(*stream);
        }
    }

    /// Applies the capacity to where the stream begins, and that to what is in memory.
    fn let_go(&mut self, stream: &StreamId) {
        let Some(tail) = self.streams.get_mut(stream) else {
            return;
        };
        let by_capacity = Offset((tail.head.0 + 1).saturating_sub(tail.capacity));
        tail.first = tail.first.max(by_capacity);
        while tail.events.front().is_some_and(|oldest| oldest.offset < tail.first)
            && let Some(oldest) = tail.events.pop_front()
        {
            self.kept -= 1;
            self.bytes -= oldest.weight();
        }
    }

    fn drop_oldest(&mut self) {
        while self.bytes > self.max_bytes {
            let Some((stream, offset)) = self.arrivals.front().copied() else {
                return;
            };
            if let Some(tail) = self.streams.get_mut(&stream)
                && tail.events.front().is_some_and(|oldest| oldest.offset == offset)
            {
                if offset > tail.settled {
                    return;
                }
                if let Some(oldest) = tail.events.pop_front() {
                    self.kept -= 1;
                    self.bytes -= oldest.weight();
                }
            }
            self.arrivals.pop_front();
        }
    }

    /// Rebuilds the order of arrival once most of it is stale; amortised, each push pays a little.
    fn drop_stale(&mut self) {
        if self.arrivals.len() <= 2 * self.kept + 1_024 {
            return;
        }
        let streams = &self.streams;
        self.arrivals.retain(|(stream, offset)| {
            let oldest = streams.get(stream).and_then(|tail| tail.events.front());
            oldest.is_some_and(|oldest| oldest.offset <= *offset)
        });
    }
}

impl Tail {
    fn event(&self, stream: StreamId, stored: Stored) -> Event {
        Event {
            id: EventId::at(self.stem, stored.offset),
            stream,
            path: self.path.clone(),
            offset: stored.offset,
            creator: stored.creator,
            created_ms: stored.created_ms,
            draft: stored.draft,
            frames: Frames::default(),
        }
    }
}

#[cfg(test)]
mod tests;
