//! The database file: where it is, how it is opened, migrated and checked.
//!
//! Knows no table but SQLite's own; whose SQL it is stays with the owners. Invariant: every
//! connection syncs what it commits, and leaves checkpoints to the log.

use crate::domain::error::Fault;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Connections that only read, each for the catalogue and for the log.
const READERS: u32 = 2;
/// How often a migration is tried again, and how long after.
const MIGRATION_TRIES: u32 = 20;
const MIGRATION_PAUSE: Duration = Duration::from_millis(50);
/// How long somebody else's transaction is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Milliseconds since 1970 by the wall clock.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// One database file.
#[derive(Clone)]
pub struct Database {
    options: SqliteConnectOptions,
    path: PathBuf,
}

/// Room on the disk of a database, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// What is free for us.
    pub free: u64,
    /// All that there is.
    pub total: u64,
    /// The file.
    pub database: u64,
    /// Its write-ahead log.
    pub log: u64,
}

impl Database {
    /// Opens the file, and makes its tables if need be.
    pub async fn open(url: &str) -> Result<(Self, SqlitePool), Fault> {
        let database = Self::at(url)?;
        let writer = database.make_tables().await?;
        Ok((database, writer))
    }

    /// The same, but looks the whole file through for damage before anything is written to it.
    pub async fn open_checked(url: &str) -> Result<(Self, SqlitePool), Fault> {
        let database = Self::at(url)?;
        database.check().await?;
        let writer = database.make_tables().await?;
        Ok((database, writer))
    }

    /// One that is there already, as it is.
    pub fn existing(url: &str) -> Result<Self, Fault> {
        let options = SqliteConnectOptions::from_str(url).map_err(|error| unusable(url, &error))?;
        // Opening it would make it.
        options
            .get_filename()
            .metadata()
            .map_err(|error| unusable(url, &error))?;
        Self::at(url)
    }

    /// The file, made if need be, and nothing in it touched.
    fn at(url: &str) -> Result<Self, Fault> {
        let path = file(url)?;
        let options = SqliteConnectOptions::from_str(url)?
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("wal_autocheckpoint", "0")
            .busy_timeout(BUSY_TIMEOUT);
        Ok(Self { options, path })
    }

    /// Makes the tables if need be; a pool of one connection to write with.
    async fn make_tables(&self) -> Result<SqlitePool, Fault> {
        let writer = self.pool(1).connect_with(self.options.clone()).await;
        let writer = writer.map_err(|error| self.unopened(error))?;
        migrate(&writer).await?;
        Ok(writer)
    }

    async fn check(&self) -> Result<(), Fault> {
        let connection = self.options.connect().await;
        let mut connection = connection.map_err(|error| self.unopened(error))?;
        check(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Where the file is.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Looks how much room there is and how much is taken.
    pub fn space(&self) -> Result<Space, Fault> {
        let disk = rustix::fs::statvfs(&self.path).map_err(std::io::Error::from)?;
        let log = PathBuf::from(format!("{}-wal", self.path.display()));
        Ok(Space {
            free: disk.f_bavail.saturating_mul(disk.f_frsize),
            total: disk.f_blocks.saturating_mul(disk.f_frsize),
            database: self.path.metadata()?.len(),
            log: log.metadata().map_or(0, |log| log.len()),
        })
    }

    /// A connection of one's own.
    pub async fn connect(&self) -> Result<SqliteConnection, Fault> {
        Ok(self.options.connect().await?)
    }

    /// Connections to read with, opened when they are needed.
    pub fn readers(&self) -> SqlitePool {
        self.pool(READERS).connect_lazy_with(self.options.clone())
    }

    /// One connection to read with, for who must not wait behind others.
    pub fn reader(&self) -> SqlitePool {
        self.pool(1).connect_lazy_with(self.options.clone())
    }

    fn unopened(&self, error: sqlx::Error) -> Fault {
        match Fault::from(error) {
            Fault::Database(error) => unusable(&self.path.to_string_lossy(), &error),
            fault => fault,
        }
    }

    fn pool(&self, size: u32) -> SqlitePoolOptions {
        // When a statement fails, SQLite may end its transaction by itself. The driver goes on believing
        // in it and begins no other; such a connection is good for nothing any more.
        SqlitePoolOptions::new()
            .max_connections(size)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }))
    }
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

/// What SQLite finds wrong with the file, if anything; quickly, so without comparing indexes.
async fn check(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let found = sqlx::query_scalar("pragma quick_check(1)")
        .fetch_one(connection)
        .await?;
    judge(found)
}

/// The same, indexes included.
pub async fn check_all(connection: &mut SqliteConnection) -> Result<(), Fault> {
    let found = sqlx::query_scalar("pragma integrity_check(1)")
        .fetch_one(connection)
        .await?;
    judge(found)
}

fn judge(found: String) -> Result<(), Fault> {
    match found.as_str() {
        "ok" => Ok(()),
        found => Err(damaged(&found.replace('\n', " "))),
    }
}

/// The database cannot be trusted, and what to do about it.
pub fn damaged(why: &dyn std::fmt::Display) -> Fault {
    Fault::Damaged(why.to_string())
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
    ["already exists", "duplicate column", "locked", "UNIQUE"]
        .iter()
        .any(|sign| text.contains(sign))
}

fn unusable(url: &str, error: &dyn std::error::Error) -> Fault {
    let text = format!("the database {url} cannot be opened: {error}; STREAMGATE_DATABASE_URL names another");
    Fault::Io(std::io::Error::other(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pool_gives_out_no_connection_whose_transaction_ended_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let (_database, pool) = Database::open(&url).await.expect("it opens");
        sqlx::query("pragma max_page_count = 1")
            .execute(&pool)
            .await
            .expect("it is set");
        let write = "insert into setting (name, value) values ('x', zeroblob(1000000))";
        let mut transaction = pool.begin_with("begin immediate").await.expect("it begins");
        let failed = sqlx::query(write).execute(&mut *transaction).await;
        assert!(failed.is_err(), "it is full");
        drop(transaction);
        let mut transaction = pool.begin_with("begin immediate").await.expect("it begins again");
        sqlx::query(write)
            .execute(&mut *transaction)
            .await
            .expect("there is room again");
        transaction.commit().await.expect("it is written");
    }
}
