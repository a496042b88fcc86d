//! The server stops while clients are connected: each is given what waits for it, told goodbye,
//! and then the server ends, in its own time and whatever the clients do.

use crate::raw::{CLOSE, PING, RawSocket, TEXT, close_payload, upgrade_request};
use crate::stage::{Account, BY, DEADLINE, Stage};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet};

const REASON: &str = "server.stopping: the server is stopping, connect again";

/// The longest that a server with `--shutdown-timeout 1s` may take; less than the five seconds
/// that it gives to clients when there is no hurry.
const IN_TIME: Duration = Duration::from_secs(4);

async fn ended(task: JoinHandle<()>, within: Duration) {
    let ended = tokio::time::timeout(within, task).await;
    ended.expect("an end in time").expect("an end without panic");
}

/// Publishes `count` events of about `bytes` bytes in one request.
async fn publish(stage: &Stage, count: usize, bytes: usize) {
    let event = json!({"path": "/acme/door", "elems": {"x": "x".repeat(bytes)}});
    let body = Value::from(vec![event; count]).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// Asserts that the next frames are the events 1 to `count`.
async fn assert_events(socket: &mut RawSocket, count: usize) {
    for offset in 1..=count {
        let text = socket.text().await;
        assert!(
            text.contains(&format!(r#","offset":{offset},"#)),
            "{offset} was expected: {text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_is_told_goodbye_with_a_reason() {
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        let mut socket = stage.socket(&stage.alice).await;
        socket.subscribe("/acme/door").await;
        sockets.push(socket);
    }
    let stopping = stage.begin_stop();
    for socket in &mut sockets {
        assert_eq!(socket.closed().await, (1001, REASON.to_owned()));
        let after = futures_util::StreamExt::next(&mut socket.socket).await;
        assert!(after.is_none(), "{after:?}");
    }
    drop(sockets);
    ended(stopping, DEADLINE).await;
}

/// Whoever was answered that an event was published may count on those who read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_published_before_the_stop_comes_before_the_goodbye() {
    const SOCKETS: usize = 100;
    const EVENTS: usize = 500;
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    let session = stage.session(&stage.alice).await;
    let mut readers = JoinSet::new();
    for _ in 0..SOCKETS {
        let mut socket = RawSocket::connect(stage.address).await;
        socket.upgrade(&session).await;
        socket.subscribe("/acme/door").await;
        readers.spawn(async move {
            assert_events(&mut socket, EVENTS).await;
            assert_eq!(socket.closed().await, (1001, REASON.to_owned()));
        });
    }
    // So many that some still wait for their worker when the stop comes.
    for _ in 0..EVENTS / 10 {
        publish(&stage, 10, 10).await;
    }
    let stopping = stage.begin_stop();
    assert_eq!(readers.join_all().await.len(), SOCKETS);
    ended(stopping, DEADLINE).await;
}

/// A subscriber that has not read anything and has more waiting than the kernels take.
async fn full_reader(stage: &Stage, account: &Account) -> RawSocket {
    let mut slow = RawSocket::open_narrow(stage, account).await;
    slow.subscribe("/acme/door").await;
    while stage.metric("subscriptions_behind_total").await == 0 {
        publish(stage, 10, 1_000).await;
    }
    slow
}

const SMALL_OUTBOX: &[&str] = &["--max-outbox-bytes", "65536"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_slow_to_read_is_given_what_waits_and_then_told_goodbye() {
    let mut stage = Stage::with(SMALL_OUTBOX).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    let mut slow = full_reader(&stage, &stage.alice).await;
    let given = stage.metric("events_delivered_total").await;
    let stopping = stage.begin_stop();
    // Its socket may have taken some more since they were counted.
    let mut events = 0;
    let goodbye = loop {
        let frame = slow.next().await;
        if frame.first != TEXT {
            break frame;
        }
        events += 1;
        assert!(
            frame.text().contains(&format!(r#","offset":{events},"#)),
            "{events} was expected"
        );
    };
    assert!(events >= given, "{events} of {given}");
    assert_eq!(goodbye.first, CLOSE);
    assert_eq!(goodbye.payload, close_payload(1001, REASON));
    slow.assert_ended().await;
    drop(slow);
    ended(stopping, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_never_read_or_never_close_do_not_hold_up_the_end() {
    let flags = [SMALL_OUTBOX, &["--shutdown-timeout", "1s"]].concat();
    let mut stage = Stage::with(&flags).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    let never_reads = full_reader(&stage, &stage.alice).await;
    let mut never_closes = RawSocket::open(&stage, &stage.alice).await;
    let mut half_a_request = RawSocket::connect(stage.address).await;
    half_a_request.send(b"POST /session HTTP/1.1\r\nContent-Le").await;
    let stopping = stage.begin_stop();
    assert_eq!(never_closes.next().await.payload, close_payload(1001, REASON));
    ended(stopping, IN_TIME).await;
    drop((never_reads, never_closes, half_a_request));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_connected_the_server_ends_at_once() {
    // Were it to wait for anything, it would be for this long.
    let mut stage = Stage::with(&["--shutdown-timeout", "1h"]).await;
    drop(stage.socket(&stage.alice).await);
    stage.until_metric("connections", 0).await;
    ended(stage.begin_stop(), DEADLINE).await;
}

/// An HTTP request, on a connection of the test's own.
async fn ask(socket: &mut RawSocket, method: &str, path: &str, account: &Account, body: &str) -> (String, String) {
    let (token, length) = (&account.token, body.len());
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Auth-Company: acme\r\nX-Auth-User: alice\r\n\
         X-Auth-Token: {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    socket.send(request.as_bytes()).await;
    socket.answer().await
}

fn assert_stopping((head, body): &(String, String)) {
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(body.contains(r#""code":"server.stopping""#), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_takes_no_events_and_no_sockets() {
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    let event = r#"{"path":"/acme/door","elems":{}}"#;
    // Connections from before the stop; new ones are not accepted any more.
    let mut http = Vec::new();
    for _ in 0..3 {
        let mut socket = RawSocket::connect(stage.address).await;
        let (head, _) = ask(&mut socket, "POST", "/v5.0/acme/event", &stage.alice, event).await;
        assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
        http.push(socket);
    }
    let mut last = RawSocket::open(&stage, &stage.alice).await;
    let stopping = stage.begin_stop();
    // As long as this one does not answer the goodbye, the server stays.
    assert_eq!(last.next().await.first, CLOSE);
    let answer = ask(&mut http[0], "POST", "/v5.0/acme/event", &stage.alice, event).await;
    assert_stopping(&answer);
    let answer = ask(&mut http[1], "GET", "/health/ready", &stage.alice, "").await;
    assert_stopping(&answer);
    http[2].send(upgrade_request(&session).as_bytes()).await;
    assert_stopping(&http[2].answer().await);
    drop((last, http));
    ended(stopping, DEADLINE).await;
}

/// A goodbye is the last thing: not even a ping comes after it (RFC 6455 §5.5.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_after_a_goodbye() {
    let flags = [SMALL_OUTBOX, &["--ping-interval", "100ms", "--dead-after", "1h"]].concat();
    let stage = Stage::with(&flags).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    let token = stage.add_token(&[("/acme/door", "read")], None).await;
    let mut slow = full_reader(&stage, &token).await;
    let mut quick = RawSocket::open(&stage, &token).await;
    let mut clock = RawSocket::open(&stage, &stage.alice).await;
    stage.catalogue.revoke_token(token.key, &BY).await.expect("revoked");
    while quick.next().await.first == PING {}
    // Now the slow one's goodbye waits behind its events, and it is silent for some pings more.
    for _ in 0..5 {
        assert_eq!(clock.next().await.first, PING);
    }
    while slow.next().await.first != CLOSE {}
    slow.assert_ended().await;
    drop((slow, quick, clock));
    stage.end().await;
}
