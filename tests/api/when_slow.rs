//! What a subscriber wants if it does not read in time: everything later, the newest only, nothing
//! of it, or an end. Each time with one that really does not read.

use crate::raw::{CLOSE, RawSocket};
use crate::reading::{DOOR, NO_MEMORY, Run, Tally, account, follow_raw, publish, publish_padded, until_on_disk};
use crate::stage::Stage;

/// Events that are published while the reader does not read: about 2 MB.
const EVENTS: u64 = 3_000;
const PADDING: usize = 400;
/// Bytes that may wait on the server for each reader.
const OUTBOX: u64 = 65_536;

async fn stage_with(flags: &[&str], capacity: u64) -> Stage {
    let outbox = OUTBOX.to_string();
    let stage = Stage::with(&[flags, &["--max-outbox-bytes", &outbox]].concat()).await;
    stage.add_stream(&stage.alice, DOOR, capacity).await;
    stage
}

/// A subscriber that has read the first event, and no byte of all those that were published since.
async fn stalled(stage: &Stage, when_slow: &str) -> (RawSocket, u64) {
    let mut slow = RawSocket::open_narrow(stage, &stage.alice).await;
    follow_raw(&mut slow, DOOR, &format!(r#""whenSlow":"{when_slow}""#)).await;
    publish_padded(stage, DOOR, 1..=1, PADDING).await;
    let first = slow.next().await;
    publish_padded(stage, DOOR, 2..=EVENTS, PADDING).await;
    stage.until_behind().await;
    let length = first.payload.len() as u64;
    (slow, length)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_to_catch_up_gets_everything_and_costs_no_more_than_its_outbox() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, EVENTS).await;
        let (mut slow, first) = stalled(&stage, "catchUp").await;
        // Offset and number have a digit more each, ten times; the header is four bytes.
        let size = |offset: u64| first + 2 * u64::from(offset.ilog10()) + 4;
        let waits = || async {
            let delivered = stage.metric("events_delivered_total").await;
            let given: u64 = (1..=delivered).map(size).sum();
            let written = stage.metric("socket_bytes_total").await;
            // What was written besides events is counted as well.
            delivered < EVENTS && given <= written + OUTBOX
        };
        stage.until("what waits is within the outbox", waits).await;
        assert_eq!(account(&mut slow, 1, EVENTS).await.runs, [Run::Delivered(2, EVENTS)]);
        publish(&stage, DOOR, EVENTS + 1..=EVENTS + 1).await;
        let more = account(&mut slow, EVENTS, EVENTS + 1).await;
        assert_eq!(more.runs, [Run::Delivered(EVENTS + 1, EVENTS + 1)]);
        assert_eq!(stage.metric("events_missed_total").await, 0);
        stage.until_metric("events_delivered_total", EVENTS + 1).await;
        drop(slow);
        stage.end().await;
    }
}

