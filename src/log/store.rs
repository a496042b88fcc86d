//! All SQL that writes the log's tables.
//!
//! Owned by the one writer. Knows no order and no stream's state. Invariant: each call is one
//! transaction, done as a whole or not at all; what it synced stays.

mod settlement;

pub use settlement::{ChunkRow, Settlement};

use crate::database::Database;
use crate::domain::error::Fault;
use crate::domain::id::StreamId;
use crate::domain::position::{Epoch, Offset};
use crate::engine::keys::Digest;
use crate::engine::record::Place;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row, Sqlite};

/// Rows of one statement, so that its parameters stay far below SQLite's bound.
const ROWS: usize = 256;
/// The writer's connection.
pub struct Store {
    connection: SqliteConnection,
    syncs: bool,
}

impl Store {
    /// On a connection of its own, which syncs.
    pub async fn open(database: &Database) -> Result<Self, Fault> {
        let (connection, syncs) = (database.connect().await?, true);
        Ok(Self { connection, syncs })
    }

    /// Appends a row to the journal; synced, or in the operating system's hands only.
    pub async fn append(&mut self, journal_id: i64, body: Vec<u8>, sync: bool) -> Result<(), sqlx::Error> {
        self.set_sync(sync).await?;
        sqlx::query("insert into journal (journal_id, body) values ($1, $2)")
            .bind(journal_id)
            .bind(body)
            .execute(&mut self.connection)
            .await?;
        Ok(())
    }

    async fn set_sync(&mut self, sync: bool) -> Result<(), sqlx::Error> {
        if self.syncs != sync {
            let pragma = if sync {
                "pragma synchronous = full"
            } else {
                "pragma synchronous = normal"
            };
            sqlx::query(pragma).execute(&mut self.connection).await?;
            self.syncs = sync;
        }
        Ok(())
    }

    /// Which of these hashes a stream still keeps: those at its first place or later.
    pub async fn repeated(&mut self, hashes: &[(StreamId, Digest, Offset)]) -> Result<Vec<(StreamId, Digest)>, Fault> {
        let mut found = Vec::new();
        for part in hashes.chunks(ROWS) {
            let mut query = QueryBuilder::<Sqlite>::new("with wanted (stream_id, hash, first) as (");
            query.push_values(part, |mut row, (stream, hash, first)| {
                row.push_bind(&stream.bytes()[..])
                    .push_bind(&hash[..])
                    .push_bind(first.0 as i64);
            });
            query.push(
                ") select stream_id, hash from wanted cross join event_hash using (stream_id, hash)
                 where at_offset >= first",
            );
            for row in query.build().fetch_all(&mut self.connection).await? {
                let stream = StreamId::new(exact(&row, "stream_id")?);
                found.push((stream, exact(&row, "hash")?));
            }
        }
        Ok(found)
    }

    /// Writes a step of settling. It is on the disk with what is synced next, or not at all. Returns
    /// whether those streams may have let go of more than went.
    pub async fn settle(&mut self, settlement: &Settlement) -> Result<bool, sqlx::Error> {
        self.begin(false).await?;
        let done = settlement::write(&mut self.connection, settlement).await;
        self.end(done).await
    }

    /// The same, on the disk at once.
    pub async fn settle_and_sync(&mut self, settlement: &Settlement) -> Result<bool, sqlx::Error> {
        self.begin(true).await?;
        let done = settlement::write(&mut self.connection, settlement).await;
        self.end(done).await
    }

    /// Begins a transaction; synced at its end, or with the next that is.
    ///
    /// Not the driver's own: when a statement fails, SQLite may end the transaction by itself. The
    /// driver would go on believing in it, and begin no other.
    async fn begin(&mut self, sync: bool) -> Result<(), sqlx::Error> {
        self.set_sync(sync).await?;
        let begun = sqlx::query("begin immediate").execute(&mut self.connection).await;
        if begun.is_err() {
            self.roll_back().await;
        }
        begun.map(|_| ())
    }

    async fn end<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let ended = match done {
            Ok(done) => {
                let committed = sqlx::query("commit").execute(&mut self.connection).await;
                committed.map(|_| done)
            }
            Err(error) => Err(error),
        };
        if ended.is_err() {
            self.roll_back().await;
        }
        ended
    }

    async fn roll_back(&mut self) {
        // If SQLite has done it already, this fails, and all is well.
        let _ = sqlx::query("rollback").execute(&mut self.connection).await;
    }

    /// Replaces a chunk by what is left of it after an event was deleted.
    pub async fn replace(
        &mut self,
        chunk_id: i64,
        rest: Option<&ChunkRow>,
        place: (&StreamId, Offset),
    ) -> Result<(), sqlx::Error> {
        self.begin(true).await?;
        let done = write_rest(&mut self.connection, chunk_id, rest, place).await;
        self.end(done).await
    }

    /// Deletes some of what streams have let go of; returns whether there may be more.
    pub async fn drop_some(&mut self, places: &[Place]) -> Result<bool, sqlx::Error> {
        self.begin(false).await?;
        let done = settlement::drop_chunks(&mut self.connection, places).await;
        self.end(done).await
    }

    /// Deletes some chunks of a stream that is no more; returns whether there may be others.
    pub async fn purge(&mut self, stream: &StreamId) -> Result<bool, sqlx::Error> {
        self.begin(true).await?;
        let done = delete_some(&mut self.connection, stream).await;
        self.end(done).await
    }

    /// Writes to the disk and takes it back, to see whether that works again. What an earlier sync
    /// failed to bring there is brought there first.
    pub async fn probe(&mut self) -> Result<(), sqlx::Error> {
        self.set_sync(true).await?;
        let row = sqlx::query("pragma wal_checkpoint(truncate)")
            .fetch_one(&mut self.connection)
            .await?;
        if row.try_get::<i64, _>(0)? != 0 {
            return Err(sqlx::Error::Io(std::io::Error::other("the checkpoint was held up")));
        }
        self.begin(true).await?;
        let done = write_and_take_back(&mut self.connection).await;
        self.end(done).await
    }

    /// Brings everything into the database file itself.
    pub async fn checkpoint(&mut self) -> Result<(), sqlx::Error> {
        self.set_sync(true).await?;
        sqlx::query("pragma wal_checkpoint(truncate)")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(())
    }

    /// The connection, for reading.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}

