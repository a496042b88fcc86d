//! Copies of a database, and whether one is sound.
//!
//! Works on files, beside a running server or without one. Invariant: a copy is the database as it
//! was at one moment, and says that it is a copy, so that who serves it begins new epochs.

use crate::database::{Database, check_all, damaged};
use crate::domain::error::Fault;
use crate::domain::position::Offset;
use crate::engine::record::{self, Chunk, Record};
use crate::log::store::parse_place;
use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection, Row};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

/// How long a server's checkpoint is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Tables that a database has once a server of this version has opened it.
const TABLES: i64 = 6;

/// What was found in a sound file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Streams that have something in chunks, or had.
    pub streams: u64,
    /// Events in chunks.
    pub settled: u64,
    /// Events in the journal that are not in chunks.
    pub journaled: u64,
    /// Idempotency-Keys.
    pub keys: u64,
}

/// Copies the database to a file that must not exist yet; the server may go on. Returns the copy's
/// bytes.
pub async fn backup(database: &Database, to: &Path) -> Result<u64, Fault> {
    make(to).map_err(|error| Fault::Io(std::io::Error::new(error.kind(), format!("{}: {error}", to.display()))))?;
    let copied = copy(database, to).await;
    if copied.is_err() {
        // Half a copy is worse than none. That it cannot be removed is told by its being there.
        let _ = std::fs::remove_file(to);
    }
    copied
}

/// Makes an empty file, readable by its owner only: it will hold the signing secret.
fn make(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.create_new(true).write(true).mode(0o600).open(file)?;
    Ok(())
}

async fn copy(database: &Database, to: &Path) -> Result<u64, Fault> {
    let to = &to.canonicalize()?;
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
    let file = std::fs::File::open(to)?;
    file.sync_all()?;
    if let Some(folder) = to.parent() {
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(file.metadata()?.len())
}

/// Reads a whole file and checks all of it, as it is at one moment; what is wrong is in the fault.
/// Changes nothing, and leaves nothing beside the file.
pub async fn verify(file: &Path) -> Result<Verified, Fault> {
    let name = |why: &dyn std::fmt::Display| format!("{}: {why}", file.display());
    look_through(file).await.map_err(|fault| match fault {
        Fault::Damaged(why) => Fault::Damaged(name(&why)),
        fault => Fault::Io(std::io::Error::other(name(&fault))),
    })
}

async fn look_through(file: &Path) -> Result<Verified, Fault> {
    file.metadata()?;
    let mut connection = open(file).connect().await?;
    let mut snapshot = connection.begin().await?;
    check_all(&mut snapshot).await?;
    check_tables(&mut snapshot).await?;
    let mut found = Verified::default();
    let heads = chunks(&mut snapshot, &mut found).await?;
    journal(&mut snapshot, &mut found, &heads).await?;
    receipts(&mut snapshot, &mut found).await?;
    snapshot.rollback().await?;
    connection.close().await?;
    Ok(found)
}

/// Only to read. Without a write-ahead log nobody writes, and SQLite need not make one to find out.
fn open(file: &Path) -> SqliteConnectOptions {
    let mut log = file.as_os_str().to_owned();
    log.push("-wal");
    let is_still = !Path::new(&log).exists();
    let options = SqliteConnectOptions::new().filename(file).read_only(true);
    options.immutable(is_still).busy_timeout(BUSY_TIMEOUT)
}

async fn check_tables(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let tables: i64 = sqlx::query_scalar(
        "select count(*) from sqlite_schema
         where type = 'table' and name in ('setting', 'stream', 'journal', 'chunk', 'position', 'receipt')",
    )
    .fetch_one(&mut *connection)
    .await?;
    if tables < TABLES {
        let text = "it is no database of this program, or of a version before the log";
        return Err(Fault::Io(std::io::Error::other(text)));
    }
    let broken = sqlx::query("pragma foreign_key_check")
        .fetch_optional(connection)
        .await?;
    match broken {
        Some(_) => Err(damaged(&"rows refer to others that are not there")),
        None => Ok(()),
    }
}

async fn receipts(connection: &mut SqliteConnection, found: &mut Verified) -> Result<(), Fault> {
    let mut rows = sqlx::query("select body from receipt").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        record::receipt(row.try_get("body")?).map_err(|damage| damaged(&format!("a receipt: {damage}")))?;
        found.keys += 1;
    }
    Ok(())
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
            if number == 0 && event.offset != Offset(row.try_get::<i64, _>("first_offset")? as u64) {
                return Err(bad(&"its first event is not the one that it is found by"));
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
    places(connection, found, heads).await
}

/// Where streams are, which is not before their chunks end.
async fn places(connection: &mut SqliteConnection, found: &mut Verified, mut last: Heads) -> Result<Heads, Fault> {
    let mut heads = Heads::new();
    let mut rows = sqlx::query("select * from position").fetch(connection);
    while let Some(row) = rows.try_next().await? {
        let place = parse_place(&row)?;
        let stream = place.stream.bytes().to_vec();
        if last.remove(&stream).is_some_and(|last| last > place.head) {
            return Err(damaged(&format!(
                "stream {}: its head is before its last event",
                place.stream
            )));
        }
        found.streams += 1;
        heads.insert(stream, place.head);
    }
    match last.is_empty() {
        true => Ok(heads),
        false => Err(damaged(&"there are chunks of a stream that has no place")),
    }
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