/// Asserts that the counters say what the reader saw.
async fn assert_counted(stage: &Stage, tally: &Tally) {
    let told = tally.told();
    stage.until_metric("events_missed_total", told).await;
    stage.until_metric("events_delivered_total", tally.last - told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_the_latest_gets_the_newest_and_is_told_what_it_missed() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, EVENTS).await;
        let (mut slow, _) = stalled(&stage, "latest").await;
        if flags == NO_MEMORY {
            until_on_disk(&stage).await;
        }
        let mut tally = account(&mut slow, 1, EVENTS).await;
        tally.assert_reason("slow");
        let [Run::Delivered(2, _), .., Run::Told(..), Run::Delivered(EVENTS, EVENTS)] = tally.runs[..] else {
            panic!("{:?}", tally.runs);
        };
        assert!(tally.told() > EVENTS / 2, "{:?}", tally.runs);
        // It is one of the others again.
        publish(&stage, DOOR, EVENTS + 1..=EVENTS + 5).await;
        for _ in 0..5 {
            tally.add(&slow.text().await);
        }
        assert_eq!(tally.runs.last(), Some(&Run::Delivered(EVENTS, EVENTS + 5)));
        assert_counted(&stage, &tally).await;
        drop(slow);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drops_is_told_what_it_missed_and_goes_on_with_what_comes_then() {
    let stage = stage_with(&[], EVENTS).await;
    let (mut slow, _) = stalled(&stage, "drop").await;
    let mut tally = account(&mut slow, 1, EVENTS).await;
    tally.assert_reason("slow");
    let [Run::Delivered(2, _), .., Run::Told(_, EVENTS, _)] = tally.runs[..] else {
        panic!("{:?}", tally.runs);
    };
    publish(&stage, DOOR, EVENTS + 1..=EVENTS + 5).await;
    for _ in 0..5 {
        tally.add(&slow.text().await);
    }
    assert_eq!(tally.runs.last(), Some(&Run::Delivered(EVENTS + 1, EVENTS + 5)));
    assert_counted(&stage, &tally).await;
    drop(slow);
    stage.end().await;
}

/// It reads what it was given before, and why that is all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_an_end_rather_than_to_be_slow_gets_it() {
    let stage = stage_with(&[], EVENTS).await;
    let (mut slow, _) = stalled(&stage, "disconnect").await;
    let mut tally = Tally::after(1);
    let reason = loop {
        let frame = slow.next().await;
        if frame.first == CLOSE {
            break frame.payload;
        }
        tally.add(frame.text());
    };
    slow.assert_ended().await;
    drop(slow);
    let (code, reason) = reason.split_at(2);
    let reason = std::str::from_utf8(reason).expect("a readable reason");
    assert_eq!(code, 4003_u16.to_be_bytes());
    assert_eq!(reason, "reader.slow: this connection does not read in time");
    assert!(tally.last < EVENTS && tally.told() == 0, "{:?}", tally.runs);
    assert_eq!(stage.metric(r#"refusals_total{code="reader.slow"}"#).await, 1);
    stage.until_metric("connections", 0).await;
    // It comes back and goes on where it was.
    let mut again = RawSocket::open(&stage, &stage.alice).await;
    let since = tally.last;
    follow_raw(&mut again, DOOR, &format!(r#""since":{since},"whenSlow":"catchUp""#)).await;
    let rest = account(&mut again, since, EVENTS).await;
    assert_eq!(rest.runs, [Run::Delivered(since + 1, EVENTS)]);
    drop(again);
    stage.end().await;
}

/// Who asks for what was before is not slow because there is much of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_not_falling_behind_whatever_is_wanted_then() {
    for when_slow in ["catchUp", "latest", "drop", "disconnect"] {
        let stage = stage_with(&[], EVENTS).await;
        publish_padded(&stage, DOOR, 1..=EVENTS, PADDING).await;
        let mut slow = RawSocket::open_narrow(&stage, &stage.alice).await;
        follow_raw(&mut slow, DOOR, &format!(r#""since":0,"whenSlow":"{when_slow}""#)).await;
        let tally = account(&mut slow, 0, EVENTS).await;
        assert_eq!(tally.runs, [Run::Delivered(1, EVENTS)], "{when_slow}");
        assert_eq!(stage.metric("subscriptions_behind_total").await, 0);
        drop(slow);
        stage.end().await;
    }
}

/// One connection, several streams: each on its own terms.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_subscription_of_a_connection_has_its_own_terms() {
    let stage = stage_with(&["--max-mailbox-events", "10"], EVENTS).await;
    stage.add_stream(&stage.alice, "/acme/window", 100).await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    follow_raw(&mut socket, DOOR, r#""whenSlow":"drop""#).await;
    follow_raw(&mut socket, "/acme/window", r#""whenSlow":"latest""#).await;
    // Batches find no room in the mailbox, so both fall behind.
    publish(&stage, DOOR, 1..=30).await;
    assert_eq!(
        account(&mut socket, 0, 30).await.runs,
        [Run::Told(1, 30, "slow".to_owned())]
    );
    publish(&stage, "/acme/window", 1..=30).await;
    let wanted = [Run::Told(1, 29, "slow".to_owned()), Run::Delivered(30, 30)];
    assert_eq!(account(&mut socket, 0, 30).await.runs, wanted);
    drop(socket);
    stage.end().await;
}
