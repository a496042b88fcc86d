//! Copies of a database, and whether one is sound.
//!
//! Works on files, beside a running server or without one. Invariant: a copy is the database as it
//! was at one moment, and says that it is a copy, so that who serves it begins new epochs.

use crate::database::{Database, check, damaged};
use crate::domain::error::Fault;
use crate::domain::position::Offset;
use crate::engine::record::{self, Chunk, Record};
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::collections::HashMap;
use std::path::Path;

/// What was found in a sound file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Streams that keep something.
    pub streams: u64,
    /// Events in chunks.
    pub settled: u64,
    /// Events in the journal that are not in chunks.
    pub journaled: u64,
    /// Idempotency-Keys.
    pub keys: u64,
}

/// Copies the database to a file that must not exist yet; the server may go on.
pub async fn backup(database: &Database, to: &Path) -> Result<(), Fault> {
    let copied = copy(database, to).await;
    if copied.is_err() && to.exists() {
        // Half a copy is worse than none. That it cannot be removed is told by its being there.
        let _ = std::fs::remove_file(to);
    }
    copied
}

async fn copy(database: &Database, to: &Path) -> Result<(), Fault> {
    use std::os::unix::fs::OpenOptionsExt;
    // It holds the signing secret, as the database does.
    std::fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| Fault::Io(std::io::Error::new(error.kind(), format!("{}: {error}", to.display()))))?;
    let mut connection = database.connect().await?;
    let name = to
        .to_str()
        .ok_or_else(|| Fault::Io(std::io::Error::other("the file's name is not UTF-8")))?;
    sqlx::query("vacuum into $1")
        .bind(name)
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let mut copy = SqliteConnectOptions::new().filename(to).connect().await?;
    sqlx::query("delete from setting where name = 'log_generation'")
        .execute(&mut copy)
        .await?;
    copy.close().await?;
    std::fs::File::open(to)?.sync_all()?;
    Ok(())
}

/// Reads a whole file and checks all of it; what is wrong is in the fault.
pub async fn verify(file: &Path) -> Result<Verified, Fault> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false);
    let mut connection = options.connect().await.map_err(|error| {
        let text = format!("{}: {error}", file.display());
        Fault::Io(std::io::Error::other(text))
    })?;
    check(&mut connection).await?;
    let broken: Vec<_> = sqlx::query("pragma foreign_key_check")
        .fetch_all(&mut connection)
        .await?;
    if !broken.is_empty() {
        return Err(damaged(&"rows refer to others that are not there"));
    }
    let mut found = Verified::default();
    let heads = chunks(&mut connection, &mut found).await?;
    journal(&mut connection, &mut found, &heads).await?;
    let mut rows = sqlx::query("select body from receipt").fetch(&mut connection);
    while let Some(row) = rows.try_next().await? {
        record::receipt(row.try_get("body")?).map_err(|damage| damaged(&format!("a receipt: {damage}")))?;
        found.keys += 1;
    }
    Ok(found)
}

type Heads = HashMap<Vec<u8>, Offset>;

async fn chunks(connection: &mut SqliteConnection, found: &mut Verified) -> Result<Heads, Fault> {
    let mut heads = Heads::new();
    let mut rows = sqlx::query("select * from chunk order by stream_id, last_offset").fetch(&mut *connection);
    while let Some(row) = rows.try_next().await? {
        let id: i64 = row.try_get("chunk_id")?;
        let bad = |why: &dyn std::fmt::Display| damaged(&format!("chunk {id}: {why}"));
        let (stream, body): (&[u8], &[u8]) = (row.try_get("stream_id")?, row.try_get("body")?);
        let chunk = Chunk::open(body).map_err(|damage| bad(&damage))?;
        let mut before = heads.get(stream).copied().unwrap_or_default();
        for number in 0..chunk.len() {
            let event = chunk.event(number).map_err(|damage| bad(&damage))?;
            if event.offset <= before {
                return Err(bad(&format!("offset {} comes after {before}", event.offset)));
            }
            before = event.offset;
        }
        if before != Offset(row.try_get::<i64, _>("last_offset")? as u64) {
            return Err(bad(&"its last event is not the one that it is found by"));
        }
        found.settled += chunk.len() as u64;
        heads.insert(stream.to_owned(), before);
    }
    drop(rows);
    let mut rows = sqlx::query("select stream_id, head from position").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        found.streams += 1;
        let head = Offset(row.try_get::<i64, _>("head")? as u64);
        let stream: Vec<u8> = row.try_get("stream_id")?;
        if heads.get(&stream).is_some_and(|last| *last > head) {
            return Err(damaged(&"a stream's head is before its last event"));
        }
        heads.insert(stream, head);
    }
    Ok(heads)
}

/// Events that chunks have too are counted once.
async fn journal(connection: &mut SqliteConnection, found: &mut Verified, heads: &Heads) -> Result<(), Fault> {
    let mut newest: Heads = heads.clone();
    let mut rows = sqlx::query("select journal_id, body from journal order by journal_id").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let id: i64 = row.try_get("journal_id")?;
        let records = record::journal(row.try_get("body")?);
        for record in records.map_err(|damage| damaged(&format!("row {id} of the journal: {damage}")))? {
            let Record::Event(stream, event) = record else {
                continue;
            };
            let head = newest.entry(stream.bytes().to_vec()).or_default();
            if event.offset > *head {
                *head = event.offset;
                found.journaled += 1;
            }
        }
    }
    Ok(())
}
