//! Reads settled events, a page at a time.
//!
//! Chunks that several readers want at once are decoded once: those read last stay in a cache that
//! is bounded in bytes. Invariant: no more events are decoded than are returned, but for a chunk
//! that goes into the cache as a whole.

use crate::database::damaged;
use crate::domain::error::Fault;
use crate::domain::event::{Event, Frames, Stamp};
use crate::domain::id::{EventId, Stem, StreamId};
use crate::domain::path::Path;
use crate::domain::position::Offset;
use crate::engine::record::{Chunk, Stored};
use crate::log::cache::{Cache, Events};
use crate::metrics::Metrics;
use parking_lot::Mutex;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes of decoded chunks that are kept for the next reader.
const CACHE_BYTES: usize = 16_777_216;
/// Pages read at once; who waits may find what it wants in the cache.
const READS: usize = 2;

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

impl Chunks {
    /// Reads through these connections.
    pub fn new(readers: SqlitePool, metrics: Arc<Metrics>) -> Self {
        Self {
            readers,
            turns: Semaphore::new(READS),
            cache: Mutex::new(Cache::new(CACHE_BYTES)),
            metrics,
        }
    }

    /// The oldest events of a range, at most `most`, if they were read lately.
    pub fn cached(&self, stream: &StreamId, from: Offset, to: Offset, most: usize) -> Option<Vec<Arc<Event>>> {
        let chunk = self.cache.lock().find(stream, from)?;
        let events = part(&chunk, from, to, most);
        (!events.is_empty()).then_some(events)
    }

    /// The oldest events of a range, at most `most`: no more than one chunk has.
    pub async fn first(&self, range: &Range, most: usize) -> Result<Vec<Arc<Event>>, Fault> {
        let _turn = self.turns.acquire().await;
        let mut from = range.from;
        while from <= range.to {
            // Whoever had the turn before may have read it.
            if let Some(events) = self.cached(&range.stream, from, range.to, most) {
                return Ok(events);
            }
            let Some(chunk) = self.chunk(range, from).await? else {
                break;
            };
            let events = part(&chunk, from, range.to, most);
            if !events.is_empty() {
                return Ok(events);
            }
            from = chunk.last().map_or(range.to, |last| last.offset).next();
        }
        Ok(Vec::new())
    }

    /// The first chunk of a range that has anything at or after a place.
    async fn chunk(&self, range: &Range, from: Offset) -> Result<Option<Events>, Fault> {
        let deletions = self.cache.lock().deletions();
        let row = sqlx::query(
            "select body from chunk where stream_id = $1 and last_offset >= $2 and first_offset <= $3
             order by last_offset limit 1",
        )
        .bind(&range.stream.bytes()[..])
        .bind(from.0 as i64)
        .bind(range.to.0 as i64)
        .fetch_optional(&self.readers)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let chunk = Chunk::open(row.try_get("body")?).map_err(|damage| damaged(&damage))?;
        let stem = Stem::of(&range.stream, chunk.epoch);
        let event = |number| {
            let stored = chunk.event(number).map_err(|damage| damaged(&damage))?;
            Ok(revive(range, stem, stored))
        };
        let events: Events = (0..chunk.len()).map(event).collect::<Result<_, Fault>>()?;
        self.metrics.log_chunks_read.inc();
        self.metrics.log_events_read.inc_by(events.len() as u64);
        self.cache.lock().put(&events, deletions);
        Ok(Some(events))
    }

    /// Something of a stream was deleted.
    pub fn forget(&self, stream: &StreamId) {
        self.cache.lock().forget(stream);
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

    /// The place of the first chunk whose events are not all older than `time_ms`.
    pub async fn first_since(&self, range: &Range, time_ms: u64) -> Result<Option<Offset>, Fault> {
        let mut from = range.from;
        loop {
            let row = sqlx::query(
                "select last_offset, body from chunk where stream_id = $1 and last_offset >= $2 and newest_ms >= $3
                 order by last_offset limit 1",
            )
            .bind(&range.stream.bytes()[..])
            .bind(from.0 as i64)
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
            // What made it the newest was let go of already, for clocks are put back at times.
            from = Offset(row.try_get::<i64, _>("last_offset")? as u64).next();
        }
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

/// The events of a chunk that are in a range, the first of them.
fn part(chunk: &Events, from: Offset, to: Offset, most: usize) -> Vec<Arc<Event>> {
    let start = chunk.partition_point(|event| event.offset < from);
    let wanted = chunk[start..].iter().take_while(|event| event.offset <= to);
    wanted.take(most).cloned().collect()
}

fn revive(range: &Range, stem: Stem, stored: Stored) -> Arc<Event> {
    Arc::new(Event {
        id: EventId::at(stem, stored.offset),
        stream: range.stream,
        path: range.path.clone(),
        offset: stored.offset,
        creator: stored.creator,
        created_ms: stored.created_ms,
        asked: Stamp::UNKNOWN,
        draft: stored.draft,
        frames: Frames::default(),
    })
}
