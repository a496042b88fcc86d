//! The plain HTTP ways to a session: each by itself.

use crate::outflow::{Outflow, offsets};
use crate::raw::RawSocket;
use crate::stage::Stage;
use serde_json::{Value, json};

/// A stage on which sessions lapse soon, so that nothing of them is left in the end.
pub async fn stage(more: &[&str]) -> Stage {
    let stage = Stage::with(&[&["--session-ttl", "3s"], more].concat()).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    stage.add_stream(&stage.alice, "/acme/window", 1_000).await;
    stage
}

pub async fn publish(stage: &Stage, path: &str, count: usize) {
    for _ in 0..count {
        stage.publish(&stage.alice, path, r#"{"open":true}"#).await;
    }
}

/// Events of about a kilobyte, in one request.
pub async fn publish_long(stage: &Stage, count: usize) {
    let event = json!({"path": "/acme/door", "elems": {"x": "x".repeat(1_000)}});
    let body = Value::from(vec![event; count]).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_brings_lines_as_they_come() {
    let stage = stage(&["--ping-interval", "100ms"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut lines = Outflow::open(&stage, &session, "streaming").await;
    assert_eq!(lines.header("content-type"), "application/x-ndjson");
    assert_eq!(lines.header("cache-control"), "no-store");
    assert_eq!(lines.header("x-accel-buffering"), "no");
    // Each is read before the next one is published, so nothing holds one up.
    for offset in 1..=3 {
        publish(&stage, "/acme/door", 1).await;
        let line = lines.line().await;
        assert_eq!(
            (&line["type"], &line["offset"]),
            (&Value::from("message"), &Value::from(offset))
        );
    }
    assert_eq!(lines.any_line().await.as_deref(), Some(""), "a sign of life");
    drop(lines);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_brings_what_waits_or_comes() {
    let stage = stage(&["--poll-time", "200ms"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    assert_eq!(stage.poll(&session).await, Vec::<Value>::new());
    publish(&stage, "/acme/door", 3).await;
    let mut came = stage.poll(&session).await;
    while came.len() < 3 {
        came.extend(stage.poll(&session).await);
    }
    assert_eq!(offsets(&came), [1, 2, 3]);
    let waits = stage.poll(&session);
    let (came, ()) = tokio::join!(waits, publish(&stage, "/acme/door", 1));
    let came = if came.is_empty() {
        stage.poll(&session).await
    } else {
        came
    };
    assert_eq!(offsets(&came), [4]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_with_the_place_in_every_stream() {
    let stage = stage(&["--ping-interval", "100ms"]).await;
    let session = stage.session(&stage.alice).await;
    let way = "events?path=/acme/door&path=/acme/window";
    let mut events = Outflow::open(&stage, &session, way).await;
    assert_eq!(events.header("content-type"), "text/event-stream");
    assert_eq!(events.any_line().await.as_deref(), Some(": connected"));
    let here = events.message().await.expect("a place");
    assert_eq!((here.id.split(',').count(), &*here.data), (2, ""));
    publish(&stage, "/acme/door", 2).await;
    assert_eq!(events.event().await.json()["offset"], 1);
    let last = events.event().await;
    assert_eq!(last.json()["offset"], 2);
    assert_eq!(last.id.split(',').count(), 2);
    drop(events);
    // What comes meanwhile, in both streams, comes after the place that was seen last, once.
    publish(&stage, "/acme/window", 2).await;
    publish(&stage, "/acme/door", 1).await;
    let seen = [("Last-Event-ID", &*last.id)];
    let mut events = Outflow::open_with(&stage, &session, way, &seen).await;
    let mut came = Vec::new();
    for _ in 0..3 {
        let event = events.event().await.json();
        came.push(format!("{} {}", event["value"]["path"], event["offset"]));
    }
    came.sort();
    assert_eq!(
        came,
        [r#""/acme/door" 3"#, r#""/acme/window" 1"#, r#""/acme/window" 2"#]
    );
    assert_eq!(events.any_line().await.as_deref(), Some(":"), "a sign of life");
    drop(events);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_were_asked_together_are_answered_one_after_the_other() {
    let stage = stage(&["--poll-time", "20s"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    publish(&stage, "/acme/door", 1).await;
    let mut raw = RawSocket::connect(stage.address).await;
    let request = format!("GET /session/{session}/polling HTTP/1.1\r\nHost: localhost\r\n\r\n");
    raw.send(request.repeat(3).as_bytes()).await;
    for offset in 1..=3 {
        let (_, body) = raw.answer().await;
        let came: Vec<Value> = serde_json::from_str(&body).expect("JSON");
        assert_eq!(offsets(&came), [offset]);
        publish(&stage, "/acme/door", 1).await;
    }
    drop(raw);
    stage.end().await;
}
