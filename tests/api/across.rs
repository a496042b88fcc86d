//! What is published by any protocol reaches the subscribers of every other one, in the same order, once.
//!
//! The stream is a company's notices, because every protocol can address that one.

use crate::stage::{Socket, Stage};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Events of each publisher.
const EACH: u64 = 20;
/// How many publishers there are.
const PUBLISHERS: u64 = 7;
const PATH: &str = "/acme/notices";

/// The number that an event carries, however its publisher had to write it.
fn number(elems: &Value) -> u64 {
    let number = [&elems["n"], &elems["message"]].into_iter().find_map(Value::as_u64);
    let text = || elems["raw"].as_str()?.parse().ok();
    number.or_else(text).unwrap_or_else(|| panic!("no number in {elems}"))
}

/// What a frame of the session protocol carries; nothing for an acknowledgement.
fn of_session(frame: &Value) -> Option<u64> {
    (frame["type"] == "message").then(|| number(&frame["value"]["elems"]))
}

/// A message of channels: the text that was sent, or the JSON text of what another protocol sent.
fn of_channels(frame: &Value) -> Option<u64> {
    let raw = frame["data"]["raw"].as_str().filter(|_| frame["event"] == "notices")?;
    let elems = serde_json::from_str(raw).expect("JSON");
    Some(match elems {
        Value::Number(number) => number.as_u64().expect("a number"),
        elems => number(&elems),
    })
}

/// A notice, as it was published.
fn of_notices(frame: &Value) -> Option<u64> {
    Some(number(frame))
}

async fn listen(mut socket: Socket, read: fn(&Value) -> Option<u64>) -> Vec<u64> {
    let mut numbers = Vec::new();
    while (numbers.len() as u64) < EACH * PUBLISHERS {
        numbers.extend(read(&socket.json().await));
    }
    numbers
}

async fn notices(stage: &Stage) -> Socket {
    let url = format!("ws://{}/users/acme/ws", stage.address);
    let key = ("users-api-key", &*stage.alice.token);
    stage.try_open(&url, &[key]).await.expect("let in")
}

/// Publishes by one of the ways that there are; each knows its own numbers.
async fn publish(stage: &Stage, publisher: u64) {
    let key = &stage.alice.token;
    let mut socket = match publisher {
        2 | 3 => Some(stage.socket(&stage.alice).await),
        4 => Some(stage.channels(key).await),
        5 => Some(notices(stage).await),
        _ => None,
    };
    if let (4, Some(socket)) = (publisher, &mut socket) {
        let join = json!({"event": "subscription-add", "data": {"channel": "notices"}});
        socket.send(&join.to_string()).await;
    }
    for n in publisher * EACH..(publisher + 1) * EACH {
        let event = json!({"path": PATH, "elems": {"n": n}});
        let frame = match publisher {
            2 => json!({"object": "event", "type": "create", "path": PATH, "value": {"elems": {"n": n}}}),
            3 => json!({"object": "drop", "type": "create", "value": event}),
            4 => json!({"event": "notices", "data": {"raw": n.to_string()}}),
            _ => json!({"eventType": 10, "message": n, "broadcast": true}),
        };
        match (publisher, &mut socket) {
            (2 | 3, Some(socket)) => {
                let answer = socket.ask(&frame.to_string()).await;
                assert!(answer.contains(r#""ok":true"#), "{answer}");
            }
            (publisher, Some(socket)) => {
                socket.send(&frame.to_string()).await;
                // It hears itself among the others.
                let read = [of_channels, of_notices][publisher as usize - 4];
                while read(&socket.json().await) != Some(n) {}
            }
            (6, None) => stage.send_message(key, "notices", &n.to_string()).await,
            (publisher, None) => {
                let route = ["/v5.0/acme/event", "/v0.1/acme/drop"][publisher as usize];
                let answer = stage
                    .request("POST", route, Some(&stage.alice), &event.to_string())
                    .await;
                assert_eq!(answer.status, 201, "{answer:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_protocol_hears_every_protocol_in_the_same_order_once() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let mut session = stage.socket(&stage.alice).await;
    session.subscribe(PATH).await;
    let mut drops = stage.socket(&stage.alice).await;
    drops
        .ask(&json!({"object": "drop", "type": "subscribe", "path": PATH}).to_string())
        .await;
    let mut channels = stage.channels(&stage.alice.token).await;
    channels.join("notices").await;
    let notices = notices(&stage).await;
    stage.until_metric("subscriptions", 4).await;
    let listening = async {
        tokio::join!(
            listen(session, of_session),
            listen(drops, of_session),
            listen(channels, of_channels),
            listen(notices, of_notices),
        )
    };
    let publishing = futures_util::future::join_all((0..PUBLISHERS).map(|publisher| publish(&stage, publisher)));
    let ((session, drops, channels, notices), _) = tokio::join!(listening, publishing);
    for (who, heard) in [("drops", drops), ("channels", channels), ("notices", notices)] {
        assert_eq!(heard, session, "{who} and a session");
    }
    let all: BTreeSet<u64> = session.iter().copied().collect();
    assert_eq!(all, (0..EACH * PUBLISHERS).collect(), "each once");
    stage.end().await;
}
