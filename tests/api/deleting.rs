//! Events that were deleted: the pieces that they stood in are written anew, and readers are told
//! what is missing, no more and no less.
//!
//! The log is asked itself, on the database of a server that is not running.

use crate::reading::{DOOR, NO_MEMORY, assert_events, assert_gap, follow, publish, until_on_disk};
use crate::stage::{DEADLINE, Stage};
use clap::Parser;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use streamgate::database::{Database, now_ms};
use streamgate::domain::event::{Draft, Stamp};
use streamgate::domain::id::{SYSTEM, StreamId};
use streamgate::domain::limits::Limits;
use streamgate::domain::payload::Payload;
use streamgate::domain::position::Offset;
use streamgate::domain::stream::Stream;
use streamgate::hub::Hub;
use streamgate::log::{Log, Publication, Setup, Tasks};
use streamgate::metrics::Metrics;

#[derive(Parser)]
struct JustLimits {
    #[command(flatten)]
    limits: Limits,
}

/// A log without memory on the database of a stage.
struct Desk {
    log: Log,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    streams: Vec<Arc<Stream>>,
}

impl Desk {
    async fn open(stage: &Stage) -> Self {
        let url = format!("sqlite:{}/test.db", stage.folder().display());
        let (database, _) = Database::open(&url).await.expect("a database");
        stage.catalogue.refresh().await.expect("a catalogue");
        let lock = File::options()
            .read(true)
            .write(true)
            .open(stage.folder().join("test.db.lock"));
        let metrics = Arc::new(Metrics::default());
        let streams = stage.catalogue.streams();
        let setup = Setup {
            database: &database,
            lock: lock.expect("a lock file"),
            streams: &streams,
            limits: &JustLimits::parse_from([&["test"], &NO_MEMORY[..]].concat()).limits,
            key_window: Duration::from_secs(60),
        };
        let hub = Arc::new(Hub::new(1, Arc::clone(&metrics)));
        let (log, tasks) = Log::start(setup, hub, Arc::clone(&metrics)).await.expect("a log");
        Self {
            log,
            tasks,
            metrics,
            streams,
        }
    }

    fn stream(&self, id: &str) -> Arc<Stream> {
        let found = self.streams.iter().find(|stream| stream.id.to_string() == id);
        Arc::clone(found.expect("a stream"))
    }

    /// Publishes events and waits until they stand in pieces.
    async fn append(&self, stream: &Arc<Stream>, elems: &str, count: usize) {
        let draft = || Draft {
            elems: Payload::stored(elems.into()),
            hash: None,
        };
        let publication = Publication {
            asked: Stamp::UNKNOWN,
            creator: SYSTEM,
            now_ms: now_ms(),
            drafts: (0..count).map(|_| (Arc::clone(stream), draft())).collect(),
            ack: None,
            expected: None,
            key: None,
        };
        self.log.append(publication).await.expect("events that are taken");
        let settled = async {
            while self.metrics.log_events.get() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, settled).await.expect("pieces in time");
    }

    /// Offsets and elements of all events of a stream.
    async fn all(&self, stream: &StreamId) -> Vec<(u64, String)> {
        let (mut after, mut found) = (Offset(0), Vec::new());
        loop {
            let page = self.log.read(stream, after).await.expect("a page");
            let Some(last) = page.events.last() else {
                return found;
            };
            after = last.offset;
            let events = page.events.iter();
            found.extend(events.map(|event| (event.offset.0, event.draft.elems.as_str().to_owned())));
        }
    }

    async fn end(self) {
        self.log.stop();
        self.tasks.end().await;
    }
}

/// The piece was read before, and is remembered as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_event_is_not_read_again_though_its_piece_was_read_before() {
    let mut stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 100).await;
    stage.stop().await;
    let desk = Desk::open(&stage).await;
    let door = desk.stream(&door);
    desk.append(&door, "{}", 10).await;
    let offsets = || async {
        let all = desk.all(&door.id).await;
        all.into_iter().map(|(offset, _)| offset).collect::<Vec<_>>()
    };
    assert_eq!(offsets().await, (1..=10).collect::<Vec<_>>());
    for (deleted, left) in [(5, &[1, 2, 3, 4, 6, 7, 8, 9, 10][..]), (10, &[1, 2, 3, 4, 6, 7, 8, 9])] {
        assert!(desk.log.remove(door.id, Offset(deleted)).await.expect("a deletion"));
        assert!(
            !desk
                .log
                .remove(door.id, Offset(deleted))
                .await
                .expect("nothing to delete")
        );
        assert_eq!(offsets().await, left);
    }
    desk.append(&door, "{}", 1).await;
    assert_eq!(offsets().await.last(), Some(&11));
    desk.end().await;
}

