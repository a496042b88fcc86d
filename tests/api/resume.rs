//! A reader comes back: it says what it saw last and is given everything since, or told exactly
//! what is missing.
//!
//! Each story is told twice where it may make a difference: with what is missed in memory, and on
//! the disk only.

use crate::reading::{DOOR, NO_MEMORY, assert_events, assert_gap, follow, offset, publish, until_on_disk};
use crate::stage::{Account, Socket, Stage};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A server whose events are in memory, or as far on the disk as can be, with a stream that has
/// `count` events and keeps `capacity`.
async fn stage_with(flags: &[&str], capacity: u64, count: u64) -> Stage {
    let stage = Stage::with(flags).await;
    stage.add_stream(&stage.alice, DOOR, capacity).await;
    if count > 0 {
        publish(&stage, DOOR, 1..=count).await;
    }
    if flags == NO_MEMORY {
        until_on_disk(&stage).await;
    }
    stage
}

/// What an acknowledgement tells, without what is different every time.
fn told(set_up: &Value) -> Value {
    json!([set_up["offset"], set_up["state"], set_up["missing"]])
}

async fn epoch(socket: &mut Socket) -> String {
    let set_up = follow(socket, DOOR, r#""last":0"#).await;
    let epoch = set_up["epoch"].as_str().expect("an epoch");
    assert_eq!(epoch.len(), 8, "{set_up}");
    epoch.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_since_an_offset_is_replayed_before_what_comes_now() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, 1_000, 600).await;
        for (since, state) in [(0, "behind"), (1, "behind"), (599, "behind"), (600, "complete")] {
            let mut socket = stage.socket(&stage.alice).await;
            let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
            assert_eq!(told(&set_up), json!([since, state, 0]));
            assert_events(&mut socket, since + 1..=600).await;
            socket.assert_quiet().await;
        }
        let mut socket = stage.socket(&stage.alice).await;
        follow(&mut socket, DOOR, r#""since":598"#).await;
        publish(&stage, DOOR, 601..=602).await;
        assert_events(&mut socket, 599..=602).await;
        assert_eq!(stage.metric("events_missed_total").await, 0);
        drop(socket);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_stream_let_go_of_since_is_told() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, 5, 20).await;
        let mut socket = stage.socket(&stage.alice).await;
        let set_up = follow(&mut socket, DOOR, r#""since":3"#).await;
        assert_eq!(told(&set_up), json!([3, "gap", 12]));
        assert_gap(&mut socket, 4, 15, "retention").await;
        assert_events(&mut socket, 16..=20).await;
        stage.until_metric("events_missed_total", 12).await;
        drop(socket);
        stage.end().await;
    }
}

