//! Subscribing, as far as several sockets or several publishers take part in the story; what one
//! socket asks and gets is in `transcripts/session`.
//!
//! Whether nothing comes is never waited for: the next answer shows that nothing came before it.

use crate::stage::{Account, Socket, Stage};
use futures_util::StreamExt;
use std::sync::Arc;

const DOOR: &str = "/acme/door";

async fn stage_with_a_door() -> Stage {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, DOOR, 1_000).await;
    stage
}

/// The next event's offset and its `elems.n`.
async fn next_event(socket: &mut Socket) -> (u64, u64) {
    let event = socket.json().await;
    assert_eq!(event["type"], "message", "{event}");
    let number = event["value"]["elems"]["n"].as_u64().expect("a number");
    (event["offset"].as_u64().expect("an offset"), number)
}

fn number(n: u64) -> String {
    format!(r#"{{"n":{n}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_subscriber_gets_each_event_once_and_in_order() {
    let stage = stage_with_a_door().await;
    let mut sockets = Vec::new();
    for place in 0..8 {
        let mut socket = stage.socket(&stage.alice).await;
        // However often it is asked for.
        for _ in 0..=place % 3 {
            socket.subscribe(DOOR).await;
        }
        sockets.push(socket);
    }
    stage.until_metric("subscriptions", 8).await;
    for n in 1..=20 {
        stage.publish(&stage.alice, DOOR, &number(n)).await;
    }
    for socket in &mut sockets {
        for n in 1..=20 {
            assert_eq!(next_event(socket).await, (n, n));
        }
        socket.assert_quiet().await;
    }
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_many_publishers_arrive_in_the_order_of_their_offsets() {
    let stage = Arc::new(stage_with_a_door().await);
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe(DOOR).await;
    let publisher = |publisher: u64| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            for n in 0..50 {
                stage.publish(&stage.alice, DOOR, &number(publisher * 100 + n)).await;
            }
        })
    };
    let publishers: Vec<_> = (0..4).map(publisher).collect();
    let mut newest = [None; 4];
    for wanted in 1..=200 {
        let (offset, number) = next_event(&mut socket).await;
        assert_eq!(offset, wanted);
        // One publisher's events, each waited for, keep their order.
        let (publisher, n) = (number as usize / 100, number % 100);
        assert_eq!(newest[publisher].map_or(0, |newest| newest + 1), n);
        newest[publisher] = Some(n);
    }
    for publisher in publishers {
        publisher.await.expect("a publisher without panic");
    }
    socket.assert_quiet().await;
    drop(socket);
    let stage = Arc::into_inner(stage).expect("nobody else here");
    stage.end().await;
}

