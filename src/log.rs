//! Where events are ordered and kept.
//!
//! The writer is behind one lock and is the only giver of offsets. Invariants: the hub gets each
//! stream's events in offset order, because it gets them under that lock; whoever publishes waits
//! for its own events only, never for a reader. In this version events are kept in memory.

use crate::domain::event::{Draft, Event, Frames};
use crate::domain::id::{EventId, IdentityId, StreamId};
use crate::domain::position::Offset;
use crate::domain::stream::Stream;
use crate::engine::recent::{Page, Recent};
use crate::hub::Hub;
use crate::metrics::Metrics;
use parking_lot::Mutex;
use std::sync::Arc;

/// Events in one page of a replay.
const PAGE_EVENTS: usize = 256;

/// The log of one server.
pub struct Log {
    writer: Mutex<Writer>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
}

struct Writer {
    recent: Recent,
    /// Counts up from a random start, so that names are unique without asking anybody.
    next_id: u64,
}

impl Log {
    /// An empty log that keeps at most `max_bytes` and hands what it orders to `hub`.
    pub fn new(max_bytes: usize, hub: Arc<Hub>, metrics: Arc<Metrics>) -> Self {
        let recent = Recent::new(max_bytes);
        let next_id = rand::random();
        Self {
            writer: Mutex::new(Writer { recent, next_id }),
            hub,
            metrics,
        }
    }

    /// Orders, keeps and hands over all of `drafts`, in this order.
    pub async fn append(&self, creator: IdentityId, now_ms: u64, drafts: Vec<(Arc<Stream>, Draft)>) -> Vec<Arc<Event>> {
        let mut writer = self.writer.lock();
        let place = |(stream, draft): (Arc<Stream>, Draft)| writer.place(&stream, creator, now_ms, draft);
        let events: Vec<Arc<Event>> = drafts.into_iter().map(place).collect();
        self.hub.deliver(&events);
        self.measure(&writer);
        drop(writer);
        self.metrics.events_published.inc_by(events.len() as u64);
        events
    }

    /// The newest place of a stream.
    pub fn head(&self, stream: &StreamId) -> Offset {
        self.writer.lock().recent.head(stream)
    }

    /// A page of a stream after a cursor.
    pub fn read(&self, stream: &StreamId, after: Offset) -> Page {
        self.writer.lock().recent.after(stream, after, PAGE_EVENTS)
    }

    /// Lets go of a stream that is no more.
    pub fn forget(&self, stream: &StreamId) {
        let mut writer = self.writer.lock();
        writer.recent.forget(stream);
        self.measure(&writer);
    }

    fn measure(&self, writer: &Writer) {
        let (kept, bytes) = writer.recent.kept();
        self.metrics.log_events.set(kept as i64);
        self.metrics.log_bytes.set(bytes as i64);
    }
}

impl Writer {
    fn place(&mut self, stream: &Stream, creator: IdentityId, now_ms: u64, draft: Draft) -> Arc<Event> {
        let event = Arc::new(Event {
            id: self.name(now_ms),
            stream: stream.id,
            path: stream.path.clone(),
            offset: self.recent.head(&stream.id).next(),
            creator,
            created_ms: now_ms,
            draft,
            frames: Frames::default(),
        });
        self.recent.push(&event, stream.capacity);
        event
    }

    /// Four bytes of time in seconds, as such ids had, then the count.
    fn name(&mut self, now_ms: u64) -> EventId {
        self.next_id = self.next_id.wrapping_add(1);
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&((now_ms / 1_000) as u32).to_be_bytes());
        bytes[4..].copy_from_slice(&self.next_id.to_be_bytes());
        EventId::new(bytes)
    }
}
