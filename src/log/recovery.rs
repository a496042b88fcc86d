//! Starting: what the disk knows becomes what the writer goes on from.
//!
//! Places of streams, then the journal in order, then the conclusions: whose numbering a crash or
//! a restored copy has made worthless begins a new epoch, before anybody can ask. Invariant: a
//! database that cannot be read as a whole is not served.

use crate::database::{Database, damaged};
use crate::domain::error::Fault;
use crate::domain::id::StreamId;
use crate::domain::limits::Limits;
use crate::domain::position::Offset;
use crate::domain::stream::Stream;
use crate::engine::keys::{Digest, Keys};
use crate::engine::ledger::Ledger;
use crate::engine::record::{self, Place, Record};
use crate::hub::Hub;
use crate::log::book::Book;
use crate::log::checkpoint::{self, Checkpointer};
use crate::log::chunks::Chunks;
use crate::log::mark::Mark;
use crate::log::settle::Settling;
use crate::log::store::{Settlement, Store, exact, parse_place, put_setting, setting};
use crate::log::writer::Writer;
use crate::log::{Bound, Log, Shared};
use crate::metrics::Metrics;
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Bytes of journal after which it is settled, unless memory is tighter.
const DUE_BYTES: usize = 67_108_864;

/// What a log is started with.
pub struct Setup<'a> {
    /// The database.
    pub database: &'a Database,
    /// Its lock file, locked.
    pub lock: File,
    /// All streams of the catalogue.
    pub streams: &'a [Arc<Stream>],
    /// The bounds.
    pub limits: &'a Limits,
    /// How long Idempotency-Keys are remembered.
    pub key_window: Duration,
}

/// The tasks of a running log.
pub struct Tasks {
    shared: Arc<Shared>,
    writer: JoinHandle<()>,
    checkpointer: JoinHandle<()>,
}

/// The state of a log being started.
struct Loaded {
    ledger: Ledger,
    keys: Keys,
    gone: VecDeque<StreamId>,
    settling: Settling,
    hashes: HashMap<(StreamId, Digest), Offset>,
    fresh_keys: Vec<Digest>,
    newest_row: i64,
}

impl Log {
    /// Reads what there is and starts the writer. Fails with what to do if the file is damaged.
    pub async fn start(setup: Setup<'_>, hub: Arc<Hub>, metrics: Arc<Metrics>) -> Result<(Self, Tasks), Fault> {
        let mut store = Store::open(setup.database).await?;
        let loaded = load(store.connection(), &setup).await?;
        let generation = setting(store.connection(), "log_generation").await?;
        let is_trusted = is_trusted(&setup.lock, generation, loaded.newest_row);
        let generation = match generation.filter(|_| is_trusted) {
            Some(generation) => generation,
            None => new_generation(store.connection()).await?,
        };
        let next_id = loaded.newest_row + 1;
        let mut settling = loaded.settling;
        let shared = Arc::new(Shared {
            book: Mutex::new(Book::new(loaded.ledger, loaded.keys, setup.limits.max_pending_bytes)),
            orders: Mutex::default(),
            gone: Mutex::new(loaded.gone),
            bounded: Mutex::new(setup.streams.iter().filter_map(|stream| Bound::of(stream)).collect()),
            bell: Notify::new(),
            stopping: AtomicBool::new(false),
            mark: Mark::new(setup.lock, generation),
            chunks: Chunks::new(setup.database.readers(), Arc::clone(&metrics)),
            hub,
            metrics,
        });
        {
            let mut book = shared.book.lock();
            book.hashes = loaded.hashes;
            book.fresh_keys = loaded.fresh_keys;
        }
        end_epochs(&mut store, &mut settling, &shared, is_trusted).await?;
        shared.mark.note(next_id - 1);
        let folder = setup.database.path().parent().unwrap_or(Path::new("/"));
        shared.mark.found(folder)?;
        let (checkpoint, checkpointer) = checkpoint::pair(setup.database, setup.limits.max_log_bytes).await?;
        let writer = Writer::new(Arc::clone(&shared), store, settling, checkpoint, next_id);
        let tasks = Tasks::spawn(Arc::clone(&shared), writer, checkpointer);
        Ok((Self { shared }, tasks))
    }
}

impl Tasks {
    fn spawn(shared: Arc<Shared>, writer: Writer, checkpointer: Checkpointer) -> Self {
        let run = tokio::spawn(writer.run());
        // Without its writer the server would take requests and never answer.
        let writer = tokio::spawn(async move {
            if run.await.is_err_and(|error| error.is_panic()) {
                tracing::error!("the log's writer panicked; the process ends");
                std::process::abort();
            }
        });
        let checkpointer = tokio::spawn(checkpointer.run());
        Self {
            shared,
            writer,
            checkpointer,
        }
    }

    /// Waits until everything is written, and lets go of the lock, whoever has the log still; [`Log::stop`] has
    /// been called.
    pub async fn end(self) {
        // Either it has ended or it panicked, and then the process has.
        let _ = self.writer.await;
        self.checkpointer.abort();
        let _ = self.checkpointer.await;
        self.shared.mark.release();
    }
}

