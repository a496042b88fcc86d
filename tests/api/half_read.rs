//! HTTP readers that stop reading midway: what had not left whole comes to the next one, and nothing else.

use crate::outflow::{Outflow, offsets, places};
use crate::raw::RawSocket;
use crate::stage::{DEADLINE, Stage};
use crate::transports::{publish_long, stage};
use crate::transports_ends::{ask_raw, unchunked};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Events that no reader's kernel takes all of, nor what waits before it.
const MANY: usize = 400;

/// What an answer that came to its end ends with.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A reader that takes what its kernel takes, and no more.
async fn halt(stage: &Stage, session: &str, way: &str) -> TcpStream {
    let raw = RawSocket::connect_narrow(stage.address).await;
    ask_raw(raw.stream, session, way).await
}

/// A stage that soon gives readers up that take nothing, and sessions later.
async fn impatient(max_outbox_bytes: &str) -> Stage {
    let flags = [
        "--ping-interval",
        "150ms",
        "--dead-after",
        "600ms",
        "--session-ttl",
        "4s",
        "--max-outbox-bytes",
        max_outbox_bytes,
    ];
    let stage = Stage::with(&flags).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    stage
}

/// Looks at a connection that find it as it was, before it counts as stopped.
const LOOKS: usize = 20;

/// Waits until something waits for a session's only reader and stays.
pub async fn until_stuck(stage: &Stage) {
    let stuck = async {
        let (mut before, mut same) = (json!(null), 0);
        while same < LOOKS {
            let now = stage.get("/v5.0/acme/connection").await["connections"][0].take();
            let is_same = now == before && now["waiting"].as_u64() > Some(0);
            same = if is_same { same + 1 } else { 0 };
            before = now;
        }
    };
    tokio::time::timeout(DEADLINE, stuck).await.expect("a stop in time");
}

/// All that such a reader was sent, to the end of its connection, which must come before that of its answer.
async fn cut_off(stream: TcpStream) -> Vec<u8> {
    let bytes = RawSocket::new(stream).rest().await;
    assert!(
        !bytes.ends_with(LAST_CHUNK),
        "no end that could be taken for a whole answer"
    );
    bytes.to_vec()
}

/// The offsets of what came whole.
fn whole(bytes: &[u8], end: &str) -> Vec<u64> {
    let body = unchunked(bytes);
    let (whole, _) = body.rsplit_once(end).expect("something whole");
    places(whole)
}

/// All that a reader is sent that asks, and says at once that this was all.
async fn ask_and_part(stage: &Stage, session: &str, way: &str) -> String {
    let raw = RawSocket::connect(stage.address).await;
    let mut stream = ask_raw(raw.stream, session, way).await;
    stream.shutdown().await.expect("half an end");
    unchunked(&RawSocket::new(stream).rest().await)
}

