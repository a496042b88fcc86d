//! Replays that are longer than memory: pages come from the pieces on the disk while publishers,
//! retention, the reader itself and whoever deletes the stream go on.

use crate::raw::{RawSocket, TEXT};
use crate::reading::{
    DOOR, NO_MEMORY, Run, Tally, account, assert_events, assert_gap, delete_stream, follow, follow_raw, offset,
    publish, publish_padded, until_on_disk,
};
use crate::stage::{DEADLINE, Stage};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Enough for a reader that does not read to stand still in the middle: about 2 MB.
const LONG: u64 = 3_000;
const PADDING: usize = 400;
/// What the server holds for each reader.
const OUTBOX: &str = "65536";

/// A server without memory and with a long stream on its disk; returns the stream's id, too.
async fn stage_with_a_long_stream(capacity: u64) -> (Stage, String) {
    let flags = [&NO_MEMORY[..], &["--max-outbox-bytes", OUTBOX]].concat();
    let stage = Stage::with(&flags).await;
    let door = stage.add_stream(&stage.alice, DOOR, capacity).await;
    publish_padded(&stage, DOOR, 1..=LONG, PADDING).await;
    until_on_disk(&stage).await;
    (stage, door)
}

/// A reader in the middle of a replay of everything, who does not read on.
async fn stalled(stage: &Stage) -> RawSocket {
    let mut socket = RawSocket::open_narrow(stage, &stage.alice).await;
    follow_raw(&mut socket, DOOR, r#""since":0"#).await;
    let begun = || async { stage.metric("events_delivered_total").await > 0 };
    stage.until("the replay has begun", begun).await;
    socket
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_longer_than_memory_comes_from_the_disk() {
    let (stage, _) = stage_with_a_long_stream(LONG).await;
    let mut socket = stage.socket(&stage.alice).await;
    follow(&mut socket, DOOR, r#""since":0"#).await;
    assert_events(&mut socket, 1..=LONG).await;
    // What found no room in the outbox was read once more.
    assert!(stage.metric("log_events_read_total").await >= LONG);
    // From the disk to what is live there is no seam.
    publish(&stage, DOOR, LONG + 1..=LONG + 3).await;
    assert_events(&mut socket, LONG + 1..=LONG + 3).await;
    drop(socket);
    stage.end().await;
}

/// The pieces that one of them had decoded are there for the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_readers_at_once_do_not_decode_the_same_pieces_again() {
    const READERS: u64 = 30;
    let (stage, _) = stage_with_a_long_stream(LONG).await;
    let mut alone = stage.socket(&stage.alice).await;
    follow(&mut alone, DOOR, r#""since":0"#).await;
    assert_events(&mut alone, 1..=LONG).await;
    drop(alone);
    let pieces = stage.metric("log_chunks_read_total").await;
    assert!(pieces > 1, "{pieces}");
    let stage = Arc::new(stage);
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let stage = Arc::clone(&stage);
        readers.spawn(async move {
            let mut socket = stage.socket(&stage.alice).await;
            follow(&mut socket, DOOR, r#""since":0"#).await;
            for expected in 1..=LONG {
                assert_eq!(offset(&socket.text().await), expected);
            }
        });
    }
    readers.join_all().await;
    assert_eq!(stage.metric("log_chunks_read_total").await, pieces);
    stage.until_metric("events_delivered_total", (READERS + 1) * LONG).await;
    Arc::into_inner(stage).expect("nobody else is left").end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_that_overtakes_a_reader_is_told_exactly() {
    let (stage, _) = stage_with_a_long_stream(LONG).await;
    let mut slow = stalled(&stage).await;
    publish_padded(&stage, DOOR, LONG + 1..=3 * LONG, 0).await;
    let tally = account(&mut slow, 0, 3 * LONG).await;
    tally.assert_reason("retention");
    let [Run::Delivered(1, _), .., Run::Delivered(first, last)] = tally.runs[..] else {
        panic!("{:?}", tally.runs);
    };
    assert_eq!((first, last), (2 * LONG + 1, 3 * LONG));
    assert!(tally.told() > 0);
    stage.until_metric("events_missed_total", tally.told()).await;
    let delivered = 3 * LONG - tally.told();
    stage.until_metric("events_delivered_total", delivered).await;
    drop(slow);
    stage.end().await;
}

/// What was on its way is read before the acknowledgement, and nothing comes after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribing_in_the_middle_of_a_replay_ends_it() {
    let (stage, door) = stage_with_a_long_stream(LONG).await;
    let mut slow = stalled(&stage).await;
    let request = format!(r#"{{"msgId":"u","type":"unsubscribe","streamId":"{door}"}}"#);
    slow.send_frame(TEXT, request.as_bytes()).await;
    stage.until_metric("subscriptions", 0).await;
    let mut tally = Tally::default();
    let ack = loop {
        let text = slow.text().await;
        if text.starts_with(r#"{"head":"#) {
            break text;
        }
        tally.add(&text);
    };
    assert!(ack.starts_with(r#"{"head":{"msgId":"u","ok":true"#), "{ack}");
    assert!(tally.last < LONG && tally.told() == 0, "{:?}", tally.runs);
    publish(&stage, DOOR, LONG + 1..=LONG + 1).await;
    // It may be followed again, from where its reader wants.
    let since = tally.last;
    follow_raw(&mut slow, DOOR, &format!(r#""since":{since}"#)).await;
    let rest = account(&mut slow, since, LONG + 1).await;
    // The stream keeps as many as there were: the first of them has gone, the reader is past it.
    assert_eq!(rest.runs, [Run::Delivered(since + 1, LONG + 1)]);
    drop(slow);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_goes_in_the_middle_of_a_replay_leaves_nothing() {
    let (stage, _) = stage_with_a_long_stream(LONG).await;
    for _ in 0..3 {
        drop(stalled(&stage).await);
        stalled(&stage).await.reset();
        let mut polite = stalled(&stage).await;
        polite.send_frame(crate::raw::CLOSE, &[]).await;
        drop(polite);
    }
    stage.until_metric("connections", 0).await;
    let mut socket = stage.socket(&stage.alice).await;
    follow(&mut socket, DOOR, r#""since":0"#).await;
    assert_events(&mut socket, 1..=LONG).await;
    drop(socket);
    stage.end().await;
}

/// Its subscription ends in silence; other streams of the same connection go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_deleted_in_the_middle_of_a_replay_ends_it() {
    let (stage, door) = stage_with_a_long_stream(LONG).await;
    stage.add_stream(&stage.alice, "/acme/window", 10).await;
    let mut slow = stalled(&stage).await;
    slow.send_frame(TEXT, br#"{"msgId":"w","type":"subscribe","path":"/acme/window"}"#)
        .await;
    stage.until_metric("subscriptions", 2).await;
    delete_stream(&stage, &stage.alice, &door).await;
    stage.until_metric("subscriptions", 1).await;
    publish(&stage, "/acme/window", 1..=1).await;
    let mut tally = Tally::default();
    let mut others = Vec::new();
    let window = loop {
        let text = slow.text().await;
        if text.contains(r#""path":"/acme/window""#) {
            break text;
        }
        if text.starts_with(r#"{"head":"#) {
            others.push(text);
        } else {
            tally.add(&text);
        }
    };
    assert_eq!(offset(&window), 1);
    assert_eq!(others.len(), 1, "{others:?}");
    assert!(tally.last < LONG && tally.told() == 0, "{:?}", tally.runs);
    drop(slow);
    stage.end().await;
}

/// The server stops while somebody is in the middle: they are told where to go on by their own
/// position, and go on there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_goes_on_after_a_restart_where_it_stopped() {
    let (mut stage, _) = stage_with_a_long_stream(LONG).await;
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, r#""since":0"#).await;
    assert_events(&mut socket, 1..=700).await;
    drop(socket);
    tokio::time::timeout(DEADLINE, stage.restart())
        .await
        .expect("an end in time");
    let mut socket = stage.socket(&stage.alice).await;
    let since = serde_json::json!({"epoch": set_up["epoch"], "offset": 700});
    let again = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
    assert_eq!((&again["state"], &again["missing"]), (&"behind".into(), &0.into()));
    assert_events(&mut socket, 701..=LONG).await;
    drop(socket);
    stage.end().await;
}

/// Its stream lets go of the others at once, though they stand in pieces that stay a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capacity_that_shrinks_takes_effect_on_the_disk() {
    let (stage, door) = stage_with_a_long_stream(LONG).await;
    let address = format!("/v5.0/acme/stream/{door}");
    let answer = stage
        .request("PUT", &address, Some(&stage.alice), r#"{"capacity":10}"#)
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, r#""since":0"#).await;
    assert_eq!(
        (&set_up["state"], &set_up["missing"]),
        (&"gap".into(), &(LONG - 10).into())
    );
    assert_gap(&mut socket, 1, LONG - 10, "retention").await;
    assert_events(&mut socket, LONG - 9..=LONG).await;
    drop(socket);
    stage.end().await;
}
