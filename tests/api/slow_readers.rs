//! One subscriber that does not read, among many that do.
//!
//! The others get everything in order, publishers are answered as if it were not there, and what
//! waits for it on the server stays within its outbox. Once it reads again, it is given what is
//! still kept and told exactly what is not: each event is delivered or told, once, in order.

use crate::raw::RawSocket;
use crate::stage::Stage;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::task::JoinSet;

/// How many read.
const READERS: u64 = 200;
/// How many events are published: one, then batches of [`BATCH`].
const EVENTS: u64 = 3_001;
const BATCH: u64 = 50;
/// How many of them the stream keeps, unless it keeps none.
const CAPACITY: u64 = 1_000;
/// Bytes that may wait for each; a batch is smaller, all events are many times as much.
const OUTBOX: u64 = 65_536;

/// Readers of a stream, each a task; they end when `until` has come.
struct Readers {
    tasks: JoinSet<Vec<u64>>,
    count: u64,
    /// Events read by all of them together.
    read: Arc<AtomicU64>,
}

impl Readers {
    async fn start(stage: &Stage, path: &str, count: u64, until: u64) -> Self {
        let session = stage.session(&stage.alice).await;
        let read = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            let mut socket = RawSocket::connect(stage.address).await;
            socket.upgrade(&session).await;
            socket.subscribe(path).await;
            tasks.spawn(read_in_order(socket, until, Arc::clone(&read)));
        }
        Self { tasks, count, read }
    }

    /// Waits until everybody has read up to an offset.
    async fn reached(&self, stage: &Stage, offset: u64) {
        let expected = self.count * offset;
        let all = || async { self.read.load(Ordering::Relaxed) == expected };
        stage.until(&format!("everybody has read {offset} events"), all).await;
    }

    /// Waits for their ends; returns how many bytes each event took on the wire.
    async fn sizes(self) -> Vec<u64> {
        let mut sizes = self.tasks.join_all().await;
        sizes.dedup();
        assert_eq!(sizes.len(), 1, "the same bytes for everybody");
        sizes.remove(0)
    }
}

/// Reads the events 1 to `until`, each once and in order; returns the sizes of their frames.
async fn read_in_order(mut socket: RawSocket, until: u64, read: Arc<AtomicU64>) -> Vec<u64> {
    let mut sizes = Vec::new();
    for expected in 1..=until {
        let frame = socket.next().await;
        assert_eq!(offset(frame.text()), expected, "{}", frame.text());
        let length = frame.payload.len() as u64;
        sizes.push(length + if length < 126 { 2 } else { 4 });
        read.fetch_add(1, Ordering::Relaxed);
    }
    sizes
}

