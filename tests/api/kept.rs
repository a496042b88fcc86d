//! What is kept of a session between two transports, and who is told of what is not.

use crate::moving::close;
use crate::outflow::{Outflow, offsets, places};
use crate::stage::{Socket, Stage};
use crate::transports::{publish, stage};
use serde_json::{Value, json};

/// What a session says of a subscription that it lost.
fn lost(said: &Value, status: u16, code: &str) {
    let wanted = json!({
        "head": {
            "msgId": null, "ok": false, "status": status, "errors": said["head"]["errors"], "messages": [],
            "code": code,
        },
        "body": {},
    });
    assert_eq!(*said, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_next_is_told_that_there_was_no_room_to_keep_what_was_followed() {
    // Of which one company has half.
    let stage = stage(&["--max-kept-subscriptions", "3", "--poll-time", "1s"]).await;
    let [one, two] = [stage.session(&stage.alice).await, stage.session(&stage.alice).await];
    for (session, paths) in [(&one, &["/acme/door", "/acme/window"][..]), (&two, &["/acme/door"])] {
        let mut socket = stage.connect(session).await;
        for path in paths {
            socket.subscribe(path).await;
        }
        close(socket).await;
    }
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(offsets(&stage.poll(&one).await), [1]);
    let came = stage.poll(&two).await;
    assert_eq!(came.len(), 1, "{came:?}");
    lost(&came[0], 429, "limit.subscriptions");
    assert_eq!(stage.poll(&two).await, Vec::<Value>::new(), "once");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_next_is_told_what_is_not_followed_any_more() {
    let stage = stage(&["--poll-time", "1s"]).await;
    let gone = stage.add_stream(&stage.alice, "/acme/gone", 10).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/gone").await;
    socket.subscribe("/acme/door").await;
    close(socket).await;
    let path = format!("/v5.0/acme/stream/{gone}");
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    let came = stage.poll(&session).await;
    assert_eq!(came.len(), 1, "{came:?}");
    lost(&came[0], 404, "stream.unknown");
    let text = came[0]["head"]["errors"][0].as_str().expect("a sentence");
    assert!(
        text.starts_with(&format!("{gone} is not followed any more: ")),
        "{text}"
    );
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(offsets(&stage.poll(&session).await), [1]);
    stage.end().await;
}

/// A socket of a session that follows a stream which nobody declared, and nobody else does.
async fn alone(stage: &Stage, session: &str) -> Socket {
    let mut client = stage.channels(&stage.alice.token).await;
    client.join("lobby").await;
    let mut socket = stage.connect(session).await;
    socket.subscribe("/acme/lobby").await;
    client.socket.close(None).await.expect("a goodbye");
    stage.until_metric("subscriptions", 1).await;
    socket
}

/// What publishing to it comes to.
async fn publish_there(stage: &Stage) -> u16 {
    let body = json!({"path": "/acme/lobby", "elems": {}}).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
        .await;
    answer.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_declared_waits_for_the_session_that_moves() {
    let stage = stage(&["--poll-time", "10ms"]).await;
    let session = stage.session(&stage.alice).await;
    let mut socket = alone(&stage, &session).await;
    let mut at = 0;
    for _ in 0..3 {
        assert_eq!(publish_there(&stage).await, 201);
        assert_eq!(socket.json().await["offset"], at + 1);
        close(socket).await;
        // Nobody listens now.
        let mut lines = Outflow::open(&stage, &session, "streaming").await;
        stage.until_metric("subscriptions", 1).await;
        assert_eq!(publish_there(&stage).await, 201);
        assert_eq!(lines.line().await["offset"], at + 2);
        socket = stage.connect(&session).await;
        // Nothing is answered before everything is taken over.
        socket.assert_quiet().await;
        at += 2;
    }
    drop(socket);
    stage.until_metric("sessions", 0).await;
    assert_eq!(publish_there(&stage).await, 404, "it is no more");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_nobody_declared_waits_no_longer_than_its_session_lasts_or_is_wanted() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    close(alone(&stage, &session).await).await;
    assert_eq!(publish_there(&stage).await, 201);
    stage.until_metric("sessions", 0).await;
    assert_eq!(publish_there(&stage).await, 404);
    // Who opens a socket subscribes anew.
    let session = stage.session(&stage.alice).await;
    close(alone(&stage, &session).await).await;
    assert_eq!(publish_there(&stage).await, 201);
    let mut socket = stage.connect(&session).await;
    socket.assert_quiet().await;
    assert_eq!(publish_there(&stage).await, 404);
    drop(socket);
    stage.end().await;
}

/// As careful clients move: the new way is there before the old one goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_already_goes_on_with_what_a_socket_followed_that_ends() {
    let stage = stage(&[]).await;
    for way in ["streaming", "events"] {
        let session = stage.session(&stage.alice).await;
        let mut socket = stage.connect(&session).await;
        let mut reader = Outflow::open(&stage, &session, way).await;
        socket.subscribe("/acme/door").await;
        publish(&stage, "/acme/door", 1).await;
        let before = socket.json().await["offset"].as_u64().expect("a number");
        close(socket).await;
        publish(&stage, "/acme/door", 1).await;
        assert_eq!(next_offset(&mut reader).await, before + 1, "{way}");
    }
    stage.end().await;
}

/// What it follows itself it goes on with, and is told no place that lines which wait have not reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_the_same_as_a_socket_that_ends_is_told_nothing_anew() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut reader = Outflow::open(&stage, &session, "events").await;
    publish(&stage, "/acme/door", 1).await;
    let first = reader.event().await;
    drop(reader);
    // What it opens takes over what the session follows, so another one follows the same then.
    let mut socket = stage.connect(&session).await;
    socket.subscribe("/acme/door").await;
    let mut reader = Outflow::open_with(&stage, &session, "events", &[("last-event-id", &first.id)]).await;
    stage.follow(&session, "/acme/door").await;
    publish(&stage, "/acme/door", 1).await;
    reader.event().await;
    close(socket).await;
    publish(&stage, "/acme/door", 1).await;
    let next = reader.message().await.expect("a message, not the end");
    assert!(next.data.contains(r#""offset":3,"#), "{next:?}");
    drop(reader);
    stage.end().await;
}

/// The place of the next event, whichever way it comes.
async fn next_offset(reader: &mut Outflow) -> u64 {
    loop {
        let line = reader.any_line().await.expect("a line, not the end");
        if let Some(offset) = places(&line).first() {
            return *offset;
        }
    }
}
