//! Who hears what, across protocols: channels are streams, and streams are channels.

use crate::raw::{RawSocket, TEXT, frame};
use crate::reading::publish_padded;
use crate::stage::Stage;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_once_and_in_order_wherever_it_was_said() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let door = stage.add_stream(&stage.alice, "/acme/a/door", 1_000).await;
    let key = stage.alice.token.clone();
    let mut client = stage.channels(&key).await;
    client.join("a.door").await;
    let mut listener = stage.channels(&key).await;
    listener.join("a.door").await;
    let mut session = stage.socket(&stage.alice).await;
    session.subscribe("/acme/a/door").await;
    for n in 0..40 {
        match n % 4 {
            0 => {
                let elems = format!(r#"{{"n":{n}}}"#);
                stage.publish(&stage.alice, "/acme/a/door", &elems).await;
            }
            1 => stage.send_message(&key, "a.door", &n.to_string()).await,
            2 => {
                let create = format!(r#"{{"type":"create","streamId":"{door}","value":{{"elems":{{"n":{n}}}}}}}"#);
                session.send(&create).await;
            }
            _ => {
                let message = json!({"event": "a.door", "data": {"raw": n.to_string()}});
                client.send(&message.to_string()).await;
            }
        }
        // One at a time, so that there is an order to be kept.
        let raw = match n % 2 {
            0 => format!(r#"{{"n":{n}}}"#),
            _ => n.to_string(),
        };
        for socket in [&mut client, &mut listener] {
            assert_eq!(socket.message().await, ("a.door".to_owned(), raw.clone()));
        }
        let event = loop {
            let frame = session.json().await;
            if frame["type"] == "message" {
                break frame;
            }
            assert_eq!(frame["head"]["ok"], true, "{frame}");
        };
        let elems = if n % 2 == 0 {
            json!({"n": n})
        } else {
            json!({"raw": n.to_string()})
        };
        assert_eq!((&event["offset"], &event["value"]["elems"]), (&json!(n + 1), &elems));
    }
    for socket in [&mut client, &mut listener] {
        socket.assert_silent().await;
    }
    drop((client, listener, session));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_somebody_declares_goes_on_for_those_who_are_there() {
    let stage = Stage::start().await;
    stage.settle(json!({"allowClientSend": true})).await;
    let key = stage.alice.token.clone();
    let mut client = stage.channels(&key).await;
    client.join("bell").await;
    stage.send_message(&key, "bell", "before").await;
    assert_eq!(client.message().await.1, "before");
    stage.add_stream(&stage.alice, "/acme/bell", 10).await;
    stage.send_message(&key, "bell", "after").await;
    assert_eq!(client.message().await.1, "after");
    client.send(r#"{"event":"bell","data":{"raw":"own"}}"#).await;
    assert_eq!(client.message().await.1, "own");
    client
        .send(r#"{"event":"subscription-remove","data":{"channel":"bell"}}"#)
        .await;
    client.assert_silent().await;
    stage.until_metric("subscriptions", 0).await;
    let kept = stage.get("/v5.0/acme/event?path=/acme/bell&only=elems&order=asc").await;
    assert_eq!(kept, json!([{"elems": {"raw": "after"}}, {"elems": {"raw": "own"}}]));
    drop(client);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_companys_channels_are_not_anothers() {
    let stage = Stage::start().await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let mut ours = stage.channels(&stage.alice.token).await;
    let mut theirs = stage.channels(&albert.token).await;
    ours.join("a").await;
    theirs.join("a").await;
    stage.send_message(&albert.token, "a", "theirs").await;
    assert_eq!(theirs.message().await.1, "theirs");
    stage.send_message(&stage.alice.token, "a", "ours").await;
    assert_eq!(ours.message().await.1, "ours");
    ours.assert_silent().await;
    theirs.assert_silent().await;
    drop((ours, theirs));
    stage.end().await;
}

/// Events that are published while the reader does not read: about 2 MB.
const EVENTS: u64 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_in_time_is_told_how_much_is_missing_and_where() {
    let stage = Stage::with(&["--max-outbox-bytes", "65536"]).await;
    stage.add_stream(&stage.alice, "/acme/a/door", 0).await;
    let token = stage.connection_token(&stage.alice.token).await;
    let mut slow = RawSocket::connect_narrow(stage.address).await;
    slow.open_at(&format!("/api/v1/ws/{token}/")).await;
    let join = frame(TEXT, br#"{"event":"subscription-add","data":{"channel":"a.door"}}"#);
    slow.send(&[join, frame(TEXT, br#"{"event":"ping"}"#)].concat()).await;
    assert_eq!(slow.text().await, r#"{"event":"pong"}"#);
    publish_padded(&stage, "/acme/a/door", 1..=EVENTS, 400).await;
    let is_behind = || async { stage.metric("subscriptions_behind_total").await >= 1 };
    stage.until("it has fallen behind", is_behind).await;
    let (mut read, mut told) = (0, 0);
    while read + told < EVENTS {
        let said: Value = slow.text().await.parse().expect("JSON");
        if said["event"] == "a.door" {
            read += 1;
            continue;
        }
        assert_eq!(
            (&said["event"], &said["data"]["where"]),
            (&json!("error"), &json!("a.door"))
        );
        let detail = said["data"]["detail"].as_str().expect("a detail");
        let count = detail.split_once(' ').expect("a number").0;
        told += count.parse::<u64>().expect("a number");
        assert!(detail.ends_with(" not delivered"), "{detail}");
        assert!(!detail.contains("cannot subscribe"), "{detail}");
    }
    assert_eq!(read + told, EVENTS);
    assert!(told > EVENTS / 4, "{told} of {EVENTS}");
    // And then it goes on.
    slow.send(&frame(TEXT, br#"{"event":"ping"}"#)).await;
    assert_eq!(slow.text().await, r#"{"event":"pong"}"#);
    drop(slow);
    stage.end().await;
}