/// Nothing is replayed of a stream that keeps nothing, but how much it was is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_keeps_nothing_tells_how_much_was_missed() {
    let stage = stage_with(&[], 0, 20).await;
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, r#""since":3"#).await;
    assert_eq!(told(&set_up), json!([3, "gap", 17]));
    assert_gap(&mut socket, 4, 20, "retention").await;
    publish(&stage, DOOR, 21..=21).await;
    assert_events(&mut socket, 21..=21).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_beyond_the_head_is_of_another_numbering() {
    let stage = stage_with(&[], 5, 8).await;
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, r#""since":9"#).await;
    assert_eq!(told(&set_up), json!([3, "gap", 3]));
    assert_gap(&mut socket, 1, 3, "epoch").await;
    assert_events(&mut socket, 4..=8).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_of_another_epoch_is_told_even_if_nothing_is_missing() {
    let stage = stage_with(&[], 1_000, 8).await;
    let mut socket = stage.socket(&stage.alice).await;
    let epoch = epoch(&mut socket).await;
    drop(socket);
    for (foreign, offset) in [("00000000", 8), ("nonsense", 0), ("", 3)] {
        let mut socket = stage.socket(&stage.alice).await;
        let since = json!({"epoch": foreign, "offset": offset});
        let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
        assert_eq!(told(&set_up), json!([0, "gap", 0]));
        assert_eq!(set_up["epoch"], json!(epoch));
        assert_gap(&mut socket, 1, 0, "epoch").await;
        assert_events(&mut socket, 1..=8).await;
    }
    let mut socket = stage.socket(&stage.alice).await;
    let since = json!({"epoch": epoch, "offset": 6});
    let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
    assert_eq!(told(&set_up), json!([6, "behind", 0]));
    assert_events(&mut socket, 7..=8).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_is_the_place_before_the_first_event_that_is_later() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, 1_000, 0).await;
        // Published one by one, until there are events of at least ten different times.
        let mut times: Vec<u64> = Vec::new();
        while times.iter().collect::<std::collections::BTreeSet<_>>().len() < 10 {
            let n = times.len() + 1;
            let answer = stage.publish(&stage.alice, DOOR, &format!(r#"{{"n":{n}}}"#)).await;
            let time = answer.json()["body"]["creationDate"].as_u64().expect("a time");
            times.push(time);
        }
        if flags == NO_MEMORY {
            until_on_disk(&stage).await;
        }
        let (head, middle) = (times.len() as u64, times[times.len() / 2]);
        for time in [
            0,
            times[0] - 1,
            times[0],
            middle - 1,
            middle,
            times[times.len() - 1],
            u64::MAX,
        ] {
            let mut socket = stage.socket(&stage.alice).await;
            let set_up = follow(&mut socket, DOOR, &format!(r#""since":{{"time":{time}}}"#)).await;
            let seen = times.iter().filter(|at| **at <= time).count() as u64;
            assert_eq!(set_up["offset"], seen, "{time} of {times:?}");
            assert_events(&mut socket, seen + 1..=head).await;
            socket.assert_quiet().await;
        }
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_few_come_before_what_is_live_and_that_there_are_fewer_is_no_gap() {
    for flags in [&[][..], &NO_MEMORY] {
        let stage = stage_with(flags, 5, 20).await;
        for (last, first) in [(0, 21), (1, 20), (4, 17), (5, 16), (6, 16), (u64::MAX, 16)] {
            let mut socket = stage.socket(&stage.alice).await;
            let set_up = follow(&mut socket, DOOR, &format!(r#""last":{last}"#)).await;
            let state = if last == 0 { "complete" } else { "behind" };
            assert_eq!(told(&set_up), json!([first - 1, state, 0]), "{last}");
            assert_events(&mut socket, first..=20).await;
            socket.assert_quiet().await;
        }
        assert_eq!(stage.metric("events_missed_total").await, 0);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_again_with_another_place_is_still_one_subscription() {
    let stage = stage_with(&[], 1_000, 300).await;
    let mut socket = stage.socket(&stage.alice).await;
    follow(&mut socket, DOOR, r#""since":0"#).await;
    assert_events(&mut socket, 1..=300).await;
    let again = follow(&mut socket, DOOR, r#""since":5,"filter":"n > 1000""#).await;
    assert_eq!(told(&again), json!([300, "complete", 0]));
    socket.subscribe(DOOR).await;
    assert_eq!(stage.metric("subscriptions").await, 1);
    publish(&stage, DOOR, 301..=301).await;
    assert_events(&mut socket, 301..=301).await;
    socket.assert_quiet().await;
    drop(socket);
    stage.end().await;
}

/// What opening a session with positions tells of them.
async fn positions(stage: &Stage, account: &Account, positions: Value, paths: Option<&str>) -> (String, Value) {
    let mut body = json!({"positions": positions});
    if let Some(path) = paths {
        body["paths"] = json!({path: {"read": true}});
    }
    let answer = stage.open_session(account, &body.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let body = answer.json()["body"].clone();
    let session = body["id"].as_str().expect("an id").to_owned();
    (session, body["streams"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_a_session_tells_how_positions_stand() {
    let stage = stage_with(&[], 5, 20).await;
    let mut socket = stage.socket(&stage.alice).await;
    let set_up = follow(&mut socket, DOOR, r#""last":0"#).await;
    drop(socket);
    let (door, epoch) = (set_up["id"].as_str().expect("an id"), &set_up["epoch"]);
    for (offset, state, behind, missing) in [
        (20, "complete", 0, 0),
        (17, "behind", 3, 0),
        (15, "behind", 5, 0),
        (14, "gap", 6, 1),
        (0, "gap", 20, 15),
        // Beyond the head: nothing is known of what was seen.
        (21, "gap", 20, 15),
    ] {
        let asked = json!({door: {"epoch": epoch, "offset": offset}});
        let (_, streams) = positions(&stage, &stage.alice, asked, None).await;
        let wanted = json!({door: {"state": state, "behind": behind, "missing": missing,
            "firstAvailable": 16, "head": 20, "epoch": epoch}});
        assert_eq!(streams, wanted, "{offset}");
    }
    // An epoch that is left out is believed, a foreign one is not.
    let (session, streams) = positions(&stage, &stage.alice, json!({door: {"offset": 20}}), None).await;
    assert_eq!(streams[door]["state"], "complete");
    let foreign = json!({door: {"epoch": "00000000", "offset": 20}});
    let (_, streams) = positions(&stage, &stage.alice, foreign, None).await;
    assert_eq!(
        (&streams[door]["state"], &streams[door]["missing"]),
        (&json!("gap"), &json!(15))
    );
    // Asking sets nothing up: the session is like any other.
    let mut socket = stage.connect(&session).await;
    publish(&stage, DOOR, 21..=21).await;
    socket.assert_quiet().await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_tell_nothing_of_what_may_not_be_read() {
    let stage = stage_with(&[], 5, 20).await;
    let door = stage
        .request("GET", "/v5.0/acme/stream", Some(&stage.alice), "")
        .await
        .json()["body"][0]["id"]
        .clone();
    let door = door.as_str().expect("an id");
    let window = stage.add_stream(&stage.alice, "/acme/window", 10).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let foreign = stage.add_stream(&albert, "/umbrella/door", 10).await;
    let nobody = "s000000000000000000000000";
    let at = json!({"offset": 0});
    let asked = json!({door: at, window.clone(): at, foreign.clone(): at, nobody: at, "no id": at});
    let unknown = json!({"state": "unknown"});
    let states = |streams: &Value, known: &[&str]| {
        for (stream, told) in streams.as_object().expect("streams") {
            assert_eq!(*told != unknown, known.contains(&stream.as_str()), "{stream}: {told}");
        }
        assert_eq!(streams.as_object().map(|streams| streams.len()), Some(5));
    };
    let (_, streams) = positions(&stage, &stage.alice, asked.clone(), None).await;
    states(&streams, &[door, &window]);
    let (_, streams) = positions(&stage, &stage.alice, asked.clone(), Some("/acme/window")).await;
    states(&streams, &[&window]);
    let writer = stage
        .add_token(&[("/acme/**", "write"), ("/acme/door", "read")], None)
        .await;
    let (_, streams) = positions(&stage, &writer, asked.clone(), None).await;
    states(&streams, &[door]);
    let (_, streams) = positions(&stage, &albert, asked, None).await;
    states(&streams, &[&foreign]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_keeps_the_numbering_and_what_was_missed() {
    for flags in [&[][..], &NO_MEMORY] {
        let mut stage = stage_with(flags, 1_000, 300).await;
        let mut socket = stage.socket(&stage.alice).await;
        let before = epoch(&mut socket).await;
        drop(socket);
        stage.restart().await;
        publish(&stage, DOOR, 301..=400).await;
        let mut socket = stage.socket(&stage.alice).await;
        let since = json!({"epoch": before, "offset": 120});
        let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
        assert_eq!(told(&set_up), json!([120, "behind", 0]));
        assert_eq!(set_up["epoch"], json!(before));
        assert_events(&mut socket, 121..=400).await;
        drop(socket);
        stage.end().await;
    }
}

/// A stream that was made anew at the same path is another one, whatever offsets say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_stream_at_an_old_path_has_another_epoch() {
    let stage = Stage::start().await;
    let first = stage.add_stream(&stage.alice, DOOR, 10).await;
    publish(&stage, DOOR, 1..=5).await;
    let mut socket = stage.socket(&stage.alice).await;
    let before = epoch(&mut socket).await;
    crate::reading::delete_stream(&stage, &stage.alice, &first).await;
    stage.add_stream(&stage.alice, DOOR, 10).await;
    publish(&stage, DOOR, 1..=5).await;
    let since = json!({"epoch": before, "offset": 5});
    let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
    assert_eq!(told(&set_up), json!([0, "gap", 0]));
    assert_ne!(set_up["epoch"], json!(before));
    assert_gap(&mut socket, 1, 0, "epoch").await;
    assert_events(&mut socket, 1..=5).await;
    drop(socket);
    stage.end().await;
}

const PUBLISHERS: u64 = 3;
const ROUNDS: u64 = 40;
const EACH: u64 = 25;
const TOTAL: u64 = PUBLISHERS * ROUNDS * EACH;
const READERS: u64 = 12;

/// Publishes batches one after the other, as fast as they are answered.
async fn publish_on(stage: Arc<Stage>) {
    let event = json!({"path": DOOR, "elems": {"x": "x".repeat(50)}});
    let body = Value::from(vec![event; EACH as usize]).to_string();
    for _ in 0..ROUNDS {
        let answer = stage
            .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
    }
}

/// Comes when so many events are there, goes on after half of them, and reads until the end:
/// each event once, in order, the first of them after the acknowledgement.
async fn read_on(stage: Arc<Stage>, number: u64) -> u64 {
    let come_at = number * TOTAL / READERS;
    let there = || async { stage.metric("events_published_total").await >= come_at };
    stage.until("so many events are there", there).await;
    let mut socket = stage.socket(&stage.alice).await;
    let since = come_at / 2;
    let set_up = follow(&mut socket, DOOR, &format!(r#""since":{since}"#)).await;
    assert_eq!(set_up["offset"], since);
    for expected in since + 1..=TOTAL {
        assert_eq!(offset(&socket.text().await), expected);
    }
    socket.assert_quiet().await;
    TOTAL - since
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replays_while_publishers_go_on_lose_repeat_and_swap_nothing() {
    for flags in [
        &[][..],
        &NO_MEMORY,
        &["--max-log-bytes", "40000", "--max-mailbox-events", "60"],
        &["--max-outbox-bytes", "3000", "--max-frame-bytes", "4000"],
    ] {
        let stage = Arc::new(stage_with(flags, 100_000, 0).await);
        let mut publishers = JoinSet::new();
        let mut readers = JoinSet::new();
        for _ in 0..PUBLISHERS {
            publishers.spawn(publish_on(Arc::clone(&stage)));
        }
        for number in 0..READERS {
            readers.spawn(read_on(Arc::clone(&stage), number));
        }
        publishers.join_all().await;
        let delivered: u64 = readers.join_all().await.iter().sum();
        stage.until_metric("events_delivered_total", delivered).await;
        assert_eq!(stage.metric("events_missed_total").await, 0);
        Arc::into_inner(stage).expect("nobody else is left").end().await;
    }
}
