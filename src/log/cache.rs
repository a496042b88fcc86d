//! Chunks that were read lately, decoded, so that readers of the same part share them.
//!
//! Found by stream and place. Invariants: bounded in bytes; what was deleted is not found here,
//! even if it was being read when it was deleted.

use crate::domain::event::Event;
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use lru::LruCache;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The events of one chunk.
pub type Events = Arc<[Arc<Event>]>;

/// A stream, and the last place of a chunk of it.
type Place = (StreamId, Offset);

/// The chunks read last.
pub struct Cache {
    chunks: LruCache<Place, Events>,
    places: BTreeSet<Place>,
    bytes: usize,
    max_bytes: usize,
    deletions: u64,
}

impl Cache {
    /// Keeps about `max_bytes`, by [`Event::weight`].
    pub fn new(max_bytes: usize) -> Self {
        Self {
            chunks: LruCache::unbounded(),
            places: BTreeSet::new(),
            bytes: 0,
            max_bytes,
            deletions: 0,
        }
    }

    /// The chunk that has a place between its first and its last event.
    pub fn find(&mut self, stream: &StreamId, place: Offset) -> Option<Events> {
        let key = *self.places.range((*stream, place)..).next()?;
        let events = self.chunks.get(&key).filter(|_| key.0 == *stream)?;
        let begins = events.first().is_some_and(|first| first.offset <= place);
        begins.then(|| Arc::clone(events))
    }

    /// How many deletions there have been; to be asked before a chunk is read.
    pub fn deletions(&self) -> u64 {
        self.deletions
    }

    /// Keeps a chunk, unless something was deleted since it began to be read.
    pub fn put(&mut self, events: &Events, deletions: u64) {
        let Some(last) = events.last().filter(|_| deletions == self.deletions) else {
            return;
        };
        let key = (last.stream, last.offset);
        self.bytes += weight(events);
        self.places.insert(key);
        if let Some(before) = self.chunks.put(key, Arc::clone(events)) {
            self.bytes -= weight(&before);
        }
        while self.bytes > self.max_bytes
            && let Some((key, oldest)) = self.chunks.pop_lru()
        {
            self.places.remove(&key);
            self.bytes -= weight(&oldest);
        }
    }

    /// Something of a stream was deleted.
    pub fn forget(&mut self, stream: &StreamId) {
        self.deletions += 1;
        let ends = (*stream, Offset(0))..=(*stream, Offset(u64::MAX));
        let keys: Vec<Place> = self.places.range(ends).copied().collect();
        for key in keys {
            self.places.remove(&key);
            if let Some(events) = self.chunks.pop(&key) {
                self.bytes -= weight(&events);
            }
        }
    }
}

fn weight(events: &Events) -> usize {
    events.iter().map(|event| event.weight()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{Draft, Frames, Stamp};
    use crate::domain::id::{EventId, SYSTEM};
    use crate::domain::path::Path;
    use crate::domain::payload::Payload;

    const STREAM: StreamId = StreamId::new([1; 12]);

    fn chunk(offsets: &[u64]) -> Events {
        let event = |offset: &u64| {
            Arc::new(Event {
                id: EventId::new([0; 12]),
                stream: STREAM,
                path: Path::parse("/acme/door").expect("a path"),
                offset: Offset(*offset),
                creator: SYSTEM,
                created_ms: 0,
                asked: Stamp::UNKNOWN,
                draft: Draft {
                    elems: Payload::stored("{}".into()),
                    hash: None,
                },
                frames: Frames::default(),
            })
        };
        offsets.iter().map(event).collect()
    }

    fn found(cache: &mut Cache, stream: &StreamId, place: u64) -> Option<u64> {
        let events = cache.find(stream, Offset(place))?;
        events.first().map(|first| first.offset.0)
    }

    #[test]
    fn a_place_is_found_in_the_chunk_around_it() {
        let mut cache = Cache::new(usize::MAX);
        cache.put(&chunk(&[1, 2, 4]), 0);
        cache.put(&chunk(&[7, 8]), 0);
        for (place, first) in [
            (1, Some(1)),
            (3, Some(1)),
            (4, Some(1)),
            (5, None),
            (7, Some(7)),
            (9, None),
        ] {
            assert_eq!(found(&mut cache, &STREAM, place), first, "{place}");
        }
        assert_eq!(found(&mut cache, &StreamId::new([0; 12]), 1), None);
    }

    #[test]
    fn bytes_bound_it_and_what_was_used_last_stays() {
        let weight = weight(&chunk(&[1]));
        let mut cache = Cache::new(2 * weight);
        cache.put(&chunk(&[1]), 0);
        cache.put(&chunk(&[2]), 0);
        assert_eq!(found(&mut cache, &STREAM, 1), Some(1));
        cache.put(&chunk(&[3]), 0);
        assert_eq!(found(&mut cache, &STREAM, 2), None);
        assert_eq!(found(&mut cache, &STREAM, 1), Some(1));
        assert_eq!(cache.bytes, 2 * weight);
    }

    #[test]
    fn what_was_read_before_a_deletion_is_not_kept() {
        let mut cache = Cache::new(usize::MAX);
        let before = cache.deletions();
        cache.put(&chunk(&[1, 2]), before);
        cache.forget(&STREAM);
        assert_eq!(found(&mut cache, &STREAM, 1), None);
        cache.put(&chunk(&[1, 2]), before);
        assert_eq!((found(&mut cache, &STREAM, 1), cache.bytes), (None, 0));
    }
}