async fn load(connection: &mut SqliteConnection, setup: &Setup<'_>) -> Result<Loaded, Fault> {
    let limits = setup.limits;
    let window_ms = u64::try_from(setup.key_window.as_millis()).unwrap_or(u64::MAX);
    let mut loaded = Loaded {
        ledger: Ledger::new(limits.max_log_bytes),
        keys: Keys::new(window_ms, limits.max_key_bytes),
        gone: VecDeque::new(),
        settling: Settling::new(DUE_BYTES.min(limits.max_log_bytes / 4).max(1)),
        hashes: HashMap::new(),
        fresh_keys: Vec::new(),
        newest_row: setting(connection, "log_journal").await?.unwrap_or(0),
    };
    let streams: HashMap<StreamId, &Stream> = setup.streams.iter().map(|stream| (stream.id, &**stream)).collect();
    loaded.places(connection, &streams).await?;
    loaded.settling.trail(trailing(connection).await?);
    loaded.receipts(connection).await?;
    loaded.journal(connection, &streams).await?;
    for stream in setup.streams {
        // What it lets go of now is settled when the next pass comes by.
        loaded.ledger.adjust(stream);
    }
    Ok(loaded)
}

impl Loaded {
    async fn places(
        &mut self,
        connection: &mut SqliteConnection,
        streams: &HashMap<StreamId, &Stream>,
    ) -> Result<(), Fault> {
        let mut rows = sqlx::query("select * from position").fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let place = parse_place(&row)?;
            match streams.get(&place.stream) {
                Some(stream) => {
                    self.ledger.restore(stream, &place);
                    self.ledger.restore_settled(&place.stream);
                }
                None => self.gone.push_back(place.stream),
            }
        }
        Ok(())
    }

    async fn receipts(&mut self, connection: &mut SqliteConnection) -> Result<(), Fault> {
        let mut rows = sqlx::query("select key, body from receipt order by used_ms").fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let receipt = record::receipt(row.try_get("body")?).map_err(|damage| damaged(&damage))?;
            self.keys.answer(exact(&row, "key")?, receipt);
        }
        Ok(())
    }

    async fn journal(
        &mut self,
        connection: &mut SqliteConnection,
        streams: &HashMap<StreamId, &Stream>,
    ) -> Result<(), Fault> {
        let mut rows = sqlx::query("select journal_id, body from journal order by journal_id").fetch(connection);
        while let Some(row) = rows.try_next().await? {
            let (id, body): (i64, &[u8]) = (row.try_get("journal_id")?, row.try_get("body")?);
            let records = record::journal(body);
            let records = records.map_err(|damage| damaged(&format!("row {id} of the journal: {damage}")))?;
            self.row(records, streams);
            self.settling.add(id, body.len());
            self.newest_row = self.newest_row.max(id);
        }
        Ok(())
    }

    fn row(&mut self, records: Vec<Record>, streams: &HashMap<StreamId, &Stream>) {
        for record in &records {
            // A stream's first place stands behind its first events, which are named after it.
            if let Record::Place(place) = record
                && let Some(stream) = streams.get(&place.stream)
            {
                self.ledger.restore_epoch(stream, place.epoch);
            }
        }
        for record in records {
            self.record(record, streams);
        }
    }

    fn record(&mut self, record: Record, streams: &HashMap<StreamId, &Stream>) {
        match record {
            Record::Event(id, stored) => {
                let Some(stream) = streams.get(&id) else {
                    return;
                };
                let hash = stored.draft.hash.as_deref().map(super::book::digest);
                let offset = stored.offset;
                // What chunks have may have been deleted there, and its hash with it.
                if self.ledger.restore_event(stream, stored)
                    && let Some(hash) = hash
                {
                    self.hashes.insert((id, hash), offset);
                }
            }
            Record::Place(place) => {
                if let Some(stream) = streams.get(&place.stream) {
                    self.ledger.restore(stream, &place);
                }
            }
            Record::Receipt(key, receipt) => {
                self.keys.answer(key, receipt);
                self.fresh_keys.push(key);
            }
        }
    }
}

/// Places of streams of which there are chunks that they have let go of.
async fn trailing(connection: &mut SqliteConnection) -> Result<Vec<Place>, Fault> {
    let rows = sqlx::query(
        "select * from position where exists
         (select 1 from chunk where chunk.stream_id = position.stream_id and last_offset < position.first)",
    )
    .fetch_all(connection)
    .await?;
    rows.iter().map(parse_place).collect()
}

/// Whether what clients know of the numbering may be trusted: the file is the one that its mark
/// was written for, and no older.
fn is_trusted(lock: &File, generation: Option<i64>, newest_row: i64) -> bool {
    match (generation, Mark::read(lock)) {
        (None, _) => false,
        (Some(_), None) => false,
        (Some(generation), Some((marked, row))) => generation == marked && newest_row >= row,
    }
}

