//! Reads settled events, a page at a time.
//!
//! Chunks that several readers want at once are decoded once: those read last stay in a cache that
//! is bounded in bytes. Invariant: no more events are decoded than are returned, but for a chunk
//! that goes into the cache as a whole.

use crate::database::damaged;
use crate::domain::error::Fault;
use crate::domain::event::{Event, Frames};
use crate::domain::id::{EventId, Stem, StreamId};
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::engine::record::{Chunk, Stored};
use crate::metrics::Metrics;
use lru::LruCache;
use parking_lot::Mutex;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes of decoded chunks that are kept for the next reader.
const CACHE_BYTES: usize = 16_777_216;
/// Bytes of events after which a page is long enough.
const PAGE_BYTES: usize = 262_144;
/// Chunks looked for at once.
const CHUNKS: i64 = 32;
/// Pages read at once; who waits may find what it wants in the cache.
const READS: usize = 2;

/// The events of one chunk.
type Events = Arc<[Arc<Event>]>;

/// Whose events are read, and which.
#[derive(Clone)]
pub struct Range {
    /// The stream.
    pub stream: StreamId,
    /// Its path.
    pub path: Path,
    /// The oldest that is wanted.
    pub from: Offset,
    /// The newest.
    pub to: Offset,
}

/// The reading side of the log's tables.
pub struct Chunks {
    readers: SqlitePool,
    turns: Semaphore,
    cache: Mutex<Cache>,
    metrics: Arc<Metrics>,
}

struct Cache {
    chunks: LruCache<i64, Events>,
    bytes: usize,
}

impl Chunks {
    /// Reads through these connections.
    pub fn new(readers: SqlitePool, metrics: Arc<Metrics>) -> Self {
        let chunks = LruCache::unbounded();
        Self {
            readers,
            turns: Semaphore::new(READS),
            cache: Mutex::new(Cache { chunks, bytes: 0 }),
            metrics,
        }
    }

    /// At most `most` events of a range, the oldest of it; fewer if they are large.
    pub async fn first(&self, range: &Range, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
        let _turn = self.turns.acquire().await;
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut is_whole = false;
        while events.is_empty() && !is_whole {
            is_whole = self.gather(range, most, &mut events).await?;
        }
        self.metrics.log_events_read.inc_by(events.len() as u64);
        Ok(events)
    }

