//! Many streams at once, which the server is not asked for one by one.
//!
//! Each stream that is made over HTTP is synced by itself, which would take minutes for a hundred
//! thousand. So they are put into the database file in one transaction, as the command line puts its
//! own there, and the server is waited for until it has seen them. This is the one file here that knows
//! a table of the server's.

use crate::bench::server::Server;
use crate::bench::{failure, wait_until};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use std::time::{Duration, Instant};
use streamgate::domain::id::{SYSTEM, StreamId};

/// Longest wait for the server to see them.
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon to look again.
const LOOK: Duration = Duration::from_millis(100);

impl Server {
    /// Makes streams `/<company>/<name>/0` and so on; returns their ids in that order.
    pub fn make_streams(&self, name: &str, count: usize, capacity: u64) -> std::io::Result<Vec<String>> {
        let wanted = self.metrics()?.gauge("streams") + count as u64;
        let ids: Vec<StreamId> = (0..count).map(|_| StreamId::random()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let put = put(self, name, &ids, capacity);
        runtime.block_on(put).map_err(std::io::Error::other)?;
        let end = Instant::now() + PATIENCE;
        while self.metrics()?.gauge("streams") < wanted {
            if Instant::now() > end {
                return Err(failure("the server does not see the streams"));
            }
            wait_until(Instant::now() + LOOK);
        }
        Ok(ids.iter().map(StreamId::to_string).collect())
    }
}

async fn put(server: &Server, name: &str, ids: &[StreamId], capacity: u64) -> Result<(), sqlx::Error> {
    let company = &server.account.company;
    let options = SqliteConnectOptions::new().filename(server.database());
    let mut connection: SqliteConnection = options
        .busy_timeout(PATIENCE)
        .pragma("wal_autocheckpoint", "0")
        .connect()
        .await?;
    let mut transaction = connection.begin_with("begin immediate").await?;
    for (number, id) in ids.iter().enumerate() {
        sqlx::query(
            "insert into stream (stream_id, company_id, path, description, capacity, creator, created_ms)
             select $1, company_id, $2, '', $3, $4, 0 from company where name = $5",
        )
        .bind(&id.bytes()[..])
        .bind(format!("/{company}/{name}/{number}"))
        .bind(capacity as i64)
        .bind(&SYSTEM.bytes()[..])
        .bind(company)
        .execute(&mut *transaction)
        .await?;
    }
    transaction.commit().await?;
    connection.close().await
}
