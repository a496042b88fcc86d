//! The newest events of every stream, in memory: as many as its capacity, all bounded in bytes.
//!
//! Gives offsets out in order because it holds the head of each stream; who may call it is the
//! log's business. Invariant: what is kept of a stream is its newest part, without a hole.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// All streams that have had an event.
pub struct Recent {
    streams: HashMap<StreamId, Tail, RandomState>,
    /// Everything kept, in order of arrival; entries that capacity has dropped since are stale.
    arrivals: VecDeque<(StreamId, Offset)>,
    kept: usize,
    bytes: usize,
    max_bytes: usize,
}

#[derive(Default)]
struct Tail {
    head: Offset,
    keeps: bool,
    events: VecDeque<Arc<Event>>,
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

impl Recent {
    /// Keeps at most `max_bytes`, by [`Event::weight`].
    pub fn new(max_bytes: usize) -> Self {
        Self {
            streams: HashMap::default(),
            arrivals: VecDeque::new(),
            kept: 0,
            bytes: 0,
            max_bytes,
        }
    }

    /// The newest place of a stream.
    pub fn head(&self, stream: &StreamId) -> Offset {
        self.streams.get(stream).map_or(Offset(0), |tail| tail.head)
    }

    /// Takes the next event of its stream and keeps the newest `capacity` of them.
    pub fn push(&mut self, event: &Arc<Event>, capacity: u64) {
        let tail = self.streams.entry(event.stream).or_default();
        debug_assert_eq!(event.offset, tail.head.next());
        tail.head = event.offset;
        tail.keeps = capacity > 0;
        if capacity == 0 && tail.events.is_empty() {
            return;
        }
        if capacity > 0 {
            tail.events.push_back(Arc::clone(event));
            self.arrivals.push_back((event.stream, event.offset));
            self.kept += 1;
            self.bytes += event.weight();
        }
        while tail.events.len() as u64 > capacity {
            if let Some(oldest) = tail.events.pop_front() {
                self.kept -= 1;
                self.bytes -= oldest.weight();
            }
        }
        self.drop_oldest();
        self.drop_stale();
    }

    /// At most `most` events after `cursor`.
    pub fn after(&self, stream: &StreamId, cursor: Offset, most: usize) -> Page {
        let Some(tail) = self.streams.get(stream) else {
            return Page {
                events: Vec::new(),
                head: cursor,
                keeps: false,
            };
        };
        let oldest = tail.events.front().map_or(tail.head.next(), |event| event.offset);
        let passed = cursor.next().0.saturating_sub(oldest.0);
        let passed = usize::try_from(passed).unwrap_or(usize::MAX);
        Page {
            events: tail.events.iter().skip(passed).take(most).cloned().collect(),
            head: tail.head,
            keeps: tail.keeps,
        }
    }

    /// Lets go of a stream that is no more.
    pub fn forget(&mut self, stream: &StreamId) {
        let Some(tail) = self.streams.remove(stream) else {
            return;
        };
        self.kept -= tail.events.len();
        self.bytes -= tail.events.iter().map(|event| event.weight()).sum::<usize>();
        self.drop_stale();
    }

    /// How many events are kept, and their bytes.
    pub fn kept(&self) -> (usize, usize) {
        (self.kept, self.bytes)
    }

    fn drop_oldest(&mut self) {
        while self.bytes > self.max_bytes {
            let Some((stream, offset)) = self.arrivals.pop_front() else {
                return;
            };
            let Some(tail) = self.streams.get_mut(&stream) else {
                continue;
            };
            if tail.events.front().is_some_and(|oldest| oldest.offset == offset)
                && let Some(oldest) = tail.events.pop_front()
            {
                self.kept -= 1;
                self.bytes -= oldest.weight();
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Draft, Frames};
    use crate::domain::id::{EventId, SYSTEM};
    use crate::domain::path::Path;
    use crate::domain::payload::Payload;

    fn push(recent: &mut Recent, stream: u8, capacity: u64) -> usize {
        let stream = StreamId::new([stream; 12]);
        let raw = serde_json::from_str(r#"{"n":1}"#).expect("JSON");
        let elems = Payload::check(raw, 9).expect("a payload");
        let event = Arc::new(Event {
            id: EventId::random(),
            stream,
            path: Path::parse("/acme/door").expect("a path"),
            offset: recent.head(&stream).next(),
            creator: SYSTEM,
            created_ms: 0,
            draft: Draft { elems, hash: None },
            frames: Frames::default(),
        });
        recent.push(&event, capacity);
        event.weight()
    }

    fn offsets(recent: &Recent, stream: u8, cursor: u64, most: usize) -> Vec<u64> {
        let page = recent.after(&StreamId::new([stream; 12]), Offset(cursor), most);
        page.events.iter().map(|event| event.offset.0).collect()
    }

    #[test]
    fn capacity_bounds_each_stream_and_pages_follow_the_cursor() {
        let mut recent = Recent::new(usize::MAX);
        for _ in 0..5 {
            push(&mut recent, 1, 3);
            push(&mut recent, 2, 0);
        }
        assert_eq!(offsets(&recent, 1, 0, 9), [3, 4, 5]);
        assert_eq!(offsets(&recent, 1, 3, 1), [4]);
        assert!(offsets(&recent, 1, 5, 9).is_empty());
        assert!(offsets(&recent, 2, 0, 9).is_empty());
        assert_eq!(recent.head(&StreamId::new([2; 12])), Offset(5));
        push(&mut recent, 1, 0);
        assert_eq!(recent.kept(), (0, 0));
    }

    #[test]
    fn bytes_bound_all_streams_and_the_oldest_go_first() {
        let weight = push(&mut Recent::new(usize::MAX), 1, 1);
        let mut recent = Recent::new(4 * weight);
        for stream in [1, 2, 1, 2, 1, 2] {
            push(&mut recent, stream, 100);
        }
        assert_eq!(offsets(&recent, 1, 0, 9), [2, 3]);
        assert_eq!(offsets(&recent, 2, 0, 9), [2, 3]);
        recent.forget(&StreamId::new([1; 12]));
        assert_eq!(recent.kept(), (2, 2 * weight));
    }

    #[test]
    fn what_capacity_dropped_leaves_no_trace() {
        let mut recent = Recent::new(usize::MAX);
        for _ in 0..10_000 {
            push(&mut recent, 1, 1);
        }
        assert!(recent.arrivals.len() <= 1_026, "{}", recent.arrivals.len());
        assert_eq!(recent.kept().0, 1);
    }
}