    /// Reads chunks in order, up to one that was written anew since it was found: returns whether
    /// there was none. What stands after it is read another time, so that nothing is passed over.
    async fn gather(&self, range: &Range, most: usize, events: &mut Vec<Arc<Event>>) -> Result<bool, Fault> {
        let ids: Vec<i64> = sqlx::query_scalar(
            "select chunk_id from chunk where stream_id = $1 and last_offset >= $2 and first_offset <= $3
             order by last_offset limit $4",
        )
        .bind(&range.stream.bytes()[..])
        .bind(range.from.0 as i64)
        .bind(range.to.0 as i64)
        .bind(CHUNKS)
        .fetch_all(&self.readers)
        .await?;
        for id in ids {
            let Some(chunk) = self.chunk(id, range).await? else {
                return Ok(false);
            };
            let wanted = chunk
                .iter()
                .filter(|event| event.offset >= range.from && event.offset <= range.to);
            events.extend(wanted.take(most - events.len()).cloned());
            let bytes: usize = events.iter().map(|event| event.draft.elems.as_str().len()).sum();
            if events.len() == most || bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(true)
    }

    /// At most `most` events of a range, the newest of it, in order.
    pub async fn last(&self, range: &Range, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
        let _turn = self.turns.acquire().await;
        let mut events: Vec<Arc<Event>> = Vec::new();
        let mut before = range.to.next();
        while events.len() < most && before > range.from {
            let row = sqlx::query(
                // Nothing behind the chunk that may hold what stands just before is looked at.
                "select chunk_id, first_offset, body from chunk
                 where stream_id = $1 and last_offset >= $2 and first_offset < $3
                 and last_offset <= coalesce(
                   (select last_offset from chunk where stream_id = $1 and last_offset >= $3 - 1
                    order by last_offset limit 1), $3)
                 order by last_offset desc limit 1",
            )
            .bind(&range.stream.bytes()[..])
            .bind(range.from.0 as i64)
            .bind(before.0 as i64)
            .fetch_optional(&self.readers)
            .await?;
            let Some(row) = row else {
                break;
            };
            let part = self.tail(&row, range, before, most - events.len())?;
            before = Offset(row.try_get::<i64, _>("first_offset")? as u64);
            events.splice(0..0, part);
        }
        self.metrics.log_events_read.inc_by(events.len() as u64);
        Ok(events)
    }

    /// The last events of a chunk before a place, decoding no others.
    fn tail(&self, row: &SqliteRow, range: &Range, before: Offset, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
        let body: &[u8] = row.try_get("body")?;
        let chunk = Chunk::open(body).map_err(|damage| damaged(&damage))?;
        let stem = Stem::of(&range.stream, chunk.epoch);
        let mut events = Vec::new();
        for number in (0..chunk.len()).rev() {
            let offset = chunk.offset(number).map_err(|damage| damaged(&damage))?;
            if offset < range.from || events.len() == most {
                break;
            }
            if offset < before {
                let stored = chunk.event(number).map_err(|damage| damaged(&damage))?;
                events.push(revive(range, stem, stored));
            }
        }
        events.reverse();
        Ok(events)
    }

    /// A chunk, if it has not gone since it was found.
    async fn chunk(&self, id: i64, range: &Range) -> Result<Option<Events>, Fault> {
        if let Some(chunk) = self.cache.lock().chunks.get(&id) {
            return Ok(Some(Arc::clone(chunk)));
        }
        let row = sqlx::query("select body from chunk where chunk_id = $1")
            .bind(id)
            .fetch_optional(&self.readers)
            .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        self.metrics.log_chunks_read.inc();
        let chunk = Chunk::open(row.try_get("body")?).map_err(|damage| damaged(&damage))?;
        let stem = Stem::of(&range.stream, chunk.epoch);
        let event = |number| {
            let stored = chunk.event(number).map_err(|damage| damaged(&damage))?;
            Ok(revive(range, stem, stored))
        };
        let events: Events = (0..chunk.len()).map(event).collect::<Result<_, Fault>>()?;
        self.cache.lock().put(id, &events);
        Ok(Some(events))
    }

    /// The place of the first chunk whose events are not all older than `time_ms`.
    pub async fn first_since(&self, range: &Range, time_ms: u64) -> Result<Option<Offset>, Fault> {
        let row = sqlx::query(
            "select last_offset, body from chunk where stream_id = $1 and last_offset >= $2 and newest_ms >= $3
             order by last_offset limit 1",
        )
        .bind(&range.stream.bytes()[..])
        .bind(range.from.0 as i64)
        .bind(i64::try_from(time_ms).unwrap_or(i64::MAX))
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let chunk = Chunk::open(row.try_get("body")?).map_err(|damage| damaged(&damage))?;
        for number in 0..chunk.len() {
            let stored = chunk.event(number).map_err(|damage| damaged(&damage))?;
            if stored.created_ms >= time_ms && stored.offset >= range.from {
                return Ok(Some(stored.offset));
            }
        }
        Ok(None)
    }

    /// Where a stream begins if its chunks are to have no more than `max_bytes`.
    pub async fn first_within(&self, stream: &StreamId, max_bytes: u64) -> Result<Option<Offset>, Fault> {
        let rows = sqlx::query(
            "select last_offset, length(body) as bytes from chunk where stream_id = $1 order by last_offset desc",
        )
        .bind(&stream.bytes()[..])
        .fetch_all(&self.readers)
        .await?;
        let mut bytes = 0;
        for row in rows {
            bytes += row.try_get::<i64, _>("bytes")? as u64;
            if bytes > max_bytes {
                return Ok(Some(Offset(row.try_get::<i64, _>("last_offset")? as u64).next()));
            }
        }
        Ok(None)
    }
}

impl Cache {
    fn put(&mut self, id: i64, events: &Events) {
        let bytes = |events: &Events| events.iter().map(|event| event.weight()).sum::<usize>();
        self.bytes += bytes(events);
        if let Some(before) = self.chunks.put(id, Arc::clone(events)) {
            self.bytes -= bytes(&before);
        }
        while self.bytes > CACHE_BYTES
            && let Some((_, oldest)) = self.chunks.pop_lru()
        {
            self.bytes -= bytes(&oldest);
        }
    }
}

fn revive(range: &Range, stem: Stem, stored: Stored) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::at(stem, stored.offset),
        stream: range.stream,
        path: range.path.clone(),
        offset: stored.offset,
        creator: stored.creator,
        created_ms: stored.created_ms,
        draft: stored.draft,
        frames: Frames::default(),
    })
}
