//! A stream's rules: what it takes, and how much of it, how long and how many bytes it keeps.

use crate::stage::{Answer, Stage};
use serde_json::{Value, json};

const STREAM: &str = "/v5.0/acme/stream";
const NO_MEMORY: &[&str] = &["--max-log-bytes", "8"];

/// A stage with a stream; the rest of its members, then where it is and where its events are.
async fn stage_with_a_door(flags: &[&str], rest: &str) -> (Stage, String, String) {
    let stage = Stage::with(flags).await;
    let body = format!(r#"{{"path":"/acme/door"{rest}}}"#);
    let answer = stage.request("POST", STREAM, Some(&stage.alice), &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let id = answer.json()["body"]["id"].as_str().expect("an id").to_owned();
    (stage, format!("{STREAM}/{id}"), format!("/v5.0/acme/event/{id}"))
}

async fn put(stage: &Stage, stream: &str, body: &str) -> Answer {
    let answer = stage.request("PUT", stream, Some(&stage.alice), body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

async fn status(stage: &Stage, events: &str, body: &str) -> u16 {
    stage.post_with(events, &[], body).await.status
}

fn id(address: &str) -> &str {
    address.rsplit('/').next().expect("an id")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_filter_says_what_may_be_written() {
    let (mut stage, stream, events) = stage_with_a_door(&[], r#","filter":"n > 1 && EXISTS hash""#).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    let good = r#"{"elems":{"n":2},"hash":"a"}"#;
    for bad in [
        r#"{"elems":{"n":1},"hash":"b"}"#,
        r#"{"elems":{"n":2}}"#,
        r#"{"elems":{}}"#,
    ] {
        let answer = stage.post_with(&events, &[], bad).await;
        assert_eq!((answer.status, &*answer.code()), (422, "event.filtered"));
        let text = "the stream takes what its filter accepts: n > 1 && EXISTS hash";
        assert_eq!(answer.json()["head"]["errors"][0], text);
        assert_eq!(status(&stage, &events, &format!("[{good},{bad}]")).await, 422);
    }
    socket.assert_quiet().await;
    assert_eq!(status(&stage, &events, good).await, 201);
    assert_eq!(socket.json().await["value"]["hash"], "a");
    drop(socket);
    stage.until_metric("connections", 0).await;
    stage.restart().await;
    assert_eq!(status(&stage, &events, r#"{"elems":{"n":1}}"#).await, 422);
    put(&stage, &stream, r#"{"filter":"n == 1"}"#).await;
    assert_eq!(status(&stage, &events, r#"{"elems":{"n":1}}"#).await, 201);
    put(&stage, &stream, r#"{"capacity":7}"#).await;
    assert_eq!(status(&stage, &events, r#"{"elems":{"n":2}}"#).await, 422);
    let answer = put(&stage, &stream, r#"{"filter":null}"#).await;
    assert!(!answer.text.contains("filter"), "{answer:?}");
    assert_eq!(status(&stage, &events, r#"{"elems":{"n":3}}"#).await, 201);
    assert_eq!(stage.find_numbers(&events).await, [3, 1, 2]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_are_shown_where_they_are_not_what_is_usual() {
    let rest = r#","ack":"written","filter":"n > \"1\"","maxAge":60,"maxBytes":1000000"#;
    let (mut stage, stream, _) = stage_with_a_door(&[], rest).await;
    for _ in 0..2 {
        let shown = stage.get(&stream).await;
        for (name, value) in [
            ("ack", json!("written")),
            ("filter", json!("n > \"1\"")),
            ("maxAge", json!(60)),
            ("maxBytes", json!(1_000_000)),
        ] {
            assert_eq!(shown[name], value, "{shown}");
        }
        stage.restart().await;
    }
    put(&stage, &stream, r#"{"ack":null,"maxAge":null}"#).await;
    let shown = stage.get(&stream).await;
    assert!(shown.get("ack").is_none() && shown.get("maxAge").is_none(), "{shown}");
    assert_eq!(
        (&shown["filter"], &shown["maxBytes"]),
        (&json!("n > \"1\""), &json!(1_000_000))
    );
    // What is shown may be sent back as it is.
    let same = put(&stage, &stream, &shown.to_string()).await.json()["body"].clone();
    assert_eq!(same["maxBytes"], 1_000_000);
    put(&stage, &stream, r#"{"ack":"durable","filter":null,"maxBytes":null}"#).await;
    let shown = stage.get(&stream).await;
    assert_eq!(shown.as_object().map(|members| members.len()), Some(8), "{shown}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_when_they_are_too_old() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, stream, events) = stage_with_a_door(flags, "").await;
        stage.publish_numbers(id(&events), 0..50).await;
        put(&stage, &stream, r#"{"maxAge":1}"#).await;
        let is_empty = || async { stage.get(&events).await == Value::Array(Vec::new()) };
        stage.until("the events are gone", is_empty).await;
        // They do not come back, neither by a later rule nor by a restart; offsets go on.
        put(&stage, &stream, r#"{"maxAge":3600}"#).await;
        stage.restart().await;
        assert_eq!(stage.get(&events).await, json!([]));
        let answer = stage
            .post_with(&events, &[("If-Offset-Match", "50")], r#"{"elems":{"n":50}}"#)
            .await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!(stage.find_numbers(&events).await, [50]);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_when_they_are_too_many_bytes() {
    let (stage, _, events) = stage_with_a_door(NO_MEMORY, r#","maxBytes":100000"#).await;
    let text = "x".repeat(10_000);
    for n in 0..60 {
        let body = format!(r#"{{"elems":{{"n":{n},"text":"{text}"}}}}"#);
        assert_eq!(status(&stage, &events, &body).await, 201);
    }
    let all = format!("{events}?limit=100&only=elems.n");
    stage
        .until("the oldest are gone", || async {
            stage.find_numbers(&all).await.len() <= 10
        })
        .await;
    let left = stage.find_numbers(&all).await;
    // No more than a piece of 32 KiB less than it may.
    let newest: Vec<u64> = (0..60).rev().take(left.len()).collect();
    assert_eq!(left, newest);
    assert!(left.len() >= 5, "{left:?}");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lower_capacity_lets_go_for_good_and_a_higher_one_keeps_what_comes() {
    for flags in [&[][..], NO_MEMORY] {
        let (mut stage, stream, events) = stage_with_a_door(flags, r#","capacity":100"#).await;
        let all = format!("{events}?limit=1000&order=asc");
        stage.publish_numbers(id(&events), 0..150).await;
        let expect = |from: u64, to: u64| (from..to).collect::<Vec<u64>>();
        assert_eq!(stage.find_numbers(&all).await, expect(50, 150));
        put(&stage, &stream, r#"{"capacity":10}"#).await;
        assert_eq!(stage.find_numbers(&all).await, expect(140, 150));
        put(&stage, &stream, r#"{"capacity":1000}"#).await;
        for _ in 0..2 {
            assert_eq!(stage.find_numbers(&all).await, expect(140, 150));
            stage.restart().await;
        }
        stage.publish_numbers(id(&events), 150..200).await;
        assert_eq!(stage.find_numbers(&all).await, expect(140, 200));
        put(&stage, &stream, r#"{"capacity":0}"#).await;
        assert_eq!(stage.get(&all).await, json!([]));
        stage.restart().await;
        assert_eq!(stage.get(&all).await, json!([]));
        put(&stage, &stream, r#"{"capacity":5}"#).await;
        stage.publish_numbers(id(&events), 200..210).await;
        assert_eq!(stage.find_numbers(&all).await, expect(205, 210));
        stage.end().await;
    }
}