/// The offset of an event; without a JSON parser, because there are so many.
fn offset(text: &str) -> u64 {
    let rest = text.strip_prefix(r#"{"type":"message","resource":""#).expect(text);
    let rest = rest.split_once(r#"","offset":"#).expect("an offset").1;
    let end = rest.find(',').expect("more after the offset");
    rest[..end].parse().expect("a number")
}

/// Publishes the next `count` events in one request and asserts the answer.
async fn publish(stage: &Stage, path: &str, count: u64, elems: &Value) {
    let events: Vec<Value> = (0..count).map(|_| json!({"path": path, "elems": elems})).collect();
    let body = Value::from(events).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// What one subscriber was given: events delivered or told, as runs from … to.
#[derive(Debug, PartialEq, Eq)]
enum Run {
    Delivered(u64, u64),
    Told(u64, u64, String),
}

/// Reads until the events up to `until` are accounted for; asserts that none is twice or left out.
async fn account(socket: &mut RawSocket, until: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut last = 0;
    while last < until {
        let text = socket.text().await;
        if !text.starts_with(r#"{"type":"gap","#) {
            let offset = offset(&text);
            assert_eq!(offset, last + 1);
            match runs.last_mut() {
                Some(Run::Delivered(_, to)) => *to = offset,
                _ => runs.push(Run::Delivered(offset, offset)),
            }
            last = offset;
            continue;
        }
        let gap: Value = serde_json::from_str(&text).expect("JSON");
        let number = |name: &str| gap["body"][name].as_u64().expect("a number");
        let (from, to) = (number("from"), number("to"));
        assert_eq!((from, number("count")), (last + 1, to - last), "{text}");
        let reason = gap["body"]["reason"].as_str().expect("a reason");
        runs.push(Run::Told(from, to, reason.to_owned()));
        last = to;
    }
    assert_eq!(last, until);
    runs
}

/// What waits on the server for one subscriber that does not read, besides `readers` that do.
struct Waiting<'a> {
    stage: &'a Stage,
    readers: u64,
    /// Bytes written to all of them when the first event had been.
    before: u64,
}

impl<'a> Waiting<'a> {
    /// Publishes the first event and waits until it was counted. The server counts what it has
    /// written when it next delivers, so this also settles all that was written before.
    async fn start(stage: &'a Stage, path: &str, readers: &Readers) -> Self {
        publish(stage, path, 1, &json!({})).await;
        stage.until_metric("events_delivered_total", readers.count + 1).await;
        readers.reached(stage, 1).await;
        let before = stage.metric("socket_bytes_total").await;
        let readers = readers.count;
        Self { stage, readers, before }
    }

    /// How many events it was given, and how many of their bytes wait, once the others have read
    /// everything: events of these sizes.
    async fn look(&self, sizes: &[u64]) -> (u64, u64) {
        let count = sizes.len() as u64;
        let delivered = self.stage.metric("events_delivered_total").await;
        let given = delivered.saturating_sub(self.readers * count);
        let written = self.stage.metric("socket_bytes_total").await - self.before;
        let sum = |sizes: &[u64]| sizes.iter().skip(1).sum::<u64>();
        let written = written.saturating_sub(self.readers * sum(sizes));
        let bytes = sum(&sizes[..given as usize]);
        (given, bytes.saturating_sub(written))
    }

    /// Waits until what waits is within the outbox, and returns how many events it was given.
    async fn assert_bounded(&self, sizes: &[u64]) -> u64 {
        let within = || async { (1..=OUTBOX).contains(&self.look(sizes).await.1) };
        self.stage.until("what waits is within the outbox", within).await;
        self.look(sizes).await.0
    }
}

/// Publishes everything while one of the subscribers does not read; returns its socket and how
/// many events it was given until its outbox was full.
async fn let_one_fall_behind(stage: &Stage, path: &str) -> (RawSocket, u64) {
    let mut slow = RawSocket::open_narrow(stage, &stage.alice).await;
    slow.subscribe(path).await;
    let readers = Readers::start(stage, path, READERS, EVENTS).await;
    let waiting = Waiting::start(stage, path, &readers).await;
    let elems = json!({"x": "x".repeat(100)});
    for batch in 1..=EVENTS / BATCH {
        // Every publisher is answered, every reader gets its events, and the slow one has not
        // read a byte of all this.
        publish(stage, path, BATCH, &elems).await;
        readers.reached(stage, 1 + batch * BATCH).await;
    }
    let given = waiting.assert_bounded(&readers.sizes().await).await;
    assert!(
        given < EVENTS - CAPACITY,
        "it was to be far behind, but was given {given}"
    );
    assert!(stage.metric("subscriptions_behind_total").await >= 1);
    (slow, given)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_given_what_is_kept_and_told_what_is_not() {
    let stage = Stage::with(&["--max-outbox-bytes", &OUTBOX.to_string()]).await;
    stage.add_stream(&stage.alice, "/acme/door", CAPACITY).await;
    let (mut slow, _) = let_one_fall_behind(&stage, "/acme/door").await;
    let kept = EVENTS - CAPACITY;
    let runs = account(&mut slow, EVENTS).await;
    let [Run::Delivered(1, given), ..] = runs[..] else {
        panic!("{runs:?}");
    };
    let expected = [
        Run::Delivered(1, given),
        Run::Told(given + 1, kept, "retention".to_owned()),
        Run::Delivered(kept + 1, EVENTS),
    ];
    assert_eq!(runs, expected);
    stage.until_metric("events_missed_total", kept - given).await;
    // It is one of the others again.
    publish(&stage, "/acme/door", 1, &json!({})).await;
    assert_eq!(offset(&slow.text().await), EVENTS + 1);
    stage
        .until_metric("events_delivered_total", READERS * EVENTS + given + CAPACITY + 1)
        .await;
    drop(slow);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_a_stream_that_keeps_nothing_is_told_what_it_missed() {
    let stage = Stage::with(&["--max-outbox-bytes", &OUTBOX.to_string()]).await;
    stage.add_stream(&stage.alice, "/acme/door", 0).await;
    let (mut slow, _) = let_one_fall_behind(&stage, "/acme/door").await;
    let runs = account(&mut slow, EVENTS).await;
    // Its socket may take some more in between, so there may be more gaps than one.
    let mut given = 0;
    for run in &runs {
        match run {
            Run::Delivered(from, to) => given += to - from + 1,
            Run::Told(_, _, reason) => assert_eq!(reason, "slow"),
        }
    }
    assert!(
        matches!(runs[..], [Run::Delivered(1, _), .., Run::Told(_, EVENTS, _)]),
        "{runs:?}"
    );
    publish(&stage, "/acme/door", 1, &json!({})).await;
    assert_eq!(offset(&slow.text().await), EVENTS + 1);
    stage.until_metric("events_missed_total", EVENTS - given).await;
    stage
        .until_metric("events_delivered_total", READERS * EVENTS + given + 1)
        .await;
    drop(slow);
    stage.end().await;
}

/// One that was never far behind misses nothing: what it could not be given live is still kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_again_before_anything_is_dropped_misses_nothing() {
    let stage = Stage::with(&["--max-outbox-bytes", &OUTBOX.to_string()]).await;
    stage.add_stream(&stage.alice, "/acme/door", CAPACITY).await;
    let mut slow = RawSocket::open_narrow(&stage, &stage.alice).await;
    slow.subscribe("/acme/door").await;
    let elems = json!({"x": "x".repeat(400)});
    for _ in 0..CAPACITY / BATCH {
        publish(&stage, "/acme/door", BATCH, &elems).await;
    }
    stage.until_behind().await;
    assert_eq!(account(&mut slow, CAPACITY).await, [Run::Delivered(1, CAPACITY)]);
    // And while it reads, publishing goes on: the way from the log back to live events has no seam.
    for _ in 0..CAPACITY / BATCH {
        publish(&stage, "/acme/door", BATCH, &elems).await;
    }
    for expected in CAPACITY + 1..=2 * CAPACITY {
        assert_eq!(offset(&slow.text().await), expected);
    }
    assert_eq!(stage.metric("events_missed_total").await, 0);
    drop(slow);
    stage.end().await;
}

/// However many events come at once, no more waits than the outbox has room for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_larger_than_the_outbox_does_not_wait_in_it_whole() {
    const BURST: u64 = CAPACITY - 1;
    let stage = Stage::with(&["--max-outbox-bytes", &OUTBOX.to_string()]).await;
    stage.add_stream(&stage.alice, "/acme/door", CAPACITY).await;
    let mut slow = RawSocket::open_narrow(&stage, &stage.alice).await;
    slow.subscribe("/acme/door").await;
    let readers = Readers::start(&stage, "/acme/door", 1, 1 + BURST).await;
    let waiting = Waiting::start(&stage, "/acme/door", &readers).await;
    publish(&stage, "/acme/door", BURST, &json!({"x": "x".repeat(400)})).await;
    waiting.assert_bounded(&readers.sizes().await).await;
    assert_eq!(account(&mut slow, 1 + BURST).await, [Run::Delivered(1, 1 + BURST)]);
    drop(slow);
    stage.end().await;
}