/// What readers of lines bring until the last event.
async fn rest(mut lines: Outflow, last: u64) -> Vec<u64> {
    let mut came = Vec::new();
    while came.last() != Some(&last) {
        came.extend(offsets(&[lines.line().await]));
    }
    came
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_over_from_readers_that_stopped_goes_on_exactly_there() {
    let stage = stage(&["--max-outbox-bytes", "65536"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut stopped = Vec::new();
    for (way, end) in [("streaming", "\n"), ("events", "\n\n"), ("streaming", "\n")] {
        stopped.push((halt(&stage, &session, way).await, end));
        // The first one's request comes before the events; the others find some.
        stage.until_metric("connections", 1).await;
        publish_long(&stage, MANY).await;
        until_stuck(&stage).await;
    }
    let last = MANY as u64 * 3;
    let lines = Outflow::open(&stage, &session, "streaming").await;
    let newest = rest(lines, last).await;
    let mut came = Vec::new();
    for (stream, end) in stopped {
        came.extend(whole(&cut_off(stream).await, end));
    }
    came.extend(newest);
    assert_eq!(came, (1..=last).collect::<Vec<_>>());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_after_a_reader_that_died_goes_on_exactly_there() {
    let stage = impatient("65536").await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut came = Vec::new();
    for (round, (way, end)) in [("streaming", "\n"), ("events", "\n\n")].into_iter().enumerate() {
        let dead = halt(&stage, &session, way).await;
        publish_long(&stage, MANY).await;
        stage.until_metric("peers_dead_total", round as u64 + 1).await;
        came.extend(whole(&cut_off(dead).await, end));
    }
    let last = MANY as u64 * 2;
    let lines = Outflow::open(&stage, &session, "streaming").await;
    came.extend(rest(lines, last).await);
    assert_eq!(came, (1..=last).collect::<Vec<_>>());
    stage.end().await;
}

/// An array of which a part is missing is of no use, so all of it comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_to_a_poll_that_came_in_part_comes_again_whole() {
    let stage = impatient("1048576").await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    publish_long(&stage, MANY).await;
    // One that counts as gone, and one that another takes over from.
    let dead = halt(&stage, &session, "polling").await;
    stage.until_metric("peers_dead_total", 1).await;
    let replaced = halt(&stage, &session, "polling").await;
    let mut replaced = RawSocket::new(replaced);
    replaced.head().await;
    let mut came = Vec::new();
    while came.len() < MANY {
        came.extend(offsets(&stage.poll(&session).await));
    }
    assert_eq!(came, (1..=MANY as u64).collect::<Vec<_>>());
    for part in [cut_off(dead).await, cut_off(replaced.stream).await] {
        assert!(!part.ends_with(b"]"), "a part of it");
    }
    stage.end().await;
}

/// Events that come last, and so tell that nothing else will.
const LAST: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_back_outlasts_readers_that_are_gone_before_they_get_any() {
    let stage = impatient("1048576").await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    for (round, way) in (1..).zip(["streaming", "events", "streaming"]) {
        publish_long(&stage, MANY).await;
        let dead = halt(&stage, &session, "polling").await;
        stage.until_metric("peers_dead_total", round).await;
        let parted = ask_and_part(&stage, &session, way).await;
        let lines = parted.lines().map(|line| line.trim_start_matches("data: "));
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut came = offsets(&lines.collect::<Vec<_>>());
        publish_long(&stage, LAST).await;
        let last = (MANY + LAST) as u64 * round;
        while came.last() != Some(&last) {
            came.extend(offsets(&stage.poll(&session).await));
        }
        let first = last - (MANY + LAST) as u64 + 1;
        assert_eq!(came, (first..=last).collect::<Vec<_>>(), "{way}");
        drop(dead);
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_outlasts_readers_that_are_gone_before_they_get_it() {
    const POLLS: usize = 20;
    let stage = stage(&["--poll-time", "10ms"]).await;
    for way in ["streaming", "events", "streaming"] {
        let session = stage.session(&stage.alice).await;
        stage.follow(&session, "/acme/door").await;
        let listed = stage.get("/v5.0/acme/connection").await["connections"].take();
        let path = format!("/v5.0/acme/connection/{}", listed[0]["id"].as_str().expect("an id"));
        assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
        stage.until_metric("connections", 0).await;
        let mut said = ask_and_part(&stage, &session, way).await;
        for _ in 0..POLLS {
            said += &Value::from(stage.poll(&session).await).to_string();
        }
        assert_eq!(
            said.matches(r#""reason":"connection.closed""#).count(),
            1,
            "{way}: {said}"
        );
        stage.until_metric("connections", 0).await;
    }
    stage.end().await;
}

/// Bytes that an answer to a poll may have, as the server counts, and one chunk of as many as it joins.
const POLL_BYTES: usize = 262_144 + 65_536;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_to_polls_do_not_grow_with_the_answers_that_nobody_read() {
    const ROUNDS: usize = 6;
    let mut stage = Stage::with(&["--max-outbox-bytes", "131072"]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10_000).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    for _ in 0..ROUNDS {
        publish_long(&stage, MANY).await;
    }
    let mut unread = Vec::new();
    for round in 0..ROUNDS {
        let mut raw = RawSocket::new(halt(&stage, &session, "polling").await);
        let head = raw.head().await.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.expect("a length").parse().expect("a number");
        assert!(length < POLL_BYTES, "{round}: {length}");
        unread.push(raw);
    }
    let mut came = Vec::new();
    while came.len() < MANY * ROUNDS {
        let text = stage.poll(&session).await;
        assert!(Value::from(text.clone()).to_string().len() < POLL_BYTES);
        came.extend(offsets(&text));
    }
    assert_eq!(came, (1..=(MANY * ROUNDS) as u64).collect::<Vec<_>>());
    drop(unread);
    // The session outlasts its readers.
    stage.stop().await;
}

/// Readers of all kinds that stop anywhere and are taken over from, while others publish without pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_comes_whole_once_and_in_order_wherever_readers_stop() {
    let stage = Arc::new(Stage::with(&["--max-outbox-bytes", "65536"]).await);
    stage.add_stream(&stage.alice, "/acme/door", 100_000).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let publisher = tokio::spawn({
        let (stage, goes_on) = (Arc::clone(&stage), Arc::clone(&goes_on));
        async move {
            let mut last = 0;
            while goes_on.load(Ordering::Relaxed) {
                publish_long(&stage, 30).await;
                last += 30;
            }
            last
        }
    });
    let mut stopped = Vec::new();
    for round in 0..12 {
        let (way, end) = [("streaming", "\n"), ("events", "\n\n")][round % 2];
        let mut stream = halt(&stage, &session, way).await;
        let mut came = Vec::new();
        while came.len() < 4_096 + round * 7_777 {
            assert!(stream.read_buf(&mut came).await.expect("more") > 0, "the end");
        }
        if round % 3 == 0 {
            until_stuck(&stage).await;
        }
        stopped.push((stream, came, end));
    }
    let lines = Outflow::open(&stage, &session, "streaming").await;
    goes_on.store(false, Ordering::Relaxed);
    let last = publisher.await.expect("no panic");
    let mut came = Vec::new();
    for (mut stream, mut bytes, end) in stopped {
        // Its answer came to its end, or its connection did.
        let reading = async {
            while !bytes.ends_with(LAST_CHUNK) && stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {}
        };
        tokio::time::timeout(DEADLINE, reading).await.expect("an end in time");
        came.extend(whole(&bytes, end));
    }
    match came.last() == Some(&last) {
        // They had everything when the newest one took over.
        true => drop(lines),
        false => came.extend(rest(lines, last).await),
    }
    assert_eq!(came, (1..=last).collect::<Vec<_>>());
    let Ok(mut stage) = Arc::try_unwrap(stage) else {
        panic!("nobody else has it");
    };
    // The session outlasts its readers.
    stage.stop().await;
}