/// Nor is one piece ever taken for another that has gone, whoever's it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_piece_that_has_gone_is_not_taken_for_one_that_came_after_it() {
    let mut stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 100).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let window = stage.add_stream(&albert, "/umbrella/window", 100).await;
    stage.stop().await;
    let desk = Desk::open(&stage).await;
    let (door, window) = (desk.stream(&door), desk.stream(&window));
    desk.append(&door, r#"{"whose":"acme"}"#, 5).await;
    assert_eq!(desk.all(&door.id).await.len(), 5);
    assert!(desk.log.clear(door.id).await.expect("a deletion"));
    desk.append(&window, r#"{"whose":"umbrella"}"#, 5).await;
    let theirs = desk.all(&window.id).await;
    assert_eq!(theirs.len(), 5);
    assert!(theirs.iter().all(|(_, elems)| elems.contains("umbrella")), "{theirs:?}");
    assert_eq!(desk.all(&door.id).await, []);
    desk.end().await;
}

/// What is deleted cannot be read from then on, and goes from the disk bit by bit, restart or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_stream_goes_from_the_disk_though_the_server_is_stopped_meanwhile() {
    let mut stage = Stage::start().await;
    let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage.stop().await;
    let desk = Desk::open(&stage).await;
    let stream = desk.stream(&door);
    let long = format!(r#"{{"text":"{}"}}"#, "x".repeat(40_000));
    for _ in 0..3 {
        desk.append(&stream, &long, 100).await;
    }
    let url = format!("sqlite:{}/test.db", stage.folder().display());
    let database = Database::existing(&url).expect("a database");
    let connection = database.connect().await.expect("a connection");
    let connection = tokio::sync::Mutex::new(connection);
    let chunks = async || -> i64 {
        let mut connection = connection.lock().await;
        let count = sqlx::query_scalar("select count(*) from chunk").fetch_one(&mut *connection);
        count.await.expect("a count")
    };
    let run = async |sql: &'static str| {
        let done = sqlx::query(sql).execute(&mut *connection.lock().await).await;
        done.expect("a statement that succeeds");
    };
    assert_eq!(chunks().await, 300, "a piece for each event");
    run("create table before as select * from chunk").await;
    assert!(desk.log.clear(stream.id).await.expect("a deletion"));
    assert_eq!(desk.all(&stream.id).await, []);
    desk.end().await;
    // As a server leaves it that was stopped right after it answered.
    run("delete from chunk").await;
    run("insert into chunk select * from before").await;
    run("drop table before").await;
    let desk = Desk::open(&stage).await;
    assert_eq!(desk.all(&stream.id).await, []);
    let gone = async {
        while chunks().await > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("no pieces in time");
    desk.append(&stream, "{}", 1).await;
    assert_eq!(desk.all(&stream.id).await, [(301, "{}".to_owned())]);
    desk.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_event_is_a_gap_of_one_to_whoever_comes_by() {
    for flags in [&[][..], &NO_MEMORY] {
        let mut stage = Stage::with(flags).await;
        let door = stage.add_stream(&stage.alice, DOOR, 1_000).await;
        publish(&stage, DOOR, 1..=600).await;
        stage.stop().await;
        let desk = Desk::open(&stage).await;
        let id = desk.stream(&door).id;
        for offset in [1, 300, 599, 600] {
            assert!(desk.log.remove(id, Offset(offset)).await.expect("a deletion"));
        }
        desk.end().await;
        stage.restart_stopped().await;
        if flags == NO_MEMORY {
            until_on_disk(&stage).await;
        }
        let mut socket = stage.socket(&stage.alice).await;
        follow(&mut socket, DOOR, r#""since":0"#).await;
        for (gone, until) in [(1, 299), (300, 598)] {
            assert_gap(&mut socket, gone, gone, "retention").await;
            assert_events(&mut socket, gone + 1..=until).await;
        }
        assert_gap(&mut socket, 599, 600, "retention").await;
        publish(&stage, DOOR, 601..=601).await;
        assert_events(&mut socket, 601..=601).await;
        stage.until_metric("events_missed_total", 4).await;
        drop(socket);
        stage.end().await;
    }
}
