//! Brings what is in the write-ahead log into the database file, beside the writer.
//!
//! Most of the work is done by a connection of its own while the writer goes on; only for the last
//! few pages the writer is held up, so that it can begin the write-ahead log anew. SQLite syncs the
//! database file only when nothing is left to copy, which is then, so the file is synced from here
//! before. Invariant: at most one checkpoint at a time; the write-ahead log is a few times
//! [`DUE_BYTES`] at most, unless somebody reads for long.

use crate::database::Database;
use crate::domain::error::Fault;
use sqlx::sqlite::SqliteConnection;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard, Notify};

/// Bytes written after which a checkpoint is due, unless memory is tighter. The writer's own syncs
/// wait behind those of the database file: better a short while and often.
const DUE_BYTES: usize = 1_048_576;
/// The same with the tightest memory.
const LEAST_BYTES: usize = 262_144;
/// Time after which one is due anyway; with nothing to copy it costs nothing.
const LONG: Duration = Duration::from_secs(5);
/// Rounds beside the writer before it is made to wait; each leaves what came during it.
const ROUNDS: usize = 2;

/// The writer's side.
pub struct Checkpoint {
    state: Arc<State>,
    due_bytes: usize,
    begun: Instant,
}

/// The checkpointer's side.
pub struct Checkpointer {
    state: Arc<State>,
    connection: SqliteConnection,
    /// The database file, open as long as the process lives: who closes any descriptor of a file lets
    /// go of all the locks that the process has on it, SQLite's too.
    file: &'static File,
}

#[derive(Default)]
struct State {
    written: AtomicUsize,
    due: Notify,
    gate: Mutex<()>,
}

/// Both sides. Little memory means small files too.
pub async fn pair(database: &Database, max_log_bytes: usize) -> Result<(Checkpoint, Checkpointer), Fault> {
    let connection = database.connect().await?;
    let file = Box::leak(Box::new(File::open(database.path())?));
    let state = Arc::<State>::default();
    let checkpoint = Checkpoint {
        state: Arc::clone(&state),
        begun: Instant::now(),
        due_bytes: DUE_BYTES.min(max_log_bytes / 2).max(LEAST_BYTES),
    };
    let checkpointer = Checkpointer {
        state,
        connection,
        file,
    };
    Ok((checkpoint, checkpointer))
}

impl Checkpoint {
    /// Held while writing.
    pub async fn gate(&self) -> MutexGuard<'_, ()> {
        self.state.gate.lock().await
    }

    /// So much was written.
    pub fn wrote(&self, bytes: usize) {
        self.state.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has one begun if the last is long ago: not everything that is written is counted.
    pub fn begin_now_and_then(&mut self) {
        if self.begun.elapsed() >= LONG {
            self.begun = Instant::now();
            self.state.due.notify_one();
        }
    }

    /// Has a checkpoint begun if one is due.
    pub fn begin_if_due(&self) {
        if self.state.written.load(Ordering::Relaxed) >= self.due_bytes {
            self.state.due.notify_one();
        }
    }
}

impl Checkpointer {
    /// Makes checkpoints when they are due, until the task is ended.
    pub async fn run(mut self) {
        loop {
            self.state.due.notified().await;
            self.state.written.store(0, Ordering::Relaxed);
            if let Err(fault) = self.make().await {
                // The log goes on growing; the writer finds out by itself when there is no room.
                tracing::warn!("a checkpoint failed: {fault}");
            }
        }
    }

    async fn make(&mut self) -> Result<(), Fault> {
        for _ in 0..ROUNDS {
            self.copy().await?;
            let file = self.file;
            tokio::task::spawn_blocking(|| file.sync_data())
                .await
                .map_err(std::io::Error::other)??;
        }
        let state = Arc::clone(&self.state);
        let _gate = state.gate.lock().await;
        self.copy().await
    }

    /// Copies what there is.
    async fn copy(&mut self) -> Result<(), Fault> {
        sqlx::query("pragma wal_checkpoint(passive)")
            .fetch_one(&mut self.connection)
            .await?;
        Ok(())
    }
}