/// What the acknowledgement promises: nothing before it, everything after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn from_the_acknowledgement_on_nothing_is_missed() {
    let stage = Arc::new(stage_with_a_door().await);
    let publishing = Arc::clone(&stage);
    let publisher = tokio::spawn(async move {
        for n in 1..=150 {
            publishing.publish(&publishing.alice, DOOR, &number(n)).await;
        }
    });
    let mut late = Vec::new();
    for _ in 0..10 {
        let mut socket = stage.socket(&stage.alice).await;
        // Asserts that the acknowledgement is what comes first.
        socket.subscribe(DOOR).await;
        late.push(socket);
    }
    publisher.await.expect("a publisher without panic");
    stage.publish(&stage.alice, DOOR, &number(151)).await;
    for socket in &mut late {
        let (mut offset, mut n) = next_event(socket).await;
        while offset < 151 {
            assert_eq!(offset, n);
            let next = next_event(socket).await;
            assert_eq!(next.0, offset + 1);
            (offset, n) = next;
        }
        socket.assert_quiet().await;
    }
    drop(late);
    let stage = Arc::into_inner(stage).expect("nobody else here");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_published_after_the_acknowledgement_is_the_next_to_come() {
    let stage = stage_with_a_door().await;
    let mut socket = stage.socket(&stage.alice).await;
    for round in 1..=10 {
        stage.publish(&stage.alice, DOOR, &number(0)).await;
        socket.subscribe(DOOR).await;
        stage.publish(&stage.alice, DOOR, &number(round)).await;
        assert_eq!(next_event(&mut socket).await, (2 * round, round));
        let ack = socket
            .ask(r#"{"msgId":"u","object":"event","type":"unsubscribe","path":"/acme/door"}"#)
            .await;
        assert!(ack.starts_with(r#"{"head":{"msgId":"u","ok":true"#), "{ack}");
    }
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unsubscribed_socket_hears_nothing_while_others_go_on() {
    let stage = stage_with_a_door().await;
    let mut leaving = stage.socket(&stage.alice).await;
    let mut staying = stage.socket(&stage.alice).await;
    leaving.subscribe(DOOR).await;
    staying.subscribe(DOOR).await;
    let ack = leaving
        .ask(r#"{"msgId":"u","object":"event","type":"unsubscribe","path":"/acme/door"}"#)
        .await;
    assert!(ack.starts_with(r#"{"head":{"msgId":"u","ok":true"#), "{ack}");
    assert_eq!(stage.metric("subscriptions").await, 1);
    stage.publish(&stage.alice, DOOR, &number(1)).await;
    assert_eq!(next_event(&mut staying).await, (1, 1));
    leaving.assert_quiet().await;
    drop((leaving, staying));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_socket_leaves_no_subscription_behind() {
    let stage = stage_with_a_door().await;
    stage.add_stream(&stage.alice, "/acme/window", 0).await;
    let mut polite = stage.socket(&stage.alice).await;
    let mut gone = stage.socket(&stage.alice).await;
    for path in [DOOR, "/acme/window"] {
        polite.subscribe(path).await;
        gone.subscribe(path).await;
    }
    assert_eq!(stage.metric("subscriptions").await, 4);
    polite.socket.close(None).await.expect("a goodbye");
    while let Some(Ok(_)) = polite.socket.next().await {}
    drop(polite);
    stage.until_metric("subscriptions", 2).await;
    drop(gone);
    stage.until_metric("subscriptions", 0).await;
    stage.publish(&stage.alice, DOOR, &number(1)).await;
    stage.end().await;
}

/// Every socket of everybody who may, whoever published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_may_read_a_stream_gets_what_anybody_wrote() {
    let stage = stage_with_a_door().await;
    let bob = stage.add_user("acme", "bob").await;
    let reader = stage.add_token(&[("/acme/*", "read")], None).await;
    let writer = stage.add_token(&[(DOOR, "write")], None).await;
    let mut sockets = Vec::new();
    for account in [&stage.alice, &bob, &reader] {
        let mut socket = stage.socket(account).await;
        socket.subscribe(DOOR).await;
        sockets.push(socket);
    }
    let publishers: [&Account; 3] = [&stage.alice, &bob, &writer];
    for (publisher, n) in publishers.into_iter().zip(1..) {
        stage.publish(publisher, DOOR, &number(n)).await;
    }
    for socket in &mut sockets {
        for n in 1..=3 {
            assert_eq!(next_event(socket).await, (n, n));
        }
    }
    drop(sockets);
    stage.end().await;
}

/// Whoever names many must not believe that all of them were dealt with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsubscribing_from_many_at_once_is_refused_by_name_too() {
    let stage = stage_with_a_door().await;
    let mut socket = stage.socket(&stage.alice).await;
    for (name, value) in [("paths", r#"["/acme/door"]"#), ("streamIds", "[]")] {
        for beside in ["", r#","path":"/acme/door""#] {
            let request = format!(r#"{{"msgId":1,"object":"event","type":"unsubscribe","{name}":{value}{beside}}}"#);
            let ack = socket.ask(&request).await;
            assert!(
                ack.contains(&format!(r#"does not know \"{name}\" yet"#)),
                "{request}: {ack}"
            );
            assert!(ack.contains(r#""code":"request.unsupported""#), "{request}: {ack}");
        }
    }
    drop(socket);
    stage.end().await;
}