async fn new_generation(connection: &mut SqliteConnection) -> Result<i64, Fault> {
    let generation = rand::random::<i64>() & i64::MAX;
    put_setting(connection, "log_generation", generation).await?;
    Ok(generation)
}

/// New epochs where the old ones cannot be trusted. What has the old numbering is settled first,
/// for a chunk is of one epoch.
async fn end_epochs(
    store: &mut Store,
    settling: &mut Settling,
    shared: &Shared,
    is_trusted: bool,
) -> Result<(), Fault> {
    if is_trusted && !shared.book.lock().ledger.has_loose() {
        return Ok(());
    }
    settling.settle_all(store, shared).await?;
    let places = {
        let ledger = &mut shared.book.lock().ledger;
        if is_trusted {
            ledger.end_loose_epochs()
        } else {
            ledger.end_all_epochs()
        }
    };
    let count = places.len();
    store
        .settle_and_sync(&Settlement {
            places,
            ..Settlement::default()
        })
        .await?;
    if count > 0 {
        let why = if is_trusted { "a crash" } else { "a restored copy" };
        tracing::warn!(streams = count, "new epochs after {why}: offsets may be given again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Draft;
    use crate::domain::id::{EventId, SYSTEM, Stem};
    use crate::domain::path::Path;
    use crate::domain::payload::Payload;
    use crate::domain::position::Epoch;
    use crate::domain::stream::Rules;
    use crate::engine::ledger::Reading;
    use crate::engine::record::{Place, Stored};

    const ID: StreamId = StreamId::new([7; 12]);
    const EPOCH: Epoch = Epoch::new(9);

    fn stream() -> Stream {
        Stream {
            id: ID,
            path: Path::parse("/acme/door").expect("a path"),
            description: String::new(),
            capacity: 10,
            rules: Rules::default(),
            creator: SYSTEM,
            created_ms: 0,
            edited: None,
        }
    }

    fn event(offset: u64) -> Record {
        let draft = Draft {
            elems: Payload::stored("{}".into()),
            hash: Some(format!("hash {offset}").into()),
        };
        let stored = Stored {
            offset: Offset(offset),
            creator: SYSTEM,
            created_ms: 0,
            draft,
        };
        Record::Event(ID, stored)
    }

    fn place(head: u64) -> Place {
        Place {
            stream: ID,
            epoch: EPOCH,
            head: Offset(head),
            first: Offset(1),
            loose: true,
        }
    }

    fn loaded(settled: Option<Place>, rows: Vec<Vec<Record>>) -> Loaded {
        let mut loaded = Loaded {
            ledger: Ledger::new(1_000_000),
            keys: Keys::new(1, 1),
            gone: VecDeque::new(),
            settling: Settling::new(1_000_000),
            hashes: HashMap::new(),
            fresh_keys: Vec::new(),
            newest_row: 0,
        };
        let stream = stream();
        if let Some(place) = settled {
            loaded.ledger.restore(&stream, &place);
            loaded.ledger.restore_settled(&ID);
        }
        let streams = HashMap::from([(ID, &stream)]);
        rows.into_iter().for_each(|row| loaded.row(row, &streams));
        loaded
    }

    /// Names and places of what is in memory.
    fn kept(loaded: &Loaded, after: u64) -> Vec<(EventId, u64)> {
        match loaded.ledger.after(&ID, Offset(after), 100) {
            Reading::Here(page) => page.events.iter().map(|event| (event.id, event.offset.0)).collect(),
            Reading::Stored { .. } => panic!("nothing of it is in chunks"),
        }
    }

    fn named(offsets: impl Iterator<Item = u64>) -> Vec<(EventId, u64)> {
        let stem = Stem::of(&ID, EPOCH);
        offsets
            .map(|offset| (EventId::at(stem, Offset(offset)), offset))
            .collect()
    }

    #[test]
    fn events_before_their_streams_first_place_are_named_after_it() {
        let loaded = loaded(None, vec![vec![event(1), event(2), Record::Place(place(0))]]);
        assert_eq!(kept(&loaded, 0), named(1..=2));
    }

    #[test]
    fn a_place_that_was_noted_after_later_events_were_shown_hides_none_of_them() {
        let rows = vec![vec![event(1), Record::Place(place(3))], vec![event(2), event(3)]];
        let loaded = loaded(None, rows);
        assert_eq!(kept(&loaded, 0), named(1..=3));
        assert_eq!(loaded.ledger.numbered(&ID), Offset(3));
    }

    #[test]
    fn places_that_were_given_and_not_kept_are_not_given_again() {
        let loaded = loaded(None, vec![vec![event(1), Record::Place(place(5))]]);
        assert_eq!(loaded.ledger.numbered(&ID), Offset(5));
    }

    #[test]
    fn what_chunks_have_is_taken_from_there_with_its_hash() {
        let loaded = loaded(Some(place(2)), vec![vec![event(1), event(2), event(3)]]);
        assert_eq!(kept(&loaded, 2), named(3..=3));
        assert_eq!(loaded.hashes.values().collect::<Vec<_>>(), [&Offset(3)]);
    }
}
