//! The database file: opening, migrating, settings, and the notes of what changed.

use crate::domain::error::Fault;
use crate::domain::id::{StreamId, TokenKey};
use rand::TryRng;
use rand::rngs::SysRng;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Row, SqlitePool};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Connections that only read.
const READERS: u32 = 2;
/// How often a migration is tried again, and how long after.
const MIGRATION_TRIES: u32 = 20;
const MIGRATION_PAUSE: Duration = Duration::from_millis(50);
/// Changes read at once.
const CHANGES: i64 = 10_000;

/// Milliseconds since 1970 by the wall clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The file that a URL names, made if need be and readable by its owner only: it holds secrets.
///
/// The path is the one without links, so that one file has one name.
pub fn file(url: &str) -> Result<PathBuf, Fault> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| unusable(url, &error))?;
    let path = options.get_filename();
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    made.and_then(|_| path.canonicalize())
        .map_err(|error| unusable(url, &error))
}

/// Connections to one file, by what they are for.
pub struct Pools {
    /// One, because SQLite has one writer.
    pub writer: SqlitePool,
    /// Those who answer requests.
    pub readers: SqlitePool,
    /// The one that follows changes.
    pub follower: SqlitePool,
}

/// Opens the file, and makes its tables if need be.
pub async fn open(url: &str) -> Result<Pools, Fault> {
    file(url)?;
    let options = SqliteConnectOptions::from_str(url)?
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(10));
    let pool = |size| SqlitePoolOptions::new().max_connections(size);
    let writer = pool(1).connect_with(options.clone()).await;
    let writer = writer.map_err(|error| unusable(url, &error))?;
    migrate(&writer).await?;
    let readers = pool(READERS).connect_lazy_with(options.clone());
    let follower = pool(1).connect_lazy_with(options);
    Ok(Pools {
        writer,
        readers,
        follower,
    })
}

/// Two processes may come upon a fresh file at once. SQLite lets one of them make the tables, the
/// other finds them made when it looks again.
async fn migrate(writer: &SqlitePool) -> Result<(), Fault> {
    for _ in 0..MIGRATION_TRIES {
        match sqlx::migrate!().run(writer).await {
            Ok(()) => return Ok(()),
            Err(error) if is_race(&error) => {}
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(MIGRATION_PAUSE).await;
    }
    Ok(sqlx::migrate!().run(writer).await?)
}

/// Whether another process was faster: its tables are there, or it is writing them.
fn is_race(error: &sqlx::migrate::MigrateError) -> bool {
    let text = error.to_string();
    ["already exists", "locked", "UNIQUE"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn unusable(url: &str, error: &dyn std::error::Error) -> Fault {
    let text = format!("the database {url} cannot be opened: {error}; STREAMGATE_DATABASE_URL names another");
    Fault::Io(std::io::Error::other(text))
}

/// The secret that signs sessions and keys the hashes of tokens; made at the first start.
pub async fn signing_secret(writer: &SqlitePool) -> Result<[u8; 32], Fault> {
    let mut fresh = [0; 32];
    SysRng.try_fill_bytes(&mut fresh).map_err(std::io::Error::from)?;
    sqlx::query("insert into setting (name, value) values ('signing_secret', $1) on conflict do nothing")
        .bind(&fresh[..])
        .execute(writer)
        .await?;
    let stored: Vec<u8> = sqlx::query_scalar("select value from setting where name = 'signing_secret'")
        .fetch_one(writer)
        .await?;
    exact(&stored, "signing secret")
}

/// One note.
pub struct Change {
    /// Notes are numbered without holes, but the oldest are thrown away.
    pub number: i64,
    /// What changed.
    pub subject: Subject,
}

/// What can change.
pub enum Subject {
    /// A token.
    Token(TokenKey),
    /// A stream.
    Stream(StreamId),
}

/// The notes after `number`, the oldest first.
pub async fn changes_after(readers: &SqlitePool, number: i64) -> Result<Vec<Change>, Fault> {
    let rows =
        sqlx::query("select change_id, kind, subject from change where change_id > $1 order by change_id limit $2")
            .bind(number)
            .bind(CHANGES)
            .fetch_all(readers)
            .await?;
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let subject: Vec<u8> = row.try_get("subject")?;
        let subject = match row.try_get("kind")? {
            "token" => Subject::Token(TokenKey(exact(&subject, "token key")?)),
            _ => Subject::Stream(StreamId::new(exact(&subject, "stream id")?)),
        };
        let number = row.try_get("change_id")?;
        changes.push(Change { number, subject });
    }
    Ok(changes)
}

/// The newest note's number.
pub async fn newest_change(readers: &SqlitePool) -> Result<i64, Fault> {
    let newest = sqlx::query_scalar("select coalesce(max(change_id), 0) from change");
    Ok(newest.fetch_one(readers).await?)
}

/// Bytes of a stored value that must have a certain length.
pub fn exact<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| Fault::Stored {
        what,
        why: format!("{} bytes instead of {N}", bytes.len()),
    })
}

/// A stored number that is never negative.
pub fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}
