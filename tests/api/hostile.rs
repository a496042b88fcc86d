//! Clients that mean harm, or are as broken as if they did.
//!
//! Whatever they do, they are refused or ended, others are served meanwhile, and nothing of them
//! stays; [`Stage::end`] asserts the latter, and that none of it was taken for a fault of ours.

use crate::raw::{CLOSE, PONG, RawSocket, TEXT, frame, subscribe_frame, upgrade_request};
use crate::stage::Stage;
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

/// Asserts that others are served.
async fn assert_serves(stage: &Stage) {
    let mut socket = stage.socket(&stage.alice).await;
    socket.assert_quiet().await;
    drop(socket);
}

/// A request with this `msgId`, as a frame.
fn request(msg_id: u32) -> Vec<u8> {
    let text = format!(r#"{{"msgId":{msg_id},"object":"event","type":"unsubscribe","path":"/acme/door"}}"#);
    frame(TEXT, text.as_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_finishes_a_request_is_ended_and_holds_up_nobody() {
    let stage = Stage::start().await;
    let starts = [
        "",
        "G",
        "GET /health/live HTTP/1.1\r\n",
        "POST /session HTTP/1.1\r\nHost: localhost\r\nX-Auth-Tok",
    ];
    let mut sockets = Vec::new();
    for start in starts.repeat(25) {
        let mut socket = RawSocket::connect(stage.address).await;
        socket.send(start.as_bytes()).await;
        sockets.push(socket);
    }
    assert_serves(&stage).await;
    for mut socket in sockets {
        let answer = socket.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_closed_halfway_is_freed() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut socket = RawSocket::open(&stage, &stage.alice).await;
        socket.subscribe("/acme/door").await;
        socket.stream.shutdown().await.expect("a connection");
        sockets.push(socket);
    }
    // All of them would still read.
    stage.until_metric("connections", 0).await;
    stage.until_metric("subscriptions", 0).await;
    for socket in &mut sockets {
        while socket.next_or_end().await.is_some() {}
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_is_reset_is_freed_whenever_it_happens() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    for _ in 0..50 {
        let mut before_the_answer = RawSocket::connect(stage.address).await;
        before_the_answer.send(upgrade_request(&session).as_bytes()).await;
        before_the_answer.reset();
        let mut after_the_answer = RawSocket::connect(stage.address).await;
        after_the_answer.upgrade(&session).await;
        after_the_answer.reset();
        let mut after_subscribing = RawSocket::connect(stage.address).await;
        after_subscribing.upgrade(&session).await;
        after_subscribing.subscribe("/acme/door").await;
        after_subscribing.send(&request(1)).await;
        after_subscribing.reset();
        stage.publish(&stage.alice, "/acme/door", "{}").await;
    }
    assert!(stage.metric("connections_opened_total").await >= 100);
    assert_serves(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_and_never_reads_the_answers_is_no_longer_listened_to() {
    // Far more than both kernels and the outbox hold.
    const MOST: usize = 20_000_000;
    let stage = Stage::with(&["--max-outbox-bytes", "65536"]).await;
    let mut socket = RawSocket::open_narrow(&stage, &stage.alice).await;
    let (mut sent, mut unsent, mut asked) = (0, Vec::new(), 0);
    while sent < MOST {
        if unsent.is_empty() {
            unsent = request(asked);
            asked += 1;
        }
        match socket.stream.try_write(&unsent) {
            Ok(count) => {
                sent += count;
                unsent.drain(..count);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let writable = socket.stream.writable();
                if tokio::time::timeout(Duration::from_millis(500), writable)
                    .await
                    .is_err()
                {
                    break;
                }
            }
            Err(error) => panic!("a connection that takes bytes or blocks: {error}"),
        }
    }
    assert!(sent < MOST, "the server reads on and on");
    assert_serves(&stage).await;
    // Once it reads, it is answered: everything, in order.
    for msg_id in 0..asked - 1 {
        let answer = socket.text().await;
        assert!(
            answer.starts_with(&format!(r#"{{"head":{{"msgId":{msg_id},"ok":true"#)),
            "{answer}"
        );
    }
    socket.send(&unsent).await;
    let answer = socket.text().await;
    assert!(
        answer.starts_with(&format!(r#"{{"head":{{"msgId":{}"#, asked - 1)),
        "{answer}"
    );
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_connections_that_come_and_go_leave_nothing_behind() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    let mut visitors = JoinSet::new();
    for visitor in 0..20 {
        let (address, session) = (stage.address, session.clone());
        visitors.spawn(async move {
            for visit in 0..50 {
                let mut socket = RawSocket::connect(address).await;
                socket.upgrade(&session).await;
                match (visitor + visit) % 4 {
                    0 => drop(socket),
                    1 => socket.reset(),
                    2 => {
                        socket.subscribe("/acme/door").await;
                        drop(socket);
                    }
                    _ => {
                        socket.subscribe("/acme/door").await;
                        socket.send_frame(CLOSE, &1000_u16.to_be_bytes()).await;
                        assert_eq!(socket.closed().await.0, 1000);
                    }
                }
            }
        });
    }
    assert_eq!(visitors.join_all().await.len(), 20);
    assert_eq!(stage.metric("connections_opened_total").await, 1_000);
    assert_eq!(
        stage.metric("sessions").await,
        1,
        "one session, however often it is used"
    );
    assert_serves(&stage).await;
    stage.end().await;
}

/// What is no HTTP is refused in HTTP, or not answered at all.
async fn assert_refused_as_garbage(stage: &Stage, name: &str, bytes: &[u8]) {
    let answer = answer_to_garbage(stage, bytes).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
        "{name}: {answer}"
    );
}

/// Sends bytes that are no HTTP and returns all that the server says to it until it hangs up.
async fn answer_to_garbage(stage: &Stage, bytes: &[u8]) -> String {
    let mut socket = RawSocket::connect(stage.address).await;
    // The server may hang up before all has been sent.
    let _ = socket.stream.write_all(bytes).await;
    let _ = socket.stream.shutdown().await;
    String::from_utf8_lossy(&socket.rest().await).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_http_are_refused() {
    let stage = Stage::start().await;
    let tls_hello = [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], &[0xa5; 506]].concat();
    let cases = [
        ("a TLS hello", tls_hello),
        ("words", b"hello, are you there?\r\n\r\n".to_vec()),
        ("zeros", vec![0; 1_000]),
        ("ones", vec![0xff; 200_000]),
        ("a frame without an upgrade", subscribe_frame("/acme/door")),
        ("another protocol", b"SSH-2.0-OpenSSH_9.7\r\n".to_vec()),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("no version", b"GET /health/live\r\n\r\n".to_vec()),
        (
            "a control character",
            b"GET /health/live HTTP/1.1\r\nHost: a\x01b\r\n\r\n".to_vec(),
        ),
        (
            "two lengths",
            b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec(),
        ),
        (
            "a length that is none",
            b"POST /session HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec(),
        ),
    ];
    for (name, bytes) in cases {
        assert_refused_as_garbage(&stage, name, &bytes).await;
    }
    assert_serves(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_without_end_are_refused() {
    let stage = Stage::start().await;
    let start = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n";
    let cases = [
        ("a long header", format!("{start}X: {}\r\n\r\n", "x".repeat(1_000_000))),
        ("many headers", format!("{start}{}\r\n", "X: y\r\n".repeat(5_000))),
        (
            "a long address",
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1_000_000)),
        ),
        ("headers without end", format!("{start}{}", "X: y\r\n".repeat(100_000))),
    ];
    for (name, bytes) in cases {
        assert_refused_as_garbage(&stage, name, bytes.as_bytes()).await;
    }
    assert_serves(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_leaves_nothing() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let token = &stage.alice.token;
    let head =
        format!("POST /v5.0/acme/event HTTP/1.1\r\nHost: localhost\r\nX-Auth-User: alice\r\nX-Auth-Token: {token}\r\n");
    for rest in [
        "Content-Length: 60\r\n\r\n{\"path\":\"/acme/door\",\"elems\":{}}",
        "Transfer-Encoding: chunked\r\n\r\n20\r\n{\"path\":\"/acme/door\",\"elems\":{}}\r\n",
    ] {
        answer_to_garbage(&stage, format!("{head}{rest}").as_bytes()).await;
    }
    assert_eq!(stage.metric("events_published_total").await, 0);
    assert_serves(&stage).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_made_to_break_parsers_gets_an_answer_and_the_socket_lives_on() {
    let stage = Stage::start().await;
    let mut socket = stage.socket(&stage.alice).await;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let cases = [
        deep("[", "]"),
        "[".repeat(60_000),
        format!(r#"{{"msgId":1,"type":{}}}"#, deep("[", "]")),
        format!(
            r#"{{"msgId":1,"type":"subscribe","path":{}}}"#,
            deep(r#"{"a":"#, "}").replace(":}", ":1}")
        ),
        format!(r#"{{"msgId":{},"type":"subscribe"}}"#, deep("[", "]")),
        format!(r#"{{"msgId":{},"type":"dance"}}"#, "9".repeat(60_000)),
        format!(r#"{{"msgId":"{}","type":"dance"}}"#, "x".repeat(60_000)),
        format!(r#"{{"msgId":1,"type":"{}"}}"#, "x".repeat(60_000)),
        r#"{"msgId":1,"msgId":2,"type":"subscribe"}"#.to_owned(),
        r#"{"msgId":"\ud800","type":"dance"}"#.to_owned(),
        "{\"msgId\":1,\"type\":\"subscribe\",\"path\":\"/acme/\\u0000\"}".to_owned(),
        "\u{feff}{}".to_owned(),
        String::new(),
    ];
    for case in cases {
        let answer = socket.ask(&case).await;
        let start: String = case.chars().take(60).collect();
        assert!(answer.contains(r#","ok":false,"status":"#), "{start}: {answer}");
        assert!(answer.contains(r#"],"messages":[],"code":""#), "{start}: {answer}");
    }
    socket.assert_quiet().await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_bytes_after_the_upgrade_end_the_connection_or_are_waited_for() {
    let stage = Stage::start().await;
    let session = stage.session(&stage.alice).await;
    // The same numbers in every run (Knuth's generator), so that a failure comes again.
    let mut state: u64 = 42;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    for _ in 0..100 {
        let mut socket = RawSocket::connect(stage.address).await;
        socket.upgrade(&session).await;
        let bytes: Vec<u8> = (0..300).map(|_| random()).collect();
        socket.send(&bytes).await;
        socket.stream.shutdown().await.expect("a connection");
        while let Some(frame) = socket.next_or_end().await {
            assert!([TEXT, PONG, CLOSE].contains(&frame.first), "{frame:?}");
        }
    }
    assert_serves(&stage).await;
    stage.end().await;
}
