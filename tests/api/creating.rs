//! Publishing over the socket: what is answered, in which order, and what is refused.

use crate::raw::{RawSocket, TEXT, frame};
use crate::reading::{DOOR, assert_events, follow, refused};
use crate::stage::{Socket, Stage};
use serde_json::{Value, json};
use std::collections::BTreeSet;

async fn stage_with(flags: &[&str]) -> Stage {
    let stage = Stage::with(flags).await;
    stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage
}

/// A request to publish to the door, with further members.
fn creating(value: &Value, members: &Value) -> String {
    let mut request = json!({"msgId": "c", "object": "event", "type": "create", "path": DOOR, "value": value});
    for (name, member) in members.as_object().expect("members") {
        request[name] = member.clone();
    }
    request.to_string()
}

/// Publishes and returns the body of the acknowledgement.
async fn create(socket: &mut Socket, value: Value, members: Value) -> Value {
    let ack: Value = serde_json::from_str(&socket.ask(&creating(&value, &members)).await).expect("JSON");
    assert_eq!(
        (&ack["head"]["ok"], &ack["head"]["msgId"]),
        (&json!(true), &json!("c")),
        "{ack}"
    );
    ack["body"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_is_answered_with_its_place_and_its_safety() {
    let stage = stage_with(&[]).await;
    let mut reader = stage.socket(&stage.alice).await;
    reader.subscribe(DOOR).await;
    let mut socket = stage.socket(&stage.alice).await;
    let body = create(&mut socket, json!({"elems": {"n": 1}, "hash": "h"}), json!({})).await;
    assert_eq!((&body["offset"], &body["ack"]), (&json!(1), &json!("durable")));
    assert_eq!(
        (&body["path"], &body["elems"], &body["hash"]),
        (&json!(DOOR), &json!({"n": 1}), &json!("h"))
    );
    let event = reader.json().await;
    assert_eq!((&event["offset"], &event["value"]["id"]), (&json!(1), &body["id"]));
    assert_eq!(stage.metric("events_published_total").await, 1);
    drop((reader, socket));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_array_is_published_as_a_whole_and_answered_in_order() {
    let stage = stage_with(&[]).await;
    stage.add_stream(&stage.alice, "/acme/none", 0).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe(DOOR).await;
    let request = json!({"msgId": "c", "type": "create", "value": [
        {"path": DOOR, "elems": {"n": 1}},
        {"path": "/acme/none", "elems": {}},
        {"path": DOOR, "elems": {"n": 2}},
    ]});
    socket.send(&request.to_string()).await;
    // Whoever subscribes and publishes on one socket may see either first.
    let mut messages = Vec::new();
    for _ in 0..3 {
        messages.push(socket.json().await);
    }
    let ack = messages
        .iter()
        .find(|message| message["head"]["msgId"] == "c")
        .expect("an answer");
    let places: Vec<Value> = ack["body"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|event| json!([event["path"], event["offset"]]))
        .collect();
    assert_eq!(places, [json!([DOOR, 1]), json!(["/acme/none", 1]), json!([DOOR, 2])]);
    // One of them is kept nowhere, so all of it is no safer than that.
    assert_eq!(ack["body"][0]["ack"], "accepted");
    let offsets: Vec<&Value> = messages
        .iter()
        .filter(|message| message["type"] == "message")
        .map(|event| &event["offset"])
        .collect();
    assert_eq!(offsets, [&json!(1), &json!(2)]);
    // A bad one among them, and none of them is published.
    let request = creating(&json!([{"elems": {"n": 3}}, {"elems": 4}]), &json!({}));
    let (code, told) = refused(&mut socket, &request).await;
    assert_eq!(code, "event.malformed");
    assert!(told.starts_with("event 1 of the array: "), "{told}");
    assert_eq!(stage.metric("events_published_total").await, 3);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_safe_it_is_may_be_chosen() {
    let stage = stage_with(&[]).await;
    stage.add_stream(&stage.alice, "/acme/none", 0).await;
    let mut socket = stage.socket(&stage.alice).await;
    for (n, asked) in ["durable", "written", "accepted"].into_iter().enumerate() {
        let body = create(&mut socket, json!({"elems": {}}), json!({"ack": asked})).await;
        assert_eq!(body["offset"], n + 1);
        // It may be safer than was asked for, never less.
        let order = ["accepted", "written", "durable"];
        let place = |word: &str| order.iter().position(|known| *known == word).expect("a word");
        assert!(place(body["ack"].as_str().expect("a word")) >= place(asked), "{body}");
    }
    let body = create(
        &mut socket,
        json!({"elems": {}}),
        json!({"path": "/acme/none", "ack": "durable"}),
    )
    .await;
    assert_eq!(body["ack"], "accepted");
    let request = creating(&json!({"elems": {}}), &json!({"ack": "safe"}));
    assert_eq!(refused(&mut socket, &request).await.0, "frame.malformed");
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_may_be_expected() {
    let stage = stage_with(&[]).await;
    let mut socket = stage.socket(&stage.alice).await;
    for n in 0..3 {
        let body = create(&mut socket, json!({"elems": {"n": n}}), json!({"ifOffsetMatch": n})).await;
        assert_eq!(body["offset"], n + 1);
    }
    for (expected, code) in [
        (json!(2), "offset.mismatch"),
        (json!(4), "offset.mismatch"),
        (json!("3"), "frame.malformed"),
    ] {
        let request = creating(&json!({"elems": {}}), &json!({"ifOffsetMatch": expected}));
        assert_eq!(refused(&mut socket, &request).await.0, code, "{expected}");
    }
    assert_eq!(stage.metric("events_published_total").await, 3);
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_with_a_key_is_done_once() {
    let mut stage = stage_with(&[]).await;
    let mut socket = stage.socket(&stage.alice).await;
    let key = json!({"idempotencyKey": "k1"});
    let value = json!([{"elems": {"n": 1}}, {"elems": {"n": 2}}]);
    let first = create(&mut socket, value.clone(), key.clone()).await;
    assert_eq!(create(&mut socket, value.clone(), key.clone()).await, first);
    let (code, _) = refused(&mut socket, &creating(&json!({"elems": {}}), &key)).await;
    assert_eq!(code, "key.reused");
    for bad in [json!(""), json!("é"), json!("x".repeat(256))] {
        let request = creating(&value, &json!({"idempotencyKey": bad}));
        assert_eq!(refused(&mut socket, &request).await.0, "key.malformed", "{bad}");
    }
    // Another's key of the same text is another, and a restart forgets none.
    let bob = stage.add_user("acme", "bob").await;
    let mut other = stage.socket(&bob).await;
    let theirs = create(&mut other, value.clone(), key.clone()).await;
    assert_eq!(theirs[0]["offset"], 3);
    drop((socket, other));
    stage.until_metric("connections", 0).await;
    stage.restart().await;
    let mut socket = stage.socket(&stage.alice).await;
    assert_eq!(create(&mut socket, value, key).await, first);
    let set_up = follow(&mut socket, DOOR, r#""last":0"#).await;
    assert_eq!(set_up["offset"], 4);
    drop(socket);
    stage.end().await;
}

/// Requests that were sent in a row, without waiting, take their places in that order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_one_socket_take_their_places_in_order() {
    const COUNT: u64 = 200;
    for ack in ["durable", "accepted"] {
        let stage = stage_with(&[]).await;
        let mut socket = stage.socket(&stage.alice).await;
        for n in 1..=COUNT {
            let request = json!({"msgId": n, "type": "create", "path": DOOR, "ack": ack, "value": {"elems": {"n": n}}});
            socket.send(&request.to_string()).await;
        }
        // What is answered is known by its msgId; an answer may overtake another.
        let mut answered = BTreeSet::new();
        for _ in 1..=COUNT {
            let ack = socket.json().await;
            assert_eq!(ack["head"]["ok"], true, "{ack}");
            assert_eq!(ack["body"]["offset"], ack["head"]["msgId"], "{ack}");
            answered.extend(ack["head"]["msgId"].as_u64());
        }
        assert_eq!(answered, (1..=COUNT).collect());
        follow(&mut socket, DOOR, r#""since":0"#).await;
        assert_events(&mut socket, 1..=COUNT).await;
        drop(socket);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_requests_as_the_limit_may_wait_for_their_answer() {
    const MOST: usize = 3;
    let stage = stage_with(&["--max-open-requests", &MOST.to_string()]).await;
    let mut socket = RawSocket::open(&stage, &stage.alice).await;
    // They arrive together, so none is answered before all have been looked at.
    let requests: Vec<u8> = (1..=MOST + 2)
        .flat_map(|n| {
            let request = json!({"msgId": n, "type": "create", "path": DOOR, "value": {"elems": {"n": n}}});
            frame(TEXT, request.to_string().as_bytes())
        })
        .collect();
    socket.send(&requests).await;
    let mut outcomes = Vec::new();
    for _ in 0..MOST + 2 {
        let ack: Value = serde_json::from_str(&socket.text().await).expect("JSON");
        outcomes.push((
            ack["head"]["msgId"].as_u64(),
            ack["head"]["code"].as_str().map(str::to_owned),
        ));
    }
    outcomes.sort();
    let full = Some("limit.requests".to_owned());
    let wanted = [
        (Some(1), None),
        (Some(2), None),
        (Some(3), None),
        (Some(4), full.clone()),
        (Some(5), full),
    ];
    assert_eq!(outcomes, wanted);
    // Answers make room again.
    let request = json!({"msgId": 9, "type": "create", "path": DOOR, "value": {"elems": {}}});
    socket.send_frame(TEXT, request.to_string().as_bytes()).await;
    assert!(socket.text().await.contains(r#""offset":4"#));
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_write_is_refused_and_others_streams_are_unknown() {
    let stage = stage_with(&[]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let foreign = stage.add_stream(&albert, "/umbrella/door", 10).await;
    let reader = stage.add_token(&[("/acme/**", "read")], None).await;
    let mut socket = stage.socket(&reader).await;
    let value = json!({"elems": {}});
    assert_eq!(
        refused(&mut socket, &creating(&value, &json!({}))).await.0,
        "scope.denied"
    );
    drop(socket);
    let mut socket = stage.socket(&stage.alice).await;
    for (name, stream) in [
        ("path", "/umbrella/door"),
        ("path", "/acme/nowhere"),
        ("streamId", &*foreign),
    ] {
        let mut request = json!({"msgId": "c", "type": "create", "value": value});
        request[name] = json!(stream);
        assert_eq!(
            refused(&mut socket, &request.to_string()).await.0,
            "stream.unknown",
            "{stream}"
        );
    }
    assert_eq!(stage.metric("events_published_total").await, 0);
    drop(socket);
    stage.end().await;
}

/// What was taken is published, whether or not anybody is there to be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_may_close_while_its_request_is_under_way() {
    const ROUNDS: u64 = 10;
    let stage = stage_with(&[]).await;
    let mut reader = stage.socket(&stage.alice).await;
    reader.subscribe(DOOR).await;
    for round in 1..=ROUNDS {
        let mut socket = RawSocket::open(&stage, &stage.alice).await;
        let request = json!({"msgId": 1, "type": "create", "path": DOOR, "value": {"elems": {"n": round}}});
        let mut bytes = frame(TEXT, request.to_string().as_bytes());
        bytes.extend(frame(crate::raw::CLOSE, &[]));
        socket.send(&bytes).await;
        drop(socket);
        assert_events(&mut reader, [round]).await;
    }
    drop(reader);
    stage.end().await;
}
