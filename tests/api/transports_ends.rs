//! How a session's HTTP transports end, and what they cost while they last.

use crate::outflow::Outflow;
use crate::raw::RawSocket;
use crate::stage::{DEADLINE, Stage};
use crate::transports::{publish, publish_long, stage};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_told_to_every_reader() {
    let stage = stage(&[]).await;
    let reader = stage.add_token(&[("/acme/door", "read")], None).await;
    let [one, two, three] = [
        stage.session(&reader).await,
        stage.session(&reader).await,
        stage.session(&reader).await,
    ];
    let mut lines = Outflow::open(&stage, &one, "streaming").await;
    let mut events = Outflow::open(&stage, &two, "events?path=/acme/door").await;
    events.message().await.expect("a place");
    let waits = stage.poll(&three);
    let revoke = async {
        stage.until_metric("connections", 3).await;
        let path = format!("/v5.0/acme/token/{}", reader.key);
        assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    };
    let (came, ()) = tokio::join!(waits, revoke);
    let goaway = json!({
        "type": "goaway",
        "head": {
            "msgId": null, "ok": false, "status": 401, "errors": [came[0]["head"]["errors"][0]], "messages": [],
            "code": "token.revoked",
        },
        "body": {"reason": "token.revoked"},
    });
    assert_eq!((came.len(), &came[0]), (1, &goaway));
    assert_eq!(lines.line().await, goaway);
    assert_eq!(lines.any_line().await, None);
    let last = events.event().await;
    assert_eq!((&*last.event, last.json()), ("goaway", goaway));
    assert_eq!(events.message().await, None);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_says_goodbye_at_once() {
    let mut stage = Stage::start().await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let other = stage.session(&stage.alice).await;
    stage.follow(&other, "/acme/door").await;
    let mut lines = Outflow::open(&stage, &session, "streaming").await;
    publish(&stage, "/acme/door", 1).await;
    let stopping = stage.begin_stop();
    assert_eq!(lines.line().await["offset"], 1);
    assert_eq!(lines.line().await["body"]["reason"], "server.stopping");
    assert_eq!(lines.any_line().await, None);
    let ended = tokio::time::timeout(DEADLINE / 4, stopping).await;
    ended.expect("an end in time, whoever read nothing").expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_lapses_when_nobody_reads_it() {
    let stage = stage(&["--poll-time", "10ms"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    assert_eq!(stage.metric("connections").await, 1);
    let lines = Outflow::open(&stage, &session, "streaming").await;
    // Four times its time to live, told by another session's end.
    for _ in 0..4 {
        let other = stage.session(&stage.alice).await;
        stage.follow(&other, "/acme/door").await;
        stage.until_metric("connections", 1).await;
    }
    drop(lines);
    for metric in ["connections", "subscriptions", "sessions"] {
        stage.until_metric(metric, 0).await;
    }
    let answer = stage
        .request("GET", &format!("/session/{session}/polling"), None, "")
        .await;
    assert_eq!((answer.status, &*answer.code()), (401, "session.lapsed"));
    stage.end().await;
}

/// A reader that has sent its request, and nobody reads what comes.
pub async fn ask_raw(mut stream: TcpStream, session: &str, way: &str) -> TcpStream {
    let request = format!("GET /session/{session}/{way} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_costs_a_cursor_and_catches_up() {
    let stage = stage(&["--max-outbox-bytes", "65536"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let raw = RawSocket::connect_narrow(stage.address).await;
    let slow = ask_raw(raw.stream, &session, "streaming").await;
    let mut quick = Outflow::open(&stage, &session, "events?path=/acme/door").await;
    quick.message().await.expect("a place");
    for round in 0..50 {
        publish_long(&stage, 10).await;
        for place in 1..=10 {
            assert_eq!(quick.event().await.json()["offset"], round * 10 + place);
        }
    }
    assert!(stage.metric("subscriptions_behind_total").await > 0);
    let text = read_until(slow, r#""offset":500,"#).await;
    let lines = text.lines().filter(|line| line.starts_with('{'));
    let offsets = lines.map(|line| {
        let begin = line.find(r#""offset":"#).expect("an event") + 9;
        let number = line[begin..].split(',').next().expect("a number");
        number.parse::<u64>().expect("a number")
    });
    assert_eq!(offsets.collect::<Vec<_>>(), (1..=500).collect::<Vec<_>>());
    drop(quick);
    stage.end().await;
}

/// What comes until a text, without the lines that frame HTTP's chunks.
async fn read_until(mut stream: TcpStream, last: &str) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4_096)..]).contains(last) {
            assert!(stream.read_buf(&mut bytes).await.expect("more") > 0, "the end");
        }
    };
    tokio::time::timeout(DEADLINE, read).await.expect("all of it in time");
    unchunked(&bytes)
}

/// The body of an answer that came in chunks, as far as it came.
pub fn unchunked(bytes: &[u8]) -> String {
    let head = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a head");
    let (mut rest, mut body) = (&bytes[head + 4..], Vec::new());
    while let Some(end) = rest.windows(2).position(|part| part == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).expect("a size");
        let size = usize::from_str_radix(size, 16)
            .expect("a size")
            .min(rest.len() - end - 2);
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + size + 4).min(rest.len())..];
    }
    String::from_utf8(body).expect("text")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_takes_nothing_counts_as_gone() {
    let quick = [
        "--ping-interval",
        "150ms",
        "--dead-after",
        "600ms",
        "--max-outbox-bytes",
        "65536",
    ];
    let stage = stage(&quick).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let [one, two] = [
        RawSocket::connect_narrow(stage.address).await,
        RawSocket::connect_narrow(stage.address).await,
    ];
    let dead = ask_raw(one.stream, &session, "streaming").await;
    let own = ask_raw(two.stream, &session, "events?path=/acme/door").await;
    stage.until_metric("connections", 2).await;
    // As much as all buffers on the way take, and more.
    for _ in 0..50 {
        publish_long(&stage, 10).await;
    }
    stage.until_metric("peers_dead_total", 2).await;
    // Their connections are cut, whatever they still hold.
    for mut stream in [dead, own] {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
        let is_cut = read.expect("an end in time").is_err() || !rest.ends_with(b"0\r\n\r\n");
        assert!(is_cut, "no end that could be taken for a whole answer");
    }
    stage.until_metric("connections", 0).await;
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_readers_went_the_next_one_gets() {
    let stage = stage(&["--poll-time", "20s"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    for way in ["polling", "streaming"] {
        let stream = TcpStream::connect(stage.address).await.expect("a connection");
        drop(ask_raw(stream, &session, way).await);
    }
    // Nobody reads then, so it comes to who does.
    publish(&stage, "/acme/door", 3).await;
    let mut came = stage.poll(&session).await;
    while came.len() < 3 {
        came.extend(stage.poll(&session).await);
    }
    assert_eq!(crate::outflow::offsets(&came), [1, 2, 3]);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_are_listed_and_closed_as_connections_are() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut lines = Outflow::open(&stage, &session, "streaming").await;
    let listed = stage.get("/v5.0/acme/connection").await["connections"].take();
    assert_eq!(
        (&listed[0]["protocol"], &listed[0]["subscriptions"]),
        (&"http".into(), &1.into()),
        "{listed}"
    );
    let path = format!("/v5.0/acme/connection/{}", listed[0]["id"].as_str().expect("an id"));
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    assert_eq!(lines.line().await["body"]["reason"], "connection.closed");
    assert_eq!(lines.any_line().await, None);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_that_nobody_was_there_for_is_said_to_who_reads_next() {
    let stage = stage(&["--poll-time", "10ms"]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let listed = stage.get("/v5.0/acme/connection").await["connections"].take();
    let path = format!("/v5.0/acme/connection/{}", listed[0]["id"].as_str().expect("an id"));
    assert_eq!(stage.request("DELETE", &path, Some(&stage.alice), "").await.status, 200);
    stage.until_metric("connections", 0).await;
    let came = stage.poll(&session).await;
    assert_eq!(
        (came.len(), &came[0]["body"]["reason"]),
        (1, &"connection.closed".into())
    );
    assert_eq!(stage.poll(&session).await, Vec::<serde_json::Value>::new(), "once");
    stage.end().await;
}

/// Whoever comes in the instant in which their session is dismissed is told all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_is_said_to_who_reads_then_or_next() {
    const ROUNDS: usize = 10;
    const POLLS: usize = 20;
    let stage = stage(&["--poll-time", "10ms"]).await;
    for round in 0..ROUNDS {
        let session = stage.session(&stage.alice).await;
        stage.follow(&session, "/acme/door").await;
        let listed = stage.get("/v5.0/acme/connection").await["connections"].take();
        let path = format!("/v5.0/acme/connection/{}", listed[0]["id"].as_str().expect("an id"));
        let (answer, mut came) = tokio::join!(
            stage.request("DELETE", &path, Some(&stage.alice), ""),
            stage.poll(&session)
        );
        assert_eq!(answer.status, 200);
        for _ in 0..POLLS {
            if came.is_empty() {
                came = stage.poll(&session).await;
            }
        }
        assert_eq!(came.len(), 1, "{round}: {came:?}");
        assert_eq!(came[0]["body"]["reason"], "connection.closed");
        // What reads for the session now lapses with it.
        stage.until_metric("connections", 0).await;
    }
    stage.end().await;
}
