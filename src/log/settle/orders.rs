//! What the writer is asked to do besides publishing, and doing it.
//!
//! Each is on the disk, synced, when it is answered. What goes by it goes from the disk bit by bit
//! afterwards, so that nobody waits for that.

use super::{STEP_BYTES, Settling, settlement};
use crate::domain::error::Fault;
use crate::domain::id::StreamId;
use crate::domain::position::Offset;
use crate::engine::record::Chunk;
use crate::log::Shared;
use crate::log::store::{ChunkRow, Settlement, Store};
use sqlx::Row;

/// What the writer is asked to do besides publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Delete all events of a stream.
    Clear(StreamId),
    /// Delete one.
    Remove(StreamId, Offset),
    /// Have the disk know where a stream begins now.
    Settle(StreamId),
}

impl Settling {
    /// Does what was ordered; returns whether there was anything to do it to.
    pub async fn obey(&mut self, store: &mut Store, shared: &Shared, order: &Order) -> Result<bool, Fault> {
        match order {
            Order::Clear(stream) => self.clear(store, shared, stream).await,
            Order::Settle(stream) => self.settle_now(store, shared, stream).await.map(|()| true),
            Order::Remove(stream, offset) => {
                while shared.is_unsettled(stream, *offset) {
                    self.settle_now(store, shared, stream).await?;
                }
                let found = remove(store, stream, *offset).await?;
                shared.chunks.forget(stream);
                let mut book = shared.book.lock();
                book.ledger.remove(stream, *offset);
                book.hashes
                    .retain(|(owner, _), place| owner != stream || place != offset);
                Ok(found)
            }
        }
    }

    /// Settles a piece of one stream at once.
    async fn settle_now(&mut self, store: &mut Store, shared: &Shared, stream: &StreamId) -> Result<(), Fault> {
        let piece = shared.book.lock().ledger.piece(stream, STEP_BYTES);
        let Some((piece, _)) = piece else {
            return Ok(());
        };
        self.write(store, settlement(std::slice::from_ref(&piece))).await?;
        let mut book = shared.book.lock();
        book.ledger.confirm(&piece.place);
        book.ledger.settle(stream, piece.place.head);
        Ok(())
    }

    /// Has a stream begin behind all of its events; they go from the disk bit by bit.
    async fn clear(&mut self, store: &mut Store, shared: &Shared, stream: &StreamId) -> Result<bool, Fault> {
        let Some(mut place) = shared.book.lock().ledger.place(stream) else {
            return Ok(false);
        };
        if place.first > place.head {
            return Ok(false);
        }
        place.first = place.head.next();
        let places = vec![place];
        let settlement = Settlement {
            places,
            ..Settlement::default()
        };
        self.write(store, settlement).await?;
        let mut book = shared.book.lock();
        book.ledger.confirm(&place);
        book.ledger.raise_first(stream, place.first);
        book.ledger.settle(stream, place.head);
        book.hashes
            .retain(|(owner, _), offset| owner != stream || *offset >= place.first);
        Ok(true)
    }

    async fn write(&mut self, store: &mut Store, settlement: Settlement) -> Result<(), Fault> {
        if store.settle_and_sync(&settlement).await? {
            self.trail(settlement.places);
        }
        Ok(())
    }
}

/// Writes a chunk anew without one of its events.
async fn remove(store: &mut Store, stream: &StreamId, offset: Offset) -> Result<bool, Fault> {
    let row = sqlx::query(
        "select chunk_id, body from chunk where stream_id = $1 and last_offset >= $2
         order by last_offset limit 1",
    )
    .bind(&stream.bytes()[..])
    .bind(offset.0 as i64)
    .fetch_optional(store.connection())
    .await?;
    let Some(row) = row else {
        return Ok(false);
    };
    let chunk_id: i64 = row.try_get("chunk_id")?;
    let body: Vec<u8> = row.try_get("body")?;
    let Some(rest) = Chunk::without(&body, offset).map_err(|damage| crate::database::damaged(&damage))? else {
        return Ok(false);
    };
    let rest = rest.map(|rest| ChunkRow {
        stream: *stream,
        first: rest.first,
        last: rest.last,
        newest_ms: rest.newest_ms,
        body: rest.body,
    });
    store.replace(chunk_id, rest.as_ref(), (stream, offset)).await?;
    Ok(true)
}
