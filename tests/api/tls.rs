//! The server behind TLS: what is said over it, who gets in, certificates that change meanwhile.

use crate::authority::{self, Authority, Bridge};
use crate::raw::{CLOSE, RawSocket, close_payload, upgrade_request};
use crate::stage::{DEADLINE, Stage};
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, HandshakeKind};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

type SecureSocket = WebSocketStream<TlsStream<TcpStream>>;

fn bridge(stage: &Stage) -> &Bridge {
    stage.secure.as_ref().expect("a stage behind TLS")
}

/// Shakes hands with the server itself.
async fn connect(stage: &Stage, config: ClientConfig) -> TlsStream<TcpStream> {
    let connected = authority::connect(config, bridge(stage).server()).await;
    connected.expect("a handshake")
}

/// Asks for a page and reads until the server ends the connection, which it must do in the words of TLS.
async fn get(mut stream: TlsStream<TcpStream>, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request that is taken");
    let mut answer = String::new();
    let read = tokio::time::timeout(DEADLINE, stream.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("an end in the words of TLS");
    answer
}

async fn open(stage: &Stage, stream: TlsStream<TcpStream>) -> SecureSocket {
    let session = stage.session(&stage.alice).await;
    let url = format!("wss://localhost/session/{session}/ws");
    let (socket, _) = tokio_tungstenite::client_async(url, stream).await.expect("an upgrade");
    socket
}

async fn next(socket: &mut SecureSocket) -> Option<Message> {
    let next = tokio::time::timeout(DEADLINE, socket.next()).await;
    next.expect("a frame in time")
        .map(|frame| frame.expect("a legal frame"))
}

async fn text(socket: &mut SecureSocket) -> String {
    match next(socket).await {
        Some(Message::Text(text)) => text.to_string(),
        other => panic!("a text message was expected, not {other:?}"),
    }
}

async fn subscribe(socket: &mut SecureSocket, path: &str) {
    let request = format!(r#"{{"msgId":1,"object":"event","type":"subscribe","path":"{path}"}}"#);
    socket
        .send(Message::text(request))
        .await
        .expect("a message that is taken");
    let ack = text(socket).await;
    assert!(ack.contains(r#""ok":true"#), "{ack}");
}

/// The subject of the certificate that a new connection is shown.
async fn subject(stage: &Stage) -> String {
    let stream = connect(stage, bridge(stage).authority.client()).await;
    let shown = stream.get_ref().1.peer_certificates().expect("certificates")[0].to_vec();
    String::from_utf8_lossy(&shown).into_owned()
}

async fn until_subject(stage: &Stage, name: &str) {
    let what = format!("new connections are shown {name}");
    stage
        .until(&what, || async { subject(stage).await.contains(name) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_over_both_versions_of_tls_until_the_goodbye() {
    let mut stage = Stage::secure(&[]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut sockets = Vec::new();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = connect(&stage, bridge(&stage).authority.client_of(&[version])).await;
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut socket = open(&stage, stream).await;
        subscribe(&mut socket, "/acme/door").await;
        sockets.push(socket);
    }
    stage.publish(&stage.alice, "/acme/door", r#"{"open":true}"#).await;
    for socket in &mut sockets {
        let event = text(socket).await;
        assert!(event.contains(r#""elems":{"open":true}"#), "{event}");
    }
    let stopping = stage.begin_stop();
    for mut socket in sockets {
        assert!(matches!(next(&mut socket).await, Some(Message::Close(Some(_)))));
        while next(&mut socket).await.is_some() {}
        let end = socket.into_inner().read(&mut [0; 1]).await;
        assert_eq!(end.expect("an end in the words of TLS"), 0);
    }
    tokio::time::timeout(DEADLINE, stopping)
        .await
        .expect("in time")
        .expect("an end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_1_is_what_is_spoken_and_a_second_handshake_is_shorter() {
    let stage = Stage::secure(&[]).await;
    let mut config = bridge(&stage).authority.client();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = connect(&stage, config.clone()).await;
        let session = stream.get_ref().1;
        assert_eq!(
            (session.alpn_protocol(), session.handshake_kind()),
            (Some(&b"http/1.1"[..]), Some(kind))
        );
        let answer = get(stream, "/health/live").await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    config.alpn_protocols = vec![b"h2".to_vec()];
    let refused = authority::connect(config, bridge(&stage).server()).await;
    assert!(refused.is_err(), "HTTP/2 is not spoken");
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_is_for_https_only_and_links_lead_there() {
    let stage = Stage::secure(&[]).await;
    let added = stage.request(
        "POST",
        "/v5.0/acme/user",
        Some(&stage.alice),
        r#"{"user":"bob","manages":false}"#,
    );
    let link = added.await.json()["body"]["link"].as_str().expect("a link").to_owned();
    let (place, code) = link.split_once("/#/welcome/").expect("a code");
    assert_eq!(place, format!("https://{}", bridge(&stage).server()));
    let body = json!({"code": code, "password": "correct horse"}).to_string();
    let answer = stage.request_with("POST", "/login/password", &[], &body).await;
    let cookie = answer
        .headers
        .get("set-cookie")
        .expect("a cookie")
        .to_str()
        .expect("text");
    assert!(cookie.contains("; Secure"), "{cookie}");
    stage.end().await;
}

/// Far more than the kernels and the bridge hold waits to be read; nothing of it is lost or swapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_gets_all_of_it_in_order() {
    const EVENTS: u64 = 4_000;
    let stage = Stage::secure(&["--max-outbox-bytes", "65536", "--max-frame-bytes", "65536"]).await;
    let stream = stage.add_stream(&stage.alice, "/acme/door", EVENTS).await;
    let mut slow = RawSocket::open_narrow(&stage, &stage.alice).await;
    slow.subscribe("/acme/door").await;
    let filler = "x".repeat(900);
    for part in 0..4 {
        let event = |n: u64| json!({"elems": {"n": part * 1_000 + n, "filler": filler}});
        let body = Value::from((0..1_000).map(event).collect::<Vec<_>>()).to_string();
        let address = format!("/v5.0/acme/event/{stream}");
        assert_eq!(
            stage.request("POST", &address, Some(&stage.alice), &body).await.status,
            201
        );
    }
    stage.until_behind().await;
    for n in 0..EVENTS {
        let event = slow.text().await;
        assert!(
            event.contains(&format!(r#""elems":{{"n":{n},"#)),
            "{n} was expected: {event}"
        );
    }
    slow.send_frame(CLOSE, &close_payload(1000, "")).await;
    assert_eq!(slow.closed().await.0, 1000);
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_sockets_stay() {
    let stage = Stage::secure(&[]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let stream = connect(&stage, bridge(&stage).authority.client()).await;
    let mut socket = open(&stage, stream).await;
    subscribe(&mut socket, "/acme/door").await;
    let before = stage.metric("tls_certificate_expires_seconds").await;
    assert!(before > 1_700_000_000, "{before}");
    bridge(&stage).authority.issue(stage.folder(), "the second");
    until_subject(&stage, "the second").await;
    stage.publish(&stage.alice, "/acme/door", r#"{"n":1}"#).await;
    assert!(text(&mut socket).await.contains(r#""elems":{"n":1}"#));
    // Half of a pair, and what is no pair at all: what was good goes on, and the next good one comes.
    std::fs::write(stage.folder().join("key.pem"), "no key").expect("a file");
    assert!(subject(&stage).await.contains("the second"));
    Authority::new().issue(stage.folder(), "a stranger's");
    bridge(&stage).authority.issue(stage.folder(), "the third");
    until_subject(&stage, "the third").await;
    stage.publish(&stage.alice, "/acme/door", r#"{"n":2}"#).await;
    assert!(text(&mut socket).await.contains(r#""elems":{"n":2}"#));
    drop(socket);
    stage.end().await;
}

/// More than the handshakes that two workers have under way: silent ones, and some that stop in the middle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_knocks_keeps_nobody_out() {
    const KNOCKING: usize = 4_500;
    rlimit::increase_nofile_limit(u64::MAX).expect("many open files");
    let stage = Stage::secure(&[]).await;
    let server = bridge(&stage).server();
    let mut knocking = Vec::new();
    for n in 0..KNOCKING {
        let mut stream = TcpStream::connect(server).await.expect("a connection");
        if n % 3 == 0 {
            stream
                .write_all(b"\x16\x03\x01\x02\x00\x01\x00")
                .await
                .expect("bytes that are taken");
        }
        knocking.push(stream);
    }
    let answer = get(connect(&stage, bridge(&stage).authority.client()).await, "/health/live").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    // All are sent away in the end.
    for mut stream in knocking {
        let read = tokio::time::timeout(DEADLINE, stream.read(&mut [0; 16])).await;
        assert!(!matches!(read.expect("an end in time"), Ok(1..)));
    }
    assert_eq!(stage.metric("tls_handshakes_failed_total").await, KNOCKING as u64);
    stage.end().await;
}

/// What the server says to bytes that are no handshake.
async fn answer_to(server: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = RawSocket::connect(server).await;
    socket.send(bytes).await;
    socket.rest().await.to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_is_told() {
    let stage = Stage::secure(&[]).await;
    let server = bridge(&stage).server();
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        upgrade_request("x"),
    ] {
        let answer = answer_to(server, request.as_bytes()).await;
        let answer = String::from_utf8(answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains(r#""code":"tls.wanted""#), "{answer}");
    }
    stage.until_metric(r#"refusals_total{code="tls.wanted"}"#, 2).await;
    // A fatal alert: the record's type, and its level.
    let alert = answer_to(server, b"\x00\x01 what is this?").await;
    assert_eq!((alert.first(), alert.get(5)), (Some(&21), Some(&2)), "{alert:?}");
    let hello = [&b"\x16\x03\x01\x40\x00\x01\x00\xff\xff\x03\x03"[..], &[0; 16_373]].concat();
    let alert = answer_to(server, &hello.repeat(2)).await;
    assert!(alert.is_empty() || alert[0] == 21, "{alert:?}");
    stage.end().await;
}

/// A message that is cut into records and pieces of records arrives whole, and new keys change nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_come_in_pieces_and_keys_change() {
    let stage = Stage::secure(&[]).await;
    stage.add_stream(&stage.alice, "/acme/door", 10).await;
    let mut stream = connect(&stage, bridge(&stage).authority.client_of(&[&rustls::version::TLS13])).await;
    let session = stage.session(&stage.alice).await;
    stream
        .write_all(upgrade_request(&session).as_bytes())
        .await
        .expect("bytes");
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, b"HTTP/1.1 101");
    let subscription = crate::raw::subscribe_frame("/acme/door");
    let (tcp, session) = stream.get_mut();
    for byte in subscription {
        std::io::Write::write_all(&mut session.writer(), &[byte]).expect("a byte that is taken");
        session.refresh_traffic_keys().expect("new keys");
        let mut records = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut records).expect("records");
        }
        for piece in records.chunks(7) {
            tcp.write_all(piece).await.expect("bytes");
        }
    }
    let mut shown = String::new();
    while !shown.contains(r#""msgId":"s","ok":true"#) {
        let mut piece = [0; 256];
        let count = tokio::time::timeout(DEADLINE, stream.read(&mut piece)).await;
        let count = count.expect("an acknowledgement in time").expect("a connection");
        assert!(count > 0, "the end instead of an acknowledgement: {shown}");
        shown.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    drop(stream);
    stage.end().await;
}

/// Who asks for new keys without end and sends nothing else comes to an end; the others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_nothing_but_change_keys_is_sent_away() {
    let stage = Stage::secure(&[]).await;
    let mut stream = connect(&stage, bridge(&stage).authority.client_of(&[&rustls::version::TLS13])).await;
    let changing = async {
        loop {
            let session = stream.get_mut().1;
            if session.refresh_traffic_keys().is_err() || stream.flush().await.is_err() {
                return;
            }
            let heard = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut [0; 64])).await;
            if !matches!(heard, Err(_) | Ok(Ok(1..))) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, changing).await.expect("an end in time");
    stage.end().await;
}

/// Handshakes that wait for nothing do not hold up a stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_does_not_wait_for_handshakes() {
    let mut stage = Stage::secure(&["--shutdown-timeout", "1h"]).await;
    let mut knocking = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(bridge(&stage).server()).await.expect("a connection");
        stream.write_all(b"\x16\x03").await.expect("bytes that are taken");
        knocking.push(stream);
    }
    // Whoever came after them has been let in, so they are on their porches.
    for _ in 0..4 {
        subject(&stage).await;
    }
    stage.stop().await;
    drop(knocking);
}

/// Requests that follow each other without waiting are all answered, whenever the answers are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_without_pause_is_all_answered() {
    const REQUESTS: usize = 1_500;
    let mut stage = Stage::secure(&[]).await;
    let config = Arc::new(bridge(&stage).authority.client());
    let narrow = RawSocket::connect_narrow(bridge(&stage).server()).await.stream;
    let stream = authority::shake_hands(config, narrow).await.expect("a handshake");
    let (mut reading, mut writing) = tokio::io::split(stream);
    let request = format!(
        "POST /session HTTP/1.1\r\nHost: localhost\r\nX-Auth-Company: acme\r\nX-Auth-User: alice\r\n\
         X-Auth-Token: {}\r\nContent-Length: 0\r\n\r\n",
        stage.alice.token
    );
    let asking = tokio::spawn(async move {
        let requests = request.repeat(REQUESTS);
        writing
            .write_all(requests.as_bytes())
            .await
            .expect("requests that are taken");
        writing.flush().await.expect("requests that are taken");
        writing
    });
    let (mut answers, mut read) = (0, Vec::new());
    while answers < REQUESTS {
        let mut piece = [0; 512];
        let count = tokio::time::timeout(DEADLINE, reading.read(&mut piece)).await;
        let count = count.expect("an answer in time").expect("a connection");
        assert!(count > 0, "the end after {answers} answers");
        read.extend_from_slice(&piece[..count]);
        while let Some(at) = read.windows(13).position(|window| window == b"HTTP/1.1 201 ") {
            read.drain(..at + 13);
            answers += 1;
        }
    }
    let writing = asking.await.expect("all is asked");
    let mut stream = reading.unsplit(writing);
    stage.stop().await;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("an end in the words of TLS");
}
