//! What a step of settling writes, as SQL.
//!
//! Knows the tables, not why something is written. Invariant: what streams have let go of goes a few
//! rows at a time, however much it is.

use super::{ROWS, put_setting};
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::engine::keys::Digest;
use crate::engine::record::Place;
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

/// Chunks that one transaction lets go of, and small rows: publishers wait for it.
pub(super) const DROPS: i64 = 64;
const SMALL_DROPS: i64 = 2_048;

/// A piece of a stream as a row.
pub struct ChunkRow {
    /// Whose.
    pub stream: StreamId,
    /// Its first event's place.
    pub first: Offset,
    /// Its last one's.
    pub last: Offset,
    /// The latest time of any of them.
    pub newest_ms: u64,
    /// The encoded events.
    pub body: Vec<u8>,
}

/// What one step of settling writes.
#[derive(Default)]
pub struct Settlement {
    /// Pieces of streams.
    pub chunks: Vec<ChunkRow>,
    /// What is known of those streams then; chunks before their first place go.
    pub places: Vec<Place>,
    /// Hashes of events in the chunks.
    pub hashes: Vec<(StreamId, Digest, Offset)>,
    /// Publishers' keys and encoded receipts.
    pub receipts: Vec<(Digest, u64, Vec<u8>)>,
    /// Receipts before this time go.
    pub horizon_ms: u64,
    /// Journal rows up to this one go.
    pub journal_to: Option<i64>,
}

/// Writes all of it; returns whether its streams may have let go of more than went.
pub(super) async fn write(connection: &mut SqliteConnection, settlement: &Settlement) -> Result<bool, sqlx::Error> {
    put_chunks(connection, &settlement.chunks).await?;
    put_places(connection, &settlement.places).await?;
    let has_more = drop_chunks(connection, &settlement.places).await?;
    put_hashes(connection, settlement).await?;
    put_receipts(connection, settlement).await?;
    if let Some(to) = settlement.journal_to {
        sqlx::query("delete from journal where journal_id <= $1")
            .bind(to)
            .execute(&mut *connection)
            .await?;
        put_setting(connection, "log_journal", to).await?;
    }
    Ok(has_more)
}

pub(super) async fn put_chunks(connection: &mut SqliteConnection, chunks: &[ChunkRow]) -> Result<(), sqlx::Error> {
    for part in chunks.chunks(ROWS) {
        let mut query =
            QueryBuilder::<Sqlite>::new("insert into chunk (stream_id, first_offset, last_offset, newest_ms, body) ");
        query.push_values(part, |mut row, chunk| {
            row.push_bind(&chunk.stream.bytes()[..])
                .push_bind(chunk.first.0 as i64)
                .push_bind(chunk.last.0 as i64)
                .push_bind(chunk.newest_ms as i64)
                .push_bind(&chunk.body[..]);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn put_places(connection: &mut SqliteConnection, places: &[Place]) -> Result<(), sqlx::Error> {
    for part in places.chunks(ROWS) {
        let mut query =
            QueryBuilder::<Sqlite>::new("insert or replace into position (stream_id, epoch, head, first, loose) ");
        query.push_values(part, |mut row, place| {
            row.push_bind(&place.stream.bytes()[..])
                .push_bind(place.epoch.bits() as i64)
                .push_bind(place.head.0 as i64)
                .push_bind(place.first.0 as i64)
                .push_bind(place.loose);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Some of the chunks that streams have let go of as a whole, and of their hashes; whether there may
/// be more of them.
pub(super) async fn drop_chunks(connection: &mut SqliteConnection, places: &[Place]) -> Result<bool, sqlx::Error> {
    const GONE: [(&str, i64); 2] = [
        (
            ") delete from chunk where chunk_id in (select chunk_id from gone cross join chunk
               on chunk.stream_id = gone.stream_id and chunk.last_offset < gone.first limit ",
            DROPS,
        ),
        (
            ") delete from event_hash where (stream_id, hash) in (select event_hash.stream_id, event_hash.hash
               from gone cross join event_hash
               on event_hash.stream_id = gone.stream_id and event_hash.at_offset < gone.first limit ",
            SMALL_DROPS,
        ),
    ];
    let mut has_more = false;
    for part in places.chunks(ROWS) {
        for (statement, most) in GONE {
            let mut query = QueryBuilder::<Sqlite>::new("with gone (stream_id, first) as (");
            query.push_values(part, |mut row, place| {
                row.push_bind(&place.stream.bytes()[..]).push_bind(place.first.0 as i64);
            });
            query.push(statement).push_bind(most).push(")");
            let dropped = query.build().execute(&mut *connection).await?.rows_affected();
            has_more |= dropped == most as u64;
        }
    }
    Ok(has_more)
}

async fn put_hashes(connection: &mut SqliteConnection, settlement: &Settlement) -> Result<(), sqlx::Error> {
    for part in settlement.hashes.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("insert or replace into event_hash (stream_id, hash, at_offset) ");
        query.push_values(part, |mut row, (stream, hash, offset)| {
            row.push_bind(&stream.bytes()[..])
                .push_bind(&hash[..])
                .push_bind(offset.0 as i64);
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

async fn put_receipts(connection: &mut SqliteConnection, settlement: &Settlement) -> Result<(), sqlx::Error> {
    for part in settlement.receipts.chunks(ROWS) {
        let mut query = QueryBuilder::<Sqlite>::new("insert or replace into receipt (key, used_ms, body) ");
        query.push_values(part, |mut row, (key, used_ms, body)| {
            row.push_bind(&key[..]).push_bind(*used_ms as i64).push_bind(&body[..]);
        });
        query.build().execute(&mut *connection).await?;
    }
    if settlement.horizon_ms > 0 {
        sqlx::query("delete from receipt where key in (select key from receipt where used_ms < $1 limit $2)")
            .bind(settlement.horizon_ms as i64)
            .bind(SMALL_DROPS)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
