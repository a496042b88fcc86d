//! Every stream's numbering, and its newest events in memory.
//!
//! The log calls it under its lock. Offsets are given in two steps, so that a commit that fails
//! takes them back: `number`, then `take` or `unnumber`. What is in memory is the newest part of
//! each stream; what is not yet settled in chunks is always there. Invariants: an offset that was
//! taken is never given again within its epoch; nothing unsettled is let go of.

mod epochs;
mod reading;
mod settling;

pub use reading::{Page, Reading};
pub use settling::Piece;

use crate::domain::event::{Draft, Event, Frames, Stamp};
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

    /// A stream that is known keeps from now on what the catalogue says; returns whether the disk
    /// is to know what it let go of by that.
    pub fn adjust(&mut self, stream: &Stream) -> bool {
        let Some(tail) = self.streams.get_mut(&stream.id) else {
            return false;
        };
        let before = (tail.capacity, tail.first);
        tail.capacity = stream.capacity;
        self.let_go(&stream.id);
        let after = self.streams.get(&stream.id).map(|tail| (tail.capacity, tail.first));
        let is_news = after != Some(before);
        // Who has never been on the disk is put there as loose, by what is shown first.
        let is_for_disk = is_news && !self.is_unstored(&stream.id);
        if is_for_disk {
            self.note_unsettled(&stream.id);
        }
        is_for_disk
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

    /// Whether events of a stream are on their way to the disk.
    pub fn awaits(&self, stream: &StreamId) -> bool {
        self.streams.get(stream).is_some_and(|tail| tail.waiting > 0)
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
    pub fn number(
        &mut self,
        stream: &Stream,
        creator: IdentityId,
        created_ms: u64,
        asked: Stamp,
        draft: Draft,
    ) -> Arc<Event> {
        let tail = self.tail(stream);
        tail.numbered = tail.numbered.next();
        let offset = tail.numbered;
        let stored = Stored {
            offset,
            creator,
            created_ms,
            draft,
        };
        let event = tail.event(stream.id, stored);
        Arc::new(Event { asked, ..event })
    }

    /// Takes back every place of a stream that was given and not taken.
    pub fn unnumber(&mut self, stream: &StreamId) {
        if let Some(tail) = self.streams.get_mut(stream) {
            tail.numbered = tail.head;
        }
    }

    /// Takes the next event of its stream; from now on it can be read.
    pub fn take(&mut self, event: &Arc<Event>) {
        debug_assert!(event.offset > self.head(&event.stream));
        self.keep(event);
    }

    fn keep(&mut self, event: &Arc<Event>) {
        let Some(tail) = self.streams.get_mut(&event.stream) else {
            return;
        };
        tail.head = tail.head.max(event.offset);
        if tail.capacity == 0 && tail.events.is_empty() {
            tail.first = tail.head.next();
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

    /// How many events are in memory, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        (self.kept, self.bytes)
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
            asked: Stamp::UNKNOWN,
            draft: stored.draft,
            frames: Frames::default(),
        }
    }
}

#[cfg(test)]
mod tests;
