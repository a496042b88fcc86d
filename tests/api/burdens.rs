//! HTTP readers that are a burden: very slow ones, which are served all the same, and those that burn time.

use crate::raw::RawSocket;
use crate::stage::{DEADLINE, Stage};
use crate::transports::{publish, publish_long, stage};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long a client may take nothing.
const PATIENCE: Duration = Duration::from_millis(800);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_slowly_and_steadily_gets_all_of_a_long_answer() {
    let flags = ["--ping-interval", "200ms", "--dead-after", "800ms"];
    let stage = Stage::with(&flags).await;
    let stream = stage.add_stream(&stage.alice, "/acme/door", 20_000).await;
    for _ in 0..30 {
        publish_long(&stage, 400).await;
    }
    let mut slow = narrow(&stage).await;
    let request = format!(
        "GET /v5.0/acme/event/{stream}?limit=10000 HTTP/1.1\r\nHost: localhost\r\nX-Auth-User: alice\r\nX-Auth-Token: {}\r\n\r\n",
        stage.alice.token
    );
    slow.write_all(request.as_bytes()).await.expect("a request");
    let mut slow = RawSocket::new(slow);
    let head = slow.head().await.to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).expect("a length");
    let length: usize = length.split("\r\n").next().expect("a line").parse().expect("a number");
    assert!(length > 10_000_000, "more than kernels hold: {length}");
    // A fraction of what fits into a send buffer, several times as long as it may take nothing.
    let mut came = slow.read.len();
    let mut ticks = tokio::time::interval(PATIENCE / 20);
    let mut part = vec![0; 8_192];
    for _ in 0..80 {
        ticks.tick().await;
        let count = slow.stream.read(&mut part).await.expect("more of it");
        assert!(count > 0, "cut off after {came} bytes");
        came += count;
    }
    while came < length {
        let reading = slow.stream.read_buf(&mut slow.read);
        let count = tokio::time::timeout(DEADLINE, reading).await.expect("more in time");
        let count = count.expect("more of it");
        assert!(count > 0, "cut off after {came} bytes");
        came += count;
        slow.read.clear();
    }
    assert_eq!(came, length);
    drop(slow);
    stage.end().await;
}

/// A client with little room for what comes.
async fn narrow(stage: &Stage) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(16_384).expect("a small window");
    socket.connect(stage.address).await.expect("a connection")
}

/// Whoever asks on and on behind an answer without end would keep a worker busy with nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_on_and_on_behind_an_answer_without_end_is_cut_off() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let stream = TcpStream::connect(stage.address).await.expect("a connection");
    let (mut answers, mut requests) = stream.into_split();
    let first = format!("GET /session/{session}/streaming HTTP/1.1\r\nHost: localhost\r\n\r\n");
    requests.write_all(first.as_bytes()).await.expect("a request");
    let asking = tokio::spawn(async move {
        let many = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20_000);
        // Not all of it can be sent, one way or the other.
        let _ = requests.write_all(many.as_bytes()).await;
        requests
    });
    let mut came = Vec::new();
    let end = async { while matches!(answers.read_buf(&mut came).await, Ok(1..)) {} };
    tokio::time::timeout(DEADLINE, end).await.expect("an end in time");
    assert!(came.starts_with(b"HTTP/1.1 200 OK"));
    assert!(
        !String::from_utf8_lossy(&came).contains("health"),
        "nothing was answered behind it"
    );
    drop(asking.await.expect("no panic"));
    // Its session is as it was.
    publish(&stage, "/acme/door", 1).await;
    assert_eq!(stage.poll(&session).await.len(), 1);
    stage.end().await;
}

/// Chunks are for HTTP/1.1 (RFC 9112 §6.1); older clients, proxies most of all, get lines as they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_1_0_gets_lines_without_chunks() {
    let stage = stage(&[]).await;
    let session = stage.session(&stage.alice).await;
    stage.follow(&session, "/acme/door").await;
    let mut raw = RawSocket::connect(stage.address).await;
    let request = format!("GET /session/{session}/streaming HTTP/1.0\r\n\r\n");
    raw.stream.write_all(request.as_bytes()).await.expect("a request");
    let head = raw.head().await.to_ascii_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    assert!(!head.contains("content-length"), "{head}");
    publish(&stage, "/acme/door", 1).await;
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(raw.stream.read_u8().await.expect("a byte"));
    }
    assert!(
        line.starts_with(br#"{"type":"message""#),
        "{}",
        String::from_utf8_lossy(&line)
    );
    drop(raw);
    stage.end().await;
}
