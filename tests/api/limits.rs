//! Every limit of the server, hit: set small, then reached (which is fine) and passed.
//!
//! Whatever has a refusal is told with its stable code, counted under it, and leaves the server as
//! it was; what has none (mailbox, memory) is told to subscribers as a gap or made good from the log.
//! How an outbox fills is the story of `slow_readers`; sizes of frames also that of `frames`.

use crate::raw::{RawSocket, upgrade_request};
use crate::stage::{Account, Answer, Socket, Stage};
use serde_json::{Value, json};

/// Asserts a refusal, and that it is the `times`-th with this code.
async fn assert_refused(stage: &Stage, answer: &Answer, status: u16, code: &str, times: u64) {
    assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
    let text = answer.json()["head"]["errors"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    assert!(text.len() > 10, "{answer:?}");
    assert_counted(stage, code, times).await;
}

async fn assert_counted(stage: &Stage, code: &str, times: u64) {
    let name = format!(r#"refusals_total{{code="{code}"}}"#);
    assert_eq!(stage.metric(&name).await, times, "{name}");
}

/// Publishes `count` events `{"n":1}`, `{"n":2}`, … in one request.
async fn publish_batch(stage: &Stage, path: &str, count: u64) -> Answer {
    let event = |n| json!({"path": path, "elems": {"n": n}});
    let events: Vec<Value> = (1..=count).map(event).collect();
    let body = Value::from(events).to_string();
    stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
        .await
}

/// Asserts that the next messages are the events at these offsets.
async fn assert_events(socket: &mut Socket, offsets: std::ops::RangeInclusive<u64>) {
    for offset in offsets {
        let event = socket.json().await;
        assert_eq!((&event["type"], &event["offset"]), (&json!("message"), &json!(offset)));
        assert_eq!(event["value"]["elems"], json!({"n": offset}));
    }
}

async fn assert_gap(socket: &mut Socket, from: u64, to: u64, reason: &str) {
    let gap = socket.json().await;
    assert_eq!(gap["type"], "gap", "{gap}");
    let body = &gap["body"];
    let got = json!([body["from"], body["to"], body["count"], body["reason"]]);
    assert_eq!(got, json!([from, to, to - from + 1, reason]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_may_be_as_long_as_the_limit_and_no_longer() {
    let stage = Stage::with(&["--max-body-bytes", "1000"]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let body = |length: usize| {
        let rest = r#"{"path":"/acme/door","elems":{"x":""}}"#.len();
        format!(
            r#"{{"path":"/acme/door","elems":{{"x":"{}"}}}}"#,
            "x".repeat(length - rest)
        )
    };
    let publish = |body: String| async {
        let body = body;
        stage
            .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
            .await
    };
    assert_eq!(publish(body(1_000)).await.status, 201);
    assert_refused(&stage, &publish(body(1_001)).await, 413, "limit.body", 1).await;
    assert_eq!(stage.metric("events_published_total").await, 1);
    let opening = format!(r#"{{"ttl":60}}{}"#, " ".repeat(1_000));
    let answer = stage.open_session(&stage.alice, &opening).await;
    assert_refused(&stage, &answer, 413, "limit.body", 2).await;
    let stream = format!(r#"{{"path":"/acme/other","description":"{}"}}"#, "x".repeat(1_000));
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), &stream)
        .await;
    assert_refused(&stage, &answer, 413, "limit.body", 3).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_tell_its_length_is_limited_as_well() {
    let stage = Stage::with(&["--max-body-bytes", "1000"]).await;
    let mut socket = RawSocket::connect(stage.address).await;
    let (token, chunk) = (&stage.alice.token, "x".repeat(600));
    let head = format!(
        "POST /session HTTP/1.1\r\nHost: localhost\r\nX-Auth-Company: acme\r\nX-Auth-User: alice\r\n\
         X-Auth-Token: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    // The last chunk never comes: the answer does not wait for it.
    socket
        .send(format!("{head}258\r\n{chunk}\r\n258\r\n{chunk}\r\n").as_bytes())
        .await;
    let (head, body) = socket.answer().await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(body.contains(r#""code":"limit.body""#), "{body}");
    assert_counted(&stage, "limit.body", 1).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_may_be_as_long_as_the_limit_and_no_longer() {
    let stage = Stage::with(&["--max-frame-bytes", "500"]).await;
    let mut socket = stage.socket(&stage.alice).await;
    let request = r#"{"msgId":1,"object":"event","type":"unsubscribe","path":"/acme/door"}"#;
    let padding = " ".repeat(500 - request.len());
    let ack = socket.ask(&format!("{request}{padding}")).await;
    assert!(ack.starts_with(r#"{"head":{"msgId":1,"ok":true"#), "{ack}");
    socket.send(&format!("{request}{padding} ")).await;
    let (code, reason) = socket.closed().await;
    assert_eq!(
        (code, reason.as_str()),
        (1009, "frame.size: a message has at most 500 bytes")
    );
    assert_counted(&stage, "frame.size", 1).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_may_have_as_many_events_as_the_limit_and_no_more() {
    let stage = Stage::with(&["--max-batch-events", "3"]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    let answer = publish_batch(&stage, "/acme/door", 4).await;
    assert_refused(&stage, &answer, 413, "limit.batch", 1).await;
    assert_eq!(publish_batch(&stage, "/acme/door", 3).await.status, 201);
    // Of the refused batch nothing was written: the first event is the accepted batch's first.
    assert_events(&mut socket, 1..=3).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_may_nest_as_deeply_as_the_limit_and_no_deeper() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"path":"/acme/door","elems":{{"x":{open}{close}}}}}"#)
    };
    // The second is deeper than the JSON library would go by itself.
    for depth in [4, 400] {
        let stage = Stage::with(&["--max-json-depth", &depth.to_string()]).await;
        stage.add_stream(&stage.alice, "/acme/door", 10).await;
        let publish = |body: String| async {
            let body = body;
            stage
                .request("POST", "/v5.0/acme/event", Some(&stage.alice), &body)
                .await
        };
        assert_eq!(publish(nested(depth)).await.status, 201);
        let answer = publish(nested(depth + 1)).await;
        assert_refused(&stage, &answer, 400, "limit.depth", 1).await;
        let bottomless = publish(nested(100_000)).await;
        assert_refused(&stage, &bottomless, 400, "limit.depth", 2).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_may_have_the_largest_capacity_and_no_more() {
    let stage = Stage::with(&["--max-capacity", "10"]).await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let body = r#"{"path":"/acme/other","capacity":11}"#;
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), body)
        .await;
    assert_refused(&stage, &answer, 400, "limit.capacity", 1).await;
    let address = format!("/v5.0/acme/stream/{id}");
    let answer = stage
        .request("PUT", &address, Some(&stage.alice), r#"{"capacity":11}"#)
        .await;
    assert_refused(&stage, &answer, 400, "limit.capacity", 2).await;
    let answer = stage.request("GET", &address, Some(&stage.alice), "").await;
    assert_eq!(answer.json()["body"]["capacity"], 10);
    stage.end().await;
}

/// A default that is refused would make the shortest request fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_capacity_can_be_made_whatever_the_limit() {
    let stage = Stage::with(&["--max-capacity", "10"]).await;
    let body = r#"{"path":"/acme/door"}"#;
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), body)
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["body"]["capacity"], 10);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_may_be_narrowed_by_as_many_patterns_as_the_limit() {
    let stage = Stage::with(&["--max-patterns", "2"]).await;
    let two = r#"{"paths":{"/acme/a":{"read":true},"/acme/b":{"read":true}}}"#;
    assert_eq!(stage.open_session(&stage.alice, two).await.status, 201);
    let three = r#"{"paths":{"/acme/a":{"read":true},"/acme/b":{"read":true},"/acme/c":{"read":true}}}"#;
    let answer = stage.open_session(&stage.alice, three).await;
    assert_refused(&stage, &answer, 400, "limit.patterns", 1).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_may_have_as_many_subscriptions_as_the_limit() {
    let stage = Stage::with(&["--max-subscriptions", "2"]).await;
    for path in ["/acme/a", "/acme/b", "/acme/c"] {
        stage.add_stream(&stage.alice, path, 10).await;
    }
    let mut socket = stage.socket(&stage.alice).await;
    // The same one twice is one.
    for path in ["/acme/a", "/acme/a", "/acme/b", "/acme/b"] {
        socket.subscribe(path).await;
    }
    let request = r#"{"msgId":9,"object":"event","type":"subscribe","path":"/acme/c"}"#;
    let refused = r#"{"head":{"msgId":9,"ok":false,"status":429,"errors":["a connection has at most 2 subscriptions"],"messages":[],"code":"limit.subscriptions"},"body":{}}"#;
    assert_eq!(socket.ask(request).await, refused);
    assert_counted(&stage, "limit.subscriptions", 1).await;
    assert_eq!(stage.metric("subscriptions").await, 2);
    // Another socket of the same session has its own, and giving one back makes room.
    let unsubscribe = r#"{"msgId":8,"object":"event","type":"unsubscribe","path":"/acme/a"}"#;
    assert!(socket.ask(unsubscribe).await.contains(r#""ok":true"#));
    socket.subscribe("/acme/c").await;
    let mut another = stage.socket(&stage.alice).await;
    another.subscribe("/acme/a").await;
    drop((socket, another));
    stage.end().await;
}

/// Asserts that one more socket is refused, in plain HTTP.
async fn assert_no_seat(stage: &Stage, account: &Account, code: &str, times: u64) {
    let session = stage.session(account).await;
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(upgrade_request(&session).as_bytes()).await;
    let (head, body) = socket.answer().await;
    assert!(head.starts_with("HTTP/1.1 429 "), "{head}");
    assert!(body.contains(&format!(r#""code":"{code}""#)), "{body}");
    assert_counted(stage, code, times).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_sockets_as_the_limit_may_be_open_at_once() {
    let stage = Stage::with(&["--max-connections", "2"]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let first = stage.socket(&stage.alice).await;
    let second = stage.socket(&albert).await;
    assert_no_seat(&stage, &stage.alice, "limit.connections", 1).await;
    assert_no_seat(&stage, &albert, "limit.connections", 2).await;
    assert_eq!(stage.metric("connections").await, 2);
    drop(first);
    stage.until_metric("connections", 1).await;
    let third = stage.socket(&albert).await;
    drop((second, third));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_may_have_as_many_sockets_as_the_limit_and_takes_none_from_others() {
    let stage = Stage::with(&["--max-company-connections", "1"]).await;
    stage.add_company("umbrella").await;
    let albert = stage.add_user("umbrella", "albert").await;
    let first = stage.socket(&stage.alice).await;
    assert_no_seat(&stage, &stage.alice, "limit.connections", 1).await;
    let others = stage.socket(&albert).await;
    drop(first);
    stage.until_metric("connections", 1).await;
    let second = stage.socket(&stage.alice).await;
    drop((others, second));
    stage.end().await;
}

/// RFC 6585 §4 suggests it, and clients of ours need not guess.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_that_passes_says_when_to_try_again() {
    let stage = Stage::with(&["--max-connections", "1", "--max-sessions", "2"]).await;
    let first = stage.socket(&stage.alice).await;
    let session = stage.session(&stage.alice).await;
    assert_eq!(stage.open_session(&stage.alice, r#"{"ttl":60}"#).await.status, 201);
    let answer = stage.open_session(&stage.alice, r#"{"ttl":60}"#).await;
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    let mut socket = RawSocket::connect(stage.address).await;
    socket.send(upgrade_request(&session).as_bytes()).await;
    let (head, _) = socket.answer().await;
    assert!(head.to_ascii_lowercase().contains("\r\nretry-after: "), "{head}");
    drop((first, socket));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_sessions_as_the_limit_are_remembered() {
    let stage = Stage::with(&["--max-sessions", "2"]).await;
    let with_ttl = r#"{"ttl":1}"#;
    assert_eq!(stage.open_session(&stage.alice, with_ttl).await.status, 201);
    let socket = stage.socket(&stage.alice).await;
    assert_eq!(stage.metric("sessions").await, 2);
    let answer = stage.open_session(&stage.alice, with_ttl).await;
    assert_refused(&stage, &answer, 429, "limit.sessions", 1).await;
    // A plain session is only remembered once something connects, so that is where it is told.
    assert_no_seat(&stage, &stage.alice, "limit.sessions", 2).await;
    assert_eq!(stage.metric("connections").await, 1);
    // The first one lapses, and there is room again.
    stage.until_metric("sessions", 1).await;
    let another = stage.socket(&stage.alice).await;
    drop((socket, another));
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_a_mailbox_comes_from_the_log() {
    let stage = Stage::with(&["--max-mailbox-events", "10"]).await;
    stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe("/acme/door").await;
    // A batch goes into the mailbox whole or not at all.
    assert_eq!(publish_batch(&stage, "/acme/door", 25).await.status, 201);
    assert_events(&mut socket, 1..=25).await;
    assert_eq!(stage.metric("mailbox_overflows_total").await, 1);
    stage.publish(&stage.alice, "/acme/door", r#"{"n":26}"#).await;
    assert_events(&mut socket, 26..=26).await;
    assert_eq!(stage.metric("events_missed_total").await, 0);
    stage.until_metric("events_delivered_total", 26).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_room_in_a_mailbox_and_was_not_kept_is_told_as_a_gap() {
    let stage = Stage::with(&["--max-mailbox-events", "10"]).await;
    stage.add_stream(&stage.alice, "/acme/some", 5).await;
    stage.add_stream(&stage.alice, "/acme/none", 0).await;
    let mut some = stage.socket(&stage.alice).await;
    some.subscribe("/acme/some").await;
    let mut none = stage.socket(&stage.alice).await;
    none.subscribe("/acme/none").await;
    assert_eq!(publish_batch(&stage, "/acme/some", 25).await.status, 201);
    assert_gap(&mut some, 1, 20, "retention").await;
    assert_events(&mut some, 21..=25).await;
    assert_eq!(publish_batch(&stage, "/acme/none", 25).await.status, 201);
    assert_gap(&mut none, 1, 25, "slow").await;
    stage.publish(&stage.alice, "/acme/none", r#"{"n":26}"#).await;
    assert_events(&mut none, 26..=26).await;
    stage.until_metric("events_missed_total", 45).await;
    drop((some, none));
    stage.end().await;
}

/// Memory is a cache in front of the disk: what it has no room for is read from there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_keeps_as_many_bytes_in_memory_as_the_limit_and_the_rest_on_the_disk() {
    // The second has room for nothing at all.
    for most in [20_000, 1] {
        let flags = ["--max-mailbox-events", "10", "--max-log-bytes", &most.to_string()];
        let stage = Stage::with(&flags).await;
        stage.add_stream(&stage.alice, "/acme/door", 1_000).await;
        let mut socket = stage.socket(&stage.alice).await;
        socket.subscribe("/acme/door").await;
        assert_eq!(publish_batch(&stage, "/acme/door", 300).await.status, 201);
        assert_events(&mut socket, 1..=300).await;
        // What is not yet moved to its place on the disk may be more than that for a moment.
        let within = || async { stage.metric("log_bytes").await <= most };
        stage.until("what is in memory is within the limit", within).await;
        let kept = stage.metric("log_events").await;
        assert!(kept < 300, "{kept} events are in memory");
        assert_eq!(kept == 0, most == 1, "{kept} events are in memory");
        assert_eq!(stage.metric("events_missed_total").await, 0);
        drop(socket);
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_may_have_128_characters_and_no_more() {
    let stage = Stage::start().await;
    let longest = format!("/acme/{}", "x".repeat(122));
    let too_long = format!("{longest}x");
    stage.add_stream(&stage.alice, &longest, 10).await;
    let mut socket = stage.socket(&stage.alice).await;
    socket.subscribe(&longest).await;
    stage.publish(&stage.alice, &longest, r#"{"n":1}"#).await;
    assert_events(&mut socket, 1..=1).await;
    let stream = json!({"path": too_long}).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), &stream)
        .await;
    assert_refused(&stage, &answer, 400, "path.malformed", 1).await;
    let event = json!({"path": too_long, "elems": {}}).to_string();
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), &event)
        .await;
    assert_refused(&stage, &answer, 400, "path.malformed", 2).await;
    let request = json!({"msgId": 1, "object": "event", "type": "subscribe", "path": too_long});
    let ack = socket.ask(&request.to_string()).await;
    assert!(
        ack.contains(r#""status":400"#) && ack.contains(r#""code":"path.malformed""#),
        "{ack}"
    );
    assert_counted(&stage, "path.malformed", 3).await;
    drop(socket);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_have_a_longest_length() {
    let stage = Stage::with(&["--max-text-bytes", "10"]).await;
    let id = stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let stream = format!("/v5.0/acme/stream/{id}");
    let requests = [
        (
            "POST",
            "/v5.0/acme/stream",
            r#"{"path":"/acme/x","description":"01234567890"}"#,
        ),
        ("PUT", &stream, r#"{"description":"01234567890"}"#),
        (
            "POST",
            "/v5.0/acme/event",
            r#"{"path":"/acme/door","elems":{},"hash":"01234567890"}"#,
        ),
    ];
    for (times, (method, path, body)) in (1..).zip(requests) {
        let answer = stage.request(method, path, Some(&stage.alice), body).await;
        assert_refused(&stage, &answer, 400, "limit.text", times).await;
        let shorter = body.replace("01234567890", "0123456789");
        let answer = stage.request(method, path, Some(&stage.alice), &shorter).await;
        assert!(answer.status < 300, "{answer:?}");
    }
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_company_may_have_so_many_streams_and_no_more() {
    let stage = Stage::with(&["--max-streams", "2"]).await;
    stage.add_stream(&stage.alice, "/acme/1", 0).await;
    let second = stage.add_stream(&stage.alice, "/acme/2", 0).await;
    let third = r#"{"path":"/acme/3"}"#;
    let answer = stage
        .request("POST", "/v5.0/acme/stream", Some(&stage.alice), third)
        .await;
    assert_refused(&stage, &answer, 429, "limit.streams", 1).await;
    // Others have their own count, and what is deleted makes room.
    stage.add_company("umbrella").await;
    let stranger = stage.add_user("umbrella", "albert").await;
    stage.add_stream(&stranger, "/umbrella/1", 0).await;
    let address = format!("/v5.0/acme/stream/{second}");
    stage.request("DELETE", &address, Some(&stage.alice), "").await;
    stage.add_stream(&stage.alice, "/acme/3", 0).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_token_cannot_take_the_sessions_of_all() {
    let stage = Stage::with(&["--max-token-sessions", "2", "--session-ttl", "1s"]).await;
    let greedy = stage.add_token(&[("/acme/**", "read")], None).await;
    let mut sockets = vec![stage.socket(&greedy).await, stage.socket(&greedy).await];
    let third = stage.session(&greedy).await;
    let refused = stage.try_connect(&third, &[]).await.map(|_| ()).expect_err("no room");
    assert_eq!(refused.0, 429, "{refused:?}");
    assert!(refused.1.contains(r#""code":"limit.sessions""#), "{refused:?}");
    sockets.push(stage.socket(&stage.alice).await);
    drop(sockets);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_this_version_cannot_read_is_refused_by_name() {
    let stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 0).await;
    let user = stage.alice.user.clone().unwrap_or_default();
    let headers = [
        ("X-Auth-User", user.as_str()),
        ("X-Auth-Token", stage.alice.token.as_str()),
        ("Content-Encoding", "br"),
    ];
    let answer = stage
        .request_with("POST", "/v5.0/acme/event", &headers, "compressed")
        .await;
    assert_refused(&stage, &answer, 415, "body.encoding", 1).await;
    let answer = stage
        .request("POST", "/v5.0/acme/event", Some(&stage.alice), "[]")
        .await;
    assert_refused(&stage, &answer, 400, "event.malformed", 1).await;
    stage.end().await;
}