async fn write_rest(
    connection: &mut SqliteConnection,
    chunk_id: i64,
    rest: Option<&ChunkRow>,
    (stream, offset): (&StreamId, Offset),
) -> Result<(), sqlx::Error> {
    sqlx::query("delete from chunk where chunk_id = $1")
        .bind(chunk_id)
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from event_hash where stream_id = $1 and at_offset = $2")
        .bind(&stream.bytes()[..])
        .bind(offset.0 as i64)
        .execute(&mut *connection)
        .await?;
    settlement::put_chunks(connection, rest.map_or(&[][..], std::slice::from_ref)).await
}

async fn delete_some(connection: &mut SqliteConnection, stream: &StreamId) -> Result<bool, sqlx::Error> {
    let chunks =
        sqlx::query("delete from chunk where chunk_id in (select chunk_id from chunk where stream_id = $1 limit $2)")
            .bind(&stream.bytes()[..])
            .bind(settlement::DROPS)
            .execute(&mut *connection)
            .await?
            .rows_affected();
    if chunks == 0 {
        for table in [
            "delete from event_hash where stream_id = $1",
            "delete from position where stream_id = $1",
        ] {
            sqlx::query(table)
                .bind(&stream.bytes()[..])
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(chunks > 0)
}

async fn write_and_take_back(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    sqlx::query("insert into journal (journal_id, body) values (-1, zeroblob(65536))")
        .execute(&mut *connection)
        .await?;
    sqlx::query("delete from journal where journal_id = -1")
        .execute(&mut *connection)
        .await?;
    put_setting(connection, "log_probe", 1).await
}

/// Writes a number that the log keeps about itself.
pub async fn put_setting(connection: &mut SqliteConnection, name: &str, value: i64) -> Result<(), sqlx::Error> {
    sqlx::query("insert or replace into setting (name, value) values ($1, $2)")
        .bind(name)
        .bind(&value.to_be_bytes()[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// Reads a number that the log keeps about itself.
pub async fn setting(connection: &mut SqliteConnection, name: &str) -> Result<Option<i64>, Fault> {
    let row = sqlx::query("select value from setting where name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Ok(i64::from_be_bytes(exact(&row, "value")?))).transpose()
}

/// What is known of a stream, from its row.
pub fn parse_place(row: &SqliteRow) -> Result<Place, Fault> {
    let number = |column| -> Result<u64, Fault> { Ok(row.try_get::<i64, _>(column)? as u64) };
    Ok(Place {
        stream: StreamId::new(exact(row, "stream_id")?),
        epoch: Epoch::new(number("epoch")?),
        head: Offset(number("head")?),
        first: Offset(number("first")?),
        loose: number("loose")? != 0,
    })
}

/// A blob of a length that is known.
pub fn exact<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], Fault> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| Fault::Stored {
        what: column,
        why: format!("{} bytes instead of {N}", bytes.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::error::Code;
    use sqlx::AssertSqlSafe;

    fn settlement(bytes: usize) -> Settlement {
        Settlement {
            receipts: vec![([1; 16], 1, vec![0; bytes])],
            ..Settlement::default()
        }
    }

    #[tokio::test]
    async fn a_disk_that_was_full_in_the_middle_of_a_transaction_is_written_to_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let (database, _pool) = Database::open(&url).await.expect("it opens");
        let mut store = Store::open(&database).await.expect("it opens");
        let allow = async |store: &mut Store, pages: &str| {
            let pragma = format!("pragma max_page_count = {pages}");
            let set = sqlx::query(AssertSqlSafe(pragma)).execute(&mut store.connection).await;
            set.expect("it is set");
        };
        allow(&mut store, "1").await;
        let failed = store.settle_and_sync(&settlement(1_000_000)).await;
        assert_eq!(Fault::from(failed.expect_err("it is full")).log_code(), Code::LogFull);
        assert!(store.probe().await.is_err(), "it is full");
        allow(&mut store, "1000000").await;
        store.probe().await.expect("there is room again");
        store
            .settle_and_sync(&settlement(1_000_000))
            .await
            .expect("there is room again");
    }
}
